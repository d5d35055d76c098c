"""A media server's libraries, and what it said lately. Asks through what it is given."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from stash_courier.queue.failures import DeliveryFailed
from stash_courier.worker.destinations.media.state import Place
from stash_courier.worker.paths import matches_prefix

T = TypeVar("T")

# What a server did not know counts as unknown no longer than this: the next try comes after 24 s at the earliest.
NEGATIVE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Library:
    """A library."""

    name: str
    folders: tuple[str, ...]  # as the server calls them
    told: bool = True  # False: the server doesn't tell its folders

    def __str__(self) -> str:
        """As the owner knows it."""
        return f"{self.name} ({', '.join(self.folders) or ('no folder' if self.told else 'folders unknown')})"

    def holds(self, path: str) -> bool:
        """Whether a path of the server's is in one of the folders, as far as they are known."""
        return any(matches_prefix(path, folder) for folder in self.folders)


def described(libraries: Iterable[Library]) -> str:
    """Names and folders, for a person."""
    return "; ".join(map(str, libraries)) or "none"


def none_holds(where: Sequence[Place], libraries: Sequence[Library]) -> str:
    """A sentence if no library has any of these places in its folders; "" if one has, or may have."""
    if any(not library.told or library.holds(place.server) for library in libraries for place in where):
        return ""
    return f"None of the libraries it is looked for in holds that folder: {described(libraries)}."


def hint(where: Sequence[Place], ask: Callable[[], Sequence[Library]]) -> str:
    """The same for a failure's message; "" too if the server can't be asked, since that changes nothing there."""
    try:
        return none_holds(where, ask())
    except DeliveryFailed:
        return ""


class Recent(Generic[T]):
    """What a server said, believed for a while; for several threads.

    Args:
        ask: asks the server.
        seconds: how long an answer is believed.
        clock: seconds that nobody sets.
    """

    def __init__(self, ask: Callable[[], T], seconds: float, clock: Callable[[], float]) -> None:
        self._ask = ask
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()  # held while asking too, so that threads don't all ask
        self._said: tuple[T] | None = None
        self._asked_at = 0.0
        self._until = 0.0

    def get(self) -> T:
        """What it said, or says now."""
        with self._lock:
            if self._said is None or self._clock() >= self._until:
                asked_at = self._clock()
                self._said = (self._ask(),)
                self._asked_at, self._until = asked_at, asked_at + self._seconds
            return self._said[0]

    def doubt(self) -> None:
        """Something was not found by it: it is believed as short as any negative answer."""
        with self._lock:
            self._until = min(self._until, self._asked_at + NEGATIVE_SECONDS)

    def forget(self) -> None:
        """It was wrong: the next who wants to know asks."""
        with self._lock:
            self._said = None
