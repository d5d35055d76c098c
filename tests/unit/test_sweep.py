"""The sweep against a library in memory that lists as Stash does: by id, comparing times as text."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stash_courier.queue import control, ledger, store
from stash_courier.queue.dlq import DeadLetterQueue
from stash_courier.queue.jobs import Delivery, Scene, SceneEvent
from stash_courier.queue.ledger import Sent
from stash_courier.queue.scene_queue import SceneQueue
from stash_courier.worker.settings import Settings
from stash_courier.worker.stash.client import Listed, PluginState, SweepPage, SweepQuestion
from stash_courier.worker.stash.listing import Mark, watermark
from stash_courier.worker.stash.sweep import Refusal, Sweep

HOUR = 3600.0
START = 1_792_900_000.0  # 25 October 2026
STATE = PluginState({}, True)
PAGE = 3  # scenes, so that pages end often


@dataclass
class Library:
    """Scenes by id, each with Stash's text of its last change."""

    zone: int = 0  # seconds east of UTC
    scenes: dict[int, str] = field(default_factory=dict)
    questions: list[SweepQuestion] = field(default_factory=list)
    last_id: int = 0
    logs: bool = False  # has written log lines

    def change(self, scene_id: int, now: float) -> None:
        """A scene's last change is now."""
        there = datetime.timezone(datetime.timedelta(seconds=self.zone))
        text = datetime.datetime.fromtimestamp(int(now), there).isoformat("T", "seconds")
        self.scenes[scene_id] = text.replace("+00:00", "Z")

    def add(self, now: float) -> int:
        """A new scene."""
        self.last_id += 1
        self.change(self.last_id, now)
        return self.last_id

    def answer(self, question: SweepQuestion, now: float) -> SweepPage:
        """What Stash answers."""
        self.questions.append(question)
        if question.newest:
            newest = max(self.scenes, default=None)
            found = () if newest is None else (self._listed(newest),)
            return SweepPage(found, True, None, None, STATE, now)
        ids = [
            i
            for i, text in sorted(self.scenes.items())
            if i > question.after
            and (question.up_to is None or i <= question.up_to)
            and (question.changed_after is None or text > question.changed_after or i > question.added_after)
        ]
        known = None
        if question.known_up_to is not None:
            known = sum(i <= question.known_up_to for i in self.scenes)
        listed = tuple(self._listed(i) for i in ids[:PAGE])
        zone = self.zone if question.times and self.logs else None
        return SweepPage(listed, len(ids) < PAGE, known, zone, STATE, now)

    def _listed(self, scene_id: int) -> Listed:
        when = datetime.datetime.fromisoformat(self.scenes[scene_id])
        offset = when.utcoffset()
        assert offset is not None
        return Listed(scene_id, self.scenes[scene_id], int(when.timestamp()), int(offset.total_seconds()))


