"""Presets: where and how each sends, what its messages say, limits, digests, tests, and what it keeps secret."""

from __future__ import annotations

import dataclasses
import html
import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings

from stash_courier.queue import troubles
from stash_courier.queue.jobs import Scene
from stash_courier.worker.destinations import secret_fields
from stash_courier.worker.destinations.webhook.destination import Webhook
from stash_courier.worker.destinations.webhook.messages import LARGEST_BODY
from stash_courier.worker.destinations.webhook.presets import PRESETS
from stash_courier.worker.destinations.webhook.render import render, render_digest, render_test
from stash_courier.worker.destinations.webhook.settings import read_format
from stash_courier.worker.destinations.webhook.values import NAMES, Item
from tests import ROOT
from tests.support.webhook_items import (
    AT,
    JUDGE,
    MESSAGES,
    OPTIONS,
    PATHS_OF,
    SCENE,
    body,
    examples,
    form,
    item,
    parsed,
    scenes,
    strings,
)
from tests.support.webhook_samples import SECRET, UPDATE, webhook

TEXT = "Changed: tag, title\nAnna, Zoë\nNorth, 2024-05-01\n\nA morning at the lake.\nShot in one take."
LINK = "http://stash.lan:9999/scenes/17"
TITLES_OF: dict[str, Callable[[Any], tuple[str, ...]]] = {  # where the title and the message are in each body
    "discord": lambda b: (b["embeds"][0]["title"], b["embeds"][0].get("description", "")),
    "slack": lambda b: (b["blocks"][0]["text"]["text"], b["blocks"][1]["text"]["text"]),
    "telegram": lambda b: tuple(b["text"].split("\n", 1)),
    "ntfy": lambda b: (b["title"], b["message"]),
    "gotify": lambda b: (b["title"], b["message"]),
    "apprise": lambda b: (b["title"], b["body"]),
}


@pytest.mark.parametrize(
    ("name", "base", "url", "headers"),
    [
        ("standard", "http://h:1/hook?a=b", "http://h:1/hook?a=b", {}),
        (
            "home-assistant",
            "http://h:1/",
            "http://h:1/api/events/stash_courier_scene_updated",
            {"Authorization": "Bearer 123:abc-DEF"},
        ),
        ("discord", "http://h/api/webhooks/1/t", "http://h/api/webhooks/1/t?wait=true", {}),
        (
            "discord",
            "http://h/api/webhooks/1/t?thread_id=5&wait=false",
            "http://h/api/webhooks/1/t?thread_id=5&wait=true",
            {},
        ),
        ("slack", "http://h/services/T/B/x", "http://h/services/T/B/x", {}),
        ("telegram", "http://h", "http://h/bot123:abc-DEF/sendMessage", {}),
        ("ntfy", "http://h", "http://h/", {"Authorization": "Bearer 123:abc-DEF"}),
        ("gotify", "http://h/sub/", "http://h/sub/message", {"X-Gotify-Key": "123:abc-DEF"}),
        ("apprise", "http://h:8000", "http://h:8000/notify/stash", {}),
        ("custom", "http://h/any?x=%20", "http://h/any?x=%20", {}),
    ],
)
def test_where_it_is_sent(name: str, base: str, url: str, headers: dict[str, str]) -> None:
    """Each preset makes the request that its receiver wants: address, method, headers."""
    made, problems = read_format(name, OPTIONS, base)
    assert made is not None, problems
    got = render(made, item())
    assert (got.method, got.url) == ("POST", url)
    assert got.headers == {"Content-Type": "application/json", **headers}


def test_the_events_of_home_assistant() -> None:
    """Each type of event has its own event name in Home Assistant."""
    paths = {urlsplit(render(form("home-assistant"), of).url).path for of in examples().values()}
    start = "/api/events/stash_courier_"
    names = "scene_created scene_updated scene_destroyed test dead_letters connection_down connection_up"
    assert paths == {start + name for name in names.split()}


