"""queue/repair.py: a damaged file is set aside, its readable rows are saved, and no promised event is lost."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from stash_courier.queue import migrate, repair
from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.dead_letters.listing import Selection
from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.history import ledger
from stash_courier.queue.history.ledger import Sent
from stash_courier.queue.inbox import files, locks, schema, store
from stash_courier.queue.jobs import CorruptRow, Delivery
from tests.support import transfers
from tests.support.durable import DEST, START, change, event, inbox, run_hook, spooled, start_hook
from tests.support.kill import doing, needs_strace, sweep
from tests.support.queue_driver import claim

PAGE = 4096
ROWS = 400  # events and as many deliveries: each table has some ten pages


def fill(folder: Path) -> list[int]:
    """A queue with events, deliveries and a ledger; returns the events' scenes."""
    queue = SceneQueue(folder)
    deliveries = [event(n, "destroy", "title", seq=n, path="/media/" + "d" * 60) for n in range(1, ROWS + 1)]
    queue.route(deliveries, dict.fromkeys([DEST], 0.0))
    for n in range(1, ROWS + 1):
        ledger.write(queue.connection, Sent(DEST, n, n, "2026-01-01", START, "/media/" + "s" * 60, "sent"))
    events = range(1000, 1000 + ROWS)
    queue.put_many([store.encode({**json.loads(bare(n)), "path": "/" + "e" * 80}) for n in events])
    queue.tidy()
    queue.close()
    return list(events)


def bare(scene: int) -> bytes:
    """An event as a hook encodes it."""
    return store.encode({"scene": scene, "event": "update", "changed": [], "at": START})


def pages(folder: Path, table: str) -> list[int]:
    """The numbers of a table's leaf pages, from 1, in the order of its rows."""
    raw = (folder / files.QUEUE_DB).read_bytes()
    with closing(sqlite3.connect(folder / files.QUEUE_DB)) as conn:
        (root,) = conn.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
    return leaves(raw, root)


def leaves(raw: bytes, number: int) -> list[int]:
    """The leaf pages below a page, by SQLite's file format, where inner pages name their children."""
    start = (number - 1) * PAGE
    header = start + (100 if number == 1 else 0)
    if raw[header] in {13, 10}:
        return [number]
    count = int.from_bytes(raw[header + 3 : header + 5], "big")
    found = []
    for n in range(count):
        pointer = header + 12 + 2 * n
        cell = start + int.from_bytes(raw[pointer : pointer + 2], "big")
        found += leaves(raw, int.from_bytes(raw[cell : cell + 4], "big"))
    return found + leaves(raw, int.from_bytes(raw[header + 8 : header + 12], "big"))


def damage(folder: Path, number: int) -> None:
    """Overwrites a page with random bytes."""
    with (folder / files.QUEUE_DB).open("r+b") as file:
        file.seek((number - 1) * PAGE)
        file.write(random.Random(number).randbytes(PAGE))


def scenes(folder: Path) -> tuple[set[int], set[int], set[int]]:
    """The scenes of a queue's events, deliveries and ledger."""
    with closing(sqlite3.connect(folder / files.QUEUE_DB)) as conn:
        waiting = {n for (n,) in conn.execute(f"SELECT scene_id FROM {schema.DELIVERIES}")}
        sent = {n for (n,) in conn.execute("SELECT scene_id FROM sent")}
    return {row["scene"] for row in inbox(folder)}, waiting, sent


def aside(folder: Path) -> list[Path]:
    """Files that were set aside."""
    return sorted(f for f in folder.glob("*.damaged-*") if not f.name.endswith(("-wal", "-shm")))


def wal_of_hooks(folder: Path) -> list[int]:
    """Has hooks write events, which stay in the write-ahead log if the queue is open elsewhere."""
    for scene in (5000, 5001):
        assert run_hook(folder, change(scene)).returncode == 0
    assert (folder / "queue.db-wal").stat().st_size > 0
    return [5000, 5001]


PLACES: dict[str, tuple[str, Callable[[list[int]], list[int]]]] = {
    "the inbox's first page": (schema.INBOX, lambda found: found[:1]),
    "a page of the inbox": (schema.INBOX, lambda found: found[4:5]),
    "the inbox's last page": (schema.INBOX, lambda found: found[-1:]),
    "pages of deliveries": (schema.DELIVERIES, lambda found: found[5:7]),
}


