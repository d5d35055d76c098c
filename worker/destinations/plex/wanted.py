"""What a scene's item in Plex should have, as the connection's fields say. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from stash_courier.queue.jobs import Scene
from stash_courier.worker.destinations.media.state import State, added_at, collection_names, names, wanted_state
from stash_courier.worker.destinations.plex.settings import Options


@dataclass(frozen=True, slots=True)
class Wanted:
    """The values of an item, by the names of our fields. Fields that are absent are left alone."""

    scalars: Mapping[str, str] = field(default_factory=dict)  # "" empties
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    rating: float | None = None  # above 0, up to 10; 0 means none

    def without(self, fields: Collection[str]) -> Wanted:
        """The same, with these fields left alone."""
        return replace(
            self,
            scalars={name: value for name, value in self.scalars.items() if name not in fields},
            lists={name: value for name, value in self.lists.items() if name not in fields},
        )


def wanted_for(scene: Scene, options: Options) -> Wanted:
    """The values of a scene's item."""
    state = wanted_state(scene, options.skip_fields)
    scalars = {
        "title": state.title,
        "details": state.details,
        "date": _date(state),
        "studio": state.studio,
        "date_added": _date_added(scene) if options.date_added else None,
    }
    lists = {
        "performers": state.performers,
        "tags": state.tags if options.tags_as in {"genres", "both"} else None,
        "labels": state.tags if options.tags_as in {"labels", "both"} else None,
        "director": None if state.director is None else names([state.director]),
        "collections": _collections(scene, options),
    }
    return Wanted(
        {name: value for name, value in scalars.items() if value is not None},
        {name: value for name, value in lists.items() if value is not None},
        state.rating,
    )


def _date(state: State) -> str | None:
    """Plex stores full dates only, and a made-up day would be wrong."""
    return state.day if state.date else state.date


def _date_added(scene: Scene) -> str | None:
    """In unix seconds, as python-plexapi's ``editAddedAt`` sends it."""
    added = added_at(scene)
    return None if added is None else str(int(added.timestamp()))


def _collections(scene: Scene, options: Options) -> tuple[str, ...] | None:
    """Also empty: what we added is taken out when the scene has left its groups."""
    chosen = options.collections
    if "groups" not in options.skip_fields.fields:
        chosen = "studio" if chosen in {"studio", "both"} else "none"
    return None if chosen == "none" else collection_names(scene, chosen)
