"""Upgrades databases of earlier schema versions in place.

A step leads from one version to the next. It is SQL that runs in one transaction with the change of the version,
so a kill or a power cut leaves the file in one version or in the other. Meanwhile the gate is held exclusively and
hooks write to the spool. A step never changes once it was released.

Only for the holder of the worker lock, with nothing of ours open.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from stash_courier.queue import repair
from stash_courier.queue.inbox import files, store
from stash_courier.queue.transactions import BUSY_SECONDS

log = logging.getLogger(__name__)

# For each file the steps in order; the first leads from version 1 to 2. There is none yet.
STEPS: Mapping[str, Sequence[str]] = {files.QUEUE_DB: (), files.DLQ_DB: ()}


def migrate(folder: Path) -> None:
    """Upgrades both files of a data folder to the versions that this plugin knows.

    Raises:
        store.QueueUnavailable: a file has a newer version, so none is changed, or a task button uses the queue.
        sqlite3.Error: a file is damaged or locked, or the disk is full; the file keeps its version.
    """
    versions = {name: _version(folder / name) for name in STEPS if (folder / name).exists()}
    for name, version in versions.items():
        if version > _newest(name):
            raise store.QueueUnavailable(store.other_version(str(folder / name), version, _newest(name)))
    older = [name for name, version in versions.items() if 0 < version < _newest(name)]
    if older:
        gate = repair.gate_alone(folder)
        try:
            for name in older:
                _upgrade(folder / name, versions[name])
        finally:
            os.close(gate)


def _newest(name: str) -> int:
    return len(STEPS[name]) + 1


def _version(path: Path) -> int:
    """The file's version; 0 if it isn't ours, which is reported when it is opened for use."""
    conn = store.connect(str(path), BUSY_SECONDS)
    try:
        return int(conn.execute("PRAGMA user_version").fetchone()[0])
    finally:
        store.close_untouched(conn, str(path))


def _upgrade(path: Path, version: int) -> None:
    with closing(store.connect(str(path), BUSY_SECONDS)) as conn:
        for number, step in enumerate(STEPS[path.name][version - 1 :], version + 1):
            conn.executescript(f"BEGIN IMMEDIATE; {step} PRAGMA user_version = {number}; COMMIT")
    log.info("%s upgraded from schema version %d to %d", path.name, version, _newest(path.name))
