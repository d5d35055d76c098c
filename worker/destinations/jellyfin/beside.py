"""What Jellyfin writes into the media folders itself when an item changes: .nfo files and artwork. Pure.

Both are options of a library. Which file an image becomes is from Jellyfin's ImageSaver, when a library saves .nfo
files from its ProviderManager.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from stash_courier.worker.destinations.media.libraries import Library, holding
from stash_courier.worker.destinations.media.notes import NFO
from stash_courier.worker.destinations.media.places import file_name


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


def warnings(libraries: Iterable[Library], switch: str, *, images: bool, beside: bool) -> Iterator[str]:
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
