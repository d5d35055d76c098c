"""The state of a destination as the owner reads it, and when "Deliver now" has nothing left to wait for."""

from __future__ import annotations

from typing import Any

import pytest

from stash_courier.plugin.snapshot import Snapshot
from stash_courier.plugin.text import banners, standings
from stash_courier.plugin.text.words import since
from stash_courier.queue.history.ledger import Noted
from stash_courier.queue.jobs import Attempt, Backlog
from stash_courier.worker.connections.model import Entry, State
from stash_courier.worker.delivery.breaker import Health
from stash_courier.worker.destinations import Loaded
from stash_courier.worker.fields import Problem
from tests.support.press import HOOK

NOW = 1_800_000_000.0
HOUR, DAY = 3600.0, 86_400.0
WELL, NOTHING = Health(), Backlog(0, 0, 0, 0.0, 0.0)
WAITING = Backlog(total=12, retrying=3, in_flight=2, oldest=NOW - 300, next_due=NOW + 180)
COUNTS = "Waiting: 10. Retrying: 3. In flight: 2. Oldest: 5 min."
SECRET = '"Signing secret"'
URL = '"Webhook, URL"'
BAD_URL = Problem("webhook_url", "URL 1 is wrong.")


def entry(name: str = HOOK, state: State = "on") -> Entry:
    """A connection."""
    return Entry(name, name, "webhook", state)


def loaded(*entries: Entry, problems: tuple[Problem, ...] = (), faults: tuple[str, ...] = ()) -> Loaded:
    """What is set up. ``faults``: what to correct in the connection HOOK. A problem hides connections."""
    known = {one.id: one for one in entries}
    return Loaded(
        entries=known,
        problems=problems,
        unsure=bool(problems),
        unusable={HOOK: faults} if faults else {},
    )


def line(health: Health, waits: Backlog = NOTHING, known: Loaded | None = None, **fields: Any) -> str:
    """The line about the destination."""
    moment = seen(health, waits, **fields)
    return standings.standing(moment, HOOK, known or loaded(entry())).line(moment)


def by_id(moment: Snapshot, known: Loaded | None) -> dict[str, standings.Standing]:
    """The destinations that are shown."""
    return {one.destination: one for one in standings.standings(moment, known)}


def seen(health: Health = WELL, waits: Backlog = NOTHING, **fields: Any) -> Snapshot:
    """The queue with one destination."""
    moment: dict[str, Any] = {
        "at": NOW,
        "inbox": 0,
        "backlog": {HOOK: waits} if waits.total else {},
        "healths": {HOOK: health},
        "paused_since": None,
        "disabled": False,
        "expedite": False,
        "stash_away": None,
        "problems": (),
        "notices": (),
        "last_success": None,
        "added": 0,
    }
    return Snapshot(**moment | fields)


def test_notes_are_counted_in_sentences() -> None:
    """The owner reads what was left alone there, why, and which switch changes it."""
    (one,) = standings.standings(seen(notes={HOOK: {"locked_fields": Noted(12, (3, 5))}}), loaded(entry()))
    said = (
        "Scenes with locked fields, which were left alone: 12 (such as 3, 5). To have what is locked overwritten, "
    )
    assert [remark.sentence() for remark in one.remarks] == [f'{said}switch "respect_locks" off.']
    assert one.facts()["notes"] == {"locked_fields": {"count": 12, "scenes": [3, 5]}}
    assert not one.troubled


@pytest.mark.parametrize(
    ("kind", "own", "other"), [("jellyfin", "Home videos", "Split Apart"), ("plex", "Split Apart", "Home videos")]
)
def test_advice_is_the_servers_own(kind: str, own: str, other: str) -> None:
    """What makes versions items of their own differs; what only looks like a part needs another name in both."""
    server = Entry(HOOK, HOOK, kind)
    (one,) = standings.standings(seen(notes={HOOK: {"shared_item": Noted(1, (3,))}}), loaded(server))
    (remark,) = one.remarks
    assert own in remark.advice
    assert other not in remark.advice
    assert "Rename what is no part" in remark.advice


def test_skipped_scenes_are_counted() -> None:
    """The owner reads how many scenes a media server doesn't have."""
    (one,) = standings.standings(seen(absent={HOOK: 1900}), loaded(entry()))
    assert "Not on the server: 1,900." in one.line(seen())
    assert one.facts()["not_on_server"] == 1900
    (none,) = standings.standings(seen(), loaded(entry()))
    assert "Not on the server" not in none.line(seen())


def test_a_working_destination_shows_what_waits_and_when_it_goes() -> None:
    """The owner reads what waits, what failed before, what is in flight, and when the next delivery begins."""
    assert line(Health(last_success=NOW - 60), WAITING) == (
        f"{HOOK}: working. {COUNTS} Next try: in 3 min. Last delivery: 60 s ago."
    )
    assert line(Health(reason="no answer"), WAITING) == (
        f"{HOOK}: working. {COUNTS} Next try: in 3 min. Last error: no answer."
    )
    assert line(WELL, WAITING, failed={HOOK: (5, Attempt(0.0, "refused", "It lacks scene 5"))}).endswith(
        "Last error: It lacks scene 5."
    )
    assert line(WELL) == f"{HOOK}: working. Waiting: 0."


