"""What a person reads about a connection, on its card and in the status: state, sentence, and what to do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stash_courier.plugin.snapshot import Snapshot
from stash_courier.plugin.text import banners, standings
from stash_courier.plugin.text.words import since
from stash_courier.queue.failures import Failure
from stash_courier.queue.history.ledger import Noted
from stash_courier.queue.jobs import Attempt, Backlog
from stash_courier.worker import destinations
from stash_courier.worker.connections.model import Entry, State
from stash_courier.worker.connections.store import Stored
from stash_courier.worker.delivery.breaker import Health
from stash_courier.worker.destinations import Loaded
from stash_courier.worker.fields import Problem
from stash_courier.worker.settings import Settings

NOW = 1_800_000_000.0
HOUR, DAY = 3600.0, 86_400.0
KEY = "0123456789abcdef"
JELLYFIN = Entry("jellyfin-1", "Living room", "jellyfin", values={"url": "http://nas:8096/tv", "key": KEY})
OFTEN_OFF = Entry("jellyfin-1", "Living room", "jellyfin", values={**JELLYFIN.values, "often_off": True})
ID = JELLYFIN.id
WAITING = Backlog(total=12, retrying=3, in_flight=2, oldest=NOW - 300, next_due=NOW + 180)
COUNTS = "Waiting: 10. Retrying: 3. In flight: 2. Oldest: 5 min."
WELL = Health(last_success=NOW - 60, last_found=NOW - 60)
ILL = Health("ill", "unreachable", "nas refuses connections.", since=NOW - HOUR, until=NOW + 40)
GONE = Health("gone", "gone", "nas answered 410 Gone.", since=NOW - HOUR)
# A media server that has none of the scenes.
LOST: dict[str, Any] = {
    "backlog": {ID: Backlog(total=2, retrying=1, in_flight=0, oldest=NOW - 60, next_due=NOW + 60)},
    "failed": {ID: (5, Attempt(NOW, "not_there_yet", "Jellyfin does not know scene 5."))},
}


def webhook(preset: str, url: str = "http://nas:5678/hook", **values: object) -> Entry:
    """A webhook connection."""
    return Entry("webhook-1", "Hook", "webhook", values={"preset": preset, "url": url, **values})


def of(state: State) -> Entry:
    """The Jellyfin connection, in a state that its owner chose."""
    return replace(JELLYFIN, state=state)


def ill(failure: Failure, reason: str) -> Health:
    """The health of a destination that is held."""
    return Health("ill", failure.value, reason, since=NOW - HOUR, until=NOW + 30)


def snapshot(entry: Entry = JELLYFIN, health: Health = WELL, **fields: Any) -> Snapshot:
    """A moment with one connection; ``letters`` and ``waits`` are its own."""
    letters, waits = fields.pop("letters", 0), fields.pop("waits", None)
    loaded = destinations.read({}, Stored((entry,), revision=1), Settings())
    facts: dict[str, Any] = {"at": NOW, "loaded": loaded, "running": True, "healths": {entry.id: health}}
    facts |= {"dead_letters": {entry.id: letters}} if letters else {}
    facts |= {"backlog": {entry.id: waits}} if waits else {}
    return Snapshot(**facts | fields)


def only(*args: Any, **fields: Any) -> standings.Standing:
    """The one connection of a snapshot."""
    (one,) = standings.standings(snapshot(*args, **fields))
    return one


def line(*args: Any, **fields: Any) -> str:
    """Its line in a task's report."""
    return only(*args, **fields).line(NOW)


def card(*args: Any, stopped: str = "", **fields: Any) -> dict[str, Any]:
    """Its card on the page."""
    return only(*args, **fields).card(stopped)


REFUSED_KEY = ill(Failure.DESTINATION, "nas:8096 answered 401 Unauthorized: check the API key.")
REASON = "nas:5678 answered 401 Unauthorized: check the login."
HELD = Health("ill", "destination", REASON, since=NOW - 2 * HOUR, until=NOW + 40, probes=4)
BUSY = Health("ill", "busy", "nas:8096 answered 503 Service Unavailable: so we wait.", since=NOW - 2 * DAY)


