"""Covers: which of them a destination remembers to have sent, in a file that may be missing or damaged."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from stash_courier.worker.stash.client import Stash
from stash_courier.worker.stash.covers import COVERS_DB, Memory, StashCovers, memory_of, no_cover

JPEG = b"\xff\xd8\xff\xe0 a picture"
URL = "http://plex:32400"


def memory(folder: Path, destination: str = "plex", server: str = URL) -> Memory:
    """One as a worker makes it."""
    return memory_of(StashCovers(Stash(folder)), destination, server)


def test_a_cover_is_remembered_by_the_next_worker(tmp_path: Path) -> None:
    """What one worker sent the next one doesn't send again, and another cover it does."""
    first = memory(tmp_path)
    assert not first.has(17, "101", JPEG)
    first.note(17, "101", JPEG)
    first.close()
    second = memory(tmp_path)
    assert second.has(17, "101", JPEG)
    assert not second.has(17, "101", JPEG + b"changed")
    second.note(17, "101", JPEG + b"changed")
    assert not second.has(17, "101", JPEG)
    second.close()


def test_a_cover_belongs_to_one_item_of_one_server(tmp_path: Path) -> None:
    """Another server, another destination and an item that was scanned anew have no cover yet."""
    one = memory(tmp_path)
    one.note(17, "101", JPEG)
    assert not one.has(18, "101", JPEG)
    assert not one.has(17, "102", JPEG)
    for other in (memory(tmp_path, server="http://plex:1"), memory(tmp_path, "jellyfin")):
        assert not other.has(17, "101", JPEG)
        other.close()
    one.close()


def test_nothing_is_made_before_it_is_needed(tmp_path: Path) -> None:
    """Who sends no covers has no file."""
    unused = memory(tmp_path)
    unused.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "damage", [b"this is no database at all, is it?" * 200, b"SQLite format 3\0" + b"\xff" * 5000]
)
def test_a_damaged_file_is_an_empty_memory(tmp_path: Path, damage: bytes) -> None:
    """A damaged file costs a cover that is sent once more, no error, and is whole again afterwards."""
    (tmp_path / COVERS_DB).write_bytes(damage)
    one = memory(tmp_path)
    assert not one.has(17, "101", JPEG)
    one.note(17, "101", JPEG)
    assert one.has(17, "101", JPEG)
    one.close()
    with sqlite3.connect(tmp_path / COVERS_DB) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_a_file_that_is_damaged_meanwhile(tmp_path: Path) -> None:
    """A file that breaks while it is in use is no error either."""
    one = memory(tmp_path)
    for scene_id in range(500):
        one.note(scene_id, "101", JPEG)
    path = tmp_path / COVERS_DB
    path.write_bytes(path.read_bytes()[:4096] + b"\xff" * 20_000)
    assert not one.has(17, "101", JPEG)
    one.note(17, "101", JPEG)
    one.close()
    again = memory(tmp_path)
    assert again.has(17, "101", JPEG)
    again.close()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """Where no file can be, nothing is remembered and nobody is bothered."""
    (tmp_path / "gone").mkdir()
    one = memory(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    one.note(17, "101", JPEG)
    assert not one.has(17, "101", JPEG)
    (tmp_path / "gone").mkdir()
    one.note(17, "101", JPEG)
    assert one.has(17, "101", JPEG)
    one.close()


def test_without_a_folder_it_lasts_as_long_as_the_destination() -> None:
    """A memory without a file works for its own time, and knows nothing once it is closed."""
    one = memory_of(no_cover, "plex", URL)
    one.note(17, "101", JPEG)
    assert one.has(17, "101", JPEG)
    one.close()
    assert not one.has(17, "101", JPEG)


def test_threads_share_a_memory(tmp_path: Path) -> None:
    """Deliveries of several threads and destinations lose nothing to each other."""
    both = memory(tmp_path), memory(tmp_path, "jellyfin")

    def work(start: int) -> None:
        for scene_id in range(start, start + 50):
            for one in both:
                one.note(scene_id, "101", JPEG)

    threads = [threading.Thread(target=work, args=(n * 50,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(one.has(scene_id, "101", JPEG) for one in both for scene_id in range(200))
    for one in both:
        one.close()
