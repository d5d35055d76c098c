"""The fields of a Plex connection."""

from __future__ import annotations

from dataclasses import dataclass

from stash_courier.worker.connections.model import Absent
from stash_courier.worker.destinations.media.settings import Selection, absent, add_only, address, key, selection
from stash_courier.worker.destinations.plex.edit import FIELDS
from stash_courier.worker.fields import switch, text
from stash_courier.worker.http.addresses import Target

NAME = "Plex (experimental)"
HELP = "Writes each scene's fields to its item in Plex. Tested against a simulated server only."


@dataclass(frozen=True, slots=True)
class Options:
    """The fields that only Plex has."""

    url: Target = address("The address of Plex's own pages, without /web.")
    key: str = key("Token", "The X-Plex-Token of the server's owner.")
    libraries: str = text(
        "Libraries",
        "The names of the libraries to search for scenes, separated by semicolons or commas.",
        unset="all libraries of movies and other videos",
        example="Films; Home videos",
    )
    skip_fields: Selection = selection(FIELDS, "all but the rating are sent and locked in Plex")
    add_only: bool = add_only(
        "Adds tags, performers and director to an item in Plex and removes none. What was added there by hand "
        "stays."
    )
    images: bool = switch(
        "Send covers",
        "Sends a scene's cover as the poster when it has changed.",
        unset="off, posters are left alone",
    )
    absent: Absent = absent("Plex")
