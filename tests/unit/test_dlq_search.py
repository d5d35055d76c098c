"""Dead letters are found by title, path and scene id, and paged as of a time."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from stash_courier.queue import transfer
from stash_courier.queue.dead_letters import listing as dlq_list
from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.dead_letters.listing import Page, Selection
from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.history import ledger
from stash_courier.queue.history.ledger import Sent
from stash_courier.queue.jobs import Delivery
from tests.support import transfers
from tests.support.durable import DEST, START, Clock

REFUSED = DeliveryFailed(Failure.ITEM_REFUSED, "It answered 400.")
SCENES = {
    1: ("Überfall in Straße 12", "/media/Ä/one.mp4"),
    2: ("100% [sic] *", "/media/two_12.mkv"),
    12: ("Twelve", "C:\\films\\ΑΣ.mp4"),
    34: ("", "/media/odd\udcff.mp4"),
}


@pytest.fixture
def clock() -> Clock:
    """A clock at START."""
    return Clock()


@pytest.fixture
def dlq(tmp_path: Path, clock: Clock) -> Iterator[DeadLetterQueue]:
    """A dead letter of each scene, a second apart."""
    with closing(DeadLetterQueue(tmp_path, clock=clock)) as opened:
        for scene, (title, path) in SCENES.items():
            clock.now += 1
            bury(opened, scene, title, path)
        yield opened


def bury(dlq: DeadLetterQueue, scene: int, title: str = "", path: str = "", job_path: str = "") -> None:
    """Makes a dead letter of a scene, or joins it to the scene's."""
    dlq.add(
        Delivery(scene, DEST, scene, "update", (), scene, START, path=job_path), REFUSED, 1, title=title, path=path
    )


def page_of(dlq: DeadLetterQueue, selection: Selection, as_of: float | None, number: int, size: int) -> Page:
    """A page of the list, at the queue's time."""
    return dlq_list.page(dlq.opened(), replace(selection, as_of=as_of), dlq._clock(), number, size)


def found(dlq: DeadLetterQueue, text: str) -> set[int]:
    """The scenes that a search finds; a list, its count and a retry agree."""
    page = page_of(dlq, Selection(text=text), None, 1, 50)
    scenes = {row.scene_id for row in page.rows}
    assert page.matching == len(scenes)
    assert page_of(dlq, Selection(text=text), None, 1, 1).matching == len(scenes)
    assert {one.scene_id for one in dlq.get_recent(50, Selection(text=text))} == scenes
    return scenes


@pytest.mark.parametrize(
    ("text", "scenes"),
    [
        ("überfall", {1}),
        ("ÜBERFALL IN STRASSE", {1}),
        (unicodedata.normalize("NFD", "ÜBERFALL"), {1}),
        ("/MEDIA/ä/", {1}),
        ("ας", {12}),  # both small sigmas are the same letter
        ("films\\", {12}),
        ("12", {1, 2, 12}),  # in a title, in a path, an id
        ("4", {1, 12, 34}),  # a part of an id isn't an id, but all paths of mp4 have it
        ("34", {34}),
        ("Scene 34", {34}),
        ("%", {2}),
        ("_1", {2}),
        ("[sic] *", {2}),
        ("  twelve ", {12}),
        ("   ", {1, 2, 12, 34}),
        ("odd\\udcff", {34}),
        ("nothing", set()),
        ("9" * 30, set()),
    ],
)
def test_found_by_text(dlq: DeadLetterQueue, text: str, scenes: set[int]) -> None:
    """Case and composition make no difference, and no character has a special meaning."""
    assert found(dlq, text) == scenes


def test_the_path_of_a_failed_delivery_is_kept(dlq: DeadLetterQueue) -> None:
    """A dead letter knows its scene's path, a deletion's too; a later failure without one keeps the known one."""
    bury(dlq, 50, "", "", job_path="/media/deleted.mp4")
    assert found(dlq, "deleted.mp4") == {50}
    bury(dlq, 12)
    assert found(dlq, "twelve") == found(dlq, "films") == {12}
    bury(dlq, 12, "Dozen", "/media/dozen.mp4")
    assert found(dlq, "dozen") == {12}
    assert found(dlq, "twelve") == found(dlq, "films") == set()


def test_the_path_of_a_delivery_that_was_never_tried(tmp_path: Path) -> None:
    """If Stash wasn't asked for the scene, as when its connection is deleted, the ledger knows the path."""
    transfers.waiting(tmp_path)
    with transfers.opened(tmp_path) as both:
        with both.queue.transaction():
            row = Sent(DEST, transfers.SCENE, 1, "", START, "/media/known.mp4", "sent")
            ledger.write(both.queue.connection, row)
        transfer.bury_waiting(both.queue, both.dlq, DEST, transfers.ERROR, 9)
        assert found(both.dlq, "known.mp4") == {transfers.SCENE}


def ids(page: Page) -> list[int]:
    """The scenes on a page, in its order."""
    return [row.scene_id for row in page.rows]


@pytest.mark.parametrize("text", [None, "m"])
def test_pages_as_of_a_time(dlq: DeadLetterQueue, clock: Clock, text: str | None) -> None:
    """Pages show what there was, newest first, and only count what came later; a retry takes no more than that."""
    shown = Selection(text=text)
    first = page_of(dlq, shown, None, 1, 3)
    assert (first.matching, first.newer, first.pages, ids(first)) == (4, 0, 2, [34, 12, 2])
    clock.now += 10
    bury(dlq, 60, "m")
    bury(dlq, 12, "m")  # it failed again, so it is newer
    second = page_of(dlq, shown, first.as_of, 2, 3)
    assert (second.matching, second.newer, second.number, ids(second)) == (3, 2, 1, [34, 2, 1])
    assert dlq.ask(Selection(text=text, as_of=first.as_of)) == 3
    assert {one.scene_id for one in dlq.asked()} == {1, 2, 34}
    assert ids(page_of(dlq, shown, None, 1, 2)) == [60, 12]


def test_those_of_one_moment_are_in_a_stable_order(dlq: DeadLetterQueue) -> None:
    """Each is on one page, also if many failed in the same moment."""
    for scene in range(100, 120):
        bury(dlq, scene, "same")
    pages = [ids(page_of(dlq, Selection(text="same"), None, number, 7)) for number in (1, 2, 3)]
    assert [scene for page in pages for scene in page] == list(range(119, 99, -1))
    assert ids(page_of(dlq, Selection(text="same"), None, 99, 7)) == pages[2]
