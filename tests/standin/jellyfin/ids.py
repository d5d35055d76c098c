"""How Jellyfin computes ids: from the type's full name and a path (LibraryManager.GetNewItemId)."""

from __future__ import annotations

import hashlib
import re
import uuid

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
