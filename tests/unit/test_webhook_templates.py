"""Custom templates: what they may contain, what is said about a wrong one, and that no value breaks a body."""

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
from stash_courier.worker.destinations.webhook.settings import read_format
from stash_courier.worker.destinations.webhook.templates import LARGEST_TEMPLATE, parse
from stash_courier.worker.destinations.webhook.values import NAMES, Item
from tests.support.webhook_items import HOSTILE, SCENE, examples, form, item, items, parsed, strings


def filled(template: Any, of: Item | None = None) -> Any:
    """The parsed body that a template makes of an event."""
    return parsed(render(form("custom", {"template": json.dumps(template)}), of or item()))


def problem(text: str) -> str:
    """The only problem of a template."""
    made, (only,) = read_format("custom", {"template": text}, "http://127.0.0.1:1")
    assert made is None
    assert only.field == "template"
    return only.message


def test_placeholders_are_filled_in_strings() -> None:
    """Placeholders are filled in wherever a string value is, several in one string; lists are joined."""
    assert filled({"a": "{title} by {performers}", "b": [{"c": "#{id}"}, 5, None, True, 1.5]}) == {
        "a": "First light by Anna, Zoë",
        "b": [{"c": "#17"}, 5, None, True, 1.5],
    }


def test_a_lone_placeholder_keeps_the_type() -> None:
    """A string that is exactly one placeholder becomes a number, a list, a truth value or null."""
    bare = item(dataclasses.replace(SCENE, rating100=None, tags=()))
    template = {name: f"{{{name}}}" for name in ("rating", "tags", "organized", "duration", "sequence", "date")}
    assert filled(template) == {
        "rating": 80,
        "tags": ["outdoor", "lake"],
        "organized": True,
        "duration": 62,
        "sequence": 1_767_225_600_123,
        "date": "2024-05-01",
    }
    assert filled({"r": "{rating}", "t": "{tags}", "s": "{rating}/100"}, bare) == {"r": None, "t": [], "s": "/100"}


def test_a_fallback_stands_for_an_empty_value() -> None:
    """``{studio|none}`` writes "none" for a scene without a studio, and the studio otherwise."""
    template = ["{studio|none}", "by {director|someone else}", "{rating|unrated}", "{tags|no|tags}"]
    bare = item(dataclasses.replace(SCENE, studio=None, director="", rating100=None, tags=()))
    assert filled(template) == ["North", "by Ida Holm", 80, ["outdoor", "lake"]]
    assert filled(template, bare) == ["none", "by someone else", "unrated", "no|tags"]


def test_braces() -> None:
    """``{{`` and ``}}`` are braces, and a single ``}`` is itself."""
    assert filled(["{{title}}", "{{{title}}}", "a } b", "{{"]) == ["{title}", "{First light}", "a } b", "{"]


def test_values_are_not_filled_in_again() -> None:
    """A title that looks like a placeholder, or like JSON, stays what it is."""
    title = '{details} {{ "}],{"x":1'
    assert filled({"a": "{title}!"}, item(dataclasses.replace(SCENE, title=title))) == {"a": f"{title}!"}


def test_a_long_list_of_fields_is_told_to_nobody() -> None:
    """Stash's edit form names each of its fields, whatever was changed, so people don't read of twelve changes."""
    of = item(SCENE)
    fields = ("code", "date", "details", "director", "performer_ids", "studio_id", "tag_ids", "title", "urls")
    form = dataclasses.replace(of, data={**of.data, "changed": fields})
    got = filled({name: f"{{{name}}}" for name in ("summary", "text", "changed")}, form)
    assert got["summary"] == "Scene changed: First light"
    assert got["text"].startswith("Changed\nAnna")
    assert got["changed"] == list(fields)  # programs get all of them


def test_each_name_can_be_used_for_each_event() -> None:
    """Every name of the list has a value for every type of event, so a template never fails when it is filled."""
    template = {name: f"{{{name}}}" for name in NAMES}
    for of in examples().values():
        assert filled(template, of).keys() == NAMES.keys()


