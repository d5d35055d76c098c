"""Rows of queue.db: what can't be decoded becomes a CorruptRow and blocks nothing; and no statement scans."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stash_courier.queue import codec, control
from stash_courier.queue.deliveries import statements as sql
from stash_courier.queue.deliveries.scene_queue import LOG_BYTES, SceneQueue
from stash_courier.queue.history import ledger
from stash_courier.queue.history import statements as history_sql
from stash_courier.queue.inbox import schema
from stash_courier.queue.jobs import Attempt, CorruptRow, Delivery, SceneEvent
from stash_courier.queue.transactions import BUSY_SECONDS
from stash_courier.worker.settings import parse
from tests.support.durable import DEST, START, event
from tests.support.queue_driver import claim, next_due

GOOD = b'{"scene": 5, "event": "update", "changed": ["title"], "at": 1.5}'
HISTORY = '"history": [{"at": 1, "failure": "busy", "message": "m", "status": null, "answer": ""}]'
FACTS = '"path": "", "oshash": "", "checksum": ""'


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[SceneQueue]:
    """A queue with one delivery, of scene 5."""
    opened = SceneQueue(tmp_path, clock=lambda: START)
    opened.route([event(5, seq=1)], dict.fromkeys([DEST], 0.0))
    yield opened
    opened.close()


SPOILT_EVENTS = [
    b"",
    b"null",
    b"[]",
    b"{}",
    b"\xff\xfe\xfd",
    b'{"scene": 5}',
    GOOD[:-1],
    GOOD.replace(b"5,", b"0,", 1),
    GOOD.replace(b"5,", b"9223372036854775808,", 1),
    GOOD.replace(b"5,", b"9" * 5000 + b",", 1),
    GOOD.replace(b"update", b"merge"),
    GOOD.replace(b'"update"', b"[]"),
    GOOD.replace(b"1.5", b"NaN"),
    GOOD.replace(b"1.5", b"Infinity"),
    GOOD.replace(b"title", b"a b"),
    GOOD.replace(b"title", b"\\ud800"),
    GOOD.replace(b'["title"]', b"[5]"),
    GOOD.replace(b"1.5", b'1.5, "priority": 3'),
    GOOD.replace(b"1.5", b'1.5, "priority": ' + b"9" * 30),
    b"[" * 100_000,
]


@pytest.mark.parametrize("raw", SPOILT_EVENTS, ids=range(len(SPOILT_EVENTS)))
def test_an_event_that_cannot_be_decoded_blocks_nothing(queue: SceneQueue, raw: bytes) -> None:
    """A corrupt row of the inbox keeps its bytes, and the events after it are routed."""
    queue.put_many([raw, GOOD])
    corrupt, good = queue.inbox_rows()
    assert isinstance(corrupt, CorruptRow)
    assert (corrupt.raw, corrupt.destination, corrupt.scene_id) == (raw, "", 0)
    assert str(corrupt.seq) in corrupt.reason
    assert isinstance(good, SceneEvent)
    queue.route([corrupt, good], dict.fromkeys([DEST], 0.0))
    assert queue.inbox_empty()


def test_an_event_that_is_a_text_is_read_or_refused(queue: SceneQueue) -> None:
    """A row that another program wrote, as text or as bytes that aren't UTF-8, is read or becomes a CorruptRow."""
    conn = queue.connection
    conn.execute(f"INSERT INTO {schema.INBOX} (data, status) VALUES (?, 0)", (GOOD.decode(),))
    conn.execute(f"INSERT INTO {schema.INBOX} (data, status) VALUES (CAST(x'22ff22' AS TEXT), 0)")
    conn.execute(f"INSERT INTO {schema.INBOX} (data, status) VALUES (NULL, 0)")
    conn.execute(f"INSERT INTO {schema.INBOX} (data, status) VALUES (5, 0)")
    good, text, *others = queue.inbox_rows()
    assert isinstance(good, SceneEvent)
    assert isinstance(text, CorruptRow)
    assert text.raw == b'"\xff"'
    assert [type(other) for other in others] == [CorruptRow, CorruptRow]


