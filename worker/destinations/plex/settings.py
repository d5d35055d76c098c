"""The fields of a Plex connection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stash_courier.worker.connections.model import Absent
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
from stash_courier.worker.fields import switch, text
from stash_courier.worker.http.addresses import Target

NAME = "Plex (experimental)"
VERSIONS = '"Split Apart" in the menu of the item in Plex gives each version an item of its own.'
RATE = 20.0  # scenes a second: an item is read and written, four at once
HELP = "Writes each scene's fields to its item in Plex. Tested against a simulated server only."

# The fields of a scene that Plex has, as "skip_fields" calls them.
FIELDS = ("title", "details", "date", "studio", "performers", "tags", "groups", "director", "rating")

TagsAs = Literal["genres", "labels", "both"]


@dataclass(frozen=True, slots=True)
class Options:
    """The fields that only Plex has."""

    url: Target = address("The address of Plex's own pages, without /web.")
    key: str = key("Token", "The X-Plex-Token of the server's owner.")
    libraries: str = text(
        "Libraries",
        "The names of the libraries to search for scenes, separated by semicolons or commas. Libraries of TV "
        "shows are not supported.",
        unset="all libraries of movies and other videos",
        example="Films; Home videos",
    )
    skip_fields: Selection = selection(FIELDS, "all but the rating are sent and locked in Plex")
    tags_as: TagsAs = tags_as(
        "Plex", {"genres": "Genres", "labels": "Labels", "both": "Genres and labels"}, "labels"
    )
    collections: Collections = collections("groups", "one for each group")
    add_only: bool = add_only("Plex", "tags, performers and director")
    respect_locks: bool = respect_locks("Plex", "A locked poster is left alone, too.")
    date_added: bool = date_added("Plex")
    images: bool = switch(
        "Send covers",
        "Sends a scene's cover as the poster when it has changed.",
        unset="off, posters are left alone",
    )
    absent: Absent = absent("Plex")
