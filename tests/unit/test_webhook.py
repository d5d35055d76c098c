"""The webhook destination: its settings, its messages, its signatures and its test."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import json
import re
import time
from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook as Judge
from standardwebhooks.webhooks import WebhookVerificationError

from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.jobs import Delivery, Named, Scene, SceneFile, StashId
from stash_courier.worker.destinations import Unusable, load
from stash_courier.worker.destinations.webhook.destination import (
    KIND,
    LARGEST_BODY,
    TEST_TYPE,
    Webhook,
    configure,
    serialise,
)
from stash_courier.worker.destinations.webhook.settings import fresh_secret, parse
from stash_courier.worker.settings import PathMap, Settings
from tests.standin.receivers import Received, Receiver, Reply

pytestmark = pytest.mark.timeout(30)

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OLD_SECRET = "whsec_" + base64.b64encode(bytes(range(100, 124))).decode()

SCENE = Scene(
    id=17,
    title="",
    code="C-1",
    details='Quotes " and\nlines, \u202e right to left, 🎬',
    director="",
    date="2024-05",
    rating100=80,
    organized=True,
    urls=("https://example.org/1",),
    created_at="2024-05-01T10:00:00+02:00",
    updated_at="2024-05-02T10:00:00+02:00",
    files=(
        SceneFile("/data/a/one.mkv", 1234, 61.5, 1920, 1080, (("oshash", "0123456789abcdef"),)),
        SceneFile("/elsewhere/two.mp4", 99, 1.0, 640, 480),
    ),
    performers=(Named("1", "Anna"), Named("2", "Zoë")),
    tags=(Named("5", "tag"),),
    studio=Named("7", "Studio"),
    groups=(Named("8", "Group"),),
    stash_ids=(StashId("https://box.example/graphql", "1-2-3"),),
    cover_url="http://stash:9999/scene/17/screenshot",
    fetched_at=1_767_225_601.0,
)
UPDATE = Delivery(3, "webhook:x", 17, "update", ("tags", "title"), 1_767_225_600_123, 1_767_225_600.5)
DESTROY = dataclasses.replace(
    UPDATE, event="destroy", changed=(), path="/data/a/one.mkv", oshash="ab", checksum=""
)
MAPPED = Settings(path_map=PathMap((("/data", "/media"),)), delivery_timeout_seconds=5)


def destinations(raw: Mapping[str, object], settings: Settings = MAPPED) -> list[Webhook]:
    """The destinations of settings that hold no problem."""
    made, problems = configure(raw, settings)
    assert problems == []
    return usable(made)


def usable(made: Iterable[Webhook | Unusable]) -> list[Webhook]:
    """Those that can be delivered to."""
    return [destination for destination in made if isinstance(destination, Webhook)]


def problem(raw: Mapping[str, object]) -> str:
    """The one problem of settings that lead to no destination that can be used."""
    made, problems = configure(raw, MAPPED)
    assert made
    assert usable(made) == []
    (only,) = problems
    return only.message


def delivered(raw: Mapping[str, object], delivery: Delivery = UPDATE, scene: Scene | None = SCENE) -> Received:
    """What a receiver gets of a delivery with these settings."""
    with Receiver() as receiver:
        (destination,) = destinations({"webhook_url": receiver.url + "hook?token=abc", **raw})
        destination.deliver(delivery, scene)
        destination.close()
        (received,) = receiver.received
    return received


# Messages


def test_an_edit_arrives_with_all_its_fields() -> None:
    """An update carries the scene as it is now: every field, mapped paths, what changed and its sequence."""
    got = delivered({})
    assert (got.method, got.path) == ("POST", "/hook?token=abc")
    assert got.headers["content-type"] == "application/json"
    assert got.json() == {
        "type": "scene.updated",
        "timestamp": "2026-01-01T00:00:00.500Z",
        "data": {
            "id": "17",
            "title": "one",
            "code": "C-1",
            "details": SCENE.details,
            "director": "",
            "date": "2024-05",
            "rating100": 80,
            "organized": True,
            "urls": ["https://example.org/1"],
            "created_at": "2024-05-01T10:00:00+02:00",
            "updated_at": "2024-05-02T10:00:00+02:00",
            "path": "/media/a/one.mkv",
            "files": [
                {
                    "path": "/media/a/one.mkv",
                    "size": 1234,
                    "duration": 61.5,
                    "width": 1920,
                    "height": 1080,
                    "fingerprints": [{"type": "oshash", "value": "0123456789abcdef"}],
                },
                {
                    "path": "/elsewhere/two.mp4",
                    "size": 99,
                    "duration": 1.0,
                    "width": 640,
                    "height": 480,
                    "fingerprints": [],
                },
            ],
            "performers": [{"id": "1", "name": "Anna"}, {"id": "2", "name": "Zoë"}],
            "tags": [{"id": "5", "name": "tag"}],
            "studio": {"id": "7", "name": "Studio"},
            "groups": [{"id": "8", "name": "Group"}],
            "stash_ids": [{"endpoint": "https://box.example/graphql", "stash_id": "1-2-3"}],
            "cover_url": "http://stash:9999/scene/17/screenshot",
            "changed": ["tags", "title"],
            "sequence": 1_767_225_600_123,
        },
    }


def test_a_scene_without_anything_arrives() -> None:
    """A scene just created, without file, studio, date or cover, is delivered with nulls for what it lacks."""
    bare = dataclasses.replace(SCENE, files=(), studio=None, date="", cover_url="", rating100=None, title="T")
    got = delivered({}, dataclasses.replace(UPDATE, event="create"), bare).json()
    assert got["type"] == "scene.created"
    assert [got["data"][k] for k in ("path", "files", "studio", "date", "cover_url", "rating100", "title")] == [
        None,
        [],
        None,
        None,
        None,
        None,
        "T",
    ]


def test_a_deletion_arrives_with_what_is_left() -> None:
    """A deletion carries the scene's id, its last path as the receiver knows it, and its hashes."""
    got = delivered({}, DESTROY, None).json()
    assert got["type"] == "scene.destroyed"
    assert got["data"] == {
        "id": "17",
        "path": "/media/a/one.mkv",
        "oshash": "ab",
        "checksum": None,
        "sequence": 1_767_225_600_123,
    }


