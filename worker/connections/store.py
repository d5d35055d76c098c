"""connections.json: the connections that the owner set up, with their secrets. Only this module reads and writes
it.

The file is replaced as a whole, under a lock, and its revision grows by one. A writer names the revision that it
started from, so the second of two writers gets a conflict and nothing is lost. A copy of the last good file is
kept beside it. A damaged file is set aside, and the copy takes its place. Readers do that under the same lock, so
that none of them undoes what is saved meanwhile.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from stash_courier.queue import checks, files, locks
from stash_courier.worker.connections.model import STATES, Entry, State

FORMAT = 1
SAVED = 1  # size of the lock file since something was saved: a missing connections.json has been lost
LOCK_SECONDS = 10.0  # how long a writer waits for another; a write takes milliseconds
READER_SECONDS = 0.5  # how long a reader waits that restores the file or its copy


class Conflict(Exception):
    """Somebody else saved since the revision that a change started from."""


@dataclass(frozen=True, slots=True)
class Stored:
    """The content of connections.json."""

    entries: tuple[Entry, ...] = ()
    revision: int = 0
    next_number: int = 1  # in the id of the next connection
    retired: frozenset[str] = frozenset()  # ids of deleted connections, never used again
    converted: frozenset[str] = frozenset()  # digests of settings on Stash's page that became connections
    problem: str = ""  # what is wrong with the file, in sentences
    unknown: bool = False  # it can't be read, so what the owner set up isn't known

    def find(self, connection: str) -> Entry | None:
        """The connection with this id."""
        return next((entry for entry in self.entries if entry.id == connection), None)


class Store:
    """The file in one data folder."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / files.CONNECTIONS
        self._copy = folder / files.CONNECTIONS_COPY
        self._lock = folder / files.CONNECTIONS_LOCK
        self._seen: object = None
        self._known = Stored()

    def changed(self) -> bool:
        """Whether ``read`` would read the file again. Costs one look at its entry in the folder."""
        return self._known.unknown or self._signature() != self._seen

    def read(self) -> Stored:
        """The content. Never raises: what can't be read is in ``problem``."""
        if self._seen is None or self.changed():
            seen = self._signature()
            self._known = self._read()
            self._seen = seen
        return self._known

    def change(self, revision: int, make: Callable[[Stored], Stored]) -> Stored:
        """Replaces the content by what ``make`` makes of it, durably.

        Args:
            revision: the one that the change started from.
            make: returns the new content; its revision is set here.

        Raises:
            Conflict: the file has another revision.
            OSError: it can't be read or written; nothing has changed.
        """
        with self._locked() as lock:
            now = self._read(lock)
            if now.unknown and os.path.lexists(self._file):
                raise OSError(None, now.problem)
            if now.revision != revision:
                raise Conflict
            _replace(self._file, _encoded(replace(make(now), revision=now.revision + 1)))
            os.truncate(lock, SAVED)
            self._seen, self._known = None, self._read(lock)
            return self._known

    def _signature(self) -> object:
        try:
            found = self._file.stat()
        except OSError as error:
            return error.errno
        return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

    @contextlib.contextmanager
    def _locked(self, seconds: float = LOCK_SECONDS) -> Iterator[int]:
        give_up = time.monotonic() + seconds
        while (fd := locks.taken(str(self._lock))) is None:
            if time.monotonic() > give_up:
                raise OSError(None, f"{self._lock} is held by another program.")
            time.sleep(0.01)
        try:
            yield fd
        finally:
            os.close(fd)

    def _read(self, lock: int | None = None) -> Stored:
        """The content of the file. It is restored and copied only under the lock, with the descriptor ``lock``."""
        damaged = sorted(self._file.parent.glob(f"{self._file.name}.damaged-*"))
        note = f"{damaged[-1].name} was damaged and set aside; delete it when you have checked." if damaged else ""
        try:
            content = self._file.read_bytes()
        except FileNotFoundError:
            if lock is None and (self._copy.exists() or self._lock.exists()):
                return self._read_locked() or self._restored(note, lock)
            return self._restored(note, lock)
        except OSError as error:
            why = f"{self._file} can't be read ({error.strerror}). Check its owner and permissions."
            return Stored(problem=why, unknown=True)
        try:
            found = _decoded(content)
        except _NewerFormat:
            why = f"{self._file} was written by a newer version. Install that version again."
            return Stored(problem=why, unknown=True)
        except checks.DAMAGE as error:
            reason = str(error) if isinstance(error, ValueError | TypeError) else "a part is missing"
            if lock is None:
                locked = self._read_locked()
                return locked or Stored(problem=f"{self._file} is damaged ({reason}).", unknown=True)
            aside = self._file.with_name(f"{self._file.name}.damaged-{time.time():.0f}")
            try:
                self._file.replace(aside)
            except OSError as error:
                why = f"{self._file} is damaged and can't be set aside ({error.strerror})."
                return Stored(problem=why, unknown=True)
            return self._restored(f"{self._file} was damaged ({reason}) and set aside as {aside.name}.", lock)
        if content != _content(self._copy):
            if lock is None:
                return self._read_locked() or replace(found, problem=note)
            with contextlib.suppress(OSError):
                _replace(self._copy, content)
        return replace(found, problem=note)

    def _read_locked(self) -> Stored | None:
        """The content, read again under the lock; None if the lock can't be had."""
        try:
            with self._locked(READER_SECONDS) as lock:
                return self._read(lock)
        except OSError:
            return None

    def _restored(self, note: str, lock: int | None) -> Stored:
        """The copy in place of the file; if there is none, nothing was ever saved, or it is lost."""
        content = _content(self._copy)
        try:
            found = None if content is None else _decoded(content)
        except (*checks.DAMAGE, _NewerFormat):
            found = None
        if found is None or content is None:
            lost = bool(note) or content is not None or _size(self._lock) == SAVED
            note = note or f"{self._file} is missing."
            why = f"{note} There is no good copy of it. Enter the connections again, or restore a backup."
            return Stored(problem=why if lost else "", unknown=lost)
        if lock is not None:
            with contextlib.suppress(OSError):
                _replace(self._file, content)
        was = note or f"{self._file} was missing."
        return replace(found, problem=f"{was} Its copy, revision {found.revision}, is used.")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _replace(path: Path, content: bytes) -> None:
    """Replaces a file, durably, readable by its owner only."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.draft")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:  # noqa: PTH123
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        files.sync_folder(str(path.parent))
    except OSError:
        draft.unlink(missing_ok=True)
        raise


class _NewerFormat(Exception):
    """A newer version wrote the file."""


_ENTRY = checks.record(
    id=checks.text, name=checks.text, kind=checks.text, values=lambda value: checks.typed(dict, value)
)


def _decoded(content: bytes) -> Stored:
    """The content of a file. Raises one of ``checks.DAMAGE``, or _NewerFormat."""
    found = checks.typed(dict, json.loads(content))
    if checks.whole(found["format"]) > FORMAT:
        raise _NewerFormat
    entries = tuple(_entry(one) for one in checks.items(_ENTRY)(found["connections"]))
    if len({entry.id for entry in entries}) < len(entries):
        raise ValueError("two connections have the same id")
    return Stored(
        entries,
        checks.whole(found["revision"]),
        checks.whole(found["next_number"]),
        frozenset(checks.items(checks.text)(found["retired"])),
        frozenset(checks.items(checks.text)(found["converted"])),
    )


def _entry(found: dict[str, Any]) -> Entry:
    state = found["state"]
    if state not in STATES:
        raise ValueError("a state is none of on, paused and off")
    return Entry(
        found["id"],
        found["name"],
        found["kind"],
        cast(State, state),
        found["values"],
        checks.time(found["off_since"]),
    )


def _encoded(stored: Stored) -> bytes:
    """The file's content. Lone surrogates, as in paths that aren't UTF-8, become escapes."""
    content = {
        "format": FORMAT,
        "revision": stored.revision,
        "next_number": stored.next_number,
        "connections": [
            {
                "id": entry.id,
                "name": entry.name,
                "kind": entry.kind,
                "state": entry.state,
                "off_since": entry.off_since,
                "values": dict(entry.values),
            }
            for entry in stored.entries
        ],
        "retired": sorted(stored.retired),
        "converted": sorted(stored.converted),
    }
    return json.dumps(content, indent=2).encode("ascii")
