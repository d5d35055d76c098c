"""The buttons "Show status", pause, resume, stop and restart when something is missing or broken."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from stash_courier.queue import control
from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.failures import Failure
from stash_courier.queue.history import ledger
from stash_courier.queue.history.ledger import Sent
from stash_courier.queue.inbox import files, schema, spool
from stash_courier.worker import heartbeat, process
from tests.support.press import HOOK, bury, press, refusal

MUST = '"Sweep, minutes between two" must be a number.'


def test_status_of_a_fresh_install_makes_no_files(tmp_path: Path) -> None:
    """Without a queue, dead letters or Stash, status still reports what it can and creates no file."""
    answer = press(tmp_path, "status")
    assert answer["worker"]["running"] is False
    assert any(line.startswith("Stash: not available.") and files.STASH in line for line in answer["lines"])
    assert any("no change of a scene has arrived yet" in line for line in answer["lines"])
    assert not (tmp_path / files.QUEUE_DB).exists()
    assert not (tmp_path / files.DLQ_DB).exists()


def test_status_names_a_damaged_queue(tmp_path: Path) -> None:
    """A damaged queue is reported with what to do, and dead letters are shown anyway."""
    bury(tmp_path, 1, Failure.BUG)
    (tmp_path / files.QUEUE_DB).write_bytes(b"no database at all" * 100)
    answer = press(tmp_path, "status")
    assert "damaged" in answer["queue"]
    assert '"Restart the worker"' in answer["queue"]
    assert answer["queue"] in answer["lines"]
    assert answer["dead_letters"]["total"] == 1
    assert not any("nothing waits" in line for line in answer["lines"])


@pytest.mark.parametrize("note", ["", "[]", "{}"])
def test_a_damaged_worker_json_counts_as_missing(tmp_path: Path, note: str) -> None:
    """Whatever is in worker.json, status reports whether a worker runs, and nothing false about it."""
    lock = process.hold(str(tmp_path))
    assert lock is not None
    try:
        (tmp_path / "worker.json").write_text(note)
        answer = press(tmp_path, "status")
    finally:
        os.close(lock)
    assert "Worker: running. It has not reported yet." in answer["lines"]
    assert answer["worker"] == {
        "running": True,
        "pid": None,
        "version": None,
        "started_at": None,
        "heartbeat_at": None,
    }


def test_the_heartbeat_of_the_worker_before_says_nothing(tmp_path: Path) -> None:
    """A worker that has just started isn't late, even if it got the same pid. One that hangs is."""
    status = tmp_path / files.WORKER_STATUS

    def age() -> None:
        status.write_text(json.dumps({**json.loads(status.read_text()), "heartbeat_at": time.time() - 3600.0}))

    def seen() -> tuple[bool, bool]:
        """Whether a worker runs, and whether page and status both call it late."""
        found, said = press(tmp_path, "overview"), press(tmp_path, "status")["lines"]
        late = [any("heartbeat is late" in text for text in texts) for texts in (said, map(str, found["banners"]))]
        assert late[0] == late[1]
        return found["worker"]["running"], late[0]

    heartbeat.beat(tmp_path, time.time() - 7200.0)
    age()
    lock = process.hold(str(tmp_path))
    assert lock is not None
    try:
        assert seen() == (True, False)
        heartbeat.beat(tmp_path, time.time())
        assert seen() == (True, False)
        age()
        assert seen() == (True, True)
    finally:
        os.close(lock)


def test_status_counts_what_was_left_alone(tmp_path: Path) -> None:
    """Each note of a destination is a line of its own, with the number of scenes and what to do."""
    with closing(SceneQueue(tmp_path)) as queue:
        control.put_state(queue.connection, "plex", {})
        for scene in range(1, 4):
            notes = frozenset({"shared_item"} if scene > 1 else {"locked_item"})
            ledger.write(queue.connection, Sent("plex", scene, 1, "", 1.0, "/a", "sent", None, notes))
    answer = press(tmp_path, "status")
    (line,) = [line for line in answer["lines"] if "version or part of another item" in line]
    assert line.startswith("plex: Scenes that weren't written, because ")
    assert ": 2 (2, 3). " in line
    assert answer["destinations"][0]["notes"] == {
        "locked_item": {"count": 1, "scenes": [1]},
        "shared_item": {"count": 2, "scenes": [2, 3]},
    }


def test_status_leaves_the_queue_of_a_newer_version_alone(tmp_path: Path) -> None:
    """After a downgrade status says what is wrong, and no button changes the file."""
    SceneQueue(tmp_path).close()
    conn = sqlite3.connect(tmp_path / files.QUEUE_DB)
    conn.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    conn.close()
    before = (tmp_path / files.QUEUE_DB).read_bytes()
    assert "schema version" in press(tmp_path, "status")["queue"]
    assert "schema version" in refusal(tmp_path, "pause")
    assert (tmp_path / files.QUEUE_DB).read_bytes() == before


