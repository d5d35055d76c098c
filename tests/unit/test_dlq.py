"""queue/dead_letters: what a dead letter keeps, damaged rows, locks, and costs. See test_dead_letter_model.py."""

from __future__ import annotations

import logging
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from stash_courier.queue.dead_letters import dlq as dlq_module
from stash_courier.queue.dead_letters import listing
from stash_courier.queue.dead_letters import statements as dlq_statements
from stash_courier.queue.dead_letters.dlq import DAY, DeadLetterQueue
from stash_courier.queue.dead_letters.listing import Selection
from stash_courier.queue.dead_letters.statements import LETTER_COLUMNS
from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.inbox import files, store
from stash_courier.queue.jobs import Attempt, CorruptRow, Delivery
from tests.support.durable import DEST, START, Clock

HISTORY = (
    Attempt(START - 20, "busy", "No answer."),
    Attempt(START - 10, "refused", "It answered 500.", 500, "oops"),
)
JOB = Delivery(
    row_id=7,
    destination=DEST,
    scene_id=5,
    event="destroy",
    changed=("date", "title"),
    seq=1_700_000_000_007,
    at=START - 30,
    counted_attempts=2,
    attempts=2,
    path="/media/a.mp4",
    oshash="0f1e",
    checksum="d41d",
    history=HISTORY,
    generation=3,
)


def refused(text: str = "It answered 500.") -> DeliveryFailed:
    """An error with a traceback."""
    with pytest.raises(DeliveryFailed) as caught:
        raise DeliveryFailed(Failure.REFUSED, text)
    return caught.value


@pytest.fixture
def clock() -> Clock:
    """A clock at START."""
    return Clock()


@pytest.fixture
def dlq(tmp_path: Path, clock: Clock) -> Iterator[DeadLetterQueue]:
    """A queue whose file doesn't exist yet."""
    opened = DeadLetterQueue(tmp_path, clock=clock, plugin_version="1.2.3")
    yield opened
    opened.close()


def test_nothing_is_made_by_looking(dlq: DeadLetterQueue, tmp_path: Path) -> None:
    """As long as nothing has failed there is no file, and every method returns nothing."""
    assert (dlq.get_recent(), dlq.get_by_id(1), dlq.get_count(), dlq.groups()) == ([], None, 0, [])
    some = Selection([1])
    assert (dlq.ask(some), dlq.ask_carefully(some), dlq.discard(some).count) == (0, (None, 0), 0)
    assert (dlq.restore(START), dlq.delete_older_than(), dlq.recall(DEST, {5}, 0), dlq.asked()) == (0, 0, 0, [])
    dlq.mark_reviewed([1])
    dlq.resolve(DEST, 5, delivered=True)
    assert list(tmp_path.iterdir()) == []


def test_a_dead_letter_is_kept_whole(dlq: DeadLetterQueue, tmp_path: Path) -> None:
    """Everything needed to understand a failure and to send the scene again is stored and can be read."""
    dead_letter_id = dlq.add(JOB, refused(), 2, title="A film")
    assert (tmp_path / files.DLQ_DB).stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(tmp_path / files.DLQ_DB)) as conn:
        assert conn.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert {"dead_letters_failed_at", "dead_letters_scene_id"} <= {
            name for (name,) in conn.execute("SELECT name FROM sqlite_schema WHERE type = 'index'")
        }
    other = DeadLetterQueue(tmp_path)
    dead_letter = other.get_by_id(dead_letter_id)
    other.close()
    assert dead_letter is not None
    assert (dead_letter.job_id, dead_letter.scene_id, dead_letter.destination, dead_letter.event) == (
        JOB.job_id,
        5,
        DEST,
        "destroy",
    )
    assert (dead_letter.title, dead_letter.error_type, dead_letter.error_message) == (
        "A film",
        "refused",
        "It answered 500.",
    )
    assert (dead_letter.retry_count, dead_letter.failed_at, dead_letter.state) == (2, START, "dead")
    assert (dead_letter.generation, dead_letter.seq, dead_letter.plugin_version) == (4, JOB.seq, "1.2.3")
    assert dead_letter.history == HISTORY
    assert "Traceback" in dead_letter.stack_trace
    assert "test_dlq.py" in dead_letter.stack_trace
    assert dead_letter.job == {
        **asdict(JOB),
        "changed": ["date", "title"],
        "history": [asdict(attempt) for attempt in HISTORY],
        "plugin_version": "1.2.3",
    }
    assert dead_letter.job_problem == ""


