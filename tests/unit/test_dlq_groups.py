"""queue/dead_letters/groups.py: dead letters with the same cause have the same group, and others have another."""

from __future__ import annotations

import json
import re
from contextlib import closing
from pathlib import Path

import pytest

from stash_courier.queue.dead_letters import groups as dlq_groups
from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.failures import Failure
from stash_courier.queue.jobs import Delivery
from stash_courier.worker.destinations.media.missing import never_there, not_there_yet
from stash_courier.worker.destinations.media.places import Place, ambiguous
from tests.support.press import bury, press

NAME = "plex"


def group(status: int, answer: str, title: str = "") -> str:
    """The text of the group of a dead letter with this last answer."""
    history = [{"at": 1.0, "failure": "item_refused", "message": "m", "status": status, "answer": answer}]
    return dlq_groups.text_of("item_refused", "message", json.dumps(history), title)


@pytest.mark.parametrize(
    ("one", "other", "text"),
    [
        ("title is longer than 255", "title is longer than 80", "400: title is longer than #"),
        ('unknown studio "Foo"', "unknown studio \"A 'b' c\"", "400: unknown studio <text>"),
        ("no item 'x y' there", "no item 'z' there", "400: no item <text> there"),
        ("can't read /a/b.mp4: gone", "can't read /media/A film (2001).mkv: gone", "400: can't read <path>: gone"),
        ("bad path C:\\a\\b c.mp4", "bad path D:\\x.mkv", "400: bad path <path>"),
        ("see http://nas/a?b=1", "see https://other:80/c", "400: see <url>"),
        (
            "id 123e4567-e89b-12d3-a456-426614174000 failed",
            "id 00000000-ffff-12d3-a456-426614174fff failed",
            "400: id # failed",
        ),
        ("hash d41d8cd98f00b204", "hash 98f00b204e980099", "400: hash #"),
        ("at 2026-11-25T22:01:02.5Z", "at 2025-01-02 03:04", "400: at #"),
        ("on Wed, 25 Nov 2026 10:00", "on Fri, 2 Jan 2026 09:30", "400: on #"),
        (
            '{"error": "title too long", "id": "a"}',
            '{"id": "b", "error": "title  too long"}',
            "400: title too long",
        ),
        (
            '{"errors": [{"message": "no studio 5"}]}',
            '{"errors": [{"message": "no studio 9"}]}',
            "400: no studio #",
        ),
        ('{"error": "cut off", "data": "' + "x" * 3000, '{"error": "cut off", "d', "400: cut off"),
        ("<html><title>Bad request</title>1", "<html><title>Bad request</title>2 x", "400: Bad request"),
        ("<p>no <b>such</b> item 1</p>", "<p>no <b>such</b> item 2</p>", "400: no such item #"),
    ],
)
def test_what_differs_from_scene_to_scene_makes_no_group(one: str, other: str, text: str) -> None:
    """Numbers, ids, quoted texts, paths, dates and hashes make no difference, in text, JSON and HTML."""
    assert group(400, one) == group(400, other) == text


def test_causes_are_told_apart() -> None:
    """Two answers with one status, and one answer with two statuses, are three groups."""
    answers = [(400, "title too long"), (400, "unknown studio"), (422, "title too long")]
    assert len({group(*answer) for answer in answers}) == 3
    errors = [(400, '{"error": "title too long"}'), (400, '{"error": "unknown studio"}')]
    assert len({group(*answer) for answer in errors}) == 2


def test_the_title_in_an_answer_makes_no_group() -> None:
    """A receiver that repeats the scene's title makes one group, not one for each scene."""
    assert group(400, "A long film: refused", "A long film") == group(400, "Other: refused", "Other")


def test_a_group_of_our_own_failures_is_a_plain_sentence(tmp_path: Path) -> None:
    """Whatever the files, a failure that we word has one group with readable words, also in a review."""
    rule = ("/data", "/media")
    failures = [
        never_there("Jellyfin", 1, {Place("/data/a-trailer.mkv", "/media/a-trailer.mkv", rule): "It ends with x"}),
        never_there("Jellyfin", 2, {Place("/data/.b.mkv", "/media/.b.mkv", rule): "It begins with a dot"}),
        not_there_yet("Jellyfin", 3, [Place("/data/c 3.mkv", "/media/c 3.mkv", rule)]),
        not_there_yet("Jellyfin", 4, [Place("/data/d.mkv", "/media/d.mkv", rule)], again_in=7.0),
        not_there_yet("Jellyfin", 5, [Place("/e/e.mkv", "/e/e.mkv", None)], "None of the libraries, 1 or 2."),
        not_there_yet("Jellyfin", 6, [Place("/data/f.mkv", "/media/f.mkv", rule)], "None of the libraries."),
        ambiguous("Jellyfin", 7, Place("/data/g.mkv", "/media/g.mkv", rule), ['"A" (id 1)', '"B" (id 2)']),
    ]
    with closing(DeadLetterQueue(tmp_path)) as dlq:
        for number, failed in enumerate(failures, 1):
            dlq.add(Delivery(1, NAME, number, "update", (), number, 5.0), failed, 3)
        found = {one.text: one.count for one in dlq.groups()}
    outside = "not found yet: its folder is in none of the searched libraries"
    assert found == {
        "never shown by the server: its name, or the name of a folder above it": 2,
        "not found yet: the server has no item with its path": 2,
        f'{outside}, and no rule of "Path map" fits it': 1,
        outside: 1,
        "refused: several items of the server have its path": 1,
    }
    lines = press(tmp_path, "review_dead_letters")["lines"]
    said = "never shown by the server: its name, or the name of a folder above it. Dead letters: 2. Group: "
    assert any(line.startswith(f"{NAME}, {said}") for line in lines)


def test_a_text_that_is_cut_shows_it(tmp_path: Path) -> None:
    """The text of a group never ends in the middle of a word without a mark, however long an answer is."""
    text = group(400, "the receiver said more " * 20)
    assert len(text) <= dlq_groups.LONGEST
    assert re.fullmatch(r"400: (the receiver said more )+(the|the receiver|the receiver said)?…", text)
    assert group(400, "x" * 500) == f"400: {'x' * 154}…"
    exact = "ab " * 51 + "ab"
    assert group(400, exact) == f"400: {exact}"
    bury(tmp_path, 1, Failure.ITEM_REFUSED, message="the receiver said more " * 20)
    (line,) = (one for one in press(tmp_path, "review_dead_letters")["lines"] if "Group: " in one)
    assert re.search(r"\w… Dead letters: 1\.", line)


def test_a_key_is_short_readable_and_stable() -> None:
    """The key names destination and status, and is the same in every version of the plugin."""
    assert dlq_groups.key_of(NAME, "item_refused", "400: title too long") == "plex/400/b7988b17"
    assert dlq_groups.key_of("", "ValueError", "it can't be decoded").startswith("none/ValueError/")
