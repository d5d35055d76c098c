"""What the page shows of a connection, and the click that it offers first."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from stash_courier.plugin.snapshot import NO_QUEUE, Snapshot
from stash_courier.plugin.text.standings import standings
from stash_courier.plugin.views.cards import card
from stash_courier.queue import control
from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.failures import Failure
from stash_courier.queue.inbox import files, spool
from stash_courier.queue.jobs import Attempt, Backlog
from stash_courier.worker import destinations
from stash_courier.worker.connections.model import Entry
from stash_courier.worker.connections.store import Stored
from stash_courier.worker.delivery.breaker import Health
from stash_courier.worker.settings import Settings
from tests.support import connections
from tests.support.press import bury, press

NOW = 1_800_000_000.0
KEY = "0123456789abcdef"
JELLYFIN = Entry("jellyfin-1", "Living room", "jellyfin", values={"url": "http://nas:8096/tv", "key": KEY})
RETRYING = Backlog(total=2, retrying=1, in_flight=0, oldest=NOW - 60, next_due=NOW + 60)
NO_ACTION = None


def webhook(preset: str, url: str = "http://nas:5678/hook", **values: object) -> Entry:
    """A webhook connection."""
    return Entry("webhook-1", "Hook", "webhook", values={"preset": preset, "url": url, **values})


def shown(entry: Entry = JELLYFIN, dead_letters: int = 0, stopped: str = "", **moment: Any) -> dict[str, Any]:
    """The connection's card. ``moment``: fields of the snapshot, and ``health``."""
    health = moment.pop("health", Health())
    facts: dict[str, Any] = {"at": NOW, "healths": {entry.id: health}, **moment}
    snapshot = Snapshot(**{name: getattr(NO_QUEUE, name) for name in Snapshot.__slots__} | facts)
    loaded = destinations.read({}, Stored((entry,), revision=1), Settings())
    (one,) = standings(snapshot, loaded)
    return card(one, snapshot, loaded, dead_letters, stopped)


def ill(failure: Failure, reason: str) -> Health:
    """The health of a destination that is held."""
    return Health("ill", failure.value, reason, since=NOW - 3600, until=NOW + 30)


def action(**card_of: Any) -> tuple[object, ...] | None:
    """What the card offers first, as (do, label, field)."""
    found = shown(**card_of)["action"]
    return found and (found["do"], found["label"], found.get("field", ""))


def test_nothing_is_delivered_while_no_worker_runs() -> None:
    """A card whose deliveries wait doesn't say that it delivers while nothing at all is delivered."""
    waits = {JELLYFIN.id: Backlog(total=1, retrying=0, in_flight=0, oldest=NOW, next_due=NOW)}
    well = Health(last_success=NOW - 60)
    found = shown(stopped="The worker doesn't run.", health=well, backlog=waits)
    assert (found["health"], found["reason"]) == ("waiting", "The worker doesn't run.")
    assert shown(stopped="The worker doesn't run.", health=well)["health"] == "delivering"  # nothing waits


def test_a_card_of_a_new_connection() -> None:
    """It says that nothing was sent yet and needs no click. The link has no login, the card no secret."""
    found = shown()
    assert (found["health"], found["reason"], found["action"]) == ("nothing_sent", "", None)
    assert found["kind_name"] == "Jellyfin"
    assert found["host"] == "nas:8096"
    assert found["link"] == "http://nas:8096/tv/web/index.html"
    assert KEY not in str(found)
    secret = shown(webhook("discord", "https://discord.com/api/webhooks/1/tokentoken"))
    assert (secret["host"], secret["link"], secret["is_message"]) == ("discord.com", "", True)
    assert "tokentoken" not in str(secret)


REFUSED_KEY = ill(Failure.DESTINATION, "nas:8096 answered 401 Unauthorized: check the API key.")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"health": REFUSED_KEY}, ("edit", "Enter a new key", "key")),
        ({"health": REFUSED_KEY, "dead_letters": 3}, ("edit", "Enter a new key", "key")),
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
        (
            {"health": ill(Failure.DESTINATION, "nas answered 404 Not Found.")},
            ("edit", "Enter a new address", "url"),
        ),
        ({"health": Health("gone", "gone", "nas answered 410 Gone.")}, ("deliver_now", "Deliver now", "")),
        ({"health": ill(Failure.UNREACHABLE, "nas refuses connections.")}, ("test", "Test", "")),
        (
            {"health": ill(Failure.UNREACHABLE, "nas refuses connections."), "dead_letters": 1},
            ("open_dead_letters", "Open dead letters", ""),
        ),
        ({"health": Health(last_success=NOW), "dead_letters": 1}, ("open_dead_letters", "Open dead letters", "")),
        ({"entry": Entry("jellyfin-1", "A", "jellyfin", "paused", JELLYFIN.values)}, ("resume", "Resume", "")),
        ({"entry": Entry("jellyfin-1", "A", "jellyfin", "off", JELLYFIN.values)}, ("resume", "Switch on", "")),
        ({"entry": Entry("jellyfin-1", "A", "jellyfin", "burying", JELLYFIN.values)}, NO_ACTION),
        (
            {
                "backlog": {JELLYFIN.id: RETRYING},
                "failed": {JELLYFIN.id: (5, Attempt(NOW, "not_there_yet", "Jellyfin does not know scene 5."))},
            },
            ("test", "Test", ""),
        ),
        ({"health": Health(last_success=NOW)}, NO_ACTION),
    ],
)
def test_the_click_that_a_state_calls_for(fields: dict[str, Any], expected: tuple[str, ...] | None) -> None:
    """What only a person can mend comes first, then dead letters, then what helps to find out more."""
    assert action(**fields) == expected


