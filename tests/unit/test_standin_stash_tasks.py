"""The stand-in Stash reads manifests and the log protocol, and runs tasks and operations, like Stash."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.standin.stash import GraphQLFailed, PluginRefused, StandInStash
from tests.standin.stash.log import ServerLog, StderrReader
from tests.support.standin_probe import HANG, MANIFEST, Probe, abandon, until


@pytest.fixture
def probe(tmp_path: Path) -> Probe:
    return Probe(tmp_path / "my plugins" / "probe")


@pytest.fixture
def stash(tmp_path: Path, probe: Probe) -> Iterator[StandInStash]:
    with StandInStash(10, config_dir=tmp_path / "config") as server:
        server.install_plugin(probe.folder)
        yield server


# Log


def test_the_log_protocol_is_read_as_stash_reads_it(stash: StandInStash, probe: Probe) -> None:
    """Letters give the levels, texts are trimmed, and other lines get the manifest's errLog level."""
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
    """The longest line that fits is logged; after a line one byte longer Stash closes the pipe."""
    # The pipe breaks during the long line or in a later one, depending on who is faster. The later lines are
    # more than a pipe holds, so the plugin can't be through with them before Stash has closed it.
    probe.act(
        """
        log("i", "a" * (65535 - 3))
        try:
            log("i", "b" * (65536 - 3))
            for _ in range(20_000):
                log("i", "after")
        except BrokenPipeError:
            answer = {"output": "broken"}
            sys.stderr = None
        """
    )
    stash.edit(1, title="x")
    texts = [line.text for line in stash.logs if line.plugin]

    assert texts == ["a" * 65532]
    assert any("returned: broken" in line.text for line in stash.logs)


@pytest.mark.parametrize("piece", [1_000, 65_536, 100_000])
def test_a_line_is_too_long_however_it_arrives(piece: int) -> None:
    """It makes no difference how reads from the pipe split a line."""
    data = b"a" * 65_535 + b"\n" + b"b" * 65_536 + b"\nafter\n"
    reader = StderrReader(ServerLog(lambda: ""), "Probe", "info", print)
    accepted = [reader.feed(data[at : at + piece]) for at in range(0, len(data), piece)]

    assert False in accepted
    assert [line.text[0] * len(line.text) for line in reader.lines[:1]] == ["a" * 65_535]
    assert all(accepted[: accepted.index(False)])


# Tasks and operations


def test_a_task_gets_its_arguments_and_reports_progress(stash: StandInStash, probe: Probe) -> None:
    """Arguments of the caller override the task's defaults, and progress is recorded in the job."""
    probe.act('log("i", "hello"); log("p", "0.25"); log("p", "7"); log("p", "much")')
    job = stash.wait_for(stash.start_task("Show", {"limit": 3}))
    (note,) = probe.notes()

    assert note["stdin"]["args"] == {"limit": 3, "mode": "show"}
    assert note["argv"][-1] == "--task"
    assert [line.text for line in job.lines] == ["hello"]
    assert (job.status, job.progress) == ("FINISHED", [0.25, 1.0])
    assert any("Error parsing progress value 'much'" in line.text for line in stash.logs)


def test_a_failing_task_shows_only_in_the_log(stash: StandInStash, probe: Probe) -> None:
    """A job whose plugin answers with an error is FINISHED, as in Stash."""
    probe.act('answer = {"error": "no disk"}')
    job_id = stash.start_task("Show")
    stash.wait_for(job_id)
    found = stash.graphql(f'{{ findJob(input: {{id: "{job_id}"}}) {{ status error description }} }}')["findJob"]

    assert found == {"status": "FINISHED", "error": None, "description": "Running plugin task: Show"}
    assert any(line.text == "Plugin returned error: no disk" for line in stash.logs)


def test_an_unknown_task_fails_its_job(stash: StandInStash) -> None:
    """A job that can't be started is FAILED."""
    job = stash.wait_for(stash.start_task("Nothing"))

    assert (job.status, job.error) == (
        "FAILED",
        "Error creating plugin task: no task with name Nothing in plugin Probe",
    )


def test_tasks_run_one_by_one_and_can_be_stopped(stash: StandInStash, probe: Probe) -> None:
    """Later tasks wait in one queue; stopping kills the running task and removes a waiting one."""
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


def test_an_operation_runs_immediately_with_its_arguments_only(stash: StandInStash, probe: Probe) -> None:
    """defaultArgs and execArgs don't apply; output is returned as data, an error as an error."""
    probe.act('answer = {"output": {"asked": given["args"]}}')
    output = stash.operation({"mode": "status", "ids": [1]})
    probe.act('answer = {"error": "not today"}')
    with pytest.raises(GraphQLFailed, match="not today"):
        stash.operation()

    assert output == {"asked": {"mode": "status", "ids": [1]}}
    assert probe.notes()[0]["argv"] == [str(probe.folder / "probe.py"), str(probe.folder)]


def test_an_operation_whose_client_disconnects_is_killed(stash: StandInStash, probe: Probe) -> None:
    """The process of an operation is killed when its client disconnects."""
    probe.act(HANG)
    abandon(stash, probe, 'mutation { runPluginOperation(plugin_id: "probe", args: {}) }')
    until(lambda: stash.runs)

    assert [(r.kind, r.exit_code) for r in stash.runs] == [("operation", -9)]


def test_stopping_the_server_kills_its_processes(stash: StandInStash, probe: Probe) -> None:
    """No plugin process outlives the stand-in."""
    probe.act(HANG)
    stash.start_task("Show")
    until(lambda: probe.notes("begun"))
    stash.stop()

    assert [r.exit_code for r in stash.runs] == [-9]


# Manifests


def test_the_plugins_query_returns_the_manifest(stash: StandInStash) -> None:
    """Tasks keep their order, settings are sorted by key, and the version is the text in the file."""
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
    """A manifest that Stash refuses is refused here too, with the reason."""
    assert old in MANIFEST
    (probe.folder / "probe.yml").write_text(MANIFEST.replace(old, new))
    stash = StandInStash(0, config_dir=tmp_path / "config")

    with pytest.raises(PluginRefused, match=reason):
        stash.install_plugin(probe.folder)
    assert [line.level for line in stash.logs] == ["error"]


def test_every_yml_below_the_folder_is_loaded_as_a_plugin(tmp_path: Path, probe: Probe) -> None:
    """Any other *.yml is refused as an invalid plugin; *.yaml is ignored."""
    (probe.folder / "lib").mkdir()
    (probe.folder / "lib" / "mkdocs.yaml").write_text("site_name: x")
    stash = StandInStash(0, config_dir=tmp_path / "config")
    assert stash.install_plugin(probe.folder) == ["probe"]
    (probe.folder / "lib" / "mkdocs.yml").write_text("site_name: x")

    with pytest.raises(PluginRefused, match="site_name"):
        stash.install_plugin(probe.folder)


def test_reloading_reads_the_manifest_again(stash: StandInStash, probe: Probe) -> None:
    """A changed manifest takes effect after reloadPlugins."""
    (probe.folder / "probe.yml").write_text(MANIFEST.replace("0.1", "0.2"))
    before = stash.graphql("{ plugins { version } }")
    stash.graphql("mutation { reloadPlugins }")

    assert before["plugins"] == [{"version": "0.1"}]
    assert stash.graphql("{ plugins { version } }")["plugins"] == [{"version": "0.2"}]
