"""The common settings: one entry each, and how Stash's map of strings, numbers and booleans is parsed.

To add a setting, add a field to ``Settings``; a test then says what belongs in stash_plugin.yml. Settings of one
destination are in that destination's folder.

An empty value means the default, because Stash's page shows an unset setting as ``""``, 0 or off. A bad value is
never guessed at: a ``Problem`` says what is wrong and what applies meanwhile. It names a bad entry by its position
and never quotes it: people paste tokens and URLs with passwords into the wrong field, and problems end up in logs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, TypeVar, cast

from stash_courier.queue.events import EVENTS
from stash_courier.queue.jobs import Event
from stash_courier.worker.paths import WINDOWS_SEPARATORS, PathMap, is_absolute, prefix_key

SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
MOST_WAITS = 50  # entries of the retry schedule

_NUMBER = re.compile(r"[+-]?[0-9]{1,9}(\.0{1,9})?")
_WAIT = re.compile(r"([0-9]{1,6})([smhd])")
_E = TypeVar("_E")


@dataclass(frozen=True, slots=True)
class Setting:
    """One entry of the plugin's settings on Stash's page. The manifest repeats it, and a test compares the two."""

    key: str  # in Stash's map
    type: Literal["BOOLEAN", "NUMBER", "STRING"]
    label: str  # its name on the page
    about: str  # what it does, in sentences
    default: str  # "30"; "off, all scenes"; "empty, no Plex"
    example: str = ""
    limits: tuple[int, int] | None = None  # a number's lowest and highest value
    meanwhile: str = ""  # common settings only: what applies while the value can't be used

    @property
    def description(self) -> str:
        """The description on the page."""
        text = self.about
        if self.limits is not None:
            low, high = self.limits
            text += f" {low} to {high}{'; 0 means the default' if low else ''}."
        if self.example:
            text += f" Example: {self.example}."
        return f"{text} Default: {self.default}."


@dataclass(frozen=True, slots=True)
class Problem:
    """A setting with a value that can't be used."""

    setting: str  # its key in Stash
    message: str  # what is wrong, what applies meanwhile, what to do; never contains a secret
    minor: bool = False  # True: a destination's setting, and the destination is used anyway


_declared: dict[str, Setting] = {}


def declare(*settings: Setting) -> tuple[Setting, ...]:
    """Makes settings known to ``label``."""
    _declared.update((setting.key, setting) for setting in settings)
    return settings


def label(key: str) -> str:
    """A setting's name on Stash's page, quoted; an unknown key, such as one of another version, as it is.

    A destination's settings are known once ``worker.destinations`` is imported.
    """
    return f'"{_declared[key].label if key in _declared else key}"'


def stripped(raw: Mapping[str, object], key: str) -> str:
    """A value of Stash's map as text, "" if it is unset."""
    value = raw.get(key)
    return "" if value is None else str(value).strip()


class _Value:
    """One value of Stash's map while it is read."""

    def __init__(self, setting: Setting, default: Any, raw: object) -> None:
        self.setting = setting
        self.default = default
        self.raw = raw
        self.problem: Problem | None = None

    def text(self) -> str:
        """The value if it is text; "" otherwise."""
        if isinstance(self.raw, str):
            return self.raw
        if not _is_empty(self.raw):
            self.reject("must be text")
        return ""

    def usable(self, entries: Sequence[_E | None], must: str, partly: str = "", none: str = "") -> list[_E]:
        """The entries that can be used; rejects the others, which are None.

        ``must`` says what an entry must be. ``partly`` says what applies meanwhile if some can be used, ``none``
        if none can.
        """
        good = [entry for entry in entries if entry is not None]
        bad = [str(place) for place, entry in enumerate(entries, 1) if entry is None]
        if bad:
            more = " and more" if len(bad) > 5 else ""
            places = f"entries {', '.join(bad[:5])}{more}" if len(bad) > 1 else f"entry {bad[0]}"
            self.reject(f"is invalid: {places} must {must}", partly if good else none)
        return good

    def reject(self, wrong: str, meanwhile: str = "") -> None:
        """Records what is wrong, and what applies meanwhile if not what the setting's entry says."""
        key, meanwhile = self.setting.key, meanwhile or self.setting.meanwhile
        self.problem = Problem(key, f"{label(key)} {wrong}. Until it is corrected, {meanwhile}.")


