"""The page after an update with another schema: until the worker has upgraded the files."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from stash_courier.queue.dead_letters import statements as dlq_statements
from stash_courier.queue.inbox import files, locks, schema
from stash_courier.worker.connections.model import Entry
from tests import ROOT
from tests.support.buttons import Buttons
from tests.support.harness import Courier, wait_until
from tests.support.press import press

SAYS = "The queue is being upgraded."


@pytest.fixture
def courier(tmp_path: Path) -> Iterator[Courier]:
    """A Stash whose plugin was updated: no worker runs, and both files have earlier schema versions."""
    with Courier(tmp_path, {}) as running:
        running.connect(Entry("hook", "My hook", "webhook", values={"url": "http://127.0.0.1:1/"}))
        old_files(running.data)
        yield running


def old_files(folder: Path) -> None:
    """Makes files of earlier versions."""
    for name, sample in ((files.QUEUE_DB, "queue-version-5.sql"), (files.DLQ_DB, "dlq-version-4.sql")):
        with closing(sqlite3.connect(folder / name)) as conn:
            conn.executescript((ROOT / "tests" / "samples" / sample).read_text("utf-8"))


def versions(folder: Path) -> list[int]:
    """The schema versions of both files."""
    found = []
    for name in (files.QUEUE_DB, files.DLQ_DB):
        with closing(sqlite3.connect(f"{(folder / name).as_uri()}?mode=ro", uri=True)) as conn:
            found.append(conn.execute("PRAGMA user_version").fetchone()[0])
    return found


@pytest.mark.parametrize(("mode", "where"), [("overview", "banners"), ("badge", "text"), ("outcomes", "problem")])
def test_a_view_starts_the_upgrade(courier: Courier, mode: str, where: str) -> None:
    """Without an edit: the view says once, as a warning, what happens, and then shows everything."""
    page = Buttons(courier.data.parent, courier.stash.config.port, worker=True)
    first = page.call(mode).output
    assert str(first[where]).count(SAYS) == 1
    assert "fail" not in [banner["status"] for banner in first.get("banners", []) if SAYS in banner["text"]]
    assert first.get("count", 0) == 0
    wait_until(lambda: SAYS not in str(page.call(mode).output), 10.0)
    assert versions(courier.data) == [schema.VERSION, dlq_statements.VERSION]
    assert courier.worker_runs


def test_while_the_upgrade_runs(tmp_path: Path) -> None:
    """The file can't be looked at then, which is no failure."""
    old_files(tmp_path)
    gate = locks.taken(str(tmp_path / files.GATE))
    assert gate is not None
    try:
        found, badge = press(tmp_path, "overview"), press(tmp_path, "badge")
    finally:
        os.close(gate)
    banner = next(one for one in found["banners"] if "queue" in one["text"])
    assert (banner["status"], banner["text"]) == ("warn", "The queue is being upgraded or repaired.")
    assert (badge["count"], badge["passes"]) == (0, True)


def test_where_no_worker_may_start(tmp_path: Path) -> None:
    """The page says what keeps the queue from being upgraded."""
    old_files(tmp_path)
    texts = [one["text"] for one in press(tmp_path, "overview")["banners"]]
    assert any(text.startswith("The queue waits for its upgrade. STASH_COURIER_WORKER=off") for text in texts)


def test_a_newer_version_is_a_failure(tmp_path: Path) -> None:
    """After a downgrade the sentence says what to do, and no worker is started."""
    old_files(tmp_path)
    for name in (files.QUEUE_DB, files.DLQ_DB):
        with closing(sqlite3.connect(tmp_path / name)) as conn:
            conn.execute("PRAGMA user_version = 99")
    banners = [one for one in press(tmp_path, "overview")["banners"] if "version 99" in one["text"]]
    assert [one["status"] for one in banners] == ["fail", "fail"]
    badge = press(tmp_path, "badge")
    assert (badge["count"], badge["passes"]) == (2, False)
