"""A Jellyfin's network path substitution: its answers show other paths than those that it computes ids from.

Owners set it in the server's system.xml. Up to 10.9 the folders of libraries could have a network path, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from stash_courier.queue.failures import DeliveryFailed
from stash_courier.worker.paths import PathMap, path_map

READ_SECONDS = 3600.0  # how long they are believed


class Substitutions:
    """Those of one server. They are read when a path isn't found. The clock is in monotonic seconds."""

    def __init__(self, ask: Callable[[], PathMap], clock: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._clock = clock
        self._rules = self._reversed = PathMap()
        self._until = 0.0

    def read(self) -> bool:
        """Reads them, unless that was done in the last hour. Returns whether there are any.

        A server that doesn't tell them has none, as far as we know.
        """
        if self._clock() >= self._until:
            self._until = self._clock() + READ_SECONDS
            try:
                self._rules = self._ask()
            except DeliveryFailed:
                self._rules = PathMap()
            self._reversed = path_map((target, source) for source, target in self._rules.rules)
        return bool(self._rules.rules)

    def shown(self, path: str) -> str:
        """What the server's answers show for a file with this path, as far as is known."""
        return self._rules.apply(path)

    def real(self, path: str) -> str:
        """The file's path on the server, for a path as its answers show it; a path that isn't shown stays."""
        return self._reversed.apply(path)