def _read_number(value: _Value) -> float:
    assert value.setting.limits is not None
    low, high = value.setting.limits
    number = value.raw
    if isinstance(number, str) and _NUMBER.fullmatch(number.strip()):
        number = float(number.strip())
    if not _is_empty(number):
        if isinstance(number, int | float) and number is not True and low <= number <= high and number % 1 == 0:
            return int(number)
        value.reject(f"must be a whole number from {low} to {high}")
    return cast(float, value.default)


def _read_switch(value: _Value) -> bool:
    raw = value.raw
    if isinstance(raw, str):
        raw = {"true": True, "false": False}.get(raw.strip().lower(), raw)
    if raw is not True and not _is_empty(raw):
        value.reject("must be on or off")
    return raw is True


def _read_schedule(value: _Value) -> tuple[float, ...]:
    """The schedule in seconds. With one bad entry none of it is used."""
    entries = [_wait(entry) for entry in value.text().replace(",", " ").split()]
    waits = value.usable(entries, "be a duration from 1s to 7d, such as 5s, 5m, 2h or 1d")
    if len(entries) > MOST_WAITS:
        value.reject(f"must have at most {MOST_WAITS} entries")
    return tuple(waits) if waits and value.problem is None else cast(tuple[float, ...], value.default)


def _read_folders(value: _Value) -> tuple[str, ...]:
    folders = _split(value.text())
    value.usable(
        [folder if is_absolute(folder) else None for folder in folders],
        "begin with / or a drive letter, and matches no scene as it is",
        "only scenes in the other folders are delivered",
        "no scene is delivered",
    )
    # Bad entries, which match nothing, are kept: an empty filter would let out what it was set up to keep in.
    return tuple(folders)


def _read_events(value: _Value) -> frozenset[Event]:
    words = value.text().lower().replace(",", " ").replace(";", " ").split()
    known = [cast(Event, word) if word in EVENTS else None for word in words]
    *others, last = EVENTS
    return frozenset(value.usable(known, f"be {', '.join(others)} or {last}", "only the other entries are used"))


def _read_tags(value: _Value) -> frozenset[str]:
    return frozenset(name.casefold() for name in _split(value.text().replace(",", ";")))


def _read_path_map(value: _Value) -> PathMap:
    seen: set[str] = set()
    usable = value.usable(
        [_rule(part, seen) for part in _split(value.text())],
        "look like /data => /mnt/media, with full paths on both sides and no folder twice on the left",
        "only the other entries are used",
    )
    longest_first = sorted(usable, key=lambda rule: len(rule[0].rstrip(WINDOWS_SEPARATORS)), reverse=True)
    return PathMap(tuple(longest_first))


def _is_empty(raw: object) -> bool:
    """Whether Stash's page shows the value as unset."""
    return raw is None or raw == 0 or (isinstance(raw, str) and not raw.strip())


def _split(text: str) -> list[str]:
    return [part for part in map(str.strip, text.split(";")) if part]


def _wait(entry: str) -> float | None:
    match = _WAIT.fullmatch(entry)
    seconds = int(match[1]) * SECONDS[match[2]] if match else 0.0
    return seconds if 1.0 <= seconds <= 7 * SECONDS["d"] else None


def _rule(part: str, seen: set[str]) -> tuple[str, str] | None:
    """A rule of the path map; None if it is invalid or its source is among those already seen."""
    source, _, target = (side.strip() for side in part.partition("=>"))
    usable = is_absolute(source) and (is_absolute(target) or "://" in target) and "=>" not in target
    if not usable or prefix_key(source) in seen:
        return None
    seen.add(prefix_key(source))
    return source, target


# Each makes a field of ``Settings``: its default value, how it is read, and its entry on Stash's page.


def _number(default: float, limits: tuple[int, int], name: str, about: str, meanwhile: str = "") -> Any:
    meanwhile = meanwhile or f"the default ({default:g}) is used"
    page = Setting("", "NUMBER", name, about, f"{default:g}", limits=limits, meanwhile=meanwhile)
    return field(default=default, metadata={"read": _read_number, "page": page})


def _switch(off: str, name: str, about: str) -> Any:
    page = Setting("", "BOOLEAN", name, about, f"off, {off}", meanwhile="it counts as off")
    return field(default=False, metadata={"read": _read_switch, "page": page})


def _text(read: Callable[[_Value], object], value: object, **page: Any) -> Any:
    return field(default=value, metadata={"read": read, "page": Setting("", "STRING", **page)})


