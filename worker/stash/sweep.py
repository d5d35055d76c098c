"""The sweep: finds changes that ran no hook, or whose hook was killed, and puts them into the inbox.

Auto-tag, generated covers, merges and imports run no hooks. So Stash is asked from time to time what changed
since the last time (listing.py has the details), and what the ledger, the queue or the dead letters already
know is left out. The sweep delivers nothing. For a deleted scene it puts an update; the worker gets no scene
from Stash for it and sends a destroy.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass

from stash_courier.queue import control
from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.history import ledger, receipts
from stash_courier.queue.history.ledger import Sent
from stash_courier.queue.jobs import CATCH_UP, DeadLetter, Delivery, Event, Scene, SceneEvent
from stash_courier.worker.settings import Settings
from stash_courier.worker.stash.answers import PluginState
from stash_courier.worker.stash.client import Stash, SweepPage
from stash_courier.worker.stash.listing import Findings, Mark, Run, stored_mark
from stash_courier.worker.stash.queries import Listed, SweepQuestion
from stash_courier.worker.stash.wire import UnusableAnswer

RECHECK_SECONDS = 10.0  # until another look at changes whose hooks may still be running
RESUME_SECONDS = 60.0  # until the next sweep after Stash failed during one
LATE_HOOK_SECONDS = 3600.0  # the last hook of a long bulk edit comes at most this long after the change
CLOCK_SET_BACK_SECONDS = 26 * 3600.0  # how far to look back if the mark is in the future
NEVER = 1e12
ALL_EVENTS = 1_000_000  # of the inbox

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Stash is up but doesn't answer the sweep's question."""

    reason: str
    state: PluginState


def ask(stash: Stash, question: SweepQuestion) -> SweepPage | Refusal:
    """Asks, in the thread that talks to Stash. Raises StashUnavailable if Stash can't be asked at all."""
    try:
        return stash.sweep_page(question)
    except UnusableAnswer as error:
        return Refusal(error.reason, stash.plugin_state())


