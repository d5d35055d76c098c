"""Connections for tests: parsed ones without a data folder, and stored ones in a data folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from stash_courier.worker.connections.model import Connection, Entry
from stash_courier.worker.connections.store import Store, Stored
from stash_courier.worker.destinations import configured
from stash_courier.worker.fields import Problem
from stash_courier.worker.settings import Settings

COMMON = Settings()


def connection(
    kind: str, values: Mapping[str, object], settings: Settings = COMMON, *, name: str = ""
) -> Connection:
    """A connection whose values have no problem. Its id is ``name``, or its kind."""
    found, wrong = configured(Entry(name or kind, name or kind, kind, values=values), settings)
    assert found is not None, wrong
    return found


def problems(kind: str, values: Mapping[str, object]) -> list[Problem]:
    """What is wrong with the values of a connection."""
    found, wrong = configured(Entry(kind, kind, kind, values=values), COMMON)
    assert (found is None) == bool(wrong)
    return wrong


def store(folder: Path, *entries: Entry) -> Stored:
    """Puts these connections into a data folder, in place of those with the same ids."""
    kept = Store(folder)
    ids = {entry.id for entry in entries}

    def add(stored: Stored) -> Stored:
        others = [entry for entry in stored.entries if entry.id not in ids]
        return replace(stored, entries=(*others, *entries))

    return kept.change(kept.read().revision, add)
