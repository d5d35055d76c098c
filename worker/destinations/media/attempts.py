"""What an item may have from attempts whose end isn't recorded. Kept in memory only."""

from __future__ import annotations

from collections.abc import Collection, Mapping

Ours = Collection[tuple[str, str]]  # fields, and digests of values that we wrote


class Attempts:
    """What attempts whose end isn't recorded may have written. Thread-safe: a scene has one attempt at a time.

    If the server answers too late, or a cover fails after the fields were written, the record lacks values that
    the item may have from us. After the next edit in Stash they would count as the owner's.
    """

    MOST = 10_000  # scenes; the oldest are forgotten first

    def __init__(self) -> None:
        self._written: dict[int, set[tuple[str, str]]] = {}

    def begin(self, scene_id: int, fields: Mapping[str, str]) -> None:
        """These digests are about to be written."""
        self._written.setdefault(scene_id, set()).update(fields.items())
        if len(self._written) > self.MOST:
            self._written.pop(next(iter(self._written)), None)

    def end(self, scene_id: int) -> None:
        """What was written is about to be recorded."""
        self._written.pop(scene_id, None)

    def ours(self, scene_id: int, recorded: Mapping[str, str]) -> Ours:
        """Fields, and digests of values, that the item may have from us."""
        return {*recorded.items(), *self._written.get(scene_id, ())}
