"""The stand-in Stash starts plugin processes and runs hooks like Stash."""

from __future__ import annotations

import http.client
import json
import os
import sys
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests import ROOT
from tests.standin.stash import GraphQLFailed, StandInStash
from tests.standin.stash.plugins import go_json
from tests.support.standin_probe import HANG, Probe, abandon, until

SAMPLES = ROOT.parent / "shared" / "stash" / "hooks.json"


@pytest.fixture
def probe(tmp_path: Path) -> Probe:
    return Probe(tmp_path / "my plugins" / "probe")


@pytest.fixture
def stash(tmp_path: Path, probe: Probe) -> Iterator[StandInStash]:
    with StandInStash(10, config_dir=tmp_path / "config") as server:
        server.install_plugin(probe.folder)
        yield server


# Start of a process


def test_a_process_is_started_as_the_manifest_says(stash: StandInStash, probe: Probe) -> None:
    """Interpreter, arguments, working directory, PYTHONPATH and stdin are the same as in Stash."""
    stash.edit(3, title="A <new> title")
    (note,) = probe.notes()
    connection = note["stdin"]["server_connection"]
    own_path = os.environ.get("PYTHONPATH")
    parent = str(probe.folder.parent)

    assert note["argv"] == [str(probe.folder / "probe.py"), str(probe.folder)]
    assert note["cwd"] == str(Path.cwd())
    assert note["path"] == (f"{own_path}{os.pathsep}{parent}" if own_path else parent)
    assert (connection["Scheme"], connection["Host"], connection["Port"]) == ("http", "0.0.0.0", stash.config.port)
    assert connection["Dir"] == str(stash.config.config_dir)
    assert connection["PluginDir"] == str(probe.folder)
    assert list(note["stdin"]["args"]) == ["hookContext", "mode"]  # Go sorts the keys of a map
    assert '"title":"A \\u003cnew\\u003e title"' in note["raw"]  # and escapes these characters
    assert note["raw"].startswith('{"server_connection":{"Scheme":"http",')


def test_the_cookie_of_a_plugin_gives_it_access(tmp_path: Path, probe: Probe) -> None:
    """Through its cookie a plugin has access to a Stash with a password, as the user that started it."""
    with StandInStash(2, config_dir=tmp_path / "config", credentials=("owner", "secret")) as stash:
        stash.install_plugin(probe.folder)
        stash.edit(1, title="x")
        cookie = probe.notes()[0]["stdin"]["server_connection"]["SessionCookie"]
        connection = http.client.HTTPConnection("127.0.0.1", stash.config.port, timeout=20)
        connection.request(
            "POST",
            "/graphql",
            json.dumps({"query": "{ version { hash } }"}),
            {"Cookie": f"{cookie['Name']}={cookie['Value']}"},
        )
        status = connection.getresponse().status
        connection.close()

    assert status == 200
    assert (cookie["MaxAge"], cookie["Expires"]) == (0, "0001-01-01T00:00:00Z")


def test_a_configured_interpreter_replaces_python3(tmp_path: Path, probe: Probe) -> None:
    """The configured interpreter runs, with the extra environment variables."""
    wrapper = tmp_path / "wrapped-python"
    wrapper.write_text(f'#!/bin/sh\necho "$PROBE_ENV" >"{tmp_path}/seen"\nexec "{sys.executable}" "$@"\n')
    wrapper.chmod(0o755)
    with StandInStash(1, config_dir=tmp_path / "config", python=str(wrapper), env={"PROBE_ENV": "here"}) as stash:
        stash.install_plugin(probe.folder)
        stash.edit(1, title="x")

    assert (tmp_path / "seen").read_text() == "here\n"


def test_json_is_written_as_go_writes_it() -> None:
    """JSON is compact UTF-8 with HTML characters escaped."""
    assert go_json({"a": ["ü", "<&>"]}) == '{"a":["ü","\\u003c\\u0026\\u003e"]}'.encode()


# Hooks


def test_a_bulk_edit_runs_its_hooks_in_series(stash: StandInStash, probe: Probe) -> None:
    """Each scene gets its own process, one after another, and the request waits for the last."""
    stash.edit_many([4, 2, 7], organized=True)
    notes = probe.notes()

    assert [c["id"] for c in probe.contexts()] == [4, 2, 7]
    assert all(first["ended"] <= second["began"] for first, second in pairwise(notes))
    assert len(stash.hook_seconds) == 3
    assert all(seconds > 0 for seconds in stash.hook_seconds)


