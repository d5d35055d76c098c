"""The webhook's settings: which destinations they make, and which problems they report."""

from __future__ import annotations

import base64
import re

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from stash_courier.queue.failures import DeliveryFailed
from stash_courier.worker.destinations import load
from stash_courier.worker.destinations.webhook.destination import KIND, configure
from stash_courier.worker.destinations.webhook.settings import fresh_secret, parse
from tests.standin.receivers import Receiver, Reply
from tests.support.webhook_samples import (
    MAPPED,
    OLD_SECRET,
    SCENE,
    SECRET,
    UPDATE,
    delivered,
    destinations,
    problem,
    usable,
)

pytestmark = pytest.mark.timeout(30)


def test_without_a_url_there_is_no_webhook() -> None:
    """Without a URL there is no webhook, and no problem."""
    assert configure({}, MAPPED) == ([], [])
    assert configure({"webhook_url": "", "webhook_secret": "x", "webhook_headers": "x"}, MAPPED) == ([], [])


def test_the_module_is_found_by_itself() -> None:
    """A URL in the settings is enough: the destination is loaded under its id."""
    loaded = load({"webhook_url": "http://example.org/x"}, MAPPED)
    assert list(loaded.destinations) == ["webhook:example.org"]
    assert load({"webhook_url": "example.org"}, MAPPED).broken_kinds == {KIND}


def test_unusable_destinations_are_known() -> None:
    """Events wait for destinations with a bad secret, which are known. Of a bad URL only the kind is known."""
    raw = {"webhook_url": "http://a.example/ http://b.example/1 http://b.example/2", "webhook_secret": "x"}
    loaded = load(raw, MAPPED)
    assert not loaded.destinations
    assert set(loaded.unusable) == set(load({**raw, "webhook_secret": ""}, MAPPED).destinations)
    loaded = load({"webhook_url": "http://a.example/ b.example/"}, MAPPED)
    assert list(loaded.destinations) == ["webhook:a.example"]
    assert (loaded.broken_kinds, loaded.unusable) == (frozenset({KIND}), ())


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://Example.org/hook?key=abc", "webhook:example.org"),
        ("http://bob:pw@10.0.0.1:9000/x", "webhook:10.0.0.1:9000"),
        ("http://[::1]:8080/", "webhook:[::1]:8080"),
        ("http://münchen.example/", "webhook:xn--mnchen-3ya.example"),
    ],
)
def test_a_destination_is_named_by_its_host(url: str, expected: str) -> None:
    """A webhook's id is its host and port, never the URL, which may contain a token."""
    assert [d.id for d in destinations({"webhook_url": url})] == [expected]


def test_urls_on_one_host_have_different_ids() -> None:
    """Several URLs on one host are separate destinations, whose ids don't depend on their order."""
    urls = ["http://a.example/1", "http://a.example/2?token=abc", "http://b.example/"]
    made = destinations({"webhook_url": " ".join(urls)})
    again = destinations({"webhook_url": "  ".join([*reversed(urls), urls[0]])})
    assert sorted(d.id for d in made) == sorted(d.id for d in again)
    assert {d.fingerprint for d in made} == {d.fingerprint for d in again}
    assert made[2].id == "webhook:b.example"
    assert all(re.fullmatch(r"webhook:a\.example-[0-9a-f]{8}", d.id) for d in made[:2])
    assert len({d.id for d in made}) == 3


def test_the_fingerprint_changes_with_every_setting() -> None:
    """Any change of its settings resets a destination's health; the same settings keep it."""
    base = {"webhook_url": "http://a.example/", "webhook_secret": SECRET, "webhook_headers": "A: 1; B: 2"}
    changes = [
        {},
        {"webhook_url": "http://a.example/x"},
        {"webhook_url": "http://bob:pw@a.example/"},
        {"webhook_url": "http://bob:pw2@a.example/"},
        {"webhook_secret": OLD_SECRET},
        {"webhook_secret": ""},
        {"webhook_headers": "A: 2; B: 2"},
    ]
    found = [destinations({**base, **change})[0].fingerprint for change in changes]
    assert len(set(found)) == len(found)
    assert destinations({**base, "webhook_headers": "B:2;A:1"})[0].fingerprint == found[0]


def test_a_login_in_the_url_becomes_a_header() -> None:
    """user:password@ in a URL, with its escapes, is sent as Basic authorization and nowhere else."""
    with Receiver(Reply(401, body=b"bob:p@ss w\xc3\xb6rd")) as receiver:
        url = receiver.url.replace("://", "://bob:p%40ss%20w%C3%B6rd@")
        (destination,) = destinations({"webhook_url": url})
        with pytest.raises(DeliveryFailed) as caught:
            destination.deliver(UPDATE, SCENE)
        destination.close()
    (got,) = receiver.received
    scheme, _, value = got.headers["authorization"].partition(" ")
    assert (scheme, base64.b64decode(value).decode()) == ("Basic", "bob:p@ss wörd")
    assert "@" not in got.headers["host"] + got.path
    assert "p@ss" not in caught.value.answer + caught.value.message + repr(destination) + destination.id


