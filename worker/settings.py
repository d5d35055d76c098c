"""Settings: Stash's map of strings, numbers and booleans, parsed; problems in plain words.

Common settings only: what belongs to one destination is parsed by that destination's module.
Nothing here reads or writes Stash.

The empty value means the default, since Stash's page shows an unset setting as ``""``, 0 or off. A
bad value is never guessed at: a ``Problem`` says what is wrong and what holds meanwhile. Problems
name a bad entry by its place in the list and never quote it: people paste tokens and URLs with
passwords into the wrong field, and problems end up in logs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from stash_courier.queue.jobs import Event

EVENTS: tuple[Event, ...] = get_args(Event)
SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
LONGEST_WAIT = 7 * SECONDS["d"]  # of one entry of the retry schedule
MOST_WAITS = 50  # entries of the retry schedule

# Key in Stash → displayName in stash_plugin.yml, which a test compares.
LABELS: Mapping[str, str] = {
    "dead_letter_retention_days": "Dead letters, days to keep",
    "delivery_concurrency": "Delivery, requests at once",
    "delivery_max_attempts": "Delivery, attempts",
    "delivery_retry_schedule": "Delivery, waits between attempts",
    "delivery_settle_seconds": "Delivery, seconds to let edits settle",
    "delivery_timeout_seconds": "Delivery, timeout in seconds",
    "emby_api_key": "Emby (experimental), API key",
    "emby_url": "Emby (experimental), address",
    "filter_only_organized": "Filter, only organized scenes",
    "filter_paths": "Filter, only these folders",
    "filter_skip_events": "Filter, events to skip",
    "filter_skip_tags": "Filter, tags to skip",
    "jellyfin_add_only": "Jellyfin, lists are only added to",
    "jellyfin_api_key": "Jellyfin, API key",
    "jellyfin_images": "Jellyfin, send covers",
    "jellyfin_refresh_only": "Jellyfin, only notify",
    "jellyfin_skip_fields": "Jellyfin, fields to leave alone",
    "jellyfin_url": "Jellyfin, address",
    "path_map": "Path map",
    "plex_add_only": "Plex, lists are only added to",
    "plex_images": "Plex, send covers",
    "plex_libraries": "Plex, libraries",
    "plex_skip_fields": "Plex, fields to leave alone",
    "plex_token": "Plex, token",
    "plex_url": "Plex, address",
    "sweep_minutes": "Sweep, minutes between two",
    "sweep_off": "Sweep, switch off",
    "webhook_headers": "Webhook, extra headers",
    "webhook_secret": "Webhook, signing secret",
    "webhook_url": "Webhook, URL",
}


def label(key: str) -> str:
    """A setting's name on Stash's page, in quotation marks, for sentences."""
    return f'"{LABELS[key]}"'


DRIVE = re.compile(r"[A-Za-z]:(?=[\\/]|$)")
NUMBER = re.compile(r"[+-]?[0-9]{1,9}(\.0{1,9})?")
WINDOWS = "\\/"  # Windows takes either for a separator
WAIT = re.compile(r"([0-9]{1,6})([smhd])")


@dataclass(frozen=True, slots=True)
class Problem:
    """A setting that can't be used as it stands."""

    setting: str  # its key in Stash
    message: str  # what is wrong, what holds meanwhile, what to do; one sentence, no secret
    minor: bool = False  # True: of a destination's setting, and the destination is used all the same


@dataclass(frozen=True, slots=True)
class PathMap:
    """``path_map``: how Stash's paths are called elsewhere."""

    rules: tuple[tuple[str, str], ...] = ()  # (from, to), longest prefix first

    def apply(self, path: str) -> str:
        """The path as destinations see it; unchanged where no rule fits.

        What follows the prefix takes the separator of the rule's target, so that a Stash on Windows
        and a media server on Linux (or the other way round) understand each other.
        """
        rule = self.rule_for(path)
        if rule is None:
            return path
        source, target = rule
        rest = _below(path, source)
        if not rest:
            return target
        if _is_windows(path):
            rest = rest.replace("\\", "/")
        return target.rstrip(_separators(target)) + rest.replace("/", _separator(target))

    def rule_for(self, path: str) -> tuple[str, str] | None:
        """The rule that ``apply`` uses for this path."""
        return next((rule for rule in self.rules if matches_prefix(path, rule[0])), None)


def matches_prefix(path: str, prefix: str) -> bool:
    r"""Whether the path is the prefix or lies below it: ``/media/a`` is no prefix of ``/media/ab``.

    A Windows path (a drive letter or ``\\server`` in front) is compared as Windows does, whatever the
    case and with both separators alike; any other path exactly. Nothing fits an empty prefix or path.
    """
    return _below(path, prefix) is not None