def _shape(value: Any) -> Any:
    """The keys of a JSON value and the types of their values."""
    if isinstance(value, dict):
        return {key: _shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_shape(inner) for inner in value]
    return type(value).__name__


@pytest.mark.skipif(not SAMPLES.exists(), reason=f"samples of Stash's hooks aren't at {SAMPLES}")
def test_hook_contexts_are_like_those_of_a_stash(stash: StandInStash, probe: Probe) -> None:
    """Each event that fires a scene hook gives the plugin the same structure as the samples from a real Stash."""
    samples = json.loads(SAMPLES.read_text("utf-8"))
    tag = stash.named("tag", "x")
    stash.edit(1, title="New title")
    stash.edit(1, cover_image="data:image/jpeg;base64,/9j/")
    stash.graphql(
        "mutation($i: [SceneUpdateInput!]!) { scenesUpdate(input: $i) { id } }",
        {"i": [{"id": 1, "rating100": 80}, {"id": 2, "rating100": 60}]},
    )
    stash.edit_many([1, 2, 3], organized=True, tag_ids={"ids": [tag], "mode": "ADD"})
    stash.queue_scan("/media/new.mp4")
    stash.scan()
    stash.queue_scan("/media/new.mp4", size=5)
    stash.scan()
    stash.graphql("mutation { sceneDestroy(input: {id: 1, delete_file: false, delete_generated: true}) }")
    stash.graphql("mutation { scenesDestroy(input: {ids: [2, 3], delete_file: false, delete_generated: true}) }")
    wanted = [
        "scene_update",
        "scene_update_with_cover",
        *["scenes_update_the_input_is_the_whole_list"] * 2,
        *["bulk_scene_update"] * 3,
        "scan_created",
        "scan_file_changed",
        "scene_destroy",
        *["scenes_destroy"] * 2,
    ]

    for name, note in zip(wanted, probe.notes(), strict=True):
        sample, got = samples[name], note["stdin"]
        context = sample["args"]["hookContext"]
        if name == "bulk_scene_update":  # its struct omits unset fields
            context["input"] = {key: value for key, value in context["input"].items() if value is not None}
        assert _shape(got) == _shape(sample), name
        assert json.dumps(_shape(got["args"]["hookContext"])) == json.dumps(_shape(context)), (
            "the keys have another order"
        )
        assert got["args"]["hookContext"].get("inputFields") == context.get("inputFields"), name


def test_a_destroy_hook_gets_path_and_hashes(stash: StandInStash, probe: Probe) -> None:
    """The hook of a delete gets the path and the hashes of the deleted scene."""
    oshash = stash.scene(5).files[0].fingerprint("oshash")
    stash.destroy(5)
    (context,) = probe.contexts()

    assert (context["id"], context["type"]) == (5, "Scene.Destroy.Post")
    assert context["input"]["path"] == "/media/films/5/Film 5.mp4"
    assert (context["input"]["oshash"], context["input"]["checksum"]) == (oshash, "")
    assert "inputFields" not in context


def test_a_created_scene_is_announced_without_input(stash: StandInStash, probe: Probe) -> None:
    """sceneCreate and a scan trigger Scene.Create.Post with a null input; a known file doesn't."""
    stash.graphql('mutation { sceneCreate(input: {title: "Made"}) { id } }')
    stash.queue_scan("/media/new.mp4")
    stash.queue_scan("/media/films/1/Film 1.mp4", size=1_000_001)
    stash.scan()

    assert [(c["type"], c["input"]) for c in probe.contexts()] == [("Scene.Create.Post", None)] * 2


def test_a_scan_finds_the_videos_of_a_folder(stash: StandInStash, probe: Probe, tmp_path: Path) -> None:
    """metadataScan creates a scene for each video below its paths."""
    (tmp_path / "videos").mkdir()
    for name in ("b.mp4", "a.mkv", "notes.txt"):
        (tmp_path / "videos" / name).write_bytes(b"12345")
    stash.scan(tmp_path / "videos")

    assert [stash.scene(c["id"]).path for c in probe.contexts()] == [
        str(tmp_path / "videos" / name) for name in ("a.mkv", "b.mp4")
    ]


