"""The worker's chores on real files: when dead letters are deleted, and how the spool is read."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stash_courier.queue import control
from stash_courier.queue.dead_letters.dlq import DAY, DeadLetterQueue
from stash_courier.queue.history import ledger, receipts
from stash_courier.queue.history.ledger import Sent
from stash_courier.queue.inbox import files, store
from stash_courier.queue.jobs import Delivery
from stash_courier.worker.runtime import Runtime
from stash_courier.worker.stash.sweep import Sweep
from stash_courier.worker.troubles import Troubles
from tests import ROOT
from tests.standin.receivers import Held, Receiver
from tests.standin.stash.server import StandInStash
from tests.support.durable import Clock, event
from tests.support.harness import PLUGIN
from tests.support.transfers import ERROR, opened, route


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (data := tmp_path / "data").mkdir()
    return data


def bury(folder: Path, scene_id: int, age_days: float) -> int:
    """Adds a dead letter of that age."""
    with opened(folder) as both:
        route(both.queue, event(scene_id, "update", "title"))
        (delivery,) = both.claim()
        dlq = DeadLetterQueue(folder, clock=Clock(time.time() - age_days * DAY))
        dead_letter = dlq.add(delivery, ERROR, 1)
        dlq.close()
        with both.queue.transaction():
            both.queue.remove(delivery.row_id)
    return dead_letter


@pytest.fixture
def runtime(folder: Path) -> Iterator[Runtime]:
    with Runtime(folder) as running:
        running.dispatcher.registry.configure({"worker_sweep_off": True})
        yield running


def dead_letters(runtime: Runtime) -> list[int]:
    """Scenes of the open dead letters."""
    return sorted(dead_letter.scene_id for dead_letter in runtime.dlq.get_recent(99))


def pass_days(runtime: Runtime, days: float) -> None:
    """Moves the announcement back by that many days."""
    said = control.get(runtime.queue.connection, control.UNSEEN_SAID)
    control.put(runtime.queue.connection, control.UNSEEN_SAID, {**said, "at": said["at"] - days * DAY})


def test_no_unseen_dead_letter_is_deleted_unannounced(folder: Path, runtime: Runtime) -> None:
    """A dead letter that was never shown is deleted three days after its announcement, however old it is."""
    seen, _, _ = bury(folder, 1, 400), bury(folder, 2, 400), bury(folder, 3, 28)
    runtime.dlq.mark_reviewed([seen])
    runtime.purge()
    assert dead_letters(runtime) == [2, 3]
    notice = control.get(runtime.queue.connection, control.UNSEEN)
    assert notice.startswith("Dead letters that were never reviewed: 2. They will be deleted from ")
    (date,) = re.findall(r"\d{4}-\d\d-\d\d", notice)
    assert date == time.strftime("%Y-%m-%d", time.localtime(time.time() + 3 * DAY))
    runtime.purge()
    assert dead_letters(runtime) == [2, 3]
    bury(folder, 4, 400)  # appears after the announcement, for example because a clock was wrong
    pass_days(runtime, 2.9)
    runtime.purge()
    assert dead_letters(runtime) == [2, 3, 4]
    pass_days(runtime, 0.2)
    runtime.dlq.mark_reviewed([3])
    runtime.purge()
    assert 2 not in dead_letters(runtime)
    assert 3 in dead_letters(runtime)


def test_an_announcement_ends_with_what_it_is_about(folder: Path, runtime: Runtime) -> None:
    """Once the dead letter was reviewed, the next purge removes the notice."""
    dead_letter = bury(folder, 1, 29)
    runtime.purge()
    assert control.get(runtime.queue.connection, control.UNSEEN)
    runtime.dlq.mark_reviewed([dead_letter])
    runtime.purge()
    assert control.get(runtime.queue.connection, control.UNSEEN) is None
    assert control.get(runtime.queue.connection, control.UNSEEN_SAID) is None


def test_without_a_retention_that_can_be_read_nothing_is_deleted(folder: Path, runtime: Runtime) -> None:
    """With a typo in the retention, or after all settings were lost, the shorter default doesn't apply."""
    dead_letter = bury(folder, 1, 100)
    runtime.dlq.mark_reviewed([dead_letter])
    for settings in ({"worker_dead_letter_days": "1 year"}, {"worker_dead_letter_days": 365}, {}):
        runtime.dispatcher.registry.configure(settings)
        runtime.purge()
        assert dead_letters(runtime) == [1]
    runtime.dispatcher.registry.configure({"worker_dead_letter_days": 99})
    runtime.purge()
    assert dead_letters(runtime) == []


FORMS = [5, "x", [], [["a"]], {"a": 1}, {"a": None}, {"a": {"b": 1}}, {"at": 1, "before": None}]


@pytest.mark.parametrize("value", FORMS, ids=range(len(FORMS)))
def test_a_note_of_another_form_counts_as_not_set(folder: Path, runtime: Runtime, value: object) -> None:
    """Whatever JSON stands in a note for the worker, all its chores go on."""
    conn = runtime.queue.connection
    bury(folder, 1, 1)
    for key in (control.UNSEEN_SAID, control.LEDGER_LEFT, control.SWEEP, control.SWEEP_MET, control.TOLD):
        control.put(conn, key, value)
    sweep = Sweep(runtime.queue, runtime.dlq, time.time, time.monotonic)
    sweep.meet(["hook"])
    assert sweep.question()
    Troubles(runtime.queue, runtime.dlq, runtime.dispatcher.registry).update()
    runtime.purge()


