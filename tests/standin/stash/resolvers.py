"""The executable schema: ``schema.graphql`` with resolvers of queries, mutations and computed fields.

A mutation makes its change first; then the hooks run, within the request.
"""

# ruff: noqa: N802  methods of Resolvers have the names of types and fields
from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphql import (
    GraphQLInputObjectType,
    GraphQLObjectType,
    GraphQLSchema,
    build_schema,
    get_nullable_type,
    is_input_object_type,
    is_list_type,
)

from tests.standin.stash.library import Kind, Scene, StashError, VideoFile, edited, identities, identity
from tests.standin.stash.plugins import Caller, Manifest
from tests.standin.stash.processes import Job

if TYPE_CHECKING:
    from tests.standin.stash.server import StandInStash

_PAGE = 25  # default number of scenes per page
# Structs that gqlgen generates omit unset fields in JSON; Stash's own structs write null.
_OMIT_EMPTY = ("BulkSceneUpdateInput", "BulkUpdateIds", "BulkUpdateStrings")

Args = dict[str, Any]
Test = Callable[[Scene], bool]


def bare() -> GraphQLSchema:
    """The schema without resolvers."""
    return build_schema(Path(__file__).with_name("schema.graphql").read_text("utf-8"))


def build(stash: StandInStash) -> GraphQLSchema:
    """The schema of one stand-in. A method of Resolvers named ``Scene_tags`` resolves the field Scene.tags."""
    schema = bare()
    resolvers = Resolvers(stash, schema)
    for name in dir(Resolvers):
        type_name, _, field = name.partition("_")
        if type_name:
            kind = schema.type_map[type_name]
            assert isinstance(kind, GraphQLObjectType)
            kind.fields[field].resolve = _resolver(getattr(resolvers, name))
    return schema


def _resolver(method: Callable[..., Any]) -> Callable[..., Any]:
    return lambda parent, info, **args: method(parent, info.context, args)