class Bench:
    """A sweep on real files; its worker delivers at once whatever it finds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.wall, self.ran = START, 0.0
        self.library = Library()
        self.targets: tuple[str, ...] = ("webhook:a",)
        self.sent: list[tuple[str, int, str]] = []  # (destination, scene, event)
        self.open()

    def open(self) -> None:
        """A worker starts."""
        self.queue = SceneQueue(self.folder, clock=lambda: self.wall)
        self.dlq = DeadLetterQueue(self.folder, clock=lambda: self.wall)
        self.sweep = Sweep(self.queue, self.dlq, lambda: self.wall, lambda: self.ran)
        self.sweep.meet(self.targets)

    def close(self) -> None:
        """It ends."""
        self.queue.close()
        self.dlq.close()

    def restart(self) -> None:
        """It ends and another starts."""
        self.close()
        self.open()

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.wall += seconds
        self.ran += seconds

    def ask(self) -> None:
        """One question and its answer."""
        self.sweep.hear(self.library.answer(self.sweep.question(), self.wall))
        self.sweep.put()

    def run(self) -> int:
        """One whole sweep, with the looks that follow soon; returns how many questions it took."""
        before = len(self.library.questions)
        while self.sweep.due_in(Settings()) <= 15.0:
            self.wait(self.sweep.due_in(Settings()))
            self.ask()
        return len(self.library.questions) - before

    def inbox(self) -> list[tuple[int, str]]:
        """The events that wait."""
        return [(row.scene_id, row.event) for row in self.queue.inbox_rows() if isinstance(row, SceneEvent)]

    def deliver(self) -> list[tuple[str, int, str]]:
        """Delivers all that waits as the worker would; returns what went out."""
        self.queue.route(self.queue.inbox_rows(), self.targets, 0.0)
        out = []
        for target in self.targets:
            for delivery in self.queue.claim(target, 1000, 1e12):
                assert isinstance(delivery, Delivery)
                event = self._end(delivery)
                if event:
                    out.append((target, delivery.scene_id, event))
        self.sent += out
        return out

    def _end(self, delivery: Delivery) -> str:
        conn, text = self.queue.connection, self.library.scenes.get(delivery.scene_id)
        known = ledger.find(conn, delivery.destination, delivery.scene_id)
        first = self.sweep.was_first(delivery, None if text is None else scene(delivery.scene_id, text), known)
        with self.queue.transaction():
            self.queue.done(delivery)
            if first:
                return ""
            if text is None:
                ledger.forget(conn, delivery.destination, delivery.scene_id)
                return "destroy" if known or delivery.event == "destroy" else ""
            row = Sent(delivery.destination, delivery.scene_id, delivery.seq, text, self.wall, "/f.mp4", "sent")
            ledger.write(conn, row)
        return delivery.event

    def hook(self, scene_id: int, event: str = "update", changed: tuple[str, ...] = ("title",)) -> None:
        """A hook puts an event."""
        data = {"scene": scene_id, "event": event, "changed": list(changed), "at": self.wall}
        self.queue.put_many([store.encode(data)])


def scene(scene_id: int, text: str) -> Scene:
    """A scene as Stash gives it."""
    empty = dict.fromkeys(("title", "code", "details", "director", "date", "cover_url"), "")
    none = dict.fromkeys(("urls", "files", "performers", "tags", "groups", "stash_ids"), ())
    return Scene(
        id=scene_id,
        rating100=None,
        organized=False,
        created_at=text,
        updated_at=text,
        studio=None,
        fetched_at=0.0,
        **empty,  # type: ignore[arg-type]
        **none,  # type: ignore[arg-type]
    )


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


@pytest.fixture
def seen(bench: Bench) -> Bench:
    """A library of ten scenes that was swept once, a day ago, and all of which were delivered since."""
    for _ in range(10):
        bench.library.add(bench.wall - 1000 * HOUR)
    bench.wait(HOUR)
    bench.run()
    for scene_id in bench.library.scenes:
        bench.hook(scene_id)
    bench.deliver()
    bench.sent.clear()
    bench.wait(24 * HOUR)
    bench.run()
    bench.wait(HOUR)
    bench.library.questions.clear()
    return bench


class TestFirst:
    def test_a_library_that_was_never_seen_sends_nothing(self, bench: Bench) -> None:
        """Setting up the plugin floods nobody: what is in the library goes out by «Enqueue all scenes» only."""
        for scene_id in range(1, 8):
            assert bench.library.add(bench.wall - 60.0 * scene_id) == scene_id
        bench.run()
        bench.wait(HOUR)
        bench.run()
        assert bench.inbox() == []

    def test_what_comes_after_the_first_look_is_found(self, bench: Bench) -> None:
        """A scene that is added or changed after the first look is found by the second, without any hook."""
        old = bench.library.add(bench.wall - HOUR)
        bench.run()
        bench.wait(60.0)
        bench.library.change(old, bench.wall)
        new = bench.library.add(bench.wall)
        bench.wait(HOUR)
        bench.run()
        assert sorted(bench.inbox()) == [(old, "update"), (new, "create")]

    def test_the_first_look_at_an_empty_library(self, bench: Bench) -> None:
        """In an empty library everything that comes is new, whatever the zone."""
        bench.library.zone = -11 * 3600
        bench.run()
        bench.wait(600.0)
        bench.library.add(bench.wall)
        bench.wait(600.0)
        bench.run()
        assert bench.inbox() == [(1, "create")]

    def test_a_destination_added_later_is_not_flooded(self, seen: Bench) -> None:
        """A new destination gets what changes from now on, not what changed before it was there."""
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
    def test_nothing_changed_takes_one_question(self, seen: Bench) -> None:
        """An idle library costs Stash one request a sweep."""
        assert seen.run() == 1
        assert seen.inbox() == []

    def test_a_change_without_a_hook_is_found_once(self, seen: Bench) -> None:
        """What auto-tag changed goes out, once, though each sweep looks back for hours."""
        for scene_id in range(1, 9):
            seen.library.change(scene_id, seen.wall)
        for _ in range(12):
            seen.wait(15 * 60.0)
            seen.run()
            seen.deliver()
        assert sorted(seen.sent) == [("webhook:a", i, "update") for i in range(1, 9)]

    def test_a_change_that_a_hook_told_is_left_out(self, seen: Bench) -> None:
        """A hooked edit isn't sent again by the sweep, delivered or waiting."""
        seen.library.change(1, seen.wall)
        seen.hook(1)
        seen.deliver()
        seen.library.change(2, seen.wall)
        seen.hook(2)
        seen.queue.route(seen.queue.inbox_rows(), seen.targets, 0.0)
        seen.library.change(3, seen.wall)
        seen.hook(3)
        seen.wait(HOUR)
        seen.run()
        assert seen.inbox() == [(3, "update")]  # the hook's own

    def test_an_edit_that_hooks_while_the_sweep_asks(self, seen: Bench) -> None:
        """An edit after the page was listed is delivered by its hook, and the older listing adds nothing."""
        seen.library.change(1, seen.wall)
        seen.wait(60.0)
        answer = seen.library.answer(seen.sweep.question(), seen.wall)
        seen.wait(1.0)
        seen.library.change(1, seen.wall)
        seen.hook(1)
        seen.deliver()
        seen.sweep.hear(answer)
        assert not seen.sweep.put()

    def test_a_hook_that_comes_after_the_sweep(self, seen: Bench) -> None:
        """In a long bulk edit the last hooks come after the sweep has seen the change: sent once all the same."""
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

    def test_only_what_the_sweep_put_is_taken_for_told(self, seen: Bench) -> None:
        """Without a sweep between, a second hook is delivered though the scene looks the same."""
        seen.library.change(1, seen.wall)
        for _ in range(2):
            seen.wait(5.0)
            seen.hook(1)
            assert seen.deliver() == [("webhook:a", 1, "update")]

    def test_a_change_whose_hook_may_be_under_way_waits_for_it(self, seen: Bench) -> None:
        """A change of this very moment is looked at again ten seconds later, and left to its hook by then."""
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

    def test_a_known_young_change_calls_for_no_second_look(self, seen: Bench) -> None:
        """While somebody edits, the sweep keeps to its minutes."""
        seen.library.change(1, seen.wall)
        seen.hook(1)
        seen.deliver()
        seen.ask()
        assert seen.sweep.due_in(Settings()) == 15 * 60.0

    def test_a_change_that_was_committed_late(self, seen: Bench) -> None:
        """A big transaction is seen minutes after the time it is stamped with, and is found all the same."""
        stamped = seen.wall
        seen.wait(120.0)
        seen.run()
        seen.wait(60.0)
        seen.library.change(4, stamped)
        seen.wait(HOUR)
        seen.run()
        assert seen.inbox() == [(4, "update")]

    def test_an_import_with_old_times_is_found(self, seen: Bench) -> None:
        """Scenes that were imported keep old times; they are new all the same."""
        new = seen.library.add(seen.wall - 5000 * HOUR)
        seen.run()
        assert seen.inbox() == [(new, "create")]

    def test_a_change_behind_a_delivery_that_was_under_way(self, seen: Bench) -> None:
        """A delivery that was fetched before the change hides it from one sweep, not from the next."""
        seen.hook(5)
        seen.queue.route(seen.queue.inbox_rows(), seen.targets, 0.0)
        (delivery,) = seen.queue.claim("webhook:a", 1, 1e12)
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

    def test_a_dead_letter_is_not_sent_again(self, seen: Bench) -> None:
        """What the receiver refused for good is a dead letter, and the sweep doesn't try it behind one's back."""
        seen.library.change(6, seen.wall)
        seen.hook(6)
        seen.queue.route(seen.queue.inbox_rows(), seen.targets, 0.0)
        (delivery,) = seen.queue.claim("webhook:a", 1, 1e12)
        seen.wait(5.0)
        assert isinstance(delivery, Delivery)
        seen.dlq.add(delivery, ValueError("no"), 1)
        with seen.queue.transaction():
            seen.queue.remove(delivery.row_id)
        seen.wait(60.0)
        seen.run()
        assert seen.inbox() == []
        seen.library.change(6, seen.wall)  # again, and no hook
        seen.wait(HOUR)
        seen.run()
        assert seen.inbox() == [(6, "update")]

    def test_edits_go_before_what_the_sweep_finds(self, seen: Bench) -> None:
        """An edit doesn't wait behind the thousands that an auto-tag run changed."""
        for scene_id in (1, 2, 3):
            seen.library.change(scene_id, seen.wall)
        seen.wait(HOUR)
        seen.run()
        seen.wait(1.0)
        seen.hook(9)
        seen.queue.route(seen.queue.inbox_rows(), seen.targets, 0.0)
        claimed = seen.queue.claim("webhook:a", 4, 1e12)
        assert next(d.scene_id for d in claimed if isinstance(d, Delivery)) == 9


