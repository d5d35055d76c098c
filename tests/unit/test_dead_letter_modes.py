"""Dead letters as tasks, programs and the page get them: what they list, send again and discard."""

from __future__ import annotations

import json
import pickle
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.inbox import files
from stash_courier.queue.jobs import Attempt, CorruptRow, Delivery
from stash_courier.worker import VERSION
from stash_courier.worker.connections.model import Entry
from tests.support import connections
from tests.support.press import HOOK, bury, press, refusal, report, states

HOUR, DAY = 3600.0, 86_400.0


def lists(folder: Path, **args: object) -> dict[str, Any]:
    """A page of the list."""
    return press(folder, "dead_letters", **args)


def corrupt(folder: Path, *destinations: str) -> list[int]:
    """Makes dead letters of rows that can't be decoded; their ids."""
    with closing(DeadLetterQueue(folder)) as dlq:
        rows = [CorruptRow(n, to, 0, b"\xff{", "it can't be decoded") for n, to in enumerate(destinations, 7)]
        return [dlq.add(row, ValueError("it can't be decoded"), 0) for row in rows]


def change(folder: Path, sql: str, *values: object) -> None:
    """Changes dlq.db."""
    with closing(sqlite3.connect(folder / files.DLQ_DB)) as conn, conn:
        conn.execute(sql, values)


# Review


def test_review_counts_then_lists_the_latest(tmp_path: Path) -> None:
    """The task's lines: counts by connection and cause, then scene, connection, error, attempts and the answer."""
    connections.store(tmp_path, Entry("plex-1", "Living room", "plex"))
    said = "nope\n\tnever " + "x" * 300
    tried = (Attempt(1.0, "refused", "first", 500, "earlier"), Attempt(2.0, "item_refused", "last", 400, said))
    bury(tmp_path, 1, Failure.BUG, "One")
    bury(tmp_path, 2, Failure.ITEM_REFUSED, "A\nnew line", history=tried)
    bury(tmp_path, 3, Failure.ITEM_REFUSED, "Three", destination="plex-1")
    answer, lines = press(tmp_path, "review_dead_letters", limit="2"), report(tmp_path, "review_dead_letters")
    assert {one["destination"]: one["count"] for one in answer["groups"]}.keys() == {HOOK, "plex-1"}
    assert [one["id"] for one in answer["dead_letters"]] == [3, 2]
    assert (answer["dead_letters"][1]["title"], answer["dead_letters"][1]["answer"]) == ("A\nnew line", said)
    assert lines[0] == "Dead letters: 3. Latest listed: 3."
    assert sum("Dead letters: 1. Group: " in line for line in lines) == 3
    latest = [line for line in lines if line.startswith("Dead letter #")]
    assert latest[0] == (
        'Dead letter #3: scene 3 "Three" to Living room (update), refused: item_refused it was. Attempts: 3. '
        "Failed: just now."
    )
    assert 'scene 2 "A new line"' in latest[1]
    assert len(latest[1].partition("Answer: ")[2]) == 200
    assert '"Retry dead letters"' in lines[-1]


def test_review_fits_the_page_of_logs(tmp_path: Path) -> None:
    """Stash's page shows 30 lines: a review is always shorter, and reports what it left out."""
    for number in range(40):
        bury(tmp_path, number + 1, Failure.ITEM_REFUSED, destination=f"webhook:host-{number}")
        bury(tmp_path, number + 1, Failure.BUG, destination=f"webhook:host-{number}:1")
    lines = report(tmp_path, "review_dead_letters")
    assert len(lines) < 30
    assert "Dead letters in other groups: 70. Groups not listed: 70." in lines
    assert len(press(tmp_path, "review_dead_letters")["groups"]) == 80


@pytest.mark.parametrize("mode", ["review_dead_letters", "dead_letters"])
def test_what_was_shown_is_remembered(mode: str, tmp_path: Path) -> None:
    """Dead letters that were shown once need no announcement before they are deleted."""
    for scene in (1, 2, 3):
        bury(tmp_path, scene, Failure.BUG)
    press(tmp_path, mode, limit=2)
    with closing(DeadLetterQueue(tmp_path)) as dlq:
        assert dlq.count_unseen(-1) == 1
        version = dlq.opened().execute("PRAGMA data_version").fetchone()
        press(tmp_path, mode, limit=2)
        assert dlq.opened().execute("PRAGMA data_version").fetchone() == version  # a poll writes nothing


