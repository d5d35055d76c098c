"""How many scenes one request to Stash asks for, by how long Stash took for the last ones. No I/O, no clock.

Also which scenes are asked for apart from others, because a request with them was not answered in time: one scene
for which Stash never answers must not stop the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

MOST_SCENES = 50  # in one request
UNKNOWN_SCENES = 10  # in one request before Stash's speed is known
GROWTH = 5  # a request asks for at most this many times as many scenes as the last one that was answered
REQUEST_SECONDS = 2.0  # for the scenes of one request, so that an edit doesn't wait long behind others
SLOW_SECONDS = 0.5  # for one scene: more than this is reported


class Pace:
    """Belongs to the thread that asks for scenes. Other threads may read ``scenes`` and ``slow``."""

    def __init__(self) -> None:
        self.scenes = UNKNOWN_SCENES  # ask for at most this many in the next request
        self._seconds = 0.0  # that Stash took for a scene, at last
        self._overhead = math.inf  # the least seconds that a request took, with or without scenes
        self._apart: set[int] = set()  # scenes in requests that were not answered in time
        self._apart_scenes = 1  # ask for at most this many of those in one request
        self._apart_next = True

    @property
    def slow(self) -> float | None:
        """Seconds that Stash takes for a scene, if that is long."""
        return round(self._seconds, 1) if self._seconds >= SLOW_SECONDS else None

    def choose(self, ids: Sequence[int]) -> Sequence[int]:
        """Those of the wanted scenes to ask for now. Ask for the others afterwards.

        Scenes that must be asked for apart and the others take turns, so that neither wait forever.
        """
        apart = [scene for scene in ids if scene in self._apart]
        others = [scene for scene in ids if scene not in self._apart]
        if apart and others:
            self._apart_next = not self._apart_next
        if not apart or (others and self._apart_next):
            return others
        return apart[: self._apart_scenes]

    def answered(self, ids: Sequence[int], seconds: float) -> None:
        """Stash answered a request for these scenes, or for none, after ``seconds``."""
        self._overhead = min(self._overhead, seconds)
        if not ids:
            return
        self._apart.difference_update(ids)
        self._seconds = (seconds - self._overhead) / len(ids)
        manageable = MOST_SCENES * self._seconds <= REQUEST_SECONDS
        wanted = MOST_SCENES if manageable else int(REQUEST_SECONDS / self._seconds)
        self.scenes = max(1, min(wanted, max(self.scenes, GROWTH * len(ids))))

    def timed_out(self, ids: Sequence[int], seconds: float) -> None:
        """Stash didn't answer a request for these scenes within ``seconds``."""
        self._apart.update(ids)
        self._apart_scenes = max(1, len(ids) // 2)
        if len(ids) > 1:  # a single one says nothing about others
            self._seconds = seconds / len(ids)
            self.scenes = min(self.scenes, self._apart_scenes)
