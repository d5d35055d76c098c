"""The buttons for dead letters: what they list, send again and delete."""

from __future__ import annotations

import pickle
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.failures import Failure
from stash_courier.queue.inbox import files
from stash_courier.queue.jobs import Attempt, CorruptRow
from tests.support.press import HOOK, bury, press, refusal, states

HOUR, DAY = 3600.0, 86_400.0


def test_review_groups_then_lists(tmp_path: Path) -> None:
    """Review counts the errors, then lists the latest with title, destination, error, attempts and age."""
    bury(tmp_path, 1, Failure.BUG, "One")
    bury(tmp_path, 2, Failure.ITEM_REFUSED, "A\nnew line")
    bury(tmp_path, 3, Failure.ITEM_REFUSED, "Three")
    answer = press(tmp_path, "review_dead_letters", limit="2")
    lines = answer["lines"]
    assert lines[:3] == [
        "Dead letters: 3. Latest listed: 2.",
        f"{HOOK}, refused: item_refused it was. Dead letters: 2. Group: {answer['groups'][0]['group']}",
        f"{HOOK}, bug: bug it was. Dead letters: 1. Group: {answer['groups'][1]['group']}",
    ]
    what = f'scene 3 "Three" to {HOOK} (update)'
    assert lines[3] == f"Dead letter #3: {what}, refused: item_refused it was. Attempts: 3. Failed: just now."
    assert 'scene 2 "A new line"' in lines[4]
    assert len(lines) == 6
    assert [dead_letter["id"] for dead_letter in answer["dead_letters"]] == [3, 2]
    assert answer["dead_letters"][1]["title"] == "A\nnew line"


def test_review_shows_the_answer_of_the_destination(tmp_path: Path) -> None:
    """The destination's answer to the last attempt is at the end of the line, cut, and whole in the JSON."""
    said = "nope\n\tnever " + "x" * 300
    now = time.time()
    tried = (Attempt(now, "refused", "first", 500, "earlier"), Attempt(now, "item_refused", "last", 400, said))
    bury(tmp_path, 1, Failure.ITEM_REFUSED, message="nas answered 400, look at its answer.", history=tried)
    answer = press(tmp_path, "review_dead_letters")
    (line,) = (line for line in answer["lines"] if line.startswith("Dead letter #1"))
    assert "refused: nas answered 400, look at its answer. Attempts: 3." in line
    assert "Answer: nope never xxx" in line
    assert line.endswith("…")
    assert len(line.partition("Answer: ")[2]) == 200
    assert answer["dead_letters"][0]["answer"] == said
    assert any("first. Answer: earlier" in line for line in press(tmp_path, "review_dead_letters", ids=1)["lines"])


def test_review_fits_the_page_of_logs(tmp_path: Path) -> None:
    """Stash's page shows 30 lines: a review is always shorter, and reports what it left out."""
    for number in range(40):
        bury(tmp_path, number + 1, Failure.ITEM_REFUSED, destination=f"webhook:host-{number}")
        bury(tmp_path, number + 1, Failure.BUG, destination=f"webhook:host-{number}:1")
    answer = press(tmp_path, "review_dead_letters")
    assert len(answer["lines"]) < 30
    assert "Dead letters in other groups: 70. Groups not listed: 70." in answer["lines"]
    assert len(answer["groups"]) == 80


def test_review_remembers_what_was_shown(tmp_path: Path) -> None:
    """A dead letter that was listed once causes no warning before it is deleted."""
    bury(tmp_path, 1, Failure.BUG)
    bury(tmp_path, 2, Failure.BUG)
    press(tmp_path, "review_dead_letters", limit=1)
    dlq = DeadLetterQueue(tmp_path)
    assert dlq.count_unseen(-1) == 1
    dlq.close()


