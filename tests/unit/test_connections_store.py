"""worker/connections/store.py: connections.json is written whole, conflicts are seen, and no damage loses it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stash_courier.queue.inbox import files, locks
from stash_courier.worker.connections import drafts
from stash_courier.worker.connections import store as module
from stash_courier.worker.connections.model import Entry
from stash_courier.worker.connections.store import Conflict, Store, Stored
from tests import ROOT

ENTRY = Entry("webhook-1", "Hook", "webhook", "on", {"url": "http://a.example/", "secret": "hunter2", "x": [1]})
OFF = Entry("jellyfin", "Jellyfin at home", "jellyfin", "off", {"path_map": ["/\udcff => /é"]}, off_since=1.7e9)
CONTENT = Stored((ENTRY, OFF), 0, 7, frozenset({"plex"}), frozenset({"ab" * 32}))


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A damaged file counts as damaged at once, not only when nobody can be writing it any more."""
    monkeypatch.setattr(module, "WRITTEN_SECONDS", 0.0)


def file(folder: Path) -> Path:
    return folder / files.CONNECTIONS


def copy(folder: Path) -> Path:
    return folder / files.CONNECTIONS_COPY


def aside(folder: Path) -> list[Path]:
    """What was set aside."""
    return sorted(folder.glob(f"{files.CONNECTIONS}.damaged-*"))


def names(folder: Path) -> set[str]:
    """The files in the folder, but the lock."""
    return {path.name for path in folder.iterdir()} - {files.CONNECTIONS_LOCK}


def save(folder: Path, content: Stored = CONTENT, revision: int = 0) -> Stored:
    """Saves a content from this revision."""
    return Store(folder).change(revision, lambda _: content)


def two_revisions(folder: Path) -> Store:
    """A store whose file and copy are revision 2."""
    save(folder)
    kept = Store(folder)
    kept.change(1, lambda stored: replace(stored, next_number=8))
    return kept


def is_whole(stored: Stored, revision: int) -> bool:
    """Whether all connections are there."""
    return stored.entries == CONTENT.entries and stored.revision == revision and not stored.unknown


def test_an_empty_folder_has_no_connections(tmp_path: Path) -> None:
    """Where nothing was ever saved there is no connection, no problem, and nothing is written."""
    assert Store(tmp_path).read() == Stored()
    assert Store(tmp_path / "none").read() == Stored()
    assert list(tmp_path.iterdir()) == []


def test_what_is_saved_is_read_by_another(tmp_path: Path) -> None:
    """Every part of the content is read as it was saved, also paths that aren't UTF-8."""
    saved = save(tmp_path)
    assert saved == replace(CONTENT, revision=1, emptied_at=saved.emptied_at)
    assert saved.emptied_at > 0.0
    assert Store(tmp_path).read() == saved
    assert saved.find("jellyfin") == OFF
    assert saved.find("plex") is None


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    """File, copy and lock have mode 0600 whatever the umask, and no draft is left."""
    before = os.umask(0)
    try:
        two_revisions(tmp_path)
    finally:
        os.umask(before)
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert names(tmp_path) == {files.CONNECTIONS, files.CONNECTIONS_COPY}
    assert copy(tmp_path).read_bytes() == file(tmp_path).read_bytes()


def test_no_secret_in_a_repr(tmp_path: Path) -> None:
    """A content that gets into a log shows no secret."""
    assert "hunter2" not in repr(save(tmp_path))


def test_a_change_from_another_revision_is_a_conflict(tmp_path: Path) -> None:
    """The second of two writers gets a conflict, and what the first one saved stays."""
    kept = two_revisions(tmp_path)
    before = file(tmp_path).read_bytes()
    for revision in (0, 1, 3):
        with pytest.raises(Conflict):
            kept.change(revision, lambda _: Stored())
    assert file(tmp_path).read_bytes() == before


WRITER = """
import json, sys
from dataclasses import replace
from pathlib import Path
import tests
from stash_courier.worker.connections.model import Entry
from stash_courier.worker.connections.store import Conflict, Store

kept, saved = Store(Path(sys.argv[1])), 0
while saved < 40:
    stored = kept.read()
    made = Entry(f"{sys.argv[2]}-{saved}", "x", "webhook")
    try:
        kept.change(stored.revision, lambda now: replace(now, entries=(*now.entries, made)))
        saved += 1
    except Conflict:
        pass
"""


