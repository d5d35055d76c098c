r"""Paths as text: which lie in a folder, and what another system calls them. Never touches a file system.

A path is a Windows path if it begins with a drive letter or ``\\``. Windows ignores case and accepts both
separators. Elsewhere case matters, and a backslash is part of a name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

WINDOWS_SEPARATORS = "\\/"
_DRIVE = re.compile(r"[A-Za-z]:(?=[\\/]|$)")

Rule = tuple[str, str]  # (from, to)


@dataclass(frozen=True, slots=True)
class PathMap:
    """The setting ``path_map``: what destinations call the folders that Stash sees."""

    rules: tuple[Rule, ...] = ()  # longest prefix first

    def with_rule(self, rule: Rule, instead: Rule | None = None) -> PathMap:
        """With one more rule, in place of one for the same folder and of ``instead``."""
        others = [one for one in self.rules if prefix_key(one[0]) != prefix_key(rule[0]) and one != instead]
        return path_map([*others, rule])

    def lines(self) -> list[str]:
        """The rules as an owner writes them."""
        return [" => ".join(rule) for rule in self.rules]

    def apply(self, path: str) -> str:
        """The path as destinations see it; unchanged if no rule applies.

        The rest of the path gets the separators of the rule's target, so that a Stash on Windows and a media
        server on Linux (or the other way round) understand each other.
        """
        rule = self.rule_for(path)
        if rule is None:
            return path
        source, target = rule
        rest = _rest_below(path, source)
        if not rest:
            return target
        if is_windows(path):
            rest = rest.replace("\\", "/")
        return target.rstrip(_separators(target)) + rest.replace("/", _separator(target))

    def rule_for(self, path: str) -> Rule | None:
        """The rule that ``apply`` uses for this path."""
        return next((rule for rule in self.rules if matches_prefix(path, rule[0])), None)


def path_map(rules: Iterable[Rule]) -> PathMap:
    """A path map of rules in any order."""
    return PathMap(tuple(sorted(rules, key=lambda rule: len(rule[0].rstrip(WINDOWS_SEPARATORS)), reverse=True)))


def is_windows(path: str) -> bool:
    """Whether it is a Windows path."""
    return path.startswith("\\\\") or _DRIVE.match(path) is not None


def is_absolute(path: str) -> bool:
    """Whether the path begins at a root. Stash has no other paths."""
    return path.startswith("/") or is_windows(path)


def matches_prefix(path: str, prefix: str) -> bool:
    """Whether the path is this folder or lies below it; an empty path or prefix never matches.

    ``/media/a`` matches ``/media/a/x`` but not ``/media/ab``. Windows paths are compared as Windows does.
    """
    return _rest_below(path, prefix) is not None


def prefix_key(prefix: str) -> str:
    """Equal for prefixes that match the same paths."""
    return (_folded(prefix) if is_windows(prefix) else prefix).rstrip("/")


def _rest_below(path: str, prefix: str) -> str | None:
    """What follows the prefix, beginning with a separator; None if the path doesn't match it."""
    if not path or not prefix:
        return None
    separators = _separators(path)
    size = len(prefix.rstrip(separators))
    head, rest, wanted = path[:size], path[size:], prefix[:size]
    same = _folded(head) == _folded(wanted) if is_windows(path) else head == wanted
    return rest if same and (not rest or rest[0] in separators) else None


def _folded(path: str) -> str:
    return path.replace("\\", "/").casefold()


def _separators(path: str) -> str:
    return WINDOWS_SEPARATORS if is_windows(path) else "/"


def _separator(target: str) -> str:
    """The one to write: a Windows path that uses slashes only keeps to them."""
    return "\\" if is_windows(target) and ("\\" in target or "/" not in target) else "/"
