"""What the sweep finds, and what it leaves out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from stash_courier.queue.history import ledger
from stash_courier.queue.history.ledger import Sent
from stash_courier.queue.jobs import Delivery
from stash_courier.worker.settings import Settings
from tests.support.queue_driver import claim
from tests.support.sweep_bench import HOUR, SweepBench, swept_library


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

    def test_the_first_two_sweeps_take_one_question_each(self, bench: SweepBench) -> None:
        """The first sweep doesn't list the library, and neither does the second if nothing changed lately."""
        for _ in range(7):
            bench.library.add(bench.wall - 100 * HOUR)
        assert bench.run() == 1
        bench.wait(HOUR)
        assert bench.run() == 1

    def test_changes_after_the_first_sweep_are_found(self, bench: SweepBench) -> None:
        """A scene that is added or changed without a hook after the first sweep is found by the second."""
        old = bench.library.add(bench.wall - HOUR)
        bench.run()
        bench.wait(60.0)
        bench.library.change(old, bench.wall)
        new = bench.library.add(bench.wall)
        bench.wait(HOUR)
        bench.run()
        assert sorted(bench.inbox()) == [(old, "update"), (new, "create")]

    def test_an_empty_library(self, bench: SweepBench) -> None:
        """Whatever is added to a library that was empty is new, in any time zone."""
        bench.library.zone = -11 * 3600
        bench.run()
        bench.wait(600.0)
        bench.library.add(bench.wall)
        bench.wait(600.0)
        bench.run()
        assert bench.inbox() == [(1, "create")]

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

    def test_a_destination_added_later_gets_no_new_scene_of_before(self, seen: SweepBench) -> None:
        """A scene that was added and delivered before a destination was there isn't sent to it."""
        new = seen.library.add(seen.wall)
        seen.hook(new, "create", ())
        seen.deliver()
        seen.wait(60.0)
        seen.targets = ("webhook:a", "webhook:b")
        seen.sweep.meet(seen.targets)
        seen.wait(HOUR)
        seen.run()
        assert seen.inbox() == []


class TestChanges:
    def test_an_idle_library_takes_one_question(self, seen: SweepBench) -> None:
        """A sweep of an idle library costs Stash one request."""
        assert seen.run() == 1
        assert seen.inbox() == []

    def test_a_change_without_a_hook_is_found_once(self, seen: SweepBench) -> None:
        """What auto-tag changed is sent once, though each sweep lists the changes of many hours."""
        for scene_id in range(1, 9):
            seen.library.change(scene_id, seen.wall)
        for _ in range(12):
            seen.wait(15 * 60.0)
            seen.run()
            seen.deliver()
        assert sorted(seen.sent) == [("webhook:a", i, "update") for i in range(1, 9)]

    def test_a_change_with_a_hook_is_left_out(self, seen: SweepBench) -> None:
        """An edit with a hook isn't sent again by the sweep, whether it was delivered or waits."""
        seen.library.change(1, seen.wall)
        seen.hook(1)
        seen.deliver()
        seen.library.change(2, seen.wall)
        seen.hook(2)
        seen.queue.route(seen.queue.inbox_rows(), dict.fromkeys(seen.targets, 0.0))
        seen.library.change(3, seen.wall)
        seen.hook(3)
        seen.wait(HOUR)
        seen.run()
        assert seen.inbox() == [(3, "update")]  # the hook's own

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

    def test_hooks_are_not_left_out_without_a_sweep(self, seen: SweepBench) -> None:
        """Without a sweep in between, a second hook is delivered though the scene looks the same."""
        seen.library.change(1, seen.wall)
        for _ in range(2):
            seen.wait(5.0)
            seen.hook(1)
            assert seen.deliver() == [("webhook:a", 1, "update")]

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

    def test_a_known_young_change_calls_for_no_second_look(self, seen: SweepBench) -> None:
        """Edits with hooks cause no extra sweeps."""
        seen.library.change(1, seen.wall)
        seen.hook(1)
        seen.deliver()
        seen.ask()
        assert seen.sweep.due_in(Settings()) == 15 * 60.0

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

    def test_a_change_of_a_new_scene(self, seen: SweepBench) -> None:
        """A scene that was delivered as new and changed before the next sweep is sent as updated."""
        new = seen.library.add(seen.wall)
        seen.hook(new, "create", ())
        seen.deliver()
        seen.wait(60.0)
        seen.library.change(new, seen.wall)
        seen.wait(HOUR)
        seen.run()
        assert seen.inbox() == [(new, "update")]

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

    def test_a_dead_letter_after_the_clock_was_set_back(self, seen: SweepBench) -> None:
        """A dead letter whose scene has a time in the future isn't sent again by every sweep."""
        seen.library.change(6, seen.wall)
        seen.hook(6)
        seen.wall -= 5 * HOUR
        seen.queue.route(seen.queue.inbox_rows(), dict.fromkeys(seen.targets, 0.0))
        (delivery,) = claim(seen.queue, 1, 1e12, "webhook:a")
        assert isinstance(delivery, Delivery)
        seen.dlq.add(delivery, ValueError("no"), 1)
        with seen.queue.transaction():
            seen.queue.remove(delivery.row_id)
        seen.wait(60.0)
        seen.run()
        assert seen.inbox() == []

    def test_edits_go_before_what_the_sweep_finds(self, seen: SweepBench) -> None:
        """An edit doesn't wait behind the thousands of scenes that auto-tag changed."""
        for scene_id in (1, 2, 3):
            seen.library.change(scene_id, seen.wall)
        seen.wait(HOUR)
        seen.run()
        seen.wait(1.0)
        seen.hook(9)
        seen.queue.route(seen.queue.inbox_rows(), dict.fromkeys(seen.targets, 0.0))
        claimed = claim(seen.queue, 4, 1e12, "webhook:a")
        assert next(d.scene_id for d in claimed if isinstance(d, Delivery)) == 9


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

    def test_a_scene_added_and_deleted_between_two_sweeps(self, seen: SweepBench) -> None:
        """A scene that was delivered as new and deleted before the next sweep ends in a destroy."""
        new = seen.library.add(seen.wall)
        seen.hook(new, "create", ())
        seen.deliver()
        del seen.library.scenes[new]
        seen.wait(HOUR)
        seen.run()
        assert seen.deliver() == [("webhook:a", new, "destroy")]

    def test_a_deletion_with_a_hook_is_sent_once(self, seen: SweepBench) -> None:
        """A deletion with a hook isn't sent again by the sweep."""
        del seen.library.scenes[3]
        seen.hook(3, "destroy", ())
        assert seen.deliver() == [("webhook:a", 3, "destroy")]
        seen.run()
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
