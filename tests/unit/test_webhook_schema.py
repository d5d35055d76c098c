"""The published JSON Schema of the standard body: its examples are what is sent, and it refuses what isn't."""

from __future__ import annotations

import dataclasses
import json

import pytest
from jsonschema import Draft202012Validator, ValidationError

from stash_courier.queue.jobs import Named
from stash_courier.worker.destinations.webhook.render import render, render_test
from tests.support.webhook_items import AT, JUDGE, SCENE, SCHEMA, SCHEMAS, examples, form, item, parsed


@pytest.mark.parametrize("event_type", SCHEMA["properties"]["type"]["enum"])
def test_an_example_is_what_is_sent(event_type: str) -> None:
    """Each type has a published example, which is valid and exactly what our code makes of its event."""
    Draft202012Validator.check_schema(SCHEMA)
    example = json.loads((SCHEMAS / "examples" / f"{event_type}.json").read_text(encoding="utf-8"))
    JUDGE.validate(example)
    assert parsed(render(form("standard"), examples()[event_type])) == example
    assert example["data"]["summary"]


def test_truncated_and_empty_bodies_are_valid() -> None:
    """So are a truncated body, a test without a scene, and a scene without anything. An ordinary one is small."""
    values = {"title": "", "files": (), "studio": None, "date": "", "rating100": None, "tags": (), "cover_url": ""}
    truncated = parsed(render(form("standard"), item(dataclasses.replace(SCENE, details="x" * 300_000))))
    assert truncated["data"]["truncated"] is True
    JUDGE.validate(truncated)
    JUDGE.validate(parsed(render(form("standard"), item(dataclasses.replace(SCENE, **values)))))  # type: ignore[arg-type]
    JUDGE.validate(parsed(render_test(form("standard"), AT)))
    many = tuple(Named(str(n), f"a tag of some length {n}") for n in range(100))
    ordinary = dataclasses.replace(
        SCENE, details="é" * 2000, tags=many, performers=many[:20], files=SCENE.files * 3
    )
    assert len(render(form("standard"), item(ordinary)).body) < 20_000


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
    wrong = parsed(render(form("standard"), item()))
    wrong["data"][where] = value
    with pytest.raises(ValidationError):
        JUDGE.validate(wrong)
