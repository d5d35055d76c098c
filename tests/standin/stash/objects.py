"""Resolvers for fields of scenes, files and plugins that are not plain attributes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tests.standin.stash.backend import Args, Backend, answers
from tests.standin.stash.library import Kind, Scene, VideoFile
from tests.standin.stash.manifest import Manifest
from tests.standin.stash.plugins import Caller


class Objects:
    """The resolvers; they take (parent, caller, arguments)."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    @answers("Scene.performers")
    def performers(self, scene: Scene, _caller: Caller, _args: Args) -> Any:
        return [self._named("performer", number) for number in scene.performers]

    @answers("Scene.tags")
    def tags(self, scene: Scene, _caller: Caller, _args: Args) -> Any:
        return [self._named("tag", number) for number in scene.tags]

    @answers("Scene.studio")
    def studio(self, scene: Scene, _caller: Caller, _args: Args) -> Any:
        return None if scene.studio is None else self._named("studio", scene.studio)

    @answers("Scene.groups")
    def groups(self, scene: Scene, _caller: Caller, _args: Args) -> Any:
        return [{"group": self._named("group", number)} for number, _ in scene.groups]

    @answers("Scene.paths")
    def paths(self, scene: Scene, caller: Caller, _args: Args) -> Any:
        """The host comes from the request."""
        stamp = int(datetime.fromisoformat(scene.updated_at).timestamp())
        return {"screenshot": f"{caller.base_url}/scene/{scene.id}/screenshot?t={stamp}"}

    @answers("VideoFile.fingerprints")
    def fingerprints(self, video: VideoFile, _caller: Caller, _args: Args) -> Any:
        return [{"type": kind, "value": value} for kind, value in video.fingerprints]

    @answers("Plugin.enabled")
    def enabled(self, plugin: Manifest, _caller: Caller, _args: Args) -> bool:
        return self._backend.plugins.enabled(plugin.id)

    @answers("Plugin.paths")
    def plugin_paths(self, plugin: Manifest, caller: Caller, _args: Args) -> Any:
        base = f"{caller.base_url}/plugin/{plugin.id}"
        return {
            "javascript": [f"{base}/javascript"] if plugin.javascript else None,
            "css": [f"{base}/css"] if plugin.css else None,
        }

    def _named(self, kind: Kind, number: int) -> dict[str, Any]:
        return {"id": number, "name": self._backend.library.name(kind, number)}