@pytest.mark.parametrize(
    ("health", "fields", "parts"),
    [
        (WELL, {}, ["working. Waiting: 0. Last delivery: 60 s ago."]),
        (WELL, {"waits": WAITING}, [f"working. {COUNTS} Next try: in 3 min."]),
        (WELL, {"absent": {ID: 1900}}, ["Not on the server: 1,900."]),
        (Health(last_success=1.0, reason="no answer"), {"waits": WAITING}, ["Last error: no answer."]),
        (WELL, LOST, ["Last error: Jellyfin does not know scene 5."]),
        (HELD, {"waits": WAITING}, ["waiting since", REASON, "Fix this", f"{COUNTS} Next try: in 40 s."]),
        (replace(BUSY, since=NOW - HOUR), {}, ["503"]),
        (BUSY, {}, ["IP filter"]),
        (GONE, {}, ["gone since", "410 Gone.", "Enter its new address"]),
        (
            Health(reason="slow down", retry_at=NOW + 600),
            {},
            ["asked to wait. slow down.", "Next try: in 10 min."],
        ),
        (ILL, {"paused_since": NOW - HOUR, "waits": WAITING}, ["paused since", "All deliveries are paused."]),
    ],
)
def test_a_line_says_state_reason_advice_and_counts(
    health: Health, fields: dict[str, Any], parts: list[str]
) -> None:
    """One line explains itself: what state, since when, why, what to do, what waits, and when it is tried."""
    said = line(health=health, **fields)
    assert said.startswith("Living room: ")
    assert all(part in said for part in parts), said
    if health.state == "gone" or "paused_since" in fields:
        assert "Next try" not in said


def test_how_long_something_lasts_is_said_in_the_owners_time() -> None:
    """Since when it waits is a time of the day, with how long ago that was."""
    assert line(health=HELD).startswith(f"Living room: waiting {since(NOW - 2 * HOUR, NOW)}. ")


@pytest.mark.parametrize(
    ("state", "health", "shown", "troubled"),
    [
        ("on", WELL, "well", False),
        ("leaving", WELL, "well", False),
        ("on", ILL, "held", True),
        ("on", GONE, "gone", True),
        ("paused", ILL, "paused", False),
        ("off", ILL, "off", False),
        ("burying", ILL, "deleting", False),
    ],
)
def test_what_its_owner_chose_comes_first(state: State, health: Health, shown: str, *, troubled: bool) -> None:
    """What the owner paused or switched off is no trouble, whatever went wrong before."""
    one = only(of(state), health)
    assert (one.state, one.troubled) == (shown, troubled)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"health": REFUSED_KEY}, ("edit", "Enter a new key", "key")),
        ({"health": REFUSED_KEY, "letters": 3}, ("edit", "Enter a new key", "key")),
        (
            {"health": ill(Failure.FORBIDDEN, "nas answered 403 Forbidden."), "entry": webhook("standard")},
            ("edit", "Enter a new key", "headers"),
        ),
        (
            {"health": REFUSED_KEY, "entry": webhook("home-assistant", "http://nas:8123", token="abc")},
            ("edit", "Enter a new key", "token"),
        ),
        (
            {"health": REFUSED_KEY, "entry": webhook("discord", "https://discord.com/api/webhooks/1/abc")},
            ("edit", "Enter a new address", "url"),
        ),
        ({"health": ill(Failure.DESTINATION, "nas answered 404.")}, ("edit", "Enter a new address", "url")),
        ({"health": GONE}, ("deliver_now", "Deliver now", "")),
        ({"health": ILL}, ("test", "Test", "")),
        ({"health": ILL, "letters": 1}, ("open_dead_letters", "Open dead letters", "")),
        ({"health": ill(Failure.REJECTED, "nas answered 400.")}, ("deliver_now", "Deliver now", "")),
        ({"letters": 1}, ("open_dead_letters", "Open dead letters", "")),
        ({"entry": of("paused")}, ("resume", "Resume", "")),
        ({"entry": of("off")}, ("resume", "Switch on", "")),
        ({"entry": of("burying")}, None),
        ({"health": WELL, **LOST}, ("test", "Test", "")),
        ({"health": Health(), "letters": 3, **LOST}, ("test", "Test", "")),
        ({"health": replace(WELL, last_found=0.0), "letters": 3, **LOST}, ("test", "Test", "")),
        ({"health": WELL, "letters": 3, **LOST}, ("open_dead_letters", "Open dead letters", "")),
        ({"health": Health(), "letters": 3, "absent": {ID: 1}}, ("test", "Test", "")),
        ({}, None),
        ({"entry": replace(JELLYFIN, values={"url": "http://nas:8096"})}, ("edit", "Enter a new key", "key")),
        (
            {"entry": replace(JELLYFIN, values={"url": "nas:8096", "key": KEY})},
            ("edit", "Enter a new address", "url"),
        ),
        (
            {"entry": replace(JELLYFIN, values={**JELLYFIN.values, "path_map": "data"})},
            ("edit", 'Correct "Path map"', "path_map"),
        ),
    ],
)
def test_the_click_that_a_state_calls_for(fields: dict[str, Any], expected: tuple[str, ...] | None) -> None:
    """What only a person can correct comes first, then dead letters, then what helps to find out more."""
    action = card(**fields)["action"]
    assert (action and (action["do"], action["label"], action.get("field", ""))) == expected