def test_two_processes_lose_nothing(tmp_path: Path) -> None:
    """Two processes that save at the same time keep what both saved, and a reader sees whole files only."""
    both = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), name], cwd=ROOT) for name in "ab"]
    reader, seen = Store(tmp_path), [0]
    while any(process.poll() is None for process in both):
        stored = reader.read()
        assert (stored.problem, len(stored.entries)) == ("", stored.revision)
        seen.append(stored.revision)
    assert [process.returncode for process in both] == [0, 0]
    assert {entry.id for entry in reader.read().entries} == {f"{name}-{n}" for name in "ab" for n in range(40)}
    assert reader.read().revision == 80
    assert seen == sorted(seen)
    assert copy(tmp_path).read_bytes() == file(tmp_path).read_bytes()


def test_a_writer_waits_for_another(tmp_path: Path) -> None:
    """A save that meets another one waits until it has ended."""
    save(tmp_path)
    held = locks.taken(str(tmp_path / files.CONNECTIONS_LOCK))
    assert held is not None
    threading.Timer(0.3, os.close, [held]).start()
    assert Store(tmp_path).change(1, lambda stored: stored).revision == 2


def test_a_lock_that_is_never_released_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A save that can't get the lock says which file is held; reading needs no lock."""
    monkeypatch.setattr(module, "LOCK_SECONDS", 0.1)
    save(tmp_path)
    held = locks.taken(str(tmp_path / files.CONNECTIONS_LOCK))
    assert held is not None
    try:
        with pytest.raises(OSError, match=r"connections\.lock is held"):
            Store(tmp_path).change(1, lambda stored: stored)
        assert is_whole(Store(tmp_path).read(), 1)
    finally:
        os.close(held)


def test_a_failed_write_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the disk is full, the file stays as it is, and no draft with secrets is left."""
    kept = two_revisions(tmp_path)
    before = file(tmp_path).read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        kept.change(2, lambda _: Stored())
    monkeypatch.undo()
    assert file(tmp_path).read_bytes() == before
    assert names(tmp_path) == {files.CONNECTIONS, files.CONNECTIONS_COPY}
    assert is_whole(kept.read(), 2)


# Reading again


def test_an_unchanged_file_is_read_once(tmp_path: Path) -> None:
    """While the file is unchanged, reading it again gives the same content without opening it."""
    kept = two_revisions(tmp_path)
    first = kept.read()
    assert kept.read() is first


def test_what_another_saved_is_noticed(tmp_path: Path) -> None:
    """A worker that runs for months sees every save of another process."""
    kept = Store(tmp_path)
    assert kept.read() == Stored()
    save(tmp_path)
    assert is_whole(kept.read(), 1)
    save(tmp_path, revision=1)
    assert is_whole(kept.read(), 2)


def test_a_save_while_the_file_is_read_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A save between reading the file and returning is seen by the next reading."""
    save(tmp_path)
    kept = Store(tmp_path)
    read = Store._read

    def slowly(one: Store, *, locked: bool) -> Stored:
        monkeypatch.undo()
        found = read(one, locked=locked)
        save(tmp_path, revision=1)
        return found

    monkeypatch.setattr(Store, "_read", slowly)
    assert kept.read().revision == 1
    assert kept.read().revision == 2
    assert copy(tmp_path).read_bytes() == file(tmp_path).read_bytes()


def test_a_file_that_was_edited_by_hand_is_the_good_one(tmp_path: Path) -> None:
    """A person's edit is read, and the copy follows."""
    two_revisions(tmp_path)
    file(tmp_path).write_text(file(tmp_path).read_text().replace("Hook", "Other"))
    found = Store(tmp_path).read().find("webhook-1")
    assert found is not None
    assert found.name == "Other"
    file(tmp_path).unlink()
    found = Store(tmp_path).read().find("webhook-1")
    assert found is not None
    assert found.name == "Other"


# Damage


def spoilt(change: Callable[[dict[str, Any]], object]) -> bytes:
    """A file's content after a change of its JSON."""
    content = json.loads(module._encoded(replace(CONTENT, revision=2)))
    change(content)
    return json.dumps(content).encode()


def connection(**fields: object) -> Callable[[dict[str, Any]], object]:
    """A change of the first connection."""
    return lambda content: content["connections"][0].update(fields)


