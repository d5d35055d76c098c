"""The scenes of Stash with which connections are tested."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from stash_courier.plugin.report import Report
from stash_courier.queue.jobs import Scene
from stash_courier.worker.connections.model import Connection, Shared
from stash_courier.worker.fields import label
from stash_courier.worker.filters import FILTERS, passes
from stash_courier.worker.stash.client import Stash, StashUnavailable
from stash_courier.worker.stash.scene_files import sample

LOOKED_AT = 500  # of the newest scenes, for some that would be sent
TRIED = 20  # scenes that are looked up in a media server


class Samples:
    """Scenes for the tests of one button. What was read once is kept for the next connection."""

    def __init__(self, stash: Stash, report: Report) -> None:
        self._stash = stash
        self._report = report
        self._newest: Iterator[Scene] = itertools.islice(stash.newest_scenes(), LOOKED_AT)
        # By the folders that were asked for; without what only deliveries need.
        self._spread: dict[tuple[str, ...], Sequence[Scene]] = {}
        self._whole: dict[tuple[int, ...], Sequence[Scene]] = {}  # by their ids

    def of(self, connection: Connection) -> list[Scene]:
        """The scenes to test a connection with: one for a webhook, up to TRIED for a media server.

        They have a file and pass its filters. If there are none of those, the best there are, with a warning.

        Raises:
            StashUnavailable: Stash can't be asked.
        """
        if connection.entry.kind == "webhook":
            return self._among_newest(connection, 1)
        folders = connection.shared.folders
        try:
            if folders not in self._spread:
                self._spread[folders] = sample(self._stash, folders)
            chosen = tuple(one.id for one in self._spread[folders] if passes(one, connection.shared))[:TRIED]
            if chosen not in self._whole:
                self._whole[chosen] = self._stash.available(chosen)
        except StashUnavailable:  # one scene that it can't give is enough
            return self._among_newest(connection, TRIED)
        return list(self._whole[chosen]) or self._among_newest(connection, TRIED)

    def _among_newest(self, connection: Connection, count: int) -> list[Scene]:
        """The newest scenes, newest first."""
        self._newest, newest = itertools.tee(self._newest)
        found: list[Scene] = []
        first = with_file = None
        for one in newest:
            first = first or one
            if one.files:
                with_file = with_file or one
                if passes(one, connection.shared):
                    found.append(one)
                    if len(found) == count:
                        break
        if found or first is None:
            return found
        none = f"None of Stash's newest {LOOKED_AT} scenes"
        if with_file is None:
            self._report.warn(f"{none} has a file, so the test uses the newest scene.")
            return [first]
        filters = ", ".join(label(Shared, key) for key in FILTERS)
        self._report.warn(
            f"{connection.entry.name}: {none[0].lower()}{none[1:]} passes the filters, so the test uses one that "
            f"is not sent. Check {filters}."
        )
        return [with_file]
