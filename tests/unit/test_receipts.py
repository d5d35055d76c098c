"""queue/history/receipts.py: the table of outcomes, its search and its limits, and the counts of deliveries."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.history import ledger, receipts
from stash_courier.queue.history.ledger import Sent
from stash_courier.queue.history.receipts import Detail, Receipt
from stash_courier.queue.jobs import BULK, CorruptRow, Delivery
from tests.support.durable import DEST, START

JOB = Delivery(1, DEST, 7, "update", ("title",), 100, START)


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[SceneQueue]:
    """An empty queue."""
    with closing(SceneQueue(tmp_path, clock=lambda: START)) as opened:
        yield opened


def fill(conn: sqlite3.Connection, count: int, at: float = START, first: int = 1) -> None:
    """Receipts of this many scenes, in one transaction."""
    conn.execute("BEGIN")
    for scene in range(first, first + count):
        job = replace(JOB, scene_id=scene)
        receipts.write(conn, receipts.of(job, "delivered", at, (f"Film {scene}", "/a.mp4")))
    conn.execute("COMMIT")


def scenes(found: list[Receipt]) -> list[int]:
    """The scenes of receipts."""
    return [one.scene_id for one in found]


def test_a_receipt_comes_back(queue: SceneQueue) -> None:
    """Everything in it, and the last one of a scene replaces the one before."""
    detail = Detail(
        (("title", None, "New"), ("date", "2025", "2026")), ("The studio is locked.",), "http://plex/1"
    )
    receipts.write(queue.connection, receipts.of(JOB, "same", START, ("Old", "/old.mp4")))
    last = receipts.of(JOB, "delivered", START + 2.5, ("New", "/new.mp4"), reason="Why.", detail=detail)
    receipts.write(queue.connection, last)
    assert receipts.find(queue.connection, DEST, 7) == last
    assert last.seconds == 2.5
    assert receipts.page(queue.connection, 10)[0] == [last]
    assert receipts.find(queue.connection, "other", 7) is None


def test_only_an_edit_has_seconds() -> None:
    """How long a bulk send has waited isn't how long an edit took; a clock that was set back makes it 0."""
    assert receipts.of(replace(JOB, priority=BULK), "same", START + 9.0, ("", "")).seconds is None
    assert receipts.of(JOB, "same", START - 9.0, ("", "")).seconds == 0.0


@pytest.mark.parametrize(
    "text", ["grüne straße", "GRÜNE STRASSE", "gru\u0308ne", "ÉTÉ", "été.mp4", "e\u0301te\u0301", "/Media/"]
)
def test_search_ignores_case_and_composition(queue: SceneQueue, text: str) -> None:
    """In the title and in the path, whatever the script."""
    receipts.write(queue.connection, receipts.of(JOB, "same", START, ("Die Grüne Straße", "/media/Été.mp4")))
    fill(queue.connection, 5, first=20)
    assert scenes(receipts.page(queue.connection, 10, search=text)[0]) == [7]
    assert receipts.page(queue.connection, 10, search="%")[0] == []


def test_pages_are_newest_first(queue: SceneQueue) -> None:
    """One that is written again comes first."""
    fill(queue.connection, 5)
    fill(queue.connection, 1, first=2)
    assert scenes(receipts.page(queue.connection, 3)[0]) == [2, 5, 4]
    assert scenes(receipts.page(queue.connection, 3, 3)[0]) == [3, 1]
    assert scenes(receipts.page(queue.connection, 9, without=5)[0]) == [2, 4, 3, 1]
    assert receipts.page(queue.connection, 9, destination="other")[0] == []


def test_a_title_is_kept_where_the_scene_is_gone(queue: SceneQueue) -> None:
    """Of a deleted scene the last title, else the name of the file that it or the ledger knows."""
    conn = queue.connection
    receipts.write(conn, receipts.of(JOB, "delivered", START, ("Seven", "/seven.mp4")))
    receipts.write(conn, receipts.of(replace(JOB, event="destroy"), "deleted", START, ("", "")))
    found = receipts.find(conn, DEST, 7)
    assert found is not None
    assert (found.title, found.path) == ("Seven", "/seven.mp4")
    ledger.write(conn, Sent(DEST, 8, 1, "", START, "/media/eight.mp4", "sent"))
    receipts.write_dead(conn, replace(JOB, scene_id=8), START, "Why.", names=("", ""))
    found = receipts.find(conn, DEST, 8)
    assert found is not None
    assert (found.title, found.path) == ("eight", "/media/eight.mp4")


