"""Which items the files of a library become, and how ids are computed. Pure.

From the resolvers of Jellyfin (MovieResolver, VideoListResolver, StackResolver, NamingOptions.VideoExtraRules,
IgnorePatterns) and what 10.10.7, 10.11.11 and 12.0-rc5 did. What isn't known from a run is marked so. An id comes
from the full name of the type and a path (LibraryManager.GetNewItemId).
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

EXTRA_FOLDERS = {
    "trailers": "Trailer",
    "backdrops": "ThemeVideo",
    "behind the scenes": "BehindTheScenes",
    "deleted scenes": "DeletedScene",
    "interviews": "Interview",
    "scenes": "Scene",
    "samples": "Sample",
    "shorts": "Short",
    "featurettes": "Featurette",
    "extras": "Unknown",
    "other": "Unknown",
    "clips": "Clip",
}
_EXTRA_NAME = re.compile(
    r"trailer|sample|.*(?:[-._]|- )(?:trailer|sample)[0-9]*"
    r"|.*-(?:scene|clip|interview|behindthescenes|deleted|deletedscene|featurette|short|extra|other)[0-9]*",
    re.IGNORECASE,
)
_EXTRA_NAME_BEFORE_10_11 = re.compile(r".* (?:trailer|sample)[0-9]*", re.IGNORECASE)
_IGNORED = re.compile(r"\..*|@eaDir|#recycle|lost\+found|\$RECYCLE\.BIN", re.IGNORECASE)
_VIDEO = re.compile(r".*\.(?:mkv|mp4|m4v|avi|mov|wmv|webm|ts|mpg|mpeg|flv)", re.IGNORECASE)
_STACK = re.compile(r"(.*?)[ _.-]+(?:cd|dvd|part|pt|dis[ck])[ _.-]*([0-9]+)", re.IGNORECASE)
_YEAR = re.compile(r".*\(([0-9]{4})\)")


@dataclass
class LibraryOptions:
    """What an owner chooses for a library."""

    collection: str | None = "movies"  # CollectionType: movies, homevideos, musicvideos; None: mixed content
    metadata_savers: list[str] | None = field(default_factory=list)  # ["Nfo"]: .nfo files; None: not in the answer
    save_local_metadata: bool = False  # artwork is stored beside the media


@dataclass(frozen=True)
class Resolved:
    """An item that files become."""

    path: str
    kind: str
    name: str
    parent: str = ""  # the folder whose child it is; "": none, as for versions, parts and extras
    extra: str = ""  # ExtraType
    others: tuple[Resolved, ...] = ()  # its other versions or its further parts
    stacked: bool = False  # the others are parts

    @property
    def values(self) -> dict[str, Any]:
        """The fields that come from the names."""
        year = _YEAR.fullmatch(self.name)
        found = {"ExtraType": self.extra or None, "ProductionYear": int(year[1]) if year else None}
        return {key: value for key, value in found.items() if value is not None}


def resolve(files: Iterable[str], root: str, collection: str | None, version: tuple[int, int]) -> list[Resolved]:
    """The items of a library's folder.

    Args:
        files: paths of all files on the disk.
        root: the library's folder.
        collection: the library's CollectionType.
        version: the server's, such as (10, 11).
    """
    folders: dict[str, list[str]] = {}
    for path in files:
        inner = re.split(r"[/\\]", path[len(root) + 1 :])
        if below(path, root) and not any(map(_IGNORED.fullmatch, inner)) and _VIDEO.fullmatch(inner[-1]):
            folders.setdefault(split(path)[0], []).append(path)
    resolved: list[Resolved] = []
    for folder, paths in folders.items():
        extra = _extra_folder(folder, root, version)
        own = [path for path in paths if not _is_extra(stem(path), version)]
        if extra is None:
            resolved += _of_folder(folder, own, root, collection, version)
        elif extra:
            resolved += _of_extra_folder(folder, own, extra, collection)
    return resolved


def _is_extra(name: str, version: tuple[int, int]) -> bool:
    older = version < (10, 11) and _EXTRA_NAME_BEFORE_10_11.fullmatch(name)
    return bool(older or _EXTRA_NAME.fullmatch(name))


def stem(path: str) -> str:
    """A file's name without its extension."""
    name = split(path)[1]
    return name.rpartition(".")[0] or name


def _extra_folder(folder: str, root: str, version: tuple[int, int]) -> str | None:
    """None: an ordinary folder. Else the ExtraType of its files, or "" if they are no items at all."""
    inner = [name for name in re.split(r"[/\\]", folder[len(root) :].lower()) if name]
    named = [at for at, name in enumerate(inner) if name in EXTRA_FOLDERS]
    if not named:
        return None
    if version < (10, 11) or named != [0]:
        return ""
    return EXTRA_FOLDERS[inner[0]] if len(inner) == 1 else None


