"""The stand-in Stash runs plugins as a Stash does: manifest, hooks, tasks, operations, the log protocol."""

from __future__ import annotations

import http.client
import json
import os
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from stash_courier.tests.standin.stash import GraphQLFailed, PluginRefused, StandInStash
from stash_courier.tests.standin.stash.plugins import go_json

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT.parent / "shared" / "stash" / "hooks.json"

MANIFEST = """\
name: Probe
description: Writes down how it was started.
version: 0.1
interface: raw
exec: [python3, -S, "{pluginDir}/probe.py", "{pluginDir}"]
errLog: warning
hooks:
  - name: scenes
    description: every scene event
    triggeredBy: [Scene.Create.Post, Scene.Update.Post, Scene.Destroy.Post]
    defaultArgs: {mode: hook}
tasks:
  - name: Show
    description: shows its arguments
    execArgs: [--task]
    defaultArgs: {mode: show, limit: 10}
settings:
  webhook_url: {type: STRING, displayName: URL, description: where to}
  attempts: {type: NUMBER}
"""

# Notes its start and end in <plugin folder>/runs, and does in between what <plugin folder>/act.py says.
PROBE = """\
import json, os, sys, time
folder = sys.argv[1]
began = time.monotonic()
stdin = sys.stdin.buffer.read()
given = json.loads(stdin)
note = {"stdin": given, "raw": stdin.decode(), "argv": sys.argv, "cwd": os.getcwd(),
        "path": os.environ.get("PYTHONPATH"), "pid": os.getpid(), "began": began}
name = os.path.join(folder, "runs", "%020d" % time.time_ns())
def write(ending):
    with open(name + ".part", "w") as file:
        json.dump(note, file)
    os.rename(name + ".part", name + ending)
write(".begun")
answer = {"output": "done"}
def log(level, text):
    sys.stderr.write("\\x01" + level + "\\x02" + text + "\\n")
    sys.stderr.flush()
act = os.path.join(folder, "act.py")
if os.path.exists(act):
    with open(act) as file:
        exec(file.read())
note["ended"] = time.monotonic()
write(".ended")
if answer is not None:
    print(json.dumps(answer))
"""

HANG = "time.sleep(60)"


class Probe:
    """The plugin's folder, seen from the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "runs").mkdir(parents=True)
        (folder / "probe.yml").write_text(MANIFEST)
        (folder / "probe.py").write_text(PROBE)

    def act(self, code: str) -> None:
        """What the plugin does from now on."""
        (self.folder / "act.py").write_text(textwrap.dedent(code))

    def notes(self, ending: str = "ended") -> list[dict[str, Any]]:
        """What each run wrote down, in the order of their starts."""
        return [json.loads(p.read_text()) for p in sorted((self.folder / "runs").glob(f"*.{ending}"))]

    def contexts(self) -> list[dict[str, Any]]:
        """The hook contexts so far."""
        return [note["stdin"]["args"]["hookContext"] for note in self.notes()]


@pytest.fixture
def probe(tmp_path: Path) -> Probe:
    return Probe(tmp_path / "my plugins" / "probe")


@pytest.fixture
def stash(tmp_path: Path, probe: Probe) -> Iterator[StandInStash]:
    with StandInStash(10, config_dir=tmp_path / "config") as server:
        server.install_plugin(probe.folder)
        yield server


def until(true: Callable[[], object], seconds: float = 20.0) -> None:
    """Waits for something another thread or process brings about."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)


def abandon(stash: StandInStash, probe: Probe, query: str) -> None:
    """Asks, waits until a plugin process runs, and goes away like a browser that was closed."""
    connection = http.client.HTTPConnection("127.0.0.1", stash.config.port, timeout=20)
    connection.request("POST", "/graphql", json.dumps({"query": query}))
    until(lambda: probe.notes("begun"))
    connection.close()


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
    stash: StandInStash, probe: Probe, stdout: str, held: bool
) -> None:
    """Stash reads stdout to its end, whoever has it open."""
    probe.act(
        f"""
        import subprocess
        null = subprocess.DEVNULL
        child = subprocess.Popen(["sleep", "1.5"], stdin=null, stderr=null, stdout={stdout})
        child.returncode = 0  # left to itself
        """
    )
    stash.edit(1, title="x")

    assert (stash.hook_seconds[0] >= 1.5) is held
    assert len(probe.notes()) == 1


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


# the log ---------------------------------------------------------------------------------------


