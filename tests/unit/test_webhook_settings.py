"""The webhook's fields, its presets' and templates': what is said about a wrong one, and that no secret is."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from stash_courier.worker.connections.model import Entry
from stash_courier.worker.destinations import configured
from stash_courier.worker.destinations.webhook.presets import PRESETS
from stash_courier.worker.destinations.webhook.templates import LARGEST_TEMPLATE
from stash_courier.worker.settings import Settings
from tests.support.connections import connection, problems
from tests.support.webhook_items import OPTIONS
from tests.support.webhook_samples import OLD_SECRET, SECRET

# Parts of the values below that are, or may be, secrets.
HIDDEN = ("abcdef", "hunter2", SECRET.removeprefix("whsec_")[:20])


def of(preset: str, **values: object) -> dict[str, object]:
    """The values of a preset that are right, with some that are not."""
    right = {option.key: OPTIONS[option.key] for option in PRESETS[preset].options if option.required}
    return {"preset": preset, "url": "http://a.example/", **right, **values}


def template(text: str) -> dict[str, object]:
    return of("custom", template=text)


NAMED = "has unknown names: "
TABLE: list[tuple[str, Mapping[str, object], str]] = [  # the field, the values, what is said
    ("url", {"url": "example.org/hook-abcdef"}, "no http:// or https://"),
    ("url", {"url": "ftp://bob:hunter2@example.org/abcdef"}, "neither http:// nor https://"),
    ("url", {"url": "file:///etc/abcdef"}, "neither http:// nor https://"),
    ("url", {"url": "http:///abcdef"}, "not a valid URL"),
    ("url", {"url": "http://example.org:99999/abcdef"}, "not a valid URL"),
    ("url", {"url": "http://example.org:0/abcdef"}, "not a valid URL"),
    ("url", {"url": "http://[::1/abcdef"}, "not a valid URL"),
    ("url", {"url": "http://bob:hunter2@/abcdef"}, "not a valid URL"),
    ("url", {"url": "https://example.org/#/abcdef"}, "contains a #"),
    ("url", {"url": "https://example.org/abcdef https://b.example/abcdef"}, "contains a space"),
    ("url", {"url": ""}, "is empty"),
    ("url", {"url": "http://u:hunter2@a.example/", "headers": "authorization: Bearer x"}, "delete one"),
    *(
        ("secret", {"secret": wrong}, "is not whsec_ followed by 24 to 64 bytes")
        for wrong in (
            "hunter2-hunter2",
            SECRET.removeprefix("whsec_"),
            "whsec_" + base64.b64encode(bytes(23)).decode(),
            "whsec_" + base64.b64encode(bytes(65)).decode(),
            SECRET.rstrip("="),
            SECRET.replace("whsec_", "whsec_*"),
            f"{SECRET} hunter2",
            "whsec_ü",
        )
    ),
    ("headers", {"headers": "no colon"}, "entry 1"),
    ("headers", {"headers": "A: 1; Cookie: a=b; hunter2=d"}, "entry 3"),
    ("headers", {"headers": "A B: 1"}, "entry 1"),
    ("headers", {"headers": "A: ü"}, "entry 1"),
    ("headers", {"headers": "A: 1\r\nB: 2"}, "entry 1"),
    ("headers", {"headers": ": 1"}, "entry 1"),
    ("headers", {"headers": "A: 1; a: 2"}, "contains a twice"),
    *(
        ("headers", {"headers": f"A: 1; {name}: x"}, f"contains {name}, which Stash Courier sets itself")
        for name in ("webhook-id", "Webhook-Signature", "content-type", "HOST", "Content-Length")
    ),
    ("headers", of("home-assistant", headers="authorization: Bearer x"), "contains authorization, which this"),
    # The address of each preset
    ("url", of("home-assistant", url="http://h/api/webhook/abcdef"), "delete the part from /api on"),
    ("url", of("discord", url="http://h/abcdef"), "…/api/webhooks/number/token"),
    ("url", of("discord", url="http://h/api/webhooks/1/abcdef/slack"), "…/api/webhooks/number/token"),
    ("url", of("slack", url="http://h/"), "the whole address of an incoming webhook"),
    ("url", of("telegram", url="http://h/bot123:abcdef/sendMessage"), "the bot's token has a field of its own"),
    ("url", of("ntfy", url="http://h/abcdef"), "the topic has a field of its own"),
    ("url", of("gotify", url="http://h/message"), "delete /message at its end"),
    ("url", of("apprise", url="http://h/notify/abcdef"), "delete the part from /notify on"),
    # Their other fields
    ("token", of("home-assistant", token=""), '"Access token" is empty. Until it is corrected, nothing is sent.'),
    ("token", of("telegram", token="bot1:hunter2"), "without the word bot in front"),
    ("token", of("gotify", token="a\r\nX: y"), "must be plain ASCII"),
    ("chat_id", of("telegram", chat_id="my chat"), '"Chat" must be a number or @name.'),
    ("topic", of("ntfy", topic="a/b"), "must be at most 64 letters"),
    ("topic", of("ntfy", topic=5), '"Topic"'),
    ("picture", of("ntfy", picture="yes"), ""),
    ("method", of("custom", method="GET"), ""),
    ("template_create", of("custom", template_create="]"), "is not valid JSON at line 1, column 1"),
    # Templates
    *(
        ("template", template(text), said)
        for text, said in [
            ("", '"Template" is empty.'),
            (
                '{"a": 1,\n "b" 2}',
                "not valid JSON at line 2, column 6: expecting ':' delimiter; correct it there.",
            ),
            ("{title}", "is not valid JSON at line 1, column 2"),
            ('{"a": {"b": ["x", "{titel}"]}}', NAMED + "{titel} at a.b[1]; the known ones are at, changed,"),
            ('["{title.upper}", "{0}"]', NAMED + "{title.upper} at [0], {0} at [1]; "),
            ('"{titel}"', "{titel} at the top"),
            ('{"a": "100 {"}', "has a { without a } at a; write {{ for a brace."),
            ('{"a": 1, "a": 2}', "contains the key a twice in one object; delete one of them."),
            ('{"a": NaN}', "contains a number that JSON can't hold; write another, or null."),
            ('{"a": 1e999}', "contains a number that JSON can't hold; write another, or null."),
            ('{"a": ' + "1" * 5000 + "}", "contains a number that JSON can't hold; write another, or null."),
            ("[" * 100 + "]" * 100, "is nested more than 50 levels deep; make it flatter."),
            ("[" * 30_000, "is nested more than 50 levels deep; make it flatter."),
            (json.dumps("é" * LARGEST_TEMPLATE, ensure_ascii=False), f"more than {LARGEST_TEMPLATE}; shorten it."),
        ]
    ),
]


@pytest.mark.parametrize(("field", "values", "said"), TABLE, ids=[f"{n}-{row[0]}" for n, row in enumerate(TABLE)])
def test_a_wrong_value_is_explained(field: str, values: Mapping[str, object], said: str) -> None:
    """Nothing is sent with a wrong value. The one problem names its field, says why, and shows no secret."""
    (only,) = problems("webhook", {"url": "http://a.example/", **values})
    assert only.field == field
    assert said in only.message
    assert only.message.startswith('"')
    assert only.message.endswith(".")
    assert not [secret for secret in HIDDEN if secret in only.message]


def test_all_problems_are_reported_at_once() -> None:
    """Wrong fields are reported together, not one after the other, also those of a preset."""

    def fields(**values: object) -> list[str]:
        return [one.field for one in problems("webhook", values)]

    assert fields(url="a.example", secret="x", headers="x") == ["url", "secret", "headers"]
    assert fields(preset="telegram", url="http://h/x") == ["url", "token", "chat_id"]
    assert fields(preset="custom", url="http://h", template="{", template_create="]", method="GET") == [
        "method",
        "template",
        "template_create",
    ]


def test_headers_may_be_a_list() -> None:
    """As a list, a header's value may contain a semicolon."""
    made = connection("webhook", {"url": "http://a.example/", "headers": ["A: 1; 2", "B: 3"]})
    assert made.options.headers == {"A": "1; 2", "B": "3"}


