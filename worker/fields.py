"""Fields that an owner fills in: one entry each, which parses its value and describes it to a form.

A group of fields is a frozen dataclass whose fields are made by ``number``, ``switch``, ``choice``, ``text``,
``secret`` and ``several``. ``parse`` reads all of them from a map of raw values, ``of`` lists them.

A bad value is never guessed at: a ``Problem`` says what is wrong and what applies meanwhile. It names a bad entry
by its position and never quotes it: people paste tokens and URLs with passwords into the wrong field, and problems
end up in logs.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast

from stash_courier.queue.inbox.events import EVENTS
from stash_courier.queue.jobs import Event
from stash_courier.worker.paths import PathMap, Rule, is_absolute, path_map, prefix_key

SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
MOST_WAITS = 50  # entries of a retry schedule

_NUMBER = re.compile(r"[+-]?[0-9]{1,9}(\.0{1,9})?")
_WAIT = re.compile(r"([0-9]{1,6})([smhd])")
_E = TypeVar("_E")
_T = TypeVar("_T")

Type = Literal["text", "secret", "number", "switch", "choice", "list"]


@dataclass(frozen=True, slots=True)
class Field:
    """One field, as a form shows it."""

    type: Type
    label: str
    help: str  # what it does, in sentences
    default: Any  # the parsed value while it is unset
    read: Callable[[Value], Any]
    unset: str = ""  # what it means when it is unset, in words: "all folders"
    example: str = ""
    limits: tuple[int, int] | None = None  # a number's lowest and highest value
    choices: Mapping[str, str] = dataclasses.field(default_factory=dict)  # value → its label
    basic: bool = False  # a form shows it at once, not below "Advanced"
    required: bool = False
    meanwhile: str = "nothing is sent"  # what applies while the value can't be used
    key: str = ""  # in the map of raw values; the name of the dataclass's field


@dataclass(frozen=True, slots=True)
class Fix:
    """A change to a connection's fields that a person applies with one click."""

    label: str  # what it does, in a few words without a secret
    values: Mapping[str, object] = dataclasses.field(repr=False)  # field → its new raw value, perhaps a secret


@dataclass(frozen=True, slots=True)
class Problem:
    """A value that can't be used."""

    field: str  # its key
    message: str  # what is wrong, what applies meanwhile, what to do; never contains a secret
    connection: str = ""  # the connection's id; "" for a common setting
    name: str = ""  # the connection's name
    fix: Fix | None = None


class BadSetting(ValueError):
    """A value can't be used. The message says what is wrong and what to do; it follows the field's label."""

    def __init__(self, message: str, fix: Fix | None = None) -> None:
        super().__init__(message)
        self.fix = fix


class Value:
    """One raw value while it is read."""

    def __init__(self, field: Field, raw: object) -> None:
        self.field = field
        self.raw = raw
        self.problem: Problem | None = None

    @property
    def empty(self) -> bool:
        """Whether it is unset. Stash's page shows unset values as "", 0 or off."""
        raw, limits = self.raw, self.field.limits
        if self.field.type == "switch":
            zero = raw == 0 and raw is not False  # False may be another value than the default
        else:
            zero = raw == 0 and (raw is False or limits is None or limits[0] > 0)
        return raw is None or zero or raw == [] or (isinstance(raw, str) and not raw.strip())

    def text(self) -> str:
        """The value, which must be text, without surrounding white space."""
        if not isinstance(self.raw, str):
            raise BadSetting("must be text")
        return self.raw.strip()

    def parts(self, separators: str) -> list[str]:
        """The entries of a list, given as a list of texts or as one text with separators."""
        raw = self.raw
        if isinstance(raw, list) and all(isinstance(part, str) for part in raw):
            parts = raw
        else:
            parts = re.split(f"[{separators}]", self.text())
        return [part for part in map(str.strip, parts) if part]

    def usable(self, entries: Sequence[_E | None], must: str) -> list[_E]:
        """The entries that can be used; rejects the others, which are None. ``must``: what an entry must be."""
        bad = [str(place) for place, entry in enumerate(entries, 1) if entry is None]
        if bad:
            more = " and more" if len(bad) > 5 else ""
            places = f"entries {', '.join(bad[:5])}{more}" if len(bad) > 1 else f"entry {bad[0]}"
            self.reject(f"is invalid: {places} must {must}")
        return [entry for entry in entries if entry is not None]

    def reject(self, wrong: str, fix: Fix | None = None) -> None:
        """Records what is wrong."""
        text = f'"{self.field.label}" {wrong}. Until it is corrected, {self.field.meanwhile}.'
        self.problem = Problem(self.field.key, text, fix=fix)


def of(group: type) -> tuple[Field, ...]:
    """The fields of a group, in the order of their declaration."""
    return tuple(
        dataclasses.replace(cast(Field, one.metadata["field"]), key=one.name) for one in dataclasses.fields(group)
    )


def label(group: type, key: str) -> str:
    """A field's label, quoted, for a sentence."""
    return next(f'"{one.label}"' for one in of(group) if one.key == key)


def parse(group: type[_T], raw: Mapping[str, object]) -> tuple[_T, list[Problem]]:
    """Parses a map of raw values; never raises on its content. Unknown keys are ignored."""
    parsed, problems = parse_fields(of(group), raw)
    return group(**parsed), problems


def parse_fields(wanted: Iterable[Field], raw: Mapping[str, object]) -> tuple[dict[str, Any], list[Problem]]:
    """As ``parse``, for fields that belong to no group: their parsed values by key."""
    parsed: dict[str, Any] = {}
    problems = []
    for one in wanted:
        value = Value(one, raw.get(one.key))
        parsed[one.key] = one.default
        if value.empty:
            if one.required:
                value.reject("is empty")
        else:
            try:
                found = one.read(value)
            except BadSetting as error:
                value.reject(str(error), fix=error.fix)
            else:
                parsed[one.key] = one.default if value.problem else found
        if value.problem:
            problems.append(value.problem)
    return parsed, problems


