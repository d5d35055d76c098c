"""The hook as Stash starts it: a process that reads JSON from stdin. What it queues, answers and logs."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests import ROOT
from tests.support.durable import change, failed, inbox, request, run_hook, spooled, start_hook

OWN = {
    name: (request(sample["hookContext"]), sample["row"])
    for name, sample in json.loads((ROOT / "tests" / "samples" / "hooks.json").read_text()).items()
}
SHARED = ROOT.parent / "shared" / "stash" / "hooks.json"
GARBAGE = {
    "nothing": b"",
    "white space": b" \n",
    "no JSON": b"hello",
    "not UTF-8": b"\xff\xfe{}",
    "cut off": change(45)[:-10],
    "two documents": change(45) + change(46),
    "a list": b"[]",
    "null": b"null",
    "no args": b"{}",
    "args that are a number": b'{"args": 5}',
    "no hookContext": json.dumps({"args": {"mode": "hook"}, "server_connection": {}}).encode(),
    "an unknown event": json.dumps(request({"id": 45, "type": "Scene.Merge.Post"})).encode(),
    "an event of an image": json.dumps(request({"id": 45, "type": "Image.Update.Post"})).encode(),
    "a scene without id": json.dumps(request({"type": "Scene.Update.Post"})).encode(),
    "deep nesting": b"[" * 200_000,
    "an endless number": b'{"args": ' + b"9" * 10_000 + b"}",
}


@pytest.mark.parametrize("name", OWN)
def test_every_kind_of_hook_becomes_one_job(tmp_path: Path, name: str) -> None:
    """Every kind of hook that Stash sends becomes one row: scene, event, changes, time and nothing else."""
    sample, expected = OWN[name]
    before = time.time()
    ran = run_hook(tmp_path, json.dumps(sample).encode())
    assert (ran.returncode, json.loads(ran.stdout), ran.stderr) == (0, {"output": "queued"}, b"")
    (row,) = inbox(tmp_path)
    assert before <= row.pop("at") <= time.time()
    assert row.pop("seq") > 0
    assert row == expected


@pytest.mark.skipif(
    not SHARED.exists(), reason=f"{SHARED} is not beside this checkout; tests/samples has the shapes"
)
def test_the_shapes_that_stash_sends_are_those_of_our_samples(tmp_path: Path) -> None:
    """Every sample recorded from Stash is queued as one row without the cover."""
    for name, sample in json.loads(SHARED.read_text()).items():
        if "hookContext" not in sample["args"]:
            continue
        data = tmp_path / name
        ran = run_hook(data, json.dumps(sample).encode())
        assert (ran.returncode, json.loads(ran.stdout), ran.stderr) == (0, {"output": "queued"}, b""), name
        (row,) = inbox(data)
        context = sample["args"]["hookContext"]
        assert row["scene"] == context["id"]
        assert row["event"] == context["type"].split(".")[1].lower()
        assert set(row["changed"]) == set(context.get("inputFields", [])) - {"id", "ids"}
        gone = context["input"] if row["event"] == "destroy" else {}
        wanted = {"seq", "scene", "event", "changed", "at"} | ({"path", "oshash", "checksum"} & set(gone))
        assert set(row) == wanted
        assert all(row[key] == gone[key] for key in wanted & set(gone))


def test_a_cover_of_megabytes_stays_out(tmp_path: Path) -> None:
    """A new cover takes no more space in the queue than any other edit."""
    cover = "data:image/jpeg;base64," + "A" * 8_000_000
    assert run_hook(tmp_path, change(45, cover_image=cover)).returncode == 0
    (row,) = inbox(tmp_path)
    assert row["changed"] == ["cover_image"]
    assert sum(file.stat().st_size for file in tmp_path.glob("queue.db*")) < 200_000


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_refused_with_one_message(tmp_path: Path, name: str) -> None:
    """Anything else than a hook is answered with one message and exit code 1."""
    ran = run_hook(tmp_path, GARBAGE[name])
    failed(ran.returncode, ran.stdout, ran.stderr)
    assert inbox(tmp_path) == []
    assert spooled(tmp_path) == []


@pytest.mark.parametrize("mode", ["no_such_button", "", None, 5, ["hook"], {"a": 1}])
def test_an_unknown_mode_is_refused_with_one_message(tmp_path: Path, mode: object) -> None:
    """A mode that this version doesn't have is answered with one message and exit code 1."""
    ran = run_hook(tmp_path, json.dumps(request(None, mode=mode)).encode())
    failed(ran.returncode, ran.stdout, ran.stderr)


def test_six_hooks_at_once_in_a_missing_folder(tmp_path: Path) -> None:
    """Six first changes at once, in a folder that doesn't exist yet, are all kept."""
    for attempt in range(20):
        data = tmp_path / f"config {attempt}" / "stash_courier"
        hooks = [start_hook(data, change(scene)) for scene in range(1, 7)]
        ends = [hook.communicate(timeout=60) for hook in hooks]
        assert [(hook.returncode, *end) for hook, end in zip(hooks, ends, strict=True)] == [
            (0, b'{"output": "queued"}', b"")
        ] * 6
        kept = [*inbox(data), *spooled(data)]
        assert sorted(row["scene"] for row in kept) == [1, 2, 3, 4, 5, 6]