def test_a_bulk_edit_whose_client_disconnects_stops_its_hooks(stash: StandInStash, probe: Probe) -> None:
    """The running hook is killed, later scenes get no hook, and the edit is kept."""
    probe.act(HANG)
    abandon(stash, probe, "mutation { bulkSceneUpdate(input: {ids: [1, 2, 3], organized: true}) { id } }")
    until(lambda: stash.runs)
    until(lambda: any("context canceled" in line.text for line in stash.logs))

    (run,) = stash.runs
    assert (run.scene_id, run.exit_code, run.cancelled) == (1, -9, True)
    assert len(probe.notes("begun")) == 1
    assert stash.scene(3).organized
    with pytest.raises(ProcessLookupError):
        os.kill(run.pid, 0)


def test_a_bulk_delete_whose_client_disconnects_kills_every_hook(stash: StandInStash, probe: Probe) -> None:
    """The hook of each remaining scene is still started, and killed at once."""
    probe.act(HANG)
    abandon(stash, probe, "mutation { scenesDestroy(input: {ids: [1, 2, 3]}) }")
    until(lambda: len(stash.runs) == 3)

    assert [(r.scene_id, r.exit_code) for r in stash.runs] == [(1, -9), (2, -9), (3, -9)]


@pytest.mark.parametrize(("stdout", "held"), [("None", True), ("subprocess.DEVNULL", False)])
def test_a_grandchild_that_has_stdout_open_delays_the_edit(
    stash: StandInStash, probe: Probe, tmp_path: Path, stdout: str, held: bool
) -> None:
    """Stash reads stdout to its end, even if only a grandchild has it open."""
    os.mkfifo(tmp_path / "fifo")  # the grandchild lives until the test opens the other end
    probe.act(
        f"""
        import subprocess
        null = subprocess.DEVNULL
        child = subprocess.Popen(["cat", "{tmp_path}/fifo"], stdin=null, stderr=null, stdout={stdout})
        child.returncode = 0  # don't wait for it
        """
    )
    edit = threading.Thread(target=stash.edit, args=(1,), kwargs={"title": "x"})
    edit.start()
    until(probe.notes)
    edit.join(0.3 if held else 20)
    waits = edit.is_alive()
    (tmp_path / "fifo").open("wb").close()
    edit.join(20)

    assert waits is held
    assert not edit.is_alive()
    assert stash.runs[0].exit_code == 0


def test_a_hook_that_fails_is_only_logged(stash: StandInStash, probe: Probe) -> None:
    """An error, a crash and an answer that isn't JSON don't affect the edit."""
    probe.act('answer = {"error": "no room"}')
    stash.edit(1, title="a")
    probe.act("sys.exit(3)")
    stash.edit(1, title="b")
    probe.act("answer = None; print('hello')")
    stash.edit(1, title="c")
    texts = [line.text for line in stash.logs if not line.plugin]

    assert texts == [
        "Scene.Update.Post [Probe]: returned error: no room",
        "Scene.Update.Post [Probe]: returned error: exit status 3",
        "Scene.Update.Post [Probe]: returned: hello\n",
    ]
    assert stash.scene(1).title == "c"


def test_a_disabled_plugin_gets_no_hooks(stash: StandInStash, probe: Probe) -> None:
    """A disabled plugin gets no hooks and can't be run until it is enabled again."""
    stash.enable("probe", enabled=False)
    stash.edit(1, title="a")
    with pytest.raises(GraphQLFailed, match="plugin probe is disabled"):
        stash.operation()
    off = stash.graphql("{ plugins { id enabled } }")["plugins"]
    stash.enable("probe")
    stash.edit(1, title="b")

    assert off == [{"id": "probe", "enabled": False}]
    assert len(probe.notes()) == 1


def test_a_hook_that_triggers_itself_is_stopped(stash: StandInStash, probe: Probe) -> None:
    """A hook that edits its scene with its cookie is called ten times at most."""
    probe.act(
        """
        import http.client
        where = given["server_connection"]
        cookie = "session=" + where["SessionCookie"]["Value"]
        query = 'mutation { sceneUpdate(input: {id: 1, title: "again"}) { id } }'
        client = http.client.HTTPConnection("127.0.0.1", where["Port"], timeout=60)
        client.request("POST", "/graphql", json.dumps({"query": query}), {"Cookie": cookie})
        client.getresponse().read()
        """
    )
    stash.edit(1, title="first")

    assert len(stash.hook_seconds) == 10
