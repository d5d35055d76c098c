"""The stand-in Stash has a real one's schema and calls hooks like one. What else it does, other tests use."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLObjectType,
    GraphQLSchema,
    build_client_schema,
    is_specified_scalar_type,
)

from tests import ROOT
from tests.standin.stash import StandInStash
from tests.standin.stash.resolvers import bare

INTROSPECTION = Path(
    os.environ.get("STASH_INTROSPECTION", ROOT.parent / "shared" / "stash" / "introspection.json")
)
SAMPLES = ROOT.parent / "shared" / "stash" / "hooks.json"  # what a real Stash gave its hooks

MANIFEST = """\
name: Probe
description: Records what it is given.
version: 0.1
interface: raw
exec: [python3, -S, "{pluginDir}/probe.py"]
errLog: warning
hooks:
  - name: scenes
    description: every scene event
    triggeredBy: [Scene.Create.Post, Scene.Update.Post, Scene.Destroy.Post]
    defaultArgs: {mode: hook}
"""
PROBE = """\
import os, sys
with open(os.path.join(os.path.dirname(__file__), "given"), "a") as file:
    file.write(sys.stdin.read() + "\\n")
print('{"output": null}')
"""


def disagreements(ours: GraphQLSchema, theirs: GraphQLSchema) -> list[str]:
    """All types, fields, arguments and enum values of ours that differ from theirs."""
    found = []
    kind: Any
    for name, kind in ours.type_map.items():
        if name.startswith("__") or is_specified_scalar_type(kind):
            continue
        other: Any = theirs.type_map.get(name)
        if type(other) is not type(kind):
            found.append(f"{name}: {other!r}")
        elif isinstance(kind, GraphQLEnumType):
            found += [f"{name}.{value}" for value in kind.values.keys() ^ other.values.keys()]
        elif isinstance(kind, GraphQLInputObjectType | GraphQLObjectType):
            found += _members(name, kind.fields, other.fields)
            for field, ours_field in kind.fields.items():
                if isinstance(kind, GraphQLObjectType) and field in other.fields:
                    found += _members(f"{name}.{field}", ours_field.args, other.fields[field].args)
    return found


def _members(owner: str, ours: Any, theirs: Any) -> list[str]:
    """Members that differ. An introspection doesn't show deprecated arguments and inputs, which servers accept."""
    return [
        f"{owner}.{name}: {member.type}"
        for name, member in ours.items()
        if (name in theirs and str(theirs[name].type) != str(member.type))
        or (name not in theirs and not member.deprecation_reason)
    ]


@pytest.mark.skipif(not INTROSPECTION.exists(), reason=f"Stash's schema isn't at {INTROSPECTION}")
def test_the_schema_agrees_with_a_real_stash() -> None:
    """Any query that the stand-in accepts is valid for Stash, with the same types."""
    real = build_client_schema(json.loads(INTROSPECTION.read_text("utf-8"))["data"])
    assert disagreements(bare(), real) == []


def _shape(value: Any) -> Any:
    """The keys of a JSON value and the types of their values."""
    if isinstance(value, dict):
        return {key: _shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_shape(inner) for inner in value]
    return type(value).__name__


@pytest.mark.skipif(not SAMPLES.exists(), reason=f"samples of Stash's hooks aren't at {SAMPLES}")
def test_hook_contexts_are_like_those_of_a_stash(tmp_path: Path) -> None:
    """Each event that fires a scene hook gives the plugin the same structure as the samples from a real Stash."""
    probe = tmp_path / "my plugins" / "probe"
    probe.mkdir(parents=True)
    (probe / "probe.yml").write_text(MANIFEST)
    (probe / "probe.py").write_text(PROBE)
    with StandInStash(10, config_dir=tmp_path / "config") as stash:
        stash.install_plugin(probe)
        tag = stash.named("tag", "x")
        stash.edit(1, title="New title")
        stash.edit(1, cover_image="data:image/jpeg;base64,/9j/")
        stash.graphql(
            "mutation($i: [SceneUpdateInput!]!) { scenesUpdate(input: $i) { id } }",
            {"i": [{"id": 1, "rating100": 80}, {"id": 2, "rating100": 60}]},
        )
        stash.edit_many([1, 2, 3], organized=True, tag_ids={"ids": [tag], "mode": "ADD"})
        stash.queue_scan("/media/new.mp4")
        stash.scan()
        stash.queue_scan("/media/new.mp4", size=5)
        stash.scan()
        kept = "delete_file: false, delete_generated: true"
        stash.graphql(f"mutation {{ sceneDestroy(input: {{id: 1, {kept}}}) }}")
        stash.graphql(f"mutation {{ scenesDestroy(input: {{ids: [2, 3], {kept}}}) }}")
    wanted = [
        "scene_update",
        "scene_update_with_cover",
        *["scenes_update_the_input_is_the_whole_list"] * 2,
        *["bulk_scene_update"] * 3,
        "scan_created",
        "scan_file_changed",
        "scene_destroy",
        *["scenes_destroy"] * 2,
    ]

    samples = json.loads(SAMPLES.read_text("utf-8"))
    given = map(json.loads, (probe / "given").read_text("utf-8").splitlines())
    for name, got in zip(wanted, given, strict=True):
        sample = samples[name]
        context = sample["args"]["hookContext"]
        if name == "bulk_scene_update":  # its struct omits unset fields
            context["input"] = {key: value for key, value in context["input"].items() if value is not None}
        assert _shape(got) == _shape(sample), name
        shapes = (json.dumps(_shape(hook)) for hook in (got["args"]["hookContext"], context))
        assert len(set(shapes)) == 1, f"{name}: the keys have another order"
        assert got["args"]["hookContext"].get("inputFields") == context.get("inputFields"), name