def test_headers_from_the_settings_are_sent() -> None:
    """Headers from the settings are sent with each message. Values may contain a colon."""
    got = delivered({"webhook_headers": "Authorization: Bearer a:b ; X-Empty:;User-Agent: mine"})
    assert got.headers["authorization"] == "Bearer a:b"
    assert got.headers["x-empty"] == ""
    assert got.headers["user-agent"] == "mine"


@pytest.mark.parametrize(
    "header",
    ["webhook-id: 1", "Webhook-Signature: v1,x", "content-type: text/plain", "HOST: x", "Content-Length: 1"],
)
def test_reserved_headers_are_not_overridden(header: str) -> None:
    """A header that the plugin sets itself is not used and is reported. The others are sent."""
    with Receiver() as receiver:
        made, problems = configure({"webhook_url": receiver.url, "webhook_headers": f"A: 1; {header}"}, MAPPED)
        (destination,) = usable(made)
        destination.deliver(UPDATE, SCENE)
        destination.close()
    (got,) = receiver.received
    assert got.headers["a"] == "1"
    assert got.headers["webhook-id"].startswith(f"{UPDATE.job_id}_")
    assert got.headers["content-type"] == "application/json"
    assert got.json()
    assert [p.setting for p in problems] == ["webhook_headers"]
    assert header.partition(":")[0] in problems[0].message


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
    ],
)
def test_a_bad_url_is_reported_without_showing_it(url: str, says: str) -> None:
    """The message about a bad URL says which one and why, without the token that it may contain."""
    message = problem({"webhook_url": url})
    assert message.startswith('URL 1 in "Webhook, URL" ')
    assert says in message
    assert "abcdef" not in message
    assert "hunter2" not in message


def test_a_bad_url_does_not_stop_the_good_ones() -> None:
    """Good URLs get deliveries while the bad ones are reported."""
    made, problems = configure({"webhook_url": "http://a.example/ b.example/x y"}, MAPPED)
    assert [d.id for d in usable(made)] == ["webhook:a.example"]
    assert [p.message[:6] for p in problems] == ["URL 2 ", "URL 3 "]


def test_one_url_with_two_logins_is_a_problem() -> None:
    """If the same URL is entered with two logins, the first is used and the second is reported."""
    made, problems = configure({"webhook_url": "http://a:b@a.example/ http://a:c@a.example/"}, MAPPED)
    assert [d.id for d in usable(made)] == ["webhook:a.example"]
    assert "twice" in problems[0].message


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
    raw = {"webhook_url": "http://a.example/ http://b.example/", "webhook_secret": secret}
    message = problem(raw)
    assert "hunter2" not in message
    assert SECRET not in message
    assert problem(raw) == message
    assert not re.search(r"whsec_[A-Za-z0-9+/=]", message)
    assert len(destinations({**raw, "webhook_secret": fresh_secret()})) == 2
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
    message = problem({"webhook_url": "http://a.example/", "webhook_headers": headers})
    assert says in message
    assert "hunter2" not in message


@pytest.mark.parametrize("url", ["a.example", "http://a.example/ b.example"])
def test_all_problems_are_reported_at_once(url: str) -> None:
    """A bad secret and bad headers are reported together with a bad URL, not one after the other."""
    raw = {"webhook_url": url, "webhook_secret": "x", "webhook_headers": "x"}
    made, problems = configure(raw, MAPPED)
    assert usable(made) == []
    assert [p.setting for p in problems] == ["webhook_url", "webhook_secret", "webhook_headers"]
    assert not any(p.minor for p in problems)


def test_a_reserved_header_stops_nothing() -> None:
    """A header that is not used isn't a reason why the webhook can't be used."""
    problems = configure({"webhook_url": "a.example", "webhook_headers": "Host: x"}, MAPPED)[1]
    assert [(p.setting, p.minor) for p in problems] == [("webhook_url", False), ("webhook_headers", True)]


def test_a_login_and_an_authorization_header_conflict() -> None:
    """A login in the URL together with an Authorization header is a problem."""
    raw = {"webhook_url": "http://u:p@a.example/", "webhook_headers": "authorization: Bearer x"}
    assert "delete one of them" in problem(raw)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            k: st.text() | st.integers() | st.none() for k in ("webhook_url", "webhook_secret", "webhook_headers")
        },
    ),
    st.text(max_size=20),
)
@hypothesis_settings(max_examples=300)
def test_any_settings_are_parsed(raw: dict[str, object], rest: str) -> None:
    """Whatever is in the settings, the result is destinations and messages, never an exception."""
    for url in (raw.get("webhook_url"), f"http://{rest}", f"https://a.example/{rest}", f"http://{rest}@b.example"):
        wanted, problems = parse({**raw, "webhook_url": url})
        assert all(p.message.endswith(".") for p in problems)
        assert all(t.host for t in wanted.targets)
