"""What a delivery did to an item, and what it would send, for people. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from stash_courier.worker.destinations import Change
from stash_courier.worker.destinations.media.state import FieldChange, as_line

LONGEST = 200  # characters of a value
COVER: FieldChange = ("cover", None, "the cover in Stash")


def changes(
    made: Iterable[FieldChange], *, cover: bool = False, unknown: Iterable[FieldChange] = ()
) -> tuple[Change, ...]:
    """The changes of an item. ``cover``: it was sent. ``unknown``: more changes, of unknown former values."""
    more = [*unknown, COVER] if cover else [*unknown]
    return (
        *(Change(name, as_line(before, LONGEST), as_line(after, LONGEST)) for name, before, after in made),
        *(Change(name, None, as_line(after, LONGEST)) for name, _, after in more),
    )


def lines(values: Iterable[FieldChange]) -> list[str]:
    """The values that an item would get."""
    return [f"{name}: {as_line(after, LONGEST)}" for name, _, after in values]