LOST: dict[str, Any] = {
    "backlog": {JELLYFIN.id: RETRYING},
    "failed": {JELLYFIN.id: (5, Attempt(NOW, "not_there_yet", "Jellyfin does not know scene 5."))},
}


@pytest.mark.parametrize("missing", [LOST, {"absent": {JELLYFIN.id: 1}}], ids=["it waits", "it is skipped"])
def test_a_server_that_found_nothing_so_far_calls_for_a_test(missing: dict[str, Any]) -> None:
    """Before dead letters, which may have come of the same path map. Once something was found, only they count."""
    found = shown(dead_letters=3, **missing)
    assert found["health"] == "nothing_sent"
    assert found["advice"] == "Nothing was found under these paths: press Test."
    assert found["action"] == {"do": "test", "label": "Test"}
    delivers = shown(health=Health(last_success=NOW), dead_letters=3, **missing)
    assert (delivers["advice"], delivers["action"]["do"]) == ("", "open_dead_letters")


def test_what_is_wrong_with_single_scenes_is_said_of_them() -> None:
    """A connection that delivers stays so in words; a reason names how many scenes it is about."""
    found = shown(health=Health(last_success=NOW), **LOST)
    assert (found["health"], found["reason"]) == (
        "delivering",
        "1 scene is tried again: Jellyfin does not know scene 5.",
    )
    refused = Health(last_success=NOW, reason="nas answered 422", streak=(("rejected", 7), ("rejected", 8)))
    found = shown(health=refused, dead_letters=2)
    assert (found["health"], found["reason"]) == ("delivering", "2 scenes are not accepted: nas answered 422.")
    assert shown(health=Health(), **LOST)["health"] == "nothing_sent"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"url": "http://nas:8096"}, ("edit", "Enter a new key", "key")),
        ({"url": "nas:8096", "key": KEY}, ("edit", "Enter a new address", "url")),
        (
            {"url": "http://nas:8096", "key": KEY, "path_map": "data"},
            ("edit", 'Correct "Path map"', "path_map"),
        ),
    ],
)
def test_an_unusable_connection_leads_to_its_field(values: dict[str, object], expected: tuple[str, ...]) -> None:
    """The card says in a sentence what is wrong, and the click opens the field."""
    entry = Entry("jellyfin-1", "A", "jellyfin", values=values)
    assert shown(entry)["health"] == "unusable"
    assert shown(entry)["reason"].startswith('"')
    assert action(entry=entry) == expected


def test_while_all_is_paused_a_card_says_so() -> None:
    """A connection that works, or waits for its destination, is shown as paused, and nothing is tried next."""
    for health in (Health(last_success=NOW), ill(Failure.UNREACHABLE, "nas refuses connections.")):
        found = shown(health=health, paused_since=NOW - 5)
        assert (found["health"], found["since"], found["next_try"]) == ("paused", NOW - 5, None)
    assert shown(health=Health("gone", "gone", "410."), paused_since=NOW)["health"] == "gone"


def test_a_held_connection_says_since_when_why_and_when_it_is_tried() -> None:
    """Times are numbers, because the page counts them down; sentences have none."""
    found = shown(health=ill(Failure.UNREACHABLE, "nas refuses connections"))
    assert (found["health"], found["since"], found["next_try"]) == ("waiting", NOW - 3600, NOW + 30)
    assert found["reason"] == "nas refuses connections."
    assert found["advice"]


@pytest.mark.parametrize(("failure", "status"), [(Failure.REJECTED, 400), (Failure.REFUSED, 500)])
def test_a_connection_that_refuses_scenes_names_one_and_what_it_answered(failure: Failure, status: int) -> None:
    """A test can pass there all the same, so the card says what was refused and what helps, and offers no test."""
    said = f"nas answered {status} Whatever: see its answer."
    attempt = Attempt(NOW - 9, failure.value, said, status, '{"error": "The field studio is required."}')
    found = shown(health=ill(failure, said), failed={JELLYFIN.id: (12, attempt)})
    assert found["reason"] == f"Scene 12: {said} It answered: The field studio is required."
    assert "A test that passes doesn't show" in found["advice"]
    assert "test succeeds" not in found["advice"]
    assert found["action"] == {"do": "deliver_now", "label": "Deliver now"}
    other = replace(attempt, failure=Failure.BUSY.value)  # this isn't why it is held
    assert shown(health=ill(failure, said), failed={JELLYFIN.id: (12, other)})["reason"] == said