def test_review_of_one_shows_its_history(tmp_path: Path) -> None:
    """A dead letter given by id is shown with every attempt, the job and the traceback."""
    tried = tuple(Attempt(time.time() - n * HOUR, "refused", f"try {n} failed", 500) for n in (3, 2, 1))
    dead_letter = bury(tmp_path, 1, Failure.REFUSED, "One", history=tried)
    answer = press(tmp_path, "review_dead_letters", ids=[dead_letter, 99])
    (found,) = answer["dead_letters"]
    assert [attempt["status"] for attempt in found["history"]] == [500, 500, 500]
    assert found["job"]["scene_id"] == 1
    assert "DeliveryFailed" in found["stack_trace"]
    assert "Dead letter #1, attempt 3 h ago: try 3 failed." in answer["lines"]
    assert answer["lines"][-1] == "Ids without a dead letter: 1 of 2."


class Evil:
    """Runs code when it is unpickled without checks."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


def test_a_hostile_dead_letter_is_shown_and_runs_nothing(tmp_path: Path) -> None:
    """Bytes that would run code are never loaded; the dead letter is listed with the reason and can be deleted."""
    mark = tmp_path / "ran"
    dead_letter = bury(tmp_path, 1, Failure.BUG)
    conn = sqlite3.connect(tmp_path / files.DLQ_DB)
    conn.execute("UPDATE dead_letters SET job_data = ?", (pickle.dumps(Evil(mark)),))
    conn.commit()
    conn.close()
    assert press(tmp_path, "review_dead_letters")["dead_letters"][0]["id"] == dead_letter
    (found,) = press(tmp_path, "review_dead_letters", ids=[dead_letter])["dead_letters"]
    assert found["job"] is None
    assert "was not loaded" in found["job_problem"]
    assert press(tmp_path, "retry_dead_letters", ids=[dead_letter])["retried"] == 1
    assert press(tmp_path, "discard_dead_letters")["discarded"] == 1
    assert not mark.exists()


def test_a_stored_job_of_any_content_makes_a_valid_answer(tmp_path: Path) -> None:
    """Bytes, infinite numbers and deep nesting in a stored job don't break the JSON that Stash reads."""
    deep: Any = "end"
    for _ in range(300):
        deep = [deep]
    dead_letter = bury(tmp_path, 1, Failure.BUG)
    conn = sqlite3.connect(tmp_path / files.DLQ_DB)
    odd = {"raw": b"\xff\x00", "nan": float("nan"), "huge": 1 << 300, "deep": deep, "half": "\udcff"}
    conn.execute("UPDATE dead_letters SET job_data = ?", (pickle.dumps(odd, protocol=4),))
    conn.commit()
    conn.close()
    (found,) = press(tmp_path, "review_dead_letters", ids=[dead_letter])["dead_letters"]
    assert found["job"] is None or found["job"]["raw"] == "\\xff\x00"


def test_an_undecodable_row_is_listed_with_its_bytes(tmp_path: Path) -> None:
    """A dead letter without a known scene and destination is listed with its bytes."""
    dlq = DeadLetterQueue(tmp_path)
    dead_letter = dlq.add(
        CorruptRow(7, "", 0, b"\xff{", "it can't be decoded"), ValueError("it can't be decoded"), 0
    )
    dlq.close()
    answer = press(tmp_path, "review_dead_letters")
    assert any(
        line.startswith(f"Dead letter #{dead_letter}: an unreadable event to no connection")
        for line in answer["lines"]
    )
    (found,) = press(tmp_path, "review_dead_letters", ids=[dead_letter])["dead_letters"]
    assert found["job"]["raw"] == "\\xff{"


@pytest.mark.parametrize(
    ("args", "asked"),
    [
        ({}, {1, 2, 3}),
        ({"ids": "1 3"}, {1, 3}),
        ({"error_type": "bug"}, {1}),
        ({"destination": "plex"}, {3}),
        ({"group": "plex/item_refused/8f286d43"}, {3}),
        ({"limit": 2}, {2, 3}),
        ({"limit": 1, "error_type": "item_refused"}, {3}),
        ({"ids": [1, 2], "error_type": "bug"}, {1}),
    ],
)
def test_retry_asks_for_what_was_chosen(tmp_path: Path, args: dict[str, object], asked: set[int]) -> None:
    """Dead letters are selected by id, error, destination or number, and the button reports how many."""
    bury(tmp_path, 1, Failure.BUG)
    bury(tmp_path, 2, Failure.ITEM_REFUSED)
    bury(tmp_path, 3, Failure.ITEM_REFUSED, destination="plex")
    answer = press(tmp_path, "retry_dead_letters", **args)
    assert {scene for scene, state in states(tmp_path).items() if state == "asked"} == asked
    assert answer["retried"] == len(asked)
    assert answer["lines"][0].startswith(f"Dead letters queued again: {len(asked)}.")
    assert any("STASH_COURIER_WORKER=off" in line for line in answer["lines"])


