"""stash_plugin.yml and the page script, as Stash's strict loader and its pages read them.

The rules are those of Stash's ``pkg/plugin/config.go`` and ``pkg/plugin/hook``, early 2026.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from graphql import build_client_schema, parse, validate

from stash_courier.plugin import tasks
from stash_courier.worker import VERSION, destinations, fields, settings
from stash_courier.worker.connections.store import Stored
from stash_courier.worker.settings import QuickStart, Settings
from tests import ROOT
from tests.support.webhook_samples import SECRET

MANIFEST = ROOT / "stash_plugin.yml"
SCRIPT = ROOT / "plugin" / "ui" / "courier.js"
INTROSPECTION = ROOT.parent / "shared" / "stash" / "introspection.json"

TOP = {"name", "description", "url", "version", "interface", "exec", "errLog", "tasks", "hooks", "ui", "settings"}
OPERATION = {"name", "description", "execArgs", "defaultArgs"}
TYPES = {"text": "STRING", "secret": "STRING", "number": "NUMBER", "switch": "BOOLEAN"}
SETTING = {"type", "displayName", "description"}
# The seven tasks: name → mode
TASKS = {
    "Review dead letters": "review_dead_letters",
    "Retry dead letters": "retry_dead_letters",
    "Discard dead letters": "discard_dead_letters",
    "Deliver now": "deliver_now",
    "Send all scenes": "enqueue_all",
    "Show status": "status",
    "Restart": "restart_worker",
}


class StrictLoader(yaml.SafeLoader):
    """Refuses a repeated key, as Stash does."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping, unless it repeats a key."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"twice: {twice}", node.start_mark)
        return super().construct_mapping(node, deep)


def load(text: str) -> dict[str, Any]:
    """The manifest as Stash reads it."""
    loaded = yaml.load(text, StrictLoader)
    assert isinstance(loaded, dict)
    return loaded


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    return load(MANIFEST.read_text("utf-8"))


def test_only_keys_that_stash_knows(manifest: dict[str, Any]) -> None:
    """Stash loads the plugin: the manifest has no key that Stash doesn't know, and none twice."""
    with pytest.raises(yaml.YAMLError, match="twice"):
        load("settings: {a: {type: STRING}, a: {type: NUMBER}}")
    assert set(manifest) <= TOP
    assert set(manifest["ui"]) == {"javascript", "css", "assets"}
    for operation in manifest["tasks"]:
        assert set(operation) <= OPERATION
    for hook in manifest["hooks"]:
        assert set(hook) <= OPERATION | {"triggeredBy"}
    for setting in manifest["settings"].values():
        assert set(setting) <= SETTING


def test_texts_are_texts(manifest: dict[str, Any]) -> None:
    """YAML reads no name, version or argument as a number or a boolean."""
    operations = [*manifest["tasks"], *manifest["hooks"]]
    texts = [manifest[key] for key in ("name", "description", "version", "interface", "errLog")]
    texts += [text for operation in operations for text in (operation["name"], operation["description"])]
    texts += [text for operation in operations for text in operation["defaultArgs"].values()]
    texts += [text for setting in manifest["settings"].values() for text in setting.values()]
    texts += [*manifest["settings"], *manifest["exec"]]
    assert all(isinstance(text, str) and text.strip() for text in texts)


def test_exec_starts_the_entry_point(manifest: dict[str, Any]) -> None:
    """Stash starts an existing file, with Python flags that halve the time of a hook, and reads its answer."""
    assert manifest["interface"] == "raw"
    assert manifest["exec"] == ["python3", "-S", "-E", "{pluginDir}/plugin/main.py"]
    assert (ROOT / "plugin" / "main.py").is_file()


def test_the_version_is_the_same_everywhere(manifest: dict[str, Any]) -> None:
    """Manifest, worker, page script and page files are of one version, which the build replaces."""
    assert manifest["version"] == VERSION
    assert f'const VERSION = "{VERSION}";' in SCRIPT.read_text("utf-8")
    assert list(manifest["ui"]["assets"]) == [f"/{VERSION}"]


def test_the_page_is_served_and_nothing_else(manifest: dict[str, Any]) -> None:
    """Stash finds the script, the style and the page's modules, and serves no other file of the plugin."""
    assert [ROOT / path for path in manifest["ui"]["javascript"]] == [SCRIPT]
    (style,) = manifest["ui"]["css"]
    (assets,) = manifest["ui"]["assets"].values()
    served = [path for path in (ROOT / assets).rglob("*") if path.is_file()]
    assert (ROOT / style).is_file()
    assert SCRIPT.is_file()
    assert ROOT / assets / "main.js" in served
    assert {path.suffix for path in served} == {".js"}