# The whole views, in a folder without Stash and worker


def test_views_of_a_fresh_install_make_no_files(tmp_path: Path) -> None:
    """Nothing is set up and nothing exists: the overview is empty, the badge shows nothing."""
    found = press(tmp_path, "overview")
    assert (found["connections"], found["dead_letters"], found["inbox"]) == ([], 0, 0)
    assert [one["text"].split(".")[0] for one in found["banners"]] == ["Stash: not available"]
    assert "lines" not in found
    badge = press(tmp_path, "badge")
    assert (badge["count"], badge["dead_letters"], badge["down"], badge["text"]) == (0, 0, [], "")
    assert not list(tmp_path.glob("*.db"))


def down(folder: Path, entry: Entry, **health: object) -> None:
    """Stores a connection, and that it is held."""
    connections.store(folder, entry)
    queue = SceneQueue(folder)
    state = asdict(Health("ill", "unreachable", "no", until=time.time() + 60))
    control.put_state(queue.connection, entry.id, {**state, **health})
    queue.close()


def test_the_badge_counts_dead_letters_and_what_is_down(tmp_path: Path) -> None:
    """It names the connections that are down."""
    bury(tmp_path, 1, Failure.BUG)
    down(tmp_path, JELLYFIN)
    found = press(tmp_path, "badge")
    assert (found["count"], found["dead_letters"], found["down"]) == (2, 1, ["Living room"])
    assert found["text"] == "Dead letters: 1. Held up: Living room."


def test_a_connection_of_stashs_page_that_is_down(tmp_path: Path) -> None:
    """It is shown as the worker last knew it, since the badge doesn't ask Stash; not after it was removed."""
    name = "webhook:nas:5678"
    state = asdict(Health("ill", "unreachable", "no", since=time.time() - 1800))
    for removed_at, counted in ((0.0, 1), (time.time(), 0)):
        with closing(SceneQueue(tmp_path)) as queue:
            control.put_state(queue.connection, name, {**state, "removed_at": removed_at})
        badge = press(tmp_path, "badge")
        assert (badge["count"], badge["down"]) == (counted, [name][:counted])
        cards = press(tmp_path, "overview")["connections"]  # this Stash can't be asked
        assert [card["health"] for card in cards] == ["waiting"][:counted]


@pytest.mark.parametrize(("state", "counted"), [("ill", 0), ("gone", 1)])
def test_what_is_often_off_has_no_badge(state: str, counted: int, tmp_path: Path) -> None:
    """Only while it can't be reached: a server that is gone for good is shown."""
    entry = Entry("jellyfin-1", "A", "jellyfin", values={**JELLYFIN.values, "often_off": True})
    down(tmp_path, entry, state=state)
    assert press(tmp_path, "badge")["count"] == counted


@pytest.mark.parametrize("name", [files.QUEUE_DB, files.DLQ_DB])
def test_a_damaged_database_leaves_the_rest(name: str, tmp_path: Path) -> None:
    """The page shows what can be read, says what can't, and offers the restart that repairs it."""
    down(tmp_path, JELLYFIN)
    bury(tmp_path, 1, Failure.BUG)
    (tmp_path / name).write_bytes(b"no database at all" * 100)
    found = press(tmp_path, "overview")
    (banner,) = [one for one in found["banners"] if name in one["text"]]
    assert banner["status"] == "fail"
    assert banner["action"]["do"] == "restart_worker"
    assert [one["name"] for one in found["connections"]] == ["Living room"]
    assert found["dead_letters"] == (1 if name == files.QUEUE_DB else 0)
    badge = press(tmp_path, "badge")
    assert name in badge["text"]
    assert badge["count"]


def test_what_concerns_everything_has_a_banner(tmp_path: Path) -> None:
    """A pause, the spool, a worker that doesn't run although something waits: each with what to do."""
    queue = SceneQueue(tmp_path)
    queue.put({"scene": 5, "event": "update", "changed": [], "at": time.time()})
    control.put(queue.connection, control.PAUSED, NOW)
    control.put(queue.connection, control.DISABLED, True)
    control.put(queue.connection, control.UNSEEN, "Dead letters will be deleted.")
    queue.close()
    spool.put(str(tmp_path), b"{}")
    found = press(tmp_path, "overview")
    texts = {one["text"].partition(".")[0]: one for one in found["banners"]}
    assert texts["Deliveries: paused"]["action"] == {"do": "resume", "label": "Resume deliveries"}
    assert texts["Deliveries: paused"]["since"] == found["paused_since"] == NOW
    assert "Worker: not running, but deliveries wait" in texts
    assert "Changes outside the queue: 1" in texts
    assert "Dead letters will be deleted" in texts
    assert found["worker"]["running"] is False


def test_a_connection_that_is_expedited_must_exist(tmp_path: Path) -> None:
    """The page is told in a sentence; it is no error, which Stash would log."""
    answer = press(tmp_path, "expedite", connection="nothing")
    assert "no connection 'nothing'" in answer["problem"]
