"""Settings: Stash's map of strings, numbers and booleans, parsed; problems in plain words.

Common settings only: what belongs to one destination is parsed by that destination's module.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Problem:
    """A setting that can't be used as it stands."""

    setting: str  # its key in Stash
    message: str  # what is wrong, what holds meanwhile, what to do; one sentence, no secret


@dataclass(frozen=True, slots=True)
class PathMap:
    """``path_map``: how Stash's paths are called elsewhere."""

    rules: tuple[tuple[str, str], ...] = ()  # (from, to), longest prefix first

    def apply(self, path: str) -> str:
        """The path as destinations see it; unchanged where no rule fits."""
        rule = self.rule_for(path)
        return path if rule is None else rule[1] + path[len(rule[0]) :]

    def rule_for(self, path: str) -> tuple[str, str] | None:
        """The rule that ``apply`` uses for this path."""
        raise NotImplementedError


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
    filter_skip_events: frozenset[Literal["create", "update", "destroy"]] = frozenset()
    filter_skip_tags: frozenset[str] = frozenset()  # tag names, case-folded
    path_map: PathMap = PathMap()
    sweep_minutes: int = 15
    sweep_off: bool = False


def parse(raw: Mapping[str, object]) -> tuple[Settings, tuple[Problem, ...]]:
    """Parses the plugin's map as Stash stores it; never raises on its content."""
    raise NotImplementedError