@pytest.mark.parametrize(
    ("fields", "health", "reason"),
    [
        ({"health": Health()}, "nothing_sent", ""),
        ({}, "delivering", ""),
        (LOST, "delivering", "1 scene is tried again: Jellyfin does not know scene 5."),
        (
            {"health": replace(WELL, reason="nas answered 422", streak=(("rejected", 7), ("rejected", 8)))},
            "delivering",
            "2 scenes are not accepted: nas answered 422.",
        ),
        ({"health": ILL}, "waiting", "nas refuses connections."),
        ({"health": ILL, "paused_since": NOW}, "paused", "All deliveries are paused."),
        ({"health": GONE, "paused_since": NOW}, "gone", "nas answered 410 Gone."),
        ({"entry": of("leaving")}, "deleting", "What waits is sent first, then the connection is deleted."),
        ({"stopped": "No worker runs.", "waits": WAITING}, "waiting", "No worker runs."),
        ({"stopped": "No worker runs."}, "delivering", ""),  # nothing waits
    ],
)
def test_a_card_says_health_and_reason(fields: dict[str, Any], health: str, reason: str) -> None:
    """A card has a word for its state and a sentence without times, about the scenes that it concerns."""
    shown = card(**fields)
    assert (shown["health"], shown["reason"].strip()) == (health, reason)
    assert shown["next_try"] is None or "paused_since" not in fields


def test_a_card_shows_no_secret() -> None:
    """Neither a key nor an address that is one is on a card; the link to the server's pages has no login."""
    shown = card()
    assert (shown["kind_name"], shown["host"], shown["link"]) == (
        "Jellyfin",
        "nas:8096",
        "http://nas:8096/tv/web/index.html",
    )
    assert KEY not in str(shown)
    secret = card(webhook("discord", "https://discord.com/api/webhooks/1/tokentoken"))
    assert (secret["host"], secret["link"], secret["is_message"]) == ("discord.com", "", True)
    assert "tokentoken" not in str(secret)


@pytest.mark.parametrize(("failure", "status"), [(Failure.REJECTED, 400), (Failure.REFUSED, 500)])
def test_a_connection_that_refuses_scenes_names_one_and_what_it_answered(failure: Failure, status: int) -> None:
    """A test can pass there all the same, so the card says what was refused and what helps."""
    said = f"nas answered {status} Whatever: see its answer."
    attempt = Attempt(NOW - 9, failure.value, said, status, '{"error": "The field studio is required."}')
    shown = card(health=ill(failure, said), failed={ID: (12, attempt)})
    assert shown["reason"] == f"Scene 12: {said} It answered: The field studio is required."
    assert "A test that passes doesn't show" in shown["advice"]
    other = replace(attempt, failure=Failure.BUSY.value)  # this isn't why it is held
    assert card(health=ill(failure, said), failed={ID: (12, other)})["reason"] == said


