"""Resolvers of Stash's queries."""

from __future__ import annotations

from typing import Any

from tests.standin.stash import filters
from tests.standin.stash.backend import Args, Backend, answers
from tests.standin.stash.library import Scene, identity
from tests.standin.stash.plugins import Caller

VERSION = {"version": "v0.30.1", "hash": "standin00"}
_LEVELS = {"warning": "Warning", "error": "Error", "info": "Info"}


class Queries:
    """The resolvers; they take (parent, caller, arguments)."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    @answers("Query.version")
    def version(self, _root: Any, _caller: Caller, _args: Args) -> Any:
        return VERSION

    @answers("Query.configuration")
    def configuration(self, _root: Any, _caller: Caller, _args: Args) -> Any:
        config = self._backend.config
        general = {
            "apiKey": config.api_key,
            "username": config.username,
            "pythonPath": config.python,
            "stashes": [{"path": path, "excludeVideo": False} for path in config.stashes],
        }
        return {"general": general}

    @answers("ConfigResult.plugins")
    def plugin_settings(self, _parent: Any, _caller: Caller, args: Args) -> Any:
        settings = self._backend.config.plugins
        include = args.get("include")
        if not include:
            return dict(settings)
        return {plugin: settings[plugin] for plugin in include if settings.get(plugin)}

    @answers("Query.plugins")
    def plugins(self, _root: Any, _caller: Caller, _args: Args) -> Any:
        return self._backend.plugins.all()

    @answers("Query.findScene")
    def find_scene(self, _root: Any, caller: Caller, args: Args) -> Scene | None:
        number = identity(args["id"])
        self._backend.faults.check(caller, [number])
        return self._backend.library.find(number)

    @answers("Query.findScenes")
    def find_scenes(self, _root: Any, caller: Caller, args: Args) -> Any:
        found = filters.matching(self._backend.library.all(), args.get("scene_filter") or {})
        shown = filters.page(found, args.get("filter") or {})
        self._backend.faults.check(caller, [scene.id for scene in shown])
        return {"count": len(found), "scenes": shown}

    @answers("Query.logs")
    def logs(self, _root: Any, _caller: Caller, _args: Args) -> Any:
        lines = self._backend.log.recent()
        return [{"time": line.at, "level": _LEVELS[line.level], "message": line.message} for line in lines]