def test_what_messages_look_like() -> None:
    """A changed scene as each message preset sends it. Discord, Slack and Telegram get no picture by default."""
    picture = {"click": {"url": LINK}, "bigImageUrl": SCENE.cover_url}
    assert {name: body(name, item()) for name in MESSAGES} == {
        "discord": {
            "username": "Stash Courier",
            "allowed_mentions": {"parse": []},  # no title notifies everyone
            "embeds": [{"title": "First light", "url": LINK, "description": TEXT}],
        },
        "slack": {
            "text": "Scene changed: First light (tag, title)",
            "blocks": [
                {"type": "header", "text": {"type": "plain_text", "text": "First light"}},
                {"type": "section", "text": {"type": "mrkdwn", "text": f"{TEXT}\n{LINK}"}},
            ],
        },
        "telegram": {
            "chat_id": "-100123",
            "text": f"<b>First light</b>\n{TEXT}\n{LINK}",
            "parse_mode": "HTML",
            "link_preview_options": {"is_disabled": True},
        },
        "ntfy": {
            "topic": "stash",
            "title": "First light",
            "message": TEXT,
            "priority": 3,
            "click": LINK,
            "attach": SCENE.cover_url,
        },
        "gotify": {
            "title": "First light",
            "message": TEXT,
            "priority": 4,
            "extras": {"client::notification": picture},
        },
        "apprise": {"title": "First light", "body": f"{TEXT}\n{LINK}", "type": "info", "format": "text"},
    }
    for name in ("discord", "ntfy", "gotify"):
        assert SCENE.cover_url in strings(body(name, item(), picture=True))
        assert SCENE.cover_url not in strings(body(name, item(), picture=False))


@pytest.mark.parametrize("name", MESSAGES)
def test_every_event_makes_a_message(name: str) -> None:
    """Each type of event has a title and a text, and trouble says what is wrong, once, and what to do."""
    for of in examples().values():
        title, text = TITLES_OF[name](body(name, of))
        assert title.strip()
        assert text.strip()
    title, text = TITLES_OF[name](body(name, examples()[troubles.DOWN]))
    assert "Jellyfin" in title
    assert text.count("It refuses the API key") == 1
    assert "Enter a new key" in text


def test_trouble_is_louder() -> None:
    """Trouble has a higher priority where the receiver knows priorities, and a type in Apprise."""
    down, up = (examples()[name] for name in (troubles.DOWN, troubles.UP))
    assert [body("ntfy", of)["priority"] for of in (item(), down, up)] == [3, 4, 3]
    assert [body("gotify", of)["priority"] for of in (item(), down, up)] == [4, 8, 4]
    assert [body("apprise", of)["type"] for of in (item(), down, up)] == ["info", "failure", "success"]


@pytest.mark.parametrize("name", MESSAGES)
def test_what_is_unknown_is_left_out(name: str) -> None:
    """Without Stash's address and a cover, the members for link and picture are left out, not sent empty."""
    bare = dataclasses.replace(SCENE, cover_url="", details="", studio=None, performers=(), date="")
    got = parsed(render(form(name, stash_url=""), item(bare)))
    assert not [text for text in strings(got) if text == "" or "://" in text]
    assert not got.keys() & {"click", "attach", "extras"}
    assert TITLES_OF[name](got)[1] == "Changed: tag, title"


@pytest.mark.parametrize(
    ("stash", "kept"),
    [
        ("http://stash:9999", False),
        ("http://localhost:9999", False),
        ("http://192.168.1.5:9999", True),
        ("http://[bad", False),
    ],
)
def test_discord_gets_no_link_that_it_refuses(stash: str, kept: bool) -> None:
    """Discord refuses a whole message with a link to a host name without a dot, so it gets none."""
    discord = form("discord", {"picture": True}, stash_url=stash)
    scene = dataclasses.replace(SCENE, cover_url=f"{stash}/scene/17/screenshot")
    embed = parsed(render(discord, item(scene)))["embeds"][0]
    assert ("url" in embed, "image" in embed) == (kept, kept)


# Any scene, any preset


