"""Which connections are usable, waiting or removed, and which pools are kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import pytest

from stash_courier.queue import control
from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.inbox import files
from stash_courier.worker.connections import drafts
from stash_courier.worker.connections.model import Connection, Entry, State
from stash_courier.worker.connections.store import Store
from stash_courier.worker.delivery.breaker import Health
from stash_courier.worker.delivery.pool import Pool
from stash_courier.worker.delivery.registry import Registry, classify
from stash_courier.worker.destinations import Destination, Loaded
from stash_courier.worker.stash.covers import no_cover
from tests.support.connections import connection, store

NOW = 1_000_000.0
ILL = Health(state="ill", fingerprint="same", since=NOW - 60)


# The health of each


def named(name: str, fingerprint: str = "same") -> Connection:
    """A connection that can be used."""
    return replace(connection("webhook", {"url": "http://a/"}, name=name), fingerprint=fingerprint)


def sort(
    stored: dict[str, Health], *connections: Connection, unusable: str = "", unsure: bool = False
) -> dict[str, Health]:
    """The health of each destination; ``unusable`` is the id of a connection with a problem."""
    entries = {one.id: one.entry for one in connections}
    if unusable:
        entries[unusable] = Entry(unusable, unusable, "webhook")
    known = {one.id: one for one in connections}
    loaded = Loaded(connections=known, entries=entries, unsure=unsure, retired=frozenset({"webhook-9"}))
    return classify(stored, loaded, NOW)


def test_a_destination_keeps_its_health_until_its_fields_change() -> None:
    """A restart doesn't reset a destination that is held; a corrected field does."""
    assert sort({"plex": ILL}, named("plex")) == {"plex": ILL}
    assert sort({"plex": ILL}, named("plex", "other"))["plex"].state == "well"
    assert sort({}, named("plex"))["plex"].state == "well"


def test_a_destination_that_is_not_named_any_more_is_removed_since_now() -> None:
    """The 30 days for its deliveries begin when it is removed, and don't begin again later."""
    known = sort({"plex": ILL}, named("webhook:a"))
    assert known["plex"].removed_at == NOW
    assert known["webhook:a"].removed_at == 0.0
    earlier = sort({"plex": Health(removed_at=5.0)}, named("webhook:a"))
    assert earlier["plex"].removed_at == 5.0


def test_a_destination_that_is_named_again_is_not_removed() -> None:
    """A destination that is set up again gets its deliveries."""
    known = sort({"plex": Health(removed_at=5.0, fingerprint="same")}, named("plex"))
    assert known == {"plex": Health(fingerprint="same")}


def test_what_cannot_be_read_removes_nothing() -> None:
    """While settings can't be read, all that were set up keep getting deliveries, but what the owner removed."""
    stored = {"plex": ILL, "webhook:a": Health(removed_at=5.0), "webhook-9": Health()}
    known = sort(stored, unsure=True)
    assert known["plex"] == ILL
    assert known["webhook:a"].removed_at == 5.0  # its owner had removed it before
    assert known["webhook-9"].removed_at == NOW  # it was deleted


@pytest.mark.parametrize("stored", [{}, {"webhook:b": Health(removed_at=5.0)}], ids=["new", "removed before"])
def test_a_destination_that_waits_for_a_correction_gets_deliveries(stored: dict[str, Health]) -> None:
    """A destination with an invalid field is set up: its deliveries wait for the correction."""
    assert sort(stored, unusable="webhook:b") == {"webhook:b": Health()}


# The registry


HOOK = Entry("webhook-1", "Hook", "webhook", values={"url": "http://b.example/", "settle_seconds": 20})
PLEX = Entry("plex", "Plex", "plex", values={"url": "http://plex:32400", "key": "0123456789abcdef"})
RAW = {"webhook_url": "http://a.example/", "worker_settle_seconds": 5}
IMPLICIT = "webhook:a.example"


class Setup:
    """A registry on a data folder with two connections and one of the quick start."""

    def __init__(self, folder: Path, queue: SceneQueue) -> None:
        self.folder = folder
        self.queue = queue
        self.start()

    def start(self) -> None:
        """Begins as a restarted worker does."""
        self.registry = Registry(self.queue, lambda: NOW, no_cover, self._pool)

    def _pool(self, destination: Destination, connection: Connection, health: Health) -> Pool:
        return Pool(destination, connection, health, lambda _: None)

    def save(self, *entries: Entry) -> list[str]:
        """Saves connections, lets the worker follow; the ids of the pools that were retired."""
        store(self.folder, *entries)
        return self.follow()

    def follow(self) -> list[str]:
        """Lets the worker follow; the ids of the pools that were retired."""
        return [pool.connection.id for pool in self.registry.follow_store()]

    def problems(self) -> list[list[str]]:
        """What the worker left for the buttons."""
        found: list[list[str]] = control.get(self.queue.connection, control.PROBLEMS) or []
        return found


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[Setup]:
    with closing(SceneQueue(tmp_path)) as queue:
        store(tmp_path, HOOK, PLEX)
        made = Setup(tmp_path, queue)
        made.registry.configure(RAW)
        yield made
        for pool in made.registry.all_pools():
            pool.close()