class TestDestroys:
    def test_scenes_that_are_gone_are_told(self, seen: Bench) -> None:
        """A deletion without a hook is found, be it in the middle or the newest scene."""
        for scene_id in (3, 4, 10):
            del seen.library.scenes[scene_id]
        seen.run()
        assert seen.deliver() == [("webhook:a", i, "destroy") for i in (3, 4, 10)]
        seen.wait(HOUR)
        assert seen.run() == 1
        assert seen.inbox() == []

    def test_a_scene_that_came_and_went_between_two_sweeps(self, seen: Bench) -> None:
        """A scene that was delivered as new and deleted before the next sweep is told to be gone."""
        new = seen.library.add(seen.wall)
        seen.hook(new, "create", ())
        seen.deliver()
        del seen.library.scenes[new]
        seen.wait(HOUR)
        seen.run()
        assert seen.deliver() == [("webhook:a", new, "destroy")]

    def test_a_deletion_with_a_hook_is_told_once(self, seen: Bench) -> None:
        """A hooked deletion makes the sweep count, not speak."""
        del seen.library.scenes[3]
        seen.hook(3, "destroy", ())
        assert seen.deliver() == [("webhook:a", 3, "destroy")]
        seen.run()
        assert seen.inbox() == []

    def test_a_hook_that_comes_after_the_sweep(self, seen: Bench) -> None:
        """In a long bulk delete the sweep may be faster than the hooks: each deletion is told once."""
        for scene_id in (3, 4):
            del seen.library.scenes[scene_id]
        seen.run()
        assert len(seen.deliver()) == 2
        seen.hook(4, "destroy", ())
        assert seen.deliver() == []

    def test_a_scene_that_comes_during_the_listing_is_not_gone(self, seen: Bench) -> None:
        """A scene delivered while all are listed is newer than the listing, not deleted."""
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

    def test_a_dead_letter_of_a_destroy_is_not_sent_again(self, seen: Bench) -> None:
        """A deletion that could not be told is a dead letter, and no later count tells it again."""
        del seen.library.scenes[3]
        seen.run()
        seen.queue.route(seen.queue.inbox_rows(), seen.targets, 0.0)
        (delivery,) = seen.queue.claim("webhook:a", 1, 1e12)
        assert isinstance(delivery, Delivery)
        seen.dlq.add(replace(delivery, event="destroy"), ValueError("no"), 1)
        with seen.queue.transaction():
            seen.queue.remove(delivery.row_id)
        del seen.library.scenes[5]
        seen.wait(HOUR)
        seen.run()
        assert seen.inbox() == [(5, "update")]


