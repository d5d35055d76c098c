"""Reads system calls on a folder from strace output, and rebuilds the folder as a power cut may leave it.

Bytes of a file are durable once the file was synced, and a name once its folder was. Of all later writes any
sectors may survive, and of all later changes of names any prefix, since file systems write those in order.
"""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

SECTOR = 512  # bytes that a disk writes atomically
CALLS = "openat,write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,ftruncate,mkdir,mkdirat"
STRACE = ("strace", "-ff", "-ttt", "-T", "-y", "-xx", "-s", "9999999", "--seccomp-bpf", "-e", f"trace={CALLS}")

_LINE = re.compile(r"^(\d+\.\d+) (\w+)\((.*)\) += (-?\d+)(<[^>]*>)?.*?(?:<(\d+\.\d+)>)?$")
_FD = re.compile(r"^(?:-?\d+|AT_FDCWD)<((?:\\x[0-9a-f]{2}|[^>])*)>")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')


@dataclass(frozen=True)
class Op:
    """One system call that changed something or made it durable."""

    kind: Literal["make", "write", "truncate", "sync", "rename", "unlink", "mkdir", "say"]
    began: float  # wall time
    ended: float
    pid: int
    path: str = ""
    to: str = ""  # of a rename
    data: bytes = b""
    offset: int = -1  # -1: after the previous write to this open file
    size: int = 0


def read(prefix: Path) -> list[Op]:
    """All calls of all processes, in the order they began."""
    ops: list[Op] = []
    for file in prefix.parent.glob(prefix.name + ".*"):
        pid = int(file.suffix[1:])
        with file.open(encoding="latin-1") as lines:
            for line in lines:
                ops += _ops(pid, line)
    return sorted(ops, key=lambda op: op.began)


def _ops(pid: int, line: str) -> Iterator[Op]:
    found = _LINE.match(line.rstrip("\n"))
    if found is None or int(found[4]) < 0:
        return
    began, name, given, result = float(found[1]), found[2], found[3], int(found[4])
    ended = began + float(found[6] or 0)
    strings = [_bytes(text) for text, _ in _STRING.findall(given)]
    handle = _FD.match(given)
    path = _bytes(handle[1]).decode("utf-8", "surrogateescape") if handle else ""
    names = (
        [text.decode("utf-8", "surrogateescape") for text in strings] if name not in {"write", "pwrite64"} else []
    )
    if name == "openat" and "O_CREAT" in given:
        yield Op("make", began, ended, pid, names[0])
        if "O_TRUNC" in given:
            yield Op("truncate", began, ended, pid, names[0])
    elif name == "pwrite64":
        yield Op("write", began, ended, pid, path, data=strings[0][:result], offset=int(given.rsplit(", ", 1)[1]))
    elif name == "write":
        kind: Literal["write", "say"] = "write" if path.startswith("/") else "say"
        yield Op(kind, began, ended, pid, path, data=strings[0][:result])
    elif name == "ftruncate":
        yield Op("truncate", began, ended, pid, path, size=int(given.rsplit(", ", 1)[1]))
    elif name in {"fsync", "fdatasync"}:
        yield Op("sync", began, ended, pid, path)
    elif name.startswith("rename"):
        yield Op("rename", began, ended, pid, names[0], names[1])
    elif name.startswith("unlink"):
        yield Op("unlink", began, ended, pid, names[0])
    elif name.startswith("mkdir"):
        yield Op("mkdir", began, ended, pid, names[0])


def _bytes(text: str) -> bytes:
    if not text.startswith("\\x"):
        return text.encode("latin-1")
    return bytes.fromhex(text.replace("\\x", ""))


@dataclass
class _File:
    """The durable bytes of a file, and its later changes."""

    durable: bytearray = field(default_factory=bytearray)
    since: list[Op] = field(default_factory=list)  # writes with their offsets, truncations
    end: int = 0  # where the next write without an offset goes