def test_what_was_left_alone_is_counted_in_sentences() -> None:
    """The card says what was left alone there and which switch changes it; the status has the numbers."""
    notes = {"locked_fields": Noted(12, (3, 5)), "shared_item": Noted(1, (3,))}
    one = only(notes={ID: notes})
    locked, shared = one.remarks
    assert locked.sentence().startswith("Scenes with locked fields, which were left alone: 12 (such as 3, 5). ")
    assert "Home videos" in shared.advice
    assert "Split Apart" not in shared.advice  # that is Plex's
    facts: Any = one.facts()
    assert facts["notes"]["locked_fields"] == {"count": 12, "scenes": [3, 5]}
    assert not one.troubled


def shown_ids(entries: tuple[Entry, ...], **fields: Any) -> dict[str, str]:
    """The states of all that is shown, by id. ``hidden``: a setting that can't be read may hide connections."""
    hidden, asked = fields.pop("hidden", False), fields.pop("asked", True)
    wrong = (Problem("webhook_url", "URL 1 is wrong."),) if hidden else ()
    loaded = Loaded(
        entries={one.id: one for one in entries}, problems=wrong, unsure=hidden or not asked, asked=asked
    )
    now = Snapshot(at=NOW, loaded=loaded, **{"healths": {ID: WELL}, **fields})
    return {one.destination: one.state for one in standings.standings(now)}


REMOVED: dict[str, Any] = {"healths": {ID: Health(removed_at=NOW - 2 * DAY)}, "backlog": {ID: WAITING}}


@pytest.mark.parametrize(
    ("entries", "fields", "expected"),
    [
        ((JELLYFIN,), {"healths": {}}, {ID: "well"}),
        ((), {}, {}),  # not set up any more, and nothing waits for it
        ((), {"backlog": {ID: WAITING}}, {ID: "removed"}),
        ((), REMOVED, {ID: "removed"}),
        ((), {**REMOVED, "hidden": True}, {ID: "removed"}),
        ((), {"hidden": True}, {ID: "broken"}),  # a setting that can't be read may name it
        ((), {"asked": False}, {ID: "well"}),  # Stash can't be asked: what was known last
        ((), {**REMOVED, "asked": False}, {ID: "removed"}),
    ],
)
def test_which_connections_are_shown(
    entries: tuple[Entry, ...], fields: dict[str, Any], expected: dict[str, str]
) -> None:
    """What is set up or hidden, and what left the settings only while something waits for it."""
    assert shown_ids(entries, **fields) == expected


def test_what_waits_for_a_removed_connection_has_an_end() -> None:
    """The line says when it becomes dead letters, and the way back."""
    now = Snapshot(at=NOW, loaded=Loaded(entries={"x": webhook("standard")}), **REMOVED)
    (said,) = [one.line(NOW) for one in standings.standings(now) if one.destination == ID]
    assert said.startswith(f"{ID}: inactive {since(NOW - 2 * DAY, NOW)}. It is not in the connections. ")
    assert "it becomes dead letters in 28 days" in said
    assert said.endswith(COUNTS)


def test_an_unusable_connection_names_what_to_correct() -> None:
    """Its line names each field once; what waits is kept."""
    broken = replace(JELLYFIN, values={"url": "http://nas:8096", "path_map": "data"})
    assert line(broken, waits=WAITING) == f'Living room: unusable. To correct: "Path map", "API key". {COUNTS}'
    assert card(broken)["health"] == "unusable"


