"""Resolvers for fields of scenes, files and plugins that are not plain attributes."""

from __future__ import annotations

from datetime import datetime
from pathlib import PurePath
from typing import Any

from tests.standin.stash.backend import Args, Backend, answers
from tests.standin.stash.library import Kind, Scene, VideoFile
from tests.standin.stash.manifest import Manifest, Operation
from tests.standin.stash.plugins import Caller


class Objects:
    """The resolvers; they take (parent, caller, arguments)."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    @answers("Scene.url")
    def url(self, scene: Scene, _caller: Caller, _args: Args) -> str | None:
        return scene.urls[0] if scene.urls else None

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
        return [{"group": self._named("group", i), "scene_index": index} for i, index in scene.groups]

    @answers("Scene.paths")
    def paths(self, scene: Scene, caller: Caller, _args: Args) -> Any:
        """The host comes from the request. The stream's URL contains the API key if there is one."""
        base = f"{caller.base_url}/scene/{scene.id}"
        key = self._backend.config.api_key
        stamp = int(datetime.fromisoformat(scene.updated_at).timestamp())
        return {
            "screenshot": f"{base}/screenshot?t={stamp}",
            "preview": f"{base}/preview",
            "stream": f"{base}/stream?apikey={key}" if key else f"{base}/stream",
            "webp": f"{base}/webp",
        }

    @answers("VideoFile.basename")
    def basename(self, video: VideoFile, _caller: Caller, _args: Args) -> str:
        return video.path.rsplit("/", 1)[-1]

    @answers("VideoFile.fingerprints")
    def fingerprints(self, video: VideoFile, _caller: Caller, _args: Args) -> Any:
        return [{"type": kind, "value": value} for kind, value in video.fingerprints]

    @answers("VideoFile.fingerprint")
    def fingerprint(self, video: VideoFile, _caller: Caller, args: Args) -> str | None:
        return video.fingerprint(args["type"]) or None

    @answers("VideoFile.format")
    def format(self, video: VideoFile, _caller: Caller, _args: Args) -> str:
        return PurePath(video.path).suffix.removeprefix(".")

    @answers("VideoFile.bit_rate")
    def bit_rate(self, video: VideoFile, _caller: Caller, _args: Args) -> int:
        return int(video.size * 8 / video.duration) if video.duration else 0

    @answers("Plugin.enabled")
    def enabled(self, plugin: Manifest, _caller: Caller, _args: Args) -> bool:
        return self._backend.plugins.enabled(plugin.id)

    @answers("Plugin.tasks")
    def tasks(self, plugin: Manifest, _caller: Caller, _args: Args) -> Any:
        return [_operation(plugin, task) for task in plugin.tasks]

    @answers("Plugin.hooks")
    def hooks(self, plugin: Manifest, _caller: Caller, _args: Args) -> Any:
        return [_operation(plugin, hook) for hook in plugin.hooks]

    @answers("Plugin.paths")
    def plugin_paths(self, plugin: Manifest, caller: Caller, _args: Args) -> Any:
        base = f"{caller.base_url}/plugin/{plugin.id}"
        return {
            "javascript": [f"{base}/javascript"] if plugin.javascript else None,
            "css": [f"{base}/css"] if plugin.css else None,
        }

    def _named(self, kind: Kind, number: int) -> dict[str, Any]:
        return {"id": number, "name": self._backend.library.name(kind, number)}


def _operation(plugin: Manifest, operation: Operation) -> dict[str, Any]:
    return {
        "name": operation.name,
        "description": operation.description,
        "hooks": operation.triggered_by,
        "plugin": plugin,
    }