def _of_extra_folder(folder: str, paths: Sequence[str], extra: str, collection: str | None) -> list[Resolved]:
    """From 10.11, for a folder directly below the library's: an item of its own, and an extra of another item."""
    resolved: list[Resolved] = []
    for path in paths:
        resolved.append(Resolved(path, _kind(collection), stem(path), folder))
        if collection in {"movies", None}:  # other types of libraries: assumed
            resolved.append(Resolved(path, "Trailer" if extra == "Trailer" else "Video", stem(path), extra=extra))
    return resolved


def _of_folder(
    folder: str, paths: Sequence[str], root: str, collection: str | None, version: tuple[int, int]
) -> list[Resolved]:
    found = _stacks(folder, paths, _kind(collection))
    if collection not in {"movies", None}:
        return found
    found = _versions(folder, found, version)
    if len(found) == 1 and folder != root:  # a folder with one film is the film
        (one,) = found
        above, name = split(folder)
        return [Resolved(one.path, one.kind, name, above, others=one.others, stacked=one.stacked)]
    return found


def _stacks(folder: str, paths: Sequence[str], kind: str) -> list[Resolved]:
    """Files named "x part1", "x part2" are one item. (Home videos, too: from the sources, not from a run.)"""
    stacks: dict[str, list[str]] = {}
    for path in sorted(paths):
        part = _STACK.fullmatch(stem(path))
        stacks.setdefault(f"{part[1]}/" if part and part[1] else path, []).append(path)
    found = []
    for name, parts in stacks.items():
        others = tuple(Resolved(path, "Video", stem(path)) for path in parts[1:])
        shown = name.rstrip("/") if others else stem(parts[0])
        found.append(Resolved(parts[0], kind, shown, folder, others=others, stacked=bool(others)))
    return found


def _versions(folder: str, found: Sequence[Resolved], version: tuple[int, int]) -> list[Resolved]:
    """If all names begin with the folder's, they are one item: the file named as the folder, or the first."""
    name = split(folder)[1]
    if len(found) < 2 or any(one.stacked for one in found) or not all(_is_version(name, one) for one in found):
        return list(found)
    if len({_year(one.path) for one in found}) > 1:
        return list(found)
    first, *rest = sorted(found, key=lambda one: (stem(one.path).lower() != name.lower(), one.name.lower()))
    kind = "Movie" if version >= (12, 0) else "Video"
    others = tuple(Resolved(one.path, kind, one.name) for one in rest)
    return [Resolved(first.path, first.kind, name, folder, others=others)]


def _is_version(folder_name: str, one: Resolved) -> bool:
    if not folder_name or not stem(one.path).lower().startswith(folder_name.lower()):
        return False
    rest = stem(one.path)[len(folder_name) :].strip()
    return not rest or rest[0] == "-" or re.fullmatch(r"(?:\[[^]]*\]\s*)+", rest) is not None


def _year(path: str) -> str:
    found = _YEAR.match(stem(path))
    return found[1] if found else ""


def _kind(collection: str | None) -> str:
    return {"homevideos": "Video", "musicvideos": "MusicVideo"}.get(collection or "", "Movie")


# Ids and paths

CLASSES = {
    "Movie": "Movies.Movie",
    "Video": "Video",
    "MusicVideo": "MusicVideo",
    "Episode": "TV.Episode",
    "Trailer": "Trailer",
    "Folder": "Folder",
    "CollectionFolder": "CollectionFolder",
    "BoxSet": "Movies.BoxSet",
    "Person": "Person",
    "Studio": "Studio",
}
_NOT_IN_FILE_NAMES = re.compile(r'[\x00-\x1f"<>|:*?\\/]')


def id_of(kind: str, path: str) -> str:
    """The id of an item of a type at a path."""
    hashed = f"MediaBrowser.Controller.Entities.{CLASSES[kind]}{path}".encode("utf-16-le", "surrogatepass")
    return uuid.UUID(bytes_le=hashlib.md5(hashed).digest()).hex


def lower(path: str) -> str:
    """A path in lower case as .NET makes it: letter by letter, and a letter that would become two stays."""
    return "".join(c.lower() if len(c.lower()) == 1 else c for c in path)


def person_id(name: str) -> str:
    """The id of a person: of its folder's path, so names that make the same folder name have the same id."""
    folder = file_name(name)
    first = next((c for c in folder if c.isalnum()), "")
    parts = ["metadata", "People", *([first] if first else []), folder]
    return id_of("Person", "\\".join(parts).lower())


def studio_id(name: str) -> str:
    """The id of a studio."""
    return id_of("Studio", f"metadata\\Studio\\{file_name(name)}".lower())


def collection_id(name: str) -> str:
    """The id of a collection. Case matters."""
    return id_of("BoxSet", f"data\\collections\\{file_name(name)} [boxset]")


def file_name(name: str) -> str:
    """A name as a file's name."""
    return _NOT_IN_FILE_NAMES.sub(" ", name).strip().rstrip(".")


def split(path: str) -> tuple[str, str]:
    """A path's folder and name, with either kind of slash."""
    at = max(path.rfind("/"), path.rfind("\\"))
    return path[: max(at, 0)], path[at + 1 :]


def below(path: str, folder: str) -> bool:
    """Whether a path is below a folder."""
    return path.startswith((f"{folder}/", f"{folder}\\"))