class Sweep:
    """The sweeps of one dispatcher, in its thread: ``question``, then ``hear`` the answer, then ``put``."""

    def __init__(
        self, queue: SceneQueue, dlq: DeadLetterQueue, clock: Callable[[], float], monotonic: Callable[[], float]
    ) -> None:
        self._queue = queue
        self._conn = queue.connection  # of the ledger and the mark, too
        self._dlq = dlq
        self._clock = clock  # wall time, unix seconds
        self._monotonic = monotonic  # seconds
        self._targets: dict[str, float] = {}  # destination → wall time since which it exists
        self._certain = False  # there are no others
        self._run: Run | None = None  # the sweep in progress
        self._page: SweepPage | None = None  # its last answer, until ``put``
        self._changed = self._gone = 0  # scenes for which this sweep put events
        self._recheck: frozenset[int] = frozenset()  # scenes that the next sweep looks at whenever they changed
        self._pending: set[int] = set()  # scenes that this sweep left out because a delivery waits
        # Monotonic times:
        self._began = 0.0  # of the sweep in progress
        self._marked: float | None = None  # when the sweep of the stored mark began, if in this process
        self._ended = -NEVER  # of the last sweep
        self._wait: float | None = None  # seconds to the next sweep, if not as the settings say
        # Put recently, so that a late hook for the same change can be recognized:
        self._updates: dict[int, tuple[Listed, float]] = {}  # scene → as listed, monotonic time
        self._destroys: dict[tuple[str, int], float] = {}  # (destination, scene) → monotonic time
        self._refused = ""  # the last logged reason

    # When

    def meet(self, targets: Collection[str], *, certain: bool = True) -> None:
        """Sets the present destinations. A destination gets no changes from before it was added or switched on.

        ``certain``: there are no others, which something that can't be read may hide.
        """
        self._certain = certain
        if list(targets) == list(self._targets):
            return
        stored = control.get(self._conn, control.SWEEP_MET, control.times) or {}
        self._targets = {target: stored.get(target, self._clock()) for target in targets}
        if self._targets or certain:  # one that is only hidden is not new afterwards
            control.put(self._conn, control.SWEEP_MET, self._targets)

    def due_in(self, settings: Settings) -> float:
        """Seconds until the next question; 0 during a sweep."""
        if settings.worker_sweep_off or not self._targets or self._page is not None:
            return NEVER
        if self._run is not None:
            return 0.0
        wait = 60.0 * settings.worker_sweep_minutes if self._wait is None else self._wait
        return max(0.0, self._ended + wait - self._monotonic())

    def stash_failed(self) -> None:
        """Ends the sweep in progress because Stash can't be asked.

        The next one is due as soon as Stash answers again, because hooks may have been lost meanwhile.
        """
        if self._run is not None:
            self._ended, self._wait = self._monotonic(), RESUME_SECONDS
        elif self._wait is None:
            self._ended = -NEVER
        self._run = self._page = None

    # Asking

    def question(self) -> SweepQuestion:
        """What to ask Stash next; begins a sweep if none is in progress."""
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
            log.warning("Stash doesn't list changes, so only changes with hooks are delivered: %s", answer.reason)
        self._refused = answer.reason

    def _begin(self) -> Run:
        wall, now = self._clock(), self._monotonic()
        oldest = now - LATE_HOOK_SECONDS
        self._updates = {scene: put for scene, put in self._updates.items() if put[1] > oldest}
        self._destroys = {key: at for key, at in self._destroys.items() if at > oldest}
        self._began, self._wait = now, None
        self._changed = self._gone = 0
        self._pending = set()
        # Without a mark, as before the first sweep.
        mark = control.get(self._conn, control.SWEEP, stored_mark) or Mark(wall, 0, None)
        if self._marked is not None:  # the clock may have been set back since
            since = min(mark.at, wall - (now - self._marked))
        else:
            since = mark.at if mark.at <= wall else wall - CLOCK_SET_BACK_SECONDS
        known_to = max((ledger.highest(self._conn, target) for target in self._targets), default=0)
        return Run(wall, since, mark, known_to, self._recheck, last_id=mark.last_id)

    # Finding

    def put(self) -> None:
        """Puts an event into the inbox for each change on the last page that isn't known yet.

        Raises:
            sqlite3.Error: nothing was put; try again.
        """
        run, page = self._run, self._page
        if run is None or page is None:
            return
        findings = run.take(page)
        wanted = {scene.id: self._without(scene, run.mark, page) for scene in findings.changed}
        changed = [scene for scene in findings.changed if wanted[scene.id]]
        gone = self._find_gone(findings, page)
        with self._queue.transaction():
            # Read last, because hooks put events at any time.
            hooked = {row.scene_id for row in self._queue.inbox_rows(ALL_EVENTS) if isinstance(row, SceneEvent)}
            changed = [scene for scene in changed if scene.id not in hooked]
            gone = [(target, scene_id) for target, scene_id in gone if scene_id not in hooked]
            events: dict[int, Event] = {scene_id: "update" for _, scene_id in gone}
            events |= {scene.id: self._event_of(scene, run.mark) for scene in changed}
            at = self._clock()
            for scene_id, event in events.items():  # behind all edits, like those of a button
                to = wanted.get(scene_id) or [target for target, gone_id in gone if gone_id == scene_id]
                if len(to) == len(self._targets) or not self._certain:
                    to = []  # all that there are when it is routed
                found: dict[str, object] = {
                    "scene": scene_id,
                    "event": event,
                    "changed": [],
                    "at": at,
                    "priority": CATCH_UP,
                }
                self._queue.put({**found, "to": to})
            if findings.mark is not None:
                control.put(self._conn, control.SWEEP, asdict(findings.mark))
        now = self._monotonic()
        oldest = run.began - LATE_HOOK_SECONDS  # no late hooks follow on older changes, of which there may be many
        self._updates |= {scene.id: (scene, now) for scene in changed if scene.moment > oldest}
        self._destroys |= dict.fromkeys(gone, now)
        self._changed += len(changed)
        self._gone += len({scene_id for _, scene_id in gone})
        if any(self._without(scene, run.mark, page) for scene in findings.young):
            self._wait = RECHECK_SECONDS
        self._run, self._page = findings.run, None
        if findings.mark is not None:
            self._end(findings.mark, first=run.mark.total is None)

    def _end(self, mark: Mark, *, first: bool) -> None:
        self._marked, self._ended = self._began, self._monotonic()
        self._recheck = frozenset(self._pending)
        self._refused = ""
        if first:
            log.info("Scenes in Stash: %d. Changes are delivered from now on.", mark.total)
        elif self._changed or self._gone:
            log.info("Changes without hooks: %d. Deletions without hooks: %d.", self._changed, self._gone)

    def _without(self, scene: Listed, mark: Mark, page: SweepPage) -> list[str]:
        """The destinations that need an event for a change: it wasn't delivered, doesn't wait, is not dead."""
        return [target for target in self._targets if not self._is_known_for(target, scene, mark, page)]

    def _is_known_for(self, target: str, scene: Listed, mark: Mark, page: SweepPage) -> bool:
        sent = ledger.find(self._conn, target, scene.id)
        if sent is None:
            added = self._targets[target]
            is_new = scene.id > mark.last_id and added <= mark.at
            if scene.moment < added and not is_new:
                return True
        elif sent.updated_at == scene.updated_at or page.asked_at <= sent.fetched_at <= self._clock():
            return True  # delivered; a scene fetched after the page was asked for had this change or a later one
        if self._queue.generation(target, scene.id) is not None:
            # The scene may have been fetched before the change. Then the ledger shows that to the next sweep.
            self._pending.add(scene.id)
            return True
        last = receipts.find(self._conn, target, scene.id)
        if last is not None and last.outcome == "dead" and last.updated_at == scene.updated_at:
            return True  # also if a person discarded the dead letter
        dead_letter = self._open_dead_letter(target, scene.id)
        return dead_letter is not None and (
            dead_letter.failed_at > scene.moment + 1 or scene.moment > page.asked_at
        )

    def _find_gone(self, findings: Findings, page: SweepPage) -> list[tuple[str, int]]:
        """Scenes that were delivered and no longer exist, with each destination that hasn't been told."""
        listed = {scene.id for scene in page.scenes}
        return [
            (target, scene_id)
            for target in self._targets
            for scene_id in ledger.between(self._conn, target, findings.low, findings.high)
            if scene_id not in listed and not self._is_destroy_known(target, scene_id)
        ]

    def _is_destroy_known(self, target: str, scene_id: int) -> bool:
        if self._queue.generation(target, scene_id) is not None:
            return True
        dead_letter = self._open_dead_letter(target, scene_id)
        return dead_letter is not None and dead_letter.event == "destroy"

    def _open_dead_letter(self, target: str, scene_id: int) -> DeadLetter | None:
        found = self._dlq.find(target, scene_id)
        dead_letter = None if found is None else self._dlq.get_by_id(found[0])
        return None if dead_letter is None or dead_letter.state in {"resolved", "discarded"} else dead_letter

    def _event_of(self, scene: Listed, mark: Mark) -> Event:
        was_sent = any(ledger.find(self._conn, target, scene.id) for target in self._targets)
        return "create" if scene.id > mark.last_id and not was_sent else "update"

    # Late hooks

    def was_first(self, delivery: Delivery, scene: Scene | None, sent: Sent | None) -> bool:
        """Whether a hook reports a change that the sweep found first and this destination already got.

        A bulk edit commits once and then runs its hooks one after another, so a sweep may see a change before
        its hook runs. ``scene`` is the scene as Stash has it now, ``sent`` its row in the ledger.
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
            and (delivery.event == "create" or bool(delivery.changed))  # hooks of edits name what changed
        )