def test_review_of_one_has_everything(tmp_path: Path) -> None:
    """A dead letter given by id comes with every attempt, the job and the traceback."""
    tried = tuple(Attempt(time.time() - n * HOUR, "refused", f"try {n} failed", 500, "no") for n in (3, 2, 1))
    bury(tmp_path, 1, Failure.REFUSED, "One", history=tried)
    (one,) = press(tmp_path, "review_dead_letters", ids=[1, 99])["dead_letters"]
    assert [attempt["status"] for attempt in one["history"]] == [500, 500, 500]
    assert one["job"]["scene_id"] == 1
    assert "DeliveryFailed" in one["stack_trace"]
    lines = report(tmp_path, "review_dead_letters", ids=[1, 99])
    assert "Dead letter #1, attempt 3 h ago: try 3 failed. Answer: no" in lines
    assert lines[-1] == "Ids without a dead letter: 1 of 2."


# What is stored may be anything


class Evil:
    """Runs code when it is unpickled without checks."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


def test_a_hostile_dead_letter_is_shown_and_runs_nothing(tmp_path: Path) -> None:
    """Bytes that would run code are never loaded; the dead letter is shown with the reason and can go."""
    mark = tmp_path / "ran"
    bury(tmp_path, 1, Failure.BUG)
    change(tmp_path, "UPDATE dead_letters SET job_data = ?", pickle.dumps(Evil(mark)))
    (one,) = press(tmp_path, "review_dead_letters", ids=[1])["dead_letters"]
    assert (one["job"], "was not loaded" in one["job_problem"]) == (None, True)
    assert "was not loaded" in press(tmp_path, "dead_letter", ids=1)["copy"]
    assert press(tmp_path, "discard_dead_letters")["discarded"] == 1
    assert not mark.exists()


def test_a_stored_job_of_any_content_makes_a_valid_answer(tmp_path: Path) -> None:
    """Bytes, infinite numbers, deep nesting and impossible times don't break the JSON that Stash reads."""
    deep: Any = "end"
    for _ in range(300):
        deep = [deep]
    bury(tmp_path, 1, Failure.BUG)
    odd = {"raw": b"\xff\x00", "nan": float("nan"), "huge": 1 << 300, "deep": deep, "half": "\udcff"}
    change(tmp_path, "UPDATE dead_letters SET job_data = ?, failed_at = 9e20", pickle.dumps(odd, protocol=4))
    for mode in ("review_dead_letters", "dead_letter"):
        press(tmp_path, mode, ids=[1])
    assert lists(tmp_path)["matching"] == 1


def test_an_undecodable_row_is_listed_with_its_bytes(tmp_path: Path) -> None:
    """A dead letter without a known scene and connection is listed with its bytes."""
    (row,) = corrupt(tmp_path, "")
    lines = report(tmp_path, "review_dead_letters")
    assert any(line.startswith(f"Dead letter #{row}: an unreadable event to no connection") for line in lines)
    (one,) = press(tmp_path, "review_dead_letters", ids=[row])["dead_letters"]
    assert one["job"]["raw"] == "\\xff{"


# Retry and discard