SPOILT_COLUMNS = [
    ("data", b"\xff"),
    ("data", "{}"),
    ("data", None),
    ("data", "[]"),
    ("data", f'{{{FACTS}, "history": 5}}'),
    ("data", f'{{{FACTS}, "history": [5]}}'),
    ("data", f"{{{FACTS}, {HISTORY.replace('1,', 'NaN,')}}}"),
    ("event", "merge"),
    ("event", b"update"),
    ("changed", b"title"),
    ("changed", "not-a-name"),
    ("seq", "x"),
    ("counted_attempts", "x"),
    ("counted_attempts", 1e300),
    ("timestamp", None),
    ("timestamp", "x"),
    ("scene_id", -5),
]


@pytest.mark.parametrize(("column", "value"), SPOILT_COLUMNS, ids=range(len(SPOILT_COLUMNS)))
def test_a_delivery_that_cannot_be_decoded_blocks_nothing(queue: SceneQueue, column: str, value: object) -> None:
    """A corrupt delivery is claimed as a CorruptRow, is still one after a recovery, and can be removed."""
    queue.connection.execute(f"UPDATE {schema.DELIVERIES} SET {column} = ?", (value,))
    queue.route([event(6, seq=2)], dict.fromkeys([DEST], 0.0))
    claimed = claim(queue, 10, START)
    (corrupt,) = [row for row in claimed if isinstance(row, CorruptRow)]
    assert corrupt.destination == DEST
    assert [row.scene_id for row in claimed if isinstance(row, Delivery)] == [6]
    queue.recover()
    assert corrupt in queue.claim_counted(DEST, 9)
    with queue.transaction():
        queue.remove(corrupt.seq)
    assert queue.size == 1


def test_a_damaged_count_of_deaths_starves_nothing(queue: SceneQueue) -> None:
    """A delivery whose count of deaths can't be read is claimed as one with a death, and is corrupt."""
    queue.connection.execute(f"UPDATE {schema.DELIVERIES} SET deaths = 'x'")
    assert queue.fewest_deaths(DEST) == 1
    (corrupt,) = queue.claim_counted(DEST)
    assert isinstance(corrupt, CorruptRow)


@pytest.mark.parametrize("failure", ["[]", "5", '{"a": 1}'])
def test_a_delivery_with_a_damaged_history_is_put_back(queue: SceneQueue, failure: str) -> None:
    """What stands in place of a failure's class is kept as text, and the delivery waits again."""
    history = HISTORY.replace('"busy"', failure)
    queue.connection.execute(f"UPDATE {schema.DELIVERIES} SET data = '{{{FACTS}, {history}}}'")
    (delivery,) = claim(queue, 10, START)
    assert isinstance(delivery, Delivery)
    with queue.transaction():
        queue.back(delivery, START)
    assert claim(queue, 10, START) == [delivery]


def test_a_damaged_name_of_a_destination_hides_no_other(queue: SceneQueue) -> None:
    """A name that isn't UTF-8 any more is passed over, in the states and in the ledger."""
    conn = queue.connection
    control.put_state(conn, DEST, {})
    conn.execute("INSERT INTO destinations VALUES (CAST(x'ff61' AS TEXT), '{}')")
    for name in ("a", DEST):
        ledger.write(conn, ledger.Sent(name, 5, 1, "", START, "/a", "sent"))
    conn.execute("UPDATE sent SET destination = CAST(x'40ff' AS TEXT) WHERE destination = 'a'")
    assert control.states(conn) == {DEST: {}}
    assert ledger.destinations(conn) == [DEST]


@pytest.mark.parametrize("due", ["soon", b"\xff", None])
def test_an_invalid_due_time_holds_up_nothing(queue: SceneQueue, due: object) -> None:
    """A delivery with a damaged due time delays no others, and is due after the next start."""
    queue.route([event(6, seq=2)], dict.fromkeys([DEST], 0.0))
    try:
        queue.connection.execute(f"UPDATE {schema.DELIVERIES} SET due = ? WHERE scene_id = 5", (due,))
    except sqlite3.IntegrityError:
        return
    assert next_due(queue, DEST) == START
    assert [row.scene_id for row in claim(queue, 10, START)] == [6]
    assert next_due(queue, DEST) is None  # otherwise the loop would look for it again and again
    queue.recover(died=False)
    assert [row.scene_id for row in claim(queue, 10, START)] == [5, 6]