def test_a_path_that_is_not_utf8_arrives_intact() -> None:
    """A file name with bytes that are no UTF-8 arrives and can be turned back into the same bytes."""
    path = b"/data/\xff\xfe.mkv".decode("utf-8", "surrogateescape")
    scene = dataclasses.replace(SCENE, files=(dataclasses.replace(SCENE.files[0], path=path),))
    got = delivered({"webhook_secret": SECRET}, UPDATE, scene)
    assert got.body.isascii()
    assert got.json()["data"]["path"].encode("utf-8", "surrogateescape") == b"/media/\xff\xfe.mkv"


@given(st.text(st.characters(codec=None), max_size=200))
@hypothesis_settings(max_examples=200, deadline=None)
def test_any_text_survives(text: str) -> None:
    """Any text at all, control characters and lone surrogates included, arrives as it is in Stash."""
    body = serialise("scene.updated", 0.0, {"id": "1", "details": text})
    assert json.loads(body.decode("utf-8"))["data"]["details"] == text


def test_a_huge_scene_is_announced_not_sent() -> None:
    """Above 256 KiB only what identifies the scene is sent, and the body says so; one byte less goes whole."""
    fits = dataclasses.replace(SCENE, details="")
    room = LARGEST_BODY - len(delivered({}, UPDATE, fits).body)
    whole = delivered({}, UPDATE, dataclasses.replace(SCENE, details="x" * room)).json()
    cut = delivered({"webhook_secret": SECRET}, UPDATE, dataclasses.replace(SCENE, details="x" * (room + 1)))
    assert len(whole["data"]["details"]) == room
    assert "truncated" not in whole["data"]
    data = cut.json()["data"]
    message = data.pop("message")
    assert data == {
        "id": "17",
        "path": "/media/a/one.mkv",
        "updated_at": "2024-05-02T10:00:00+02:00",
        "changed": ["tags", "title"],
        "sequence": 1_767_225_600_123,
        "truncated": True,
    }
    assert str(LARGEST_BODY) in message
    Judge(SECRET).verify(cut.body.decode(), dict(cut.headers))


# Signatures


def test_the_signature_is_what_standard_webhooks_verifies() -> None:
    """A receiver with the same secret verifies each message, and refuses a changed one or another secret."""
    got = delivered({"webhook_secret": SECRET})
    body = got.body.decode()
    assert Judge(SECRET).verify(body, dict(got.headers)) == got.json()
    with pytest.raises(WebhookVerificationError):
        Judge(SECRET).verify(body.replace("Anna", "Anne"), dict(got.headers))
    with pytest.raises(WebhookVerificationError):
        Judge(OLD_SECRET).verify(body, dict(got.headers))
    for header in ("webhook-id", "webhook-timestamp"):
        with pytest.raises(WebhookVerificationError):
            Judge(SECRET).verify(body, {**got.headers, header: str(int(time.time()) - 100)})