def test_stash_finds_one_plugin_only() -> None:
    """Stash reads every *.yml below the plugin's folder as a plugin, so there is only one."""
    ours = [ROOT, *(ROOT / folder for folder in ("plugin", "queue", "worker", "tests", "docs"))]
    found = {
        path for folder in ours for path in (folder.glob("*.yml") if folder == ROOT else folder.rglob("*.yml"))
    }
    assert found == {MANIFEST}


def test_hooks(manifest: dict[str, Any]) -> None:
    """The hook gets every scene that is created, changed or deleted."""
    (hook,) = manifest["hooks"]
    assert hook["triggeredBy"] == ["Scene.Create.Post", "Scene.Update.Post", "Scene.Destroy.Post"]
    assert hook["defaultArgs"] == {"mode": "hook"}


def test_there_are_seven_tasks(manifest: dict[str, Any]) -> None:
    """The manifest has the seven tasks, each with its mode. The other modes are for programs and the page."""
    # The log tells a task from a call of runPluginOperation, which gets no default arguments.
    expected = [(name, {"mode": mode, "log": "yes"}) for name, mode in TASKS.items()]
    assert [(task["name"], task["defaultArgs"]) for task in manifest["tasks"]] == expected
    assert set(TASKS.values()) <= tasks.MODES.keys()
    assert all(callable(mode.load(name)) for name, mode in tasks.MODES.items())


def test_the_docs_list_every_mode() -> None:
    """docs/api.md has a row for each mode, and names the task of those that have one."""
    table = (ROOT / "docs" / "api.md").read_text("utf-8")
    rows = {
        mode: task
        for modes, task in re.findall(r"^\| (`[^|]+) \|[^|]*\| ([^|\n]+?) \|$", table, re.MULTILINE)
        for mode in re.findall(r"`(\w+)`", modes)
    }
    assert tasks.MODES.keys() <= rows.keys()
    assert {name: task for name, task in rows.items() if task in TASKS} == {m: n for n, m in TASKS.items()}


def test_settings_are_those_of_the_code(manifest: dict[str, Any]) -> None:
    """Stash's page shows every setting of the code and no other: its name, type and description."""
    expected = {
        entry.key: {
            "displayName": entry.label,
            "description": settings.description(entry),
            "type": TYPES[entry.type],
        }
        for entry in settings.MANIFEST
    }
    assert manifest["settings"] == expected
    assert list(manifest["settings"]) == sorted(expected)  # Stash's order
    assert len(expected) <= 16