@pytest.mark.parametrize("path", ["/media/a\ud83d.mp4", "/media/\udcff.mp4", "/media/ü.mp4"])
def test_the_ledger_keeps_any_path(queue: SceneQueue, path: str) -> None:
    """The ledger returns a path exactly as it was, even if it isn't valid UTF-8."""
    sent = ledger.Sent(DEST, 5, 1, "2026-01-05T10:00:00Z", START, path, "sent")
    with queue.transaction():
        ledger.write(queue.connection, sent)
    assert ledger.find(queue.connection, DEST, 5) == sent


def test_the_ledger_keeps_a_record_until_there_is_another(queue: SceneQueue) -> None:
    """A delivery without a record keeps the stored one, one with a record replaces it, a destroy removes it."""
    conn = queue.connection
    for written, kept in ((None, None), (b"one", b"one"), (None, b"one"), (b"", b""), (b"two", b"two")):
        ledger.write(conn, ledger.Sent(DEST, 5, 1, "", START, "/a", "sent", written))
        found = ledger.find(conn, DEST, 5)
        assert found is not None
        assert found.record == kept
    ledger.forget(conn, DEST, 5)
    assert ledger.find(conn, DEST, 5) is None


def test_a_damaged_due_time_does_not_block_routing(queue: SceneQueue) -> None:
    """A new event of a scene is routed even if the due time in its row is damaged, and is delivered."""
    queue.connection.execute(f"UPDATE {schema.DELIVERIES} SET due = 'soon'")
    queue.route([event(5, "update", "title", seq=2)], dict.fromkeys([DEST], 0.0))
    assert [row.scene_id for row in claim(queue, 10, START)] == [5]


def test_bytes_that_are_not_utf8_block_nothing(queue: SceneQueue) -> None:
    """Bytes in a text column that aren't UTF-8 make that row corrupt and leave the others readable."""
    queue.connection.execute(f"UPDATE {schema.DELIVERIES} SET data = CAST(x'7bff7d' AS TEXT)")
    queue.route([event(6, seq=2)], dict.fromkeys([DEST], 0.0))
    corrupt, good = claim(queue, 10, START)
    assert isinstance(corrupt, CorruptRow)
    assert corrupt.raw == b"{\xff}"
    assert isinstance(good, Delivery)


def test_a_newer_event_replaces_a_corrupt_row(queue: SceneQueue) -> None:
    """An edit of a scene whose row is damaged is delivered."""
    queue.connection.execute(f"UPDATE {schema.DELIVERIES} SET data = 'x', event = 'y', attempts = 'z'")
    queue.route([event(5, "update", "title", seq=2)], dict.fromkeys([DEST], 0.0))
    (delivery,) = claim(queue, 10, START)
    assert isinstance(delivery, Delivery)
    assert (delivery.event, delivery.changed) == ("update", ("title",))


@settings(max_examples=200)
@given(st.binary(max_size=60) | st.text(max_size=60) | st.integers() | st.none() | st.floats())
def test_anything_can_be_in_a_row(value: object) -> None:
    """Whatever a column holds, decoding returns a delivery or a CorruptRow and never raises."""
    assert isinstance(codec.event(7, value), CorruptRow)
    for place in range(15):
        row: list[object] = [1, DEST, 5, "update", "", 9, 1.5, 0, 0, 0, f"{{{FACTS}}}", 0, 0, 0, START]
        row[place] = value
        if place:
            assert isinstance(codec.delivery(row), CorruptRow | Delivery)


