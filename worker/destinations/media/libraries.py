"""A media server's libraries, and a cache for answers of the server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from stash_courier.worker.destinations.media.places import Place
from stash_courier.worker.paths import matches_prefix

T_co = TypeVar("T_co", covariant=True)

MIXED = "mixed"  # a library of mixed content

# How long "not found" is believed. Shorter than the first retry, which comes after 24 s at the earliest.
NEGATIVE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Library:
    """A library."""

    name: str
    folders: tuple[str, ...] | None  # the server's paths; None if the server doesn't list them
    type: str = ""  # "movies", "homevideos" or other words of the server; "" if it isn't known
    # Each update of an item rewrites the .nfo file beside its video.
    saves_nfo: bool = field(default=False, kw_only=True)
    # Images are stored beside the media, where they replace the owner's.
    images_beside: bool = field(default=False, kw_only=True)

    def __str__(self) -> str:
        """Name and folders, for the owner."""
        folders = "folders unknown" if self.folders is None else ", ".join(self.folders) or "no folder"
        return f"{self.name} ({folders})"

    def holds(self, path: str) -> bool:
        """Whether one of the library's known folders contains this path of the server."""
        return bool(self.roots(path))

    def roots(self, path: str) -> list[str]:
        """The library's known folders that contain this path of the server."""
        return [folder for folder in self.folders or () if matches_prefix(path, folder)]

    def may_hold(self, path: str) -> bool:
        """Whether it holds the path, or its folders are unknown."""
        return self.folders is None or self.holds(path)


def holding(path: str, libraries: Iterable[Library]) -> list[Library]:
    """The libraries that contain a path of the server."""
    return [one for one in libraries if one.holds(path)]


def holder(paths: Iterable[str], libraries: Iterable[Library]) -> Library | None:
    """The first library that contains one of these paths of the server."""
    paths = list(paths)
    return next((one for one in libraries if any(map(one.holds, paths))), None)


def described(libraries: Iterable[Library]) -> str:
    """Names and folders, for the owner."""
    return "; ".join(map(str, libraries)) or "none"


def none_holds(where: Sequence[Place], libraries: Sequence[Library]) -> str:
    """A sentence if no library contains any of these places; "" if one contains or may contain one."""
    if any(library.may_hold(place.server) for library in libraries for place in where):
        return ""
    return f"None of the searched libraries contains that folder: {described(libraries)}."


class Cached(Generic[T_co]):
    """An answer of a server, cached. Thread-safe.

    Args:
        ask: asks the server.
        seconds: how long an answer is valid, from its end.
        clock: monotonic seconds.
    """

    def __init__(self, ask: Callable[[], T_co], seconds: float, clock: Callable[[], float]) -> None:
        self._ask = ask
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()  # held during a request, so that only one thread asks
        self._answer: tuple[T_co] | None = None
        self._answered_at = 0.0
        self._until = 0.0

    def get(self) -> T_co:
        """The cached answer, or a new one."""
        with self._lock:
            if self._answer is None or self._clock() >= self._until:
                self._answer = (self._ask(),)
                self._answered_at = self._clock()
                self._until = self._answered_at + self._seconds
            return self._answer[0]

    def expire_soon(self) -> None:
        """Something wasn't found in the answer, so it is valid for NEGATIVE_SECONDS."""
        with self._lock:
            self._until = min(self._until, self._answered_at + NEGATIVE_SECONDS)

    def forget(self) -> None:
        """The answer was wrong: the next ``get`` asks the server."""
        with self._lock:
            self._answer = None