def _below(path: str, prefix: str) -> str | None:
    """What follows the prefix, with the separator in front; None if the path isn't below it."""
    separators = _separators(path)
    size = len(prefix.rstrip(separators))
    rest = path[size:]
    fits = (
        _folded(path[:size]) == _folded(prefix[:size]) if separators == WINDOWS else path.startswith(prefix[:size])
    )
    return rest if path and prefix and fits and (not rest or rest[0] in separators) else None


def _identity(prefix: str) -> str:
    """The same for prefixes that fit the same paths."""
    return (_folded(prefix) if _is_windows(prefix) else prefix).rstrip("/")


def _folded(path: str) -> str:
    return path.replace("\\", "/").casefold()


def _is_windows(path: str) -> bool:
    return path.startswith("\\\\") or DRIVE.match(path) is not None


def _is_whole(path: str) -> bool:
    """Whether the path begins at a root; Stash has no others."""
    return path.startswith("/") or _is_windows(path)


def _separators(path: str) -> str:
    """The characters that part its components: elsewhere than on Windows a backslash is part of a name."""
    return WINDOWS if _is_windows(path) else "/"


def _separator(target: str) -> str:
    return "\\" if _is_windows(target) and ("\\" in target or "/" not in target) else "/"


@dataclass(frozen=True, slots=True)
class Settings:
    """The common settings with their defaults."""

    delivery_concurrency: int = 4  # requests at once, per destination
    delivery_max_attempts: int = 10
    delivery_retry_schedule: tuple[float, ...] = (
        5.0,
        300.0,
        1800.0,
        7200.0,
        18000.0,
        36000.0,
        50400.0,
        72000.0,
        86400.0,
    )  # seconds; the last repeats
    delivery_timeout_seconds: float = 15.0  # wall time of one whole request
    delivery_settle_seconds: float = 0.0
    dead_letter_retention_days: int = 30
    filter_only_organized: bool = False
    filter_paths: tuple[str, ...] = ()  # path prefixes to deliver; empty: all
    filter_skip_events: frozenset[Event] = frozenset()
    filter_skip_tags: frozenset[str] = frozenset()  # tag names, case-folded
    path_map: PathMap = PathMap()
    sweep_minutes: int = 15
    sweep_off: bool = False


DEFAULTS = Settings()


def parse(raw: Mapping[str, object]) -> tuple[Settings, tuple[Problem, ...]]:
    """Parses the plugin's map as Stash stores it; never raises on its content.

    Keys that nobody knows are no problem: Stash keeps what an older version had.
    """
    read = _Reader(raw)
    settings = Settings(
        delivery_concurrency=read.number("delivery_concurrency", 1, 32),
        delivery_max_attempts=read.number("delivery_max_attempts", 1, 100),
        delivery_retry_schedule=read.schedule("delivery_retry_schedule"),
        delivery_timeout_seconds=read.number("delivery_timeout_seconds", 1, 300),
        delivery_settle_seconds=read.number("delivery_settle_seconds", 0, 86400),
        dead_letter_retention_days=read.number(
            "dead_letter_retention_days", 1, 3650, "none is deleted for its age"
        ),
        filter_only_organized=read.switch("filter_only_organized"),
        filter_paths=read.prefixes("filter_paths"),
        filter_skip_events=read.events("filter_skip_events"),
        filter_skip_tags=read.tags("filter_skip_tags"),
        path_map=read.path_map("path_map"),
        sweep_minutes=read.number("sweep_minutes", 1, 1440),
        sweep_off=read.switch("sweep_off"),
    )
    return settings, tuple(read.problems)