def test_connections_of_both_places_get_pools(setup: Setup) -> None:
    """Each connection has a pool with its own policy, and its own time to let edits settle."""
    assert set(setup.registry.pools) == {"webhook-1", "plex", IMPLICIT}
    assert setup.registry.targets == {"webhook-1": 20, "plex": 5, IMPLICIT: 5}
    assert setup.registry.removed == {}
    assert setup.problems() == []


def test_unchanged_connections_keep_their_pools(setup: Setup) -> None:
    """A change of one connection interrupts no request of another."""
    before = dict(setup.registry.pools)
    assert setup.follow() == []
    assert setup.save(replace(HOOK, values={**HOOK.values, "attempts": 3})) == ["webhook-1"]
    assert setup.registry.pools["plex"] is before["plex"]
    assert setup.registry.pools[IMPLICIT] is before[IMPLICIT]
    assert setup.registry.pools["webhook-1"] is not before["webhook-1"]
    assert setup.registry.pools["webhook-1"].connection.policy.attempts == 3
    assert before["webhook-1"] in setup.registry.all_pools()
    setup.registry.close_idle()
    assert before["webhook-1"] not in setup.registry.all_pools()


def test_a_common_setting_changes_those_that_use_it(setup: Setup) -> None:
    """A common setting makes new pools for the connections that have no value of their own."""
    before = dict(setup.registry.pools)
    retired = setup.registry.configure({**RAW, "worker_settle_seconds": 9})
    assert {pool.connection.id for pool in retired} == {"plex", IMPLICIT}
    assert setup.registry.pools["webhook-1"] is before["webhook-1"]
    assert setup.registry.targets == {"webhook-1": 20, "plex": 9, IMPLICIT: 9}


def test_a_new_name_keeps_health_and_deliveries(setup: Setup) -> None:
    """Renaming a connection changes neither its id nor what is known of it."""
    health = replace(setup.registry.pools["plex"].health, state="ill", since=NOW)
    control.put_state(setup.queue.connection, "plex", asdict(health))
    setup.save(replace(PLEX, name="Living room"))
    assert setup.registry.pools["plex"].health.state == "ill"
    assert setup.registry.removed == {}


@pytest.mark.parametrize(
    ("state", "target", "sends"),
    [("paused", True, False), ("off", False, False), ("leaving", False, True)],
)
def test_states_of_a_connection(setup: Setup, state: State, target: bool, sends: bool) -> None:
    """Paused: all is queued, nothing sent. Off: nothing is queued, what waits stays. Leaving: only what waits."""
    assert setup.save(replace(PLEX, state=state)) == ["plex"]
    assert ("plex" in setup.registry.targets) is target
    assert ("plex" in setup.registry.pools) is sends
    assert setup.registry.removed == {}
    assert not setup.registry.unusable
    setup.registry.note_removed("plex")
    assert setup.registry.removed == {}
    assert setup.save(PLEX) == (["plex"] if sends else [])
    assert "plex" in setup.registry.pools


def test_a_connection_that_leaves_is_deleted_when_nothing_waits(setup: Setup) -> None:
    """Once everything was sent, the worker deletes the connection, and follows its own change."""
    setup.registry.leave()
    setup.save(replace(PLEX, state="leaving"))
    setup.registry.leave()
    stored = Store(setup.folder).read()
    assert [entry.id for entry in stored.entries] == ["webhook-1"]
    assert stored.retired == {"plex"}
    assert setup.follow() == ["plex"]
    assert setup.registry.removed == {"plex": NOW}


