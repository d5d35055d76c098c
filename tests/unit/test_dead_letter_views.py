"""plugin/views/dead_letters.py: the page's list of dead letters, one of them, what is done with a selection."""

from __future__ import annotations

import json
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.inbox import files
from stash_courier.queue.jobs import Attempt, Delivery
from stash_courier.worker import VERSION
from stash_courier.worker.connections.model import Entry
from tests.support import connections
from tests.support.press import HOOK, bury, press, refusal, states


def lists(folder: Path, **args: object) -> dict[str, Any]:
    """The list as the page gets it."""
    return press(folder, "dead_letters", **args)


def test_the_list_has_what_the_page_shows(tmp_path: Path) -> None:
    """Rows with names and labels, counts for each filter, and nothing else."""
    connections.store(tmp_path, Entry("plex-1", "Living room", "plex"))
    bury(tmp_path, 7, Failure.ITEM_REFUSED, "Seven", destination="plex-1")
    bury(tmp_path, 8, Failure.BUG, "Eight")
    bury(tmp_path, 9, Failure.BUG, "Nine")
    before = time.time()
    answer = lists(tmp_path)
    assert before <= answer["as_of"] <= time.time()
    assert (answer["total"], answer["matching"], answer["newer"]) == (3, 3, 0)
    assert (answer["page"], answer["pages"], answer["discarded"]) == (1, 1, None)
    assert answer["connections"] == [
        {"id": HOOK, "name": HOOK, "count": 2},
        {"id": "plex-1", "name": "Living room", "count": 1},
    ]
    assert answer["errors"] == [
        {"error_type": "bug", "label": "bug", "count": 2},
        {"error_type": "item_refused", "label": "refused", "count": 1},
    ]
    assert [(one["name"], one["label"], one["text"], one["count"]) for one in answer["groups"]] == [
        (HOOK, "bug", "bug it was", 2),
        ("Living room", "refused", "item_refused it was", 1),
    ]
    last = answer["rows"][2]
    assert last.pop("failed_at") <= before
    assert last == {
        "id": 1,
        "scene_id": 7,
        "title": "Seven",
        "path": "",
        "destination": "plex-1",
        "name": "Living room",
        "event": "update",
        "group": answer["groups"][1]["group"],
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
    found = lists(tmp_path)
    assert [one["cause"] for one in found["rows"]] == [f"400: {answer}" for answer in reversed(answers)]
    assert found["groups"][0]["text"] == "400: too long (max #): <text>"


def test_filters_text_and_pages(tmp_path: Path) -> None:
    """The filters narrow the rows and what matches, not the counts beside them; pages have the wanted length."""
    for scene in range(1, 8):
        bury(tmp_path, scene, Failure.BUG if scene % 2 else Failure.ITEM_REFUSED, f"Film {scene}")
    answer = lists(tmp_path, error_type="bug", limit=3, page=2)
    assert (answer["matching"], answer["page"], answer["pages"], len(answer["rows"])) == (4, 2, 2, 1)
    assert answer["total"] == sum(one["count"] for one in answer["groups"]) == 7
    assert [row["scene_id"] for row in lists(tmp_path, text="FILM 3")["rows"]] == [3]
    assert lists(tmp_path, destination="plex")["matching"] == 0
    assert len(lists(tmp_path, group=answer["groups"][0]["group"])["rows"]) == answer["groups"][0]["count"]


def test_all_that_match_are_those_that_were_counted(tmp_path: Path) -> None:
    """A retry or discard of all that match leaves alone what failed after the count was shown."""
    bury(tmp_path, 1, Failure.BUG, "Film")
    bury(tmp_path, 2, Failure.BUG, "Other")
    as_of = lists(tmp_path)["as_of"]
    time.sleep(0.002)
    bury(tmp_path, 3, Failure.BUG, "Film")
    assert lists(tmp_path, as_of=as_of)["newer"] == 1
    retried = press(tmp_path, "retry_dead_letters", text="film", as_of=as_of)
    assert (retried["retried"], retried["newer"]) == (1, 1)
    assert "Failed since the list was shown, so left alone: 1." in retried["lines"][0]
    discarded = press(tmp_path, "discard_dead_letters", text="other", as_of=as_of)
    assert (discarded["discarded"], discarded["newer"]) == (1, 0)
    assert states(tmp_path) == {1: "asked", 2: "discarded", 3: "dead"}


def test_what_failed_once_more_meanwhile_is_told(tmp_path: Path) -> None:
    """Of those that a person selected, one has failed anew since: it is left alone, and counted."""
    for scene in (1, 2):
        bury(tmp_path, scene, Failure.BUG)
    as_of = lists(tmp_path)["as_of"]
    time.sleep(0.002)
    bury(tmp_path, 2, Failure.BUG)
    answer = press(tmp_path, "retry_dead_letters", ids=[1, 2], as_of=as_of)
    assert (answer["retried"], answer["newer"]) == (1, 1)
    assert not any("without a dead letter" in line for line in answer["lines"])
    assert press(tmp_path, "retry_dead_letters", ids=[1], as_of=as_of)["newer"] == 0


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
    nothing = press(tmp_path, "discard_dead_letters", ids=99)
    assert (nothing["discarded"], nothing["batch"], nothing["until"]) == (0, None, None)
    assert "batch" in press(tmp_path, "restore_dead_letters")["problem"]


def test_a_careful_retry_is_shown(tmp_path: Path) -> None:
    """One is on its way, the others say that they come after it, and can be retried by themselves."""
    for scene in (1, 2, 3):
        bury(tmp_path, scene, Failure.BUG, "Film")
    answer = press(tmp_path, "retry_dead_letters", careful=True)
    assert (answer["retried"], answer["after_one"]) == (1, 2)
    assert "Dead letters that follow when that one is delivered: 2." in answer["lines"][0]
    found = lists(tmp_path)
    rows = found["rows"]
    first = {"first": answer["first"], "scene_id": 3, "title": "Film", "destination": HOOK}
    assert found["waiting"] == [{**first, "count": 2}]
    assert [(row["state"], row["sendable"]) for row in rows] == [
        ("asked", False),
        ("after_one", True),
        ("after_one", True),
    ]
    assert press(tmp_path, "retry_dead_letters", ids=[1])["retried"] == 1
    found = lists(tmp_path)
    assert found["rows"][2]["state"] == "asked"
    assert found["waiting"] == [{**first, "count": 1}]
    with closing(DeadLetterQueue(tmp_path)) as dlq:
        dlq.end(answer["first"], delivered=True)
        (released,) = lists(tmp_path)["waiting"]
        assert (released["first"], released["count"], released["scene_id"]) == (0, 1, None)
        dlq.asked()  # as the worker does
    assert lists(tmp_path)["waiting"] == []


def test_what_cannot_be_sent_says_so(tmp_path: Path) -> None:
    """No connection, a deleted one, or no scene: such a dead letter can only be discarded."""
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
        with pytest.raises(DeliveryFailed) as caught:
            raise DeliveryFailed(Failure.ITEM_REFUSED, "It answered 400.")
        dlq.add(job, caught.value, 2, title="A <b>film</b>", path="/media/ä.mp4")
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
        "item_refused",
        "2023-11-14 22:13:20 UTC, busy: No answer.",
        "2023-11-14 22:14:20 UTC, item_refused, status 400: It answered 400.",
        '{"error": "bad"}',
        "Traceback (most recent call last):",
        "test_dead_letter_views.py",
    ):
        assert part in one["copy"], part


