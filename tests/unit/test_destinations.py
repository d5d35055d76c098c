"""destinations.load: quick start and connections.json together, and what keeps a connection unused."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any

import pytest

from stash_courier.queue.inbox import files
from stash_courier.worker import destinations, fields
from stash_courier.worker.connections.model import Entry, Shared
from stash_courier.worker.connections.store import Stored
from stash_courier.worker.destinations import Loaded
from stash_courier.worker.settings import Settings
from tests.support.connections import connection

KEY = "0123456789abcdef"
URL = "http://a.example/"
QUICK = {"webhook_url": URL}
HOOK = Entry("webhook-1", "Hook", "webhook", values={"url": "http://b.example/"})
PLEX = Entry(
    "plex", "Plex", "plex", values={"url": "http://plex:32400", "key": KEY, "path_map": "/data => /media"}
)


def load(raw: Mapping[str, object], *entries: Entry, **stored: Any) -> Loaded:
    """What is set up, with the destinations closed."""
    content = Stored(entries, **{"revision": 1 if entries else 0, **stored})
    loaded = destinations.load(raw, content, Settings(worker_attempts=7))
    with ExitStack() as stack:
        for destination in loaded.destinations.values():
            stack.enter_context(closing(destination))
    return loaded


def test_kinds_are_found_by_themselves() -> None:
    """A kind is a folder with its fields; what all connections have can't be a field of one kind."""
    assert set(destinations.kinds()) == {"emby", "jellyfin", "plex", "webhook"}
    shared = {entry.key for entry in fields.of(Shared)}
    for module in destinations.kinds().values():
        assert module.NAME
        assert module.HELP.endswith(".")
        own = fields.of(module.Options)
        assert not shared & {entry.key for entry in own}
        assert all(entry.label and entry.help.endswith(".") for entry in own)
        assert next(entry.key for entry in own if entry.basic and entry.type == "text") == "url"


def test_both_places_are_read() -> None:
    """Connections of the quick start and of connections.json are loaded together, each under its id."""
    loaded = load(QUICK, HOOK, PLEX)
    assert set(loaded.destinations) == set(loaded.connections) == set(loaded.entries)
    assert set(loaded.entries) == {"webhook-1", "plex", "webhook:a.example"}
    assert all(destination.id == name for name, destination in loaded.destinations.items())
    assert [entry.from_settings for entry in loaded.entries.values()] == [False, False, True]
    assert (loaded.problems, loaded.unusable, loaded.unsure, loaded.empty) == ((), {}, False, False)
    assert loaded.connections["plex"].path_map.apply("/data/x") == "/media/x"
    assert loaded.connections["webhook-1"].path_map.apply("/data/x") == "/data/x"


def test_a_connection_has_its_own_policy_or_the_common_one() -> None:
    """Each value of the policy that a connection doesn't have is the common setting."""
    own = connection(
        "webhook",
        {"url": URL, "attempts": 3, "settle_seconds": 0, "schedule": "1s"},
        Settings(worker_settle_seconds=60, worker_timeout_seconds=25, worker_concurrency=2),
    ).policy
    assert (own.attempts, own.schedule, own.settle_seconds) == (3, (1.0,), 0)
    assert (own.timeout_seconds, own.concurrency) == (25, 2)
    assert connection("webhook", {"url": URL, "attempts": 0}, Settings(worker_attempts=7)).policy.attempts == 7


def test_nothing_is_set_up() -> None:
    """Without any connection there is nothing to report; Stash may have lost its settings."""
    loaded = load({})
    assert loaded.empty
    assert loaded.unsure
    assert load({"worker_attempts": 5}).unsure is False
    assert load({}, HOOK).unsure is False  # the page is empty once everything is a connection


