"""Faults that tests switch on. They don't affect requests of the stand-in's own helpers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tests.standin.stash.library import StashError
from tests.standin.stash.plugins import Caller


@dataclass(frozen=True, slots=True)
class Reply:
    """What a browser gets instead of a mode's answer, such as one that was recorded in a real Stash."""

    status: int
    body: Mapping[str, object] | str  # JSON, or a text
    delay: float = 0.0  # seconds


@dataclass(slots=True)
class Faults:
    """Plain attributes that can be set at any time. The first one set of hang, status, login_redirect and
    graphql_error decides the answer; delays come before it. ``operations`` comes last."""

    delay: float = 0.0  # seconds before every answer
    scene_delay: float = 0.0  # seconds more for each scene that is asked for by its id
    slow_ids: set[int] = field(default_factory=set)  # a request for one of these scenes is never answered
    hang: bool = False  # reads the request and never answers
    status: int = 0  # answers with this HTTP status and a line of text, such as 500 or 503
    login_redirect: bool = False  # answers 302 to /login
    graphql_error: str = ""  # answers 200 with this error and no data
    operations: dict[str, Reply] = field(default_factory=dict)  # by mode: answers of runPluginOperation
    broken_ids: set[int] = field(default_factory=set)  # scenes that can't be read: null and an error

    def clear(self) -> None:
        """Switches every fault off."""
        fresh = Faults()
        for name in self.__slots__:
            setattr(self, name, getattr(fresh, name))

    def check(self, caller: Caller, scene_ids: Iterable[int]) -> None:
        """Raises StashError if one of these scenes is broken."""
        broken = self.broken_ids.intersection(scene_ids)
        if broken and not caller.owner:
            raise StashError(f"reading scene {min(broken)}: database disk image is malformed")


@dataclass(slots=True)
class Requests:
    """Counts of requests to ``/graphql``, including refused ones, without the stand-in's own helpers."""

    total: int = 0
    by_field: Counter[str] = field(default_factory=Counter)  # by root field
    by_credential: Counter[str] = field(default_factory=Counter)  # api_key, cookie or none