def test_a_retry_has_the_same_id_and_its_own_time() -> None:
    """A retry can be recognised by its id, and is signed with the time at which it is sent."""
    times = iter([1_767_225_700.0, 1_767_229_300.9])
    with Receiver() as receiver:
        made = destinations({"webhook_url": receiver.url, "webhook_secret": SECRET})[0]
        destination = Webhook(made.id, made._target, made._signing, {}, MAPPED, clock=lambda: next(times))
        destination.deliver(UPDATE, SCENE)
        destination.deliver(dataclasses.replace(UPDATE, counted_attempts=1, attempts=1), SCENE)
        made.close()
        destination.close()
    first, second = receiver.received
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == UPDATE.job_id
    assert "." not in UPDATE.job_id
    assert [r.headers["webhook-timestamp"] for r in (first, second)] == ["1767225700", "1767229300"]
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]
    assert first.body == second.body


def test_both_secrets_verify_while_one_is_rotated() -> None:
    """With two secrets a receiver that knows either of them verifies the message."""
    got = delivered({"webhook_secret": f"{SECRET}  {OLD_SECRET}"})
    for secret in (SECRET, OLD_SECRET):
        Judge(secret).verify(got.body.decode(), dict(got.headers))
    assert got.headers["webhook-signature"].count("v1,") == 2


def test_github_style_receivers_take_the_secret_as_written() -> None:
    """X-Hub-Signature-256 is keyed with the first secret as it stands in the settings, whsec_ and all."""
    got = delivered({"webhook_secret": f"{SECRET} {OLD_SECRET}"})
    expected = hmac.new(SECRET.encode(), got.body, hashlib.sha256).hexdigest()
    assert got.headers["x-hub-signature-256"] == f"sha256={expected}"


def test_without_a_secret_messages_are_not_signed() -> None:
    """Without a secret the message has an id and a time but no signature, and that is no problem."""
    got = delivered({})
    assert "webhook-signature" not in got.headers
    assert "x-hub-signature-256" not in got.headers
    assert got.headers["webhook-id"] == UPDATE.job_id


# Settings


def test_nothing_set_is_nothing_wrong() -> None:
    """Without a URL there is no webhook, and nothing to complain about."""
    assert configure({}, MAPPED) == ([], [])
    assert configure({"webhook_url": "", "webhook_secret": "x", "webhook_headers": "x"}, MAPPED) == ([], [])


def test_the_module_is_found_by_itself() -> None:
    """A URL in the settings is all it takes: the destination is loaded under its id."""
    loaded = load({"webhook_url": "http://example.org/x"}, MAPPED)
    assert list(loaded.destinations) == ["webhook:example.org"]
    assert load({"webhook_url": "example.org"}, MAPPED).broken_kinds == {KIND}


def test_what_can_not_be_used_yet_is_known() -> None:
    """With a bad secret the destinations are known, so that events wait for them; of a bad URL only its kind."""
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
    """A webhook's id is host and port, never the URL, which may hold a token."""
    assert [d.id for d in destinations({"webhook_url": url})] == [expected]


def test_urls_on_one_host_are_told_apart() -> None:
    """Several URLs on one host are destinations of their own, whose ids don't depend on their order."""
    urls = ["http://a.example/1", "http://a.example/2?token=abc", "http://b.example/"]
    made = destinations({"webhook_url": " ".join(urls)})
    again = destinations({"webhook_url": "  ".join([*reversed(urls), urls[0]])})
    assert sorted(d.id for d in made) == sorted(d.id for d in again)
    assert {d.fingerprint for d in made} == {d.fingerprint for d in again}
    assert made[2].id == "webhook:b.example"
    assert all(re.fullmatch(r"webhook:a\.example-[0-9a-f]{8}", d.id) for d in made[:2])
    assert len({d.id for d in made}) == 3


def test_the_fingerprint_changes_with_every_setting() -> None:
    """Whatever is changed about a destination, its breaker starts afresh; what is the same keeps it."""
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
    """user:password@ in a URL, escapes included, is sent as Basic authorisation and nowhere else."""
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


