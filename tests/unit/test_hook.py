"""plugin/hook.py in this process: what it makes of any input. The real process is in tests/integration."""

from __future__ import annotations

import contextlib
import io
import json
import os
import stat
import tempfile
import time
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
    """A data folder shared by many inputs."""
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
def changed_requests(draw: st.DrawFn) -> bytes:
    """A sample with up to three values replaced; the mode stays, since the buttons have their own tests."""
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
    """Checks that the event is in the inbox, or that one message, and no traceback, says why it isn't."""
    before = len(inbox(data))
    code, out, err = run(raw, data)
    if code == 0:
        assert json.loads(out) == {"output": "queued"}
        assert len(inbox(data)) == before + 1
        assert {level for level, _ in log_lines(err)} <= {"w"}
    else:
        failed(code, out, err)
        assert len(inbox(data)) == before


@settings(max_examples=60)
@given(changed_requests())
def test_a_changed_request_is_stored_or_refused_with_a_message(data: Path, raw: bytes) -> None:
    """Whatever parts of Stash's request are replaced, the change is queued or one message says why not."""
    is_kept_or_refused(raw, data)


@settings(max_examples=60)
@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_garbage_is_refused_with_a_message(data: Path, raw: bytes) -> None:
    """Any other standard input is refused with one message, in the log and on stdout, and no traceback."""
    failed(*run(raw, data))


@pytest.mark.parametrize(
    "spoil",
    [
        {"id": "9" * 5000},
        {"id": 2**63},
        {"id": True},
        {"id": 0},
        {"id": "٣"},  # a digit, but not an ASCII digit
        {"id": None},
        {"type": "Scene.Merge.Post"},
        {"type": None},
    ],
)
def test_an_unusable_context_is_refused(data: Path, spoil: dict[str, object]) -> None:
    """A hook without a valid scene id or a known event is refused."""
    context = {"id": 45, "type": "Scene.Update.Post", "input": None, **spoil}
    assert "Nothing was queued" in failed(*run(json.dumps(request(context)).encode(), data))


@pytest.mark.parametrize("name", SAMPLES)
def test_every_kind_of_hook_becomes_one_event(tmp_path: Path, name: str) -> None:
    """Every kind of hook that Stash sends becomes one row: scene, event, changes, time and nothing else."""
    before = time.time()
    ran = run(json.dumps(request(SAMPLES[name]["hookContext"])).encode(), tmp_path)
    assert (ran[0], json.loads(ran[1]), ran[2]) == (0, {"output": "queued"}, b"")
    (row,) = inbox(tmp_path)
    assert before <= row.pop("at") <= time.time()
    assert row.pop("seq") > 0
    assert row == SAMPLES[name]["row"]


def test_a_cover_of_megabytes_stays_out(tmp_path: Path) -> None:
    """A new cover takes no more space in the queue than any other edit."""
    assert run(change(45, cover_image="data:image/jpeg;base64," + "A" * 8_000_000), tmp_path)[0] == 0
    assert inbox(tmp_path)[0]["changed"] == ["cover_image"]
    assert sum(file.stat().st_size for file in tmp_path.glob("queue.db*")) < 200_000


@pytest.mark.parametrize("mode", ["no_such_button", None, ["hook"]])
def test_an_unknown_mode_is_refused_with_one_message(tmp_path: Path, mode: object) -> None:
    """A mode that this version doesn't have is answered with one message and exit code 1."""
    failed(*run(json.dumps(request(None, mode=mode)).encode(), tmp_path))


def test_names_of_changes_are_bounded(tmp_path: Path) -> None:
    """Names of changed fields that are odd, long or too many are dropped; the event is queued."""
    fields = ["id", "ids", "clientMutationId", "a b", "", 5, None, "x" * 65, *(f"f{n:03}" for n in range(100))]
    context = {"id": 1, "type": "Scene.Update.Post", "input": {}, "inputFields": [*fields, "f000"]}
    assert run(json.dumps(request(context)).encode(), tmp_path)[0] == 0
    assert inbox(tmp_path)[0]["changed"] == [f"f{n:03}" for n in range(64)]


