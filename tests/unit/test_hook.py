"""plugin/hook.py in this process: whatever comes in, what it makes of it. Processes are in tests/integration."""

from __future__ import annotations

import contextlib
import io
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stash_courier.plugin import hook
from tests import ROOT
from tests.support.durable import change, failed, inbox, log_lines, request

SAMPLES = json.loads((ROOT / "tests" / "samples" / "hooks.json").read_text())


def run(raw: bytes, data: Path | None = None, worker: str = "off") -> tuple[int, bytes, bytes]:
    """Exit code, stdout and stderr of ``hook.main``, which writes its log to descriptor 2."""
    env = {"STASH_COURIER_WORKER": worker} | ({} if data is None else {"STASH_COURIER_DATA": str(data)})
    with tempfile.TemporaryFile() as errors, contextlib.redirect_stdout(io.StringIO()) as out:
        kept = os.dup(2)
        os.dup2(errors.fileno(), 2)
        try:
            with mock.patch.dict(os.environ, env):
                if data is None:
                    os.environ.pop("STASH_COURIER_DATA", None)
                code = hook.main(raw, str(ROOT))
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        errors.seek(0)
        return code, out.getvalue().encode(), errors.read()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that many inputs share."""
    folder: Path = tmp_path_factory.mktemp("data")
    return folder


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to every value in a JSON document."""
    yield path
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


@st.composite
def spoiled_requests(draw: st.DrawFn) -> bytes:
    """A sample in which something was replaced by something else; the mode stays, for buttons have tests."""
    sample = request(SAMPLES[draw(st.sampled_from(sorted(SAMPLES)))]["hookContext"])
    document = json.loads(json.dumps(sample))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from([p for p in places(document) if p and p != ("args", "mode")]))
        parent = document
        for key in path[:-1]:
            parent = parent[key]
        parent[path[-1]] = draw(json_values)
    return json.dumps(document).encode()


def is_kept_or_refused(raw: bytes, data: Path) -> None:
    """Either the event is in the inbox, or one sentence says why it isn't; never a traceback."""
    before = len(inbox(data))
    code, out, err = run(raw, data)
    if code == 0:
        assert json.loads(out) == {"output": "queued"}
        assert len(inbox(data)) == before + 1
        assert {level for level, _ in log_lines(err)} <= {"w"}
    else:
        failed(code, out, err)
        assert len(inbox(data)) == before


@settings(max_examples=150, deadline=None)
@given(spoiled_requests())
def test_a_spoiled_request_is_kept_or_refused_in_one_sentence(data: Path, raw: bytes) -> None:
    """Whatever part of Stash's request is something else, the change is queued or one sentence says why not."""
    is_kept_or_refused(raw, data)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_rubbish_is_refused_in_one_sentence(data: Path, raw: bytes) -> None:
    """Whatever stands on stdin, there is no traceback: one sentence, in the log and on stdout."""
    failed(*run(raw, data))


@pytest.mark.parametrize(
    "spoil",
    [
        {"id": "9" * 5000},
        {"id": 2**63},
        {"id": True},
        {"id": 4.5},
        {"id": 0},
        {"id": -3},
        {"id": "٣"},  # a digit, but none of ours
        {"id": None},
        {"type": "Scene.Merge.Post"},
        {"type": ["Scene.Update.Post"]},
        {"type": None},
    ],
)
def test_an_unusable_context_is_refused(data: Path, spoil: dict[str, object]) -> None:
    """A context that names no scene or no known event is refused, whatever form that takes."""
    context = {"id": 45, "type": "Scene.Update.Post", "input": None, **spoil}
    assert "nothing was queued" in failed(*run(json.dumps(request(context)).encode(), data))


def test_an_id_in_quotes_is_an_id(tmp_path: Path) -> None:
    """Stash's GraphQL writes ids as texts; an id in quotes is the same scene."""
    raw = json.dumps(request({"id": "45", "type": "Scene.Update.Post", "input": None})).encode()
    assert run(raw, tmp_path)[0] == 0
    assert [row["scene"] for row in inbox(tmp_path)] == [45]


def test_names_of_changes_are_bounded(tmp_path: Path) -> None:
    """A request can't fill the queue with names: odd, long and surplus ones are dropped, the event stays."""
    fields = ["id", "ids", "clientMutationId", "a b", "", 5, None, "x" * 65, *(f"f{n:03}" for n in range(100))]
    context = {"id": 1, "type": "Scene.Update.Post", "input": {}, "inputFields": [*fields, "f000"]}
    assert run(json.dumps(request(context)).encode(), tmp_path)[0] == 0
    assert inbox(tmp_path)[0]["changed"] == [f"f{n:03}" for n in range(64)]


@pytest.mark.parametrize("place", ["a\x00b", "/proc/none/here", "/dev/null/here", "\ud800"])
def test_an_impossible_folder_is_said(place: str) -> None:
    """Where the data folder can't be made, one sentence says so."""
    spoiled = request({"id": 45, "type": "Scene.Update.Post"})
    spoiled["server_connection"]["Dir"] = place
    assert "can't be made" in failed(*run(json.dumps(spoiled).encode()))