@dataclass(frozen=True, slots=True)
class Settings:
    """The common settings with their defaults, parsed."""

    dead_letter_retention_days: int = _number(
        30,
        (1, 3650),
        "Dead letters, days to keep",
        "The age at which a dead letter is deleted, in days.",
        "no dead letter is deleted for its age",
    )
    delivery_concurrency: int = _number(
        4, (1, 32), "Delivery, requests at once", "How many requests may be in progress at one destination."
    )
    delivery_max_attempts: int = _number(
        10,
        (1, 100),
        "Delivery, attempts",
        "After this many failed attempts a delivery becomes a dead letter. Attempts don't count while a "
        "destination or Stash is down.",
    )
    delivery_retry_schedule: tuple[float, ...] = _text(  # seconds; the last one repeats
        _read_schedule,
        (5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 50400.0, 72000.0, 86400.0),
        label="Delivery, waits between attempts",
        about="Up to 50 durations from 1s to 7d, in s, m, h or d, separated by spaces. The last one repeats.",
        default="5s 5m 30m 2h 5h 10h 14h 20h 24h",
        example="10s 1m 10m 1h",
        meanwhile="the default schedule is used",
    )
    delivery_settle_seconds: float = _number(
        0.0,
        (0, 86400),
        "Delivery, seconds to let edits settle",
        "How long to wait after the first edit of a scene, so that several edits in a row become one delivery. "
        "Deletions don't wait.",
    )
    delivery_timeout_seconds: float = _number(  # wall time of one whole request
        15.0, (1, 300), "Delivery, timeout in seconds", "How long one whole request may take."
    )
    filter_only_organized: bool = _switch(
        "all scenes", "Filter, only organized scenes", "Delivers only scenes that are marked as organized."
    )
    filter_paths: tuple[str, ...] = _text(  # path prefixes to deliver; empty: all
        _read_folders,
        (),
        label="Filter, only these folders",
        about="Delivers only scenes in these folders and below. Enter the paths that Stash shows, separated by "
        "semicolons.",
        default="empty, all folders",
        example="/data/movies; /data/my clips",
        meanwhile="no scene is filtered by its path",
    )
    filter_skip_events: frozenset[Event] = _text(
        _read_events,
        frozenset(),
        label="Filter, events to skip",
        about="Events that are not delivered: create, update or destroy, separated by spaces.",
        default="empty, none is skipped",
        example="create destroy",
        meanwhile="no event is skipped",
    )
    filter_skip_tags: frozenset[str] = _text(  # names, case-folded
        _read_tags,
        frozenset(),
        label="Filter, tags to skip",
        about="Scenes with one of these tags are not delivered. Enter names, separated by semicolons or commas. "
        "Upper and lower case don't matter.",
        default="empty, none is skipped",
        example="private; work in progress",
        meanwhile="no scene is skipped for its tags",
    )
    path_map: PathMap = _text(  # noqa: RUF009 - it returns a field
        _read_path_map,
        PathMap(),
        label="Path map",
        about="What the destinations call the folders that Stash sees. Enter rules of the form from => to, "
        "separated by semicolons. The rule with the longest matching path is used.",
        default="empty, paths are sent as they are in Stash",
        example=r"/data => /mnt/media; D:\clips => /mnt/clips",
        meanwhile="paths are sent as they are in Stash",
    )
    sweep_minutes: int = _number(
        15,
        (1, 1440),
        "Sweep, minutes between two",
        "How often Stash is asked for changes that came without an event, in minutes.",
    )
    sweep_off: bool = _switch(
        "the sweep runs", "Sweep, switch off", "Never asks Stash for changes that came without an event."
    )


SETTINGS = declare(*(replace(one.metadata["page"], key=one.name) for one in fields(Settings)))


def parse(raw: Mapping[str, object]) -> tuple[Settings, tuple[Problem, ...]]:
    """Parses the plugin's map as Stash stores it; never raises on its content.

    Unknown keys are no problem: Stash keeps those of older versions.
    """
    defined = fields(Settings)
    values = [_Value(page, one.default, raw.get(page.key)) for page, one in zip(SETTINGS, defined, strict=True)]
    parsed = {one.name: one.metadata["read"](value) for one, value in zip(defined, values, strict=True)}
    return Settings(**parsed), tuple(value.problem for value in values if value.problem is not None)
