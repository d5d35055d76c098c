"""Reads a plugin's manifest (pkg/plugin/config.go). Stash reads it strictly: see tests/unit/test_manifest.py."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.standin.stash.library import StashError


class PluginRefused(Exception):
    """Stash would not load a manifest. The message names the file and the reason."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One entry of ``tasks`` or ``hooks``."""

    name: str
    description: str
    exec_args: tuple[str, ...]
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
    description: str | None
    url: str | None
    version: str | None
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
    """Reads one manifest.

    Raises:
        PluginRefused: Stash would not load it.
    """
    try:  # a Go string accepts any scalar as it is written
        top = yaml.load(path.read_text("utf-8"), yaml.BaseLoader)
    except yaml.YAMLError as error:
        raise PluginRefused(f"Error loading plugin {path}: {error}") from error
    if not isinstance(top, dict):
        raise PluginRefused(f"Error loading plugin {path}: EOF")
    ui = top.get("ui", {})
    return Manifest(
        id=path.stem,
        path=path.absolute(),
        name=top.get("name", path.stem),
        description=top.get("description"),
        url=top.get("url"),
        version=top.get("version"),
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
    return Operation(
        entry.get("name", ""),
        entry.get("description", ""),
        tuple(entry.get("execArgs", ())),
        entry.get("defaultArgs", {}),
        tuple(entry.get("triggeredBy", ())),
    )


def _setting(name: str, entry: Mapping[str, str]) -> Setting:
    kind, title, about = (entry.get(key, "") for key in ("type", "displayName", "description"))
    return Setting(name, kind or "STRING", title, about)
