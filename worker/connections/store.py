"""connections.json: the connections that the owner set up, with their secrets. Only this module reads and writes
it.

The file is replaced as a whole, and its revision grows by one. A writer names the revision that it started from,
so the second of two writers gets a conflict and nothing is lost. A copy of the last good file is kept beside it. A
damaged file is set aside, and the copy takes its place. All writing, repairs included, is done under a lock.
Reading a good file needs none.
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

from stash_courier.queue import checks
from stash_courier.queue.inbox import files, locks
from stash_courier.worker.connections.model import STATES, Entry, State

FORMAT = 1
SAVED = 1  # size of the lock file since something was saved: a file that is missing then was lost
EMPTYING_SECONDS = 60.0  # how long a program may take to empty the settings that it converted
LOCK_SECONDS = 10.0  # how long a writer waits for another; a write takes milliseconds
WRITTEN_SECONDS = 1.0  # a damaged file that is younger isn't set aside yet


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
    # Wall time at which the converted settings were emptied in Stash, or should be at the latest.
    emptied_at: float = 0.0
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

    def read(self) -> Stored:
        """The content. Never raises and never waits: what can't be read is in ``problem``.

        Costs one look at the file's entry in the folder while the file is unchanged.
        """
        seen = self._signature()
        if self._seen is None or seen != self._seen:
            self._seen = seen  # from before reading, so that a later write is noticed
            self._known = self._read(locked=False)
            if self._known.unknown:
                self._seen = None
        return self._known

    def change(self, revision: int, make: Callable[[Stored], Stored], *, wait: float = LOCK_SECONDS) -> Stored:
        """Replaces the content by what ``make`` makes of it, durably.

        Args:
            revision: the one that the change started from.
            make: returns the new content; its revision is set here. If it adds converted settings, call
                ``settings_emptied`` when Stash has them no more.
            wait: seconds for another writer to end.

        Raises:
            Conflict: the file has another revision.
            OSError: it can't be read or written; nothing has changed.
        """
        with self._locked(wait) as lock:
            now = self._read(locked=True)
            if now.unknown and self._file.exists():
                raise OSError(now.problem)
            if now.revision != revision:
                raise Conflict("somebody else saved at the same time")
            made = replace(make(now), revision=now.revision + 1)
            if made.converted != now.converted:
                made = replace(made, emptied_at=time.time() + EMPTYING_SECONDS)
            _replace(self._file, _encoded(made))
            os.truncate(lock, SAVED)
            self._seen = self._signature()
            self._known = self._read(locked=True)
            return self._known

    def settings_emptied(self) -> None:
        """Notes that Stash has the converted settings no more. If that can't be stored, the time limit counts."""
        with contextlib.suppress(Conflict, OSError):
            self.change(self.read().revision, lambda now: replace(now, emptied_at=time.time()))

    def _signature(self) -> object:
        try:
            found = self._file.stat()
        except OSError as error:
            return error.errno
        return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

    @contextlib.contextmanager
    def _locked(self, seconds: float) -> Iterator[int]:
        """Holds the lock. Raises OSError if another program holds it for this long."""
        give_up = time.monotonic() + seconds
        while (fd := locks.taken(str(self._lock))) is None:
            if time.monotonic() >= give_up:
                raise OSError(f"{self._lock} is held by another program")
            time.sleep(0.01)
        try:
            yield fd
        finally:
            os.close(fd)

    def _read(self, *, locked: bool) -> Stored:
        """The content. What must be written for it, a repair or the copy, is written under the lock."""
        found, content, wrong = None, None, ""
        try:
            found, content = self._look()
        except _Broken as error:
            wrong = str(error)
        else:
            if content is None or content == _content(self._copy):
                return found
        if not locked:
            try:
                with self._locked(0.0):
                    return self._read(locked=True)
            except OSError as error:
                if found is not None:
                    return found  # the copy can wait
                return Stored(problem=f"{self._file} {wrong} and can't be repaired ({error}).", unknown=True)
        if found is None or content is None:
            return self._repaired(wrong)
        with contextlib.suppress(OSError):
            _replace(self._copy, content)
        return found

    def _look(self) -> tuple[Stored, bytes | None]:
        """The content, also as bytes if it is good. Changes nothing.

        Raises:
            _Broken: the file must be repaired.
        """
        damaged = self._damaged()
        note = f"{damaged[-1]} was damaged and set aside; delete it when you have checked." if damaged else ""
        try:
            content = self._file.read_bytes()
            return replace(_decoded(content), problem=note), content
        except FileNotFoundError as error:
            if not damaged and not self._copy.exists() and not self._saved_before():
                return Stored(), None
            raise _Broken("was missing") from error
        except OSError as error:
            why = f"{self._file} can't be read ({error.strerror}). Check its owner and permissions."
        except _NewerFormat:
            why = f"{self._file} was written by a newer version. Install that version again."
        except checks.DAMAGE as error:
            reason = str(error) if isinstance(error, ValueError | TypeError) else "a part is missing"
            if not self._is_new():
                raise _Broken(f"was damaged ({reason})") from error
            why = f"{self._file} is damaged ({reason}), or a program is just writing it."
        return Stored(problem=why, unknown=True), None

    def _repaired(self, wrong: str) -> Stored:
        """Sets the file aside if there is one, and puts the copy in its place. Needs the lock."""
        if self._file.exists():
            aside = self._file.with_name(f"{self._file.name}.damaged-{time.time():.0f}")
            try:
                self._file.replace(aside)
            except OSError as error:
                why = f"{self._file} {wrong} and can't be set aside ({error.strerror})."
                return Stored(problem=why, unknown=True)
            wrong += f" and set aside as {aside.name}"
        content = _content(self._copy)
        try:
            found = _decoded(content or b"")
        except (*checks.DAMAGE, _NewerFormat):
            why = f"{self._file} {wrong}. There is no good copy of it. Restore a backup or enter all again."
            # Which ids were used is lost, too, and something may wait for those.
            return Stored(next_number=int(time.time()), problem=why, unknown=True)
        with contextlib.suppress(OSError):
            _replace(self._file, content or b"")
        self._seen = self._signature()
        return replace(found, problem=f"{self._file} {wrong}. Its copy, revision {found.revision}, is used.")

    def _is_new(self) -> bool:
        """Whether the file may still be written, as by a person who copies a backup or uses an editor."""
        try:
            return abs(time.time() - self._file.stat().st_mtime) < WRITTEN_SECONDS
        except OSError:
            return True

    def _saved_before(self) -> bool:
        try:
            return self._lock.stat().st_size == SAVED
        except OSError:
            return False

    def _damaged(self) -> list[str]:
        """Names of the files that were set aside, oldest first."""
        return sorted(path.name for path in self._file.parent.glob(f"{self._file.name}.damaged-*"))


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _replace(path: Path, content: bytes) -> None:
    """Replaces a file, durably, readable by its owner only. Needs the lock."""
    draft = path.with_name(f"{path.name}.draft")
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


class _Broken(Exception):
    """The file is missing or damaged. The message says which, and follows the file's name."""


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
        checks.time(found.get("emptied_at", 0.0)),
    )


def _entry(found: dict[str, Any]) -> Entry:
    state = found["state"]
    if state not in STATES:
        raise ValueError("a state is unknown")
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
        "emptied_at": stored.emptied_at,
    }
    return json.dumps(content, indent=2).encode("ascii")