class TestClocks:
    @pytest.mark.parametrize("zone", [-11, -5, 0, 2, 13])
    def test_the_clocks_of_a_zone_go_back(self, seen: Bench, zone: int) -> None:
        """In the hour that comes twice nothing is lost, though its texts are behind those of before."""
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

    @pytest.mark.parametrize("logs", [True, False])
    def test_stash_comes_back_in_another_zone(self, seen: Bench, *, logs: bool) -> None:
        """When Stash was restarted in another zone, changes are found though their texts are a day behind."""
        seen.library.logs = logs
        seen.library.zone = 13 * 3600
        seen.library.change(1, seen.wall)
        seen.wait(60.0)
        seen.run()
        seen.deliver()
        seen.sweep.stash_failed()
        seen.library.zone = -11 * 3600
        for _ in range(40):
            seen.wait(15 * 60.0)
            assert seen.run() == 1
        seen.library.change(2, seen.wall)
        if not logs:
            seen.wait(60.0)
            seen.restart()
        seen.wait(15 * 60.0)
        seen.run()
        assert seen.inbox() == [(2, "update")]

    def test_a_change_of_yesterday_is_not_listed_for_ever(self, seen: Bench) -> None:
        """Once Stash's log has told its zone, a big import isn't listed by every sweep of the next day."""
        seen.library.logs = True
        for _ in range(100):
            seen.library.add(seen.wall - 4 * HOUR)
        seen.restart()
        assert seen.run() > 30
        seen.wait(HOUR)
        assert seen.run() == 1

    def test_the_machine_s_clock_is_set_back(self, seen: Bench) -> None:
        """After the clock was set back by hours changes are found though they are older than the last sweep."""
        seen.run()
        seen.wait(60.0)
        seen.wall -= 5 * HOUR
        seen.library.change(1, seen.wall)
        seen.wait(840.0)
        seen.run()
        assert seen.inbox() == [(1, "update")]

    def test_it_is_set_back_while_no_worker_runs(self, seen: Bench) -> None:
        """… also while no worker ran."""
        seen.run()
        seen.wall -= 5 * HOUR
        seen.library.change(1, seen.wall)
        seen.wall += 60.0
        seen.restart()
        seen.run()
        assert seen.inbox() == [(1, "update")]

    def test_the_watermark_is_written_as_stash_writes(self) -> None:
        """Texts are compared: the watermark has Stash's zone and form."""
        assert watermark(1_792_900_000.5, 7200, sure=True) == "2026-10-25T03:46:40+02:00"
        assert watermark(1_792_900_000.5, 0, sure=True) == "2026-10-25T01:46:40Z"
        assert watermark(1_792_900_000.5, 7200, sure=False) == "2026-10-24T03:46:40+02:00"
        assert watermark(1_792_900_000.5, None, sure=True) == "2026-10-24T01:46:40Z"


