"""Reads a plugin's manifest as strictly as Stash, which refuses unknown and repeated keys.

Stash decodes manifests with gopkg.in/yaml.v2 in strict mode into Go structs (pkg/plugin/config.go). This module
reads PyYAML's node tree instead of its values, because a Go string accepts any scalar as it is written.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.standin.stash.library import StashError

_Read = Callable[[yaml.Node], Any]


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
    requires: tuple[str, ...]
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
    try:
        nodes = yaml.compose_all(path.read_text("utf-8"), Loader=yaml.SafeLoader)
        root = next(iter(nodes), None)
        if root is None:
            raise _bad("EOF", None)
        return _manifest(path.absolute(), _struct(root, _TOP))
    except (yaml.YAMLError, _Bad) as error:
        raise PluginRefused(f"Error loading plugin {path}: {error}") from error


class _Bad(Exception):
    """The problem and its line."""


def _bad(problem: str, node: yaml.Node | None) -> _Bad:
    return _Bad(problem if node is None else f"line {node.start_mark.line + 1}: {problem}")


def _manifest(path: Path, top: Mapping[str, Any]) -> Manifest:
    if (top.get("interface") or "raw") != "raw":
        raise _bad(f"interface {top['interface']}: the stand-in runs raw plugins only", None)
    ui = top.get("ui") or {}
    return Manifest(
        id=path.stem,
        path=path,
        name=top.get("name") or path.stem,
        description=top.get("description"),
        url=top.get("url"),
        version=top.get("version"),
        exec=top.get("exec") or (),
        err_log=top.get("errLog") or "",
        tasks=tuple(_operation(t) for t in top.get("tasks") or ()),
        hooks=tuple(_operation(h) for h in top.get("hooks") or ()),
        settings=tuple(_setting(k, s) for k, s in sorted((top.get("settings") or {}).items())),
        requires=ui.get("requires") or (),
        javascript=ui.get("javascript") or (),
        css=ui.get("css") or (),
        assets=ui.get("assets") or {},
    )


def _operation(entry: Mapping[str, Any]) -> Operation:
    return Operation(
        entry.get("name") or "",
        entry.get("description") or "",
        entry.get("execArgs") or (),
        entry.get("defaultArgs") or {},
        entry.get("triggeredBy") or (),
    )


def _setting(name: str, entry: Mapping[str, Any]) -> Setting:
    kind = entry.get("type") or "STRING"
    if kind not in ("STRING", "NUMBER", "BOOLEAN"):
        raise _bad(f"invalid type {kind} for setting {name}", None)
    return Setting(name, kind, entry.get("displayName") or "", entry.get("description") or "")


def _null(node: yaml.Node) -> bool:
    return node.tag == "tag:yaml.org,2002:null"


def _text(node: yaml.Node) -> str | None:
    if _null(node):
        return None
    if not isinstance(node, yaml.ScalarNode):
        raise _bad(f"cannot unmarshal a {node.tag} into a string", node)
    return str(node.value)


def _pairs(node: yaml.Node) -> list[tuple[yaml.Node, str, yaml.Node]]:
    if _null(node):
        return []
    if not isinstance(node, yaml.MappingNode):
        raise _bad(f"cannot unmarshal a {node.tag} into a map", node)
    pairs = [(key, _text(key) or "", value) for key, value in node.value]
    seen: set[str] = set()
    for key, name, _ in pairs:
        if name in seen:
            raise _bad(f"key {name} already set", key)
        seen.add(name)
    return pairs


def _struct(node: yaml.Node, fields: Mapping[str, _Read]) -> dict[str, Any]:
    values = {}
    for key, name, value in _pairs(node):
        if name not in fields:
            raise _bad(f"field {name} not found", key)
        values[name] = fields[name](value)
    return values


def _struct_of(fields: Mapping[str, _Read]) -> _Read:
    return lambda node: _struct(node, fields)


def _list_of(read: _Read) -> _Read:
    def read_list(node: yaml.Node) -> tuple[Any, ...]:
        if _null(node):
            return ()
        if not isinstance(node, yaml.SequenceNode):
            raise _bad(f"cannot unmarshal a {node.tag} into a list", node)
        return tuple(read(item) for item in node.value)

    return read_list


def _map_of(read: _Read) -> _Read:
    return lambda node: {name: read(value) for _, name, value in _pairs(node)}


def _string(node: yaml.Node) -> str:
    return _text(node) or ""


_strings = _list_of(_string)
_TASK: dict[str, _Read] = {
    "name": _string,
    "description": _string,
    "execArgs": _strings,
    "defaultArgs": _map_of(_string),
}
_HOOK: dict[str, _Read] = {**_TASK, "triggeredBy": _strings}
_SETTING: dict[str, _Read] = {"type": _string, "displayName": _string, "description": _string}
_CSP: dict[str, _Read] = {"script-src": _strings, "style-src": _strings, "connect-src": _strings}
_UI: dict[str, _Read] = {
    "requires": _strings,
    "csp": _struct_of(_CSP),
    "javascript": _strings,
    "css": _strings,
    "assets": _map_of(_string),
}
_TOP: dict[str, _Read] = {
    "name": _string,
    "description": _text,
    "url": _text,
    "version": _text,
    "interface": _string,
    "exec": _strings,
    "errLog": _string,
    "tasks": _list_of(_struct_of(_TASK)),
    "hooks": _list_of(_struct_of(_HOOK)),
    "ui": _struct_of(_UI),
    "settings": _map_of(_struct_of(_SETTING)),
}