@pytest.mark.parametrize("name", PLACES)
def test_what_can_be_read_is_saved(tmp_path: Path, name: str) -> None:
    """The rows before and behind the damage are in the new file, and the owner is told."""
    events = fill(tmp_path)
    table, choose = PLACES[name]
    damaged_pages = choose(pages(tmp_path, table))
    on_page = ROWS / len(pages(tmp_path, table))
    seqs = [row["seq"] for row in inbox(tmp_path)]
    for page in damaged_pages:
        damage(tmp_path, page)
    damaged = (tmp_path / files.QUEUE_DB).read_bytes()
    said = repair.repair(tmp_path, after_damage=True)
    (file,) = aside(tmp_path)
    assert file.read_bytes() == damaged
    assert said is not None
    assert file.name in said
    waiting, delivering, sent = scenes(tmp_path)
    assert sent == set(range(1, ROWS + 1))
    whole, damaged_table = (delivering, waiting) if table == schema.INBOX else (waiting, delivering)
    assert len(whole) == ROWS
    assert len(damaged_table) >= ROWS - 2 * on_page * len(damaged_pages) - 1
    assert f"Rows saved: {len(waiting) + len(delivering) + len(sent)}." in said
    assert waiting <= set(events)
    assert repair.repair(tmp_path, after_damage=True) is None
    assert run_hook(tmp_path, change(1)).returncode == 0
    assert inbox(tmp_path)[-1]["seq"] > max(seqs)


def test_a_damaged_first_page(tmp_path: Path) -> None:
    """If the first page is damaged, a new queue works, and its ids are higher than the old ones."""
    fill(tmp_path)
    last = inbox(tmp_path)[-1]["seq"]
    damage(tmp_path, 1)
    assert repair.repair(tmp_path, after_damage=True) is not None
    assert len(aside(tmp_path)) == 1
    assert run_hook(tmp_path, change(1)).returncode == 0
    ((row),) = inbox(tmp_path)
    assert row["seq"] > last
    assert spooled(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b"no database\n" * 1000], ids=["empty", "text"])
@pytest.mark.parametrize("name", [files.QUEUE_DB, files.DLQ_DB])
def test_a_file_that_is_no_database(tmp_path: Path, name: str, content: bytes) -> None:
    """An empty file or one that is no database is set aside, and both databases work."""
    (tmp_path / name).write_bytes(content)
    assert repair.repair(tmp_path, after_damage=True) is not None
    (file,) = aside(tmp_path)
    assert file.read_bytes() == content
    queue, dlq = SceneQueue(tmp_path), DeadLetterQueue(tmp_path)
    dlq.add(CorruptRow(1, "", 0, b"", "why"), ValueError("why"), 0)
    assert (queue.size, dlq.get_count()) == (0, 1)
    queue.close()
    dlq.close()


def test_sound_files_are_left_alone(tmp_path: Path) -> None:
    """Files that aren't damaged are not changed, whatever version they have."""
    transfers.buried(tmp_path)
    assert repair.repair(tmp_path, after_damage=True) is None
    with closing(sqlite3.connect(tmp_path / files.QUEUE_DB)) as conn:
        conn.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    assert repair.repair(tmp_path, after_damage=True) is None
    assert aside(tmp_path) == []