def test_headers_of_the_owner_are_sent() -> None:
    """Headers from the settings are sent with each message, values with a colon included."""
    got = delivered({"webhook_headers": "Authorization: Bearer a:b ; X-Empty:;User-Agent: mine"})
    assert got.headers["authorization"] == "Bearer a:b"
    assert got.headers["x-empty"] == ""
    assert got.headers["user-agent"] == "mine"


@pytest.mark.parametrize(
    "header",
    ["webhook-id: 1", "Webhook-Signature: v1,x", "content-type: text/plain", "HOST: x", "Content-Length: 1"],
)
def test_our_headers_stay_ours(header: str) -> None:
    """A header that we set ourselves is left out and named; the others are sent all the same."""
    with Receiver() as receiver:
        made, problems = configure({"webhook_url": receiver.url, "webhook_headers": f"A: 1; {header}"}, MAPPED)
        (destination,) = usable(made)
        destination.deliver(UPDATE, SCENE)
        destination.close()
    (got,) = receiver.received
    assert got.headers["a"] == "1"
    assert got.headers["webhook-id"] == UPDATE.job_id
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
        ("https://example.org/#/abcdef", "holds a #"),
    ],
)
def test_a_bad_url_is_told_without_showing_it(url: str, says: str) -> None:
    """A URL that can't be used is a sentence that says which one and why, without the token it may hold."""
    message = problem({"webhook_url": url})
    assert message.startswith("URL 1 in webhook_url ")
    assert says in message
    assert "abcdef" not in message
    assert "hunter2" not in message


def test_a_bad_url_does_not_take_the_good_ones_down() -> None:
    """Of two URLs the good one is delivered to while the other is complained about."""
    made, problems = configure({"webhook_url": "http://a.example/ b.example/x y"}, MAPPED)
    assert [d.id for d in usable(made)] == ["webhook:a.example"]
    assert [p.message[:6] for p in problems] == ["URL 2 ", "URL 3 "]


def test_one_url_with_two_logins_is_a_problem() -> None:
    """The same URL with two logins is not guessed about: the first holds, the second is complained about."""
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
    """With a secret that is none nothing goes out unsigned; the sentence, which is kept and logged, holds none."""
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
        ("no colon", "place 1"),
        ("A: 1; Cookie: a=b; hunter2=d", "place 3"),
        ("A B: 1", "place 1"),
        ("A: ü", "place 1"),
        ("A: 1\r\nB: 2", "place 1"),
        (": 1", "place 1"),
        ("A: 1; a: 2", "holds a twice"),
    ],
)
def test_a_bad_header_stops_the_webhook(headers: str, says: str) -> None:
    """Headers that can't be read stop the webhook with a sentence that says which, without its value."""
    message = problem({"webhook_url": "http://a.example/", "webhook_headers": headers})
    assert says in message
    assert "hunter2" not in message


@pytest.mark.parametrize("url", ["a.example", "http://a.example/ b.example"])
def test_all_that_is_wrong_is_told_at_once(url: str) -> None:
    """A bad secret and bad headers are told beside a bad URL: who mends one finds no other behind it."""
    raw = {"webhook_url": url, "webhook_secret": "x", "webhook_headers": "x"}
    made, problems = configure(raw, MAPPED)
    assert usable(made) == []
    assert [p.setting for p in problems] == ["webhook_url", "webhook_secret", "webhook_headers"]
    assert not any(p.minor for p in problems)


def test_a_header_that_is_left_out_stops_nothing() -> None:
    """What is only left out isn't counted among the settings that keep the webhook from being used."""
    problems = configure({"webhook_url": "a.example", "webhook_headers": "Host: x"}, MAPPED)[1]
    assert [(p.setting, p.minor) for p in problems] == [("webhook_url", False), ("webhook_headers", True)]


def test_two_logins_are_not_guessed_about() -> None:
    """A login in the URL beside an Authorization header is a problem, not a guess."""
    raw = {"webhook_url": "http://u:p@a.example/", "webhook_headers": "authorization: Bearer x"}
    assert "leave one of them" in problem(raw)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            k: st.text() | st.integers() | st.none() for k in ("webhook_url", "webhook_secret", "webhook_headers")
        },
    ),
    st.text(max_size=20),
)
@hypothesis_settings(max_examples=300, deadline=None)
def test_no_setting_is_too_odd(raw: dict[str, object], rest: str) -> None:
    """Whatever stands in the settings, the answer is destinations and sentences, never an exception."""
    for url in (raw.get("webhook_url"), f"http://{rest}", f"https://a.example/{rest}", f"http://{rest}@b.example"):
        wanted, problems = parse({**raw, "webhook_url": url})
        assert all(p.message.endswith(".") for p in problems)
        assert all(t.host for t in wanted.targets)


