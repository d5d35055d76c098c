"""What is remembered of a media server's item, and what status says of notes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stash_courier.queue.history.ledger import Noted
from stash_courier.worker.destinations.media import notes
from stash_courier.worker.destinations.media.record import Record, digest

TEXTS = st.text(max_size=20)
RECORDS = st.builds(
    Record, TEXTS, st.dictionaries(TEXTS, TEXTS, max_size=4), st.lists(TEXTS, max_size=3).map(tuple)
)


@given(RECORDS)
def test_a_record_is_stored_exactly(record: Record) -> None:
    """Whatever a record holds, the next delivery gets it."""
    assert Record.decode(record.encode()) == record


@given(st.binary(max_size=50))
def test_damaged_bytes_are_an_empty_record(raw: bytes) -> None:
    """No stored bytes keep a scene from being delivered."""
    assert isinstance(Record.decode(raw), Record)


def test_an_empty_record_takes_no_room() -> None:
    """A ledger of many scenes without anything to remember stays small."""
    assert Record().encode() == b""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["b", "A"], ("a", "B")),
        ("a\r\nb ", "a\nb"),
        ("é", "e\u0301"),
        (None, ""),
        ((), None),
        (7, 7.0),
        (0, None),
        ({"a"}, ["a "]),
    ],
)
def test_values_that_servers_dont_tell_apart(one: object, other: object) -> None:
    """A value that a server only tidied is still ours."""
    assert digest(one) == digest(other)
    assert len(digest(one)) == 8


@pytest.mark.parametrize(("one", "other"), [("a", "A"), ("a", "b"), (["a"], ["a", "b"]), (7, 7.5), ("a", None)])
def test_other_values_have_another_digest(one: object, other: object) -> None:
    """A value that somebody edited isn't ours any more."""
    assert digest(one) != digest(other)


def test_every_note_is_a_sentence() -> None:
    """Status says how many scenes have each note and what the owner can do; an unknown code is shown too."""
    noted = {
        "locked_fields": Noted(1200, (1, 2)),
        "nfo:Films {switch}": Noted(3, (4, 5, 6)),
        "later": Noted(1, (7,)),
    }
    said = notes.remarks(noted, lambda key: f'"{key}"', "Split it.")
    assert [one.sentence() for one in said] == [
        "Scenes with the note later: 1 (7).",
        "Scenes with locked fields, which were left alone: 1,200 (such as 1, 2). To have what is locked "
        'overwritten, switch "respect_locks" off.',
        "Scenes in the library Films {switch}, where each update makes the server rewrite the .nfo beside the "
        "video: 3 (4, 5, 6). If other programs write these files, switch off the NFO saver of that library.",
    ]
    for code in notes.NOTES:
        (one,) = notes.remarks({f"{code}:detail": Noted(5, (1,))}, lambda key: f'"{key}"', "Split it.")
        assert ": 5 (such as 1). " in one.sentence()
        assert "{" not in one.sentence()