@pytest.mark.parametrize(
    ("args", "chosen"),
    [
        ({}, {1, 2, 3}),
        ({"ids": "1 3"}, {1, 3}),
        ({"error_type": "bug"}, {1}),
        ({"destination": "plex"}, {3}),
        ({"group": "plex/item_refused/8f286d43"}, {3}),
        ({"limit": 2}, {2, 3}),
        ({"limit": 1, "error_type": "item_refused"}, {3}),
        ({"ids": [1, 2], "error_type": "bug"}, {1}),
        ({"text": "film"}, {2}),
    ],
)
@pytest.mark.parametrize("mode", ["retry_dead_letters", "discard_dead_letters"])
def test_exactly_what_was_chosen(tmp_path: Path, mode: str, args: dict[str, object], chosen: set[int]) -> None:
    """Dead letters are selected by id, error, connection, group, text or number, and the answer counts them."""
    bury(tmp_path, 1, Failure.BUG)
    bury(tmp_path, 2, Failure.ITEM_REFUSED, "A Film")
    bury(tmp_path, 3, Failure.ITEM_REFUSED, destination="plex")
    answer = press(tmp_path, mode, **args)
    assert {scene for scene, state in states(tmp_path).items() if state != "dead"} == chosen
    assert answer.get("retried", answer.get("discarded")) == len(chosen)


@pytest.mark.parametrize("mode", ["retry_dead_letters", "discard_dead_letters"])
@pytest.mark.parametrize(
    ("args", "known"),
    [
        ({"error_type": "bugs", "text": "x"}, "Known: bug."),
        ({"group": "plex/400/00000000"}, "Known: webhook:nas:5678/bug/"),
        ({"destination": "plex"}, f"Known: {HOOK}."),
        ({"as_of": "soon"}, "as_of must be"),
    ],
)
def test_a_filter_that_fits_nothing_is_refused(
    tmp_path: Path, mode: str, args: dict[str, object], known: str
) -> None:
    """A misspelled filter is answered with the values that fit, and nothing is done."""
    bury(tmp_path, 1, Failure.BUG)
    assert known in refusal(tmp_path, mode, **args)
    assert states(tmp_path) == {1: "dead"}


def test_the_tasks_report_what_they_did(tmp_path: Path) -> None:
    """Retry and discard report how many, what can't be sent and what to do instead, and the way back."""
    for scene in (1, 2, 3):
        bury(tmp_path, scene, Failure.BUG)
    corrupt(tmp_path, "", HOOK)
    again = report(tmp_path, "retry_dead_letters", ids=[1, 4])
    assert again[0] == "Dead letters queued again: 1. Each is sent with its scene's current state."
    assert "STASH_COURIER_WORKER=off" in again[1]
    assert again[2].startswith("Dead letters that can't be sent again: 1.")
    assert '"Send all scenes"' in again[2]
    assert len(again) == 3
    gone = report(tmp_path, "discard_dead_letters", ids=[2, 77])
    assert gone == [
        "Dead letters discarded: 1. Left: 4. The page can undo this for 10 minutes.",
        "Ids without a dead letter: 1 of 2.",
    ]
    rest = press(tmp_path, "retry_dead_letters")
    assert (rest["retried"], rest["unsendable"]) == (1, 2)


def test_what_failed_after_the_list_was_shown_is_left_alone(tmp_path: Path) -> None:
    """A retry or discard concerns exactly what was counted, also of what a person selected by hand."""
    bury(tmp_path, 1, Failure.BUG, "Film")
    bury(tmp_path, 2, Failure.BUG, "Other")
    as_of = lists(tmp_path)["as_of"]
    time.sleep(0.002)  # as_of has a resolution
    bury(tmp_path, 3, Failure.BUG, "Film")
    assert lists(tmp_path, as_of=as_of)["newer"] == 1
    retried = press(tmp_path, "retry_dead_letters", text="film", as_of=as_of)
    assert (retried["retried"], retried["newer"]) == (1, 1)
    discarded = press(tmp_path, "discard_dead_letters", ids=[2, 3], as_of=as_of)
    assert (discarded["discarded"], discarded["newer"]) == (1, 1)
    assert states(tmp_path) == {1: "asked", 2: "discarded", 3: "dead"}


