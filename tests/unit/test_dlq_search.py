"""Dead letters are found by title, path and scene id, also those of earlier versions, and paged as of a time."""

from __future__ import annotations

import pickle
import sqlite3
import unicodedata
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from stash_courier.queue import migrate, repair, transfer
from stash_courier.queue.dead_letters import listing as dlq_list
from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.dead_letters.listing import Page, Selection
from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.history import ledger
from stash_courier.queue.history.ledger import Sent
from stash_courier.queue.inbox import files, store
from stash_courier.queue.jobs import Delivery
from tests import ROOT
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


def test_what_is_found_is_sent_again_or_discarded(dlq: DeadLetterQueue) -> None:
    """A selection by text changes what a search shows, and nothing else."""
    assert dlq.ask(Selection(text="12")) == 3
    assert dlq.discard(Selection(text="films")).count == 1
    assert [row.scene_id for row in page_of(dlq, Selection(), None, 1, 9).rows] == [34, 2, 1]
    assert dlq.ask(Selection(text="")) == 1


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


def test_filters_and_counts(dlq: DeadLetterQueue) -> None:
    """Counts without a text come from the totals, and are what counting gives."""
    dlq.add(Delivery(1, "plex", 7, "update", (), 1, START), KeyError("x"), 1)
    for selection, count in (
        (Selection(destination="plex"), 1),
        (Selection(error_type="item_refused"), 4),
        (Selection(error_type="item_refused", destination="plex"), 0),
        (Selection(group=dlq.groups()[0].key), 4),
    ):
        page = page_of(dlq, selection, None, 1, 2)
        assert page.matching == count
        assert len(page.rows) == min(count, 2)
        assert len(page.groups) == 2


def test_a_dead_letter_from_the_future_is_listed(dlq: DeadLetterQueue, clock: Clock) -> None:
    """After the clock was set back, nothing is missing from the list."""
    clock.now -= 3600
    page = page_of(dlq, Selection(), None, 1, 50)
    assert (page.matching, page.newer, len(page.rows)) == (4, 0, 4)


COLUMNS = (
    "job_id, scene_id, destination, event, title, job_data, history, error_type, error_message, stack_trace, "
    "retry_count, failed_at, state, generation, seq, plugin_version, group_key, group_text"
)


def old_file(folder: Path) -> None:
    """dlq.db of version 4 with four dead letters, and a ledger that knows two of the scenes."""
    script = (ROOT / "tests" / "samples" / "dlq-version-4.sql").read_text()
    with closing(sqlite3.connect(folder / files.DLQ_DB)) as conn, conn:
        conn.executescript(script)
        for scene, title, job in (
            (1, "Überfall", pickle.dumps({"path": "/media/Gelöscht.mp4"}, protocol=4)),
            (2, "Zwei", pickle.dumps({"path": ""}, protocol=4)),
            (3, b"dr\xffei", b"cos\nsystem\n"),
            (4, "", pickle.dumps({"path": 5}, protocol=4)),
            (5, "", "text"),
        ):
            conn.execute(
                f"INSERT INTO dead_letters ({COLUMNS}) VALUES ('j', ?, ?, 'update', CAST(? AS TEXT), ?, '[]', "
                "'item_refused', 'm', '', 1, 5.0, 'dead', 1, 1, '0.1.0', 'k', 't')",
                (scene, DEST, title, job),
            )
        conn.execute("UPDATE dead_letters SET job_data = CAST(x'ff' AS TEXT) WHERE scene_id = 5")
    store.create(str(folder / files.QUEUE_DB))
    with closing(sqlite3.connect(folder / files.QUEUE_DB)) as conn, conn:
        for scene, path in ((1, "/media/other.mp4"), (2, "/media/Größe.mp4")):
            conn.execute(
                "INSERT INTO sent (destination, scene_id, seq, updated_at, fetched_at, path, outcome) "
                "VALUES ('plex', ?, 1, '', 1.0, ?, 'sent')",
                (scene, path),
            )


def test_old_dead_letters_are_found(tmp_path: Path) -> None:
    """After the upgrade the path comes from the stored job, else from the ledger; an unreadable job has none."""
    old_file(tmp_path)
    migrate.migrate(tmp_path)
    with closing(DeadLetterQueue(tmp_path)) as dlq:
        assert found(dlq, "GELÖSCHT") == found(dlq, "überFALL") == {1}
        assert found(dlq, "grösse.mp4") == found(dlq, "zwei") == {2}
        assert found(dlq, "dr") == {3}
        assert {row.scene_id: row.path for row in dlq.get_recent(9)} == {
            1: "/media/Gelöscht.mp4",
            2: "/media/Größe.mp4",
            3: "",
            4: "",
            5: "",
        }
        with closing(sqlite3.connect(dlq.path)) as conn:
            made = conn.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY name").fetchall()
        dlq.path.unlink()
    with closing(DeadLetterQueue(tmp_path)) as dlq:
        bury(dlq, 1)
        with closing(sqlite3.connect(dlq.path)) as conn:
            new = conn.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY name").fetchall()
    assert [row for row in made if row[1] != "dead_letters"] == [row for row in new if row[1] != "dead_letters"]


def test_a_damaged_old_file_is_searchable_too(tmp_path: Path) -> None:
    """What a repair saves from a file of version 4 is found by its title and its job's path."""
    old_file(tmp_path)
    with (tmp_path / files.DLQ_DB).open("r+b") as file:  # its last page is one of an index
        file.seek(-4096, 2)
        file.write(b"\xff" * 4096)
    assert repair.repair(tmp_path) is not None
    with closing(DeadLetterQueue(tmp_path)) as dlq:
        assert found(dlq, "GELÖSCHT") == found(dlq, "überFALL") == {1}