def test_a_held_destination_shows_since_when_why_what_to_do_and_the_next_try() -> None:
    """A destination that gets nothing for now explains itself in one line."""
    reason = "nas:5678 answered 401 Unauthorized: check the login."
    health = Health("ill", "destination", reason, since=NOW - 2 * HOUR, until=NOW + 40, probes=4)
    shown = line(health, WAITING)
    assert shown.startswith(f"{HOOK}: waiting {since(NOW - 2 * HOUR, NOW)}. {reason} ")
    assert shown.endswith(f" {COUNTS} Next try: in 40 s.")
    assert "Fix this, then test the connection" in shown


def test_a_day_of_503_points_to_the_ip_filter() -> None:
    """After a day of 503 the owner reads that a media server's IP filter answers like this."""
    reason = "nas:8096 answered 503 Service Unavailable: it is overloaded or starting, so we wait."
    recent = Health("ill", "busy", reason, since=NOW - HOUR, until=NOW + 40)
    old = Health("ill", "busy", reason, since=NOW - 2 * DAY, until=NOW + 40)
    assert "IP filter" not in line(recent)
    assert "IP filter" in line(old)


def test_a_destination_that_is_gone_waits_for_its_settings() -> None:
    """After a 410 there is no next try, and the owner reads what to change."""
    shown = line(Health("gone", "gone", "nas answered 410 Gone.", since=NOW - HOUR))
    assert shown.startswith(f"{HOOK}: gone {since(NOW - HOUR, NOW)}. nas answered 410 Gone. ")
    assert "Next try" not in shown
    assert "Enter its new address" in shown


def test_a_destination_that_asked_to_wait_shows_until_when() -> None:
    """A Retry-After of a working destination is shown with its reason."""
    shown = line(Health(reason="slow down", retry_at=NOW + 600))
    assert shown == f"{HOOK}: asked to wait. slow down. Waiting: 0. Next try: in 10 min."


def test_a_removed_destination_shows_how_long_its_deliveries_are_kept() -> None:
    """What waits for a destination that left the settings is shown with its end and the way back."""
    shown = line(Health(removed_at=NOW - 2 * DAY), WAITING, loaded())
    assert shown.startswith(f"{HOOK}: inactive {since(NOW - 2 * DAY, NOW)}. It is not in the connections. ")
    assert "it becomes dead letters in 28 days" in shown
    assert shown.endswith(COUNTS)


@pytest.mark.parametrize(("state", "said"), [("paused", "paused"), ("off", "switched off")])
def test_a_connection_that_is_paused_or_off_says_so(state: State, said: str) -> None:
    """What the owner paused or switched off is no trouble, whatever went wrong before, and shows what waits."""
    health = Health("ill", "unreachable", "nas refuses connections.", since=NOW - HOUR, until=NOW + 40)
    known = loaded(entry(state=state))
    moment = seen(health, WAITING)
    one = standings.standing(moment, HOOK, known)
    assert one.line(moment) == f"{HOOK}: {said}. {COUNTS}"
    assert not one.troubled
    assert line(health, WAITING, known, paused_since=NOW - 5) == f"{HOOK}: {said}. {COUNTS}"


def test_a_connection_that_is_leaving_still_sends() -> None:
    """A connection that is deleted once everything was sent shows how that goes."""
    assert line(WELL, WAITING, loaded(entry(state="leaving"))).startswith(f"{HOOK}: working. {COUNTS}")


def test_a_broken_destination_names_the_fields_and_what_waits() -> None:
    """A destination with invalid fields shows which ones, and that what waits is kept."""
    known = loaded(entry(), faults=(SECRET,))
    moment = seen(waits=WAITING)
    found = by_id(moment, known)[HOOK]
    assert found.state == "broken"
    assert found.troubled
    assert found.line(moment) == f"{HOOK}: unusable. To correct: {SECRET}. {COUNTS}"
    two = loaded(entry(), faults=(URL, SECRET, URL))
    assert by_id(seen(), two)[HOOK].line(seen()) == f"{HOOK}: unusable. To correct: {URL}, {SECRET}. Waiting: 0."
    off = loaded(entry(state="off"), faults=(SECRET,))
    assert by_id(seen(), off)[HOOK].state == "broken"


def test_a_new_destination_with_an_invalid_field_is_shown() -> None:
    """At first set-up a destination with a bad secret is shown before the worker has stored anything about it."""
    known = loaded(entry(), faults=(SECRET,))
    assert by_id(seen(healths={}), known)[HOOK].state == "broken"