@pytest.mark.parametrize("server", [None, {}, {"Dir": ""}, {"Dir": 5}])
def test_without_a_folder_nothing_is_guessed(server: object) -> None:
    """Stash always names its folder; a request without one is refused, not put somewhere."""
    spoiled = request({"id": 45, "type": "Scene.Update.Post"})
    spoiled["server_connection"] = server
    failed(*run(json.dumps(spoiled).encode()))


def test_the_data_folder_is_private(tmp_path: Path) -> None:
    """Only the user that runs Stash can look into the data folder, which lies beside Stash's configuration."""
    ours = request({"id": 45, "type": "Scene.Update.Post"})
    ours["server_connection"]["Dir"] = str(tmp_path / "config")
    (tmp_path / "config").mkdir()
    assert run(json.dumps(ours).encode())[0] == 0
    folder = tmp_path / "config" / "stash_courier"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in ("queue.db", "connection.json"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    assert len(inbox(folder)) == 1


def connection(data: Path) -> dict[str, Any]:
    """The note that the hook leaves for the worker."""
    found: dict[str, Any] = json.loads((data / "connection.json").read_bytes())
    return found


def aged(data: Path, seconds: float, **changes: object) -> dict[str, Any]:
    """Makes the note older, or otherwise different."""
    note = connection(data)
    note = {**note, "at": note["at"] - seconds, "cookie": "old", **changes}
    (data / "connection.json").write_text(json.dumps(note))
    return note


def test_the_worker_is_told_how_to_reach_stash(tmp_path: Path) -> None:
    """The first hook leaves all that is needed to reach Stash."""
    run(change(1), tmp_path)
    note = connection(tmp_path)
    assert note.pop("at") > 0
    assert note == {
        "scheme": "http",
        "host": "0.0.0.0",
        "port": 9999,
        "cookie": "MTc2ODI",
        "dir": "/nowhere/stash",
        "plugin_dir": "/nowhere/stash/plugins/stash_courier",
    }


def test_a_fresh_note_is_left_alone(tmp_path: Path) -> None:
    """A new cookie alone is no reason to write: hooks of a bulk edit would do nothing else."""
    run(change(1), tmp_path)
    note = aged(tmp_path, 0)
    run(change(2), tmp_path)
    assert connection(tmp_path) == note


@pytest.mark.parametrize(
    ("seconds", "changes"),
    [
        (2, {}),
        (-60, {}),
        (0, {"port": 9998}),
        (0, {"host": "::"}),
        (0, {"scheme": "https"}),
        (0, {"at": "x"}),
        (0, {"at": 10**400}),
    ],
)
def test_an_old_or_foreign_note_is_replaced(tmp_path: Path, seconds: float, changes: dict[str, object]) -> None:
    """A note over a second old, from the future, of another address or damaged is replaced."""
    run(change(1), tmp_path)
    aged(tmp_path, seconds, **changes)
    run(change(2), tmp_path)
    note = connection(tmp_path)
    assert (note["cookie"], note["host"], note["port"], note["scheme"]) == ("MTc2ODI", "0.0.0.0", 9999, "http")
    assert sorted(file.name for file in tmp_path.iterdir() if "connection" in file.name) == ["connection.json"]


def test_a_note_that_cannot_be_written_costs_no_event(tmp_path: Path) -> None:
    """Where the note can't be written the owner is told, the event is safe, and no draft is left."""
    (tmp_path / "connection.json").mkdir()
    code, out, err = run(change(1), tmp_path)
    assert (code, json.loads(out)) == (0, {"output": "queued"})
    ((level, text),) = log_lines(err)
    assert level == "w"
    assert "connection.json" in text
    assert len(inbox(tmp_path)) == 1
    assert [file for file in tmp_path.iterdir() if file.name.startswith("connection.json.")] == []


def test_a_worker_that_cannot_be_started_costs_no_event(tmp_path: Path) -> None:
    """Where the worker can't be started the owner is told and the event is safe."""
    (tmp_path / "worker.lock").mkdir()
    code, out, err = run(change(1), tmp_path, worker="")
    assert (code, json.loads(out)) == (0, {"output": "queued"})
    ((level, text),) = log_lines(err)
    assert level == "w"
    assert "the worker can't be started" in text
    assert len(inbox(tmp_path)) == 1


def test_a_wake_that_wakes_nobody_says_why(tmp_path: Path) -> None:
    """Where the worker can't be started the answer says so; that none may be started is no error."""
    wake = json.dumps(request(None, mode="wake")).encode()
    code, out, err = run(wake, tmp_path)
    assert (code, json.loads(out), err) == (0, {"output": "off"}, b"")
    (tmp_path / "worker.lock").mkdir()
    said = failed(*run(wake, tmp_path, worker=""))
    assert said.startswith("the worker can't be started")
    assert str(tmp_path) in said
