"""The stand-in Stash starts plugin processes as a Stash does, and runs hooks as a Stash does."""

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


# how a process is started ----------------------------------------------------------------------


def test_a_process_is_started_as_the_manifest_says(stash: StandInStash, probe: Probe) -> None:
    """Interpreter, arguments, working directory, PYTHONPATH and stdin are those that Stash gives."""
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
    assert '"title":"A \\u003cnew\\u003e title"' in note["raw"]  # and writes JSON like this
    assert note["raw"].startswith('{"server_connection":{"Scheme":"http",')


def test_the_cookie_of_a_plugin_gives_it_access(tmp_path: Path, probe: Probe) -> None:
    """A plugin reaches a Stash with a password through its cookie, as the user that started it."""
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


def test_another_interpreter_stands_for_python3(tmp_path: Path, probe: Probe) -> None:
    """The configured interpreter is started, and extra environment reaches it."""
    wrapper = tmp_path / "wrapped-python"
    wrapper.write_text(f'#!/bin/sh\necho "$PROBE_ENV" >"{tmp_path}/seen"\nexec "{sys.executable}" "$@"\n')
    wrapper.chmod(0o755)
    with StandInStash(1, config_dir=tmp_path / "config", python=str(wrapper), env={"PROBE_ENV": "here"}) as stash:
        stash.install_plugin(probe.folder)
        stash.edit(1, title="x")

    assert (tmp_path / "seen").read_text() == "here\n"


def test_json_is_written_as_go_writes_it() -> None:
    """Compact, UTF-8 as it is, and the characters that HTML minds escaped."""
    assert go_json({"a": ["ü", "<&>"]}) == '{"a":["ü","\\u003c\\u0026\\u003e"]}'.encode()


# hooks -----------------------------------------------------------------------------------------


def test_a_bulk_edit_runs_its_hooks_in_series(stash: StandInStash, probe: Probe) -> None:
    """N scenes are N processes, one after another, and the request waits for the last."""
    stash.edit_many([4, 2, 7], organized=True)
    notes = probe.notes()

    assert [c["id"] for c in probe.contexts()] == [4, 2, 7]
    assert all(first["ended"] <= second["began"] for first, second in pairwise(notes))
    assert len(stash.hook_seconds) == 3
    assert all(seconds > 0 for seconds in stash.hook_seconds)


def _shape(value: Any) -> Any:
    """Which keys there are, and what kind of value each has."""
    if isinstance(value, dict):
        return {key: _shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_shape(inner) for inner in value]
    return type(value).__name__


@pytest.mark.skipif(not SAMPLES.exists(), reason=f"samples of a Stash's hooks aren't at {SAMPLES}")
def test_hook_contexts_are_like_those_of_a_stash(stash: StandInStash, probe: Probe) -> None:
    """Every way a scene hook fires gives the plugin what the samples of a real Stash hold."""
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
        if name == "bulk_scene_update":  # written by a struct that leaves out what isn't set
            context["input"] = {key: value for key, value in context["input"].items() if value is not None}
        assert _shape(got) == _shape(sample), name
        assert json.dumps(_shape(got["args"]["hookContext"])) == json.dumps(_shape(context)), "another order"
        assert got["args"]["hookContext"].get("inputFields") == context.get("inputFields"), name


def test_a_destroy_tells_what_was_there(stash: StandInStash, probe: Probe) -> None:
    """The hook of a delete gets the path and the hashes of the scene that is gone."""
    oshash = stash.scene(5).files[0].fingerprint("oshash")
    stash.destroy(5)
    (context,) = probe.contexts()

    assert (context["id"], context["type"]) == (5, "Scene.Destroy.Post")
    assert context["input"]["path"] == "/media/films/5/Film 5.mp4"
    assert (context["input"]["oshash"], context["input"]["checksum"]) == (oshash, "")
    assert "inputFields" not in context


def test_a_created_scene_is_announced_without_input(stash: StandInStash, probe: Probe) -> None:
    """sceneCreate and a scan call Scene.Create.Post with a null input; a file seen before isn't new."""
    stash.graphql('mutation { sceneCreate(input: {title: "Made"}) { id } }')
    stash.queue_scan("/media/new.mp4")
    stash.queue_scan("/media/films/1/Film 1.mp4", size=1_000_001)
    stash.scan()

    assert [(c["type"], c["input"]) for c in probe.contexts()] == [("Scene.Create.Post", None)] * 2


def test_a_scan_finds_the_videos_of_a_folder(stash: StandInStash, probe: Probe, tmp_path: Path) -> None:
    """metadataScan makes a scene of each video below its paths."""
    (tmp_path / "videos").mkdir()
    for name in ("b.mp4", "a.mkv", "notes.txt"):
        (tmp_path / "videos" / name).write_bytes(b"12345")
    stash.scan(tmp_path / "videos")

    assert [stash.scene(c["id"]).path for c in probe.contexts()] == [
        str(tmp_path / "videos" / name) for name in ("a.mkv", "b.mp4")
    ]


def test_a_bulk_edit_whose_client_leaves_is_cut_short(stash: StandInStash, probe: Probe) -> None:
    """The running hook is killed, the scenes after it get none, and the edit stays made."""
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


def test_a_bulk_delete_whose_client_leaves_kills_every_hook(stash: StandInStash, probe: Probe) -> None:
    """Each of the remaining scenes still gets its hook started, and killed at once."""
    probe.act(HANG)
    abandon(stash, probe, "mutation { scenesDestroy(input: {ids: [1, 2, 3]}) }")
    until(lambda: len(stash.runs) == 3)

    assert [(r.scene_id, r.exit_code) for r in stash.runs] == [(1, -9), (2, -9), (3, -9)]


@pytest.mark.parametrize(("stdout", "held"), [("None", True), ("subprocess.DEVNULL", False)])
def test_a_grandchild_that_holds_stdout_holds_up_the_edit(
    stash: StandInStash, probe: Probe, tmp_path: Path, stdout: str, held: bool
) -> None:
    """Stash reads stdout to its end, whoever has it open."""
    os.mkfifo(tmp_path / "fifo")  # the grandchild lives until somebody opens the other end
    probe.act(
        f"""
        import subprocess
        null = subprocess.DEVNULL
        child = subprocess.Popen(["cat", "{tmp_path}/fifo"], stdin=null, stderr=null, stdout={stdout})
        child.returncode = 0  # left to itself
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
    """An error, a crash and an answer that is no JSON leave the edit as it is."""
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
    """Switched off it is told nothing and can't be run; switched on again it is."""
    stash.enable("probe", enabled=False)
    stash.edit(1, title="a")
    with pytest.raises(GraphQLFailed, match="plugin probe is disabled"):
        stash.operation()
    off = stash.graphql("{ plugins { id enabled } }")["plugins"]
    stash.enable("probe")
    stash.edit(1, title="b")

    assert off == [{"id": "probe", "enabled": False}]
    assert len(probe.notes()) == 1


def test_a_plugin_that_answers_its_own_edits_is_stopped(stash: StandInStash, probe: Probe) -> None:
    """A hook that edits the scene through its cookie is called ten times, then no more."""
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