@pytest.mark.parametrize("place", ["a\x00b", "/dev/null/here", "\ud800", "", 5])
def test_an_impossible_folder_is_reported(place: object) -> None:
    """If the data folder can't be created, or Stash doesn't name one, one message says so."""
    spoiled = request({"id": 45, "type": "Scene.Update.Post"})
    spoiled["server_connection"]["Dir"] = place
    assert "Nothing was queued." in failed(*run(json.dumps(spoiled).encode()))


def test_the_data_folder_is_private(tmp_path: Path) -> None:
    """Only the user that runs Stash can read the data folder, which is in Stash's configuration folder."""
    ours = request({"id": 45, "type": "Scene.Update.Post"})
    ours["server_connection"]["Dir"] = str(tmp_path / "config")
    (tmp_path / "config").mkdir()
    assert run(json.dumps(ours).encode())[0] == 0
    folder = tmp_path / "config" / "stash_courier"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in ("queue.db", "stash.json"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    assert len(inbox(folder)) == 1


def connection(data: Path) -> dict[str, Any]:
    """The content of stash.json."""
    found: dict[str, Any] = json.loads((data / "stash.json").read_bytes())
    return found


def aged(data: Path, seconds: float, **changes: object) -> dict[str, Any]:
    """Makes stash.json older, or changes other values in it."""
    note = connection(data)
    note = {**note, "at": note["at"] - seconds, "cookie": "old", **changes}
    (data / "stash.json").write_text(json.dumps(note))
    return note


def test_the_worker_can_read_how_to_reach_stash(tmp_path: Path) -> None:
    """The first hook writes everything that the worker needs to reach Stash."""
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


def test_a_recent_address_is_not_rewritten(tmp_path: Path) -> None:
    """A new cookie alone doesn't rewrite the file: every hook of a bulk edit would."""
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
        (0, {"at": "x"}),
        (0, {"at": 10**400}),
    ],
)
def test_an_old_or_foreign_address_is_replaced(tmp_path: Path, seconds: float, changes: dict[str, object]) -> None:
    """stash.json is replaced if it is over a second old, from the future, for another address, or damaged."""
    run(change(1), tmp_path)
    aged(tmp_path, seconds, **changes)
    run(change(2), tmp_path)
    note = connection(tmp_path)
    assert (note["cookie"], note["host"], note["port"], note["scheme"]) == ("MTc2ODI", "0.0.0.0", 9999, "http")
    assert sorted(file.name for file in tmp_path.iterdir() if "stash" in file.name) == ["stash.json"]


def test_an_address_that_cannot_be_written_loses_no_event(tmp_path: Path) -> None:
    """If stash.json can't be written, a warning says so, the event is queued, and no draft is left."""
    (tmp_path / "stash.json").mkdir()
    code, out, err = run(change(1), tmp_path)
    assert (code, json.loads(out)) == (0, {"output": "queued"})
    ((level, text),) = log_lines(err)
    assert level == "w"
    assert "stash.json" in text
    assert len(inbox(tmp_path)) == 1
    assert [file for file in tmp_path.iterdir() if file.name.startswith("stash.json.")] == []


def test_a_worker_that_cannot_be_started_loses_no_event(tmp_path: Path) -> None:
    """If the worker can't be started, a warning says so and the event is queued."""
    (tmp_path / "worker.lock").mkdir()
    code, out, err = run(change(1), tmp_path, worker="")
    assert (code, json.loads(out)) == (0, {"output": "queued"})
    ((level, text),) = log_lines(err)
    assert level == "w"
    assert "The worker can't be started" in text
    assert len(inbox(tmp_path)) == 1


def test_a_wake_that_fails_says_why(tmp_path: Path) -> None:
    """If the worker can't be started, waking it fails with a message; if it may not start, that is no error."""
    wake = json.dumps(request(None, mode="wake")).encode()
    code, out, err = run(wake, tmp_path)
    assert (code, json.loads(out), err) == (0, {"output": "off"}, b"")
    (tmp_path / "worker.lock").mkdir()
    said = failed(*run(wake, tmp_path, worker=""))
    assert said.startswith("The worker can't be started")
    assert str(tmp_path) in said