def spoil(dlq: DeadLetterQueue, **columns: object) -> None:
    """Overwrites columns of all dead letters."""
    with closing(sqlite3.connect(dlq.path)) as conn, conn:
        for column, value in columns.items():
            conn.execute(f"UPDATE dead_letters SET {column} = ?", (value,))


@pytest.mark.parametrize("raw", [b"cos\nsystem\n(S'true'\ntR.", b"Nr\xff\xff\xff\x7f.", b"", "text", 5])
def test_a_job_that_is_not_safe_is_not_loaded(dlq: DeadLetterQueue, raw: object) -> None:
    """A job that was tampered with is not loaded. The rest of the dead letter can be read, with the reason."""
    dead_letter_id = dlq.add(JOB, refused(), 2)
    spoil(dlq, job_data=raw)
    dead_letter = dlq.get_by_id(dead_letter_id)
    assert dead_letter is not None
    assert dead_letter.job is None
    assert "was not loaded" in dead_letter.job_problem
    assert dead_letter.history == HISTORY


@pytest.mark.parametrize("history", ["", "[5]", '[{"at": "x"}]', b"\xff"])
def test_a_history_that_cannot_be_decoded_stops_nothing(dlq: DeadLetterQueue, history: object) -> None:
    """A damaged history is reported, and the next failure of the scene starts a new one."""
    dead_letter_id = dlq.add(JOB, refused(), 2)
    spoil(dlq, history=history)
    dead_letter = dlq.get_by_id(dead_letter_id)
    assert dead_letter is not None
    assert dead_letter.history == ()
    assert "history can't be decoded" in dead_letter.job_problem
    assert dlq.add(JOB, refused(), 2) == dead_letter_id
    again = dlq.get_by_id(dead_letter_id)
    assert again is not None
    assert again.history == HISTORY


@pytest.mark.parametrize("value", ["x", b"\xff", -1, 2**63 - 1, 1e300])
@pytest.mark.parametrize("column", [*LETTER_COLUMNS[1:11], *LETTER_COLUMNS[14:]])
def test_a_damaged_row_is_listed_and_discarded(dlq: DeadLetterQueue, column: str, value: object) -> None:
    """Whatever a column holds, the worker goes on, and a person sees the dead letter and can discard it."""
    dead_letter_id = dlq.add(JOB, refused(), 2, title="A film")
    with suppress(sqlite3.IntegrityError):
        spoil(dlq, **{column: value})
    dlq.ask()
    if column not in {"state", "failed_at"}:
        assert listing.page(dlq.opened(), Selection(), START, 1, 9).rows[0].id == dead_letter_id
        assert [one.generation + one.seq > 0 for one in dlq.in_transit("asked")] in ([True], [False], [])
    assert dlq.get_by_id(dead_letter_id) is not None
    assert dlq.discard().count == (column != "state")


