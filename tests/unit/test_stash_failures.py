"""What the page says when a call fails: answers of real versions of Stash, replayed to the page's modules."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from stash_courier.worker import VERSION, requirements
from tests import ROOT

SAMPLES = ROOT / "tests" / "samples" / "stash_failures"
STASH = "0.30.1"
SYSTEM = "/settings?tab=system"
PLUGINS = "/settings?tab=plugins"
RELOAD = "reload"

# Case → kind, what the sentence says, and where the next click leads.
EXPECTED: dict[str, tuple[str, str, str | None]] = {
    "away": ("away", "Stash doesn't answer.", None),
    "away_during": ("away", "Stash doesn't answer.", None),
    "proxy_502": ("away", "says 502", None),
    "proxy_504": ("away", "says 504", None),
    "session_ended": ("session", "Your session in Stash has ended.", "/login"),
    "session_cookie_bad": ("session", "Your session in Stash has ended.", "/login"),
    "python_missing": ("python_missing", "Stash finds no Python.", SYSTEM),
    "python_missing_path_wrong": ("python_missing", "Stash finds no Python.", SYSTEM),
    "python_path_not_executable": ("python_wrong", "(/etc/hostname) isn't a Python that works", SYSTEM),
    "python_path_other_program": ("python_wrong", "(/bin/true) isn't a Python that works", SYSTEM),
    "python_path_failing_program": ("python_wrong", "(/bin/ls) isn't a Python that works", SYSTEM),
    "python_2.7": ("python_old", "Python 2.7.18 (/opt/python/2.7.18/bin/python2.7) is too old", SYSTEM),
    "python_3.6": ("python_old", "Python 3.6.15 (/opt/python/3.6.15/bin/python3.6) is too old", SYSTEM),
    "python_3.9": ("python_old", "Python 3.9.18 (/opt/python/3.9.18/bin/python3.9) is too old", SYSTEM),
    "package_no_main": ("incomplete", "The plugin's folder isn't complete.", PLUGINS),
    "package_no_folder": ("incomplete", "The plugin's folder isn't complete.", PLUGINS),
    "package_no_lib": ("incomplete", "(No module named 'persistqueue')", PLUGINS),
    "package_no_mode": ("incomplete", "(No module named 'stash_courier.plugin.buttons.status')", PLUGINS),
    "package_no_worker": ("incomplete", "(No module named 'stash_courier.worker')", PLUGINS),
    "disabled": ("disabled", "The plugin is disabled.", PLUGINS),
    "removed": ("removed", 'Stash knows no plugin "stash_plugin"', PLUGINS),
    "killed": ("stopped", "The plugin was stopped before it had answered.", None),
    "terminated": ("stopped", "The plugin was stopped before it had answered.", None),
    "crash": ("ended", "The plugin failed (exit status 1).", "/settings?tab=logs"),
    "mode_unknown": ("other_version", "are of different versions. Reload this page.", RELOAD),
    "bad_input": ("failed", "limit must be a whole number from 1 to 1000. Nothing was done.", None),
    "data_folder": ("failed", "The data folder /root/.stash/stash_courier can't be created", None),
}
GOOD = ("good", "python_path_wrong_but_in_path")  # Stash falls back to the Python in PATH

# Calls a mode as the page does, once for each list of answers. Each request gets the next answer of its list.
# Prints what the page would show. A module with another query is loaded again, so no call knows of an earlier one.
CALL = """
import { readFileSync } from "node:fs";
const [api, failures, calls] = process.argv.slice(2);
globalThis.window = Object.assign(new EventTarget(), { PluginApi: { React: {}, libraries: {} } });
const shown = [];
const { outdated } = await import(failures);
const versions = { outdated: outdated("0.1.0", "0.2.0"), same: outdated("0.1.0", "0.1.0") };
for (const left of JSON.parse(readFileSync(calls, "utf8"))) {
  const asked = [];
  globalThis.fetch = async (url, { body }) => {
    asked.push({ url, body: JSON.parse(body) });
    const answer = left.shift();
    if (answer.exception) throw Object.assign(new TypeError(answer.exception.message), answer.exception);
    return { ...answer, ok: answer.status === 200, text: async () => answer.text };
  };
  const { call } = await import(`${api}?${shown.length}`);
  const result = await call("status").then((output) => ({ output }), (failure) => ({ failure }));
  shown.push({ ...result, ...versions, asked });
}
console.log(JSON.stringify(shown));
"""


def load(case: str) -> dict[str, Any]:
    """A sample."""
    sample: dict[str, Any] = json.loads((SAMPLES / f"{STASH}-{case}.json").read_text("utf-8"))
    return sample


def pages(folder: Path, calls: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """What the page's modules make of each list of answers."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not on this machine, so the page's modules can't run")
    modules = folder / "plugin" / "stash_plugin" / "assets" / VERSION
    shutil.copytree(ROOT / "plugin" / "ui" / "page", modules)
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "call.js").write_text(CALL)
    (folder / "calls.json").write_text(json.dumps(calls))
    urls = [(modules / name).as_uri() for name in ("shared/api.js", "shared/failures.js")]
    done = subprocess.run(
        [node, "call.js", *urls, "calls.json"], cwd=folder, stdout=subprocess.PIPE, check=True, timeout=60
    )
    shown: list[dict[str, Any]] = json.loads(done.stdout)
    return shown


