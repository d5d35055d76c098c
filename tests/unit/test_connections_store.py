"""worker/connections/store.py: connections.json is written whole, conflicts are seen, and no damage loses it."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stash_courier.queue.inbox import files, locks
from stash_courier.worker.connections import drafts
from stash_courier.worker.connections.model import STATES, Entry, State
from stash_courier.worker.connections.store import Conflict, Store, Stored
from tests import ROOT

ENTRY = Entry("webhook-1", "Hook", "webhook", "on", {"url": "http://a.example/", "secret": "hunter2", "x": [1]})
OFF = Entry("jellyfin-2", "Jellyfin at home", "jellyfin", "off", {"path_map": ["/\udcff => /é"]}, off_since=1.7e9)
CONTENT = Stored((ENTRY, OFF), 0, 7, frozenset({"plex-3"}))

PLACES = st.integers(0, 9)
DAMAGED = [None, b"", b'{"format": 1, "connections": [', b"[]", b'{"format": 99}', b"\xff"]  # None: deleted


class Killed(BaseException):
    """The program ends here."""


class TwoPrograms(RuleBasedStateMachine):
    """Two programs change connections.json; the model is its content, and the one before the last change.

    Connections are added, changed, switched and deleted; writers work from old revisions; a writer is killed at a
    rename; the file is damaged, deleted, and restored by a person.
    """

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.file, self.previous = self.folder / files.CONNECTIONS, self.folder / files.CONNECTIONS_PREVIOUS
        self.stores = [Store(self.folder), Store(self.folder)]
        self.now = self.before = Stored()
        self.readable = True

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @property
    def places(self) -> int:
        return len(self.now.entries)

    @rule(
        who=st.booleans(),
        place=st.integers(0, 9),
        state=st.sampled_from(STATES),
        value=st.text(),
        lag=st.booleans(),
    )
    def save(self, who: bool, place: int, state: State, value: str, lag: bool) -> None:
        """A new connection, or a change of one; from the present revision or the one before it."""
        entry = self.now.entries[place] if place < self.places else Entry("", "Hook", "webhook")
        entry = replace(entry, state=state, values={"url": value})
        self._change(who, lag, lambda stored: drafts.saved(stored, entry, 0.0)[0])

    @rule(who=st.booleans(), place=PLACES, lag=st.booleans())
    def delete(self, who: bool, place: int, lag: bool) -> None:
        if place < self.places:
            self._change(who, lag, partial(drafts.deleted, connection=self.now.entries[place].id))

    def _change(self, who: bool, lag: bool, make: Any) -> None:
        content = self.file.read_bytes() if self.file.exists() else None
        if not self.readable:
            with pytest.raises(OSError, match=files.CONNECTIONS):
                self.stores[who].change(self.now.revision, make)
        elif lag:
            with pytest.raises(Conflict):
                self.stores[who].change(self.now.revision - 1, make)
        else:
            made = replace(make(self.now), revision=self.now.revision + 1)
            assert self.stores[who].change(self.now.revision, make) == made
            self.now, self.before = made, self.now
            return
        assert (self.file.read_bytes() if self.file.exists() else None) == content

    @precondition(lambda self: self.readable)
    @rule(renames=st.integers(0, 1))
    def kill(self, renames: int) -> None:
        """A writer ends before it renames a draft: the one of the new content, or of the previous one."""
        left, rename = [renames], Path.replace

        def killed(path: Path, target: Path) -> Path:
            if not left[0]:
                raise Killed
            left[0] -= 1
            return rename(path, target)

        made = replace(self.now, next_number=self.now.next_number + 1)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Path, "replace", killed)
            with pytest.raises(Killed):
                Store(self.folder).change(self.now.revision, lambda _: made)
        if renames:
            self.now = replace(made, revision=made.revision + 1)

    @rule(
        content=st.sampled_from([None, b"", b'{"format": 1, "connections": [', b"[]", b'{"format": 99}', b"\xff"])
    )
    def damage(self, content: bytes | None) -> None:
        if content is not None:
            self.file.write_bytes(content)
        else:
            self.file.unlink(missing_ok=True)
        self.readable = content is None and not self.previous.exists()
        if self.readable:  # nothing says that there was a file
            self.now = Stored()

    @precondition(lambda self: not self.readable and self.previous.exists())
    @rule()
    def restore(self) -> None:
        """A person copies the previous content over the file."""
        shutil.copyfile(self.previous, self.file)
        self.now, self.readable = self.before, True

    @invariant()
    def every_program_reads_the_same(self) -> None:
        content = self.file.read_bytes() if self.file.exists() else None
        for store in [*self.stores, Store(self.folder)]:
            found = store.read()
            assert found.unknown != self.readable
            assert found == self.now if self.readable else found.entries == ()
        assert (self.file.read_bytes() if self.file.exists() else None) == content  # reading never writes


TestTwoPrograms = TwoPrograms.TestCase
TestTwoPrograms.settings = settings(max_examples=30, stateful_step_count=15, deadline=None)


def test_everything_that_is_saved_is_read(tmp_path: Path) -> None:
    """All fields of a connection come back, also paths that aren't UTF-8; no repr has a secret."""
    Store(tmp_path).change(0, lambda _: CONTENT)
    assert Store(tmp_path).read() == replace(CONTENT, revision=1)
    assert "hunter2" not in repr(Store(tmp_path).read())


