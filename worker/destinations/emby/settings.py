"""The fields of an Emby connection."""

from __future__ import annotations

from dataclasses import dataclass

from stash_courier.worker.connections.model import Absent
from stash_courier.worker.destinations.media.settings import absent, address, key
from stash_courier.worker.http.addresses import Target

NAME = "Emby (experimental)"
RATE = 50.0  # scenes a second: one notification each, four at once
HELP = "Tells Emby to read the file of each changed scene again. Tested against a simulated server only."


@dataclass(frozen=True, slots=True)
class Options:
    """The fields that only Emby has."""

    url: Target = address("The address of Emby's own pages, without /web.")
    key: str = key("API key", "Create one in Emby under Settings, API Keys.")
    absent: Absent = absent("Emby")
