"""What a Jellyfin is: its version and its libraries, and what they make of a file.

Both are cached. If the server doesn't tell them, as little as possible is concluded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stash_courier.queue.failures import DeliveryFailed
from stash_courier.worker.destinations.jellyfin.api import JellyfinApi
from stash_courier.worker.destinations.jellyfin.ids import TYPES
from stash_courier.worker.destinations.jellyfin.names import Version, why_never
from stash_courier.worker.destinations.media.libraries import MIXED, NEGATIVE_SECONDS, Cached, Library, holding

VERSION_SECONDS = 3600.0  # how long the server's version is believed
# Types of the items of versions and parts, by the library's type. In one of home videos only parts exist.
TYPES_IN = {
    "movies": ("Movie", "Video"),
    MIXED: ("Movie", "Video"),
    "homevideos": ("Video",),
    "musicvideos": ("MusicVideo", "Video"),
    "tvshows": ("Episode", "Video"),
}


class Layout:
    """Version and libraries of one server. The clock is in monotonic seconds."""

    def __init__(self, api: JellyfinApi, clock: Callable[[], float]) -> None:
        self.libraries: Cached[Sequence[Library]] = Cached(api.libraries, NEGATIVE_SECONDS, clock)
        self._version = Cached(api.version, VERSION_SECONDS, clock)

    def version(self) -> Version:
        """The first two numbers of the server's version; (0, 0) if it doesn't tell."""
        try:
            return self._version.get()
        except DeliveryFailed:
            return 0, 0

    def types(self, path: str) -> list[str]:
        """The types of items that versions or parts with this path have; see ids.py."""
        holders = holding(path, self.known_libraries())
        return list(dict.fromkeys(one for library in holders for one in TYPES_IN.get(library.type, TYPES)))

    def why_never(self, path: str) -> str:
        """Why no library ever makes an item of a file, by its name, for the end of a sentence; "" if one may."""
        roots = [root for library in self.known_libraries() for root in library.roots(path)]
        reasons = [why_never(path, root, self.version()) for root in roots]
        return reasons[0] if reasons and all(reasons) else ""

    def known_libraries(self) -> Sequence[Library]:
        """The libraries; none if the server doesn't tell them."""
        try:
            return self.libraries.get()
        except DeliveryFailed:
            return ()
