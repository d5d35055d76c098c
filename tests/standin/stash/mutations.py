"""Resolvers of Stash's mutations. The change is made first, then the hooks run, within the request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from graphql import (
    GraphQLInputObjectType,
    GraphQLSchema,
    get_nullable_type,
    is_input_object_type,
    is_list_type,
)

from tests.standin.stash import edits
from tests.standin.stash.backend import Args, Backend, answers
from tests.standin.stash.jobs import Job
from tests.standin.stash.library import Scene, StashError, identities, identity
from tests.standin.stash.plugins import Caller

_VIDEOS = (".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v", ".wmv")
# Structs that gqlgen generates omit unset fields in JSON; Stash's own structs write null.
_OMIT_EMPTY = ("BulkSceneUpdateInput", "BulkUpdateIds", "BulkUpdateStrings")


def hook_input(kind: GraphQLInputObjectType, given: Mapping[str, Any]) -> dict[str, Any]:
    """A client's input as hooks see it: Stash's Go struct as JSON."""
    written = {}
    for name, field in kind.fields.items():
        value = _nested(field.type, given.get(name))
        if kind.name not in _OMIT_EMPTY or (value is not None and value != []):
            written[name] = value
    return written


def _nested(kind: Any, value: Any) -> Any:
    inner = get_nullable_type(kind)
    if value is None:
        return None
    if is_list_type(inner):
        return [_nested(inner.of_type, item) for item in value]
    return hook_input(inner, value) if is_input_object_type(inner) else value


class Mutations:
    """The resolvers; they take (parent, caller, arguments)."""

    def __init__(self, backend: Backend, schema: GraphQLSchema) -> None:
        self._backend = backend
        self._schema = schema

    @answers("Mutation.sceneUpdate")
    def scene_update(self, _root: Any, caller: Caller, args: Args) -> Scene | None:
        given = args["input"]
        (scene,) = self._edit([identity(given["id"])], given)
        self._hook(caller, scene.id, "Update", self._shape("SceneUpdateInput", given), given)
        return self._backend.library.find(scene.id)

    @answers("Mutation.scenesUpdate")
    def scenes_update(self, _root: Any, caller: Caller, args: Args) -> list[Scene | None]:
        """Each hook gets the whole list, and the field names of its own scene."""
        library = self._backend.library
        library.change((identity(one["id"]), partial(edits.apply, library, fields=one)) for one in args["input"])
        whole = [self._shape("SceneUpdateInput", one) for one in args["input"]]
        found = []
        for one in args["input"]:
            self._hook(caller, identity(one["id"]), "Update", whole, one)
            found.append(library.find(identity(one["id"])))
        return found

    @answers("Mutation.bulkSceneUpdate")
    def bulk_scene_update(self, _root: Any, caller: Caller, args: Args) -> list[Scene | None]:
        given = args["input"]
        changed = self._edit(identities(given.get("ids") or ()), given)
        shape = self._shape("BulkSceneUpdateInput", given)
        found = []
        for scene in changed:
            self._hook(caller, scene.id, "Update", shape, given)
            found.append(self._backend.library.find(scene.id))
        return found

    @answers("Mutation.sceneDestroy")
    def scene_destroy(self, _root: Any, caller: Caller, args: Args) -> bool:
        given = args["input"]
        return self._destroy(caller, [given["id"]], self._shape("SceneDestroyInput", given))

    @answers("Mutation.scenesDestroy")
    def scenes_destroy(self, _root: Any, caller: Caller, args: Args) -> bool:
        given = args["input"]
        return self._destroy(caller, given["ids"], self._shape("ScenesDestroyInput", given))

    @answers("Mutation.metadataScan")
    def metadata_scan(self, _root: Any, caller: Caller, args: Args) -> int:
        """Scans the files that a test queued and the videos below the given paths."""
        given = args["input"]
        files = self._backend.take_scan()
        for path in given.get("paths") or ():
            files += _videos_below(Path(path))

        def scan(job: Job) -> None:
            for path, size in files:
                if job.cancel.is_set():
                    return
                self._scan(replace(caller, cancel=job.cancel), path, size)

        return self._backend.jobs.add("Scanning...", scan).id

    @answers("Mutation.configurePlugin")
    def configure_plugin(self, _root: Any, _caller: Caller, args: Args) -> Any:
        """Replaces the whole map."""
        self._backend.config.plugins[args["plugin_id"]] = dict(args["input"])
        return args["input"]

    @answers("Mutation.setPluginsEnabled")
    def set_plugins_enabled(self, _root: Any, _caller: Caller, args: Args) -> bool:
        for plugin, enabled in args["enabledMap"].items():
            if enabled:
                self._backend.config.disabled.discard(plugin)
            else:
                self._backend.config.disabled.add(plugin)
        return True

    @answers("Mutation.reloadPlugins")
    def reload_plugins(self, _root: Any, _caller: Caller, _args: Args) -> bool:
        self._backend.plugins.reload()
        return True

    @answers("Mutation.runPluginTask")
    def run_plugin_task(self, _root: Any, caller: Caller, args: Args) -> int:
        plugins = self._backend.plugins
        plugin, task = args["plugin_id"], args.get("task_name")
        given = args.get("args_map") or {}
        shown = args.get("description") or task or plugin
        return self._backend.jobs.add(
            f"Running plugin task: {shown}",
            lambda job: plugins.run_task(caller, job, plugin, task, given),
        ).id

    @answers("Mutation.runPluginOperation")
    def run_plugin_operation(self, _root: Any, caller: Caller, args: Args) -> Any:
        return self._backend.plugins.run_operation(caller, args["plugin_id"], args.get("args") or {})

    @answers("Mutation.stopJob")
    def stop_job(self, _root: Any, _caller: Caller, args: Args) -> bool:
        self._backend.jobs.stop(identity(args["job_id"]))
        return True

    def _edit(self, scene_ids: list[int], given: Mapping[str, Any]) -> list[Scene]:
        library = self._backend.library
        edit = partial(edits.apply, library, fields=given)
        return library.change((scene_id, edit) for scene_id in scene_ids)

    def _shape(self, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
        kind = self._schema.type_map[name]
        assert isinstance(kind, GraphQLInputObjectType)
        return hook_input(kind, given)

    def _hook(self, caller: Caller, scene_id: int, event: str, given: Any, fields: Iterable[str] = ()) -> None:
        """Runs the hooks of one scene; stops the edit if the client has disconnected."""
        self._backend.plugins.run_hooks(caller, scene_id, f"Scene.{event}.Post", given, list(fields))
        if caller.cancel.is_set():
            raise StashError("context canceled")

    def _destroy(self, caller: Caller, ids: list[str], given: Mapping[str, Any]) -> bool:
        """Unlike an edit, a delete whose client has disconnected still starts each hook, and kills it at once."""
        for scene in self._backend.library.remove(identities(ids)):
            video = scene.files[0] if scene.files else None
            facts = {
                "checksum": video.fingerprint("md5") if video else "",
                "oshash": video.fingerprint("oshash") if video else "",
                "path": scene.path,
            }
            self._backend.plugins.run_hooks(caller, scene.id, "Scene.Destroy.Post", {**given, **facts})
        return True

    def _scan(self, caller: Caller, path: str, size: int) -> None:
        library, plugins = self._backend.library, self._backend.plugins
        known = library.by_path(path)
        if known is None:
            scene = library.new_scene([library.video(path, size)])
            library.commit([scene])
            plugins.run_hooks(caller, scene.id, "Scene.Create.Post", None)
            return
        old = next(f for f in known.files if f.path == path)
        if old.size == size:
            return
        new = replace(library.video(path, size), id=old.id)
        files = tuple(new if f is old else f for f in known.files)
        library.commit([replace(known, files=files)])  # a changed file doesn't change the scene's updated_at
        plugins.run_hooks(caller, known.id, "Scene.Update.Post", None)


def _videos_below(root: Path) -> list[tuple[str, int]]:
    files = [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.is_file())
    return [(str(p), p.stat().st_size) for p in files if p.suffix.lower() in _VIDEOS]
