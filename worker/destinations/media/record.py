"""What a media server's item has from us: the ledger keeps it for each scene and hands it to the next delivery.

It tells our values from the owner's. If it is lost, as after a repair, nothing of the owner's is at risk: each
destination treats a value without a record as the owner's, unless it is the one that we would write now.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from stash_courier.queue.checks import DAMAGE, items, parsed, text, typed

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
            stored = typed(dict, parsed(raw)) if raw else {}
            fields = typed(dict, stored.get("fields", {}))
            return cls(
                text(stored.get("cover", "")),
                {text(name): text(value) for name, value in fields.items()},
                tuple(items(text)(stored.get("collections", []))),
                tuple(items(text)(stored.get("labels", []))),
            )
        except DAMAGE:
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
    if isinstance(value, Mapping):
        return {str(key): _canonical(one) for key, one in value.items()}
    if isinstance(value, Sequence | set | frozenset):
        names = {" ".join(str(one).split()).casefold() for one in value}
        return sorted(unicodedata.normalize("NFC", name) for name in names)
    return str(value)