def test_the_values_of_a_scene() -> None:
    """The values are those of the scene, with the mapped path and links to Stash."""
    got = filled({name: f"{{{name}}}" for name in NAMES})
    assert got == {
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


@pytest.mark.parametrize(
    ("scene", "title"),
    [
        (dataclasses.replace(SCENE, title=" a\n\tb "), "a b"),
        (dataclasses.replace(SCENE, title=""), "first-light"),
        (dataclasses.replace(SCENE, title="\n", files=()), "Scene 17"),
        (dataclasses.replace(SCENE, title="x" * 10_000_000), "x" * 299 + "…"),
    ],
)
def test_a_title_is_one_line(scene: Any, title: str) -> None:
    """White space in titles is collapsed; without a title the file's name is used, else the id. Never empty."""
    assert filled("{title}", item(scene)) == title


def test_no_link_without_stashs_address() -> None:
    """Without Stash's address, ``url`` is empty."""
    custom = form("custom", {"template": '"{url|nowhere}"'}, stash_url="")
    assert parsed(render(custom, item())) == "nowhere"


def test_an_event_can_have_its_own_template() -> None:
    """The template of an event is used for it, the general one for all others, trouble and tests included."""
    options = {"template": '["all", "{type}"]', "template_destroy": '["gone", "{title}"]'}
    got = {of.type: parsed(render(form("custom", options), of)) for of in examples().values()}
    assert got.pop("scene.destroyed") == ["gone", "first-light"]
    assert got == {event_type: ["all", event_type] for event_type in got}


# Wrong templates


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", '"Template" is empty.'),
        ('{"a": 1,\n "b" 2}', "is not valid JSON at line 2, column 6: expecting ':' delimiter; correct it there."),
        ("{title}", "is not valid JSON at line 1, column 2"),
        (
            '{"a": {"b": ["x", "{titel}"]}}',
            "has unknown names: {titel} at a.b[1]; the known ones are at, changed,",
        ),
        ('["{title.upper}", "{0}"]', "has unknown names: {title.upper} at [0], {0} at [1]; "),
        ('"{titel}"', "{titel} at the top"),
        ('{"a": "100 {"}', "has a { without a } at a; write {{ for a brace."),
        ('{"a": 1, "a": 2}', "contains the key a twice in one object; delete one of them."),
        ('{"a": NaN}', "contains a number that JSON can't hold; write another, or null."),
        ('{"a": 1e999}', "contains a number that JSON can't hold; write another, or null."),
        ('{"a": ' + "1" * 5000 + "}", "contains a number that JSON can't hold; write another, or null."),
        ("[" * 100 + "]" * 100, "is nested more than 50 levels deep; make it flatter."),
        ("[" * 30_000, "is nested more than 50 levels deep; make it flatter."),
        (json.dumps("é" * LARGEST_TEMPLATE, ensure_ascii=False), f"more than {LARGEST_TEMPLATE}; shorten it."),
    ],
)
def test_a_wrong_template_is_explained(text: str, said: str) -> None:
    """A problem says what is wrong, where, and what to do."""
    message = problem(text)
    assert said in message
    assert message.startswith('"Template" ')
    assert message.endswith(".")


def test_each_wrong_field_is_reported() -> None:
    """All fields are checked at once, and each problem names its own."""
    raw = {"template": "{", "template_create": "]", "template_destroy": "[]", "method": "GET"}
    made, problems = read_format("custom", raw, "http://127.0.0.1:1")
    assert made is None
    assert [one.field for one in problems] == ["method", "template", "template_create"]


@given(st.text(st.characters(codec=None)) | st.text('{}"[]:,\\ \ntitle|e0-.u\ud800'))
@hypothesis_settings(max_examples=500)
def test_no_template_raises(text: str) -> None:
    """Whatever is entered is a template or has problems, and a template makes JSON."""
    template, problems = parse(text, NAMES)
    assert (template is None) == bool(problems)
    if template is not None:
        parsed(render(form("custom", {"template": text}), item(HOSTILE)))


# Values


@given(items)
@hypothesis_settings(max_examples=150)
def test_no_value_breaks_a_body(of: Item) -> None:
    """Whatever a scene contains, the body is JSON with the template's members and without lone surrogates."""
    template = {name: [f"{{{name}}}", f"<{{{name}|none}}>"] for name in NAMES}
    got = filled(template, of)
    assert got.keys() == NAMES.keys()
    assert not any("\ud800" <= letter <= "\udfff" for text in strings(got) for letter in text)


@pytest.mark.parametrize("text", ["{details}", "{sequence}", "{at}", "{tags}", "🎬", "{details|x}"])
def test_the_largest_template_makes_a_body_that_fits(text: str) -> None:
    """A template of the largest size that repeats one name thousands of times makes at most 256 KiB of JSON."""
    many = tuple(Named(str(n), "tag" * 100) for n in range(3000))
    of = item(dataclasses.replace(SCENE, details="x" * 10_000_000, tags=many))
    count = LARGEST_TEMPLATE // (len(text.encode()) + 4)
    for template in ([text] * count, [text * (count // 2)]):
        source = json.dumps(template, ensure_ascii=False, separators=(",", ":"))
        made = render(form("custom", {"template": source}), of)
        assert len(made.body) <= LARGEST_BODY
        parsed(made)
