"""What the sweep finds and leaves out, when it asks, and what clocks, outages and restarts change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stash_courier.queue import control
from stash_courier.queue.history import ledger
from stash_courier.queue.history.ledger import Sent
from stash_courier.queue.jobs import Delivery
from stash_courier.worker.settings import Settings
from stash_courier.worker.stash.sweep import Refusal
from tests.support.queue_driver import claim
from tests.support.sweep_bench import HOUR, STATE, SweepBench, swept_library


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[SweepBench]:
    with SweepBench(tmp_path) as made:
        yield made


@pytest.fixture
def seen(tmp_path: Path) -> Iterator[SweepBench]:
    with swept_library(tmp_path) as made:
        yield made


class TestFirst:
    def test_a_library_that_was_never_seen_sends_nothing(self, bench: SweepBench) -> None:
        """Installing the plugin sends nothing: the existing library is only sent by "Enqueue all scenes"."""
        for scene_id in range(1, 8):
            assert bench.library.add(bench.wall - 60.0 * scene_id) == scene_id
        bench.run()
        bench.wait(HOUR)
        bench.run()
        assert bench.inbox() == []

    def test_a_destination_added_later_is_not_flooded(self, seen: SweepBench) -> None:
        """A new destination gets what changes from now on, not what changed before it was added."""
        for scene_id in (1, 2, 3):
            seen.library.change(scene_id, seen.wall)
        seen.library.add(seen.wall)
        seen.run()
        seen.deliver()
        seen.wait(60.0)
        seen.targets = ("webhook:a", "webhook:b")
        seen.sweep.meet(seen.targets)
        seen.wait(HOUR)
        seen.run()
        assert seen.inbox() == []
        seen.library.change(2, seen.wall)
        seen.wait(HOUR)
        seen.run()
        assert seen.deliver() == [("webhook:a", 2, "update"), ("webhook:b", 2, "update")]


class TestChanges:
    def test_an_edit_while_the_sweep_asks(self, seen: SweepBench) -> None:
        """An edit after the page was listed is delivered through its hook, and the older listing adds nothing."""
        seen.library.change(1, seen.wall)
        seen.wait(60.0)
        answer = seen.library.answer(seen.sweep.question(), seen.wall)
        seen.wait(1.0)
        seen.library.change(1, seen.wall)
        seen.hook(1)
        seen.deliver()
        seen.sweep.hear(answer)
        seen.sweep.put()
        assert seen.inbox() == []

    def test_a_hook_that_comes_after_the_sweep(self, seen: SweepBench) -> None:
        """If hooks of a long bulk edit run after the sweep saw the change, it is still sent once."""
        for scene_id in (1, 2, 3, 4):
            seen.library.change(scene_id, seen.wall)
        seen.hook(1)
        seen.wait(60.0)
        seen.run()
        assert len(seen.deliver()) == 4
        for scene_id in (2, 3):
            seen.wait(20.0)
            seen.hook(scene_id)
        assert seen.deliver() == []
        seen.library.change(3, seen.wall)
        seen.hook(3)
        assert seen.deliver() == [("webhook:a", 3, "update")]

    def test_a_change_whose_hook_may_be_under_way_waits_for_it(self, seen: SweepBench) -> None:
        """A change of the last seconds is looked at again ten seconds later, so that its hook comes first."""
        seen.library.change(1, seen.wall)
        new = seen.library.add(seen.wall)
        seen.ask()
        assert seen.inbox() == []
        assert seen.sweep.due_in(Settings()) == 10.0
        seen.hook(1)
        seen.deliver()
        seen.wait(10.0)
        seen.ask()
        assert seen.inbox() == [(new, "create")]

    def test_a_change_that_was_committed_late(self, seen: SweepBench) -> None:
        """A change in a long transaction, visible minutes after its time stamp, is found."""
        stamped = seen.wall
        seen.wait(120.0)
        seen.run()
        seen.wait(60.0)
        seen.library.change(4, stamped)
        seen.wait(HOUR)
        seen.run()
        assert seen.inbox() == [(4, "update")]

    def test_an_import_with_old_times_is_found(self, seen: SweepBench) -> None:
        """Imported scenes keep their old times, but are new."""
        new = seen.library.add(seen.wall - 5000 * HOUR)
        seen.run()
        assert seen.inbox() == [(new, "create")]

    def test_a_change_during_a_delivery(self, seen: SweepBench) -> None:
        """A change after a waiting delivery was fetched is found by the sweep after that delivery."""
        seen.hook(5)
        seen.queue.route(seen.queue.inbox_rows(), dict.fromkeys(seen.targets, 0.0))
        (delivery,) = claim(seen.queue, 1, 1e12, "webhook:a")
        assert isinstance(delivery, Delivery)
        fetched = seen.wall
        seen.wait(30.0)
        seen.library.change(5, seen.wall)
        seen.wait(2000.0)
        seen.run()
        assert seen.inbox() == []
        with seen.queue.transaction():
            seen.queue.done(delivery)
            ledger.write(
                seen.queue.connection,
                Sent("webhook:a", 5, delivery.seq, "2020-01-01T00:00:00Z", fetched, "/f", "sent"),
            )
        seen.wait(HOUR)
        seen.run()
        assert seen.inbox() == [(5, "update")]

    def test_a_dead_letter_is_not_sent_again(self, seen: SweepBench) -> None:
        """The sweep doesn't send again what became a dead letter, until the scene changes again."""
        seen.library.change(6, seen.wall)
        seen.hook(6)
        seen.queue.route(seen.queue.inbox_rows(), dict.fromkeys(seen.targets, 0.0))
        (delivery,) = claim(seen.queue, 1, 1e12, "webhook:a")
        seen.wait(5.0)
        assert isinstance(delivery, Delivery)
        seen.dlq.add(delivery, ValueError("no"), 1)
        with seen.queue.transaction():
            seen.queue.remove(delivery.row_id)
        seen.wait(60.0)
        seen.run()
        assert seen.inbox() == []
        seen.library.change(6, seen.wall)  # again, without a hook
        seen.wait(HOUR)
        seen.run()
        assert seen.inbox() == [(6, "update")]