class TestWhen:
    def test_it_is_due_at_the_start_and_every_so_many_minutes(self, seen: Bench) -> None:
        """The setting says how often Stash is asked; a new worker asks at once."""
        seen.run()
        assert seen.sweep.due_in(Settings(sweep_minutes=20)) == 20 * 60.0
        seen.restart()
        assert seen.sweep.due_in(Settings(sweep_minutes=20)) == 0.0

    def test_off_is_off(self, seen: Bench) -> None:
        """Switched off, or without a destination, it asks nothing."""
        assert seen.sweep.due_in(Settings(sweep_off=True)) > 1e9
        seen.sweep.meet(())
        assert seen.sweep.due_in(Settings()) > 1e9

    def test_it_is_due_when_stash_is_back(self, seen: Bench) -> None:
        """After Stash was away it looks at once what was missed; after a failure of its own, a minute later."""
        seen.run()
        seen.sweep.stash_failed()
        assert seen.sweep.due_in(Settings()) == 0.0
        seen.sweep.question()
        seen.sweep.stash_failed()
        seen.sweep.stash_failed()
        assert seen.sweep.due_in(Settings()) == 60.0

    def test_a_refusal_waits_for_the_next_time(self, seen: Bench, caplog: pytest.LogCaptureFixture) -> None:
        """A Stash that can't answer this question is told so once and asked rarely; nothing else suffers."""
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

    def test_a_mark_that_cannot_be_read_is_none(self, seen: Bench) -> None:
        """A damaged mark makes the next sweep the first, it stops nothing."""
        unreadable: list[object] = [
            7,
            [],
            {"at": "x"},
            {"at": 1.0, "zone": 1e9, "last_id": 1, "total": 1},
            {"at": 1e999},
        ]
        for damaged in unreadable:
            control.put(seen.queue.connection, control.SWEEP, damaged)
            seen.restart()
            assert seen.run() == 2
            assert seen.inbox() == []


