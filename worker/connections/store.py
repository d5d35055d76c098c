"""connections.json: the connections that the owner set up, with their secrets. Only this module reads and writes
it.

The file is replaced as a whole, under a lock, and its revision grows by one. A writer names the revision that it
started from, so the second of two writers gets a conflict and nothing is lost. Reading needs no lock and never
writes. A file that can't be read is never overwritten: nothing is sent, and a person decides. The content before
the last change stays in connections.json.previous for that.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from stash_courier.queue.inbox import files, locks
from stash_courier.worker.connections.model import STATES, Entry

FORMAT = 1
LOCK_SECONDS = 10.0  # how long a writer waits for another; a write takes milliseconds
DAMAGE = (ValueError, TypeError, LookupError, AttributeError, RecursionError)  # what reading a bad file raises


class Conflict(Exception):
    """Another program saved since the revision that a change started from."""


@dataclass(frozen=True, slots=True)
class Stored:
    """The content of connections.json."""

    entries: tuple[Entry, ...] = ()
    revision: int = 0
    next_number: int = 1  # the lowest for the id of the next connection
    retired: frozenset[str] = frozenset()  # ids of deleted connections, never used again
    problem: str = ""  # why the file can't be read, in sentences

    @property
    def unknown(self) -> bool:
        """Whether the file can't be read, so that what the owner set up isn't known."""
        return bool(self.problem)

    def find(self, connection: str) -> Entry | None:
        """The connection with this id."""
        return next((entry for entry in self.entries if entry.id == connection), None)


class Store:
    """The file in one data folder."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / files.CONNECTIONS
        self._previous = folder / files.CONNECTIONS_PREVIOUS
        self._lock = folder / files.CONNECTIONS_LOCK
        self._signature: object = None  # of the file that was read last
        self._last = Stored()

    def read(self) -> Stored:
        """The content. Never raises, waits or writes: if the file can't be read, ``problem`` says why.

        Costs one look at the file's entry in the folder while the file is unchanged.
        """
        signature = self._look()
        if signature != self._signature or self._last.unknown:
            self._last = self._read()
            self._signature = signature  # from before reading, so that a later write is noticed
        return self._last

    def change(self, revision: int, make: Callable[[Stored], Stored], *, wait: float = LOCK_SECONDS) -> Stored:
        """Replaces the content by what ``make`` makes of it, durably.

        Args:
            revision: the one that the change started from.
            make: returns the new content; its revision is set here.
            wait: seconds for another writer to end.

        Raises:
            Conflict: the file has another revision.
            OSError: it can't be read or written; nothing has changed.
        """
        with self._locked(wait):
            now = self._read()
            if now.unknown:
                raise OSError(now.problem)
            if now.revision != revision:
                raise Conflict("another program saved at the same time")
            made = replace(make(now), revision=now.revision + 1)
            # In this order: while there is a previous content, a missing file is a lost one.
            _replace(self._file, _encoded(made))
            _replace(self._previous, _encoded(now))
        return self.read()

    def _look(self) -> object:
        try:
            found = self._file.stat()
        except OSError as error:
            return error.errno
        return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

    @contextlib.contextmanager
    def _locked(self, seconds: float) -> Iterator[None]:
        """Holds the lock. Raises OSError if another program holds it for this long."""
        give_up = time.monotonic() + seconds
        while (fd := locks.taken(str(self._lock))) is None:
            if time.monotonic() >= give_up:
                raise OSError(f"{self._lock} is held by another program")
            time.sleep(0.01)
        try:
            yield
        finally:
            os.close(fd)

    def _read(self) -> Stored:
        try:
            return _decoded(self._file.read_bytes())
        except FileNotFoundError:
            if not self._previous.exists():
                return Stored()  # nothing was ever saved
            why = "is missing"
        except OSError as error:
            why = f"{self._file} can't be read ({error.strerror}). Check its owner and permissions."
            return Stored(problem=why)
        except DAMAGE as error:
            why = f"is damaged or of another version ({error})"
        return Stored(
            problem=f"{self._file} {why}. Correct it, or copy {self._previous.name} over it, which is the content "
            "before the last change. To begin without connections, delete both."
        )


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


def _decoded(content: bytes) -> Stored:
    """The content of a file. Raises one of DAMAGE."""
    found = json.loads(content)
    if found["format"] != FORMAT:
        raise ValueError(f"its format is not {FORMAT}")
    entries = tuple(Entry(**one) for one in found["connections"])
    if len({entry.id for entry in entries}) < len(entries):
        raise ValueError("two connections have the same id")
    if any(entry.state not in STATES for entry in entries):
        raise ValueError("a state is unknown")
    if not all(isinstance(entry.values, dict) for entry in entries):
        raise ValueError("the values of a connection are no object")
    return Stored(entries, int(found["revision"]), int(found["next_number"]), frozenset(found["retired"]))


def _encoded(stored: Stored) -> bytes:
    """The file's content. Lone surrogates, as in paths that aren't UTF-8, become escapes."""
    connections = [asdict(entry) for entry in stored.entries]
    for one in connections:
        del one["from_settings"]
    content = {
        "format": FORMAT,
        "revision": stored.revision,
        "next_number": stored.next_number,
        "connections": connections,
        "retired": sorted(stored.retired),
    }
    return json.dumps(content, indent=2).encode("ascii")
