"""The sweep: finds changes that no hook told of, and puts them into the inbox.

Hooks get killed, and auto-tag, generated covers, merges and imports run none. So Stash is asked now
and then what changed since the last time (listing.py knows how), and what is known here is left out.
Nothing is delivered or judged here. It never says itself that a scene is gone: it puts an update, and
the worker, which then gets no scene from Stash, makes a destroy of it.
"""

from __future__ import annotations

import datetime
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

from stash_courier.queue import control, ledger, schema, store
from stash_courier.queue.dlq import DeadLetterQueue
from stash_courier.queue.jobs import DeadLetter, Delivery, Event, Scene, SceneEvent
from stash_courier.queue.ledger import Sent
from stash_courier.queue.scene_queue import SceneQueue
from stash_courier.worker.settings import Settings
from stash_courier.worker.stash.client import Listed, PluginState, Stash, SweepPage, SweepQuestion, UnusableAnswer
from stash_courier.worker.stash.listing import UNSURE_MARGIN_SECONDS, Mark, Run, Step

SOON_SECONDS = 10.0  # until another look at what was too young
AGAIN_SECONDS = 60.0  # after Stash went away in the middle
LAST_HOOK_SECONDS = 3600.0  # the last hook of a long bulk edit comes so long after the change
NEVER = 1e12
ALL_EVENTS = 1_000_000  # of the inbox

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Stash answers, but not this question."""

    reason: str
    state: PluginState


def ask(stash: Stash, question: SweepQuestion) -> SweepPage | Refusal:
    """Asks Stash; for the thread that does.

    Raises:
        StashUnavailable: it can't be asked at all.
    """
    try:
        return stash.sweep_page(question)
    except UnusableAnswer as error:
        return Refusal(error.reason, stash.plugin_state())


class Sweep:
    """Sweeps for one dispatcher, in its thread: ``question``, and when the answer is there, ``hear`` and ``put``.

    Args:
        queue: where events go, with the ledger and the mark beside them.
        dlq: what could not be delivered is known too.
        clock: wall time, unix seconds.
        monotonic: seconds that nobody sets.
    """

    def __init__(
        self,
        queue: SceneQueue,
        dlq: DeadLetterQueue,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._queue = queue
        self._conn = queue.connection
        self._dlq = dlq
        self._clock = clock
        self._monotonic = monotonic
        self._met: dict[str, float] = {}  # destination → wall time since which it is there
        self._run: Run | None = None
        self._page: SweepPage | None = None  # heard and not yet put
        self._found = (0, 0)  # changes and disappearances that this sweep has put
        self._again: frozenset[int] = frozenset()  # for the next sweep, whenever they changed
        self._waiting: set[int] = set()  # scenes of this sweep that need nothing since a delivery waits
        self._up_at = clock()  # wall time since which Stash's zone is the same
        self._sure = False  # it is known which that is
        # Monotonic times:
        self._began = 0.0  # of the sweep under way
        self._marked: float | None = None  # when the mark's sweep began, if that was in this process
        self._ended = -NEVER  # of the last sweep
        self._wait: float | None = None  # seconds to the next, if the setting doesn't say
        self._updates: dict[int, tuple[Listed, float]] = {}  # put lately: scene → as listed, when
        self._destroys: dict[tuple[str, int], float] = {}  # (destination, scene) → when
        self._refused = ""

    # When

    def meet(self, targets: tuple[str, ...]) -> None:
        """Learns the destinations that there are now: what changed before one was there isn't its concern."""
        if targets == tuple(self._met):
            return
        known = control.get(self._conn, control.SWEEP_MET)
        known = known if isinstance(known, dict) else {}
        self._met = {target: _number(known.get(target), self._clock()) for target in targets}
        if self._met:  # settings that can't be read for a while make nobody new
            control.put(self._conn, control.SWEEP_MET, self._met)

    def due_in(self, settings: Settings) -> float:
        """Seconds until the next question; 0 during a sweep."""
        if settings.sweep_off or not self._met or self._page is not None:
            return NEVER
        if self._run is not None:
            return 0.0
        wait = 60.0 * settings.sweep_minutes if self._wait is None else self._wait
        return max(0.0, self._ended + wait - self._monotonic())

    def stash_failed(self) -> None:
        """Stash can't be asked. Once it can, hooks may have been lost, and it may run in another zone."""
        if self._run is not None:
            self._ended, self._wait = self._monotonic(), AGAIN_SECONDS
        elif self._wait is None:
            self._ended = -NEVER
        self._run = self._page = None
        self._up_at, self._sure = self._clock(), False

    # Asking

    def question(self) -> SweepQuestion:
        """What to ask next; begins a sweep if none is under way."""
        if self._run is None:
            self._run = self._begin()
        return self._run.question()

    def hear(self, answer: SweepPage | Refusal) -> None:
        """Takes the answer to the last question."""
        if isinstance(answer, SweepPage):
            self._page = answer
            return
        self._run = None
        self._ended, self._wait = self._monotonic(), None
        if answer.reason != self._refused:
            log.warning("Stash doesn't tell what has changed, only its hooks do: %s", answer.reason)
        self._refused = answer.reason

    def _begin(self) -> Run:
        wall, now = self._clock(), self._monotonic()
        recent = now - LAST_HOOK_SECONDS
        self._updates = {scene: put for scene, put in self._updates.items() if put[1] > recent}
        self._destroys = {scene: at for scene, at in self._destroys.items() if at > recent}
        self._began, self._found, self._wait, self._waiting = now, (0, 0), None, set()
        mark = _mark(control.get(self._conn, control.SWEEP))
        since = wall
        if mark is not None and self._marked is not None:
            since = min(mark.at, wall - (now - self._marked))
        elif mark is not None:
            since = mark.at if mark.at <= wall else wall - UNSURE_MARGIN_SECONDS
        known_to = max((ledger.highest(self._conn, target) for target in self._met), default=0)
        last_id = 0 if mark is None else mark.last_id
        return Run(wall, since, mark, self._sure, self._up_at, known_to, self._again, last_id=last_id)

    # Finding

    def put(self) -> bool:
        """Puts what the answer shows and nobody here knows into the inbox; returns whether that was anything.

        Raises:
            sqlite3.Error: nothing was put; try again.
        """
        run, page = self._run, self._page
        if run is None or page is None:
            return False
        step = run.step(page)
        last_id = 0 if run.mark is None else run.mark.last_id
        unknown = [scene for scene in step.changed if not self._known(run, page, scene)]
        missing = self._missing(step, page)
        with self._queue.transaction():
            # Hooks may have told of some while this was worked out.
            rows = self._queue.inbox_rows(ALL_EVENTS)
            told = {row.scene_id for row in rows if isinstance(row, SceneEvent)}
            unknown = [scene for scene in unknown if scene.id not in told]
            missing = {(target, scene_id) for target, scene_id in missing if scene_id not in told}
            events: dict[int, Event] = {scene_id: "update" for _, scene_id in sorted(missing)}
            for scene in unknown:
                created = scene.id > last_id and not self._ever_ended(scene.id)
                events[scene.id] = "create" if created else "update"
            self._insert(events)
            if step.mark is not None:
                control.put(self._conn, control.SWEEP, asdict(step.mark))
        now = self._monotonic()
        lately = run.began - LAST_HOOK_SECONDS
        self._updates |= {scene.id: (scene, now) for scene in unknown if scene.moment > lately}
        self._destroys |= dict.fromkeys(missing, now)
        self._found = (self._found[0] + len(unknown), self._found[1] + len(events) - len(unknown))
        if self._wait is None and any(not self._known(run, page, scene) for scene in step.young):
            self._wait = SOON_SECONDS
        self._run, self._page = (step.run, None) if step.mark is None else (None, None)
        if step.mark is not None:
            self._end(step.run, step.mark, first=run.mark is not None and run.mark.total is None)
        return bool(events)

    def _end(self, run: Run, mark: Mark, *, first: bool) -> None:
        self._marked, self._ended = self._began, self._monotonic()
        self._sure = self._sure or bool(run.zones)
        self._again = frozenset(self._waiting)
        self._refused = ""
        if first:
            log.info("Stash has %d scenes: what changes from now on is delivered", mark.total)
        elif any(self._found):
            log.info("found what no hook told: %d changed scenes, %d that are gone", *self._found)

    def _known(self, run: Run, page: SweepPage, scene: Listed) -> bool:
        """Whether a change needs no event: for every destination it was delivered, waits or is a dead letter."""
        return all(self._known_for(target, run, page, scene) for target in self._met)

    def _known_for(self, target: str, run: Run, page: SweepPage, scene: Listed) -> bool:
        row = ledger.find(self._conn, target, scene.id)
        if row is None and run.mark is not None:
            met = self._met[target]
            came_since = scene.id > run.mark.last_id and met <= run.mark.at
            if scene.moment < met and not came_since:
                return True
        elif row is not None:
            # Fetched after the page was asked for: that was this change or a later one.
            fetched_since = page.asked_at <= row.fetched_at <= self._clock()
            if row.updated_at == scene.updated_at or fetched_since:
                return True
        if self._queue.generation(target, scene.id) is not None:
            # Fetched before the change, maybe: then the ledger will say so at the next sweep.
            self._waiting.add(scene.id)
            return True
        dead_letter = self._letter(target, scene.id)
        return dead_letter is not None and (
            dead_letter.failed_at > scene.moment + 1 or scene.moment > page.asked_at
        )

    def _missing(self, step: Step, page: SweepPage) -> set[tuple[str, int]]:
        """Scenes that were delivered and are no more, with the destinations that have not been told."""
        listed = {scene.id for scene in page.scenes}
        return {
            (target, scene_id)
            for target in self._met
            for scene_id in ledger.between(self._conn, target, step.low, step.high)
            if scene_id not in listed and not self._destroy_known(target, scene_id)
        }

    def _destroy_known(self, target: str, scene_id: int) -> bool:
        if self._queue.generation(target, scene_id) is not None:
            return True
        dead_letter = self._letter(target, scene_id)
        return dead_letter is not None and dead_letter.event == "destroy"

    def _letter(self, target: str, scene_id: int) -> DeadLetter | None:
        found = self._dlq.find(target, scene_id)
        dead_letter = None if found is None else self._dlq.get_by_id(found[0])
        return None if dead_letter is None or dead_letter.state == "resolved" else dead_letter

    def _ever_ended(self, scene_id: int) -> bool:
        return any(ledger.find(self._conn, target, scene_id) is not None for target in self._met)

    def _insert(self, events: Mapping[int, Event]) -> None:
        """Puts events behind all edits, as those of a button are. Within a transaction."""
        at = self._clock()
        rows = (
            store.encode({"scene": scene_id, "event": event, "changed": [], "at": at, "bulk": True})
            for scene_id, event in events.items()
        )
        insert = schema.INSERT.format(table_name=schema.INBOX)
        self._conn.executemany(insert, ((row, at) for row in rows))

    # Hooks that come later

    def was_first(self, delivery: Delivery, scene: Scene | None, sent: Sent | None) -> bool:
        """Whether a hook tells what the sweep found before it and this destination has got by now.

        A bulk edit commits once and runs its hooks one after another; the sweep may see the change
        before the last of them.

        Args:
            delivery: as claimed.
            scene: as Stash has it now.
            sent: the ledger's row for this scene and destination.
        """
        if delivery.event == "destroy":
            return sent is None and (delivery.destination, delivery.scene_id) in self._destroys
        found, _ = self._updates.get(delivery.scene_id, (None, 0.0))
        return (
            found is not None
            and scene is not None
            and sent is not None
            and sent.outcome == "sent"
            and found.updated_at == scene.updated_at == sent.updated_at
            and sent.fetched_at >= found.moment + 1  # no other edit of that second came after
            and (delivery.event == "create" or bool(delivery.changed))  # what says no more is no edit's hook
        )


def _mark(stored: object) -> Mark | None:
    """The last sweep's mark; None if there is none that can be read, so that the next is the first."""
    try:
        mark = Mark(**stored)  # type: ignore[arg-type]
        datetime.timezone(datetime.timedelta(seconds=mark.zone or 0))
        return mark if mark.at + mark.last_id + (mark.total or 0) >= 0 else None
    except (TypeError, ValueError, OverflowError):
        return None


def _number(value: object, default: float) -> float:
    return float(value) if isinstance(value, int | float) else default
