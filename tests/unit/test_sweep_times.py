"""When the sweep asks, and what it finds after clocks change, Stash moves or the worker is killed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stash_courier.queue import control
from stash_courier.queue.history import ledger
from stash_courier.queue.history.ledger import Sent
from stash_courier.worker.settings import Settings
from stash_courier.worker.stash.listing import Mark
from stash_courier.worker.stash.sweep import Refusal
from tests.support.sweep_bench import HOUR, STATE, SweepBench, swept_library


@pytest.fixture
def seen(tmp_path: Path) -> Iterator[SweepBench]:
    with swept_library(tmp_path) as made:
        yield made


class TestClocks:
    @pytest.mark.parametrize("zone", [-11, -5, 0, 2, 13])
    def test_summer_time_ends(self, seen: SweepBench, zone: int) -> None:
        """At the end of summer time no change is lost, though texts of the repeated hour sort before others."""
        seen.library.zone = zone * 3600
        seen.library.change(1, seen.wall)
        seen.wait(60.0)
        seen.run()
        seen.deliver()
        seen.library.zone -= 3600
        seen.wait(600.0)
        seen.library.change(2, seen.wall)
        assert seen.library.scenes[2] < seen.library.scenes[1]
        seen.wait(300.0)
        seen.run()
        assert seen.inbox() == [(2, "update")]

    @pytest.mark.parametrize("zones", [(13, -11), (-12, 14), (14, -12)])
    def test_stash_moves_to_another_time_zone(self, seen: SweepBench, zones: tuple[int, int]) -> None:
        """When Stash is restarted in another time zone, each change is found once."""
        before, after = zones
        seen.library.zone = before * 3600
        seen.library.change(1, seen.wall)
        seen.wait(60.0)
        seen.run()
        seen.deliver()
        seen.sweep.stash_failed()
        seen.library.zone = after * 3600
        seen.library.change(2, seen.wall)
        for _ in range(200):
            seen.wait(15 * 60.0)
            seen.run()
            seen.deliver()
        seen.library.change(3, seen.wall)
        seen.restart()
        seen.wait(15 * 60.0)
        seen.run()
        seen.deliver()
        assert seen.sent == [("webhook:a", i, "update") for i in (1, 2, 3)]

    def test_old_changes_are_not_listed_again(self, seen: SweepBench) -> None:
        """Two days after a big import a sweep takes one question again."""
        for _ in range(100):
            seen.library.add(seen.wall)
        seen.wait(HOUR)
        assert seen.run() > 30
        seen.deliver()
        seen.wait(48 * HOUR)
        seen.run()
        seen.wait(HOUR)
        assert seen.run() == 1

    def test_the_clock_is_set_back(self, seen: SweepBench) -> None:
        """After the clock was set back, changes are found though they look older than the last sweep."""
        seen.run()
        seen.wait(60.0)
        seen.wall -= 5 * HOUR
        seen.library.change(1, seen.wall)
        seen.wait(840.0)
        seen.run()
        assert seen.inbox() == [(1, "update")]

    def test_the_clock_is_set_back_while_no_worker_runs(self, seen: SweepBench) -> None:
        """The same holds if the clock was set back while no worker ran."""
        seen.run()
        seen.wall -= 5 * HOUR
        seen.library.change(1, seen.wall)
        seen.wall += 60.0
        seen.restart()
        seen.run()
        assert seen.inbox() == [(1, "update")]


class TestWhen:
    def test_the_interval(self, seen: SweepBench) -> None:
        """A sweep is due as often as the setting says, and at once when a worker starts."""
        seen.run()
        assert seen.sweep.due_in(Settings(worker_sweep_minutes=20)) == 20 * 60.0
        seen.restart()
        assert seen.sweep.due_in(Settings(worker_sweep_minutes=20)) == 0.0

    def test_it_can_be_switched_off(self, seen: SweepBench) -> None:
        """Without a destination, or when it is switched off, the sweep asks nothing."""
        assert seen.sweep.due_in(Settings(worker_sweep_off=True)) > 1e9
        seen.sweep.meet(())
        assert seen.sweep.due_in(Settings()) > 1e9

    def test_it_is_due_when_stash_is_back(self, seen: SweepBench) -> None:
        """A sweep is due at once after an outage of Stash, and a minute after a failure during a sweep."""
        seen.run()
        seen.sweep.stash_failed()
        assert seen.sweep.due_in(Settings()) == 0.0
        seen.sweep.question()
        seen.sweep.stash_failed()
        seen.sweep.stash_failed()
        assert seen.sweep.due_in(Settings()) == 60.0

    def test_a_refusal_is_logged_once(self, seen: SweepBench, caplog: pytest.LogCaptureFixture) -> None:
        """If Stash refuses the question, that is logged once, and it is asked again at the usual interval."""
        seen.library.change(1, seen.wall)
        seen.wait(60.0)
        for _ in range(3):
            seen.sweep.question()
            seen.sweep.hear(Refusal("no such field", STATE))
            assert seen.sweep.due_in(Settings()) == 15 * 60.0
            seen.wait(15 * 60.0)
        assert caplog.text.count("no such field") == 1
        seen.run()
        assert seen.inbox() == [(1, "update")]

    def test_a_damaged_mark(self, seen: SweepBench) -> None:
        """With a damaged mark the next sweep is like the first, and nothing stops."""
        unreadable: list[object] = [
            7,
            [],
            {"at": "x"},
            {"at": 1.0, "last_id": 1e9, "total": 1},
            {"at": 1.0, "last_id": 1 << 40, "total": 1},
            {"at": 1.0, "last_id": -1, "total": 1},
            {"at": 1.0, "last_id": 1, "total": None},
            {"at": 1e999},
        ]
        for damaged in unreadable:
            control.put(seen.queue.connection, control.SWEEP, damaged)
            seen.restart()
            assert seen.run() == 1
            assert seen.inbox() == []

    def test_a_mark_of_an_older_version(self, seen: SweepBench) -> None:
        """An update of the plugin loses no change: the mark of an older version, with a time zone, is read."""
        stored = control.get(seen.queue.connection, control.SWEEP)
        control.put(seen.queue.connection, control.SWEEP, {**stored, "zone": 7200})
        seen.library.change(1, seen.wall)
        seen.wait(60.0)
        seen.restart()
        seen.run()
        assert seen.inbox() == [(1, "update")]


class TestCrash:
    @pytest.mark.parametrize("pages", [1, 2, 3])
    def test_a_worker_that_ends_during_a_sweep(self, seen: SweepBench, pages: int) -> None:
        """A sweep that was cut off begins again: no change is skipped or sent twice."""
        for scene_id in range(1, 9):
            seen.library.change(scene_id, seen.wall)
        seen.wait(60.0)
        for _ in range(pages):
            seen.ask()
        seen.deliver()
        seen.restart()
        seen.run()
        seen.deliver()
        assert sorted(seen.sent) == [("webhook:a", i, "update") for i in range(1, 9)]

    def test_mark_and_events_are_one_transaction(self, seen: SweepBench, monkeypatch: pytest.MonkeyPatch) -> None:
        """If the mark can't be written, no event is, and the page is put at the next try."""
        seen.library.change(1, seen.wall)
        seen.wait(60.0)
        seen.sweep.hear(seen.library.answer(seen.sweep.question(), seen.wall))
        with monkeypatch.context() as patched:

            def full(*_: object) -> None:
                raise OSError("disk full")

            patched.setattr(control, "put", full)
            with pytest.raises(OSError, match="disk full"):
                seen.sweep.put()
        assert seen.inbox() == []
        assert seen.sweep.due_in(Settings()) > 1e9
        seen.sweep.put()
        assert seen.inbox() == [(1, "update")]

    def test_the_stored_mark(self, seen: SweepBench) -> None:
        """What the next sweep needs is stored in the queue's file."""
        seen.library.change(1, seen.wall)
        new = seen.library.add(seen.wall)
        del seen.library.scenes[2]
        seen.wait(60.0)
        began = seen.wall
        seen.run()
        stored = control.get(seen.queue.connection, control.SWEEP)
        assert Mark(**stored) == Mark(began, new, 10)


