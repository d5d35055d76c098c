"""Runs modes and tasks in this process, where no worker may start, and makes dead letters for them."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from stash_courier.plugin import tasks
from stash_courier.plugin.errors import BadInputError
from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.inbox import files
from stash_courier.queue.jobs import Delivery
from tests import ROOT

HOOK = "webhook:nas:5678"  # a destination's id
SEQ = 1_700_000_000_000


def press(folder: Path, mode: str, **args: object) -> dict[str, Any]:
    """Runs a mode; the answer as Stash gets it."""
    with mock.patch.dict(os.environ, STASH_COURIER_WORKER="off"):
        found = tasks.run(mode, {"mode": mode, **args}, str(folder), str(ROOT))
    answer: dict[str, Any] = json.loads(json.dumps(found, allow_nan=False))
    return answer


def report(folder: Path, mode: str, **args: object) -> list[str]:
    """Runs a task; its lines in Stash's log, in the order in which they are read."""
    lines: list[str] = press(folder, mode, **args)["lines"]
    return lines


def refusal(folder: Path, mode: str, **args: object) -> str:
    """Runs a mode that fails; its message."""
    with pytest.raises(BadInputError) as caught:
        press(folder, mode, **args)
    return str(caught.value)


def bury(
    folder: Path,
    scene_id: int,
    failure: Failure,
    title: str = "",
    message: str = "",
    *,
    age_days: float = 0.0,
    **fields: Any,
) -> int:
    """Makes a dead letter of that age, of a delivery with these fields; its id."""
    at = time.time() - age_days * 86_400
    values = {"destination": HOOK, **fields}
    job = Delivery(1, scene_id=scene_id, event="update", changed=("title",), seq=SEQ + scene_id, at=at, **values)
    with closing(DeadLetterQueue(folder, clock=lambda: at)) as dlq:
        return dlq.add(job, DeliveryFailed(failure, message or f"{failure} it was"), 3, title=title)


def states(folder: Path) -> dict[int, str]:
    """The state of every dead letter, by scene id."""
    with closing(sqlite3.connect(folder / files.DLQ_DB)) as conn:
        return dict(conn.execute("SELECT scene_id, state FROM dead_letters").fetchall())


def reach(folder: Path, port: int) -> None:
    """Tells modes in this process where Stash is, as a call from Stash does."""
    folder.mkdir(exist_ok=True)
    place = {"scheme": "http", "host": "127.0.0.1", "port": port, "dir": "", "plugin_dir": ""}
    (folder / files.STASH).write_text(json.dumps({**place, "cookie": "", "at": time.time()}))