class _Reader:
    """Reads one setting after the other and collects what is wrong with them."""

    def __init__(self, raw: Mapping[str, object]) -> None:
        self._raw = raw
        self.problems: list[Problem] = []

    def number(self, key: str, low: int, high: int, meanwhile: str = "") -> int:
        default: int = getattr(DEFAULTS, key)
        value = self._raw.get(key)
        if isinstance(value, str) and NUMBER.fullmatch(value.strip()):
            value = float(value.strip())
        if _is_empty(value):
            return default
        if isinstance(value, int | float) and value is not True and low <= value <= high and value % 1 == 0:
            return int(value)
        self._add(
            key, f"must be a whole number from {low} to {high}", meanwhile or f"the default, {default:g}, holds"
        )
        return default

    def switch(self, key: str) -> bool:
        value = self._raw.get(key)
        if isinstance(value, str):
            value = {"true": True, "false": False}.get(value.strip().lower(), value)
        if value is not True and not _is_empty(value):
            self._add(key, "must be on or off", "it counts as off")
        return value is True

    def schedule(self, key: str) -> tuple[float, ...]:
        meanwhile = "the default schedule holds"
        default = DEFAULTS.delivery_retry_schedule
        waits = [_wait(entry) for entry in self._text(key, meanwhile).replace(",", " ").split()]
        if len(waits) > MOST_WAITS:
            self._add(key, f"must have at most {MOST_WAITS} entries", meanwhile)
            return default
        usable = tuple(wait for wait in waits if wait is not None)
        if len(usable) < len(waits):
            must = f"{_places(waits)} must be a duration from 1s to 7d, such as 5s, 5m, 2h or 1d"
            self._add(key, f"can't be read: {must}", meanwhile)
            return default
        return usable or default

    def prefixes(self, key: str) -> tuple[str, ...]:
        prefixes = _split(self._text(key, "no scene is filtered by its path"))
        whole = [prefix if _is_whole(prefix) else None for prefix in prefixes]
        if None in whole:
            only = "only scenes below the other paths are delivered"
            self._add(
                key,
                f"can't be used: {_places(whole)} must begin with / or a drive letter and fits no scene so",
                only if any(whole) else "no scene is delivered",
            )
        # Those that fit nothing stay in: an emptied filter would let out what it was made to keep in.
        return tuple(prefixes)

    def events(self, key: str) -> frozenset[Event]:
        meanwhile = "no event is skipped"
        words = self._text(key, meanwhile).lower().replace(",", " ").replace(";", " ").split()
        known = [next((event for event in EVENTS if event == word), None) for word in words]
        if None in known:
            self._add(
                key,
                f"has an unknown word: {_places(known)} must be create, update or destroy",
                "only the other words count" if any(known) else meanwhile,
            )
        return frozenset(event for event in known if event is not None)

    def tags(self, key: str) -> frozenset[str]:
        names = _split(self._text(key, "no scene is skipped for its tags").replace(",", ";"))
        return frozenset(name.casefold() for name in names)

    def path_map(self, key: str) -> PathMap:
        meanwhile = "paths are sent as Stash has them"
        rules = [_rule(part) for part in _split(self._text(key, meanwhile))]
        seen: set[str] = set()
        for place, rule in enumerate(rules):
            source = _identity(rule[0]) if rule else None
            if source in seen:
                rules[place] = None
            elif source is not None:
                seen.add(source)
        usable = [rule for rule in rules if rule is not None]
        if len(usable) < len(rules):
            self._add(
                key,
                f"can't be read: {_places(rules)} must look like /data => /mnt/media, "
                "with whole paths on both sides and none twice on the left",
                "only the other rules are used" if usable else meanwhile,
            )
        return PathMap(tuple(sorted(usable, key=lambda rule: len(rule[0].rstrip(WINDOWS)), reverse=True)))

    def _text(self, key: str, meanwhile: str) -> str:
        value = self._raw.get(key)
        if isinstance(value, str):
            return value
        if not _is_empty(value):
            self._add(key, "must be text", meanwhile)
        return ""

    def _add(self, key: str, wrong: str, meanwhile: str) -> None:
        message = f"{key} {wrong}; until this is mended in Stash's plugin settings, {meanwhile}."
        self.problems.append(Problem(key, message))


def _is_empty(value: object) -> bool:
    return value is None or value == 0 or (isinstance(value, str) and not value.strip())


def _split(text: str) -> list[str]:
    return [part for part in map(str.strip, text.split(";")) if part]


def _wait(entry: str) -> float | None:
    match = WAIT.fullmatch(entry)
    seconds = int(match[1]) * SECONDS[match[2]] if match else 0.0
    return seconds if 1.0 <= seconds <= LONGEST_WAIT else None


def _rule(part: str) -> tuple[str, str] | None:
    source, _, target = (side.strip() for side in part.partition("=>"))
    usable = _is_whole(source) and (_is_whole(target) or "://" in target) and "=>" not in target
    return (source, target) if usable else None


def _places(entries: Sequence[object]) -> str:
    """Which entries of the list are bad (None), as a person counts."""
    bad = [str(place) for place, entry in enumerate(entries, 1) if entry is None]
    if len(bad) == 1:
        return f"entry {bad[0]}"
    return f"entries {', '.join(bad[:5])}" + (" and more" if len(bad) > 5 else "")
