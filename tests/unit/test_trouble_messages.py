"""queue/troubles.py: what a message about trouble says, how two become one, and how it travels."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from stash_courier.queue import codec, transfer, troubles
from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.jobs import CorruptRow, Delivery
from tests.support.durable import DEST, START, Clock
from tests.support.queue_driver import claim

NAMED = troubles.about("plex-1", "Living room", "plex")


def letters(**counts: int) -> str:
    """A message about dead letters, by cause."""
    groups = [
        {**NAMED, "group": f"plex-1/400/{cause}", "error_type": "rejected", "cause": cause, "count": count}
        for cause, count in counts.items()
    ]
    return troubles.dead_letters(START + 60, START, groups)


def counts(message: str) -> tuple[Any, dict[Any, Any]]:
    """The number of dead letters, and that of each cause."""
    _, _, about = troubles.message(message)
    groups: Any = about["groups"]
    return about["count"], {group["cause"]: group["count"] for group in groups}


def test_a_slot_is_negative_and_fits_any_number_type() -> None:
    """Slots of different connections differ, never look like a scene, and survive JavaScript."""
    slots = {troubles.slot(name) for name in ("", *(f"webhook:{n}" for n in range(1000)))}
    assert len(slots) == 1001
    assert all(-(2**53) < slot < 0 for slot in slots)


def test_what_each_message_says() -> None:
    """Type, time, and the fields of data, all of which are always there."""
    down = troubles.connection_down(NAMED, START + 600, START, "It  refuses\nthe key.", "Fix this.")
    kind, at, about = troubles.message(down)
    assert (kind, at) == ("courier.connection_down", START + 600)
    summary = about.pop("summary")
    assert about == {
        "title": "Down: Living room",
        "connection_id": "plex-1",
        "connection": "Living room",
        "kind": "plex",
        "since": "2023-11-14T22:13:20.000Z",
        "reason": "It refuses the key.",
        "advice": "Fix this.",
        "count": None,
        "groups": [],
    }
    assert str(summary).startswith("Living room: held up since 2023-11-1")
    assert str(summary).endswith(". It refuses the key.")
    fields = {*about, "summary"}
    for message in (troubles.connection_up(NAMED, START, START), letters(one=1)):
        assert set(troubles.message(message)[2]) == fields


def test_dead_letters_add_up() -> None:
    """Of two messages about dead letters one has the sum of both, by cause, and ten causes at most."""
    assert counts(troubles.joined(letters(a=3, b=1), letters(b=4, c=2))) == (10, {"b": 5, "a": 3, "c": 2})
    many = letters(**{f"cause-{n}": n + 1 for n in range(30)})
    total, groups = counts(troubles.joined(many, letters(a=100)))
    assert (total, len(groups), groups["a"]) == (565, 10, 100)
    assert len(many) < 4000


def test_of_two_states_of_a_connection_the_newer_one_stays() -> None:
    """Recovery replaces the message about the trouble, and the other way round."""
    down = troubles.connection_down(NAMED, START, START, "Why.", "")
    up = troubles.connection_up(NAMED, START + 1, START)
    assert troubles.joined(down, up) == up
    assert troubles.joined(up, down) == down


@pytest.mark.parametrize("damaged", [5, "", "{", "[]", '{"type": "courier.other"}', letters(), "[" * 100_000])
def test_a_damaged_message_is_set_aside(damaged: object) -> None:
    """A message that can't be read is a row that can't be decoded."""
    data = json.dumps({"path": "", "oshash": "", "checksum": "", "notice": damaged})
    row = [1, DEST, -5, "notice", "", 9, 1.5, 0, 0, 0, data, 0, 0, 0, START]
    assert isinstance(codec.delivery(row), CorruptRow)


@pytest.mark.parametrize(("scene_id", "event"), [(-5, "update"), (5, "notice"), (0, "notice"), (0, "update")])
def test_only_messages_have_negative_ids(scene_id: int, event: str) -> None:
    """A row that is half a scene's and half a message's is damaged."""
    data = json.dumps({"path": "", "oshash": "", "checksum": "", "notice": letters(a=1)})
    row = [1, DEST, scene_id, event, "", 9, 1.5, 0, 0, 0, data, 0, 0, 0, START]
    assert isinstance(codec.delivery(row), CorruptRow)


def test_no_hook_can_make_a_message() -> None:
    """An event in the inbox is about a scene, whatever it says."""
    data = json.dumps({"scene": 5, "event": "notice", "changed": [], "at": START, "notice": letters(a=1)})
    assert isinstance(codec.event(7, data), CorruptRow)


def test_a_message_that_comes_during_the_sending_of_another_follows(tmp_path: Path) -> None:
    """What comes in during a request is a message of its own if that succeeds, and is added if it fails."""
    with closing(SceneQueue(tmp_path, clock=Clock(START))) as queue:
        for outcome in ("done", "back"):
            with queue.transaction():
                queue.notify(DEST, troubles.slot(), letters(a=1), START)
            (first,) = claim(queue, 9, START)
            assert isinstance(first, Delivery)
            with queue.transaction():
                queue.notify(DEST, troubles.slot(), letters(a=2), START)
                if outcome == "done":
                    queue.done(first)
                else:
                    queue.back(first, START)
            (second,) = claim(queue, 9, START)
            assert isinstance(second, Delivery)
            assert counts(second.notice) == ((2, {"a": 2}) if outcome == "done" else (3, {"a": 3}))
            with queue.transaction():
                queue.done(second)
        assert queue.empty()


def test_a_dead_letter_of_a_message_joins_what_waits(tmp_path: Path) -> None:
    """If it is sent again while a newer message waits, one message has the dead letters of both."""
    with closing(SceneQueue(tmp_path, clock=Clock(START))) as queue, closing(DeadLetterQueue(tmp_path)) as dlq:
        with queue.transaction():
            queue.notify(DEST, troubles.slot(), letters(a=1), START)
        (job,) = claim(queue, 9, START)
        transfer.bury(queue, dlq, job, RuntimeError("refused"), now=1.0)
        with queue.transaction():
            queue.notify(DEST, troubles.slot(), letters(a=2), START)
        assert dlq.ask() == 1
        (asked,) = dlq.asked()
        assert transfer.redrive(queue, dlq, asked, START)
        (both,) = claim(queue, 9, START)
        assert isinstance(both, Delivery)
        assert (both.event, counts(both.notice)) == ("notice", (3, {"a": 3}))