def test_old_receipts_and_counts_are_deleted(folder: Path, runtime: Runtime) -> None:
    """Outcomes are shown for seven days, and counted for a day."""
    conn, now = runtime.queue.connection, time.time()
    for scene, at in ((1, now - receipts.KEPT_SECONDS - 60.0), (2, now - receipts.KEPT_SECONDS + 3600.0)):
        job = Delivery(scene, "hook", scene, "update", (), scene, at)
        receipts.write(conn, receipts.of(job, "same", at, ("", "")))
        receipts.count(conn, {"hook": 1}, at)
    runtime.tidy()
    assert [one.scene_id for one in receipts.page(conn, 9)[0]] == [2]
    assert conn.execute("SELECT count(*) FROM delivered").fetchone() == (0,)


def test_what_was_discarded_is_deleted_after_ten_minutes(folder: Path, runtime: Runtime) -> None:
    """The worker deletes for good what can't be undone any more, and nothing before."""
    bury(folder, 1, 1)
    batch = runtime.dlq.discard()
    runtime.tidy()
    assert runtime.dlq.restore(batch.at) == 1
    runtime.dlq.discard()
    runtime.dlq.opened().execute("UPDATE dead_letters SET discarded_at = discarded_at - 601")
    runtime.tidy()
    assert runtime.dlq.get_by_id(1) is None


def test_a_spool_file_that_cannot_be_read_stops_nothing(
    folder: Path, runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    """A spool file that can't be read is logged once, and the others are taken in once."""
    (folder / files.SPOOL / "1.json").mkdir(parents=True)
    good = store.encode({"scene": 7, "event": "update", "changed": [], "at": 5.0})
    (folder / files.SPOOL / "2.json").write_bytes(good)
    for _ in range(3):
        runtime.take_spool()
    assert runtime.queue.inbox_count() == 1
    assert [record.levelname for record in caplog.records].count("ERROR") == 1
    assert "1.json" in caplog.text


def test_what_has_not_ended_in_time_is_put_back(folder: Path) -> None:
    """A worker that must end while a receiver hangs puts its delivery back, and that counts as no attempt."""
    with StandInStash(1, config_dir=folder.parent / "config") as stash, Receiver(held := Held()) as receiver:
        stash.install_plugin(ROOT)
        stash.config.plugins[PLUGIN] = {"webhook_url": receiver.url, "worker_sweep_off": True}
        place = {"scheme": "http", "host": "127.0.0.1", "port": stash.config.port, "dir": "", "plugin_dir": ""}
        (folder / files.STASH).write_text(json.dumps({**place, "cookie": "", "at": time.time()}))
        store.put(str(folder), store.encode({"scene": 1, "event": "update", "changed": [], "at": 5.0}), 5.0)
        with Runtime(folder) as running:
            while not held.asked.is_set():
                running.sleep(min(running.dispatcher.step(), 0.05))
            assert running.queue.in_flight()
            running.finish(lambda: 0.0)
            assert not running.queue.in_flight()
            (name,) = running.queue.backlog()
            (job,) = running.queue.claim(name, 9, time.time(), edits=True)
        held.may_answer.set()
    assert isinstance(job, Delivery)
    assert (job.counted_attempts, job.attempts, job.history) == (0, 0, ())


def test_a_request_that_ends_after_the_worker_causes_no_error(folder: Path) -> None:
    """A thread whose request outlives the worker leaves no traceback in the log."""
    with Runtime(folder) as running:
        wakeup = running.wakeup
    wakeup.notify()


def test_a_database_without_a_log_is_tidied_too(folder: Path, runtime: Runtime) -> None:
    """A backup program that switched the file out of WAL mode doesn't stop the worker."""
    runtime.queue.connection.execute("PRAGMA journal_mode = DELETE")
    runtime.queue.tidy()


def test_the_ledger_of_a_removed_destination_is_deleted_in_the_end(folder: Path, runtime: Runtime) -> None:
    """A destination that nothing names any more loses its ledger after 30 days; one that came back keeps it."""
    conn = runtime.queue.connection
    control.put_state(conn, "plex", {})
    with runtime.queue.transaction():
        for name, rows in (("emby", ledger.DELETED_ROWS + 1), ("jellyfin", 2), ("plex", 2)):
            for scene_id in range(1, rows + 1):
                ledger.write(conn, Sent(name, scene_id, 1, "2026-01-01", 1.0, "/a", "sent"))

    def pass_more(days: float) -> None:
        left = control.get(conn, control.LEDGER_LEFT)
        control.put(conn, control.LEDGER_LEFT, {name: at - days * DAY for name, at in left.items()})
        runtime.purge()

    runtime.purge()
    pass_more(29.9)
    assert ledger.destinations(conn) == ["emby", "jellyfin", "plex"]
    control.put_state(conn, "jellyfin", {})
    pass_more(0.2)
    assert ledger.destinations(conn) == ["jellyfin", "plex"]
    assert control.get(conn, control.LEDGER_LEFT) is None
    runtime.dispatcher.registry.configure({})
    control.put_state(conn, "plex", None)
    runtime.purge()
    assert control.get(conn, control.LEDGER_LEFT) is None