def test_retry_says_what_can_never_be_sent_again(tmp_path: Path) -> None:
    """What has no scene stays a dead letter, and the button reports how many and what to do instead."""
    bury(tmp_path, 1, Failure.BUG)
    dlq = DeadLetterQueue(tmp_path)
    for row in (7, 8):
        dlq.add(CorruptRow(row, "", 0, b"\xff{", "it can't be decoded"), ValueError("it can't be decoded"), 0)
    dead_letter = dlq.add(
        CorruptRow(9, HOOK, 0, b"\xff{", "it can't be decoded"), ValueError("it can't be decoded"), 0
    )
    dlq.close()
    answer = press(tmp_path, "retry_dead_letters", ids=[1, dead_letter])
    assert (answer["retried"], answer["unsendable"]) == (1, 1)
    assert any(line.startswith("Dead letters that can't be sent again: 1.") for line in answer["lines"])
    assert not any(line.startswith("Ids ") for line in answer["lines"])
    answer = press(tmp_path, "retry_dead_letters")
    assert (answer["retried"], answer["unsendable"]) == (0, 3)
    assert answer["lines"][1].startswith("Dead letters that can't be sent again: 3.")
    assert '"Send all scenes"' in answer["lines"][1]
    assert press(tmp_path, "retry_dead_letters", destination=HOOK)["unsendable"] == 1
    assert states(tmp_path) == {1: "asked", 0: "dead"}


def test_a_filter_that_fits_nothing_is_refused(tmp_path: Path) -> None:
    """A filter that fits no dead letter is answered with the values that do."""
    bury(tmp_path, 1, Failure.BUG)
    assert "Known: bug." in refusal(tmp_path, "retry_dead_letters", error_type="bugs")
    assert "Known: webhook:nas:5678/bug/" in refusal(tmp_path, "discard_dead_letters", group="plex/400/00000000")
    assert f"Known: {HOOK}." in refusal(tmp_path, "discard_dead_letters", destination="plex")
    assert states(tmp_path) == {1: "dead"}


def test_discard_takes_what_was_chosen(tmp_path: Path) -> None:
    """Only the selected dead letters are discarded, and the button reports what is left and how to undo it."""
    for scene_id in (1, 2, 3):
        bury(tmp_path, scene_id, Failure.BUG)
    answer = press(tmp_path, "discard_dead_letters", ids=[2, 77])
    assert (answer["discarded"], answer["left"]) == (1, 2)
    assert answer["lines"] == [
        "Dead letters discarded: 1. Left: 2. To undo this within 10 minutes, run the mode restore_dead_letters "
        f"with the batch {answer['batch']:.3f}.",
        "Ids without a dead letter: 1 of 2.",
    ]
    assert states(tmp_path) == {1: "dead", 2: "discarded", 3: "dead"}


def test_purge_needs_to_know_the_retention(tmp_path: Path) -> None:
    """While Stash can't be asked, nothing is deleted unless the caller gives the days."""
    bury(tmp_path, 1, Failure.BUG)
    conn = sqlite3.connect(tmp_path / files.DLQ_DB)
    conn.execute("UPDATE dead_letters SET failed_at = failed_at - ?", (40 * DAY,))
    conn.commit()
    conn.close()
    assert files.STASH in refusal(tmp_path, "purge_dead_letters")
    assert press(tmp_path, "purge_dead_letters", days="50")["purged"] == 0
    answer = press(tmp_path, "purge_dead_letters", days="30")
    assert (answer["purged"], answer["left"]) == (1, 0)
    assert answer["lines"][0].startswith("Dead letters deleted: 1. Left: 0. Retention in days: 30.")