# Deliveries that fail, and the test


def test_a_refusal_shows_no_secret() -> None:
    """A receiver that echoes everything it got brings no secret into the failure."""

    def echo(received: Received) -> Reply:
        return Reply(404, body=(received.path + " " + json.dumps(dict(received.headers))).encode())

    with Receiver(echo) as receiver:
        url = receiver.url.replace("://", "://bob:hunter2@") + "hooks/abcdefghijklmnop/x?token=tok-en"
        raw = {"webhook_url": url, "webhook_secret": SECRET, "webhook_headers": "X-Gate: open-sesame"}
        (destination,) = destinations(raw)
        with pytest.raises(DeliveryFailed) as caught:
            destination.deliver(UPDATE, SCENE)
        report = destination.check(SCENE)
        destination.close()
    assert caught.value.failure is Failure.DESTINATION
    shown = caught.value.message + caught.value.answer + repr(caught.value) + " ".join(report.lines)
    for secret in ("hunter2", "abcdefghijklmnop", "tok-en", SECRET, "open-sesame", "Ym9iOmh1bnRlcjI="):
        assert secret not in shown
    assert "check webhook_url" in caught.value.message


def test_a_test_shows_what_would_arrive() -> None:
    """A test sends a real scene under a type of its own, and says that it was taken and by which path."""
    with Receiver() as receiver:
        (destination,) = destinations({"webhook_url": receiver.url, "webhook_secret": SECRET})
        report = destination.check(SCENE)
        destination.close()
    (got,) = receiver.received
    Judge(SECRET).verify(got.body.decode(), dict(got.headers))
    assert got.json()["type"] == TEST_TYPE
    assert got.json()["data"]["title"] == "one"
    assert report.ok
    assert report.lines[0] == f"127.0.0.1:{receiver.port} took a test event (200), signed."
    assert report.notes == (
        "Scene 17 goes out with the path /media/a/one.mkv, by the rule /data => /media of path_map.",
    )


def test_a_test_without_a_scene_works() -> None:
    """An empty Stash can test its webhook too."""
    with Receiver() as receiver:
        (destination,) = destinations({"webhook_url": receiver.url})
        empty = destination.check(None)
        destination.close()
    assert empty.ok
    assert "unsigned, since webhook_secret is empty" in empty.lines[0]
    assert empty.notes == ()


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ((), "Scene 17 goes out with the path /data/a/one.mkv."),
        (
            (("/films", "/media"),),
            "Scene 17 goes out with the path /data/a/one.mkv, as it is in Stash: no rule of path_map fits it.",
        ),
    ],
)
def test_an_unmapped_path_is_said(rules: tuple[tuple[str, str], ...], said: str) -> None:
    """A test says with which path the scene goes out, and that no rule fits only where there are rules."""
    with Receiver() as receiver:
        settings = dataclasses.replace(MAPPED, path_map=PathMap(rules))
        (destination,) = destinations({"webhook_url": receiver.url}, settings)
        report = destination.check(SCENE)
        destination.close()
    assert report.notes == (said,)


def test_a_test_that_fails_says_what_to_do() -> None:
    """A test that fails says what happened, what the receiver said and what to do."""
    with Receiver(Reply(401, body=b"bad key")) as receiver:
        (destination,) = destinations({"webhook_url": receiver.url})
        report = destination.check(SCENE)
        destination.close()
    assert not report.ok
    assert "answered 401 Unauthorized: check the login" in report.lines[0]
    assert report.lines[1:] == ("It said: bad key",)
    assert "/media/a/one.mkv" in report.notes[0]  # no part of what failed


def test_a_500_points_to_the_receivers_log() -> None:
    """A receiver that fails is said in words that fit any of them."""
    with Receiver(Reply(500)) as receiver:
        (destination,) = destinations({"webhook_url": receiver.url})
        with pytest.raises(DeliveryFailed) as caught:
            destination.deliver(UPDATE, SCENE)
        destination.close()
    assert caught.value.message.endswith(
        " answered 500 Internal Server Error: it failed to process this; see its own log."
    )