@pytest.mark.parametrize(
    ("fields", "parts"),
    [
        ({}, None),
        ({"paused_since": NOW - HOUR}, [f"Deliveries: paused {since(NOW - HOUR, NOW)}.", "page Stash Courier"]),
        ({"disabled": True}, ["Enable it in Stash's Settings → Plugins."]),
        (
            {"stash_away": {"since": NOW - HOUR, "reason": "no answer"}},
            ["Stash: not reached by the worker since", "no answer."],
        ),
        ({"stash_away": {"since": NOW - HOUR, "reason": "no answer"}, "running": False}, None),
    ],
)
def test_what_holds_all_deliveries_is_said(fields: dict[str, Any], parts: list[str] | None) -> None:
    """A pause, a disabled plugin, a Stash that the worker can't reach. An ended worker says nothing of it."""
    banner = banners.blocked(snapshot(**fields))
    assert (banner is None) == (parts is None)
    assert all(part in banner.line(NOW) for part in parts or () if banner)


def test_changes_that_wait_for_an_unreadable_address_are_said() -> None:
    """If the only URL is invalid, a line shows how many changes wait for a connection, and what to correct."""
    wrong = (Problem("webhook_url", "URL 1 is wrong."),)
    hidden = Loaded(problems=wrong, unsure=True)
    shown = banners.undecided(Snapshot(at=NOW, loaded=hidden, inbox=3))
    assert shown is not None
    said = 'Waiting for a connection: 3. To correct: "Webhook, URL". What waits is delivered afterwards.'
    assert shown.line(NOW) == said
    assert banners.undecided(Snapshot(at=NOW, loaded=hidden)) is None
    assert banners.undecided(snapshot(inbox=3)) is None


@pytest.mark.parametrize(
    ("entry", "health", "down"),
    [
        (JELLYFIN, ILL, True),
        (OFTEN_OFF, ILL, False),
        (OFTEN_OFF, GONE, True),
        (JELLYFIN, Health(retry_at=NOW + 9), False),
        (of("paused"), ILL, False),
        (replace(JELLYFIN, values={}), WELL, True),
    ],
)
def test_what_the_badge_calls_down(entry: Entry, health: Health, *, down: bool) -> None:
    """What is held up, gone or unusable; not what asked for a wait, is often off, or its owner stopped."""
    assert only(entry, health).is_down is down


@pytest.mark.parametrize(
    ("moves", "fields"),
    [
        (False, {}),
        (False, {"waits": Backlog(3, 3, 0, 1, NOW + 9)}),
        (True, {"waits": Backlog(3, 0, 0, 1, NOW - 1)}),
        (True, {"waits": Backlog(3, 0, 1, 1, NOW + 9)}),
        (True, {"health": Health("ill", until=NOW - 1), "waits": Backlog(3, 3, 0, 1, NOW + 9)}),
        (False, {"health": Health("ill", until=NOW + 5), "waits": Backlog(3, 3, 0, 1, NOW - 1)}),
        (False, {"health": Health("gone"), "waits": Backlog(3, 3, 0, 1, NOW - 1)}),
        (False, {"entry": of("paused"), "waits": Backlog(3, 0, 0, 1, NOW - 1)}),
        (False, {"entry": replace(JELLYFIN, values={}), "waits": Backlog(3, 0, 0, 1, NOW - 1)}),
        (False, {"waits": Backlog(3, 0, 0, 1, NOW - 1), "paused_since": 1.0}),
        (False, {"waits": Backlog(3, 0, 0, 1, NOW - 1), "disabled": True}),
        (False, {"inbox": 1, "stash_away": {"since": 1.0, "reason": "gone"}}),
        (True, {"inbox": 1}),
        (False, {"inbox": 1, "loaded": Loaded(problems=(Problem("webhook_url", "Wrong."),), unsure=True)}),
        (True, {"spooled": 1}),
        (True, {"expedite": True}),
    ],
)
def test_deliver_now_knows_what_it_waits_for(fields: dict[str, Any], *, moves: bool) -> None:
    """It waits for what is in flight or due, and for nothing that is held, paused, unusable or due later."""
    assert snapshot(**fields).moves() is moves
