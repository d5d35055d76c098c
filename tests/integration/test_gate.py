"""The gate under load: a repair or an upgrade gets its turn however many hooks overlap."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from stash_courier.queue import repair
from stash_courier.queue.inbox import files, locks, store
from tests.support.durable import START

HOOKS = 12


def test_a_repair_gets_its_turn_among_hooks_that_overlap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hooks of which one always has the queue open don't keep the worker from replacing it, and lose nothing."""
    data = store.encode({"scene": 1, "event": "update", "changed": [], "at": START})
    store.put(str(tmp_path), data, START)
    worker = locks.taken(str(tmp_path / files.WORKER_LOCK))
    assert worker is not None
    stop, opened = threading.Event(), threading.Event()

    def hooks() -> None:
        while not stop.is_set():
            try:
                conn, gate = store.open_queue(str(tmp_path), 5.0)
            except store.QueueUnavailable:
                stop.wait(0.02)  # no hook takes less
                continue
            opened.set()
            stop.wait(0.02)
            conn.close()
            os.close(gate)

    threads = [threading.Thread(target=hooks) for _ in range(HOOKS)]
    for thread in threads:
        thread.start()
    try:
        assert opened.wait(10.0)
        monkeypatch.setattr(repair, "GATE_SECONDS", 10.0)
        os.close(repair.gate_alone(tmp_path))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        os.close(worker)
    store.put(str(tmp_path), data, START)