def test_other_buttons_say_how_to_repair_a_damaged_queue(tmp_path: Path) -> None:
    """A button that needs a damaged queue says how to repair it."""
    (tmp_path / files.QUEUE_DB).write_bytes(b"no database at all" * 100)
    assert '"Restart the worker"' in refusal(tmp_path, "resume")


def test_status_without_stash_shows_what_the_worker_knew(tmp_path: Path) -> None:
    """While Stash can't be asked, destinations and problems with settings are those last known."""
    queue = SceneQueue(tmp_path)
    control.put_state(queue.connection, HOOK, {"state": "well", "last_success": time.time() - 100})
    control.put(
        queue.connection, control.PROBLEMS, [["", "worker_sweep_minutes", MUST], ["plex", "key", "It is empty."]]
    )
    control.put(queue.connection, control.UNSEEN, "5 dead letters will be deleted soon.")
    queue.close()
    answer = press(tmp_path, "status")
    assert [one["id"] for one in answer["destinations"]] == [HOOK]
    assert answer["problems"] == [
        {"connection": "", "field": "worker_sweep_minutes", "message": MUST},
        {"connection": "plex", "field": "key", "message": "It is empty."},
    ]
    assert MUST in answer["lines"]
    assert "plex: It is empty." in answer["lines"]
    assert "5 dead letters will be deleted soon." in answer["lines"]


def test_a_repair_is_mentioned_while_the_damaged_file_is_kept(tmp_path: Path) -> None:
    """A repair is mentioned until the owner deletes the damaged file."""
    queue = SceneQueue(tmp_path)
    control.put(queue.connection, control.REPAIRED, "queue.db was damaged.")
    queue.close()
    aside = tmp_path / "queue.db.damaged-20260101-000000"
    aside.touch()
    assert "queue.db was damaged." in press(tmp_path, "status")["notices"]
    aside.unlink()
    assert press(tmp_path, "status")["notices"] == []


def test_what_an_ended_worker_knew_of_stash_is_not_shown(tmp_path: Path) -> None:
    """That a worker could not reach Stash is not shown after this worker has ended."""
    queue = SceneQueue(tmp_path)
    control.put(queue.connection, control.STASH, {"since": time.time() - 50, "reason": "no answer"})
    queue.close()
    assert not any("no answer" in line for line in press(tmp_path, "status")["lines"])


def test_changes_outside_the_queue_are_counted(tmp_path: Path) -> None:
    """Status counts the changes in the spool tmp_path."""
    spool.put(str(tmp_path), b"{}")
    answer = press(tmp_path, "status")
    assert answer["spool"] == 1
    assert not any("nothing waits" in line for line in answer["lines"])
    assert any(line.startswith("Changes outside the queue: 1.") for line in answer["lines"])


def test_status_says_dead_letters_in_words(tmp_path: Path) -> None:
    """Status shows how many deliveries failed permanently, where and why, in words."""
    bury(tmp_path, 1, Failure.ITEM_REFUSED)
    bury(tmp_path, 2, Failure.NOT_THERE_YET, destination="plex")
    assert (
        f'Dead letters: 2 ({HOOK}, refused: 1; plex, not found yet: 1). Press "Review dead letters".'
        in press(tmp_path, "status")["lines"]
    )


def test_pause_lasts_until_resume(tmp_path: Path) -> None:
    """A second pause keeps the first one's time; resume ends it and reports what waits."""
    first = press(tmp_path, "pause")["paused_since"]
    assert press(tmp_path, "pause")["paused_since"] == first
    assert press(tmp_path, "status")["paused_since"] == first
    answer = press(tmp_path, "resume")
    assert answer["was_paused_since"] == first
    assert answer["lines"][0].startswith("Deliveries: resumed (paused for ")
    assert answer["lines"][0].endswith(" s). Waiting: 0.")
    assert press(tmp_path, "status")["paused_since"] is None


def test_no_worker_is_started_where_it_is_forbidden(tmp_path: Path) -> None:
    """With STASH_COURIER_WORKER=off the buttons say so, and how to run a worker."""
    answer = press(tmp_path, "restart_worker")
    assert answer["started"] is False
    (line,) = answer["lines"]
    assert "STASH_COURIER_WORKER=off" in line
    assert "main.py worker" in line
    assert press(tmp_path, "stop_worker")["lines"] == ["Worker: not running."]