def test_a_discard_and_its_undo(tmp_path: Path) -> None:
    """The page sees what can be undone and until when; an undo works once."""
    for scene in (1, 2, 3):
        bury(tmp_path, scene, Failure.BUG)
    discarded = press(tmp_path, "discard_dead_letters", ids=[1, 2])
    assert discarded["until"] == discarded["batch"] + 600
    answer = lists(tmp_path)
    assert answer["discarded"] == {"batch": discarded["batch"], "count": 2, "until": discarded["until"]}
    assert (answer["total"], len(answer["rows"])) == (1, 1)
    assert press(tmp_path, "dead_letter", ids=1)["state"] == "discarded"
    assert press(tmp_path, "restore_dead_letters", batch=discarded["batch"])["restored"] == 2
    assert "10 minutes" in press(tmp_path, "restore_dead_letters", batch=discarded["batch"])["problem"]
    assert lists(tmp_path)["discarded"] is None
    assert states(tmp_path) == dict.fromkeys((1, 2, 3), "dead")


def test_a_careful_retry_is_shown(tmp_path: Path) -> None:
    """One is on its way, the others say that they come after it, and can be retried by themselves."""
    for scene in (1, 2, 3):
        bury(tmp_path, scene, Failure.BUG, "Film")
    answer = press(tmp_path, "retry_dead_letters", careful=True)
    assert (answer["retried"], answer["after_one"]) == (1, 2)
    page = lists(tmp_path)
    first = {"first": answer["first"], "scene_id": 3, "title": "Film", "destination": HOOK}
    assert page["waiting"] == [{**first, "count": 2}]
    assert [(row["state"], row["sendable"]) for row in page["rows"]] == [
        ("asked", False),
        ("after_one", True),
        ("after_one", True),
    ]
    assert press(tmp_path, "retry_dead_letters", ids=[1])["retried"] == 1
    assert lists(tmp_path)["waiting"] == [{**first, "count": 1}]


def test_purge_needs_to_know_the_retention(tmp_path: Path) -> None:
    """While Stash can't be asked, nothing is deleted unless the caller gives the days."""
    bury(tmp_path, 1, Failure.BUG)
    change(tmp_path, "UPDATE dead_letters SET failed_at = failed_at - ?", 40 * DAY)
    assert files.STASH in refusal(tmp_path, "purge_dead_letters")
    assert press(tmp_path, "purge_dead_letters", days="50")["purged"] == 0
    assert press(tmp_path, "purge_dead_letters", days="30") == {"purged": 1, "days": 30, "left": 0}


# The page


def test_a_page_of_the_list(tmp_path: Path) -> None:
    """Rows newest first, with the names of connections, and the counts by which they can be filtered."""
    connections.store(tmp_path, Entry("plex-1", "Living room", "plex"))
    bury(tmp_path, 7, Failure.ITEM_REFUSED, "Seven", destination="plex-1")
    for scene in (8, 9):
        bury(tmp_path, scene, Failure.BUG)
    page = lists(tmp_path)
    assert [row["scene_id"] for row in page["rows"]] == [9, 8, 7]
    assert (page["total"], page["matching"], page["newer"], page["page"], page["pages"]) == (3, 3, 0, 1, 1)
    assert page["connections"] == [
        {"id": HOOK, "name": HOOK, "count": 2},
        {"id": "plex-1", "name": "Living room", "count": 1},
    ]
    assert [(one["label"], one["count"]) for one in page["errors"]] == [("bug", 2), ("refused", 1)]
    assert [(one["name"], one["label"], one["text"], one["count"]) for one in page["groups"]] == [
        (HOOK, "bug", "bug it was", 2),
        ("Living room", "refused", "item_refused it was", 1),
    ]
    last = page["rows"][2]
    assert last.pop("failed_at") <= time.time()
    assert last == {
        "id": 1,
        "scene_id": 7,
        "title": "Seven",
        "path": "",
        "destination": "plex-1",
        "name": "Living room",
        "event": "update",
        "group": page["groups"][1]["group"],
        "error_type": "item_refused",
        "label": "refused",
        "error_message": "item_refused it was",
        "cause": "item_refused it was",
        "attempts": 3,
        "state": "dead",
        "sendable": True,
    }


