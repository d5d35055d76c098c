"""A sweep's way through Stash's scenes, pure: which page comes next, which scenes on it matter, where it ends.

What is known of those scenes is sweep.py's concern. Facts it rests on (read in Stash's source,
pkg/sqlite and internal/api): ``updated_at`` is kept as text in the server's zone, to the second, and
compared as text; it is taken before the change's transaction begins and can be seen when that ends;
scene ids grow and don't come again.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, replace
from typing import Literal

from stash_courier.worker.stash.client import Listed, SweepPage, SweepQuestion

HOUR = 3600
MARGIN_SECONDS = 2 * HOUR  # texts go back by an hour when a zone's clocks do
UNSURE_MARGIN_SECONDS = 26 * HOUR  # and by so much from the easternmost zone to the westernmost
COMMIT_SECONDS = 600  # a change can be seen so long after its updated_at at the latest
HOOK_SECONDS = 10  # what is younger may have its hook under way: it is left for another look


@dataclass(frozen=True, slots=True)
class Mark:
    """What one sweep leaves to the next."""

    at: float  # wall time when it began, unix seconds
    zone: int | None  # of Stash's texts, seconds east of UTC; None: not known so far
    last_id: int  # scenes with higher ids are new
    total: int | None  # scenes up to that id; None while the very first sweep counts them


@dataclass(frozen=True, slots=True)
class Step:
    """What a page means."""

    run: Run  # how the sweep stands after it
    mark: Mark | None  # what it leaves if it is over
    changed: tuple[Listed, ...]  # scenes that changed, or are new, since the last sweep
    low: int  # no scene has an id above this …
    high: int  # … and up to this, but those on the page
    young: tuple[Listed, ...]  # scenes that changed so lately that their hooks may be under way


@dataclass(frozen=True, slots=True)
class Run:
    """A sweep under way.

    First what changed or is new is listed, then, if fewer of the old scenes are left than there
    were (or more: a backup was restored), all of them. The very first sweep only counts.
    """

    began: float  # wall time
    since: float  # wall time of the last sweep, by the clock of today
    mark: Mark | None  # the last sweep's; None until the very first knows the newest scene
    sure: bool  # that Stash still runs in the mark's zone
    up_at: float  # wall time since which its zone is the same
    known_to: int  # the highest id in the ledger when it began
    again: frozenset[int] = frozenset()  # scenes that matter whenever they changed
    stage: Literal["changed", "all"] = "changed"
    after: int = 0  # the last id of the page before
    last_id: int = 0  # up to here new scenes are dealt with
    added: int = 0  # how many those are
    known: int = 0  # scenes up to the mark's id that are still there
    zones: frozenset[int] = frozenset()  # Stash's own since ``up_at``, by its log and by changes
    held: bool = False  # a new scene was left for the next sweep, and with it those behind it

    def question(self) -> SweepQuestion:
        """The next page."""
        mark = self.mark
        if mark is None:
            return SweepQuestion(scenes=1, newest=True)
        if self.stage == "all":
            return SweepQuestion(after=self.after, up_to=mark.last_id)
        known_up_to = mark.last_id if self.after == 0 else None
        if mark.total is None:
            after = max(self.after, mark.last_id)
            return SweepQuestion(after=after, known_up_to=known_up_to, times=self.after == 0)
        return SweepQuestion(
            after=self.after,
            changed_after=watermark(self.since, mark.zone, sure=self.sure),
            added_after=mark.last_id,
            known_up_to=known_up_to,
            times=self.after == 0 and not self.sure,
        )

    def step(self, page: SweepPage) -> Step:
        """What the page that was asked for means."""
        mark = self.mark
        if mark is None:
            newest = page.scenes[0].id if page.scenes else 0
            first = replace(self, mark=Mark(self.began, None, newest, None), last_id=newest)
            return Step(first, None, (), 0, 0, ())
        if self.stage == "all":
            return self._all(mark, page)
        run, changed, young = self._sorted(mark, page)
        low = max(self.after, mark.last_id)
        high = self.known_to if page.last else page.scenes[-1].id
        if page.last and mark.total not in {None, run.known}:
            run = replace(run, stage="all", after=0, known=0)
            return Step(run, None, changed, low, high, young)
        return Step(*run._on(page), changed, low, high, young)

    def _sorted(self, mark: Mark, page: SweepPage) -> tuple[Run, tuple[Listed, ...], tuple[Listed, ...]]:
        """Tells the scenes that matter, and those that are left for another look, from those seen last time."""
        changed, young = [], []
        last_id, added, held = self.last_id, self.added, self.held
        for scene in page.scenes:
            new = scene.id > mark.last_id
            if self.began - HOOK_SECONDS < scene.moment <= page.asked_at + HOOK_SECONDS:
                young.append(scene)
                held = held or new
                continue
            if new and not held:
                last_id, added = scene.id, added + 1
            if new or scene.moment >= self.since - COMMIT_SECONDS or scene.id in self.again:
                changed.append(scene)
        zones = {scene.zone for scene in page.scenes if self.up_at <= scene.moment <= page.asked_at}
        if page.zone is not None:
            zones.add(page.zone)
        run = replace(
            self,
            last_id=last_id,
            added=added,
            held=held,
            known=self.known if page.known is None else page.known,
            zones=self.zones | zones,
        )
        return run, tuple(changed), tuple(young)

    def _all(self, mark: Mark, page: SweepPage) -> Step:
        high = mark.last_id if page.last else page.scenes[-1].id
        run = replace(self, known=self.known + len(page.scenes))
        return Step(*run._on(page), (), self.after, high, ())

    def _on(self, page: SweepPage) -> tuple[Run, Mark | None]:
        """Before the next page, or at the end."""
        if not page.last:
            return replace(self, after=page.scenes[-1].id), None
        zones = self.zones
        if self.mark is not None and self.mark.zone is not None and (self.sure or not zones):
            zones |= {self.mark.zone}
        # The lowest is the safest: the texts of all others come behind its own.
        zone = min(zones, default=None)
        return self, Mark(self.began, zone, self.last_id, self.known + self.added)


def watermark(since: float, zone: int | None, *, sure: bool) -> str:
    """The text behind which everything stands that changed since then.

    Args:
        since: wall time, unix seconds.
        zone: of Stash's texts, seconds east of UTC; None if it isn't known.
        sure: whether Stash runs in that zone still, summer and winter time apart.
    """
    margin = MARGIN_SECONDS if sure and zone is not None else UNSURE_MARGIN_SECONDS
    there = datetime.timezone(datetime.timedelta(seconds=zone or 0))
    text = datetime.datetime.fromtimestamp(since - margin, there).isoformat("T", "seconds")
    return text.replace("+00:00", "Z")
