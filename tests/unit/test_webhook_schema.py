"""The published JSON Schema of the standard body: it describes what is sent, and the examples are what is sent."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from jsonschema import Draft202012Validator, ValidationError

from stash_courier.queue.jobs import Named
from stash_courier.worker.destinations.webhook.render import render, render_test
from stash_courier.worker.destinations.webhook.values import Item
from tests import ROOT
from tests.support.webhook_items import AT, SCENE, examples, form, item, items, parsed

FOLDER = ROOT / "docs" / "schema"
SCHEMA = json.loads((FOLDER / "webhook.schema.json").read_text(encoding="utf-8"))


def strict(schema: Any) -> Any:
    """The schema without room for members that it doesn't describe."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(one) for key, one in schema.items()}
    if "required" in made and made.get("type") == "object":
        made["additionalProperties"] = False
    return made


JUDGE = Draft202012Validator(strict(SCHEMA))
EXAMPLES = examples()


def test_the_schema_is_one() -> None:
    """The schema itself is valid by draft 2020-12, and every type has an example."""
    Draft202012Validator.check_schema(SCHEMA)
    files = {path.stem for path in (FOLDER / "examples").iterdir()}
    assert files == set(SCHEMA["properties"]["type"]["enum"]) == EXAMPLES.keys()


@pytest.mark.parametrize("event_type", EXAMPLES)
def test_an_example_is_what_is_sent(event_type: str) -> None:
    """Each example is valid, and is exactly what our code makes of its event."""
    example = json.loads((FOLDER / "examples" / f"{event_type}.json").read_text(encoding="utf-8"))
    JUDGE.validate(example)
    assert parsed(render(form("standard"), EXAMPLES[event_type])) == example
    assert example["data"]["summary"]


@given(items)
@hypothesis_settings(max_examples=150)
def test_any_scene_is_valid(of: Item) -> None:
    """Whatever a scene contains, its body is as the schema says."""
    for name in ("standard", "home-assistant"):
        JUDGE.validate(parsed(render(form(name), of)))


def test_other_bodies_are_valid() -> None:
    """So are a truncated body, a test without a scene, and a scene without anything."""
    bare = dataclasses.replace(
        SCENE, title="", files=(), studio=None, date="", cover_url="", rating100=None, performers=(), tags=()
    )
    huge = dataclasses.replace(SCENE, details="x" * 10_000_000)
    truncated = parsed(render(form("standard"), item(huge)))
    assert truncated["data"]["truncated"] is True
    assert truncated["data"]["summary"] == "Scene changed: First light (tag, title)"
    for body in (
        truncated,
        parsed(render(form("standard"), item(bare))),
        parsed(render_test(form("standard"), AT)),
    ):
        JUDGE.validate(body)


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("rating100", 0),
        ("path", 5),
        ("summary", ""),
        ("sequence", -1),
        ("more", 1),
        ("studio", "North"),
        ("id", 17),
    ],
)
def test_the_schema_refuses(where: str, value: object) -> None:
    """The schema isn't so loose that a wrong value passes."""
    body = parsed(render(form("standard"), item()))
    body["data"][where] = value
    with pytest.raises(ValidationError):
        JUDGE.validate(body)


def test_an_ordinary_scene_is_small() -> None:
    """A scene with 20 performers, 100 tags and 2,000 characters of details stays below 20 KB."""
    scene = dataclasses.replace(
        SCENE,
        details="é" * 2000,
        performers=tuple(Named(str(n), f"Performer with a name {n}") for n in range(20)),
        tags=tuple(Named(str(n), f"a tag of some length {n}") for n in range(100)),
        files=SCENE.files * 3,
    )
    assert len(render(form("standard"), item(scene)).body) < 20_000


def test_texts_keep_their_escapes_in_the_standard_body_only() -> None:
    """A lone surrogate stays in the standard body. Home Assistant would drop the event, so it gets U+FFFD."""
    scene = dataclasses.replace(SCENE, details="a\ud800", studio=Named("7", "\udfff"))
    bodies = [parsed(render(form(name), item(scene)))["data"] for name in ("standard", "home-assistant")]
    assert [(data["details"], data["studio"]["name"]) for data in bodies] == [
        ("a\ud800", "\udfff"),
        ("a\ufffd", "\ufffd"),
    ]
