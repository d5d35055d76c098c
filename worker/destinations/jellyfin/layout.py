"""What a Jellyfin is: its version and its libraries, what they make of a file, and what they write beside it.

Both are cached. If the server doesn't tell them, as little as possible is concluded. .nfo files and artwork in the
media folders are options of a library. Which file an image becomes is from Jellyfin's ImageSaver, when a library
saves .nfo files from its ProviderManager.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from stash_courier.queue.failures import DeliveryFailed
from stash_courier.worker.destinations.jellyfin.api import JellyfinApi
from stash_courier.worker.destinations.jellyfin.names import Version, why_never
from stash_courier.worker.destinations.jellyfin.paths import TYPES
from stash_courier.worker.destinations.media.libraries import MIXED, NEGATIVE_SECONDS, Cached, Library, holding
from stash_courier.worker.destinations.media.notes import NFO
from stash_courier.worker.destinations.media.places import file_name

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


def nfo_notes(path: str, libraries: Iterable[Library]) -> frozenset[str]:
    """A note for each library with this path whose .nfo files are rewritten."""
    return frozenset(f"{NFO}:{one.name}" for one in holding(path, libraries) if one.saves_nfo)


def image_beside(path: str, libraries: Sequence[Library]) -> bool:
    """Whether an image of the item with this path may be stored beside its video.

    If no library is known to hold it, as with a network path, it may be in any of them, and in one that isn't
    known if there are none.
    """
    return not libraries or any(one.images_beside for one in holding(path, libraries) or libraries)


def image_place(path: str, libraries: Sequence[Library], switch: str, *, on: bool) -> str:
    """Where the image of the item with this path goes, in sentences.

    Args:
        switch: the label of the switch that allows images beside the media.
        on: whether it is on.
    """
    if not image_beside(path, libraries):
        return "Its cover goes to Jellyfin's own folder for metadata."
    name = file_name(path)
    folder, stem = path[: -len(name)], name.rpartition(".")[0] or name
    place = f"{folder}folder.jpg, or {stem}-poster.jpg if other videos are in that folder"
    if on:
        return f"Its cover goes to {place}, and replaces a file of that name."
    return f"Its cover isn't sent: it would go to {place}, and replace a file of that name. {switch} allows it."


def library_warnings(libraries: Iterable[Library], switch: str, *, images: bool, beside: bool) -> Iterator[str]:
    """What the owner must know of the libraries, in sentences.

    Args:
        switch: the label of the switch that allows images beside the media.
        images: whether covers are sent.
        beside: whether that switch is on.
    """
    libraries = list(libraries)
    if saving := [one.name for one in libraries if one.saves_nfo]:
        yield (
            f"In {', '.join(saving)} each update makes Jellyfin rewrite the .nfo file beside the video, and what "
            "other programs wrote there since its last scan is lost. If you use such programs, switch off the NFO "
            "saver of that library in Jellyfin."
        )
    if images and (storing := [one.name for one in libraries if one.images_beside]):
        yield (
            f"In {', '.join(storing)} artwork is stored in the media folders: "
            + ("covers replace yours there." if beside else f"no cover is sent there, unless {switch} is on.")
        )