def test_a_destination_that_unreadable_settings_hide_is_shown() -> None:
    """While settings can't be read, a destination that they may name shows what to correct."""
    known = loaded(entry("plex"), problems=(BAD_URL,))
    moment = seen(waits=WAITING)
    assert by_id(moment, known)[HOOK].line(moment) == f"{HOOK}: unusable. To correct: {URL}. {COUNTS}"
    assert by_id(moment, known)["plex"].state == "well"


def test_a_destination_that_is_not_set_up_any_more_is_not_shown() -> None:
    """A destination that is not set up is shown only while something waits for it."""
    other = loaded(entry("plex"))
    assert set(by_id(seen(), other)) == {"plex"}
    assert set(by_id(seen(), loaded())) == set()
    assert by_id(seen(waits=WAITING), other)[HOOK].state == "removed"
    removed = seen(Health(removed_at=NOW - DAY), WAITING)
    assert by_id(removed, loaded(problems=(BAD_URL,)))[HOOK].state == "removed"
    assert by_id(seen(), None)[HOOK].state == "well"  # Stash can't be asked: what was known last
    assert by_id(removed, None)[HOOK].state == "removed"


def test_changes_for_an_unknown_destination_are_shown() -> None:
    """If the only URL is invalid, one line shows how many changes wait for a destination, and why."""
    hidden = loaded(problems=(BAD_URL,))
    moment = seen(inbox=3, healths={})
    shown = banners.undecided(moment, hidden)
    assert shown is not None
    assert (
        shown.line(NOW) == f"Waiting for a connection: 3. To correct: {URL}. What waits is delivered afterwards."
    )
    assert banners.undecided(moment, loaded(entry(), problems=(BAD_URL,))) is None
    assert banners.undecided(moment, None) is banners.undecided(moment, loaded()) is None
    assert banners.undecided(seen(healths={}), hidden) is None


@pytest.mark.parametrize(
    "health",
    [
        Health(last_success=NOW - 60),
        Health(reason="slow down.", retry_at=NOW + 600),
        Health("ill", "unreachable", "nas refuses connections.", since=NOW - HOUR, until=NOW + 40),
        Health("gone", "gone", "nas answered 410 Gone.", since=NOW - HOUR),
    ],
)
def test_while_paused_each_destination_waits_for_resume(health: Health) -> None:
    """During a pause no destination shows a next try, but why it got nothing before stays visible."""
    shown = line(health, WAITING, paused_since=NOW - 5)
    assert shown.startswith(f"{HOOK}: paused")
    assert 'Press "Resume deliveries".' in shown
    assert COUNTS in shown
    assert "working" not in shown
    assert "Next try" not in shown
    assert health.reason in shown


def test_what_holds_all_deliveries_is_shown() -> None:
    """A pause, a disabled plugin and an unreachable Stash each have a line that says what to do or why."""

    def shown(**fields: Any) -> str:
        banner = banners.blocked(seen(**fields))
        return "" if banner is None else banner.line(NOW)

    assert shown() == ""
    paused = f'Deliveries: paused {since(NOW - HOUR, NOW)}. Press "Resume deliveries".'
    assert shown(paused_since=NOW - HOUR) == paused
    assert "Enable it" in shown(disabled=True)
    away = shown(stash_away={"since": NOW - HOUR, "reason": "no answer"})
    assert away == f"Stash: not reached by the worker {since(NOW - HOUR, NOW)}. no answer."


@pytest.mark.parametrize(
    ("moves", "moment"),
    [
        (False, seen()),
        (False, seen(waits=Backlog(3, 3, 0, 1, NOW + 9))),
        (True, seen(waits=Backlog(3, 0, 0, 1, NOW - 1))),
        (True, seen(waits=Backlog(3, 0, 1, 1, NOW + 9))),
        (True, seen(Health("ill", until=NOW - 1), Backlog(3, 3, 0, 1, NOW + 9))),
        (False, seen(Health("ill", until=NOW + 5), Backlog(3, 3, 0, 1, NOW - 1))),
        (False, seen(Health("gone"), Backlog(3, 3, 0, 1, NOW - 1))),
        (False, seen(Health(removed_at=1.0), Backlog(3, 3, 0, 1, NOW - 1))),
        (False, seen(waits=Backlog(3, 0, 0, 1, NOW - 1), paused_since=1.0)),
        (False, seen(waits=Backlog(3, 0, 0, 1, NOW - 1), disabled=True)),
        (False, seen(waits=Backlog(3, 0, 0, 1, NOW - 1), stash_away={"since": 1.0, "reason": "gone"})),
        (True, seen(inbox=1)),
        (False, seen(inbox=1, stash_away={"since": 1.0, "reason": "gone"})),
        (True, seen(expedite=True)),
    ],
)
def test_deliver_now_knows_what_it_waits_for(moves: bool, moment: Snapshot) -> None:
    """It waits for what is in flight or due, and for nothing that is held, paused or due later."""
    assert moment.moves({HOOK}) is moves


def test_deliver_now_does_not_wait_for_broken_settings() -> None:
    """The button doesn't wait for a destination with invalid settings."""
    assert not seen(waits=Backlog(3, 0, 0, 1, NOW - 1)).moves(set())
