"""Transfers that run in their own process, so that it can be killed, and the data folders that they start from.

``python -m tests.support.transfers <act> <data folder>``. The tests are in tests/integration/test_kills.py.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from stash_courier.queue import repair, transfer
from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.dead_letters.listing import Selection
from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.jobs import Attempt, Delivery, Scene, SceneEvent, SceneFile
from stash_courier.worker.delivery.breaker import Health
from stash_courier.worker.delivery.completer import Completer
from stash_courier.worker.delivery.pool import Outcome, Pool
from stash_courier.worker.delivery.registry import Registry
from stash_courier.worker.destinations import Loaded
from stash_courier.worker.troubles import Troubles
from tests.support.durable import DEST, START, Clock, change, event, run_hook
from tests.support.queue_driver import claim

SCENE = 5
FAILED = Attempt(START, "item_refused", "It answered 400.", 400)
ERROR = RuntimeError("It answered 400.")
STASH_HAS = Scene(
    *(SCENE, "Five", "", "", "", "", None, True, (), "", "2026-01-01T00:00:00Z"),
    files=(SceneFile("/a", 1, 1.0, 1, 1),),
    performers=(),
    tags=(),
    studio=None,
    groups=(),
    stash_ids=(),
    cover_url="",
    fetched_at=START,
)


@dataclass
class Open:
    """Both files of a data folder, open as by the worker."""

    queue: SceneQueue
    dlq: DeadLetterQueue

    def claim(self) -> list[Delivery]:
        """Claims everything that waits, those with a count of deaths too."""
        claimed = claim(self.queue, 99, START * 2)
        claimed += self.queue.claim_counted(DEST, 99)
        assert all(isinstance(delivery, Delivery) for delivery in claimed)
        return [delivery for delivery in claimed if isinstance(delivery, Delivery)]

    def redrive(self) -> None:
        """Redrives the dead letters that were asked for."""
        for dead_letter in self.dlq.asked():
            transfer.redrive(self.queue, self.dlq, dead_letter, START)

    def bury(self) -> None:
        """Claims everything that waits and buries it."""
        for delivery in self.claim():
            transfer.bury(self.queue, self.dlq, replace(delivery, history=(FAILED,)), ERROR, now=START)

    def dead_letters(self) -> list[tuple[str, int]]:
        """State and seq of the scene's dead letter, if there is one."""
        found = self.dlq.find(DEST, SCENE)
        return [] if found is None else [(found[1], found[3])]


@contextmanager
def opened(folder: Path) -> Iterator[Open]:
    """Opens a data folder as a starting worker does before it heals."""
    both = Open(SceneQueue(folder, clock=Clock(START + 1)), DeadLetterQueue(folder, clock=Clock(START + 1)))
    try:
        yield both
    finally:
        both.queue.close()
        both.dlq.close()


def route(queue: SceneQueue, *events: SceneEvent) -> None:
    """Routes events with new seqs."""
    queue.route([replace(event, seq=queue.next_seq()) for event in events], dict.fromkeys([DEST], 0.0))


# Data folders to start from


def waiting(folder: Path) -> None:
    """One delivery waits."""
    with opened(folder) as both:
        route(both.queue, event(SCENE, "create", "title"))


def flying(folder: Path) -> None:
    """One delivery is in flight; its worker has died."""
    waiting(folder)
    with opened(folder) as both:
        both.claim()


def overtaken(folder: Path) -> None:
    """A newer event arrived during a delivery."""
    flying(folder)
    with opened(folder) as both:
        route(both.queue, event(SCENE, "update", "date"))


def buried(folder: Path) -> None:
    """There is a dead letter, and nothing waits."""
    waiting(folder)
    with opened(folder) as both:
        both.bury()


def asked(folder: Path) -> None:
    """A person asked for the dead letter to be sent again."""
    buried(folder)
    with opened(folder) as both:
        both.dlq.ask()


def asked_and_newer(folder: Path) -> None:
    """A person asked for a dead letter whose scene was edited since."""
    asked(folder)
    with opened(folder) as both:
        route(both.queue, event(SCENE, "update", "date"))


def redriven(folder: Path) -> None:
    """The dead letter's delivery is in flight again."""
    asked(folder)
    with opened(folder) as both:
        both.redrive()


