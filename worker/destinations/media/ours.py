"""Which values of an item are ours, so that locked ones may be written.

A server's own refresh leaves locked fields alone, but its API overwrites them, so respecting an owner's locks is
up to us. We lock what we write, and a lock doesn't say who set it. So the value decides: a locked field is ours if
it still has the value that we last wrote or, without a record, the one that we would write now. Any other value is
the owner's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from stash_courier.queue.jobs import Delivery
from stash_courier.worker.destinations.media.record import Record, digest


@dataclass(frozen=True, slots=True)
class Ours:
    """What an item may have from us."""

    record: Record = field(default_factory=Record)
    unrecorded: Collection[tuple[str, str]] = ()  # fields, and digests of values that attempts may have written
    # The delivery was tried before, perhaps by a worker that ended between the server's answer and the record.
    retried: bool = False

    def wrote(self, field: str, value: object) -> bool:
        """Whether a field's value is from us."""
        written = digest(value)
        return self.record.fields.get(field) == written or (field, written) in self.unrecorded

    def wrote_any(self, field: str) -> bool:
        """Whether we have written the field at all."""
        return field in self.record.fields or any(known == field for known, _ in self.unrecorded)

    def accepts(self, field: str, value: object) -> bool:
        """Whether a value on which server and scene agree is ours from now on.

        If we had written another one before, the owner has set it.
        """
        return self.retried or self.wrote(field, value) or not self.wrote_any(field)


NOTHING = Ours()


def left_alone(server: str, fields: Sequence[str], switch: str) -> list[str]:
    """A sentence about fields that the owner locked; none if there are none.

    Args:
        server: its name.
        switch: the label of the switch that has locks respected.
    """
    locked = f"Left alone, because they are locked in {server}: {', '.join(fields)}. {switch} decides that."
    return [locked] if fields else []


class Attempts:
    """What attempts whose end isn't recorded may have written. Thread-safe: a scene has one attempt at a time.

    If the server answers too late, or a cover fails after the fields were written, the record lacks values that
    the item may have from us. After the next edit in Stash they would count as the owner's. This is only kept in
    memory.
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

    def ours(self, delivery: Delivery, record: Record) -> Ours:
        """What the item of the delivery's scene may have from us."""
        retried = bool(delivery.attempts or delivery.suspect or delivery.generation)
        return Ours(record, frozenset(self._written.get(delivery.scene_id, ())), retried)
