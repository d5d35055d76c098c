"""The task "Show status" and the page's overview when something is missing or broken, and pause and resume."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from unittest.mock import Mock

import pytest

from stash_courier.plugin.errors import BadInputError
from stash_courier.queue import control
from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.failures import Failure
from stash_courier.queue.inbox import files, locks, schema, spool
from stash_courier.worker import heartbeat, process
from stash_courier.worker.connections.model import Entry
from stash_courier.worker.delivery.breaker import Health
from tests.support import connections
from tests.support.press import HOOK, bury, press, refusal, report

MUST = '"Sweep, minutes between two" must be a number.'
ENTRY = Entry(
    "jellyfin-1", "Living room", "jellyfin", values={"url": "http://nas:8096", "key": "0123456789abcdef"}
)


def noted(folder: Path, **notes: object) -> None:
    """Stores what the worker notes for people, by key in upper case."""
    with closing(SceneQueue(folder)) as queue:
        for key, value in notes.items():
            control.put(queue.connection, getattr(control, key), value)


def held(folder: Path) -> None:
    """Stores a connection that is held up, and one of Stash's page."""
    connections.store(folder, ENTRY)
    with closing(SceneQueue(folder)) as queue:
        ill = Health("ill", "unreachable", "no answer", until=time.time() + 60)
        control.put_state(queue.connection, ENTRY.id, asdict(ill))
        control.put_state(queue.connection, HOOK, asdict(Health(last_success=time.time() - 100)))


def damage(folder: Path, name: str) -> None:
    """Makes a database that is none."""
    (folder / name).write_bytes(b"no database at all" * 100)


def newer(folder: Path, name: str) -> None:
    """Makes a queue.db or dlq.db of a newer plugin."""
    with closing(sqlite3.connect(folder / name)) as conn:
        conn.execute(f"PRAGMA user_version = {schema.VERSION + 90}")


def test_a_fresh_install_makes_no_files(tmp_path: Path) -> None:
    """Without a queue, dead letters or Stash both say what they can and create no file."""
    lines = report(tmp_path, "status")
    assert any(line.startswith("Stash: not available.") and files.STASH in line for line in lines)
    assert any("no change of a scene has arrived yet" in line for line in lines)
    assert lines[-1] == "Dead letters: 0."
    overview = press(tmp_path, "overview")
    assert (overview["connections"], overview["dead_letters"], overview["inbox"]) == ([], 0, 0)
    assert [one["text"].split(".")[0] for one in overview["banners"]] == ["Stash: not available"]
    assert press(tmp_path, "badge")["count"] == 0
    assert not list(tmp_path.glob("*.db"))


@pytest.mark.parametrize("name", [files.QUEUE_DB, files.DLQ_DB])
@pytest.mark.parametrize(
    ("broken", "said", "action"),
    [(damage, 'Press "Restart"', "restart_worker"), (newer, "schema version", None)],
)
def test_a_database_that_cannot_be_read_leaves_the_rest(
    broken: Callable[[Path, str], None], said: str, action: str | None, name: str, tmp_path: Path
) -> None:
    """Status, overview and badge show what can be read, say what can't and what to do, and change no file."""
    held(tmp_path)
    bury(tmp_path, 1, Failure.BUG)
    broken(tmp_path, name)
    before = (tmp_path / name).read_bytes()
    (line,) = [line for line in report(tmp_path, "status") if line.startswith(name)]
    assert said in line
    overview = press(tmp_path, "overview")
    (banner,) = [one for one in overview["banners"] if name in one["text"]]
    assert (banner["status"], banner["action"] and banner["action"]["do"]) == ("fail", action)
    assert "Living room" in {one["name"] for one in overview["connections"]}
    assert overview["dead_letters"] == (1 if name == files.QUEUE_DB else 0)
    assert press(tmp_path, "status")["dead_letters"]["total"] == (1 if name == files.QUEUE_DB else None)
    assert name in press(tmp_path, "badge")["text"]
    other = "resume" if name == files.QUEUE_DB else "review_dead_letters"
    assert said in refusal(tmp_path, other)
    assert (tmp_path / name).read_bytes() == before


@pytest.mark.parametrize("mode", ["overview", "outcomes"])
def test_an_answer_does_not_wait_for_a_repair(mode: str, tmp_path: Path) -> None:
    """A repair may take minutes: each answers while another process holds the gate, and says so."""
    held(tmp_path)
    gate = locks.taken(str(tmp_path / files.GATE))
    assert gate is not None
    try:
        assert "is being" in json.dumps(press(tmp_path, mode))  # the test's time limit is the proof
    finally:
        os.close(gate)