@pytest.mark.parametrize("cell", [b"\xff", b"[" * 100_000, "", "{", "9" * 5000])
def test_a_note_that_cannot_be_decoded_is_not_set(queue: SceneQueue, cell: object) -> None:
    """The same for a destination's state; both can be written again."""
    conn = queue.connection
    conn.execute("INSERT INTO control VALUES (?, ?)", (control.SWEEP, cell))
    conn.execute("INSERT INTO destinations VALUES ('plex', ?)", (cell,))
    assert control.get(conn, control.SWEEP) is None
    assert control.states(conn) == {}
    control.put(conn, control.SWEEP, {"at": START})
    control.put_state(conn, "plex", {"state": "ill"})
    assert control.get(conn, control.SWEEP) == {"at": START}
    assert control.states(conn) == {"plex": {"state": "ill"}}


def test_expediting_one_destination_expedites_no_others(queue: SceneQueue) -> None:
    """Destinations expedited one after the other are all tried now, and no others; "all" stays "all"."""
    conn = queue.connection
    control.expedite(conn, "plex")
    control.expedite(conn, DEST)
    control.expedite(conn, DEST)
    assert control.get(conn, control.EXPEDITE) == ["plex", DEST]
    control.expedite(conn)
    control.expedite(conn, "plex")
    assert control.get(conn, control.EXPEDITE) is True


def test_a_history_is_bounded() -> None:
    """A delivery that fails for weeks keeps its latest attempts only."""
    attempts = [Attempt(float(n), "refused", f"{n}") for n in range(500)]
    kept = codec.facts(event(5), attempts)["history"]
    assert isinstance(kept, list)
    assert [attempt["message"] for attempt in kept] == [f"{n}" for n in range(500 - codec.COUNTED_KEPT, 500)]


def test_an_outage_pushes_out_nothing_that_counted() -> None:
    """After a long outage the history still has every counted attempt, and the latest of the outage."""
    most = 100
    assert not parse({"worker_attempts": most})[1]
    assert parse({"worker_attempts": most + 1})[1]
    counted = [Attempt(float(n), "refused", f"{n}") for n in range(most - 1)]
    absent = [Attempt(1000.0 + n, "not_there_yet", "No item.") for n in range(9)]
    outage = [Attempt(2000.0 + n, "unreachable", f"{n}") for n in range(960)]
    last = Attempt(9000.0, "refused", "the last")
    kept = codec.latest([*counted[:40], *outage, *absent, *counted[40:], last])
    assert kept == [*counted[:40], *outage[-codec.UNCOUNTED_KEPT :], *absent, *counted[40:], last]


# These serve people, change the whole file, or touch one row.
MAY_SCAN = {
    "BACKLOG",
    "COUNT",
    "INBOX_COUNT",
    "MAKE_DUE",
    "RESET_DUE",
    "SHIFT",
    "ADD",
    "ANY",
    "INBOX_ANY",
    "INBOX_ROWS",
    "STATES",
    "EVER_ADDED",
    # Of receipts there are 20,000 at most, and of counts 300 for each destination.
    *("RECEIPTS_PAGE", "RECEIPT_OF_EDIT", "RECEIPTS_COUNT", "RECEIPTS_FIRST", "RECEIPTS_OLD", "INBOX_LATEST"),
    *("DELIVERED", "DELIVERED_OLD", "DELIVERED_PRUNE"),
    "LIVE_COUNT",  # for the page
    "COUNT_DEATH",  # once, at the start
    "LIVE_EDITED",  # of what is in flight, it reads all
}
# These read the whole partial index of what is in flight.
INDEXED = {
    **dict.fromkeys(("IN_FLIGHT", "LIVE_IN_FLIGHT"), "deliveries_in_flight"),
    "SENT_COUNT_NOTES": "sent_notes",
}


def statements() -> dict[str, str]:
    """The statements on queue.db by name."""
    return {
        name: text
        for name, text in {**vars(history_sql), **vars(sql)}.items()
        if isinstance(text, str) and name.isupper() and name[0] != "_" and name not in {"DELIVERIES", "INBOX"}
    }