class TestCrash:
    @pytest.mark.parametrize("pages", [1, 2, 3])
    def test_a_worker_that_ends_in_the_middle_skips_nothing(self, seen: Bench, pages: int) -> None:
        """A sweep that was cut off begins again: nothing is skipped, and what was put isn't sent twice."""
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

    def test_mark_and_events_are_one_transaction(self, seen: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        """If the mark can't be written no event is, and the page is put at the next try."""
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
        assert seen.sweep.put()
        assert seen.inbox() == [(1, "update")]

    def test_the_mark_says_what_is_known(self, seen: Bench) -> None:
        """What the next sweep needs is in the queue's own file."""
        seen.library.zone = -3600
        seen.library.change(1, seen.wall)
        new = seen.library.add(seen.wall)
        del seen.library.scenes[2]
        seen.wait(60.0)
        began = seen.wall
        seen.run()
        stored = control.get(seen.queue.connection, control.SWEEP)
        assert Mark(**stored) == Mark(began, -3600, new, 10)


OPS = st.one_of(
    st.tuples(st.just("change"), st.integers(0, 9)),
    st.tuples(st.just("add"), st.just(0)),
    st.tuples(st.just("delete"), st.integers(0, 9)),
    st.tuples(st.just("sweep"), st.just(0)),
    st.tuples(st.just("page"), st.just(0)),
    st.tuples(st.just("restart"), st.just(0)),
    st.tuples(st.just("away"), st.just(0)),
    st.tuples(st.just("deliver"), st.just(0)),
    st.tuples(st.just("zone"), st.sampled_from([-3600, 3600])),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(OPS, st.booleans(), st.sampled_from([1.0, 20.0, 400.0, 2000.0])), max_size=40))
def test_whatever_happens_every_change_arrives_and_none_twice(
    tmp_path_factory: pytest.TempPathFactory,
    story: list[tuple[tuple[str, int], bool, float]],
) -> None:
    """Hooked or not, over restarts, outages and summer time, each state is delivered, and each once."""
    bench = Bench(tmp_path_factory.mktemp("sweep"))
    try:
        for _ in range(3):
            bench.library.add(bench.wall - 100 * HOUR)
        bench.run()
        told: list[tuple[int, str]] = []
        for (what, which), hooked, seconds in story:
            bench.wait(seconds)
            ids = sorted(bench.library.scenes)
            if what in {"change", "delete"} and ids:
                scene_id = ids[which % len(ids)]
                told.append(_edit(bench, what, scene_id, hooked=hooked))
            elif what == "add":
                told.append(_edit(bench, what, 0, hooked=hooked))
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
            elif what == "zone" and abs(bench.library.zone + which) <= 3600:
                bench.library.zone += which
        bench.deliver()
        for _ in range(2):
            bench.wait(1000.0)
            bench.run()
            bench.deliver()
        have = {i: row.updated_at for i in range(1, 60) if (row := _row(bench, i))}
        changed = {i for i, what in told if what != "delete"}
        assert {i: text for i, text in bench.library.scenes.items() if i in changed} == have
        assert len(bench.sent) <= len(told)
    finally:
        bench.close()


def _edit(bench: Bench, what: str, scene_id: int, *, hooked: bool) -> tuple[int, str]:
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


def _row(bench: Bench, scene_id: int) -> Sent | None:
    return ledger.find(bench.queue.connection, "webhook:a", scene_id)