# Entered in fields that hide their values. Each of them is in the scene, too, as if a receiver's name were in it.
TOKENS = {"token": "4711:token-of-the-owner", "key": "key-of-the-owner", "headers": "X-Gate: open-sesame"}
HIDDEN = (TOKENS["token"], "open-sesame", SECRET, "token-of-the-address")
EVERY_NAME = json.dumps({name: [f"{{{name}}}", f"<{{{name}|none}}>"] for name in NAMES})


@pytest.fixture(scope="module")
def presets() -> Iterator[dict[str, tuple[Webhook, list[str]]]]:
    """A destination of each preset with secrets in all its fields, and those."""
    made = {}
    for name, preset in PRESETS.items():
        options = {**OPTIONS, **TOKENS, "template": EVERY_NAME}
        values = {option.key: options[option.key] for option in preset.options if option.key in options}
        path = PATHS_OF.get(name, "").replace("tok", "token-of-the-address")
        values |= {"url": f"http://h:1{path}", "headers": TOKENS["headers"], "secret": SECRET}
        hidden = [secret for secret in HIDDEN if secret in json.dumps(values)]
        made[name] = webhook({"preset": name, **values}), hidden
    yield made
    for destination, _ in made.values():
        destination.close()


def utf16(text: str) -> int:
    """The length as JavaScript counts."""
    return len(text.encode("utf-16-le")) // 2


def unescaped(text: str) -> str:
    """Telegram's HTML or Slack's text as it is shown; fails for a broken escape or an unknown tag."""
    shown = re.sub(r"</?b>", "", text)
    assert not re.search(r"[<>]|&(?!(amp|lt|gt);)", shown), shown[-100:]
    return html.unescape(shown)


def check(name: str, got: Any) -> None:
    """Fails unless a body is what its receiver accepts."""
    if name in ("standard", "home-assistant"):
        JUDGE.validate(got)
    if name != "standard":  # the others would refuse or drop a lone surrogate
        assert not any("\ud800" <= letter <= "\udfff" for text in strings(got) for letter in text)
    if name in MESSAGES:
        assert all(text.strip() for text in TITLES_OF[name](got))
        assert "" not in strings(got)
    if name == "custom":
        assert got.keys() == NAMES.keys()
    if name == "discord":
        assert utf16(got["embeds"][0]["title"]) <= 256
        assert utf16(got["embeds"][0]["description"]) <= 4096
    if name == "slack":
        assert utf16(got["blocks"][0]["text"]["text"]) <= 150
        assert all(utf16(text) <= 3000 and unescaped(text) for text in strings(got))
    if name == "telegram":
        assert utf16(unescaped(got["text"])) <= 4096
    if name == "ntfy":
        assert len(got["title"].encode()) <= 1000
        assert len(got["message"].encode()) <= 4096


@given(scenes)
@hypothesis_settings(max_examples=25)
def test_no_scene_breaks_a_request(presets: dict[str, tuple[Webhook, list[str]]], scene: Scene) -> None:
    """Whatever a scene contains, each preset sends what its receiver accepts, and no preview shows a secret.

    The body is JSON within the receiver's limits, with whole escapes. The standard one is as its schema says.
    """
    echoing = dataclasses.replace(scene, details=f"{scene.details} {' '.join(HIDDEN)}")
    for name, (destination, hidden) in presets.items():
        rendered = render(destination._format, destination._item(UPDATE, scene))
        assert len(rendered.body) <= LARGEST_BODY
        got = parsed(rendered)
        check(name, got)
        if name == "standard":
            assert got["data"]["details"] == scene.details
        shown = destination.preview(UPDATE, echoing) + repr(destination._format) + repr(rendered)
        assert not [secret for secret in hidden if secret in shown]


@pytest.mark.parametrize("letter", ["x", "🎬", "&", "é", '"', "\n."])
def test_long_texts_are_cut_where_the_service_counts(letter: str) -> None:
    """Title and text fill their limits, as each service counts, and stop there. The link stays whole."""
    scene = dataclasses.replace(SCENE, title=(letter * 400).replace("\n", ""), details=letter * 100_000)
    bodies = {name: body(name, item(scene)) for name in MESSAGES}
    for name, got in bodies.items():
        check(name, got)
    assert utf16(bodies["discord"]["embeds"][0]["description"]) >= 4090
    section = bodies["slack"]["blocks"][1]["text"]["text"]
    assert utf16(section) >= 2990
    assert section.endswith(LINK)
    assert "…" in unescaped(section)
    text = bodies["telegram"]["text"]
    assert utf16(unescaped(text)) >= 4080
    assert text.endswith(LINK)
    assert len(bodies["ntfy"]["message"].encode()) > 4000 / 3
    assert len(render(form("ntfy"), item(scene)).body) < 8192  # ntfy reads no more