@pytest.mark.parametrize(("mode", "args"), [("dead_letters", {}), ("dead_letter", {"ids": [1]})])
def test_a_view_does_not_wait_for_a_writer(mode: str, args: dict[str, object], tmp_path: Path) -> None:
    """That a dead letter was shown is noted later, so a process that writes delays no answer."""
    bury(tmp_path, 1, Failure.BUG)
    with closing(sqlite3.connect(tmp_path / files.DLQ_DB, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        assert "problem" not in press(tmp_path, mode, **args)


DEEP = "[" * 500 + "]" * 500


@pytest.mark.parametrize("cell", [b"\xff", "{", "1e999", "[" * 10**5, "5", '"x"', "[5]", '{"a": 1}', DEEP])
def test_a_stored_value_of_any_form_breaks_no_answer(tmp_path: Path, cell: str | bytes) -> None:
    """What can't be decoded counts as not set and all else is shown; of the wrong form, it is one sentence."""
    held(tmp_path)
    with closing(SceneQueue(tmp_path)) as queue:
        queue.connection.execute("INSERT INTO destinations VALUES ('plex', ?)", (cell,))
        keys = [value for name, value in vars(control).items() if name.isupper() and isinstance(value, str)]
        queue.connection.executemany("INSERT OR REPLACE INTO control VALUES (?, ?)", ((key, cell) for key in keys))
    (tmp_path / "queue.db.damaged-1").touch()
    note = cell if isinstance(cell, bytes) else cell.encode()
    beat = f'{{"pid": 1, "version": "1", "started_at": {cell!s}, "heartbeat_at": {cell!s}}}'
    lock = process.hold(str(tmp_path))
    assert lock is not None
    try:
        for content in (note, beat.encode()):
            (tmp_path / files.WORKER_STATUS).write_bytes(content)
            for mode in ("overview", "badge", "status"):
                try:
                    answer = press(tmp_path, mode)
                except BadInputError as error:
                    answer = {"problem": str(error)}
                usable = not isinstance(cell, bytes) and cell not in {"{", "1e999", "[" * 10**5}
                assert usable or "problem" not in answer
                assert "problem" not in answer or files.QUEUE_DB in answer["problem"]
    finally:
        os.close(lock)


@pytest.mark.parametrize("mode", ["expedite", "retry_dead_letters"])
def test_a_mode_that_can_start_no_worker_says_why(
    tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no worker can run, the answer is the sentence that says why."""
    bury(tmp_path, 1, Failure.BUG)
    monkeypatch.setattr(process, "start", Mock(side_effect=process.NoWorkerHere("Python 3.11 is needed.")))
    said = press(tmp_path, mode)["problem"] if mode == "expedite" else refusal(tmp_path, mode)
    assert said == "Python 3.11 is needed."


def test_what_the_worker_last_knew_counts_without_stash(tmp_path: Path) -> None:
    """While Stash can't be asked, connections and problems of its page are those last known."""
    held(tmp_path)
    noted(tmp_path, PROBLEMS=[["", "worker_sweep_minutes", MUST], ["plex", "key", "It is empty."]])
    noted(tmp_path, UNSEEN="5 dead letters will be deleted soon.")
    bury(tmp_path, 1, Failure.BUG, destination=ENTRY.id)
    bury(tmp_path, 2, Failure.BUG)
    answer, lines = press(tmp_path, "status"), report(tmp_path, "status")
    assert {one["id"]: one["state"] for one in answer["destinations"]} == {ENTRY.id: "held", HOOK: "well"}
    assert [one["message"] for one in answer["problems"]] == [MUST, "It is empty."]
    assert {MUST, "plex: It is empty.", "5 dead letters will be deleted soon."} <= {*lines}
    assert lines[-1].startswith("Dead letters: 2 (")
    assert "Living room: 1" in lines[-1]
    assert lines[-1].endswith('Press "Review dead letters".')
    badge = press(tmp_path, "badge")
    assert (badge["count"], badge["down"]) == (3, ["Living room"])
    assert badge["text"] == "Dead letters: 2. Held up: Living room."


def test_what_concerns_everything_is_said_in_both(tmp_path: Path) -> None:
    """A pause, the spool, a worker that doesn't run although something waits: each with what to do."""
    with closing(SceneQueue(tmp_path)) as queue:
        queue.put({"scene": 5, "event": "update", "changed": [], "at": time.time()})
    at = time.time() - 50.0
    noted(tmp_path, PAUSED=at, DISABLED=True, UNSEEN="Dead letters will be deleted.")
    spool.put(str(tmp_path), b"{}")
    overview, lines = press(tmp_path, "overview"), report(tmp_path, "status")
    banners = {one["text"].partition(".")[0]: one for one in overview["banners"]}
    assert banners["Deliveries: paused"]["action"] == {"do": "resume", "label": "Resume deliveries"}
    assert banners["Deliveries: paused"]["since"] == overview["paused_since"] == at
    for begin in (
        "Deliveries: paused",
        "Worker: not running, but deliveries wait",
        "Changes outside the queue: 1",
        "Dead letters will be deleted",
    ):
        assert begin in banners
        assert any(line.startswith(begin) for line in lines)
    assert any("STASH_COURIER_WORKER=off" in line and "main.py worker" in line for line in lines)


def test_what_an_ended_worker_knew_of_stash_is_not_said(tmp_path: Path) -> None:
    """That a worker could not reach Stash is not said after this worker has ended."""
    noted(tmp_path, STASH={"since": time.time() - 50, "reason": "no answer at all"})
    assert not any("no answer at all" in line for line in report(tmp_path, "status"))


def test_a_repair_is_mentioned_while_the_damaged_file_is_kept(tmp_path: Path) -> None:
    """A repair is mentioned until the owner deletes the damaged file."""
    noted(tmp_path, REPAIRED="queue.db was damaged.")
    aside = tmp_path / "queue.db.damaged-20260101-000000"
    aside.touch()
    assert press(tmp_path, "status")["notices"] == ["queue.db was damaged."]
    aside.unlink()
    assert press(tmp_path, "status")["notices"] == []


@pytest.mark.parametrize(
    "note",
    ["", "5", '"x"', "{", '{"pid": 5}'],
)
def test_a_damaged_worker_json_counts_as_missing(tmp_path: Path, note: str) -> None:
    """Whatever is in worker.json, status reports whether a worker runs, and nothing false about it."""
    lock = process.hold(str(tmp_path))
    assert lock is not None
    try:
        (tmp_path / "worker.json").write_text(note)
        assert "Worker: running." in report(tmp_path, "status")
        found = press(tmp_path, "status")["worker"]
    finally:
        os.close(lock)
    assert found.pop("running") is True
    assert set(found.values()) == {None}


def test_the_heartbeat_of_the_worker_before_says_nothing(tmp_path: Path) -> None:
    """A worker that has just started isn't late, even if it got the same pid. One that hangs is."""
    status = tmp_path / files.WORKER_STATUS

    def age() -> None:
        status.write_text(json.dumps({**json.loads(status.read_text()), "heartbeat_at": time.time() - 3600.0}))

    def late() -> bool:
        """Whether page and status both call it late."""
        page, lines = map(str, (press(tmp_path, "overview"), report(tmp_path, "status")))
        assert ("heartbeat is late" in page) == ("heartbeat is late" in lines)
        return "heartbeat is late" in page

    heartbeat.beat(tmp_path, time.time() - 7200.0)
    age()
    lock = process.hold(str(tmp_path))
    assert lock is not None
    try:
        assert not late()
        heartbeat.beat(tmp_path, time.time())
        assert not late()
        age()
        assert late()
    finally:
        os.close(lock)


def test_pause_lasts_until_resume(tmp_path: Path) -> None:
    """A second pause keeps the first one's time; resume ends it and tells what waits."""
    first = press(tmp_path, "pause")["paused_since"]
    assert press(tmp_path, "pause")["paused_since"] == first
    assert press(tmp_path, "status")["paused_since"] == first
    assert press(tmp_path, "resume") == {"waiting": 0}
    assert press(tmp_path, "status")["paused_since"] is None


def test_no_worker_is_started_where_it_is_forbidden(tmp_path: Path) -> None:
    """With STASH_COURIER_WORKER=off "Restart" says so, and how to run a worker."""
    assert press(tmp_path, "restart_worker")["started"] is False
    (line,) = report(tmp_path, "restart_worker")
    assert "STASH_COURIER_WORKER=off" in line
    assert "main.py worker" in line
    assert press(tmp_path, "stop_worker") == {"stopped": False, "running": False}