def page(folder: Path, *answers: dict[str, Any]) -> dict[str, Any]:
    """What the page's modules make of these answers, one for each request."""
    return pages(folder, [list(answers)])[0]


def _answers(sample: dict[str, Any]) -> list[dict[str, Any]]:
    answer = sample["answer"]
    if "body" in answer:
        body = answer["body"]
        answer = {**answer, "text": body if isinstance(body, str) else json.dumps(body)}
    return [answer, {"status": 200, "text": json.dumps(sample["facts"])}]


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What the page shows of each sample."""
    cases = (*EXPECTED, *GOOD)
    shown = pages(tmp_path_factory.mktemp("page"), [_answers(load(case)) for case in cases])
    return dict(zip(cases, shown, strict=True))


def error(message: str) -> dict[str, Any]:
    """Stash's answer when a mode fails with this message."""
    return {
        "status": 200,
        "text": json.dumps({"errors": [{"message": message}], "data": {"runPluginOperation": None}}),
    }


def test_every_sample_is_replayed() -> None:
    """No sample is left out."""
    names = {path.stem for path in SAMPLES.glob("*.json")}
    assert names == {f"{STASH}-{case}" for case in (*EXPECTED, *GOOD)}


@pytest.mark.parametrize("case", EXPECTED)
def test_a_failure_is_told_with_the_next_click(replayed: dict[str, dict[str, Any]], case: str) -> None:
    """Each failure that a real Stash answered gets its own sentence and its own next click."""
    failure = replayed[case]["failure"]
    kind, words, next_click = EXPECTED[case]
    action = failure.get("action") or {}
    assert failure["kind"] == kind
    assert words in failure["message"]
    assert (RELOAD if action.get("reload") else action.get("to")) == next_click
    assert bool(action.get("label")) == (next_click is not None)


@pytest.mark.parametrize("case", GOOD)
def test_a_good_answer_is_no_failure(replayed: dict[str, dict[str, Any]], case: str) -> None:
    """The mode's output reaches the page, with one request."""
    sample = load(case)
    shown = replayed[case]
    assert shown["output"] == sample["answer"]["body"]["data"]["runPluginOperation"]
    assert len(shown["asked"]) == 1


def test_the_request_is_the_one_that_was_recorded(replayed: dict[str, dict[str, Any]]) -> None:
    """The samples answer what the page asks."""
    sample = load("crash")
    call, facts = replayed["crash"]["asked"]
    assert call["url"].endswith("/graphql")
    assert call["body"] == sample["request"]["body"]
    assert set(sample["facts"]["data"]) == {"plugins", "configuration", "logs"}
    assert all(word in facts["body"]["query"] for word in ("plugins", "enabled", "pythonPath", "logs"))


def test_python_too_old_is_recognized_by_the_words_of_the_plugin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence of requirements.py is the one that the page knows."""
    monkeypatch.setattr(requirements, "PYTHON", (9, 5))
    unmet = requirements.unmet()
    assert unmet is not None
    failure = page(tmp_path, error(unmet))["failure"]
    assert failure["kind"] == "python_old"
    assert "Python 9.5 or newer" in failure["message"]


def test_calls_that_stash_logs_are_marked(replayed: dict[str, dict[str, Any]]) -> None:
    """A failure that leaves a line in Stash's log is marked, so that the page asks less often; others are not."""
    assert replayed["python_missing"]["failure"]["logged"] is True
    # From then on Stash is asked whether it still is, which leaves no line.
    assert replayed["disabled"]["failure"]["logged"] is False
    assert replayed["away"]["failure"]["logged"] is False
    assert replayed["session_ended"]["failure"]["logged"] is False


def test_a_problem_is_the_sentence_of_the_mode(tmp_path: Path) -> None:
    """An expected failure is shown as the mode says it."""
    body = {"data": {"runPluginOperation": {"problem": "No connection has this id."}}}
    failure = page(tmp_path, {"status": 200, "text": json.dumps(body)})["failure"]
    assert failure == {"kind": "problem", "message": "No connection has this id."}


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [(200, "<html>Log in</html>", "not_stash"), (403, "Forbidden", "not_stash"), (500, "{}", "failed")],
)
def test_answers_of_others(tmp_path: Path, status: int, text: str, kind: str) -> None:
    """A login page of a proxy, or a refusal, isn't taken for the plugin's answer."""
    failure = page(tmp_path, {"status": status, "text": text})["failure"]
    assert failure["kind"] == kind
    assert failure["message"]


def test_an_unclear_failure_without_facts_still_has_a_sentence(tmp_path: Path) -> None:
    """Stash ends while the page asks what is wrong: the first answer is shown."""
    failure = page(tmp_path, error("exit status 3"), {"exception": {"message": "Failed to fetch"}})["failure"]
    assert failure["kind"] == "ended"
    assert "exit status 3" in failure["message"]


def test_a_page_that_is_older_than_the_plugin_says_reload(replayed: dict[str, dict[str, Any]]) -> None:
    """After an update an open page asks for a reload, and only then."""
    shown = replayed["good"]
    assert shown["outdated"]["action"] == {"label": "Reload", "reload": True}
    assert "0.1.0" in shown["outdated"]["message"]
    assert "0.2.0" in shown["outdated"]["message"]
    assert shown["same"] is None