OPS = st.one_of(
    st.tuples(st.just("change"), st.integers(0, 9)),
    st.tuples(st.just("add"), st.just(0)),
    st.tuples(st.just("delete"), st.integers(0, 9)),
    st.tuples(st.just("sweep"), st.just(0)),
    st.tuples(st.just("page"), st.just(0)),
    st.tuples(st.just("restart"), st.just(0)),
    st.tuples(st.just("away"), st.just(0)),
    st.tuples(st.just("deliver"), st.just(0)),
    st.tuples(st.just("zone"), st.sampled_from([-12, -5, 0, 1, 14])),
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(OPS, st.booleans(), st.sampled_from([1.0, 20.0, 400.0, 2000.0])), max_size=40))
def test_every_change_arrives_once(
    tmp_path_factory: pytest.TempPathFactory,
    story: list[tuple[tuple[str, int], bool, float]],
) -> None:
    """With or without hooks, over restarts, outages and other time zones, each change is delivered once."""
    with SweepBench(tmp_path_factory.mktemp("sweep")) as bench:
        for _ in range(3):
            bench.library.add(bench.wall - 100 * HOUR)
        bench.run()
        edits: list[tuple[int, str]] = []
        for (what, which), hooked, seconds in story:
            bench.wait(seconds)
            ids = sorted(bench.library.scenes)
            if what in {"change", "delete"} and ids:
                scene_id = ids[which % len(ids)]
                edits.append(_edit(bench, what, scene_id, hooked=hooked))
            elif what == "add":
                edits.append(_edit(bench, what, 0, hooked=hooked))
            elif what == "sweep":
                bench.run()
            elif what == "page":
                bench.ask()
            elif what == "restart":
                bench.restart()
            elif what == "away":
                bench.sweep.stash_failed()
            elif what == "deliver":
                bench.deliver()
            elif what == "zone":
                bench.library.zone = which * 3600
        bench.deliver()
        for _ in range(2):
            bench.wait(1000.0)
            bench.run()
            bench.deliver()
        have = {i: row.updated_at for i in range(1, 60) if (row := _row(bench, i))}
        changed = {i for i, what in edits if what != "delete"}
        assert {i: text for i, text in bench.library.scenes.items() if i in changed} == have
        assert len(bench.sent) <= len(edits)


def _edit(bench: SweepBench, what: str, scene_id: int, *, hooked: bool) -> tuple[int, str]:
    if what == "delete":
        del bench.library.scenes[scene_id]
    elif what == "add":
        scene_id = bench.library.add(bench.wall)
    else:
        bench.library.change(scene_id, bench.wall)
    if hooked:
        event = {"add": "create", "delete": "destroy"}.get(what, "update")
        bench.hook(scene_id, event, ("title",) if event == "update" else ())
    return scene_id, what


def _row(bench: SweepBench, scene_id: int) -> Sent | None:
    return ledger.find(bench.queue.connection, "webhook:a", scene_id)
