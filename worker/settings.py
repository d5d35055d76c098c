"""The common settings: one entry each, and how Stash's map of strings, numbers and booleans is parsed.

To add a setting, add a field to ``Settings``; a test then says what belongs in stash_plugin.yml. Settings of one
destination are in that destination's folder. Nothing here reads from or writes to Stash.

An empty value means the default, because Stash's page shows an unset setting as ``""``, 0 or off. A bad value is
never guessed at: a ``Problem`` says what is wrong and what applies meanwhile. Problems name a bad entry by its
position in the list and never quote it: people paste tokens and URLs with passwords into the wrong field, and
problems end up in logs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, cast

from stash_courier.queue.events import EVENTS
from stash_courier.queue.jobs import Event
from stash_courier.worker.paths import WINDOWS_SEPARATORS, PathMap, is_absolute, prefix_key

SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
LONGEST_WAIT = 7 * SECONDS["d"]  # of one entry of the retry schedule
MOST_WAITS = 50  # entries of the retry schedule

_NUMBER = re.compile(r"[+-]?[0-9]{1,9}(\.0{1,9})?")
_WAIT = re.compile(r"([0-9]{1,6})([smhd])")


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
    """A setting's name on Stash's page, in quotation marks, for sentences.

    A destination's settings are known once ``worker.destinations`` is imported. An unknown key, such as one that
    another version stored, is returned as it is, in quotation marks too.
    """
    setting = _declared.get(key)
    return f'"{setting.label if setting else key}"'


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

    def reject(self, wrong: str, meanwhile: str = "") -> None:
        """Records a problem.

        Args:
            wrong: follows the setting's name.
            meanwhile: what applies until the setting is corrected, if not what its entry says.
        """
        key = self.setting.key
        message = f"{label(key)} {wrong}. Until it is corrected, {meanwhile or self.setting.meanwhile}."
        self.problem = Problem(key, message)


def _read_number(value: _Value) -> int | float:
    assert value.setting.limits is not None
    low, high = value.setting.limits
    number = value.raw
    if isinstance(number, str) and _NUMBER.fullmatch(number.strip()):
        number = float(number.strip())
    default: int | float = value.default
    if _is_empty(number):
        return default
    if isinstance(number, int | float) and number is not True and low <= number <= high and number % 1 == 0:
        return int(number)
    meanwhile = value.setting.meanwhile or f"the default ({default:g}) is used"
    value.reject(f"must be a whole number from {low} to {high}", meanwhile)
    return default


def _read_switch(value: _Value) -> bool:
    raw = value.raw
    if isinstance(raw, str):
        raw = {"true": True, "false": False}.get(raw.strip().lower(), raw)
    if raw is not True and not _is_empty(raw):
        value.reject("must be on or off")
    return raw is True


def _read_schedule(value: _Value) -> tuple[float, ...]:
    """The schedule in seconds. With one bad entry none of it is used."""
    waits = [_wait(entry) for entry in value.text().replace(",", " ").split()]
    usable = tuple(wait for wait in waits if wait is not None)
    if len(waits) > MOST_WAITS:
        value.reject(f"must have at most {MOST_WAITS} entries")
    elif len(usable) < len(waits):
        value.reject(f"is invalid: {_places(waits)} must be a duration from 1s to 7d, such as 5s, 5m, 2h or 1d")
    elif usable:
        return usable
    default: tuple[float, ...] = value.default
    return default


def _read_folders(value: _Value) -> tuple[str, ...]:
    folders = _split(value.text())
    checked = [folder if is_absolute(folder) else None for folder in folders]
    if None in checked:
        value.reject(
            f"is invalid: {_places(checked)} must begin with / or a drive letter, and matches no scene as it is",
            "only scenes in the other folders are delivered" if any(checked) else "no scene is delivered",
        )
    # Bad entries, which match nothing, are kept: an empty filter would let out what it was set up to keep in.
    return tuple(folders)


def _read_events(value: _Value) -> frozenset[Event]:
    words = value.text().lower().replace(",", " ").replace(";", " ").split()
    known = [cast(Event, word) if word in EVENTS else None for word in words]
    if None in known:
        *others, last = EVENTS
        value.reject(
            f"is invalid: {_places(known)} must be {', '.join(others)} or {last}",
            "only the other entries are used" if any(known) else "",
        )
    return frozenset(event for event in known if event is not None)


def _read_tags(value: _Value) -> frozenset[str]:
    return frozenset(name.casefold() for name in _split(value.text().replace(",", ";")))


def _read_path_map(value: _Value) -> PathMap:
    rules = [_rule(part) for part in _split(value.text())]
    seen: set[str] = set()
    for place, rule in enumerate(rules):
        if rule is not None:
            source = prefix_key(rule[0])
            if source in seen:
                rules[place] = None
            seen.add(source)
    usable = [rule for rule in rules if rule is not None]
    if len(usable) < len(rules):
        value.reject(
            f"is invalid: {_places(rules)} must look like /data => /mnt/media, with full paths on both sides "
            "and no folder twice on the left",
            "only the other entries are used" if usable else "",
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
    return seconds if 1.0 <= seconds <= LONGEST_WAIT else None


def _rule(part: str) -> tuple[str, str] | None:
    source, _, target = (side.strip() for side in part.partition("=>"))
    usable = is_absolute(source) and (is_absolute(target) or "://" in target) and "=>" not in target
    return (source, target) if usable else None


def _places(entries: Sequence[object]) -> str:
    """Which entries of a list are bad (None), counted from 1."""
    bad = [str(place) for place, entry in enumerate(entries, 1) if entry is None]
    if len(bad) == 1:
        return f"entry {bad[0]}"
    return f"entries {', '.join(bad[:5])}" + (" and more" if len(bad) > 5 else "")


def _number(name: str, about: str, low: int, high: int, meanwhile: str = "") -> dict[str, object]:
    """The metadata of a field that holds a number."""
    page = Setting("", "NUMBER", name, about, default="", limits=(low, high), meanwhile=meanwhile)
    return {"read": _read_number, "page": page}


def _switch(name: str, about: str, off: str) -> dict[str, object]:
    """The metadata of a field that is on or off."""
    page = Setting("", "BOOLEAN", name, about, default=f"off, {off}", meanwhile="it counts as off")
    return {"read": _read_switch, "page": page}


def _text(
    read: Callable[[_Value], object], name: str, about: str, *, default: str, example: str, meanwhile: str
) -> dict[str, object]:
    """The metadata of a field that is read from text."""
    page = Setting("", "STRING", name, about, default=default, example=example, meanwhile=meanwhile)
    return {"read": read, "page": page}


@dataclass(frozen=True, slots=True)
class Settings:
    """The common settings with their defaults, parsed."""

    dead_letter_retention_days: int = field(
        default=30,
        metadata=_number(
            "Dead letters, days to keep",
            "The age at which a dead letter is deleted, in days.",
            1,
            3650,
            "no dead letter is deleted for its age",
        ),
    )
    delivery_concurrency: int = field(
        default=4,
        metadata=_number(
            "Delivery, requests at once", "How many requests may be in progress at one destination.", 1, 32
        ),
    )
    delivery_max_attempts: int = field(
        default=10,
        metadata=_number(
            "Delivery, attempts",
            "After this many failed attempts a delivery becomes a dead letter. Attempts don't count while a "
            "destination or Stash is down.",
            1,
            100,
        ),
    )
    delivery_retry_schedule: tuple[float, ...] = field(  # seconds; the last one repeats
        default=(5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 50400.0, 72000.0, 86400.0),
        metadata=_text(
            _read_schedule,
            "Delivery, waits between attempts",
            "Up to 50 durations from 1s to 7d, in s, m, h or d, separated by spaces. The last one repeats.",
            default="5s 5m 30m 2h 5h 10h 14h 20h 24h",
            example="10s 1m 10m 1h",
            meanwhile="the default schedule is used",
        ),
    )
    delivery_settle_seconds: float = field(
        default=0.0,
        metadata=_number(
            "Delivery, seconds to let edits settle",
            "How long to wait after the first edit of a scene, so that several edits in a row become one "
            "delivery. Deletions don't wait.",
            0,
            86400,
        ),
    )
    delivery_timeout_seconds: float = field(  # wall time of one whole request
        default=15.0,
        metadata=_number("Delivery, timeout in seconds", "How long one whole request may take.", 1, 300),
    )
    filter_only_organized: bool = field(
        default=False,
        metadata=_switch(
            "Filter, only organized scenes", "Delivers only scenes that are marked as organized.", "all scenes"
        ),
    )
    filter_paths: tuple[str, ...] = field(  # path prefixes to deliver; empty: all
        default=(),
        metadata=_text(
            _read_folders,
            "Filter, only these folders",
            "Delivers only scenes in these folders and below. Enter the paths that Stash shows, separated by "
            "semicolons.",
            default="empty, all folders",
            example="/data/movies; /data/my clips",
            meanwhile="no scene is filtered by its path",
        ),
    )
    filter_skip_events: frozenset[Event] = field(
        default=frozenset(),
        metadata=_text(
            _read_events,
            "Filter, events to skip",
            "Events that are not delivered: create, update or destroy, separated by spaces.",
            default="empty, none is skipped",
            example="create destroy",
            meanwhile="no event is skipped",
        ),
    )
    filter_skip_tags: frozenset[str] = field(  # names, case-folded
        default=frozenset(),
        metadata=_text(
            _read_tags,
            "Filter, tags to skip",
            "Scenes with one of these tags are not delivered. Enter names, separated by semicolons or commas. "
            "Upper and lower case don't matter.",
            default="empty, none is skipped",
            example="private; work in progress",
            meanwhile="no scene is skipped for its tags",
        ),
    )
    path_map: PathMap = field(
        default=PathMap(),
        metadata=_text(
            _read_path_map,
            "Path map",
            "What the destinations call the folders that Stash sees. Enter rules of the form from => to, "
            "separated by semicolons. The rule with the longest matching path is used.",
            default="empty, paths are sent as they are in Stash",
            example=r"/data => /mnt/media; D:\clips => /mnt/clips",
            meanwhile="paths are sent as they are in Stash",
        ),
    )
    sweep_minutes: int = field(
        default=15,
        metadata=_number(
            "Sweep, minutes between two",
            "How often Stash is asked for changes that came without an event, in minutes.",
            1,
            1440,
        ),
    )
    sweep_off: bool = field(
        default=False,
        metadata=_switch(
            "Sweep, switch off",
            "Never asks Stash for changes that came without an event.",
            "the sweep runs",
        ),
    )


def _entries() -> Iterator[Setting]:
    for one in fields(Settings):
        page: Setting = one.metadata["page"]
        yield replace(page, key=one.name, default=page.default or f"{one.default:g}")


SETTINGS = declare(*_entries())


def parse(raw: Mapping[str, object]) -> tuple[Settings, tuple[Problem, ...]]:
    """Parses the plugin's map as Stash stores it; never raises on its content.

    Unknown keys are no problem: Stash keeps those of older versions.
    """
    parsed: dict[str, Any] = {}
    problems: list[Problem] = []
    for setting, one in zip(SETTINGS, fields(Settings), strict=True):
        value = _Value(setting, one.default, raw.get(setting.key))
        parsed[setting.key] = one.metadata["read"](value)
        if value.problem is not None:
            problems.append(value.problem)
    return Settings(**parsed), tuple(problems)