def plan(conn: sqlite3.Connection, statement: str) -> list[str]:
    """How SQLite would carry out a statement."""
    named = set(re.findall(r":(\w+)", statement))
    numbered = [int(number) for number in re.findall(r"\?(\d)", statement)]
    values: object = dict.fromkeys(named, 1) if named else (1,) * (max(numbered, default=statement.count("?")))
    return [row[3] for row in conn.execute(f"EXPLAIN QUERY PLAN {statement}", values)]  # type: ignore[arg-type]


@pytest.mark.parametrize("name", sorted(set(statements()) - MAY_SCAN))
def test_no_statement_of_the_loop_scans(queue: SceneQueue, name: str) -> None:
    """The cost of an event and of a delivery doesn't grow with the backlog."""
    steps = plan(queue.connection, statements()[name])
    steps = [step for step in steps if not re.match(r"SCAN (\(subquery|CONSTANT ROW)", step)]
    if name in INDEXED:
        assert [step for step in steps if INDEXED[name] not in step] == []
    else:
        assert [step for step in steps if "SCAN" in step or "TEMP B-TREE" in step] == []


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("CLAIM_EDITS", "deliveries_due (destination=? AND deaths=? AND priority=? AND due<?)"),
        ("CLAIM_REST", "deliveries_due (destination=? AND deaths=? AND priority=? AND due<?)"),
        (
            "NEWEST_UNTRIED_EDIT",
            "COVERING INDEX deliveries_due (destination=? AND deaths=? AND priority=? AND due<?)",
        ),
        ("OLDEST_UNTRIED", "deliveries_due (destination=? AND deaths=? AND priority=? AND due<?)"),
        ("LONGEST_WAITING", "COVERING INDEX deliveries_due (destination=? AND deaths=? AND priority=?)"),
        ("NEXT_EDIT_DUE", "COVERING INDEX deliveries_due (destination=? AND deaths=? AND priority=?)"),
        ("NEXT_REST_DUE", "COVERING INDEX deliveries_due (destination=? AND deaths=? AND priority=?)"),
        ("CLAIM_COUNTED", "deliveries_due (destination=? AND deaths>?)"),
        ("FEWEST_DEATHS", "deliveries_due (destination=? AND deaths>?)"),
    ],
)
def test_what_is_due_is_found_by_its_index(queue: SceneQueue, name: str, index: str) -> None:
    """The next delivery is found by an index."""
    assert any(index in step for step in plan(queue.connection, statements()[name]))


def test_the_hooks_insert_scans_nothing(queue: SceneQueue) -> None:
    """A hook's insert appends to one table and changes no index."""
    insert = schema.INSERT
    assert plan(queue.connection, insert) == []
    with closing(
        queue.connection.execute("SELECT name FROM sqlite_schema WHERE tbl_name = ?", (schema.INBOX,))
    ) as c:
        assert c.fetchall() == [(schema.INBOX,)]


def test_the_file_shrinks_again(queue: SceneQueue, tmp_path: Path) -> None:
    """After a big backlog was delivered, queue.db and its log are small again."""
    queue.route([event(n, "destroy", seq=n, path="x" * 500) for n in range(10, 5000)], dict.fromkeys([DEST], 0.0))
    queue.tidy()
    full = (tmp_path / "queue.db").stat().st_size
    with queue.transaction():
        for delivery in claim(queue, 5000, START):
            assert isinstance(delivery, Delivery)
            queue.done(delivery)
    queue.tidy()
    assert (tmp_path / "queue.db").stat().st_size < full / 10
    assert (tmp_path / "queue.db-wal").stat().st_size <= LOG_BYTES


def test_tidying_does_not_wait_for_readers(queue: SceneQueue, tmp_path: Path) -> None:
    """While a button reads for a long time, the worker's checkpoint returns at once."""
    with closing(sqlite3.connect(tmp_path / "queue.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute(f"SELECT count(*) FROM {schema.DELIVERIES}").fetchone()
        queue.route([event(6, seq=2)], dict.fromkeys([DEST], 0.0))
        before = time.monotonic()
        queue.tidy()
        assert time.monotonic() - before < BUSY_SECONDS / 2
    assert queue.connection.execute("PRAGMA busy_timeout").fetchone() == (BUSY_SECONDS * 1000,)