def test_the_fingerprint_changes_with_every_field() -> None:
    """Any change of its own fields resets a destination's health; the same fields keep it."""
    base = {"url": "http://a.example/", "secret": SECRET, "headers": "A: 1; B: 2"}
    changes = [
        {},
        {"url": "http://a.example/x"},
        {"url": "http://bob:pw@a.example/"},
        {"url": "http://bob:pw2@a.example/"},
        {"secret": OLD_SECRET},
        {"secret": ""},
        {"headers": "A: 2; B: 2"},
    ]
    found = [connection("webhook", {**base, **change}).fingerprint for change in changes]
    assert len(set(found)) == len(found)
    assert connection("webhook", {**base, "path_map": "/a => /b", "attempts": 3}).fingerprint == found[0]


@given(
    st.fixed_dictionaries(
        {
            "url": st.text(max_size=20).flatmap(
                lambda t: st.sampled_from([t, f"http://{t}", f"https://a.example/{t}"])
            )
        },
        optional={
            "preset": st.sampled_from([*PRESETS]),
            **dict.fromkeys(("secret", "headers", "token", "template"), st.text(max_size=20) | st.integers()),
        },
    )
)
@hypothesis_settings(max_examples=150)
def test_any_values_are_parsed(values: dict[str, object]) -> None:
    """Whatever is entered, the result is a connection or messages, never an exception."""
    found, wrong = configured(Entry("x", "x", "webhook", values=values), Settings())
    assert all(p.message.endswith(".") for p in wrong)
    assert found is None or found.options.url.host