class Disk:
    """The folder with its durable and its later state, while calls happen one after another.

    Args:
        folder: only calls on paths below it count; it exists and is empty at first.
    """

    def __init__(self, folder: Path) -> None:
        self._root = str(folder) + "/"
        self._names: dict[str, _File | None] = {}  # as programs see them; None for a folder
        self._durable: dict[str, _File | None] = {}
        self._since: list[tuple[Op, _File | None]] = []  # changes of names that are not durable
        self._syncs: list[tuple[float, Op, int, int]] = []

    def happen(self, op: Op) -> None:
        """Applies one call."""
        path = op.path
        if not f"{path}/".startswith(self._root) or path.endswith("-shm"):
            return  # SQLite creates the -shm file again
        if op.kind == "make":
            if path not in self._names:
                self._rename_or_make(op, _File())
        elif op.kind in {"mkdir", "rename", "unlink"}:
            self._rename_or_make(op, None)
        elif op.kind in {"write", "truncate"}:
            self._change(op)
        elif op.kind == "sync":
            self._sync(op)

    def _rename_or_make(self, op: Op, made: _File | None) -> None:
        self._since.append((op, made))
        _name(self._names, op, made)

    def _change(self, op: Op) -> None:
        file = self._names.get(op.path)
        if file is None:
            return  # unlinked while it was open
        if op.kind == "write":
            offset = file.end if op.offset < 0 else op.offset
            file.end = offset + len(op.data)
            op = Op("write", op.began, op.ended, op.pid, op.path, data=op.data, offset=offset)
        file.since.append(op)

    def _sync(self, op: Op) -> None:
        """Makes everything durable that had ended before this call began."""
        file = self._names.get(op.path)
        if file is None:  # a folder: its names are durable up to here
            folder = op.path.rstrip("/")
            durable = [n for n, (change, _) in enumerate(self._since) if _folder(change) == folder]
            for change, made in self._since[: max(durable, default=-1) + 1]:
                _name(self._durable, change, made)
            del self._since[: max(durable, default=-1) + 1]
            return
        # Calls of the same thread are in order even if their rounded times overlap.
        later = [change for change in file.since if change.pid != op.pid and change.ended > op.began]
        for change in file.since:
            if all(change is not other for other in later):
                _apply(file.durable, change)
        file.since = later

    def cut(self, target: Path, rng: random.Random | None) -> None:
        """Writes the folder as a power cut at this moment may leave it.

        Without ``rng``, it is the worst cut: all names are as the programs left them, but no byte is there that
        wasn't synced.
        """
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        names = dict(self._durable)
        for change, made in self._since[: rng.randint(0, len(self._since)) if rng else None]:
            _name(names, change, made)
        for path, file in names.items():
            place = target / path.removeprefix(self._root)
            place.parent.mkdir(parents=True, exist_ok=True)
            if file is None:
                place.mkdir(exist_ok=True)
            else:
                place.write_bytes(_survivor(file, rng))


def _folder(op: Op) -> str:
    return (op.to or op.path).rpartition("/")[0]


def _name(names: dict[str, _File | None], op: Op, made: _File | None) -> None:
    if op.kind == "rename":
        if op.path in names:
            names[op.to] = names.pop(op.path)
    elif op.kind == "unlink":
        names.pop(op.path, None)
    else:
        names[op.path] = made


def _apply(content: bytearray, op: Op, sectors: Sequence[int] | None = None) -> None:
    if op.kind == "truncate":
        del content[op.size :]
        content.extend(bytes(op.size - len(content)))
        return
    end = op.offset + len(op.data)
    content.extend(bytes(max(0, end - len(content))))
    if sectors is None:
        content[op.offset : end] = op.data
        return
    for sector in sectors:
        low, high = max(op.offset, sector * SECTOR), min(end, (sector + 1) * SECTOR)
        content[low:high] = op.data[low - op.offset : high - op.offset]


def _survivor(file: _File, rng: random.Random | None) -> bytes:
    """The durable bytes, and with ``rng`` of each later change none, all or some sectors."""
    if rng is None:
        return bytes(file.durable)
    content = bytearray(file.durable)
    kept = rng.choice(("nothing", "all", "any", "any"))  # how much the disk wrote before the cut
    for change in file.since:
        if kept == "nothing" or (kept == "any" and rng.random() < 0.3):
            continue
        if change.kind == "truncate" or kept == "all" or rng.random() < 0.5:
            _apply(content, change)
            continue
        sectors = range(change.offset // SECTOR, -(-(change.offset + len(change.data)) // SECTOR))
        _apply(content, change, [sector for sector in sectors if rng.random() < 0.5])
    return bytes(content)