def test_a_connection_that_cannot_be_deleted_now_stays(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the file can't be written, the worker goes on, and deletes the connection later."""
    setup.save(replace(PLEX, state="leaving"))

    def refused(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Store, "change", refused)
    setup.registry.leave()
    monkeypatch.undo()
    assert "plex" in setup.registry.pools
    setup.registry.leave()
    assert setup.follow() == ["plex"]


def test_a_connection_with_a_problem_keeps_its_deliveries(setup: Setup) -> None:
    """Events are queued for a connection that can't be used; the buttons read what is wrong."""
    assert setup.save(replace(PLEX, values={"url": "http://plex"})) == ["plex"]
    assert "plex" in setup.registry.targets
    assert "plex" not in setup.registry.pools
    assert setup.registry.unusable
    assert setup.problems() == [["plex", "key", '"Token" is empty. Until it is corrected, nothing is sent.']]
    assert setup.save(PLEX) == []
    assert (setup.registry.unusable, setup.problems()) == (False, [])


@pytest.mark.parametrize("restarted", [False, True])
def test_an_unreadable_file_removes_nothing(
    setup: Setup, restarted: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """While connections.json can't be read, nothing is sent, everything is queued, and nothing is removed."""
    file = setup.folder / files.CONNECTIONS
    good = file.read_bytes()
    file.write_bytes(good.replace(b'"format": 1', b'"format": 9'))
    if restarted:
        setup.start()
        setup.registry.configure(RAW)
    else:
        assert set(setup.follow()) == {"webhook-1", "plex", IMPLICIT}
    assert set(setup.registry.targets) == {"webhook-1", "plex", IMPLICIT}
    assert setup.registry.removed == {}
    assert setup.registry.pools == {}
    assert setup.registry.unusable
    assert setup.registry.retention_days is None
    assert [field for _, field, _ in setup.problems()] == [files.CONNECTIONS]
    caplog.clear()
    assert setup.follow() == []
    assert caplog.messages == []  # it is looked at again and again, without a new line in the log
    file.write_bytes(good)
    setup.follow()
    assert set(setup.registry.pools) == {"webhook-1", "plex", IMPLICIT}
    assert setup.registry.retention_days == 30


def test_a_change_that_could_not_be_stored_is_tried_again(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """If queue.db can't be written, the former connections stay in use until the next look."""

    def refused(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(control, "put_state", refused)
    with pytest.raises(OSError, match="No space left"):
        setup.save(replace(PLEX, state="paused"))
    assert "plex" in setup.registry.pools
    monkeypatch.undo()
    assert setup.follow() == ["plex"]
    assert "plex" not in setup.registry.pools


def test_an_empty_page_is_trusted_once_there_are_connections(setup: Setup) -> None:
    """After the conversion Stash's page is empty: then a removed webhook is removed, and dead letters expire."""
    setup.registry.configure({})
    assert set(setup.registry.targets) == {"webhook-1", "plex"}
    assert setup.registry.removed == {IMPLICIT: NOW}
    assert setup.registry.retention_days == 30


def test_another_path_map_has_found_nothing_yet(setup: Setup) -> None:
    """After a change of the path map it isn't known whether scenes are found; the rest of the health stays."""
    setup.save(PLEX)
    for last_found, values in ((0.0, {"path_map": "/a => /b"}), (5.0, {"attempts": 3})):
        setup.registry.configure({})
        health = replace(setup.registry.pools["plex"].health, last_success=5.0, last_found=5.0)
        control.put_state(setup.queue.connection, "plex", asdict(health))
        setup.save(replace(PLEX, values={**PLEX.values, "path_map": "/a => /b", **values}))
        assert setup.registry.pools["plex"].health == replace(health, last_found=last_found)


def test_secrets_are_known_and_nothing_else(setup: Setup) -> None:
    """Every secret of every connection is removed from logs and errors, but no folder, tag or address is."""
    secret = "whsec_" + "c2VjcmV0" * 4
    values = {
        "url": "http://b.example/",
        "secret": secret,
        "path_map": "/data => /media",
        "skip_tags": ["private"],
    }
    setup.registry.configure({**RAW, "webhook_secret": "whsec_x", "plex_token": "alone"})
    setup.save(replace(HOOK, values=values), replace(PLEX, state="off"))
    assert set(setup.registry.secrets) == {secret, "whsec_x", "alone", "0123456789abcdef"}


def test_a_deleted_connection_gives_nothing_to_a_new_one(setup: Setup) -> None:
    """It gets no events; what waits for it is not sent by one of Stash's page with the same address."""
    kept = Store(setup.folder)
    kept.change(kept.read().revision, partial(drafts.deleted, connection="webhook-1"))
    same = {"webhook_url": f"{RAW['webhook_url']} {HOOK.values['url']}"}
    setup.registry.configure({**RAW, **same})
    assert setup.registry.removed == {"webhook-1": NOW}
    assert "webhook-1" not in setup.registry.targets
    assert len(setup.registry.pools) == 3