def half_buried(folder: Path) -> None:
    """A worker was killed while it buried a delivery, which is in both files."""
    flying(folder)
    with opened(folder) as both:
        (delivery,) = both.queue.in_flight()
        both.dlq.add(delivery, ERROR, 1)


def half_redriven(folder: Path) -> None:
    """A worker was killed during a redrive, so the scene is in both files."""
    asked(folder)
    with opened(folder) as both:
        (dead_letter,) = both.dlq.asked()
        both.redrive()
        both.dlq.set_state(dead_letter.id, "asked")


def unrouted(folder: Path) -> None:
    """Three events are in the inbox, one of them of a scene that has a delivery."""
    waiting(folder)
    for scene in (SCENE, 6, 7):
        run_hook(folder, change(scene))


def unreported(folder: Path) -> None:
    """There are three dead letters of another connection that nobody was told of."""
    with opened(folder) as both:
        for scene in (SCENE, 6, 7):
            job = Delivery(scene, "other", scene, "update", (), scene, START, history=(FAILED,))
            both.dlq.add(job, ERROR, 1)


# Acts


def do_route(folder: Path) -> None:
    """Routes the inbox."""
    with opened(folder) as both:
        both.queue.route(both.queue.inbox_rows(), dict.fromkeys([DEST], 0.0))


def do_claim(folder: Path) -> None:
    """Claims what waits."""
    with opened(folder) as both:
        both.claim()


def do_done(folder: Path) -> None:
    """Has the completer record that what is in flight was delivered."""
    connection = SimpleNamespace()
    pool = cast(Pool, SimpleNamespace(health=Health(), connection=connection, recorded=lambda _: None))
    registry = cast(Registry, SimpleNamespace(pools={}))
    with opened(folder) as both:
        completer = Completer(both.queue, both.dlq, registry, lambda: START, lambda: 0.5)
        found = [delivery for delivery in both.queue.in_flight() if isinstance(delivery, Delivery)]
        completer.record([Outcome(pool, delivery, STASH_HAS, False, None) for delivery in found])


def do_back(folder: Path) -> None:
    """Puts back what is in flight, for a retry."""
    with opened(folder) as both:
        for delivery in both.queue.in_flight():
            assert isinstance(delivery, Delivery)
            with both.queue.transaction():
                both.queue.back(replace(delivery, counted_attempts=1, attempts=1), START + 60, FAILED)


def do_bury(folder: Path) -> None:
    """Buries what is in flight."""
    with opened(folder) as both:
        for delivery in both.queue.in_flight():
            transfer.bury(both.queue, both.dlq, delivery, ERROR, now=START)


def do_redrive(folder: Path) -> None:
    """Carries out a redrive."""
    with opened(folder) as both:
        both.redrive()


def do_heal(folder: Path) -> None:
    """Starts like a worker: heal, then recover."""
    with opened(folder) as both:
        transfer.heal(both.queue, both.dlq)
        both.queue.recover()


def do_bury_wrongly(folder: Path) -> None:
    """The mistake: removes the delivery before its dead letter is written."""
    with opened(folder) as both:
        for delivery in both.queue.in_flight():
            assert isinstance(delivery, Delivery)
            both.queue.remove(delivery.row_id)
            both.dlq.add(delivery, ERROR, 1)


def do_redrive_wrongly(folder: Path) -> None:
    """The mistake: removes the dead letter before the delivery is written."""
    with opened(folder) as both:
        for dead_letter in both.dlq.asked():
            both.dlq.discard(Selection([dead_letter.id]))
            transfer.redrive(both.queue, both.dlq, dead_letter, START)


def do_report(folder: Path) -> None:
    """Queues a message about new dead letters to DEST, as the worker does once a second."""
    with opened(folder) as both:
        registry = SimpleNamespace(pools={}, loaded=Loaded(told={DEST: 0.0}))
        Troubles(both.queue, both.dlq, cast(Registry, registry), lambda: START * 1.5).update()


def do_repair(folder: Path) -> None:
    """Sets damaged files aside and saves what can be read."""
    repair.repair(folder, after_damage=True)


DO = {name.removeprefix("do_"): do for name, do in list(globals().items()) if name.startswith("do_")}


if __name__ == "__main__":
    DO[sys.argv[1]](Path(sys.argv[2]))
