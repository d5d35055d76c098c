"""Custom templates: how values are filled in, and that no template and no value breaks a body."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from stash_courier.queue.jobs import Named
from stash_courier.worker.destinations.webhook.messages import LARGEST_BODY
from stash_courier.worker.destinations.webhook.render import render
from stash_courier.worker.destinations.webhook.templates import LARGEST_TEMPLATE, parse
from stash_courier.worker.destinations.webhook.values import NAMES, Item
from tests.support.webhook_items import HOSTILE, SCENE, examples, form, item, parsed

BARE = dataclasses.replace(SCENE, rating100=None, tags=(), studio=None, director="")
EVERY_NAME = {name: f"{{{name}}}" for name in NAMES}


def filled(template: Any, of: Item | None = None) -> Any:
    """The parsed body that a template makes of an event."""
    return parsed(render(form("custom", {"template": json.dumps(template)}), of or item()))


def titled(title: str) -> Item:
    """An event of a scene with this title."""
    return item(dataclasses.replace(SCENE, title=title))


TITLE = '{details} {{ "}],{"x":1'


@pytest.mark.parametrize(
    ("template", "of", "made"),
    [
        # Placeholders are filled in wherever a string value is, several in one string; lists are joined.
        ({"a": "{title} by {performers}"}, item(), {"a": "First light by Anna, Zoë"}),
        ([{"c": "#{id}"}, 5, None, True, 1.5], item(), [{"c": "#17"}, 5, None, True, 1.5]),
        # A string that is exactly one placeholder becomes a number, a list, a truth value or null.
        (["{rating}", "{tags}", "{organized}"], item(), [80, ["outdoor", "lake"], True]),
        (["{rating}", "{tags}", "{rating}/100"], item(BARE), [None, [], "/100"]),
        # A fallback stands for an empty value.
        (
            ["{studio|none}", "by {director|x}", "{tags|no|tags}"],
            item(),
            ["North", "by Ida Holm", ["outdoor", "lake"]],
        ),
        (["{studio|none}", "by {director|x}", "{tags|no|tags}"], item(BARE), ["none", "by x", "no|tags"]),
        # {{ and }} are braces, and a single } is itself.
        (["{{title}}", "{{{title}}}", "a } b", "{{"], item(), ["{title}", "{First light}", "a } b", "{"]),
        # A title that looks like a placeholder, or like JSON, stays what it is.
        ({"a": "{title}!"}, titled(TITLE), {"a": f"{TITLE}!"}),
        # A title is one line: the file's name without one, else the id. Never empty.
        ("{title}", titled(" a\n\tb "), "a b"),
        ("{title}", titled(""), "first-light"),
        ("{title}", item(dataclasses.replace(SCENE, title="\n", files=())), "Scene 17"),
        ("{title}", titled("x" * 10_000_000), "x" * 299 + "…"),
    ],
)
def test_a_template_is_filled(template: Any, of: Item, made: Any) -> None:
    """A template is JSON whose strings have placeholders; see the comments beside each group."""
    assert filled(template, of) == made


def test_the_values_of_a_scene() -> None:
    """The values are those of the scene, with the mapped path and links to Stash."""
    assert filled(EVERY_NAME) == {
        "event": "update",
        "type": "scene.updated",
        "summary": "Scene changed: First light (tag, title)",
        "text": ("Changed: tag, title\nAnna, Zoë\nNorth, 2024-05-01\n\nA morning at the lake.\nShot in one take."),
        "id": "17",
        "title": "First light",
        "details": SCENE.details,
        "date": "2024-05-01",
        "studio": "North",
        "performers": ["Anna", "Zoë"],
        "tags": ["outdoor", "lake"],
        "groups": ["Lights"],
        "director": "Ida Holm",
        "rating": 80,
        "code": "FL-1",
        "path": "/media/first-light.mkv",
        "url": "http://stash.lan:9999/scenes/17",
        "image": SCENE.cover_url,
        "urls": ["https://example.org/first-light"],
        "organized": True,
        "created_at": SCENE.created_at,
        "updated_at": SCENE.updated_at,
        "duration": 62,
        "resolution": "1920x1080",
        "changed": ["tag_ids", "title"],
        "sequence": 1_767_225_600_123,
        "at": "2026-01-01T00:00:00.500Z",
        "connection": "",
        "reason": "",
        "count": None,
    }


def test_a_long_list_of_fields_is_told_to_programs_only() -> None:
    """Stash's edit form names each of its fields, whatever was changed, so people don't read of twelve changes."""
    of = item(SCENE)
    fields = ("code", "date", "details", "director", "performer_ids", "studio_id", "tag_ids", "title", "urls")
    got = filled(EVERY_NAME, dataclasses.replace(of, data={**of.data, "changed": fields}))
    assert got["summary"] == "Scene changed: First light"
    assert got["text"].startswith("Changed\nAnna")
    assert got["changed"] == list(fields)


def test_no_link_without_stashs_address() -> None:
    """Without Stash's address, ``url`` is empty."""
    custom = form("custom", {"template": '"{url|nowhere}"'}, stash_url="")
    assert parsed(render(custom, item())) == "nowhere"


def test_an_event_can_have_its_own_template() -> None:
    """The template of an event is used for it, the general one for all others, with every name for each event."""
    options = {"template": json.dumps(EVERY_NAME), "template_destroy": '["gone", "{title}"]'}
    got = {of.type: parsed(render(form("custom", options), of)) for of in examples().values()}
    assert got.pop("scene.destroyed") == ["gone", "first-light"]
    for event_type, body in got.items():
        assert body["type"] == event_type
        assert body.keys() == NAMES.keys()


@given(st.text(st.characters(codec=None), max_size=40) | st.text('{}"[]:,\\ \ntitle|e0-.u\ud800', max_size=40))
@hypothesis_settings(max_examples=200)
def test_no_template_raises(text: str) -> None:
    """Whatever is entered is a template or has problems, and a template makes JSON."""
    template, problems = parse(text, NAMES)
    assert (template is None) == bool(problems)
    if template is not None:
        parsed(render(form("custom", {"template": text}), item(HOSTILE)))


@pytest.mark.parametrize("text", ["{details}", "{sequence}", "{tags}", "🎬", "{details|x}"])
def test_the_largest_template_makes_a_body_that_fits(text: str) -> None:
    """A template of the largest size that repeats one name thousands of times makes at most 256 KiB of JSON."""
    many = tuple(Named(str(n), "tag" * 100) for n in range(3000))
    of = item(dataclasses.replace(SCENE, details="x" * 1_000_000, tags=many))
    count = LARGEST_TEMPLATE // (len(text.encode()) + 4)
    for template in ([text] * count, [text * (count // 2)]):
        source = json.dumps(template, ensure_ascii=False, separators=(",", ":"))
        made = render(form("custom", {"template": source}), of)
        assert len(made.body) <= LARGEST_BODY
        parsed(made)