DAMAGED: dict[str, bytes] = {
    "0 bytes": b"",
    "no JSON": b"no JSON at all",
    "no UTF-8": b"\xff\xfe\x00",
    "zeros": bytes(4096),
    "a list": b"[]",
    "null": b"null",
    "deep nesting": b"[" * 100_000,
    "deep values": spoilt(lambda _: None).replace(b'"hunter2"', b"[" * 50_000 + b"]" * 50_000),
    "a long number": spoilt(lambda _: None).replace(b'"revision": 2', b'"revision": 1' + b"0" * 5000),
    "no format": spoilt(lambda content: content.pop("format")),
    "no connections": spoilt(lambda content: content.pop("connections")),
    "no retired": spoilt(lambda content: content.pop("retired")),
    "connections null": spoilt(lambda content: content.update(connections=None)),
    "connections object": spoilt(lambda content: content.update(connections={})),
    "a connection is text": spoilt(lambda content: content["connections"].append("x")),
    "revision text": spoilt(lambda content: content.update(revision="2")),
    "revision true": spoilt(lambda content: content.update(revision=True)),
    "converted numbers": spoilt(lambda content: content.update(converted=[1])),
    "two with one id": spoilt(connection(id="jellyfin")),
    "id number": spoilt(connection(id=5)),
    "id missing": spoilt(lambda content: content["connections"][0].pop("id")),
    "name null": spoilt(connection(name=None)),
    "kind list": spoilt(connection(kind=["webhook"])),
    "values list": spoilt(connection(values=[])),
    "state unknown": spoilt(connection(state="sleeping")),
    "state list": spoilt(connection(state=["on"])),
    "off_since text": spoilt(connection(off_since="now")),
    "off_since infinite": spoilt(connection(off_since=float("inf"))),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_set_aside_and_its_copy_used(tmp_path: Path, content: bytes) -> None:
    """A damaged file is kept under another name, the copy takes its place, and both are reported."""
    kept = two_revisions(tmp_path)
    good = copy(tmp_path).read_bytes()
    file(tmp_path).write_bytes(content)
    found = kept.read()
    assert is_whole(found, 2)
    assert "was damaged" in found.problem
    assert "copy, revision 2, is used" in found.problem
    assert "hunter2" not in found.problem
    assert len(found.problem) < 500
    (damaged,) = aside(tmp_path)
    assert damaged.read_bytes() == content
    assert damaged.name in found.problem
    assert file(tmp_path).read_bytes() == copy(tmp_path).read_bytes() == good
    assert names(tmp_path) == {files.CONNECTIONS, files.CONNECTIONS_COPY, damaged.name}


def test_a_file_that_was_cut_anywhere_loses_nothing(tmp_path: Path) -> None:
    """A file that was cut at any place is damaged, never a shorter list of connections."""
    two_revisions(tmp_path)
    good = file(tmp_path).read_bytes()
    for size in range(0, len(good), 100):
        file(tmp_path).write_bytes(good[:size])
        assert is_whole(Store(tmp_path).read(), 2), size
        assert file(tmp_path).read_bytes() == good


def test_damage_is_mentioned_until_the_file_is_deleted(tmp_path: Path) -> None:
    """The owner reads of the damage, also after a restart, until the damaged file is deleted."""
    two_revisions(tmp_path)
    file(tmp_path).write_bytes(b"{")
    Store(tmp_path).read()
    later = Store(tmp_path).read()
    (damaged,) = aside(tmp_path)
    assert is_whole(later, 2)
    assert later.problem == f"{damaged.name} was damaged and set aside; delete it when you have checked."
    damaged.unlink()
    assert Store(tmp_path).read().problem == ""


def test_a_missing_file_is_restored(tmp_path: Path) -> None:
    """A file that was deleted is restored from its copy, which is reported as long as the worker runs."""
    kept = two_revisions(tmp_path)
    file(tmp_path).unlink()
    found = kept.read()
    assert is_whole(found, 2)
    assert found.problem == f"{file(tmp_path)} was missing. Its copy, revision 2, is used."
    assert file(tmp_path).read_bytes() == copy(tmp_path).read_bytes()
    assert kept.read() is found


def test_a_missing_copy_is_made_again(tmp_path: Path) -> None:
    """A copy that is missing or damaged is made again."""
    two_revisions(tmp_path)
    for spoil in (lambda: copy(tmp_path).unlink(), lambda: copy(tmp_path).write_bytes(b"{")):
        spoil()
        assert Store(tmp_path).read().problem == ""
        assert copy(tmp_path).read_bytes() == file(tmp_path).read_bytes()


@pytest.mark.parametrize("bad_copy", [None, b"", b"{}"])
def test_without_a_good_copy_nothing_counts_as_removed(tmp_path: Path, bad_copy: bytes | None) -> None:
    """If file and copy are damaged, what was set up is unknown, not removed, and the owner can begin again."""
    kept = two_revisions(tmp_path)
    file(tmp_path).write_bytes(b"{")
    copy(tmp_path).unlink() if bad_copy is None else copy(tmp_path).write_bytes(bad_copy)
    for found in (kept.read(), kept.read(), Store(tmp_path).read()):
        assert found.unknown
        assert found.entries == ()
        assert found.problem.endswith("There is no good copy of it. Restore a backup or enter all again.")
    assert [path.read_bytes() for path in aside(tmp_path)] == [b"{"]
    fresh, entry = drafts.saved(kept.read(), Entry("", "New", "webhook"))
    assert entry.id not in {f"webhook-{number}" for number in range(1000)}  # something may wait for a lost one
    assert kept.change(0, lambda _: fresh).entries == (entry,)
    assert not kept.read().unknown


def test_a_file_that_cannot_be_read_is_unknown(tmp_path: Path) -> None:
    """What can't be read is left alone, is unknown and no change is possible, until it can be read again."""
    kept = two_revisions(tmp_path)
    good = tmp_path / "good"
    file(tmp_path).rename(good)
    file(tmp_path).mkdir()
    for found in (kept.read(), Store(tmp_path).read()):
        assert found.unknown
        assert "can't be read" in found.problem
        assert "Check its owner and permissions" in found.problem
    with pytest.raises(OSError, match="can't be read"):
        kept.change(0, lambda _: Stored())
    file(tmp_path).rmdir()
    good.rename(file(tmp_path))
    assert is_whole(kept.read(), 2)
    assert copy(tmp_path).read_bytes() == file(tmp_path).read_bytes()


def test_a_file_whose_permissions_are_corrected_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker reads the file again once that is allowed, although its content has not changed."""
    kept = two_revisions(tmp_path)
    save(tmp_path, revision=2)
    read = Path.read_bytes

    def refused(path: Path) -> bytes:
        if path == file(tmp_path):
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refused)
    assert kept.read().unknown
    monkeypatch.undo()
    assert is_whole(kept.read(), 3)


def test_a_newer_format_is_left_alone(tmp_path: Path) -> None:
    """A file of a newer version is unknown to this one, which changes neither it nor its copy."""
    kept = two_revisions(tmp_path)
    content = spoilt(lambda content: content.update(format=2, connections="in another form"))
    file(tmp_path).write_bytes(content)
    before = copy(tmp_path).read_bytes()
    found = kept.read()
    assert found.unknown
    assert "newer version" in found.problem
    with pytest.raises(OSError, match="newer version"):
        kept.change(found.revision, lambda _: Stored())
    assert file(tmp_path).read_bytes() == content
    assert copy(tmp_path).read_bytes() == before
    assert aside(tmp_path) == []


def test_a_repair_waits_for_a_writer(tmp_path: Path) -> None:
    """While another program writes, a missing file is unknown, and nothing is put in its place."""
    kept = two_revisions(tmp_path)
    file(tmp_path).unlink()
    held = locks.taken(str(tmp_path / files.CONNECTIONS_LOCK))
    assert held is not None
    began = time.monotonic()
    try:
        found = kept.read()
    finally:
        os.close(held)
    assert time.monotonic() - began < 5
    assert found.unknown
    assert "can't be repaired" in found.problem
    assert not file(tmp_path).exists()
    assert is_whole(kept.read(), 2)


def test_a_huge_file_is_read(tmp_path: Path) -> None:
    """10 MB in a connection are read and written."""
    big = replace(ENTRY, values={"url": "x" * 10_000_000})
    save(tmp_path, replace(CONTENT, entries=(big,)))
    assert Store(tmp_path).read().entries == (big,)


def test_a_file_that_may_still_be_written_is_not_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person copies a backup, and a part of it is there: nothing is known yet, and nothing is touched."""
    monkeypatch.setattr(module, "WRITTEN_SECONDS", 1.0)
    kept = two_revisions(tmp_path)
    whole = file(tmp_path).read_bytes()
    file(tmp_path).write_bytes(whole[:20])
    found = kept.read()
    assert found.unknown
    assert "just writing it" in found.problem
    assert aside(tmp_path) == []
    file(tmp_path).write_bytes(whole)
    assert kept.read().revision == 2
    file(tmp_path).write_bytes(whole[:20])
    os.utime(file(tmp_path), (0, 0))
    assert kept.read().revision == 2
    assert len(aside(tmp_path)) == 1
