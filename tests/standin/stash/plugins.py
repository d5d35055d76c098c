"""Loads plugins and runs their hooks, tasks and operations like Stash (pkg/plugin).

Hooks run one after another within the request that triggered them. This module prepares the command and the
input of a process; ``processes`` runs it.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from tests.standin.stash.library import StashError
from tests.standin.stash.processes import Cancel, Command, Job, Outcome, ServerLog, StartFailed, run
from tests.standin.stash.sessions import Sessions, connection_cookie

_GO_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


@dataclass(frozen=True, slots=True)
class Operation:
    """One entry of ``tasks`` or ``hooks``."""

    name: str
    default_args: Mapping[str, str]
    triggered_by: tuple[str, ...] = ()  # hooks only; Stash ignores an unknown trigger


@dataclass(frozen=True, slots=True)
class Setting:
    """One entry of ``settings``."""

    name: str
    type: str  # STRING, NUMBER or BOOLEAN
    display_name: str
    description: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """A plugin as its manifest describes it."""

    id: str  # the file name without its suffix
    path: Path  # of the manifest, absolute
    name: str
    exec: tuple[str, ...]
    err_log: str
    tasks: tuple[Operation, ...]
    hooks: tuple[Operation, ...]
    settings: tuple[Setting, ...]  # in the order of their keys
    javascript: tuple[str, ...]
    css: tuple[str, ...]
    assets: Mapping[str, str]  # URL prefix → folder

    @property
    def folder(self) -> Path:
        """The plugin's folder, ``{pluginDir}``."""
        return self.path.parent

    def task(self, name: str) -> Operation:
        """The task with this name.

        Raises:
            StashError: there is no such task.
        """
        found = next((t for t in self.tasks if t.name == name), None)
        if found is None:
            raise StashError(f"no task with name {name} in plugin {self.name}")
        return found

    def hooks_on(self, trigger: str) -> list[Operation]:
        """The hooks of a trigger, repeated if they name it repeatedly."""
        return [h for h in self.hooks for t in h.triggered_by if t == trigger]


def manifests_below(root: Path) -> Iterator[Path]:
    """Every ``*.yml`` below a folder, in Stash's order.

    Unlike Stash, it skips ``dist`` and folders that begin with a dot, so a checkout with a ``.venv`` and a built
    plugin can be installed.
    """
    for folder, folders, files in os.walk(root, followlinks=True):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f != "dist")
        yield from (Path(folder, f) for f in sorted(files) if f.endswith(".yml"))


def load(path: Path) -> Manifest:
    """Reads one manifest. Stash reads it more strictly: see tests/unit/test_manifest.py."""
    top = yaml.load(path.read_text("utf-8"), yaml.BaseLoader)  # a Go string accepts any scalar as it is written
    ui = top.get("ui", {})
    return Manifest(
        id=path.stem,
        path=path.absolute(),
        name=top.get("name", path.stem),
        exec=tuple(top.get("exec", ())),
        err_log=top.get("errLog", ""),
        tasks=tuple(map(_operation, top.get("tasks", ()))),
        hooks=tuple(map(_operation, top.get("hooks", ()))),
        settings=tuple(_setting(key, entry) for key, entry in sorted(top.get("settings", {}).items())),
        javascript=tuple(ui.get("javascript", ())),
        css=tuple(ui.get("css", ())),
        assets=ui.get("assets", {}),
    )


def _operation(entry: Mapping[str, Any]) -> Operation:
    return Operation(entry.get("name", ""), entry.get("defaultArgs", {}), tuple(entry.get("triggeredBy", ())))


def _setting(name: str, entry: Mapping[str, str]) -> Setting:
    kind, title, about = (entry.get(key, "") for key in ("type", "displayName", "description"))
    return Setting(name, kind or "STRING", title, about)


@dataclass(slots=True)
class Config:
    """The relevant part of Stash's config.yml."""

    config_dir: Path
    host: str  # in server_connection; the stand-in listens on 127.0.0.1 only
    port: int
    env: Mapping[str, str]  # added to the environment of plugin processes
    username: str
    password: str
    api_key: str
    max_session_age: int
    stashes: list[str] = field(default_factory=lambda: ["/media"])  # library folders
    plugins: dict[str, dict[str, Any]] = field(default_factory=dict)  # settings by plugin id
    disabled: set[str] = field(default_factory=set)  # plugin ids


@dataclass(frozen=True, slots=True)
class Caller:
    """The origin of a request or job."""

    user: str
    base_url: str  # as the client addresses the server
    cancel: Cancel
    owner: bool = False  # it is one of the stand-in's own helpers: no faults, not counted