@pytest.mark.parametrize(
    ("change", "label"),
    [
        ({"kind": "kodi"}, '"kind"'),
        ({"values": {"url": "http://b.example/", "colour": "red"}}, '"colour"'),
        ({"values": {"url": "b.example"}}, '"Address"'),
        ({"values": {}}, '"Address"'),
        ({"values": {"url": "http://b.example/", "secret": "hunter2"}}, '"Signing secret"'),
        ({"values": {"url": "http://b.example/", "skip_tags": [1]}}, '"Never scenes with a tag"'),
        ({"values": {"url": "http://b.example/", "attempts": "many"}}, '"Attempts"'),
    ],
)
@pytest.mark.parametrize("state", ["on", "paused", "off"])
def test_a_connection_with_a_problem_sends_nothing(change: dict[str, Any], label: str, state: Any) -> None:
    """Any value that can't be used keeps its connection from sending, and no other connection."""
    loaded = load(QUICK, replace(HOOK, state=state, **change))
    assert set(loaded.entries) == {"webhook-1", "webhook:a.example"}
    assert set(loaded.destinations) == set(loaded.connections) == {"webhook:a.example"}
    assert loaded.unusable == {"webhook-1": (label,)}
    assert loaded.to_correct == [label]
    (problem,) = loaded.problems
    assert problem.connection == "webhook-1"
    assert "othing is sent" in problem.message
    assert "hunter2" not in problem.message
    assert not loaded.unsure


def test_an_unknown_kind_is_named_with_the_known_ones() -> None:
    """A kind of another version is reported with the kinds that there are."""
    (problem,) = load({}, replace(HOOK, kind="kodi")).problems
    assert problem.message == ("There is no kind 'kodi'. Kinds: emby, jellyfin, plex, webhook. Nothing is sent.")
    assert destinations.secret_fields("kodi", {"url": "x", "token": "y"}) == {"url", "token"}
    assert destinations.secret_fields("webhook", {}) >= {"secret", "headers"}


def test_all_problems_of_a_connection_are_found_at_once() -> None:
    """One look shows everything that is wrong with a connection."""
    loaded = load({}, replace(HOOK, values={"url": "x", "secret": "x", "folders": "x", "other": 1}))
    assert sorted(problem.field for problem in loaded.problems) == ["folders", "other", "secret", "url"]


@pytest.mark.parametrize(("state", "sends"), [("on", True), ("leaving", True), ("paused", False), ("off", False)])
def test_only_what_is_on_has_a_destination(state: Any, sends: bool) -> None:
    """A paused connection and one that is off are known, with their values, and nothing is sent to them."""
    loaded = load(QUICK, replace(HOOK, state=state))
    assert ("webhook-1" in loaded.destinations) is sends
    assert "webhook-1" in loaded.connections
    assert loaded.entries["webhook-1"].state == state
    assert (loaded.problems, loaded.unusable, loaded.to_correct) == ((), {}, [])


def test_a_url_without_an_id_makes_the_rest_unsure() -> None:
    """A webhook whose URL can't be read may be any webhook, so none counts as removed; the others work."""
    loaded = load({"webhook_url": f"{URL} b.example"}, PLEX)
    assert set(loaded.destinations) == {"webhook:a.example", "plex"}
    assert loaded.unsure
    assert loaded.to_correct == ['"Webhook, URL"']
    assert loaded.names("webhook:b.example", removed=False)
    assert not loaded.names("webhook:b.example", removed=True)
    assert loaded.names("plex", removed=True)


def test_deleted_connections_are_never_unsure() -> None:
    """A connection that was deleted is removed even while other settings can't be read."""
    loaded = load({"webhook_url": "b.example"}, PLEX, retired=frozenset({"webhook-1"}))
    assert not loaded.names("webhook-1", removed=False)
    assert loaded.names("webhook-2", removed=False)


def test_while_connections_json_cannot_be_read_nothing_is_sent() -> None:
    """What the owner set up is unknown then, filters included, and the quick start may hold old values."""
    loaded = load(QUICK, problem="connections.json can't be read.")
    assert loaded.destinations == {}
    assert loaded.unsure
    assert loaded.unusable == {"webhook:a.example": (f'"{files.CONNECTIONS}"',)}
    assert loaded.to_correct == [f'"{files.CONNECTIONS}"']
    assert loaded.names("webhook-1", removed=False)
    assert [problem.message for problem in loaded.problems] == ["connections.json can't be read."]
    assert not loaded.empty


def test_the_fingerprint_is_of_the_kinds_own_fields() -> None:
    """A new name, filter, path map or policy keeps a destination's health; a new address resets it."""
    one = load({}, HOOK).connections["webhook-1"].fingerprint
    same = replace(
        HOOK, name="Other", state="paused", values={**HOOK.values, "path_map": "/a => /b", "attempts": 3}
    )
    assert load({}, same).connections["webhook-1"].fingerprint == one
    assert load({}, replace(HOOK, values={"url": URL})).connections["webhook-1"].fingerprint != one
