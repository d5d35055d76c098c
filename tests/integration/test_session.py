"""The worker's chores on real files: what is deleted after how long, and what lies in the spool."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stash_courier.queue import control, schema
from stash_courier.queue.dlq import DeadLetterQueue
from stash_courier.worker.runtime import DAY, Session
from tests.support.durable import Clock, event
from tests.support.transfers import ERROR, opened, route


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (data := tmp_path / "data").mkdir()
    return data


def bury(folder: Path, scene_id: int, age_days: float) -> int:
    """A dead letter of so many days ago."""
    with opened(folder) as both:
        route(both.queue, event(scene_id, "update", "title"))
        (delivery,) = both.claim()
        dlq = DeadLetterQueue(folder, clock=Clock(time.time() - age_days * DAY))
        letter = dlq.add(delivery, ERROR, 1)
        dlq.close()
        with both.queue.transaction():
            both.queue.remove(delivery.row_id)
    return letter


@pytest.fixture
def session(folder: Path) -> Iterator[Session]:
    with Session(folder) as running:
        running.dispatcher.roster.configure({"sweep_off": True})
        yield running


def letters(session: Session) -> list[int]:
    """Scenes of the open dead letters."""
    return sorted(letter.scene_id for letter in session.dlq.get_recent(99))


def pass_days(session: Session, days: float) -> None:
    """As if what was announced had been announced so much earlier."""
    said = control.get(session.queue.connection, control.UNSEEN_SAID)
    control.put(session.queue.connection, control.UNSEEN_SAID, {**said, "at": said["at"] - days * DAY})


def test_no_unseen_dead_letter_is_deleted_unannounced(folder: Path, session: Session) -> None:
    """However old, a dead letter that nobody was shown goes three days after the worker said so, not before."""
    seen, _, _ = bury(folder, 1, 400), bury(folder, 2, 400), bury(folder, 3, 28)
    session.dlq.mark_reviewed([seen])
    session.purge()
    assert letters(session) == [2, 3]
    notice = control.get(session.queue.connection, control.UNSEEN)
    assert notice.startswith("2 dead letters that nobody has looked at")
    (date,) = re.findall(r"\d{4}-\d\d-\d\d", notice)
    assert date == time.strftime("%Y-%m-%d", time.localtime(time.time() + 3 * DAY))
    session.purge()
    assert letters(session) == [2, 3]
    bury(folder, 4, 400)  # comes to light after the announcement, such as by a clock that was wrong
    pass_days(session, 2.9)
    session.purge()
    assert letters(session) == [2, 3, 4]
    pass_days(session, 0.2)
    session.dlq.mark_reviewed([3])
    session.purge()
    assert 2 not in letters(session)
    assert 3 in letters(session)


def test_an_announcement_ends_with_what_it_is_about(folder: Path, session: Session) -> None:
    """Once somebody has looked, the next round takes the notice back."""
    letter = bury(folder, 1, 29)
    session.purge()
    assert control.get(session.queue.connection, control.UNSEEN)
    session.dlq.mark_reviewed([letter])
    session.purge()
    assert control.get(session.queue.connection, control.UNSEEN) is None
    assert control.get(session.queue.connection, control.UNSEEN_SAID) is None


@pytest.mark.parametrize("stored", ["soon", {"at": 1e300, "before": 1e300}, {"at": None, "before": 3}, []])
def test_a_damaged_announcement_deletes_nothing(folder: Path, session: Session, stored: object) -> None:
    """Whatever stands there instead, the deletion is announced anew."""
    bury(folder, 1, 400)
    control.put(session.queue.connection, control.UNSEEN_SAID, stored)
    session.purge()
    assert letters(session) == [1]


def test_a_retention_that_cannot_be_read_deletes_nothing(folder: Path, session: Session) -> None:
    """A typo in the retention, which may have been a year, doesn't cost what is older than the default."""
    letter = bury(folder, 1, 100)
    session.dlq.mark_reviewed([letter])
    session.dispatcher.roster.configure({"dead_letter_retention_days": "1 year"})
    session.purge()
    assert letters(session) == [1]
    session.dispatcher.roster.configure({"dead_letter_retention_days": 365})
    session.purge()
    assert letters(session) == [1]
    session.dispatcher.roster.configure({"dead_letter_retention_days": 99})
    session.purge()
    assert letters(session) == []


def test_a_spool_file_that_cannot_be_read_stops_nothing(
    folder: Path, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    """Something odd in the spool is named once in the log; what lies beside it is taken in, once."""
    (folder / schema.SPOOL / "1.json").mkdir(parents=True)
    good = schema.encode({"scene": 7, "event": "update", "changed": [], "at": 5.0})
    (folder / schema.SPOOL / "2.json").write_bytes(good)
    for _ in range(3):
        session.take_spool()
    assert session.queue.inbox_count() == 1
    assert [record.levelname for record in caplog.records].count("ERROR") == 1
    assert "1.json" in caplog.text


def test_a_request_that_ends_after_the_worker_disturbs_nobody(folder: Path) -> None:
    """A thread whose receiver hung until now reports to a worker that is gone: no traceback in the log."""
    with Session(folder) as running:
        wakeup = running.wakeup
    wakeup.notify()


def test_lost_settings_delete_nothing(folder: Path, session: Session) -> None:
    """Where Stash's configuration was lost, what was to be kept for a year isn't measured by the default."""
    letter = bury(folder, 1, 100)
    session.dlq.mark_reviewed([letter])
    session.dispatcher.roster.configure({"dead_letter_retention_days": 365})
    session.dispatcher.roster.configure({})
    session.purge()
    assert letters(session) == [1]


def test_a_database_without_a_log_is_tidied_too(folder: Path, session: Session) -> None:
    """A backup program that took the file out of WAL mode stops no worker."""
    session.queue.connection.execute("PRAGMA journal_mode = DELETE")
    session.queue.tidy()