def test_texts_that_are_not_utf8_stop_nothing(dlq: DeadLetterQueue) -> None:
    """A title and a path with lone surrogates can be stored, and a damaged title can be read."""
    dead_letter_id = dlq.add(
        replace(JOB, path="/a\udcff.mp4"), refused("No item for /a\udcff.mp4"), 1, title="\ud800"
    )
    dead_letter = dlq.get_by_id(dead_letter_id)
    assert dead_letter is not None
    assert dead_letter.job is not None
    assert (dead_letter.job["path"], dead_letter.title) == ("/a\udcff.mp4", r"\ud800")
    assert dead_letter.error_message == r"No item for /a\udcff.mp4"
    with closing(sqlite3.connect(dlq.path)) as conn, conn:
        conn.execute("UPDATE dead_letters SET title = CAST(x'ff41' AS TEXT)")
    assert dlq.get_recent()[0].title == "\ufffdA"


def test_a_row_that_could_not_be_decoded_keeps_its_bytes(dlq: DeadLetterQueue) -> None:
    """Each corrupt row becomes one dead letter with its bytes, even if no scene is known."""
    first = dlq.add(CorruptRow(70, "", 0, b"\xff\x00", "why"), ValueError("why"), 0)
    second = dlq.add(CorruptRow(71, "", 0, b"{", "why"), ValueError("why"), 0)
    again = dlq.add(CorruptRow(70, "", 0, b"\xff\x00", "why"), ValueError("why"), 0)
    third = dlq.add(CorruptRow(70, DEST, 5, b"x", "why"), ValueError("why"), 0)
    assert first == again
    assert len({first, second, third}) == 3
    dead_letter = dlq.get_by_id(first)
    assert dead_letter is not None
    assert dead_letter.job is not None
    assert (dead_letter.job["raw"], dead_letter.job["seq"], dead_letter.event) == (b"\xff\x00", 70, "unknown")
    assert (dead_letter.error_type, dead_letter.job_id) == ("ValueError", "inbox:70")
    assert dlq.get_count() == 3


def test_a_second_burial_joins_the_first(dlq: DeadLetterQueue, clock: Clock) -> None:
    """A scene that fails again at a destination has one dead letter, not reviewed, with all its attempts."""
    first = dlq.add(JOB, refused(), 2)
    dlq.mark_reviewed([first])
    dlq.set_state(first, "back")
    clock.now += 100
    newer = Attempt(START + 99, "bug", "KeyError: 'x'")
    later = replace(JOB, event="update", seq=JOB.seq + 9, history=(*HISTORY[1:], newer), generation=0)
    assert dlq.add(later, KeyError("x"), 1) == first
    dead_letter = dlq.get_by_id(first)
    assert dead_letter is not None
    assert dead_letter.history == (*HISTORY, newer)
    assert dead_letter.retry_count == dlq.get_recent()[0].retry_count == len(dead_letter.history)
    assert (dead_letter.event, dead_letter.error_type, dead_letter.seq) == ("update", "KeyError", later.seq)
    assert (dead_letter.state, dead_letter.failed_at) == ("dead", START + 100)
    assert dead_letter.generation == 5
    clock.now += 10 * DAY
    assert dlq.count_unseen(5) == 1
    assert [(one.error_type, one.destination, one.count) for one in dlq.groups()] == [("KeyError", DEST, 1)]


def test_secrets_are_taken_out(tmp_path: Path) -> None:
    """Secrets are removed from dead letters, from the traceback too."""
    dlq = DeadLetterQueue(tmp_path, redact=lambda text: text.replace("hunter2", "***"))
    dlq.add(JOB, refused("hunter2 was refused"), 1)
    dlq.close()
    assert b"hunter2" not in (tmp_path / files.DLQ_DB).read_bytes()


