"""worker/troubles.py and plugin/notices.py: the list of troubles, and what each outlet is told of them."""

from __future__ import annotations

import json
import threading
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stash_courier.plugin import notices as page
from stash_courier.queue import control
from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.failures import Failure
from stash_courier.queue.inbox import files
from stash_courier.worker import troubles
from stash_courier.worker.connections.model import Entry
from stash_courier.worker.delivery.breaker import Health
from stash_courier.worker.delivery.registry import Registry
from stash_courier.worker.destinations import Loaded
from stash_courier.worker.troubles import BEGINS, DEAD_LETTERS, ENDS, QUIET_SECONDS, Told, Trouble, Troubles
from tests.support.durable import START, Clock
from tests.support.press import bury, press

NAME = "jellyfin"
ILL = Health(state="ill", failure=Failure.DESTINATION, reason="It refuses the API key (401)", since=START - 60)
ENTRY = Entry(NAME, "Living room", "jellyfin")
WRONG = [("plex", "url", '"Address" is wrong')]


def present(entry: Entry = ENTRY, health: Health | None = None, **given: Any) -> dict[str, Trouble]:
    """The troubles with one connection."""
    loaded = Loaded(entries={NAME: entry}, unusable=given.get("unusable", {}))
    healths = {} if health is None else {NAME: health}
    return troubles.present(loaded, healths, given.get("problems", ()), given.get("dead", 0), START)


@pytest.mark.parametrize(
    ("found", "keys", "since", "says"),
    [
        (present(), [], 0, ""),
        (present(health=Health()), [], 0, ""),
        (present(health=ILL), [NAME], START - 60, "It refuses the API key (401)"),
        (
            present(health=Health(retry_at=START + 7200, reason="It asks to wait")),
            [NAME],
            START,
            "It asks to wait",
        ),
        (present(health=Health(retry_at=START - 1)), [], 0, ""),
        (present(unusable={NAME: ("Key",)}), [NAME], START, "It can't be used: Key."),
        (present(Entry(NAME, "A", "plex", state="paused"), unusable={NAME: ("Key",)}), [], 0, ""),
        (present(problems=WRONG), ["settings"], START, '1. plex: "Address" is wrong.'),
        (present(unusable={NAME: ("Key",)}, problems=[(NAME, "key", "is wrong")]), [NAME], START, "Key"),
        (present(dead=1200), [DEAD_LETTERS], START, "Dead letters: 1,200."),
    ],
)
def test_what_is_a_trouble(found: dict[str, Trouble], keys: list[str], since: float, says: str) -> None:
    """A connection that is held up or can't be used, settings, and dead letters, each with since when and why."""
    assert list(found) == keys
    for trouble in found.values():
        assert (trouble.since, says in trouble.reason) == (since, True)


@settings(max_examples=300)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 2000), st.booleans()), max_size=60))
def test_trouble_that_comes_and_goes_is_told_at_most_once_an_hour(steps: list[tuple[bool, int, bool]]) -> None:
    """Whatever comes, goes and is read when: a beginning an hour at most, and each end after its beginning.

    A step is whether the trouble is there, how many seconds pass, and whether the outlet passes on what is due.
    """
    now, known = START, dict[str, Told]()
    told: list[tuple[str, float]] = []
    for there, seconds, reads in steps:
        now += seconds
        found = {"a": Trouble(now, "Why.")} if there else {}
        known = troubles.followed(known, found, now)
        if reads:
            began, ended = troubles.beginnings(known, found, 0.0, now), troubles.ends(known)
            told += [("begins", now)] * len(began) + [("ends", now)] * len(ended)
            known = troubles.marked(known, began, ended, now)
            assert not there or any(one.told for one in known.values())
        assert there or not any(one.told and not one.ended for one in known.values())
    assert [what for what, _ in told] == (["begins", "ends"] * len(told))[: len(told)]
    begun = [at for what, at in told if what == "begins"]
    assert all(later - earlier >= QUIET_SECONDS for earlier, later in pairwise(begun))


@pytest.mark.parametrize(
    ("lasts", "patience", "least", "told"),
    [(0, 0, 0, True), (599, 600, 0, False), (600, 600, 0, True), (5, 0, 60, False)],
)
def test_a_short_trouble_is_not_told(lasts: float, patience: float, least: float, told: bool) -> None:
    """An outlet is told after the minutes that its owner set, and of a Retry-After only if it is long."""
    found = {"a": Trouble(START, "Why.", least_seconds=least)}
    known = troubles.followed({}, found, START)
    assert troubles.beginnings(known, found, patience, START + lasts) == ["a"] * told
    assert troubles.followed(known, {}, START + lasts) == {}, "if nothing was told, no end is"


def test_whether_it_has_ended_may_be_unknown() -> None:
    """While it is unknown whether a trouble lasts, its end isn't told."""
    told = {"a": Told(START, told=START)}
    assert troubles.ends(troubles.followed(told, {}, START + 9, unknown=["a"])) == []
    assert troubles.ends(troubles.followed(told, {}, START + 9)) == ["a"]


# Stash's log


class Worker:
    """The troubles of a worker whose destination has a health that the test sets."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = Clock()
        self.pool = SimpleNamespace(health=Health())
        self.registry = SimpleNamespace(pools={NAME: self.pool}, loaded=Loaded(entries={NAME: ENTRY}))
        self.queue = SceneQueue(folder)
        self.dlq = DeadLetterQueue(folder)
        self.start()

    def start(self) -> None:
        """Starts another worker with the same files."""
        self.troubles = Troubles(self.queue, self.dlq, cast(Registry, self.registry), self.clock)

    def close(self) -> None:
        self.queue.close()
        self.dlq.close()


def shown(folder: Path, capfd: pytest.CaptureFixture[str]) -> list[str]:
    """What a page load writes to Stash's log."""
    page.show(str(folder))
    lines = capfd.readouterr().err.split("\n")[:-1]
    assert all(line.startswith("\x01w\x02") for line in lines)
    return [line[3:] for line in lines]