def test_the_log_protocol_is_read_as_stash_reads_it(stash: StandInStash, probe: Probe) -> None:
    """Levels by their letters, texts trimmed, everything else at the manifest's errLog level."""
    probe.act(
        r"""
        for level in "tdiwe":
            log(level, "  " + level + " ü ")
        log("i", "")
        log("x", "unknown")
        sys.stderr.write("plain\n\nlast")
        """
    )
    stash.edit(1, title="x")
    lines = [(line.level, line.text) for line in stash.logs if line.plugin == "Probe"]
    shown = stash.graphql("{ logs { level message } }")["logs"]

    assert lines == [
        ("trace", "t ü"),
        ("debug", "d ü"),
        ("info", "i ü"),
        ("warning", "w ü"),
        ("error", "e ü"),
        ("warning", "\x01i\x02"),
        ("warning", "\x01x\x02unknown"),
        ("warning", "plain"),
        ("warning", "last"),
    ]
    assert shown[0] == {"level": "Warning", "message": "[Plugin / Probe] last"}
    assert shown[-1] == {"level": "Info", "message": "[Plugin / Probe] i ü"}


def test_a_line_of_64_kib_ends_the_reading(stash: StandInStash, probe: Probe) -> None:
    """The longest line that fits is logged; one more byte, and nothing after it is ever read."""
    probe.act(
        """
        log("i", "a" * (65535 - 3))
        log("i", "b" * (65536 - 3))
        try:
            for _ in range(100):
                log("i", "after")
                time.sleep(0.01)
        except BrokenPipeError:
            answer = {"output": "broken"}
            sys.stderr = None
        """
    )
    stash.edit(1, title="x")
    texts = [line.text for line in stash.logs if line.plugin]

    assert texts == ["a" * 65532]
    assert any("returned: broken" in line.text for line in stash.logs)


# tasks and operations --------------------------------------------------------------------------


def test_a_task_gets_its_arguments_and_reports_progress(stash: StandInStash, probe: Probe) -> None:
    """The button's defaults stand unless the caller says otherwise; progress is the job's."""
    probe.act('log("i", "hello"); log("p", "0.25"); log("p", "7"); log("p", "much")')
    job = stash.wait_for(stash.start_task("Show", {"limit": 3}))
    (note,) = probe.notes()

    assert note["stdin"]["args"] == {"limit": 3, "mode": "show"}
    assert note["argv"][-1] == "--task"
    assert [line.text for line in job.lines] == ["hello"]
    assert (job.status, job.progress) == ("FINISHED", [0.25, 1.0])
    assert any("Error parsing progress value 'much'" in line.text for line in stash.logs)


def test_a_failing_task_shows_only_in_the_log(stash: StandInStash, probe: Probe) -> None:
    """The job of a plugin that answers with an error has finished all the same, as in Stash."""
    probe.act('answer = {"error": "no disk"}')
    job_id = stash.start_task("Show")
    stash.wait_for(job_id)
    found = stash.graphql(f'{{ findJob(input: {{id: "{job_id}"}}) {{ status error description }} }}')["findJob"]

    assert found == {"status": "FINISHED", "error": None, "description": "Running plugin task: Show"}
    assert any(line.text == "Plugin returned error: no disk" for line in stash.logs)


def test_a_task_that_is_not_there_fails_its_job(stash: StandInStash) -> None:
    """What can't be started is a failed job."""
    job = stash.wait_for(stash.start_task("Nothing"))

    assert (job.status, job.error) == (
        "FAILED",
        "Error creating plugin task: no task with name Nothing in plugin Probe",
    )


def test_tasks_wait_for_each_other_and_can_be_stopped(stash: StandInStash, probe: Probe) -> None:
    """There is one queue: the second task waits; stopping kills the first and takes the third away."""
    probe.act(HANG)
    first, second, third = (stash.start_task("Show") for _ in range(3))
    until(lambda: probe.notes("begun"))
    probe.act("")
    statuses = [j["status"] for j in stash.graphql("{ jobQueue { status } }")["jobQueue"]]
    stash.stop_job(third)
    stash.stop_job(first)
    over = [stash.wait_for(job).status for job in (first, second, third)]

    assert statuses == ["RUNNING", "READY", "READY"]
    assert over == ["CANCELLED", "FINISHED", "CANCELLED"]
    assert [(r.kind, r.exit_code) for r in stash.runs] == [("task", -9), ("task", 0)]


def test_an_operation_runs_at_once_with_bare_arguments(stash: StandInStash, probe: Probe) -> None:
    """Neither defaultArgs nor execArgs apply, and output comes back as data, an error as an error."""
    probe.act('answer = {"output": {"asked": given["args"]}}')
    output = stash.operation({"mode": "status", "ids": [1]})
    probe.act('answer = {"error": "not today"}')
    with pytest.raises(GraphQLFailed, match="not today"):
        stash.operation()

    assert output == {"asked": {"mode": "status", "ids": [1]}}
    assert probe.notes()[0]["argv"] == [str(probe.folder / "probe.py"), str(probe.folder)]


