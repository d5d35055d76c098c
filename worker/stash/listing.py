"""Which pages of Stash's scenes a sweep asks for, and what each page shows. No I/O, no clock.

sweep.py decides which of the changes need an event. What this relies on (Stash's source, pkg/sqlite and
internal/api): ``updated_at`` is taken before the transaction of a change begins and is visible once that
ends; scene ids grow and are never reused.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import Any

from stash_courier.worker.stash.client import SweepPage
from stash_courier.worker.stash.queries import HIGHEST_ID, Listed, SweepQuestion

COMMIT_SECONDS = 600  # the longest time from a change's updated_at until the change is visible
HOOK_SECONDS = 10  # the hook of a younger change may still be running, so the change is left for another look


@dataclass(frozen=True, slots=True)
class Mark:
    """What one sweep leaves to the next."""

    at: float  # wall time when the sweep began, unix seconds
    last_id: int  # scenes with higher ids are new
    total: int | None  # scenes up to that id; None before the first sweep


def stored_mark(stored: Any) -> Mark:
    """The form of control.SWEEP."""
    mark = Mark(float(stored["at"]), int(stored["last_id"]), int(stored["total"]))
    if not 0 <= mark.last_id <= HIGHEST_ID:
        raise ValueError("Stash has no scene with this id")
    return mark


@dataclass(frozen=True, slots=True)
class Findings:
    """What one page shows. Either ``run`` or ``mark`` is set."""

    run: Run | None = None  # the state of the sweep after this page, if another page follows
    mark: Mark | None = None  # for the next sweep, if this one is complete
    changed: tuple[Listed, ...] = ()  # changed or added since the last sweep
    young: tuple[Listed, ...] = ()  # changed or added so recently that their hooks may still be running
    low: int = 0  # of the ids above this …
    high: int = 0  # … and up to this, Stash has only those on the page


@dataclass(frozen=True, slots=True)
class Run:
    """A sweep in progress.

    The first sweep only finds the newest scene and the number of scenes. Every other sweep lists what
    changed or was added. If the number of older scenes differs from last time (some were deleted, or a
    backup was restored), it then lists all of those.
    """

    began: float  # wall time
    since: float  # wall time when the last sweep began, by the present clock
    mark: Mark  # of the last sweep
    known_to: int  # the highest id in the ledger when the sweep began
    recheck: frozenset[int]  # scenes to look at whenever they changed
    lists_all: bool = False  # lists all older scenes, after the changes
    after: int = 0  # the last id of the previous page
    last_id: int = 0  # new scenes up to this id are dealt with
    added: int = 0  # the number of those
    held_from: int = sys.maxsize  # the first new scene that is left to the next sweep, with all behind it
    known: int = 0  # scenes up to the mark's id that still exist

    def question(self) -> SweepQuestion:
        """The next page to ask for."""
        if self.mark.total is None:
            return SweepQuestion(scenes=1, newest=True, known_up_to=HIGHEST_ID)
        if self.lists_all:
            return SweepQuestion(after=self.after, up_to=self.mark.last_id)
        return SweepQuestion(
            after=self.after,
            changed_since=self.since,
            added_after=self.mark.last_id,
            known_up_to=self.mark.last_id if self.after == 0 else None,
        )

    def take(self, page: SweepPage) -> Findings:
        """What the page shows that ``question`` asked for."""
        if self.mark.total is None:
            newest = page.scenes[0].id if page.scenes else 0
            return Findings(mark=Mark(self.began, newest, page.known))
        if self.lists_all:
            high = self.mark.last_id if page.last else page.scenes[-1].id
            run = replace(self, known=self.known + len(page.scenes))
            return run._proceed(page, Findings(low=self.after, high=high))
        return self._take_changes(page)

    def _take_changes(self, page: SweepPage) -> Findings:
        last_id = self.mark.last_id
        young = tuple(scene for scene in page.scenes if self._is_young(scene, page))
        findings = Findings(
            changed=tuple(s for s in page.scenes if not self._is_young(s, page) and self._has_changed(s)),
            young=young,
            low=max(self.after, last_id),
            high=self.known_to if page.last else page.scenes[-1].id,
        )
        held_from = min([self.held_from, *(scene.id for scene in young if scene.id > last_id)])
        settled = [scene.id for scene in page.scenes if last_id < scene.id < held_from]
        run = replace(
            self,
            last_id=settled[-1] if settled else self.last_id,
            added=self.added + len(settled),
            held_from=held_from,
            known=self.known if page.known is None else page.known,
        )
        if page.last and run.known != self.mark.total:
            return replace(findings, run=replace(run, lists_all=True, after=0, known=0))
        return run._proceed(page, findings)

    def _is_young(self, scene: Listed, page: SweepPage) -> bool:
        return self.began - HOOK_SECONDS < scene.moment <= page.asked_at + HOOK_SECONDS

    def _has_changed(self, scene: Listed) -> bool:
        """Whether a listed scene is new, changed since the last sweep or must be looked at again."""
        is_new = scene.id > self.mark.last_id
        return is_new or scene.moment >= self.since - COMMIT_SECONDS or scene.id in self.recheck

    def _proceed(self, page: SweepPage, findings: Findings) -> Findings:
        """Completes the findings with the next state: another page, or the end of the sweep."""
        if page.last:
            return replace(findings, mark=Mark(self.began, self.last_id, self.known + self.added))
        return replace(findings, run=replace(self, after=page.scenes[-1].id))