def test_rows_have_what_the_receiver_said(tmp_path: Path) -> None:
    """With its numbers, quotes and paths, which the text of the group leaves out."""
    answers = ['too long (max 5): "One"', 'too long (max 7): "Two" in /films/2/Two.mp4 on Mon, 2 Jan 2026']
    for number, answer in enumerate(answers, 1):
        attempt = Attempt(5.0, "item_refused", "nas answered 400.", 400, json.dumps({"error": answer}))
        bury(tmp_path, number, Failure.ITEM_REFUSED, "Two", history=(attempt,))
    page = lists(tmp_path)
    assert [one["cause"] for one in page["rows"]] == [f"400: {answer}" for answer in reversed(answers)]
    assert page["groups"][0]["text"] == "400: too long (max #): <text>"


def test_filters_text_and_pages(tmp_path: Path) -> None:
    """The filters narrow the rows and what matches, not the counts beside them; pages have the wanted length."""
    for scene in range(1, 8):
        bury(tmp_path, scene, Failure.BUG if scene % 2 else Failure.ITEM_REFUSED, f"Film {scene}")
    page = lists(tmp_path, error_type="bug", limit=3, page=2)
    assert (page["matching"], page["page"], page["pages"], len(page["rows"])) == (4, 2, 2, 1)
    assert page["total"] == sum(one["count"] for one in page["groups"]) == 7
    assert [row["scene_id"] for row in lists(tmp_path, text="FILM 3")["rows"]] == [3]
    assert lists(tmp_path, destination="plex")["matching"] == 0


def test_what_cannot_be_sent_says_so(tmp_path: Path) -> None:
    """No connection, or no scene: such a dead letter can only be discarded."""
    bury(tmp_path, 1, Failure.BUG, destination="")
    bury(tmp_path, 0, Failure.BUG)
    bury(tmp_path, 3, Failure.BUG)
    assert [row["sendable"] for row in lists(tmp_path)["rows"]] == [True, False, False]


def test_one_has_everything_and_can_be_copied(tmp_path: Path) -> None:
    """One dead letter comes with every attempt, and with a text that has all that an issue needs."""
    connections.store(tmp_path, Entry("plex-1", "Living room", "plex"))
    tried = (
        Attempt(1_700_000_000.0, "busy", "No answer."),
        Attempt(1_700_000_060.0, "item_refused", "It answered 400.", 400, '{"error": "bad"}'),
    )
    job = Delivery(1, "plex-1", 5, "update", ("title",), 9, 1.0, history=tried)
    with closing(DeadLetterQueue(tmp_path, plugin_version="1.2.3")) as dlq:
        error = DeliveryFailed(Failure.ITEM_REFUSED, "It answered 400.")
        dlq.add(job, error, 2, title="A <b>film</b>", path="/media/ä.mp4")
    one = press(tmp_path, "dead_letter", ids=[1])
    assert one["history"][1] == {
        "at": 1_700_000_060.0,
        "failure": "item_refused",
        "label": "refused",
        "message": "It answered 400.",
        "status": 400,
        "answer": '{"error": "bad"}',
    }
    assert (one["plugin_version"], one["path"], one["job"]["changed"]) == ("1.2.3", "/media/ä.mp4", ["title"])
    for part in (
        f"Stash Courier {VERSION}, dead letter 1 of version 1.2.3",
        "5 'A <b>film</b>'",
        "/media/ä.mp4",
        "Living room (plex-1)",
        "2023-11-14 22:13:20 UTC, busy: No answer.",
        "2023-11-14 22:14:20 UTC, item_refused, status 400: It answered 400.",
        '{"error": "bad"}',
    ):
        assert part in one["copy"], part


def test_one_that_is_gone(tmp_path: Path) -> None:
    """A link to a dead letter that was deleted gets a sentence, not an error; looking makes no file."""
    assert "Dead letter 5 doesn't exist any more" in press(tmp_path, "dead_letter", ids=5)["problem"]
    assert "one dead letter" in press(tmp_path, "dead_letter", ids=[1, 2])["problem"]
    assert "Nothing can be brought back" in press(tmp_path, "restore_dead_letters", batch=1)["problem"]
    page = lists(tmp_path, text="x", page=3, as_of=5)
    assert (page["as_of"], page["total"], page["page"], page["rows"]) == (5, 0, 1, [])
    assert not (tmp_path / files.DLQ_DB).exists()