def test_dead_letters_are_saved_and_counted(tmp_path: Path) -> None:
    """The readable rows of a damaged dlq.db are saved, and the totals are correct."""
    dlq = DeadLetterQueue(tmp_path)
    for n in range(1, 200):
        dlq.add(Delivery(n, DEST, n, "update", (), n, START, path="x" * 200), ValueError("why"), 1)
    dlq.discard(Selection([3]))
    dlq.close()
    with (tmp_path / files.DLQ_DB).open("r+b") as file:
        file.seek((tmp_path / files.DLQ_DB).stat().st_size // 2 // PAGE * PAGE)
        file.write(b"\xff" * PAGE)
    assert repair.repair(tmp_path, after_damage=True) is not None
    dlq = DeadLetterQueue(tmp_path)
    assert 150 < dlq.get_count() < 199
    assert dlq.get_count() == len(dlq.get_recent(limit=999))
    assert [(one.destination, one.count) for one in dlq.groups()] == [(DEST, dlq.get_count())]
    dlq.close()


def test_a_text_that_is_not_utf8_is_saved_as_it_is(tmp_path: Path) -> None:
    """A row with a text that isn't UTF-8 is saved with its bytes, and so are the other rows."""
    fill(tmp_path)
    with closing(sqlite3.connect(tmp_path / files.QUEUE_DB)) as conn, conn:
        conn.execute(f"UPDATE {schema.DELIVERIES} SET data = CAST(x'7bff7d' AS TEXT) WHERE scene_id = 2")
    damage(tmp_path, pages(tmp_path, schema.INBOX)[3])
    assert repair.repair(tmp_path, after_damage=True) is not None
    queue = SceneQueue(tmp_path)
    claimed = claim(queue, ROWS, START * 2)
    assert len(claimed) == ROWS
    assert [row.raw for row in claimed if isinstance(row, CorruptRow)] == [b"{\xff}"]
    queue.close()


def test_ids_continue_although_the_clock_was_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the file is replaced while the clock is behind, ids still continue above the old ones."""
    fill(tmp_path)
    last = inbox(tmp_path)[-1]["seq"]
    damage(tmp_path, pages(tmp_path, schema.INBOX)[3])
    monkeypatch.setattr(time, "time_ns", lambda: 1_000_000_000 * 86_400)
    repair.repair(tmp_path, after_damage=True)
    assert run_hook(tmp_path, change(1)).returncode == 0
    assert inbox(tmp_path)[-1]["seq"] == last + 1


def test_a_repair_waits_until_the_file_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that a button has open isn't replaced; if the button doesn't end, an error says to stop it."""
    fill(tmp_path)
    damage(tmp_path, pages(tmp_path, schema.INBOX)[3])
    monkeypatch.setattr(repair, "GATE_SECONDS", 0.05)
    gate = locks.taken(str(tmp_path / files.GATE), shared=True)
    assert gate is not None
    with pytest.raises(store.QueueUnavailable, match="stop that task"):
        repair.repair(tmp_path, after_damage=True)
    assert aside(tmp_path) == []
    monkeypatch.setattr(repair, "GATE_SECONDS", 30.0)
    timer = threading.Timer(0.1, os.close, [gate])
    timer.start()
    assert repair.repair(tmp_path, after_damage=True) is not None
    timer.join()


def test_hooks_write_while_it_is_repaired(tmp_path: Path) -> None:
    """Each event that a hook promised during a repair is in the queue or in the spool."""
    fill(tmp_path)
    damage(tmp_path, pages(tmp_path, schema.INBOX)[-1])
    hooks = [start_hook(tmp_path, change(scene)) for scene in range(2000, 2005)]
    assert repair.repair(tmp_path, after_damage=True) is not None
    hooks += [start_hook(tmp_path, change(scene)) for scene in range(2005, 2010)]
    for hook in hooks:
        assert hook.communicate(timeout=60)[0] == b'{"output": "queued"}'
    kept = {row["scene"] for row in [*inbox(tmp_path), *spooled(tmp_path)]}
    assert set(range(2000, 2010)) <= kept


def test_a_file_that_was_not_closed_is_checked(tmp_path: Path) -> None:
    """After an unclean end a start finds damage that nothing has read yet; after a clean one it checks nothing."""
    fill(tmp_path)
    page = pages(tmp_path, schema.DELIVERIES)[3]
    damage(tmp_path, page)
    assert repair.repair(tmp_path, after_damage=False) is None
    with closing(sqlite3.connect(tmp_path / files.QUEUE_DB)) as holder:
        holder.execute(f"SELECT count(*) FROM {schema.INBOX}").fetchone()
        wal_of_hooks(tmp_path)
        assert repair.is_sound(tmp_path / files.QUEUE_DB, quick=True) is False
        log = (tmp_path / "queue.db-wal").read_bytes()
    (tmp_path / "queue.db-wal").write_bytes(log)  # as if the last process was killed
    assert repair.repair(tmp_path, after_damage=False) is not None


def steps(folder: Path, name: str) -> list[str]:
    """The values that an invented step of an upgrade has left in a file, and the file's version."""
    with closing(sqlite3.connect(folder / name)) as conn:
        invented = conn.execute("SELECT value FROM invented").fetchall()
        return [*(value for (value,) in invented), str(conn.execute("PRAGMA user_version").fetchone()[0])]


def test_an_older_file_is_upgraded_by_its_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step runs once, in order; where a step fails, the file keeps the version that it had reached."""
    transfers.buried(tmp_path)
    invented = ("CREATE TABLE invented (value);", "INSERT INTO invented VALUES ('second');")
    monkeypatch.setitem(migrate.STEPS, files.QUEUE_DB, (*invented, "no SQL;"))
    for _ in range(2):
        with pytest.raises(sqlite3.OperationalError):
            migrate.migrate(tmp_path)
        assert steps(tmp_path, files.QUEUE_DB) == ["second", "3"]
    monkeypatch.setitem(migrate.STEPS, files.QUEUE_DB, invented)
    migrate.migrate(tmp_path)
    assert steps(tmp_path, files.QUEUE_DB) == ["second", "3"]


@pytest.mark.parametrize("name", [files.QUEUE_DB, files.DLQ_DB])
def test_a_newer_data_folder_is_refused_untouched(tmp_path: Path, name: str) -> None:
    """After a downgrade neither file is changed by a byte, also if the other one could be upgraded."""
    transfers.buried(tmp_path)
    with closing(sqlite3.connect(tmp_path / name)) as conn:
        conn.execute("PRAGMA user_version = 99")
    before = {file: file.read_bytes() for file in tmp_path.glob("*.db")}
    with pytest.raises(store.QueueUnavailable, match="install the newer plugin again"):
        migrate.migrate(tmp_path)
    assert {file: file.read_bytes() for file in tmp_path.glob("*.db")} == before


def with_log(folder: Path) -> None:
    """Makes a damaged queue whose last events are only in its log, as after a power cut."""
    fill(folder)
    damaged_pages = pages(folder, schema.DELIVERIES)[2]
    with closing(sqlite3.connect(folder / files.QUEUE_DB)) as holder:
        holder.execute(f"SELECT count(*) FROM {schema.INBOX}").fetchone()
        wal_of_hooks(folder)
        kept = [(file, file.read_bytes()) for file in folder.glob("queue.db*") if not file.name.endswith("-shm")]
    for file, content in kept:
        file.write_bytes(content)
    damage(folder, damaged_pages)


def test_the_log_is_read_too(tmp_path: Path) -> None:
    """Events that are only in the log of the damaged file are saved, and the log is kept."""
    with_log(tmp_path)
    log = (tmp_path / "queue.db-wal").read_bytes()
    assert repair.repair(tmp_path, after_damage=True) is not None
    assert {5000, 5001} <= scenes(tmp_path)[0]
    (file,) = aside(tmp_path)
    assert file.with_name(file.name + "-wal").read_bytes() == log


@pytest.mark.check
@needs_strace
@pytest.mark.parametrize("hooks", [False, True], ids=["alone", "with hooks"])
def test_a_killed_repair_is_continued(tmp_path: Path, hooks: bool) -> None:
    """After a kill at any call of a repair, the next repair saves all readable rows and keeps the file."""
    (folder := tmp_path / "before").mkdir()
    with_log(folder)
    content, log = ((folder / name).read_bytes() for name in ("queue.db", "queue.db-wal"))
    whole: set[int] | None = None
    for kill in sweep(folder, tmp_path, doing("repair")):
        if hooks:
            assert run_hook(kill.folder, change(6000)).returncode == 0
        repair.repair(kill.folder, after_damage=True)
        assert not [*kill.folder.glob(f"*{repair.UNREAD}*")]
        waiting, delivering, sent = scenes(kill.folder)
        assert {5000, 5001} <= waiting, kill
        assert len(waiting - {6000}) == ROWS + 2, kill
        assert len(sent) == ROWS, kill
        whole = whole or delivering
        assert delivering == whole, kill
        assert len(delivering) > ROWS / 2, kill
        (file,) = aside(kill.folder)
        if not hooks:
            assert file.read_bytes() == content, kill
            assert file.with_name(file.name + "-wal").read_bytes() == log, kill
        else:
            assert 6000 in waiting | {event["scene"] for event in spooled(kill.folder)}, kill
