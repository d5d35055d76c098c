"""What the media servers have in common: what a scene should look like there, and where it is to be found.

Speaks to no server and knows the API of none. A destination uses it so::

    server, wrong = read_server(raw, "plex", "plex_token", "Plex")  # None: not set up, or not usable
    selection, more = read_selection(raw, "plex", FIELDS)           # FIELDS: names out of ALL_FIELDS

    def configure(raw, settings, cover): ...               # cover(scene.cover_url) -> bytes, see covers.py

    where = places(delivery, scene, path_map)              # () without files; the primary file first
    wanted = wanted_state(scene, selection)                # None in a field: leave the server's value alone
    if wanted.details is not None and not same_text(item["summary"], wanted.details): ...
    if wanted.tags is not None and (change := list_change(names, wanted.tags, add_only=selection.add_only)): ...

    raise not_there_yet("Plex", scene.id, where)           # the item isn't known yet
    raise ambiguous("Plex", scene.id, where[0], [...])     # two items have that path
    with still_there(server, "that item"): ...             # in it a 404 means that the item went away
    found = read_json(answer, server)                      # an answer that must be JSON
    taken(answer, server)                                  # the answer to a write

``Server``, ``Selection`` and their readers are media_settings.py's, libraries media_libraries.py's, what a test
says media_trial.py's.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.jobs import Delivery, Scene
from stash_courier.worker.destinations.media.settings import Selection, Server
from stash_courier.worker.http.client import Answer
from stash_courier.worker.paths import PathMap, is_windows
from stash_courier.worker.settings import label

SHOWN = 80  # characters of a value that a person gets to see
_NO_TEXT = re.compile("[\ud800-\udfff]")  # what Python makes of bytes that are no UTF-8


# Where a scene is


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file of a scene is, as both sides call it."""

    stash: str
    server: str
    rule: tuple[str, str] | None  # path_map's; None if none fits

    def __str__(self) -> str:
        """Both paths and the rule, as they stand in the middle of a sentence."""
        how = (
            f"by the rule {self.rule[0]} => {self.rule[1]} of {label('path_map')}"
            if self.rule
            else f"no rule of {label('path_map')} fits it"
        )
        return f"{self.server} (in Stash {self.stash}; {how})"


def places(delivery: Delivery | None, scene: Scene | None, path_map: PathMap) -> tuple[Place, ...]:
    """Where to look for a scene: its files, the primary first; of one that is gone its delivery's path."""
    paths = [file.path for file in scene.files] if scene else [delivery.path] if delivery else []
    return tuple(Place(path, path_map.apply(path), path_map.rule_for(path)) for path in paths if path)


def same_path(one: str, other: str) -> bool:
    """Whether two paths of a server are the same; on Windows case and kind of separator don't matter."""
    return path_key(one) == path_key(other)


def path_key(path: str) -> str:
    """The same for paths that are the same. Bytes that are no UTF-8 are shown by some as the sign for such."""
    path = _NO_TEXT.sub("\ufffd", path)
    return path.replace("\\", "/").casefold() if is_windows(path) else path


def file_name(path: str) -> str:
    """The last part of a path."""
    return _components(path)[-1]


def is_named(path: str, name: str) -> bool:
    """Whether a file of a server has that name; on Windows case doesn't matter."""
    own = file_name(path)
    return own == name or (is_windows(path) and own.casefold() == name.casefold())


def rule_between(stash: str, server: str) -> str:
    """The rule for path_map that leads from one path to the other, such as ``/data => /mnt``.

    What both end with is cut off: paths of one file, or of one folder.
    """
    ours, theirs = _components(stash), _components(server)
    key = str.casefold if is_windows(server) else str
    while len(ours) > 1 and len(theirs) > 1 and key(ours[-1]) == key(theirs[-1]):
        ours, theirs = ours[:-1], theirs[:-1]
    return f"{_joined(ours, stash)} => {_joined(theirs, server)}"


def _components(path: str) -> list[str]:
    return path.rstrip("/\\").replace("\\", "/").split("/") if is_windows(path) else path.rstrip("/").split("/")


def _joined(components: list[str], path: str) -> str:
    separator = "\\" if is_windows(path) and "/" not in path else "/"
    return separator.join(components) or "/"


def no_file(name: str, scene_id: int) -> DeliveryFailed:
    """The scene has no file, so there is nothing to look for."""
    return DeliveryFailed(
        Failure.ITEM_REFUSED,
        f"Scene {scene_id} has no file in Stash, so it can't be found at {name}: assign a file, or "
        "delete the scene.",
    )