class TestDestroys:
    def test_deleted_scenes_are_found(self, seen: SweepBench) -> None:
        """A deletion without a hook is found, also if it was the newest scene."""
        for scene_id in (3, 4, 10):
            del seen.library.scenes[scene_id]
        seen.run()
        assert seen.deliver() == [("webhook:a", i, "destroy") for i in (3, 4, 10)]
        seen.wait(HOUR)
        assert seen.run() == 1
        assert seen.inbox() == []

    def test_a_hook_that_comes_after_the_sweep(self, seen: SweepBench) -> None:
        """If hooks of a long bulk delete run after the sweep, each deletion is still sent once."""
        for scene_id in (3, 4):
            del seen.library.scenes[scene_id]
        seen.run()
        assert len(seen.deliver()) == 2
        seen.hook(4, "destroy", ())
        assert seen.deliver() == []

    def test_a_scene_added_during_the_listing_is_not_gone(self, seen: SweepBench) -> None:
        """A scene that is added while all scenes are listed doesn't count as deleted."""
        del seen.library.scenes[3]
        seen.ask()
        answers = [seen.library.answer(seen.sweep.question(), seen.wall)]
        new = seen.library.add(seen.wall)
        seen.hook(new, "create", ())
        seen.deliver()
        while answers:
            seen.sweep.hear(answers.pop())
            seen.sweep.put()
            if seen.sweep.due_in(Settings()) == 0.0:
                answers.append(seen.library.answer(seen.sweep.question(), seen.wall))
        assert seen.inbox() == [(3, "update")]

    def test_a_dead_letter_of_a_destroy_is_not_sent_again(self, seen: SweepBench) -> None:
        """A deletion that became a dead letter isn't sent again by later sweeps."""
        del seen.library.scenes[3]
        seen.run()
        seen.queue.route(seen.queue.inbox_rows(), dict.fromkeys(seen.targets, 0.0))
        (delivery,) = claim(seen.queue, 1, 1e12, "webhook:a")
        assert isinstance(delivery, Delivery)
        seen.dlq.add(replace(delivery, event="destroy"), ValueError("no"), 1)
        with seen.queue.transaction():
            seen.queue.remove(delivery.row_id)
        del seen.library.scenes[5]
        seen.wait(HOUR)
        seen.run()
        assert seen.inbox() == [(5, "update")]


class TestClocks:
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


class TestCrash:
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


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(OPS, st.booleans(), st.sampled_from([1.0, 20.0, 400.0, 2000.0])), max_size=40))
def test_every_change_arrives_once(
    tmp_path_factory: pytest.TempPathFactory,
    story: list[tuple[tuple[str, int], bool, float]],
) -> None:
    """With or without hooks, over restarts, outages and time zones, each change and deletion is delivered once."""
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
        assert not [i for i in range(1, 60) if i not in bench.library.scenes and _row(bench, i)]
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
