"""Studios and groups as collections: items are added, and only those that we added are taken out.

No collection is ever deleted or replaced. Jellyfin keeps a collection in a folder that is named after it and keeps
its name when the collection gets another one. A second collection for that folder replaces the first with all
that is in it (CollectionManager.CreateCollectionAsync, 10.8 to 12). So none is made whose folder another one has.
"""

from __future__ import annotations

import logging
import threading
import time
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.jobs import Scene
from stash_courier.worker.destinations.jellyfin.api import JellyfinApi, pages
from stash_courier.worker.destinations.jellyfin.items import JellyfinItem
from stash_courier.worker.destinations.media import settings
from stash_courier.worker.destinations.media.libraries import NEGATIVE_SECONDS
from stash_courier.worker.destinations.media.notes import NOT_COLLECTED
from stash_courier.worker.destinations.media.record import digest
from stash_courier.worker.destinations.media.state import FieldChange, collection_names, same_name, same_text

log = logging.getLogger(__name__)

SUFFIX = " [boxset]"  # of a collection's folder
PARENT = "collections"  # the folder of all collections; others are folders of media
# What Jellyfin replaces by spaces in the name of the folder (ManagedFileSystem.GetValidFilename).
_FORBIDDEN = dict.fromkeys([*map(ord, '"<>|:*?\\/'), *range(32)], " ")
LONGEST_NAME = 240  # bytes: with the suffix it must fit into the name of a folder

LISTING_SECONDS = 300.0  # how long the listing is used to find a collection
NEW_SECONDS = 120.0  # how long one that we made may be missing in the listing
MEMBERS_SECONDS = 60.0  # how long it is believed what is in a collection
MOST_MEMBERS = 100_000  # ids of items in collections that are cached
MOST_ADDED = 10_000  # items that we remember to have added


@dataclass(frozen=True, slots=True)
class Membership:
    """An item in a collection, as the record of its scene has it."""

    collection: str  # its id
    item: str  # the item's id
    name: str  # digest of the name of the studio or group; the collection itself may be renamed
    ours: bool  # we added it. False: it was in it before, or that wasn't known

    def __str__(self) -> str:
        return f"{'+' if self.ours else '='}{self.collection} {self.item} {self.name}"


def memberships(stored: Iterable[str], item: str) -> list[Membership]:
    """What the record says of this item. What it says of other items, or what can't be read, is left out."""
    found = []
    for text in stored:
        collection, *rest = text[1:].split(" ")
        if text[:1] in {"+", "="} and len(rest) == 2 and rest[0] == item:
            found.append(Membership(collection, item, rest[1], text[0] == "+"))
    return found


@dataclass(frozen=True, slots=True)
class Collected:
    """The outcome for one item."""

    record: tuple[str, ...]
    notes: frozenset[str] = frozenset()
    changes: tuple[FieldChange, ...] = ()
    left: tuple[str, ...] = ()  # sentences: which collections it was not added to


@dataclass(frozen=True, slots=True)
class _BoxSet:
    """A collection of the listing."""

    id: str
    name: str
    folder: str  # the name of its folder; "" if unknown


@dataclass(frozen=True, slots=True)
class _Used:
    """A collection that we added something to."""

    id: str
    made_at: float | None  # monotonic; None if it was there before


class _Unclear(Exception):
    """It can't be said which collection is meant, or it can't be made, at least not without harm. Says why."""