def not_there_yet(
    name: str, scene_id: int, where: Sequence[Place], hint: str = "", *, asked: bool = True
) -> DeliveryFailed:
    """The server doesn't know the item yet.

    Args:
        name: the server's name.
        scene_id: Stash's id.
        where: all places where it was looked for.
        hint: a sentence with what else is known, such as that no library holds that folder.
        asked: whether the server was asked to look at the file.
    """
    return DeliveryFailed(
        Failure.NOT_THERE_YET,
        f"{name} does not know scene {scene_id} under {all_places(where)}: "
        f"{'it was asked to look for it, and ' if asked else ''}we come back for about 2 hours. If it stays "
        f"unknown, correct {label('path_map')} or add that folder to a library of {name}.{hint and ' ' + hint}",
    )


def all_places(where: Sequence[Place]) -> str:
    """Places as they stand behind "under"."""
    return "; nor under ".join(map(str, where))


def vanished(server: Server, what: str, failed: DeliveryFailed | None = None) -> DeliveryFailed:
    """The server no longer has what it showed a moment ago: removed, or just being scanned anew.

    It isn't NOT_THERE_YET: whether it is there is seen at the next attempt, and a server that shows items and then
    denies them all is ill.

    Args:
        server: the server.
        what: the item as the owner finds it.
        failed: how that showed.
    """
    return DeliveryFailed(
        Failure.REFUSED,
        f"{server.host} no longer has {what}, which it showed a moment ago: we look again later.",
        status=failed.status if failed else None,
        answer=failed.answer if failed else "",
    )


@contextmanager
def still_there(server: Server, what: str) -> Iterator[None]:
    """Within it a 404 means that an item went away since it was looked up.

    Raises:
        DeliveryFailed: ``vanished``.
    """
    try:
        yield
    except DeliveryFailed as failed:
        if failed.status != 404 or failed.failure is not Failure.ITEM_REFUSED:
            raise
        raise vanished(server, what, failed) from failed


def ambiguous(name: str, scene_id: int, place: Place, items: Iterable[str]) -> DeliveryFailed:
    """Several items have the scene's path.

    Args:
        name: the server's name.
        scene_id: Stash's id.
        place: the path that all have.
        items: each item as the owner finds it: its name and id.
    """
    found = list(items)
    return DeliveryFailed(
        Failure.ITEM_REFUSED,
        f"{name} has {len(found)} items with the path {place.server}: {'; '.join(found)}. Which of them is scene "
        f"{scene_id} can't be told, so none was changed: remove all but one (is the folder in two libraries?), "
        "then retry this dead letter.",
    )


# What a scene should look like


@dataclass(frozen=True, slots=True)
class State:
    """A scene's values for a media server. None: leave the server's value alone. "", (): empty it."""

    title: str | None = None
    details: str | None = None
    date: str | None = None  # "YYYY-MM-DD", "YYYY-MM", "YYYY"
    studio: str | None = None
    performers: tuple[str, ...] | None = None
    tags: tuple[str, ...] | None = None
    groups: tuple[str, ...] | None = None
    director: str | None = None
    rating: float | None = None  # above 0, up to 10; 0: empty it
    ids: str | None = None  # the scene's id

    @property
    def year(self) -> int | None:
        """The date's year."""
        return int(self.date[:4]) if self.date else None

    @property
    def day(self) -> str | None:
        """The date if it names a day, "YYYY-MM-DD"."""
        return self.date if self.date and len(self.date) == len("YYYY-MM-DD") else None


def wanted_state(scene: Scene, selection: Selection) -> State:
    """What the selected fields should be."""
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
    return State(**sent)  # type: ignore[arg-type]  # names and types are those of the table above


def names(found: Iterable[str]) -> tuple[str, ...]:
    """Names without blanks around them, each once whatever its case."""
    first: dict[str, str] = {}
    for name in (" ".join(n.split()) for n in found):
        if name:
            first.setdefault(_folded(name), name)
    return tuple(first.values())


def tidy(value: str) -> str:
    """A text as servers give it back: line feeds alone, nothing around it."""
    return value.replace("\r\n", "\n").replace("\r", "\n").strip()


def same_text(one: str | None, other: str | None) -> bool:
    """Whether two texts are the same, whatever their line ends, outer blanks and way to compose a letter."""
    return unicodedata.normalize("NFC", tidy(one or "")) == unicodedata.normalize("NFC", tidy(other or ""))


def same_name(one: str | None, other: str | None) -> bool:
    """Whether two names are the same; servers keep the case in which they first met one."""
    return _folded(one or "") == _folded(other or "")