def test_one_that_is_gone(tmp_path: Path) -> None:
    """A link to a dead letter that was deleted gets a sentence, not an error; looking makes no file."""
    assert "Dead letter 5 doesn't exist any more" in press(tmp_path, "dead_letter", ids=5)["problem"]
    assert "one dead letter" in press(tmp_path, "dead_letter", ids=[1, 2])["problem"]
    assert "one dead letter" in press(tmp_path, "dead_letter")["problem"]
    assert "Nothing can be brought back" in press(tmp_path, "restore_dead_letters", batch=1)["problem"]
    answer = lists(tmp_path, text="x", page=3, as_of=5)
    assert (answer["as_of"], answer["total"], answer["page"], answer["rows"]) == (5, 0, 1, [])
    assert not (tmp_path / files.DLQ_DB).exists()


def test_an_undecodable_job_can_be_shown(tmp_path: Path) -> None:
    """What can't be read is said, and the rest is there."""
    bury(tmp_path, 1, Failure.BUG)
    with closing(DeadLetterQueue(tmp_path)) as dlq:
        dlq.opened().execute("UPDATE dead_letters SET job_data = x'80', history = '{', failed_at = 9e20")
    one = press(tmp_path, "dead_letter", ids=1)
    assert one["job"] is None
    assert "the stored job was not loaded" in one["copy"]
    assert lists(tmp_path)["matching"] == 1


def test_what_was_shown_is_remembered(tmp_path: Path) -> None:
    """Dead letters on the page count as shown, so they need no announcement before they are deleted."""
    for scene in (1, 2, 3):
        bury(tmp_path, scene, Failure.BUG)
    lists(tmp_path, limit=2)
    with closing(DeadLetterQueue(tmp_path)) as dlq:
        assert dlq.count_unseen(-1) == 1
        changes = dlq.opened().execute("PRAGMA data_version").fetchone()
        lists(tmp_path, limit=2)
        assert dlq.opened().execute("PRAGMA data_version").fetchone() == changes  # a poll writes nothing


@pytest.mark.parametrize("mode", ["retry_dead_letters", "discard_dead_letters"])
def test_a_filter_is_still_checked(tmp_path: Path, mode: str) -> None:
    """A misspelled filter changes nothing, also beside a text."""
    bury(tmp_path, 1, Failure.BUG)
    assert "Known: bug." in refusal(tmp_path, mode, error_type="bugs", text="x")
    assert "as_of must be" in refusal(tmp_path, mode, as_of="soon")