class Collections:
    """Puts items into the collections of one server. Thread-safe.

    Jellyfin loses one of two items that are added to a collection at the same moment. So it gets one change at a
    time.

    Args:
        which: what becomes a collection.
        add_only: take nothing out.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        api: JellyfinApi,
        which: settings.Collections,
        *,
        add_only: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._which = which
        self._add_only = add_only
        self._clock = clock
        self._lock = threading.Lock()
        self._listing: list[_BoxSet] = []
        self._listed_at: float | None = None
        self._used: dict[str, _Used] = {}  # by name
        self._members: dict[str, tuple[float, set[str]]] = {}  # by collection: when, and the ids of its items
        self._shows_members = False  # the server was seen to list what we had added
        # (collection, item) pairs that we added: a delivery that fails afterwards stores no record.
        self._added: dict[tuple[str, str], None] = {}
        self._told: set[str] = set()  # names of collections whose trouble is in the log

    def update(self, item: JellyfinItem, scene: Scene, record: Sequence[str]) -> Collected:
        """Adds the item to its scene's collections, and takes it out of those that it got from us before.

        Sends nothing if the record says that all is done, even if the owner has changed it in Jellyfin since.

        Args:
            record: ``Collected.record`` of the scene's last delivery.

        Raises:
            DeliveryFailed: Jellyfin can't be asked.
        """
        if self._which == "none":
            return Collected(tuple(record))
        known = memberships(record, item["Id"])
        wanted = {digest(name): name for name in collection_names(scene, self._which)}
        kept = [one for one in known if one.name in wanted or self._add_only]
        surplus = [one for one in known if one not in kept]
        missing = [name for key, name in wanted.items() if key not in {one.name for one in known}]
        notes, left, joined, out = set(), [], [], 0
        if surplus or missing:
            with self._lock:
                self._remember(one for one in known if one.ours)
                for name in missing:
                    try:
                        added = self._add(name, item["Id"])
                    except _Unclear as why:
                        self._tell(name, str(why))
                        notes.add(f"{NOT_COLLECTED}:{name}")
                        left.append(f"Not added to the collection {name}: {why}.")
                    else:
                        kept += added
                        joined += [f"added to {name}" for one in added if one.ours]
                stays = {one.collection for one in kept}  # two names may lead to the same collection
                for one in surplus:
                    if one.ours and one.collection not in stays:
                        self._take_out(one)
                        out += 1
        done = [*joined, *([f"taken out of {out} more" if joined else f"taken out of {out}"] if out else [])]
        changes = (("collections", None, done),) if done else ()
        return Collected(tuple(map(str, kept)), frozenset(notes), changes, tuple(left))

    # One change. The caller holds the lock.

    def _add(self, name: str, item: str) -> list[Membership]:
        """Adds an item to the collection for a name. Empty if the owner has removed that collection."""
        for last in (False, True):
            collection = self._find(name)
            if collection is None:
                if name in self._used:
                    return []  # it was there a while ago; the owner doesn't want it
                return [self._make(name, item)]
            try:
                return [self._add_to(collection, name, item)]
            except DeliveryFailed as failed:
                if last or failed.failure is not Failure.ITEM_REFUSED:
                    raise
                # It was probably removed a moment ago, which the next listing shows.
                self._used[name], self._listed_at = _Used(collection, None), None
        return []

    def _make(self, name: str, item: str) -> Membership:
        encoded = name.encode("utf-8", "surrogatepass")
        if len(encoded) > LONGEST_NAME or encoded != name.encode("utf-8", "replace"):
            raise _Unclear(f"no folder can have that name; it may have {LONGEST_NAME} bytes of UTF-8")
        # If the listing was incomplete, a collection with all that is in it would be replaced.
        if any(self._may_be(name, _read(one)) for one in self._api.collections(term=name)):
            raise _Unclear("Jellyfin has it, but doesn't list it")
        try:
            collection = self._api.create_collection(name, item)
        except DeliveryFailed as failed:
            if failed.failure is not Failure.ITEM_REFUSED:
                raise
            raise _Unclear(failed.message) from failed
        self._listing.append(_BoxSet(collection, name, _folder(name)))
        self._used[name] = _Used(collection, self._clock())
        self._members[collection] = (self._clock(), {item})
        return self._ours(collection, name, item)

    def _add_to(self, collection: str, name: str, item: str) -> Membership:
        """Adds the item unless it is in the collection. Then the owner put it there, and it stays for good."""
        members = self._read_members(collection)
        if item in members:
            ours = (collection, item) in self._added
            return Membership(collection, item, digest(name), ours)
        self._api.collect(collection, item)
        self._used.setdefault(name, _Used(collection, None))
        members.add(item)
        if not self._shows_members:
            # What a server doesn't list can't be told from what the owner added.
            del self._members[collection]
            self._shows_members = item in self._read_members(collection)
            if not self._shows_members:
                return Membership(collection, item, digest(name), ours=False)
        return self._ours(collection, name, item)

    def _ours(self, collection: str, name: str, item: str) -> Membership:
        added = Membership(collection, item, digest(name), ours=True)
        self._remember([added])
        return added

    def _remember(self, ours: Iterable[Membership]) -> None:
        for one in ours:
            self._added[one.collection, one.item] = None
        while len(self._added) > MOST_ADDED:
            del self._added[next(iter(self._added))]

    def _take_out(self, one: Membership) -> None:
        try:
            self._api.take_out(one.collection, one.item)
        except DeliveryFailed as failed:
            if failed.failure is not Failure.ITEM_REFUSED:
                raise
            # The collection is gone, and the item with it.
        self._added.pop((one.collection, one.item), None)
        if one.collection in self._members:
            self._members[one.collection][1].discard(one.item)

    # Finding

    def _find(self, name: str) -> str | None:
        """The id of the collection for a name; None if there is none and it may be made.

        Raises:
            _Unclear: there are several, or another one has its folder.
        """
        used = self._used.get(name)
        self._list(LISTING_SECONDS)
        found = self._listed(name, used)
        if found is None:
            self._list(NEGATIVE_SECONDS)
            found = self._listed(name, used)
        if found is None and used and used.made_at is not None and self._clock() - used.made_at < NEW_SECONDS:
            return used.id  # the listing doesn't have it yet
        return found

    def _listed(self, name: str, used: _Used | None) -> str | None:
        same = [one for one in self._listing if same_text(one.name, name)]
        if len(same) == 1:
            return same[0].id
        if used and any(one.id == used.id for one in self._listing):
            return used.id  # the owner has renamed it or another one
        folder = _folder(name)
        there = [one for one in self._listing if _same_folder(one.folder, folder)]
        if same:
            if len(there) == 1 and there[0] in same:
                return there[0].id
            raise _Unclear(f"Jellyfin has {len(same)} collections of that name")
        if not there:
            if any(not one.folder for one in self._listing):
                raise _Unclear("Jellyfin doesn't say in which folders its collections are")
            return None
        # Another spelling of the name, or the collection was made under this name and renamed since.
        (one, *others) = there
        if others or not (same_name(one.name, name) or one.folder == name + SUFFIX):
            raise _Unclear(f"the collection {one.name!r} has the folder {one.folder!r}")
        return one.id

    def _tell(self, name: str, why: str) -> None:
        if name not in self._told:
            self._told.add(name)
            log.warning("nothing is added to the collection %r: %s", name, why)

    def _list(self, seconds: float) -> None:
        """Reads the listing unless it is newer than this. What lies in other folders is media, and is left out."""
        if self._listed_at is not None and self._clock() - self._listed_at < seconds:
            return
        at = self._clock()
        listing = (_read(one) for page in pages(self._api.collections) for one in page)
        self._listing, self._listed_at = [one for one in listing if one], at

    @staticmethod
    def _may_be(name: str, box: _BoxSet | None) -> bool:
        return box is not None and (same_text(box.name, name) or _same_folder(box.folder, _folder(name)))

    def _read_members(self, collection: str) -> set[str]:
        """The ids of the items in a collection; may be changed by the caller to what he has done."""
        at = self._clock()
        cached = self._members.pop(collection, None)
        if cached is None or at - cached[0] >= MEMBERS_SECONDS:
            members = pages(lambda start: self._api.collected(collection, start))
            cached = (at, {item["Id"] for page in members for item in page})
        self._members[collection] = cached  # as the last one
        while sum(len(ids) for _, ids in self._members.values()) > MOST_MEMBERS and len(self._members) > 1:
            del self._members[next(iter(self._members))]
        return cached[1]


def _read(item: JellyfinItem) -> _BoxSet | None:
    """A collection; None if it is a folder of media that only looks like one."""
    parent, folder = _last_two(str(item.get("Path") or ""))
    return _BoxSet(item["Id"], str(item.get("Name") or ""), folder) if not folder or parent == PARENT else None


def _folder(name: str) -> str:
    """The folder of a collection that is made with this name."""
    return name.translate(_FORBIDDEN) + SUFFIX


def _same_folder(one: str, other: str) -> bool:
    """Whether two folders are the same on a server that may not tell case or Unicode composition apart."""
    return unicodedata.normalize("NFC", one.casefold()) == unicodedata.normalize("NFC", other.casefold())


def _last_two(path: str) -> tuple[str, str]:
    """The names of the folder above and of the folder itself; "" for each that is missing."""
    parts = ["", "", *path.replace("\\", "/").rstrip("/").split("/")]
    return parts[-2], parts[-1]
