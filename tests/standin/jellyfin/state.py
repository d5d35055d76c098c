"""What a server holds and does, without HTTP: disk, items, people, collections; what scans and writes do to them.

From LibraryMonitor and FileRefresher (notices), DtoService.AttachPeople (people), CollectionManager (collections).
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.standin.jellyfin import dto
from tests.standin.jellyfin.disk import (
    LibraryOptions,
    Resolved,
    below,
    collection_id,
    file_name,
    id_of,
    lower,
    person_id,
    resolve,
    split,
    stem,
)


@dataclass
class _Waiting:
    path: str  # a file, or from the second notice on its folder
    due: float


@dataclass
class Notices:
    """The notices that wait."""

    waiting: list[_Waiting] = field(default_factory=list)

    def take(self, path: str, due: float) -> None:
        """Takes a notice of a path.

        Args:
            due: when the folder is scanned if no other notice follows.
        """
        folder = split(path)[0]
        for one in self.waiting:
            if path == one.path or below(path, one.path):
                one.due = due
                return
            if below(one.path, path) or split(one.path)[0] == folder:
                one.path, one.due = (path if below(one.path, path) else folder), due
                return
        self.waiting.append(_Waiting(path, due))

    def due(self, now: float) -> list[str]:
        """The paths whose delay has passed. They no longer wait."""
        passed = [one.path for one in self.waiting if one.due <= now]
        self.waiting = [one for one in self.waiting if one.due > now]
        return passed


@dataclass
class Persons:
    """All persons of a server, by id."""

    by_id: dict[str, dict[str, Any]] = field(default_factory=dict)

    def of(self, name: str) -> dict[str, Any]:
        """The entry that a name in a cast leads to. It is made if there is none."""
        found = person_id(name)
        return self.by_id.setdefault(found, {"Name": name, "Id": found, "Type": "Person"})

    def shown(self, cast: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The people of an item as answers show them: without those whose entry has another name."""
        found = []
        for one in cast:
            entry = self.of(one["Name"])
            if (entry["Name"] or "").lower() == one["Name"].lower():
                found.append({"Name": one["Name"], "Id": entry["Id"], **one})
        return found

    def appearing(self, cast: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The entries of an item's cast: one for each name (LibraryManager.GetPeopleItems, 10.8 to 12)."""
        return [self.of(name) for name in dict.fromkeys(one["Name"] for one in cast)]


@dataclass
class BoxSet:
    """A collection."""

    name: str
    items: list[str] = field(default_factory=list)  # ids, in the order in which they came
    path: str = ""  # of its folder


@dataclass
class Collections:
    """All collections of a server, by id."""

    by_id: dict[str, BoxSet] = field(default_factory=dict)
    hides_new: bool = False  # the listing lacks them, as it may for a moment after they are made

    def create(self, name: str, ids: Iterable[str]) -> str:
        """Makes a collection. What has the same folder is replaced, and its items are lost."""
        found = collection_id(name)
        path = f"/var/lib/jellyfin/data/collections/{file_name(name)} [boxset]"
        self.by_id[found] = BoxSet(name, list(dict.fromkeys(ids)), path)
        return found

    def add(self, box: str, ids: Iterable[str]) -> None:
        """Adds items; those that are in it stay once."""
        self.by_id[box].items = list(dict.fromkeys([*self.by_id[box].items, *ids]))

    def take_out(self, box: str, ids: Iterable[str]) -> None:
        """Takes items out; others are ignored."""
        gone = set(ids)
        self.by_id[box].items = [one for one in self.by_id[box].items if one not in gone]

    def item(self, box: str) -> dict[str, Any]:
        """A collection as an item."""
        one = self.by_id[box]
        return {"Name": one.name, "Id": box, "Type": "BoxSet", "IsFolder": True, "Path": one.path}

    def listed(self) -> list[dict[str, Any]]:
        """All collections as items."""
        return [] if self.hides_new else list(map(self.item, self.by_id))


USER = "5f6d4e3c2b1a40998877665544332211"  # the only user


@dataclass
class State:
    """A server's state. The fields can be set at any time; the methods stand for what happens on its machine."""

    version: str = "10.10.7"
    user: str = USER
    computed_ids: bool = True  # False: random ids
    lower_ids: bool = False  # EnableCaseSensitiveItemIds is off: ids are computed from paths in lower case
    libraries: dict[str, list[str]] = field(default_factory=lambda: {"Movies": ["/media/movies"]})
    options: dict[str, LibraryOptions] = field(default_factory=dict)  # by library; default: movies
    substitutions: dict[str, str] = field(default_factory=dict)  # network paths that answers show, by prefix
    clock: Callable[[], float] = time.monotonic  # seconds; tests can set their own
    timer_seconds: float = 60.0  # from the last notice for a folder to its scan (LibraryMonitorDelay)

    files: dict[str, None] = field(default_factory=dict)  # the paths on its disk
    nfo: dict[str, str] = field(default_factory=dict)  # .nfo files by path
    artwork: dict[str, bytes] = field(default_factory=dict)  # pictures beside the media, by path

    items: dict[str, dict[str, Any]] = field(default_factory=dict)  # by id, whole, as the database has them
    unsaved: dict[str, dict[str, Any]] = field(default_factory=dict)  # what refused updates left in memory, by id
    versions: dict[str, list[str]] = field(default_factory=dict)  # a primary's other versions
    parts: dict[str, list[str]] = field(default_factory=dict)  # a first part's others
    images: dict[str, bytes] = field(default_factory=dict)  # primary images by the id of an item or a person
    persons: Persons = field(default_factory=Persons)
    collections: Collections = field(default_factory=Collections)
    scans: list[str] = field(default_factory=list)  # folders and files that were scanned after a notice

    notified: list[dict[str, str]] = field(default_factory=list)  # Path and UpdateType
    posted: list[dict[str, Any]] = field(default_factory=list)  # bodies of item updates

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        self._notices = Notices()
        self._scanned: set[str] = set()  # ids of items that a scan made

    # What happens on the server's machine

    def add(self, path: str, kind: str = "Movie", **values: Any) -> str:
        """Adds a file and its item, whatever a scan would make of it; returns the item's id."""
        with self._lock:
            self.files[path] = None
            return self._make(Resolved(path, kind, stem(path), split(path)[0]), values)

    def put(self, *paths: str) -> None:
        """Puts files on the disk. They become items at the next scan."""
        with self._lock:
            self.files.update(dict.fromkeys(paths))

    def scan(self, folder: str = "") -> None:
        """Scans a folder and those below it; without one, all libraries."""
        with self._lock:
            for name, roots in self.libraries.items():
                for root in roots:
                    if not folder or folder == root or below(folder, root) or below(root, folder):
                        self._scan(root, folder, self.options.get(name, LibraryOptions()))

    def rename_person(self, name: str, new: str) -> None:
        """The owner renames a person. The casts of items keep the old name."""
        with self._lock:
            self.persons.of(name)["Name"] = new

    def people(self, item_id: str, kind: str) -> list[str]:
        """The names in an item's cast of one kind, also those that aren't shown."""
        return [p["Name"] for p in self.items[item_id]["People"] if p["Type"] == kind]

    # Scans

    @property
    def number(self) -> tuple[int, int]:
        """The version as numbers."""
        major, minor = self.version.split(".")[:2]
        return int(major), int(minor.partition("-")[0])

    def notice(self, path: str) -> None:
        """Takes a notice of a path. Its folder is scanned ``timer_seconds`` after the last one."""
        self._notices.take(path, self.clock() + self.timer_seconds)

    def run_due(self) -> None:
        """Makes the scans that are due."""
        for path in self._notices.due(self.clock()):
            self.scans.append(path)
            self.scan(path if any(below(one, path) for one in self.files) else split(path)[0])

    def _scan(self, root: str, folder: str, options: LibraryOptions) -> None:
        known = {(one["Path"], one["Type"], one.get("ExtraType", "")): key for key, one in self.items.items()}
        own = {one["Path"] for key, one in self.items.items() if key not in self._scanned}
        for one in resolve(self.files, root, options.collection, self.number):
            if folder and not below(one.path, folder):
                continue
            if one.path in own:  # made by a test
                continue
            ids = []
            for each in (one, *one.others):
                found = known.get((each.path, each.kind, each.extra)) or self._make(each, each.values)
                self._scanned.add(found)
                ids.append(found)
            self.parts.pop(ids[0], None)
            self.versions.pop(ids[0], None)
            if one.others:
                (self.parts if one.stacked else self.versions)[ids[0]] = ids[1:]

    def _make(self, one: Resolved, values: Mapping[str, Any]) -> str:
        path = lower(one.path) if self.lower_ids else one.path
        item_id = id_of(one.kind, path) if self.computed_ids else uuid.uuid4().hex
        item = self.items[item_id] = {
            "Name": one.name,
            "Id": item_id,
            "Type": one.kind,
            "MediaType": "Video",
            "Path": one.path,
            "ParentId": id_of("Folder", one.parent) if one.parent else None,
            "DateCreated": f"2024-01-01T00:00:00.{len(self.items):07}Z",
            "LockedFields": [],
            "LockData": False,
            "Tags": [],
            "Genres": [],
            "Studios": [],
            "People": [],
            "ProviderIds": {},
            "Taglines": [],
            "ProductionLocations": [],
            "RunTimeTicks": 600_000_000,
            **values,
        }
        if one.parent and (text := self.nfo.get(dto.nfo_path(one.path))):
            self._take(item, dto.read_nfo(text))
        self._know_people(item)
        return item_id

    def _take(self, item: dict[str, Any], found: Mapping[str, Any]) -> None:
        """Writes what a scan found into an item."""
        item.update({key: dto.stored(key, value, self.number) for key, value in found.items()})
        self._know_people(item)

    def _know_people(self, item: Mapping[str, Any]) -> None:
        for one in item["People"]:
            if one:  # tests of our client make invalid items
                self.persons.of(one["Name"])

    # Writes

    def update(self, item_id: str, sent: dict[str, Any]) -> int:
        """Updates an item; returns the status."""
        self.posted.append(sent)
        if not set(sent.get("LockedFields") or ()) <= set(dto.LOCKABLE):
            return 400  # the body has the wrong type
        item = self.items[item_id]
        changed = {**item, **self.unsaved.pop(item_id, {})}
        status = dto.apply(changed, sent, self.number)
        if status != 204:
            item["People"] = changed["People"]  # is saved at once
            self._know_people(item)
            self.unsaved[item_id] = changed
            return status
        item.update(changed)
        self._know_people(item)
        for other in self.versions.get(item_id, ()):
            self.items[other].update({key: item.get(key) for key in dto.SHARED})
        if "Nfo" in (self._library_of(item).metadata_savers or ()):
            self.nfo[dto.nfo_path(item["Path"])] = "<movie/>"  # the whole file, whatever was in it
        return status

    def save_image(self, found: str, image: bytes) -> None:
        """Saves a primary image, and with it what a refused update left in memory."""
        self.images[found] = image
        if (item := self.items.get(found)) is None:
            return
        item.update(self.unsaved.pop(found, {}))
        self.images.update(dict.fromkeys(self.versions.get(found, ()), image))
        if self._library_of(item).save_local_metadata:
            self.artwork[self._artwork_path(item)] = image

    def image_path(self, found: str) -> str:
        """Where a primary image lies."""
        item = self.items.get(found)
        if item is not None and self._library_of(item).save_local_metadata:
            return self._artwork_path(item)
        return f"/var/lib/jellyfin/metadata/library/{found[:2]}/{found}/poster.jpg"

    def _artwork_path(self, item: Mapping[str, Any]) -> str:
        folder, name = split(item["Path"])
        alone = sum(below(path, folder) for path in self.files) == 1
        return f"{folder}/folder.jpg" if alone else f"{folder}/{name.rpartition('.')[0]}-poster.jpg"

    def _library_of(self, item: Mapping[str, Any]) -> LibraryOptions:
        for name, roots in self.libraries.items():
            if any(below(item["Path"], root) for root in roots):
                return self.options.get(name, LibraryOptions())
        return LibraryOptions()

    # Reading

    def belongs_to(self) -> set[str]:
        """The ids of all other versions and further parts."""
        return {one for group in (*self.versions.values(), *self.parts.values()) for one in group}

    def sources(self, item: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The media sources of an item: its own, and those of its versions."""
        others = self.versions.get(item["Id"], [])
        if self.number >= (12, 0):  # knows the primary of another version
            others = others or [key for key, group in self.versions.items() if item["Id"] in group]
        group = split(split(item["Path"])[0])[1] if others else ""
        found = [dto.media_source(one, group) for one in (item, *map(self.items.__getitem__, others))]
        return [{**one, "Path": dto.path_for(one["Path"], self.substitutions)} for one in found]

    def shown(self, item: Mapping[str, Any], fields: frozenset[str]) -> dict[str, Any]:
        """The JSON of an item with the requested fields, in lower case."""
        more: dict[str, Any] = {}
        if "Path" in item:
            more["Path"] = dto.path_for(item["Path"], self.substitutions)
        if "people" in fields and "People" in item:
            more["People"] = self._shown_people(item)
        if (count := len(self.versions.get(item["Id"], ())) + 1) > 1:
            more["MediaSourceCount"] = count
        if (count := len(self.parts.get(item["Id"], ())) + 1) > 1:
            more["PartCount"] = count
        if "mediasources" in fields:
            more["MediaSources"] = self.sources(item)
        return dto.shown({**item, **more}, fields)

    def _shown_people(self, item: Mapping[str, Any]) -> list[dict[str, Any]]:
        if not all(item["People"]):
            return list(item["People"])
        found = self.persons.shown(item["People"])
        for one in found:
            if image := self.images.get(one["Id"]):
                one["PrimaryImageTag"] = dto.image_tag(image)
        return found