def test_the_docs_show_each_setting_by_name_and_key(manifest: dict[str, Any]) -> None:
    """The table of settings has each one, by the name on Stash's page and by its key."""
    table = (ROOT / "docs" / "installing.md").read_text("utf-8").partition("## Settings")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|`]+) \| `(\w+)` \|", table, re.MULTILINE)
    assert sorted((key, name) for name, key in rows) == sorted(
        (key, setting["displayName"]) for key, setting in manifest["settings"].items()
    )


def test_defaults_on_the_page_are_those_of_the_code() -> None:
    """The default on the page is the one that applies: entering it changes nothing."""
    for entry in fields.of(Settings):
        if entry.type == "switch":
            assert entry.unset.startswith("off, ")
        else:
            assert settings.parse({entry.key: entry.unset}) == (Settings(), [])
        said = settings.description(entry)
        assert said.endswith(f"{'Not set (0)' if entry.type == 'number' else 'Not set'}: {entry.unset}.")
    for entry in fields.of(QuickStart):
        assert entry.unset
        assert settings.description(entry).endswith(f" Not set: {entry.unset}.")


def test_examples_on_the_page_work() -> None:
    """An example copied from a description into its field is usable and differs from the default."""
    examples = [entry for entry in settings.MANIFEST if entry.example]
    for entry in examples:
        keys = {"jellyfin_url": "jellyfin_api_key", "plex_url": "plex_token"}
        raw = {"webhook_url": "http://a.example/", keys.get(entry.key, "webhook_secret"): SECRET}
        before = destinations.load(raw, Stored(), Settings())
        raw[entry.key] = entry.example
        parsed, problems = settings.parse(raw)
        loaded = destinations.load(raw, Stored(), parsed)
        for destination in (*before.destinations.values(), *loaded.destinations.values()):
            destination.close()
        assert not problems
        assert not loaded.problems
        assert loaded.connections != before.connections
    assert len(examples) >= 5


def test_ranges_on_the_page_are_those_of_the_code() -> None:
    """The range in a number's description is the range that is accepted."""
    for entry in fields.of(Settings):
        if entry.type == "number":
            ((low, high),) = re.findall(r"(\d+) to (\d+)", settings.description(entry))
            assert settings.parse({entry.key: int(low)})[1] == settings.parse({entry.key: int(high)})[1] == []
            assert settings.parse({entry.key: int(high) + 1})[1] != []


# The parts of a page that the script may use. Runs the script twice, as Stash does when its list of plugins
# changes, lets the timers run, and prints the requests and errors.
PAGE = """
const vm = require("node:vm");
const fs = require("node:fs");
const [script, base, outcome, source] = process.argv.slice(2);
const seen = { requests: [], delays: [], rejections: 0, noise: 0 };
process.on("unhandledRejection", () => { seen.rejections += 1; });
const noise = () => { seen.noise += 1; };
const page = {
  document: {
    querySelector: (name) => (name === "base" && base ? { href: base } : null),
    currentScript: { src: source },
  },
  console: { log: noise, warn: noise, error: noise, info: noise, debug: noise },
  fetch: (url, options) => {
    seen.requests.push({ url, ...options });
    if (outcome === "throws") throw new TypeError("Invalid URL");
    if (outcome === "rejects") return Promise.reject(new TypeError("Failed to fetch"));
    return Promise.resolve({ ok: false });
  },
  AbortController,
  // A limit of a minute is never reached here.
  setTimeout: (run, delay) => { seen.delays.push(delay); if (delay < 60000) setTimeout(run, 0); },
  clearTimeout: () => {},
};
page.window = page;
vm.createContext(page);
for (let i = 0; i < 2; i += 1) vm.runInContext(fs.readFileSync(script, "utf8"), page);
seen.early = seen.requests.length;
setTimeout(() => console.log(JSON.stringify(seen)), 20);
"""


def load_page(tmp_path: Path, base: str, outcome: str, plugin: str = MANIFEST.stem) -> dict[str, Any]:
    """Loads a page with the script in Node and returns what the script did. ``plugin``: its id in Stash."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not on this machine, so the page script can't run")
    page = tmp_path / "page.js"
    page.write_text(PAGE)
    source = f"{base}plugin/{plugin}/javascript"
    command = [node, str(page), str(SCRIPT), base, outcome, source]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=60)
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


@pytest.mark.parametrize(
    ("base", "plugin", "outcome"),
    [
        ("http://localhost:9999/", MANIFEST.stem, "answers"),
        ("https://host/stash/", "renamed", "rejects"),
        ("http://localhost/", MANIFEST.stem, "throws"),
        ("", MANIFEST.stem, "answers"),
    ],
)
def test_page_wakes_the_worker_once(tmp_path: Path, base: str, plugin: str, outcome: str) -> None:
    """A page of Stash wakes the worker with one delayed request, and makes no noise if that fails.

    This works behind a reverse proxy's path. The script knows the plugin by its own address, so a renamed
    manifest works. Without a base there is no request.
    """
    seen = load_page(tmp_path, base, outcome, plugin)
    assert seen["early"] == seen["rejections"] == seen["noise"] == 0
    assert len(seen["requests"]) == bool(base)
    if not base:
        return
    (request,) = seen["requests"]
    assert request["url"] == base + "graphql"
    assert request["method"] == "POST"
    assert request["keepalive"] is True
    assert request["headers"] == {"Content-Type": "application/json"}
    body = json.loads(request["body"])
    assert body["variables"] == {"id": plugin, "args": {"mode": "wake"}}
    assert seen["delays"][0] >= 1000


def test_wake_request_fits_the_schema_of_stash(tmp_path: Path) -> None:
    """The page's request is valid in Stash's schema."""
    if not INTROSPECTION.is_file():
        pytest.skip("Stash's schema is not beside the checkout, so the request can't be checked")
    (request,) = load_page(tmp_path, "http://localhost/", "answers")["requests"]
    schema = build_client_schema(json.loads(INTROSPECTION.read_text("utf-8"))["data"])
    assert validate(schema, parse(json.loads(request["body"])["query"])) == []
