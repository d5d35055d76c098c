"""What a scene should look like on a media server."""

from __future__ import annotations

from dataclasses import dataclass

from stash_courier.queue.jobs import Scene
from stash_courier.worker.destinations.media.compare import names, tidy
from stash_courier.worker.destinations.media.settings import Selection


@dataclass(frozen=True, slots=True)
class State:
    """A scene's values for a media server. None means "leave the server's value alone", "" and () "empty it"."""

    title: str | None = None
    details: str | None = None
    date: str | None = None  # "YYYY-MM-DD", "YYYY-MM" or "YYYY"
    studio: str | None = None
    performers: tuple[str, ...] | None = None
    tags: tuple[str, ...] | None = None
    groups: tuple[str, ...] | None = None
    director: str | None = None
    rating: float | None = None  # above 0, up to 10; 0 means "empty it"
    ids: str | None = None  # the scene's id

    @property
    def year(self) -> int | None:
        """The date's year."""
        return int(self.date[:4]) if self.date else None

    @property
    def day(self) -> str | None:
        """The date as "YYYY-MM-DD"; None if Stash knows only the year or month."""
        return self.date if self.date and len(self.date) == len("YYYY-MM-DD") else None


def wanted_state(scene: Scene, selection: Selection) -> State:
    """The scene's values in the selected fields. An empty title is never sent."""
    values: dict[str, str | float | tuple[str, ...]] = {
        "title": scene.title_or_stem(),
        "details": tidy(scene.details),
        "date": scene.date,
        "studio": scene.studio.name if scene.studio else "",
        "performers": names(p.name for p in scene.performers),
        "tags": names(t.name for t in scene.tags),
        "groups": names(g.name for g in scene.groups),
        "director": " ".join(scene.director.split()),
        "rating": (scene.rating100 or 0) / 10,
        "ids": str(scene.id),
    }
    sent = {
        name: value
        for name, value in values.items()
        if name in selection.fields and (value or (selection.clear and name != "title"))
    }
    return State(**sent)  # type: ignore[arg-type]  # the table above has State's names and types