def test_purged_past_retention(
    dlq: DeadLetterQueue,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Old dead letters are deleted except those in transit, the log says how many, and the file shrinks."""
    monkeypatch.setattr(dlq_module, "CHANGED_ROWS", 50)
    big = Attempt(START, "busy", "m", 503, "x" * 2048)
    count = 2 * dlq_module.CHANGED_ROWS + 7
    for scene in range(1, count + 1):
        dlq.add(replace(JOB, scene_id=scene, history=(big,) * 2), refused(), 1)
    clock.now += 20 * DAY
    new = dlq.add(replace(JOB, scene_id=9_000), refused(), 1)
    for scene, state in ((1, "asked"), (2, "back"), (3, "resolved")):
        found = dlq.find(DEST, scene)
        assert found is not None
        dlq.set_state(found[0], state)
    clock.now += 11 * DAY
    dlq.mark_reviewed([new])
    assert dlq.count_unseen(27) == count - 3
    assert dlq.count_unseen(32) == 0
    size = tmp_path.joinpath(files.DLQ_DB).stat().st_size
    with caplog.at_level(logging.INFO):
        assert dlq.delete_older_than(30) == count - 2
    assert f"purged {count - 2} dead letters older than 30 days" in caplog.text
    assert dlq.get_count() == 2
    assert tmp_path.joinpath(files.DLQ_DB).stat().st_size < size / 4
    assert dlq.get_by_id(new) is not None


def test_a_change_of_a_locked_file_fails_whole(dlq: DeadLetterQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another holds the write lock, a change fails and changes nothing."""
    monkeypatch.setattr(dlq_module, "BUSY_SECONDS", 0.0)
    dead_letter = dlq.add(JOB, refused(), 1)
    with closing(sqlite3.connect(dlq.path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        for write in (
            lambda: dlq.add(JOB, refused(), 1),
            dlq.ask,
            dlq.discard,
        ):
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                write()
        dlq.mark_reviewed([dead_letter])  # no reader waits for this, and it comes again
        assert dlq.count_unseen(-1) == 1
        holder.execute("ROLLBACK")
    assert dlq.add(JOB, refused(), 1) == dead_letter
    dlq.mark_reviewed([dead_letter])
    assert dlq.count_unseen(-1) == 0
    assert dlq.ask() == 1


def test_others_can_write_between_the_parts(
    dlq: DeadLetterQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many are changed in parts, between which the worker can write, and a discard comes back as a whole."""
    monkeypatch.setattr(dlq_module, "CHANGED_ROWS", 2)
    for scene in range(1, 8):
        dlq.add(replace(JOB, scene_id=scene), refused(), 1)
    written = []
    with closing(DeadLetterQueue(tmp_path)) as worker:
        worker.opened().execute("PRAGMA busy_timeout = 0")

        def write(_: float) -> None:
            worker.mark_reported()
            written.append(worker.get_count())

        monkeypatch.setattr("time.sleep", write)
        batch = dlq.discard()
    assert (batch.count, written) == (7, [5, 3, 1])
    assert dlq.restore(batch.at) == 7


def test_what_a_message_says_of_a_cause(dlq: DeadLetterQueue) -> None:
    """The text of one dead letter of each cause: with its numbers, without its path, addresses and title."""
    answer = 'Film 7: too long (max 5 of "title") for /films/7/Film 7.mp4, see http://nas/7'
    attempt = Attempt(5.0, "refused", "nas answered 400.", 400, answer)
    dlq.add(replace(JOB, history=(attempt,)), refused(), 1, title="Film 7")
    dlq.add(replace(JOB, scene_id=-5, event="notice"), refused(), 1)  # a message about trouble is no news
    (group,) = dlq.unreported()
    assert group.text == '400: "": too long (max 5 of "title") for <path>, see <url>'
    dlq.mark_reported()
    assert dlq.unreported() == []
    dlq.add(JOB, refused(), 1)
    assert [one.count for one in dlq.unreported()] == [1]


def test_a_careful_retry_is_one_change(dlq: DeadLetterQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one and the rest change in one transaction, and so do its end and the rest."""
    for scene in (1, 2):
        dlq.add(replace(JOB, scene_id=scene), refused(), 1)
    before = dlq.get_recent()
    monkeypatch.setattr(dlq_statements, "ASK", "SELECT no_such_column FROM dead_letters")
    with pytest.raises(sqlite3.OperationalError):
        dlq.ask_carefully()
    assert dlq.get_recent() == before
    monkeypatch.undo()
    dlq.ask_carefully()
    before = dlq.get_recent()
    monkeypatch.setattr(dlq_statements, "SET_STATE", "SELECT no_such_column FROM dead_letters")
    with pytest.raises(sqlite3.OperationalError):
        dlq.resolve(DEST, 2, delivered=True)
    assert dlq.get_recent() == before


def test_a_wrong_clock_keeps_nothing_for_ever(dlq: DeadLetterQueue, clock: Clock) -> None:
    """What was discarded while the clock was years ahead is deleted, too, and what failed then is listed."""
    clock.now += 1000 * DAY
    dlq.add(JOB, refused(), 1)
    clock.now -= 1000 * DAY
    assert listing.page(dlq.opened(), Selection(), clock.now, 1, 9).matching == 1
    clock.now += 1000 * DAY
    dlq.discard()
    clock.now -= 1000 * DAY
    assert listing.discarded(dlq.opened(), clock.now) is None
    assert dlq.delete_discarded() == 1


def test_another_version_is_left_alone(dlq: DeadLetterQueue, tmp_path: Path) -> None:
    """A file of a newer version is refused, and a database without a version is reported as damaged."""
    dlq.add(JOB, refused(), 1)
    dlq.close()
    with closing(sqlite3.connect(tmp_path / files.DLQ_DB)) as conn:
        conn.execute("PRAGMA user_version = 99")
    with pytest.raises(store.QueueUnavailable, match="install the newer plugin again"):
        dlq.get_count()
    with closing(sqlite3.connect(tmp_path / files.DLQ_DB)) as conn:
        conn.execute("PRAGMA user_version = 0")
    with pytest.raises(sqlite3.DatabaseError, match="no database of Stash Courier"):
        dlq.get_count()


# These serve people, or run once at the start and at a change of the settings.
MAY_SCAN = {
    "COUNT",
    "COUNT_BY_DESTINATION",
    "RECENT",
    "UNSENDABLE",
    "ASKABLE",
    "SELECTED",
    "WAITING",  # reads only those that wait
    "GROUPS",
    "EMPTY_GROUPS",
    "UNREPORTED",  # reads only what is new
    "MATCHING",
    "ASKABLE_FIRST",
    "WAIT_FOR",
    "END_WAITING",  # reads only those that wait
    "END_WAITING_OF",
}
NO_STATEMENTS = {"CREATE", "GROUP"}
PARTIAL = "asked|back|unreported|discarded|waiting"  # indexes of few rows


def statements() -> dict[str, str]:
    """The statements of queue/dead_letters/statements.py by name."""
    texts = {name: text for name, text in vars(dlq_statements).items() if name.isupper() and name[0] != "_"}
    pages = {f"IN_TRANSIT {state}": text for state, text in dlq_statements.IN_TRANSIT.items()}
    return pages | {n: t for n, t in texts.items() if isinstance(t, str) and n not in NO_STATEMENTS}


@pytest.mark.parametrize("name", sorted(set(statements()) - MAY_SCAN))
def test_no_statement_of_the_worker_scans(dlq: DeadLetterQueue, name: str) -> None:
    """What the worker does with a dead letter costs the same however many there are."""
    dlq.add(JOB, refused(), 1)
    statement = statements()[name]
    named = re.findall(r":(\w+)", statement)
    values: object = dict.fromkeys(named, 1) if named else (1,) * statement.count("?")
    with closing(sqlite3.connect(dlq.path)) as conn:
        steps = [row[3] for row in conn.execute(f"EXPLAIN QUERY PLAN {statement}", values)]  # type: ignore[arg-type]
    assert [
        step
        for step in steps
        if re.match(rf"SCAN (?!CONSTANT|dead_letters USING (COVERING )?INDEX dead_letters_({PARTIAL}))", step)
        or "B-TREE" in step
    ] == []