def test_each_trouble_and_its_end_is_logged_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A destination, dead letters and settings: one line at the beginning, one at the end, across restarts."""
    with closing(Worker(tmp_path)) as worker:
        worker.troubles.update()
        assert shown(tmp_path, capfd) == []
        worker.pool.health = ILL
        dead = bury(tmp_path, 1, Failure.ITEM_REFUSED)
        control.put(worker.queue.connection, control.PROBLEMS, WRONG)
        for _ in range(3):
            worker.troubles.update()
            worker.start()
        lines = shown(tmp_path, capfd)
        assert len(lines) == 3
        assert lines[0].startswith("Living room: held up since ")
        assert "It refuses the API key (401). Fix this, then test" in lines[0]
        assert 'Settings that can\'t be used: 1. plex: "Address" is wrong.' in lines
        assert "Dead letters: 1. Open Stash Courier in the top bar to see what failed and why." in lines
        for _ in range(3):
            worker.troubles.update()
            worker.start()
            assert shown(tmp_path, capfd) == []
        worker.pool.health = Health(last_success=START)
        worker.dlq.set_state(dead, "resolved")
        control.put(worker.queue.connection, control.PROBLEMS, None)
        worker.troubles.update()
        worker.start()
        worker.troubles.update()
        lines = shown(tmp_path, capfd)
        assert len(lines) == 3
        assert any(line.startswith("Living room: takes deliveries again.") for line in lines)
        for _ in range(3):
            worker.clock.now += QUIET_SECONDS
            worker.troubles.update()
            assert shown(tmp_path, capfd) == []
        assert control.get(worker.queue.connection, control.TOLD) is None


def test_a_removed_connection_ends_silently(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing is said of the end of a trouble whose connection was deleted."""
    with closing(Worker(tmp_path)) as worker:
        worker.pool.health = ILL
        worker.troubles.update()
        assert len(shown(tmp_path, capfd)) == 1
        worker.registry.pools, worker.registry.loaded = {}, Loaded()
        worker.troubles.update()
        assert shown(tmp_path, capfd) == []


def test_a_task_says_once_that_there_are_dead_letters(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A report that has the number of dead letters takes the place of the line, also of the one of their end."""

    def pressed() -> list[str]:
        press(tmp_path, "status", log="yes")
        told = [line[3:] for line in capfd.readouterr().err.split("\n") if line[:1] == "\x01"]
        return [line for line in told if line.startswith("Dead letters: ")]

    with closing(Worker(tmp_path)) as worker:
        dead = bury(tmp_path, 1, Failure.ITEM_REFUSED)
        worker.troubles.update()
        (line,) = pressed()
        assert line.startswith("Dead letters: 1")
        worker.troubles.update()
        assert shown(tmp_path, capfd) == [], "it counts as shown"
        worker.dlq.set_state(dead, "resolved")
        worker.troubles.update()
        assert pressed() == ["Dead letters: 0."]
        assert page.DEAD_LETTERS == (BEGINS + DEAD_LETTERS, ENDS + DEAD_LETTERS)


def test_two_page_loads_at_once_show_it_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Of many programs that look at the same moment one writes the lines."""
    with closing(Worker(tmp_path)) as worker:
        worker.pool.health = ILL
        worker.troubles.update()
        pages = [threading.Thread(target=page.show, args=(str(tmp_path),)) for _ in range(8)]
        for one in pages:
            one.start()
        for one in pages:
            one.join()
        assert len(capfd.readouterr().err.splitlines()) == 1


def test_a_page_load_during_the_update_is_not_lost(tmp_path: Path) -> None:
    """If the lines are taken just before they are replaced, they count as shown, and only the others follow."""
    with closing(Worker(tmp_path)) as worker:
        worker.pool.health = ILL
        worker.troubles.update()
        bury(tmp_path, 1, Failure.ITEM_REFUSED)
        looking, taken = cast(Any, worker.troubles), tmp_path / files.NOTICES_SHOWN
        write = looking._write

        def racing(lines: dict[str, str]) -> None:
            (tmp_path / files.NOTICES).replace(taken)
            looking._write = write
            write(lines)

        looking._write = racing
        worker.troubles.update()
        assert taken.exists()
        worker.troubles.update()
        assert list(json.loads((tmp_path / files.NOTICES).read_text())) == [BEGINS + DEAD_LETTERS]


@pytest.mark.parametrize("damage", [b"", b"[]", b"\xff", b'{"a": 5}', b"[" * 100_000])
def test_damaged_files_do_no_harm(damage: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Whatever is in the file, a page load works, and the worker replaces it."""
    with closing(Worker(tmp_path)) as worker:
        (tmp_path / files.NOTICES).write_bytes(damage)
        page.show(str(tmp_path))
        capfd.readouterr()
        (tmp_path / files.NOTICES).write_bytes(damage)
        worker.pool.health = ILL
        worker.troubles.update()
        assert len(shown(tmp_path, capfd)) == 1


def test_a_full_disk_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """If the file can't be written, worker.log says so once, and the next look tries again."""
    with closing(Worker(tmp_path)) as worker:
        worker.pool.health = ILL
        draft = tmp_path / f"{files.NOTICES}.draft"
        draft.mkdir()
        worker.troubles.update()
        worker.troubles.update()
        assert [record.getMessage()[:25] for record in caplog.records] == ["notices can't be written "]
        draft.rmdir()
        worker.troubles.update()
        assert (tmp_path / files.NOTICES).exists()
