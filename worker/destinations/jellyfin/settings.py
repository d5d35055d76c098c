"""The fields of a Jellyfin connection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stash_courier.worker.connections.model import Absent
from stash_courier.worker.destinations.jellyfin.items import FIELDS, TagsAs
from stash_courier.worker.destinations.media.settings import (
    Collections,
    Selection,
    absent,
    add_only,
    address,
    collections,
    date_added,
    key,
    respect_locks,
    selection,
    tags_as,
)
from stash_courier.worker.fields import Problem, switch
from stash_courier.worker.http.addresses import Target

NAME = "Jellyfin"
VERSIONS = 'A library of type "Home videos and photos" gives each version an item of its own.'
RATE = 20.0  # scenes a second: an item is read and written, four at once
HELP = "Writes each scene's fields to its item in Jellyfin 10.8 or newer."


@dataclass(frozen=True, slots=True)
class Options:
    """The fields that only Jellyfin has."""

    url: Target = address("The address of Jellyfin's own pages, without /web.")
    key: str = key("API key", "Create one in Jellyfin under Dashboard, API Keys.")
    refresh_only: bool = switch(
        "Only notify",
        "Only tells Jellyfin that a scene's file has changed. Jellyfin then reads the file again.",
        unset="off, the fields of its item are written",
    )
    skip_fields: Selection = selection(FIELDS, "all but the rating are sent, and locked where Jellyfin has a lock")
    add_only: bool = add_only("Jellyfin", "tags, studio, performers and director")
    tags_as: TagsAs = tags_as(
        "Jellyfin", {"tags": "Tags", "genres": "Genres", "both": "Tags and genres"}, "genres"
    )
    respect_locks: bool = respect_locks(
        "Jellyfin",
        "An item that is locked as a whole is left alone. Dates, rating and ids have no lock of their own.",
    )
    date_added: bool = date_added("Jellyfin")
    images: bool = switch(
        "Send covers",
        "Sends a scene's cover as the primary image when it has changed. In a library that stores artwork beside "
        "the media, this also needs the next switch.",
        unset="off, images are left alone",
    )
    images_beside_media: bool = switch(
        "Send covers also into media folders",
        "Also sends covers to libraries that store artwork in the media folders. Jellyfin writes the cover there, "
        "as folder.jpg or with the video's name and -poster.jpg, and replaces yours.",
        unset="off, these libraries get no covers",
    )
    collections: Collections = collections("none", "collections are left alone")
    person_images: bool = switch(
        "Send images of performers",
        "Sends a performer's image to the person in Jellyfin who has none. Images are never replaced.",
        unset="off, images of persons are left alone",
    )
    absent: Absent = absent("Jellyfin")


def check(options: Options, _: Mapping[str, object]) -> list[Problem]:
    """What is wrong with fields that are usable by themselves."""
    if not options.url.authorization:
        return []
    message = (
        "\"Address\" contains a login, which can't be sent: Jellyfin's API key uses the same header. Let the "
        "proxy admit this machine without a login, or enter Jellyfin's own address."
    )
    return [Problem("url", message)]