def test_an_operation_whose_client_leaves_is_killed(stash: StandInStash, probe: Probe) -> None:
    """Nobody waits for it any more."""
    probe.act(HANG)
    abandon(stash, probe, 'mutation { runPluginOperation(plugin_id: "probe", args: {}) }')
    until(lambda: stash.runs)

    assert [(r.kind, r.exit_code) for r in stash.runs] == [("operation", -9)]


def test_taking_the_server_down_kills_what_runs(stash: StandInStash, probe: Probe) -> None:
    """No plugin process outlives the stand-in, be it a task's or a hook's."""
    probe.act(HANG)
    stash.start_task("Show")
    until(lambda: probe.notes("begun"))
    stash.stop()

    assert [r.exit_code for r in stash.runs] == [-9]


# manifests -------------------------------------------------------------------------------------


def test_a_plugin_is_shown_as_its_manifest_says(stash: StandInStash) -> None:
    """Tasks in their order, settings in the order of their keys, the version as it is written."""
    query = "{ plugins { id name version tasks { name } hooks { hooks } settings { name type display_name } } }"
    (plugin,) = stash.graphql(query)["plugins"]

    assert (plugin["id"], plugin["name"], plugin["version"]) == ("probe", "Probe", "0.1")
    assert plugin["tasks"] == [{"name": "Show"}]
    assert len(plugin["hooks"][0]["hooks"]) == 3
    assert plugin["settings"] == [
        {"name": "attempts", "type": "NUMBER", "display_name": ""},
        {"name": "webhook_url", "type": "STRING", "display_name": "URL"},
    ]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("version: 0.1", "version: 0.1\nid: probe", "field id not found"),
        ("version: 0.1", "version: 0.1\nname: Twice", "key name already set"),
        ("{type: NUMBER}", "{type: NUMBER, default: 3}", "field default not found"),
        ("{type: NUMBER}", "{type: INTEGER}", "invalid type INTEGER for setting attempts"),
        ("  attempts:", "  webhook_url: {}\n  attempts:", "key webhook_url already set"),
        ("execArgs: [--task]", "args: [--task]", "field args not found"),
        ("limit: 10}", "limit: [10]}", "cannot unmarshal"),
        ('"{pluginDir}/probe.py"', "{pluginDir}", "cannot unmarshal"),
        ("description: shows its arguments", "description: shows: its arguments", "mapping values"),
        ("description: shows its arguments", "triggeredBy: [Scene.Create.Post]", "field triggeredBy not found"),
        ("errLog: warning", "ui: {scripts: [a.js]}", "field scripts not found"),
        ("interface: raw", "interface: python", "interface python"),
    ],
)
def test_a_manifest_is_read_strictly(tmp_path: Path, probe: Probe, old: str, new: str, reason: str) -> None:
    """What Stash refuses to load is refused here too, with the reason."""
    assert old in MANIFEST
    (probe.folder / "probe.yml").write_text(MANIFEST.replace(old, new))
    stash = StandInStash(0, config_dir=tmp_path / "config")

    with pytest.raises(PluginRefused, match=reason):
        stash.install_plugin(probe.folder)
    assert [line.level for line in stash.logs] == ["error"]


def test_every_yml_below_the_folder_is_taken_for_a_plugin(tmp_path: Path, probe: Probe) -> None:
    """A stray *.yml is a plugin to Stash, and a broken one at that; *.yaml is left alone."""
    (probe.folder / "lib").mkdir()
    (probe.folder / "lib" / "mkdocs.yaml").write_text("site_name: x")
    stash = StandInStash(0, config_dir=tmp_path / "config")
    assert stash.install_plugin(probe.folder) == ["probe"]
    (probe.folder / "lib" / "mkdocs.yml").write_text("site_name: x")

    with pytest.raises(PluginRefused, match="site_name"):
        stash.install_plugin(probe.folder)


def test_reloading_reads_the_manifest_again(stash: StandInStash, probe: Probe) -> None:
    """An updated plugin counts once reloadPlugins was called."""
    (probe.folder / "probe.yml").write_text(MANIFEST.replace("0.1", "0.2"))
    before = stash.graphql("{ plugins { version } }")
    stash.graphql("mutation { reloadPlugins }")

    assert before["plugins"] == [{"version": "0.1"}]
    assert stash.graphql("{ plugins { version } }")["plugins"] == [{"version": "0.2"}]
