"""What a scene should look like on a media server, how that is compared with what the server has, and in words."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from stash_courier.queue.jobs import Scene
from stash_courier.worker.destinations import Change as ReceiptChange
from stash_courier.worker.destinations.media.settings import Collections, Selection

SHOWN = 80  # characters of a value in a line for a person

FieldChange = tuple[str, object, object]  # a field, its value on the server, and the value it gets
LONGEST = 200  # characters of a value in a receipt
COVER: FieldChange = ("cover", None, "the cover in Stash")


@dataclass(frozen=True, slots=True)
class State:
    """A scene's values for a media server. None means "leave the server's value alone", "" and () "empty it"."""

    title: str | None = None
    details: str | None = None
    date: str | None = None  # "YYYY-MM-DD", "YYYY-MM" or "YYYY"
    studio: str | None = None
    performers: tuple[str, ...] | None = None
    tags: tuple[str, ...] | None = None
    director: str | None = None
    rating: float | None = None  # above 0, up to 10; 0 means "empty it"
    ids: str | None = None  # the scene's id
    added: datetime | None = None  # when Stash got the scene, in UTC

    @property
    def year(self) -> int | None:
        """The date's year."""
        return int(self.date[:4]) if self.date else None

    @property
    def day(self) -> str | None:
        """The date as "YYYY-MM-DD"; None if Stash knows only the year or month."""
        return self.date if self.date and len(self.date) == len("YYYY-MM-DD") else None


def wanted_state(scene: Scene, selection: Selection) -> State:
    """The scene's values in the selected fields. An empty title is never sent."""
    values: dict[str, str | float | tuple[str, ...]] = {
        "title": scene.title_or_stem(),
        "details": tidy(scene.details),
        "date": scene.date,
        "studio": scene.studio.name if scene.studio else "",
        "performers": names(p.name for p in scene.performers),
        "tags": names(t.name for t in scene.tags),
        "director": " ".join(scene.director.split()),
        "rating": (scene.rating100 or 0) / 10,
        "ids": str(scene.id),
    }
    sent = {
        name: value
        for name, value in values.items()
        if name in selection.fields and (value or (selection.clear and name != "title"))
    }
    return State(**sent)  # type: ignore[arg-type]  # the table above has State's names and types


def collection_names(scene: Scene, chosen: Collections) -> tuple[str, ...]:
    """The names of the collections that a scene belongs to."""
    found = [group.name for group in scene.groups] if chosen in {"groups", "both"} else []
    if chosen in {"studio", "both"} and scene.studio is not None:
        found.append(scene.studio.name)
    return names(found)


def added_at(scene: Scene) -> datetime | None:
    """When Stash got the scene, in UTC to the second; None if that can't be read."""
    try:
        return datetime.fromisoformat(scene.created_at).astimezone(UTC).replace(microsecond=0)
    except (ValueError, OverflowError):
        return None


def names(found: Iterable[str]) -> tuple[str, ...]:
    """Names with their spaces tidied, without empty ones and without duplicates that differ only in case."""
    first: dict[str, str] = {}
    for name in (" ".join(n.split()) for n in found):
        if name:
            first.setdefault(folded(name), name)
    return tuple(first.values())


def tidy(value: str) -> str:
    """A text as servers return it: line feeds only, no surrounding white space."""
    return value.replace("\r\n", "\n").replace("\r", "\n").strip()


def same_text(one: str | None, other: str | None) -> bool:
    """Whether two texts are equal, apart from line ends, surrounding white space and Unicode composition."""
    return unicodedata.normalize("NFC", tidy(one or "")) == unicodedata.normalize("NFC", tidy(other or ""))


def same_name(one: str | None, other: str | None) -> bool:
    """Whether two names are equal in any case: servers keep the case in which they first saw a name."""
    return folded(one or "") == folded(other or "")


def has_name(names: Iterable[str], name: str) -> bool:
    """Whether a list has a name, in any case."""
    return any(same_name(name, one) for one in names)


@dataclass(frozen=True, slots=True)
class Change:
    """What to add to a list and to remove from it. False if there is nothing to do."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()  # spelled as on the server

    def __bool__(self) -> bool:
        return bool(self.added or self.removed)

    def removing_only(self, names: Sequence[str]) -> Change:
        """The same, but of the names to remove only these."""
        return Change(self.added, tuple(name for name in self.removed if has_name(names, name)))

    def applied(self, current: Iterable[str]) -> list[str]:
        """The list after the change."""
        return [*(name for name in current if name not in self.removed), *self.added]

    def added_by_us(self, before: Iterable[str], after: Sequence[str]) -> tuple[str, ...]:
        """The names of the list after the change that we added, now or, as ``before`` says, earlier."""
        return tuple(dict.fromkeys([*(name for name in before if has_name(after, name)), *self.added]))


def list_change(current: Sequence[str], wanted: Sequence[str], *, add_only: bool, cased: bool = False) -> Change:
    """The change that turns a server's list into Stash's. The order doesn't matter.

    Args:
        add_only: remove nothing.
        cased: case matters, for lists in which the server takes over our spelling. Ignored with add_only.
    """
    key = _composed if cased and not add_only else folded
    have = {key(name) for name in current}
    want = {key(name) for name in wanted}
    added = tuple(name for name in wanted if key(name) not in have)
    removed = () if add_only else tuple(name for name in current if key(name) not in want)
    return Change(added, removed)


def would_change(changes: Iterable[FieldChange]) -> list[str]:
    """The changes in lines for a person."""
    lines = [f"{name}: {_shown(before)} would become {_shown(after)}." for name, before, after in changes]
    return lines or ["Nothing would change."]


def receipt_changes(
    made: Iterable[FieldChange], *, cover: bool = False, unknown: Iterable[FieldChange] = ()
) -> tuple[ReceiptChange, ...]:
    """The changes of an item. ``cover``: it was sent. ``unknown``: more changes, of unknown former values."""
    more = [*unknown, COVER] if cover else [*unknown]
    return (
        *(ReceiptChange(name, as_line(before, LONGEST), as_line(after, LONGEST)) for name, before, after in made),
        *(ReceiptChange(name, None, as_line(after, LONGEST)) for name, _, after in more),
    )


def value_lines(values: Iterable[FieldChange]) -> list[str]:
    """The values that an item would get."""
    return [f"{name}: {as_line(after, LONGEST)}" for name, _, after in values]


def as_line(value: object, limit: int) -> str:
    """A field's value on one line for a person, cut after this many characters; "" if it has none."""
    if isinstance(value, list | tuple):
        value = ", ".join(map(str, value))
    text = str("" if value is None else value)[: limit + 1]
    shown = text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)
    return shown if len(shown) <= limit else f"{shown[:limit]}…"


def _shown(value: object) -> str:
    return f'"{shown}"' if (shown := as_line(value, SHOWN)) else "nothing"


def folded(name: str) -> str:
    """A key that is equal for names that differ only in case, Unicode composition and white space."""
    return _composed(name.casefold())


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", " ".join(name.split()))
