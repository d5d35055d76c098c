"""A view answers soon, whichever process holds a lock."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from stash_courier.plugin import tasks
from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.inbox import files, locks
from stash_courier.queue.jobs import Delivery
from tests import ROOT


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with a queue and one dead letter that was never shown."""
    with closing(SceneQueue(tmp_path)), closing(DeadLetterQueue(tmp_path)) as dlq:
        dlq.add(Delivery(1, "webhook:nas", 1, "update", (), 1, 1.0), ValueError("It failed."), 1)
    return tmp_path


def seconds(data: Path, mode: str, **args: object) -> float:
    """How long a view takes to answer."""
    began = time.monotonic()
    assert "version" in tasks.run(mode, {"mode": mode, **args}, str(data), str(ROOT))
    return time.monotonic() - began


@pytest.mark.parametrize("mode", ["badge", "overview", "outcomes"])
def test_while_the_queue_is_replaced(data: Path, mode: str) -> None:
    """A repair or an upgrade may take minutes."""
    gate = locks.taken(str(data / files.GATE))
    assert gate is not None
    assert seconds(data, mode) < 5.0
    os.close(gate)


@pytest.mark.parametrize(("mode", "args"), [("dead_letters", {}), ("dead_letter", {"ids": [1]})])
def test_while_dead_letters_are_written(data: Path, mode: str, args: dict[str, object]) -> None:
    """That a row was shown is noted later."""
    with closing(sqlite3.connect(data / files.DLQ_DB, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        assert seconds(data, mode, **args) < 1.5
        holder.execute("ROLLBACK")
