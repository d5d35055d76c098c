"""Rows about dead letters: the cost of adding one, and of reading, counting and purging a million of them."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing

from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.failures import DeliveryFailed
from stash_courier.queue.inbox import files, store
from tests.benchmarks import filling, timing
from tests.benchmarks.helpers import start_helper
from tests.benchmarks.table import Figure, cost, faster
from tests.benchmarks.workspace import DESTINATION, Workspace

FEW = 1000
HALF_DAYS = filling.AGE_DAYS / 2


def bury(workspace: Workspace) -> list[Figure]:
    """``add`` against an INSERT of the same values into the same columns, with two indexes."""
    folder, raw = workspace.new("bury"), sqlite3.connect(workspace.new("raw") / "raw.db", isolation_level=None)
    now = time.time()
    count = workspace.sizes.operations // 2
    dlq = DeadLetterQueue(folder)
    values = filling.values(0, DESTINATION, now)
    raw.execute("PRAGMA journal_mode = WAL")
    raw.execute("PRAGMA synchronous = FULL")
    raw.execute(f"CREATE TABLE letters (id INTEGER PRIMARY KEY AUTOINCREMENT, {', '.join(values)})")
    raw.execute("CREATE INDEX letters_failed_at ON letters (failed_at)")
    raw.execute("CREATE INDEX letters_scene_id ON letters (scene_id, destination)")
    statement = f"INSERT INTO letters ({', '.join(values)}) VALUES (:{', :'.join(values)})"
    numbers = iter(range(1, 1_000_000))

    def add() -> float:
        jobs = [
            (job, failed(error))
            for job, error in (filling.dead_letter(next(numbers), DESTINATION, now) for _ in range(count))
        ]
        began = time.perf_counter()
        for job, error in jobs:
            dlq.add(job, error, 3, title="Film")
        return (time.perf_counter() - began) / count

    def insert() -> float:
        rows = [{**values, "scene_id": filling.FAR + next(numbers)} for _ in range(count)]
        began = time.perf_counter()
        for row in rows:
            raw.execute(statement, row)
        return (time.perf_counter() - began) / count

    add(), insert()
    taken = timing.alternating({"raw": insert, "ours": add}, workspace.sizes.batches)
    dlq.close()
    raw.close()
    return [faster("", *timing.paired(taken, "ours", "raw"), None)]


def failed(error: DeliveryFailed) -> DeliveryFailed:
    """The error with a traceback, as a worker has it."""
    try:
        raise error
    except DeliveryFailed as caught:
        return caught


def recent(workspace: Workspace) -> list[Figure]:
    """Reads the latest ten of many and of few."""
    few = DeadLetterQueue(workspace.filled(FEW))
    many = DeadLetterQueue(workspace.filled(workspace.sizes.most))
    taken = timing.alternating(
        {"few": _each(lambda: few.get_recent(10)), "many": _each(lambda: many.get_recent(10))}, 21
    )
    few.close()
    many.close()
    return [cost("", *timing.paired(taken, "many", "few"), 2.0)]


def grouped(workspace: Workspace) -> list[Figure]:
    """Errors with their counts, against GROUP BY on the table."""
    folder = workspace.filled(workspace.sizes.most)
    dlq = DeadLetterQueue(folder)
    with closing(sqlite3.connect(folder / files.DLQ_DB)) as conn:
        plain = "SELECT error_type, count(*) FROM dead_letters GROUP BY error_type"
        runs: dict[str, Callable[[], float]] = {
            "ours": _each(dlq.groups, 20),
            "plain": _each(lambda: conn.execute(plain).fetchall(), 1),
        }
        taken = timing.alternating(runs, 5)
        counted = Counter[str]()
        for group in dlq.groups():
            counted[group.error_type] += group.count
        if counted != dict(conn.execute(plain).fetchall()):
            raise RuntimeError("the counts differ")
    dlq.close()
    return [cost("", *timing.paired(taken, "ours", "plain"), 0.1)]


def purge(workspace: Workspace) -> list[Figure]:
    """Deletes the older half while another process measures for how long it can't write."""
    ours, plain = workspace.new("purge"), workspace.new("delete")
    for folder in (ours, plain):
        shutil.copy(workspace.filled(workspace.sizes.most) / files.DLQ_DB, folder)
    before = (ours / files.DLQ_DB).stat().st_size
    with start_helper("writer", plain / files.DLQ_DB) as other:
        conn = store.connect(str(plain / files.DLQ_DB), 10.0)
        other.ask("watch")
        conn.execute("DELETE FROM dead_letters WHERE failed_at < ?", (time.time() - HALF_DAYS * filling.DAY,))
        one_delete = other.ask("longest")
        left = conn.execute("SELECT count(*) FROM dead_letters").fetchone()[0]
        conn.close()
    with start_helper("writer", ours / files.DLQ_DB) as other:
        dlq = DeadLetterQueue(ours)
        other.ask("watch")
        dlq.delete_older_than(HALF_DAYS)
        longest = other.ask("longest")
        if abs(dlq.get_count() - left) > workspace.sizes.most // 100:
            raise RuntimeError("the two deleted different numbers")
        dlq.close()
    after = (ours / files.DLQ_DB).stat().st_size
    return [
        cost("lock", longest, one_delete, 0.05),
        Figure("file", _megabytes(after), _megabytes(before), after / before, 0.6),
    ]


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.3g} MB"


def _each(run: Callable[[], object], count: int = 50) -> Callable[[], float]:
    def timed() -> float:
        began = time.perf_counter()
        for _ in range(count):
            run()
        return (time.perf_counter() - began) / count

    return timed