# Each makes a field of a group.


def _make(field: Field) -> Any:
    # A factory, because dataclasses refuse a dict as a default. No code changes a default.
    return dataclasses.field(default_factory=lambda: field.default, metadata={"field": field})


def number(name: str, about: str, limits: tuple[int, int], default: float | None, **more: Any) -> Any:
    """A whole number. ``default`` None: unset means the common setting."""
    return _make(Field("number", name, about, default, _read_number, limits=limits, **more))


def switch(name: str, about: str, *, on: bool = False, **more: Any) -> Any:
    """On or off; ``on``: while it is unset."""
    return _make(Field("switch", name, about, on, read_switch, **more))


def choice(name: str, about: str, choices: Mapping[str, str], **more: Any) -> Any:
    """One of several values; the first is the default."""
    return _make(Field("choice", name, about, next(iter(choices)), read_choice, choices=choices, **more))


def text(name: str, about: str, read: Callable[[Value], Any] = Value.text, default: Any = "", **more: Any) -> Any:
    """A text, read by ``read``, which may raise BadSetting."""
    return _make(Field("text", name, about, default, read, **more))


def secret(
    name: str, about: str, read: Callable[[Value], Any] = Value.text, default: Any = "", **more: Any
) -> Any:
    """A text that no form and no answer shows."""
    return _make(Field("secret", name, about, default, read, **more))


def several(name: str, about: str, read: Callable[[Value], Any], default: Any, **more: Any) -> Any:
    """A list of texts, or one text with separators."""
    return _make(Field("list", name, about, default, read, **more))


def _read_number(value: Value) -> float | None:
    assert value.field.limits is not None
    low, high = value.field.limits
    raw = value.raw
    if isinstance(raw, str) and _NUMBER.fullmatch(raw.strip()):
        raw = float(raw.strip())
    if isinstance(raw, int | float) and not isinstance(raw, bool) and low <= raw <= high and raw % 1 == 0:
        return int(raw)
    if raw == 0 and low > 0 and not isinstance(raw, bool):
        return cast(float | None, value.field.default)
    value.reject(f"must be a whole number from {low} to {high}")
    return None


def read_switch(value: Value) -> bool:
    """On or off."""
    raw = value.raw
    if isinstance(raw, str):
        raw = {"true": True, "false": False, "0": False}.get(raw.strip().lower(), raw)
    if not isinstance(raw, bool):
        value.reject("must be on or off")
    return raw is True


def read_choice(value: Value) -> str:
    """One of the entry's choices."""
    chosen = value.text()
    if chosen not in value.field.choices:
        value.reject(f"must be one of {', '.join(value.field.choices)}")
    return chosen


def read_schedule(value: Value) -> tuple[float, ...]:
    """Waits between attempts, in seconds."""
    words = value.parts(r"\s,;")
    waits = value.usable(
        [_wait(entry) for entry in words], "be a duration from 1s to 7d, such as 5s, 5m, 2h or 1d"
    )
    if len(words) > MOST_WAITS:
        value.reject(f"must have at most {MOST_WAITS} entries")
    return tuple(waits) or cast(tuple[float, ...], value.field.default)


def entered(value: float | Sequence[float]) -> str:
    """A whole number, or waits in seconds, as a person enters them: ``10``, ``5s 2h 1d``."""
    if not isinstance(value, Sequence):
        return str(value)
    units = [next(unit for unit in "dhms" if seconds % SECONDS[unit] == 0) for seconds in value]
    return " ".join(f"{seconds / SECONDS[unit]:.0f}{unit}" for seconds, unit in zip(value, units, strict=True))


def read_folders(value: Value) -> tuple[str, ...]:
    """Absolute folders, as Stash shows them."""
    return tuple(
        value.usable(
            [folder if is_absolute(folder) else None for folder in value.parts(";")],
            "begin with / or a drive letter",
        )
    )


def read_events(value: Value) -> frozenset[Event]:
    """Kinds of event."""
    words = [word.lower() for word in value.parts(r"\s,;")]
    *others, last = EVENTS
    known = [cast(Event, word) if word in EVENTS else None for word in words]
    return frozenset(value.usable(known, f"be {', '.join(others)} or {last}"))


def read_names(value: Value) -> frozenset[str]:
    """Names of tags or studios, case-folded."""
    return frozenset(name.casefold() for name in value.parts(",;"))


def read_path_map(value: Value) -> PathMap:
    """Rules of the form ``from => to``."""
    seen: set[str] = set()
    usable = value.usable(
        [_rule(part, seen) for part in value.parts(";")],
        "look like /data => /mnt/media, with full paths on both sides and no folder twice on the left",
    )
    return path_map(usable)


def _wait(entry: str) -> float | None:
    match = _WAIT.fullmatch(entry)
    seconds = int(match[1]) * SECONDS[match[2]] if match else 0.0
    return seconds if 1.0 <= seconds <= 7 * SECONDS["d"] else None


def _rule(part: str, seen: set[str]) -> Rule | None:
    """A rule of the path map; None if it is invalid or its source is among those already seen."""
    source, _, target = (side.strip() for side in part.partition("=>"))
    usable = is_absolute(source) and (is_absolute(target) or "://" in target) and "=>" not in target
    if not usable or prefix_key(source) in seen:
        return None
    seen.add(prefix_key(source))
    return source, target