class Plugins:
    """The loaded plugins.

    Args:
        config: read again at each use.
    """

    def __init__(self, config: Config, sessions: Sessions, log: ServerLog) -> None:
        self._config = config
        self._sessions = sessions
        self._log = log
        self._roots = [config.config_dir / "plugins"]
        self._loaded: tuple[Manifest, ...] = ()
        self.runs = 0  # processes that have ended

    def add_root(self, folder: Path) -> list[Manifest]:
        """Adds a folder with plugins; loads and returns them."""
        folder = folder.absolute()
        if folder not in self._roots:
            self._roots.append(folder)
        self.reload()
        loaded = [m for m in self._loaded if m.path.is_relative_to(folder)]
        assert loaded, f"no *.yml in {folder}"
        return loaded

    def reload(self) -> None:
        """Reads all manifests again. Of two with the same id the first one counts."""
        loaded: dict[str, Manifest] = {}
        for path in (p for root in self._roots for p in manifests_below(root)):
            if path.stem.lower() in loaded:
                self._log.add("error", f"Error loading plugin {path}: plugin ID {path.stem} already exists")
            else:
                loaded[path.stem.lower()] = load(path)
        self._loaded = tuple(loaded.values())

    def all(self) -> tuple[Manifest, ...]:
        """Every loaded plugin."""
        return self._loaded

    def enabled(self, plugin_id: str) -> bool:
        """Whether a plugin is not disabled."""
        return plugin_id not in self._config.disabled

    def run_hooks(
        self,
        caller: Caller,
        scene_id: int,
        trigger: str,
        given: Any,
        fields: Sequence[str] = (),
    ) -> None:
        """Runs all hooks of a trigger, one after another; errors are only logged.

        Args:
            given: ``input`` of the hook context, as JSON of Stash's Go structs.
            fields: ``inputFields`` of the hook context, omitted if empty.
        """
        context: dict[str, Any] = {"id": scene_id, "type": trigger, "input": given}
        if fields:
            context["inputFields"] = list(fields)
        try:
            for manifest, hook in self._hooks(trigger):
                outcome = self._run(caller, manifest, {**hook.default_args, "hookContext": context})
                if outcome.cancelled:
                    self._log.add("error", "error executing post hooks: operation cancelled")
                    return
                self._log_hook(manifest, trigger, outcome)
        except StartFailed as error:
            self._log.add("error", f"error executing post hooks: {error}")

    def run_operation(self, caller: Caller, plugin_id: str, args: Mapping[str, Any]) -> Any:
        """runPluginOperation: runs immediately, without defaultArgs.

        Raises:
            StashError: the plugin answered with an error or could not run.
        """
        manifest = self._to_run(plugin_id)
        try:
            outcome = self._run(caller, manifest, args)
        except StartFailed as error:
            raise StashError(str(error)) from error
        if outcome.cancelled:
            raise StashError("operation cancelled")
        if outcome.error is not None:
            raise StashError(outcome.error)
        return outcome.output

    def run_task(
        self, caller: Caller, job: Job, plugin_id: str, task: str | None, args: Mapping[str, Any]
    ) -> None:
        """The work of a runPluginTask job; errors of the plugin are only logged.

        Raises:
            StashError: the task could not be started.
        """
        try:
            manifest = self._to_run(plugin_id)
            given = {**(manifest.task(task).default_args if task else {}), **args}
        except StashError as error:
            raise StashError(f"Error creating plugin task: {error}") from None
        try:
            outcome = self._run(replace(caller, cancel=job.cancel), manifest, given)
        except StartFailed as error:
            raise StashError(f"Error running plugin task: {error}") from error
        job.lines = outcome.lines
        if outcome.error is not None:
            self._log.add("error", f"Plugin returned error: {outcome.error}")
        elif outcome.output is not None:
            self._log.add("debug", f"Plugin returned: {outcome.output}")

    def _hooks(self, trigger: str) -> Iterator[tuple[Manifest, Operation]]:
        for manifest in self._loaded:
            if self.enabled(manifest.id):
                yield from ((manifest, hook) for hook in manifest.hooks_on(trigger))

    def _log_hook(self, manifest: Manifest, trigger: str, outcome: Outcome) -> None:
        if outcome.error is not None:
            self._log.add("error", f"{trigger} [{manifest.name}]: returned error: {outcome.error}")
        elif outcome.output is not None:
            self._log.add("debug", f"{trigger} [{manifest.name}]: returned: {outcome.output}")

    def _to_run(self, plugin_id: str) -> Manifest:
        if not self.enabled(plugin_id):
            raise StashError(f"plugin {plugin_id} is disabled")
        manifest = next((m for m in self._loaded if m.id == plugin_id), None)
        if manifest is None:
            raise StashError(f"no plugin with ID {plugin_id}")
        return manifest

    def _run(self, caller: Caller, manifest: Manifest, args: Mapping[str, Any]) -> Outcome:
        argv, env = self._command(manifest)
        stdin = go_json({"server_connection": self._connection(caller, manifest), "args": _go_map(args)})
        outcome = run(Command(argv, env, stdin, manifest.name, manifest.err_log), caller.cancel, self._log)
        self.runs += 1
        return outcome

    def _command(self, manifest: Manifest) -> tuple[list[str], dict[str, str]]:
        argv = list(manifest.exec)
        env = {**os.environ, **self._config.env}
        if argv[0] in ("python", "python3"):
            argv[0] = sys.executable
            parent = str(manifest.folder.parent)
            env["PYTHONPATH"] = f"{env['PYTHONPATH']}{os.pathsep}{parent}" if "PYTHONPATH" in env else parent
        elif shutil.which(argv[0]) is None:
            argv[0] = str(manifest.folder / argv[0])
        return [one.replace("{pluginDir}", str(manifest.folder)) for one in argv], env

    def _connection(self, caller: Caller, manifest: Manifest) -> dict[str, Any]:
        cookie = self._sessions.make(caller.user)
        return {
            "Scheme": "http",
            "Host": self._config.host,
            "Port": self._config.port,
            "SessionCookie": connection_cookie(cookie),
            "Dir": str(self._config.config_dir),
            "PluginDir": str(manifest.folder),
        }


def go_json(value: Any) -> bytes:
    """JSON as Go's encoder writes it: compact UTF-8 with ``<``, ``>`` and ``&`` escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for plain, escaped in _GO_ESCAPES.items():
        text = text.replace(plain, escaped)
    return text.encode("utf-8", "replace")


def _go_map(args: Mapping[str, Any]) -> dict[str, Any]:
    """Sorts keys like Go, which sorts those of a map, but not the fields of a struct (the hook context)."""
    return {
        key: _go_map(args[key]) if isinstance(args[key], Mapping) and key != "hookContext" else args[key]
        for key in sorted(args)
    }