@dataclass(frozen=True, slots=True)
class Change:
    """What a list needs to become as it should be; false if it is so."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()  # as the server spells them

    def __bool__(self) -> bool:
        return bool(self.added or self.removed)


def list_change(current: Sequence[str], wanted: Sequence[str], *, add_only: bool, cased: bool = False) -> Change:
    """What to add to and remove from a server's list; the order doesn't matter.

    Args:
        current: as the server has it.
        wanted: as Stash has it.
        add_only: nothing is removed.
        cased: upper and lower case matter: for lists whose spelling a server takes over.
    """
    key = _composed if cased and not add_only else _folded
    have = {key(name) for name in current}
    want = {key(name) for name in wanted}
    added = tuple(name for name in wanted if key(name) not in have)
    removed = () if add_only else tuple(name for name in current if key(name) not in want)
    return Change(added, removed)


def would_change(field_name: str, before: object, after: object) -> str:
    """One changed field, for a person."""
    return f"{field_name}: {_shown(before)} would become {_shown(after)}"


def _shown(value: object) -> str:
    if isinstance(value, list | tuple):
        value = ", ".join(map(str, value))
    shown = "".join(c if c.isprintable() else " " for c in str("" if value is None else value))
    if not shown:
        return "nothing"
    return f'"{shown}"' if len(shown) <= SHOWN else f'"{shown[:SHOWN]}…"'


def _folded(name: str) -> str:
    return _composed(name.casefold())


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", " ".join(name.split()))


# What a server says


def read_json(answer: Answer, server: Server) -> object:
    """The content of an answer that must be JSON.

    Raises:
        DeliveryFailed: it isn't. What began as JSON broke off; anything else is another program's, or a login
            page in front of the server.
    """
    body = answer.body.strip()
    try:
        if answer.whole:
            # A file's name that is no UTF-8 is one odd name, not a broken answer.
            return json.loads(body.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        pass
    if body[:1] in {b"{", b"["}:
        raise DeliveryFailed(
            Failure.BUSY,
            f"{server.host} broke off in the middle of its answer, or it was longer than we read: we try again.",
            status=answer.status,
        )
    page = " with a web page" if body[:1] == b"<" else ""
    raise _from_another(server, answer, f"{page} where {server.name} answers with JSON")


def taken(answer: Answer, server: Server) -> None:
    """Looks at the 2xx answer to a write: it counts, unless a page came.

    What servers answer to writes differs from version to version, and mostly it is nothing; a page is what a
    proxy's login, or another program, answers to everything.

    Raises:
        DeliveryFailed: it is a page, so nobody took the change.
    """
    begin = answer.body[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    is_html = "text/html" in answer.headers.get("Content-Type", "").lower()
    if begin.startswith((b"<!doctype", b"<html")) or (is_html and begin):
        raise _from_another(server, answer, f" with a web page where {server.name} takes changes")


def unlike(server: Server, answer: Answer, said: str, what: str = "") -> DeliveryFailed:
    """JSON came, but not what that server sends.

    Args:
        server: the server.
        answer: what came.
        said: the answer as a person may see it.
        what: what is wrong with it, in a few words.
    """
    return DeliveryFailed(
        Failure.DESTINATION,
        f"{server.host} answers as {server.name} never does{what and f' ({what})'}: another program, or a version "
        f"we don't know, is there; check {label(server.url_setting)}.",
        status=answer.status,
        answer=said,
    )


def advice(server: Server, how: str) -> dict[int, str]:
    """What the owner can do about the answers that mean wrong settings, by status.

    Args:
        server: the server.
        how: how to come by a key that works.
    """
    return {
        401: f"it does not know what {label(server.key_setting)} holds; {how}",
        403: f"what {label(server.key_setting)} holds may not do this; {how}",
        404: f"{server.name} has nothing at this address; check {label(server.url_setting)}",
        405: f"{server.name} takes no such request at this address; check {label(server.url_setting)}",
    }


def _from_another(server: Server, answer: Answer, how: str) -> DeliveryFailed:
    return DeliveryFailed(
        Failure.DESTINATION,
        f"{server.host} answers{how}: another program or a proxy's login page is at that address; enter the one "
        f"of {server.name} itself.",
        status=answer.status,
    )


def library_updated(kind: str, paths: Iterable[str]) -> bytes:
    """The body of Jellyfin's and Emby's ``POST /Library/Media/Updated``.

    Args:
        kind: ``Created``, ``Modified`` or ``Deleted``.
        paths: as the server calls them.
    """
    return json.dumps({"Updates": [{"Path": path, "UpdateType": kind} for path in paths]}).encode("ascii")
