"""The webhook's fields: what is sent with them, and which problems they report."""

from __future__ import annotations

import base64
import re

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from stash_courier.queue.failures import DeliveryFailed
from stash_courier.worker.connections.model import Entry
from stash_courier.worker.destinations import configured
from stash_courier.worker.destinations.webhook.settings import fresh_secret
from stash_courier.worker.settings import Settings
from tests.standin.receivers import Receiver, Reply
from tests.support.connections import connection, problems
from tests.support.webhook_samples import OLD_SECRET, SCENE, SECRET, UPDATE, delivered, webhook

pytestmark = pytest.mark.timeout(30)


def problem(**values: object) -> str:
    """The only message about these values."""
    (only,) = problems("webhook", {"url": "http://a.example/", **values})
    return only.message


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


def test_a_login_in_the_url_becomes_a_header() -> None:
    """user:password@ in a URL, with its escapes, is sent as Basic authorization and nowhere else."""
    with Receiver(Reply(401, body=b"bob:p@ss w\xc3\xb6rd")) as receiver:
        url = receiver.url.replace("://", "://bob:p%40ss%20w%C3%B6rd@")
        destination = webhook({"url": url})
        with pytest.raises(DeliveryFailed) as caught:
            destination.deliver(UPDATE, SCENE)
        destination.close()
    (got,) = receiver.received
    scheme, _, value = got.headers["authorization"].partition(" ")
    assert (scheme, base64.b64decode(value).decode()) == ("Basic", "bob:p@ss wörd")
    assert "@" not in got.headers["host"] + got.path
    assert "p@ss" not in caught.value.answer + caught.value.message + repr(destination) + destination.id


def test_extra_headers_are_sent() -> None:
    """Extra headers are sent with each message. Values may contain a colon."""
    got = delivered({"headers": "Authorization: Bearer a:b ; X-Empty:;User-Agent: mine"})
    assert got.headers["authorization"] == "Bearer a:b"
    assert got.headers["x-empty"] == ""
    assert got.headers["user-agent"] == "mine"


@pytest.mark.parametrize(
    "header",
    ["webhook-id: 1", "Webhook-Signature: v1,x", "content-type: text/plain", "HOST: x", "Content-Length: 1"],
)
def test_reserved_headers_cannot_be_entered(header: str) -> None:
    """A header that the plugin sets itself is named, and nothing is sent until it is deleted."""
    message = problem(headers=f"A: 1; {header}")
    assert f'"Extra headers" contains {header.partition(":")[0]}, which Stash Courier sets itself' in message


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("example.org/hook-abcdef", "no http:// or https://"),
        ("ftp://bob:hunter2@example.org/abcdef", "neither http:// nor https://"),
        ("file:///etc/abcdef", "neither http:// nor https://"),
        ("http:///abcdef", "not a valid URL"),
        ("http://example.org:99999/abcdef", "not a valid URL"),
        ("http://example.org:0/abcdef", "not a valid URL"),
        ("http://[::1/abcdef", "not a valid URL"),
        ("http://bob:hunter2@/abcdef", "not a valid URL"),
        ("https://example.org/#/abcdef", "contains a #"),
        ("https://example.org/abcdef https://b.example/abcdef", "contains a space"),
        ("", "is empty"),
    ],
)
def test_a_bad_url_is_reported_without_showing_it(url: str, says: str) -> None:
    """The message about a bad URL says why, without the token that it may contain."""
    message = problem(url=url)
    assert message.startswith('"Address" ')
    assert says in message
    assert "abcdef" not in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    "secret",
    [
        "hunter2-hunter2",
        SECRET.removeprefix("whsec_"),
        "whsec_" + base64.b64encode(bytes(23)).decode(),
        "whsec_" + base64.b64encode(bytes(65)).decode(),
        SECRET.rstrip("="),
        SECRET.replace("whsec_", "whsec_*"),
        f"{SECRET} hunter2",
        "whsec_ü",
    ],
)
def test_a_bad_secret_stops_the_webhook_and_shows_none(secret: str) -> None:
    """With an invalid secret nothing is sent unsigned, and the message, which is logged, shows no secret."""
    message = problem(secret=secret)
    assert "hunter2" not in message
    assert SECRET not in message
    assert not re.search(r"whsec_[A-Za-z0-9+/=]", message)
    assert not problems("webhook", {"url": "http://a.example/", "secret": fresh_secret()})
    assert fresh_secret() != fresh_secret()


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ("no colon", "entry 1"),
        ("A: 1; Cookie: a=b; hunter2=d", "entry 3"),
        ("A B: 1", "entry 1"),
        ("A: ü", "entry 1"),
        ("A: 1\r\nB: 2", "entry 1"),
        (": 1", "entry 1"),
        ("A: 1; a: 2", "contains a twice"),
    ],
)
def test_a_bad_header_stops_the_webhook(headers: str, says: str) -> None:
    """Invalid headers stop the webhook, and the message says which one it is, without its value."""
    message = problem(headers=headers)
    assert says in message
    assert "hunter2" not in message


def test_headers_may_be_a_list() -> None:
    """As a list, a header's value may contain a semicolon."""
    made = connection("webhook", {"url": "http://a.example/", "headers": ["A: 1; 2", "B: 3"]})
    assert made.options.headers == {"A": "1; 2", "B": "3"}


def test_all_problems_are_reported_at_once() -> None:
    """A bad secret and bad headers are reported together with a bad URL, not one after the other."""
    found = problems("webhook", {"url": "a.example", "secret": "x", "headers": "x"})
    assert [p.field for p in found] == ["url", "secret", "headers"]


def test_a_login_and_an_authorization_header_conflict() -> None:
    """A login in the URL together with an Authorization header is a problem."""
    assert "delete one" in problem(url="http://u:p@a.example/", headers="authorization: Bearer x")


@given(
    st.fixed_dictionaries(
        {}, optional={k: st.text() | st.integers() | st.none() for k in ("url", "secret", "headers")}
    ),
    st.text(max_size=20),
)
@hypothesis_settings(max_examples=300)
def test_any_values_are_parsed(values: dict[str, object], rest: str) -> None:
    """Whatever is entered, the result is a connection or messages, never an exception."""
    urls = (values.get("url"), f"http://{rest}", f"https://a.example/{rest}", f"http://{rest}@b.example")
    for url in urls:
        found, wrong = configured(Entry("x", "x", "webhook", values={**values, "url": url}), Settings())
        assert all(p.message.endswith(".") for p in wrong)
        assert found is None or found.options.url.host