def test_mentions_are_escaped_for_slack() -> None:
    """No title notifies everyone."""
    scene = dataclasses.replace(SCENE, title="@everyone <!channel> <@U1>")
    assert body("slack", item(scene))["blocks"][0]["text"]["text"] == "@everyone &lt;!channel&gt; &lt;@U1&gt;"


# Digests and tests


def titled(count: int) -> list[Item]:
    """Changes of scenes, the oldest first."""
    made = [dataclasses.replace(SCENE, id=n, title=f"Title {n}") for n in range(1, count + 1)]
    types = ("scene.created", "scene.updated", "scene.updated")
    return [item(scene, types[n % 3], 1000 + n) for n, scene in enumerate(made)]


@pytest.mark.parametrize("name", MESSAGES)
def test_a_digest_has_the_count_and_ten_titles(name: str) -> None:
    """A digest is one message with the number of scenes and the first ten titles, in the order of the events."""
    got = render_digest(form(name), titled(12)[::-1])
    title, text = TITLES_OF[name](parsed(got))
    assert "12" in title
    assert re.findall(r"Title \d+", text) == [f"Title {n}" for n in range(1, 11)]
    assert text.startswith("New scene: Title 1\nScene changed: Title 2\n")
    assert "More: 2" in text
    assert got.url == render(form(name), item()).url


def test_a_digests_id_is_its_content() -> None:
    """The same set has the same digest in any order and at any time; another set, also beyond ten, another one."""
    some = titled(12)
    later = [dataclasses.replace(one, at=AT + 60) for one in some[::-1]]
    discord = form("discord")
    first = render_digest(discord, some).digest
    assert re.fullmatch("[0-9a-f]{16}", first)
    assert render_digest(discord, later).digest == first
    changed = [*some[:11], item(dataclasses.replace(SCENE, id=12, title="New title"), sequence=1011)]
    assert render_digest(discord, changed).digest != first
    assert render_digest(discord, some[:11]).digest != first


@pytest.mark.parametrize("name", PRESETS)
def test_a_test_shows_no_scene_unless_asked(name: str) -> None:
    """A test of a message preset is a neutral sentence; other presets show what a scene looks like."""
    data = item().data
    quiet = strings(parsed(render_test(form(name), AT, data)))
    assert any("First light" in text for text in quiet) == (name not in MESSAGES)
    assert name not in MESSAGES or any("A test by Stash Courier" in text for text in quiet)
    asked = strings(parsed(render_test(form(name), AT, data, show_scene=True)))
    assert any("First light" in text for text in asked)


# What a form shows


@pytest.mark.parametrize("name", PRESETS)
def test_options_are_described(name: str) -> None:
    """Each preset and option has a label and a sentence of help. Where the address is the secret, it is hidden."""
    preset = PRESETS[name]
    assert preset.label
    assert preset.help.endswith(".")
    for option in preset.options:
        assert option.label
        assert option.help.endswith(".")
        assert option.pattern == ".*" or option.must.startswith("must")
    values = {"url": "http://h:8080/api/webhooks/1/token", "preset": name}
    assert ("url" in secret_fields("webhook", values)) == (name in ("discord", "slack", "telegram"))


def test_the_documentation_is_complete() -> None:
    """docs/connections.md has a row for each preset and each name that templates can use."""
    text = (ROOT / "docs" / "connections.md").read_text(encoding="utf-8")
    text = text.partition("### Presets")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([\w-]+)` \|(?: (.*) \|)?$", text, re.MULTILINE)
    assert [row[0] for row in rows] == [*PRESETS, *NAMES]
    assert dict(rows[len(PRESETS) :]) == NAMES