@pytest.mark.parametrize("value", ["x" * 10_000, "ü" * 10_000, "\ud800" * 3000, "😀" * 5000])
def test_a_detail_is_clipped(queue: SceneQueue, value: str) -> None:
    """However much a delivery changed, at most 4 KB are kept, and it says that there was more."""
    changes = tuple((f"field {n}", value, value) for n in range(50))
    detail = Detail(changes, (value, value), f"http://plex/{value}")
    receipts.write(queue.connection, receipts.of(JOB, "delivered", START, (value, value), detail=detail))
    (stored,) = queue.connection.execute("SELECT detail FROM receipts").fetchone()
    assert len(stored.encode()) <= receipts.LONGEST_DETAIL
    found = receipts.find(queue.connection, DEST, 7)
    assert found is not None
    shown = found.detail
    assert shown.link == ""
    assert "more fields" in shown.left[-1] or not shown.changes
    assert all(len(after) <= receipts.LONGEST_VALUE for _, _, after in shown.changes)


def test_many_sentences_fit_too(queue: SceneQueue) -> None:
    """What was left alone is cut where the changes are none."""
    encoded = receipts.encoded(Detail((), tuple(f"{n} " + "ü" * 400 for n in range(100)), "http://plex/1"))
    assert encoded is not None
    assert len(encoded.encode()) <= receipts.LONGEST_DETAIL
    assert len(json.loads(encoded)["left"]) > 3
    assert receipts.encoded(Detail()) is None


def test_a_damaged_receipt_is_left_out(queue: SceneQueue) -> None:
    """The others are shown."""
    fill(queue.connection, 3)
    queue.connection.execute("UPDATE receipts SET detail = '{' WHERE scene_id = 2")
    assert scenes(receipts.page(queue.connection, 10)[0]) == [3, 1]


def test_corrupt_rows_and_messages(queue: SceneQueue) -> None:
    """A row that can't be decoded has a receipt if its scene is known. A message about trouble has none."""
    conn = queue.connection
    receipts.write_dead(
        conn, CorruptRow(1, DEST, 9, b"", "It is damaged."), START, "It is damaged.", names=("", "")
    )
    receipts.write_dead(
        conn, CorruptRow(2, DEST, 0, b"", "It is damaged."), START, "It is damaged.", names=("", "")
    )
    receipts.write_dead(conn, replace(JOB, scene_id=-4, event="notice"), START, "Why.", names=("", ""))
    (found,) = receipts.page(conn, 10)[0]
    assert (found.scene_id, found.outcome, found.reason) == (9, "dead", "It is damaged.")


def prune(conn: sqlite3.Connection, now: float) -> int:
    """Deletes as the worker does; how many rounds it took."""
    rounds = 0
    while rows := receipts.surplus(conn, now):
        assert len(rows) <= receipts.DELETED_ROWS
        receipts.delete(conn, rows)
        rounds += 1
    return rounds


def test_at_most_so_many_are_kept(queue: SceneQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go, some at a time."""
    monkeypatch.setattr(receipts, "MOST", 20)
    monkeypatch.setattr(receipts, "DELETED_ROWS", 10)
    fill(queue.connection, receipts.MOST + 25)
    assert prune(queue.connection, START) == 3
    (count, least) = queue.connection.execute("SELECT count(*), min(scene_id) FROM receipts").fetchone()
    assert (count, least) == (receipts.MOST, 26)
    assert prune(queue.connection, START) == 0


def test_seven_days_are_kept(queue: SceneQueue) -> None:
    """What is older goes, also behind one whose time lies in the future."""
    fill(queue.connection, 1, START + 1e6)
    fill(queue.connection, 3, START, first=2)
    fill(queue.connection, 2, START + 3600.0, first=5)
    assert prune(queue.connection, START + receipts.KEPT_SECONDS) == 0
    prune(queue.connection, START + receipts.KEPT_SECONDS + 1.0)
    assert scenes(receipts.page(queue.connection, 9)[0]) == [6, 5, 1]


def test_counts_of_the_last_hour_and_day(queue: SceneQueue) -> None:
    """To five minutes; what is older than a day is dropped."""
    conn = queue.connection
    now = START // 300 * 300 + 299.0
    for ago, number in ((0.0, 1), (3500.0, 10), (3700.0, 100), (86_300.0, 1000), (86_500.0, 1)):
        receipts.count(conn, {DEST: number}, now - ago)
    receipts.count(conn, {DEST: 1, "other": 5}, now)
    assert receipts.delivered(conn, now) == {DEST: (12, 1112), "other": (5, 5)}
    receipts.drop_counts(conn, now + 90_001.0)
    assert conn.execute("SELECT count(*) FROM delivered").fetchone() == (0,)


def test_a_destination_is_forgotten(queue: SceneQueue) -> None:
    """Its receipts and counts are deleted."""
    conn = queue.connection
    fill(conn, 3)
    receipts.count(conn, {DEST: 3}, START)
    receipts.forget(conn, DEST)
    assert receipts.page(conn, 9)[0] == []
    assert receipts.delivered(conn, START) == {}
