"""A scene, deliveries and a Jellyfin item, for tests of media servers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from stash_courier.queue.jobs import Delivery, Named, Scene, SceneFile

_SCENE = Scene(
    id=17,
    title="A Title",
    code="",
    details="Some details.",
    director="Dora Director",
    date="2024-05-06",
    rating100=80,
    organized=True,
    urls=(),
    created_at="2024-05-01T10:00:00+02:00",
    updated_at="2024-05-02T10:00:00+02:00",
    files=(SceneFile("/data/movies/one.mkv", 1, 1.0, 640, 480),),
    performers=(Named("1", "Anna"), Named("2", "Zoë")),
    tags=(Named("5", "calm"), Named("6", "loud")),
    studio=Named("7", "Studio"),
    groups=(Named("8", "Group"),),
    stash_ids=(),
    cover_url="http://127.0.0.1:9999/scene/17/screenshot?t=1714636800",
    fetched_at=1.0,
)


# A Jellyfin item with a value in every field that an update could lose.
DISTINCT: dict[str, Any] = {
    "Overview": "By hand.",
    "OriginalTitle": "Eins",
    "ForcedSortName": "0001",
    "CustomRating": "X",
    "OfficialRating": "PG",
    "CriticRating": 70,
    "CommunityRating": 6.5,
    "PremiereDate": "2001-02-03T00:00:00.0000000Z",
    "EndDate": "2002-02-03T00:00:00.0000000Z",
    "ProductionYear": 2001,
    "IndexNumber": 3,
    "ParentIndexNumber": 4,
    "AspectRatio": "16:9",
    "AirsBeforeSeasonNumber": 5,
    "AirsAfterSeasonNumber": 6,
    "AirsBeforeEpisodeNumber": 7,
    "PreferredMetadataLanguage": "de",
    "PreferredMetadataCountryCode": "DE",
    "Genres": ["Drama"],
    "Tags": ["by hand"],
    "Taglines": ["In space."],
    "ProductionLocations": ["Wien"],
    "Studios": [{"Name": "Old Studio", "Id": "5" * 32}],
    "People": [
        {"Name": "Walter Writer", "Role": "", "Type": "Writer"},
        {"Name": "Anna", "Role": "The Queen", "Type": "Actor"},
    ],
    "ProviderIds": {"Imdb": "tt1"},
    "LockedFields": ["Genres", "Runtime"],
    "LockData": True,
}


def scene(*paths: str, **values: Any) -> Scene:
    """A scene with these paths as its files. Tags, performers and groups are given by name."""
    for lists in {"tags", "performers", "groups"} & set(values):
        values[lists] = named(values[lists])
    if paths:
        values["files"] = tuple(SceneFile(path, 1, 1.0, 640, 480) for path in paths)
    return dataclasses.replace(_SCENE, **values)


def named(names: Iterable[str]) -> tuple[Named, ...]:
    """Performers, tags or groups of these names."""
    return tuple(Named(str(number), name) for number, name in enumerate(names, 1))


def delivery(destination: str, of: Scene | None = None, **values: Any) -> Delivery:
    """A delivery of an update, or of what ``values`` say."""
    known = {"row_id": 1, "scene_id": of.id if of else 17, "event": "update", "changed": ("title",), "seq": 1}
    return Delivery(destination=destination, at=1_767_225_600.0, **{**known, **values})
