"""What a media server's item has from us, and which of its locked values may be written.

The ledger keeps a record for each scene and hands it to the next delivery. It tells our values from the owner's.
If it is lost, as after a repair, nothing of the owner's is at risk: each destination treats a value without a
record as the owner's, unless it is the one that we would write now.

A server's own refresh leaves locked fields alone, but its API overwrites them, so respecting an owner's locks is
up to us. We lock what we write, and a lock doesn't say who set it. So the value decides: a locked field is ours if
it still has the value that we last wrote or, without a record, the one that we would write now. Any other value is
the owner's. A list that is only added to may have names of the owner; there it is enough that we wrote it before.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from stash_courier.queue.jobs import Delivery

DIGEST_DIGITS = 8  # hex digits


@dataclass(frozen=True, slots=True)
class Record:
    """What one item has from us."""

    cover: str = ""  # digest of its cover, from covers.cover_digest(); "" if it has none from us
    fields: Mapping[str, str] = field(default_factory=dict)  # field → digest of the value that we last wrote
    # In Plex, names of the collections that we added it to. In Jellyfin, see jellyfin/collections.py.
    collections: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()  # of its labels in Plex, or genres in Jellyfin, those that we added

    @classmethod
    def decode(cls, raw: bytes) -> Record:
        """The inverse of ``encode``. What can't be read is an empty record."""
        try:
            stored = {"collections": (), "labels": (), **json.loads(raw)} if raw else {}
            return cls(**{**stored, **{name: tuple(stored[name]) for name in ("collections", "labels") if stored}})
        except (TypeError, ValueError):
            return cls()

    def encode(self) -> bytes:
        """As the ledger stores it; b"" for an empty record."""
        stored = {name: value for name, value in asdict(self).items() if value}
        return json.dumps(stored, separators=(",", ":"), sort_keys=True).encode() if stored else b""


def digest(value: object) -> str:
    """Identifies a field's value: 8 hex digits, the same for values that servers don't tell apart.

    Servers tidy white space, reorder lists, and keep the case in which they first saw a name, so the names of a
    list have no order and no case here. None, "", 0 and an empty list are all "no value".
    """
    canonical = json.dumps(_canonical(value), ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()[:DIGEST_DIGITS]


def _canonical(value: object) -> object:
    if not value:
        return ""
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value.replace("\r\n", "\n").replace("\r", "\n").strip())
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, Sequence | set | frozenset):
        names = {" ".join(str(one).split()).casefold() for one in value}
        return sorted(unicodedata.normalize("NFC", name) for name in names)
    return str(value)


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

    def may_write(self, field: str, value: object, *, added_to: bool = False) -> bool:
        """Whether a locked field with this value may be written. ``added_to``: a list that is only added to."""
        return self.wrote(field, value) or (added_to and self.wrote_any(field))

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
        retried = bool(delivery.attempts or delivery.deaths or delivery.generation)
        return Ours(record, frozenset(self._written.get(delivery.scene_id, ())), retried)