def test_only_the_owner_can_read_the_files(tmp_path: Path) -> None:
    """connections.json and the previous one hold secrets."""
    for revision in (0, 1):
        Store(tmp_path).change(revision, lambda _: CONTENT)
    found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("connections.json*")}
    assert found == {files.CONNECTIONS: 0o600, files.CONNECTIONS_PREVIOUS: 0o600}


@pytest.mark.parametrize(
    "change",
    [
        {"connections": [{"id": "a"}]},
        {"connections": [{"id": "a", "name": "A", "kind": "webhook", "state": "resting"}]},
        {"connections": [{"id": "a", "name": "A", "kind": "webhook", "values": []}]},
        {"connections": [{"id": "a", "name": "A", "kind": "webhook"}] * 2},
        {"connections": None},
        {"revision": "one"},
        {"format": 2},
    ],
)
def test_content_of_another_shape_is_not_guessed_at(tmp_path: Path, change: dict[str, object]) -> None:
    """It counts as unreadable, and the message names the file and where the previous content is."""
    Store(tmp_path).change(0, lambda _: CONTENT)
    path = tmp_path / files.CONNECTIONS
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    found = Store(tmp_path).read()
    assert found.unknown
    assert found.entries == ()
    assert str(path) in found.problem
    assert files.CONNECTIONS_PREVIOUS in found.problem


def test_a_file_without_permission_is_unknown_until_it_is_corrected(tmp_path: Path) -> None:
    """A folder stands for it: root, who runs the tests in containers, may read any file."""
    store, path = Store(tmp_path), tmp_path / files.CONNECTIONS
    path.mkdir()
    assert "Check its owner and permissions" in store.read().problem
    path.rmdir()
    assert store.read() == Stored()


def test_a_failed_write_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk the old content stays, and no draft is left behind."""
    store = Store(tmp_path)
    store.change(0, lambda _: CONTENT)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        store.change(1, lambda _: Stored())
    assert store.read() == replace(CONTENT, revision=1)
    assert not list(tmp_path.glob("*.draft"))


def test_a_lock_that_is_not_released_is_an_error(tmp_path: Path) -> None:
    """A writer doesn't wait for ever for another one; a reader doesn't wait at all."""
    assert locks.taken(str(tmp_path / files.CONNECTIONS_LOCK)) is not None
    assert Store(tmp_path).read() == Stored()
    with pytest.raises(OSError, match="held by another program"):
        Store(tmp_path).change(0, lambda _: CONTENT, wait=0.0)


WRITER = """
import sys
from pathlib import Path
import tests
from stash_courier.worker.connections import drafts
from stash_courier.worker.connections.model import Entry
from stash_courier.worker.connections.store import Conflict, Store
store, saved = Store(Path(sys.argv[1])), 0
while saved < 20:
    try:
        store.change(store.read().revision, lambda now: drafts.saved(now, Entry("", "n", "webhook"), 0.0)[0])
        saved += 1
    except Conflict:
        pass
"""


def test_two_processes_lose_nothing(tmp_path: Path) -> None:
    """Of forty saves by two processes at once each is there in the end, with an id of its own."""
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    writers = [subprocess.Popen(command, cwd=ROOT) for _ in range(2)]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    stored = Store(tmp_path).read()
    assert (stored.revision, len({entry.id for entry in stored.entries})) == (40, 40)