class Resolvers:
    """The resolvers; they take (parent, caller, arguments)."""

    def __init__(self, stash: StandInStash, schema: GraphQLSchema) -> None:
        self._stash = stash
        self._schema = schema

    def Query_version(self, _root: Any, _caller: Caller, _args: Args) -> Any:
        return {"version": "v0.30.1"}

    def Query_configuration(self, _root: Any, _caller: Caller, _args: Args) -> Any:
        config = self._stash.config
        general = {
            "apiKey": config.api_key,
            "username": config.username,
            "pythonPath": sys.executable,
            "stashes": [{"path": path, "excludeVideo": False} for path in config.stashes],
        }
        return {"general": general}

    def ConfigResult_plugins(self, _parent: Any, _caller: Caller, args: Args) -> Any:
        settings = self._stash.config.plugins
        include = args.get("include")
        if not include:
            return dict(settings)
        return {plugin: settings[plugin] for plugin in include if settings.get(plugin)}

    def Query_plugins(self, _root: Any, _caller: Caller, _args: Args) -> Any:
        return self._stash.plugins.all()

    def Query_findScene(self, _root: Any, caller: Caller, args: Args) -> Scene | None:
        number = identity(args["id"])
        self._stash.faults.check(caller, [number])
        return self._stash.library.find(number)

    def Query_findScenes(self, _root: Any, caller: Caller, args: Args) -> Any:
        found = _matching(self._stash.library.all(), args.get("scene_filter") or {})
        shown = _in_page(found, args.get("filter") or {})
        self._stash.faults.check(caller, [scene.id for scene in shown])
        return {"count": len(found), "scenes": shown}

    def Query_logs(self, _root: Any, _caller: Caller, _args: Args) -> Any:
        return self._stash.log.recent()

    def Mutation_sceneUpdate(self, _root: Any, caller: Caller, args: Args) -> Scene | None:
        given = args["input"]
        (scene,) = self._edit([identity(given["id"])], given)
        self._hook(caller, scene.id, "Update", self._shape("SceneUpdateInput", given), given)
        return self._stash.library.find(scene.id)

    def Mutation_scenesUpdate(self, _root: Any, caller: Caller, args: Args) -> list[Scene | None]:
        """Each hook gets the whole list, and the field names of its own scene."""
        library = self._stash.library
        library.change((identity(one["id"]), partial(edited, library, fields=one)) for one in args["input"])
        whole = [self._shape("SceneUpdateInput", one) for one in args["input"]]
        found = []
        for one in args["input"]:
            self._hook(caller, identity(one["id"]), "Update", whole, one)
            found.append(library.find(identity(one["id"])))
        return found

    def Mutation_bulkSceneUpdate(self, _root: Any, caller: Caller, args: Args) -> list[Scene | None]:
        given = args["input"]
        changed = self._edit(identities(given.get("ids") or ()), given)
        shape = self._shape("BulkSceneUpdateInput", given)
        found = []
        for scene in changed:
            self._hook(caller, scene.id, "Update", shape, given)
            found.append(self._stash.library.find(scene.id))
        return found

    def Mutation_sceneDestroy(self, _root: Any, caller: Caller, args: Args) -> bool:
        given = args["input"]
        return self._destroy(caller, [given["id"]], self._shape("SceneDestroyInput", given))

    def Mutation_scenesDestroy(self, _root: Any, caller: Caller, args: Args) -> bool:
        given = args["input"]
        return self._destroy(caller, given["ids"], self._shape("ScenesDestroyInput", given))

    def Mutation_metadataScan(self, _root: Any, caller: Caller, _args: Args) -> int:
        """Scans the files that a test queued."""
        files = self._stash.take_scan()

        def scan(job: Job) -> None:
            for path, size in files:
                if job.cancel.is_set():
                    return
                self._scan(replace(caller, cancel=job.cancel), path, size)

        return self._stash.jobs.add(scan).id

    def Mutation_configurePlugin(self, _root: Any, _caller: Caller, args: Args) -> Any:
        """Replaces the whole map."""
        self._stash.config.plugins[args["plugin_id"]] = dict(args["input"])
        return args["input"]

    def Mutation_setPluginsEnabled(self, _root: Any, _caller: Caller, args: Args) -> bool:
        for plugin, enabled in args["enabledMap"].items():
            if enabled:
                self._stash.config.disabled.discard(plugin)
            else:
                self._stash.config.disabled.add(plugin)
        return True

    def Mutation_runPluginTask(self, _root: Any, caller: Caller, args: Args) -> int:
        plugins = self._stash.plugins
        plugin, task = args["plugin_id"], args.get("task_name")
        given = args.get("args_map") or {}
        return self._stash.jobs.add(lambda job: plugins.run_task(caller, job, plugin, task, given)).id

    def Mutation_runPluginOperation(self, _root: Any, caller: Caller, args: Args) -> Any:
        return self._stash.plugins.run_operation(caller, args["plugin_id"], args.get("args") or {})

    def Scene_performers(self, scene: Scene, _caller: Caller, _args: Args) -> Any:
        return [self._named("performer", number) for number in scene.performers]

    def Scene_tags(self, scene: Scene, _caller: Caller, _args: Args) -> Any:
        return [self._named("tag", number) for number in scene.tags]

    def Scene_studio(self, scene: Scene, _caller: Caller, _args: Args) -> Any:
        return None if scene.studio is None else self._named("studio", scene.studio)

    def Scene_groups(self, scene: Scene, _caller: Caller, _args: Args) -> Any:
        return [{"group": self._named("group", number)} for number, _ in scene.groups]

    def Scene_paths(self, scene: Scene, caller: Caller, _args: Args) -> Any:
        """The host comes from the request."""
        stamp = int(datetime.fromisoformat(scene.updated_at).timestamp())
        return {"screenshot": f"{caller.base_url}/scene/{scene.id}/screenshot?t={stamp}"}

    def VideoFile_fingerprints(self, video: VideoFile, _caller: Caller, _args: Args) -> Any:
        return [{"type": kind, "value": value} for kind, value in video.fingerprints]

    def Plugin_enabled(self, plugin: Manifest, _caller: Caller, _args: Args) -> bool:
        return self._stash.plugins.enabled(plugin.id)

    def Plugin_paths(self, plugin: Manifest, caller: Caller, _args: Args) -> Any:
        base = f"{caller.base_url}/plugin/{plugin.id}"
        return {
            "javascript": [f"{base}/javascript"] if plugin.javascript else None,
            "css": [f"{base}/css"] if plugin.css else None,
        }

    def _named(self, kind: Kind, number: int) -> dict[str, Any]:
        return {"id": number, "name": self._stash.library.name(kind, number)}

    def _edit(self, scene_ids: list[int], given: Mapping[str, Any]) -> list[Scene]:
        library = self._stash.library
        edit = partial(edited, library, fields=given)
        return library.change((scene_id, edit) for scene_id in scene_ids)

    def _shape(self, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
        kind = self._schema.type_map[name]
        assert isinstance(kind, GraphQLInputObjectType)
        return _hook_input(kind, given)

    def _hook(self, caller: Caller, scene_id: int, event: str, given: Any, fields: Iterable[str] = ()) -> None:
        """Runs the hooks of one scene; stops the edit if the client has disconnected."""
        self._stash.plugins.run_hooks(caller, scene_id, f"Scene.{event}.Post", given, list(fields))
        if caller.cancel.is_set():
            raise StashError("context canceled")

    def _destroy(self, caller: Caller, ids: list[str], given: Mapping[str, Any]) -> bool:
        """Unlike an edit, a delete whose client has disconnected still starts each hook, and kills it at once."""
        for scene in self._stash.library.remove(identities(ids)):
            video = scene.files[0] if scene.files else None
            facts = {
                "checksum": video.fingerprint("md5") if video else "",
                "oshash": video.fingerprint("oshash") if video else "",
                "path": scene.path,
            }
            self._stash.plugins.run_hooks(caller, scene.id, "Scene.Destroy.Post", {**given, **facts})
        return True

    def _scan(self, caller: Caller, path: str, size: int) -> None:
        library, plugins = self._stash.library, self._stash.plugins
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


def _hook_input(kind: GraphQLInputObjectType, given: Mapping[str, Any]) -> dict[str, Any]:
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
    return _hook_input(inner, value) if is_input_object_type(inner) else value


def _matching(scenes: Iterable[Scene], scene_filter: Mapping[str, Any]) -> list[Scene]:
    """The scenes that match a SceneFilterType. Times are compared **as text**, like in Stash's database.

    Raises:
        StashError: a modifier that no query of ours uses.
    """
    return list(filter(_test(scene_filter), scenes))


def _in_page(scenes: list[Scene], find: Mapping[str, Any]) -> list[Scene]:
    """The first page of scenes in the order of a FindFilterType."""
    sort, descending = find.get("sort") or "id", find.get("direction") == "DESC"
    if sort.startswith("random_"):
        ordered = sorted(scenes, key=lambda s: hashlib.md5(f"{sort} {s.id}".encode()).digest())
    else:
        ordered = sorted(scenes, key=lambda s: getattr(s, sort), reverse=descending)
    size = _PAGE if find.get("per_page") is None else find["per_page"]
    return ordered if size < 0 else ordered[:size]


def _test(scene_filter: Mapping[str, Any]) -> Test:
    given = {field: value for field, value in scene_filter.items() if value is not None}
    either = given.pop("OR", None)
    tests = [_criterion(field, value) for field, value in given.items()]
    if either is None:
        return lambda scene: all(test(scene) for test in tests)
    other = _test(either)
    return lambda scene: (bool(tests) and all(test(scene) for test in tests)) or other(scene)


def _criterion(field: str, value: Any) -> Test:
    if field == "AND":
        return _test(value)
    if field == "path":
        return _path_includes(value["value"], value["modifier"])
    edge = value["value"]
    if value["modifier"] == "GREATER_THAN":
        return lambda scene: getattr(scene, field) > edge
    if value["modifier"] == "LESS_THAN":
        return lambda scene: getattr(scene, field) < edge
    raise StashError(f"the stand-in has no modifier {value['modifier']} for {field}")


def _path_includes(value: str, modifier: str) -> Test:
    """Each word is looked for, unless the whole is in quotes."""
    if modifier != "INCLUDES":
        raise StashError(f"the stand-in has no modifier {modifier} for path")
    text = value.casefold()
    words = [text.strip('"')] if text.strip('"') != text else text.split()
    return lambda scene: any(word in scene.path.casefold() for word in words)
