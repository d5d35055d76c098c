"""Events for the tests of presets: the examples of docs/schema, hostile ones, and any scene of Stash."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
from collections.abc import Iterator, Mapping
from typing import Any

from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from stash_courier.queue import troubles
from stash_courier.queue.jobs import Delivery, Named, Scene, SceneFile, StashId
from stash_courier.worker.destinations.webhook.messages import destroyed_data, scene_data
from stash_courier.worker.destinations.webhook.presets import PRESETS
from stash_courier.worker.destinations.webhook.render import Rendered, render
from stash_courier.worker.destinations.webhook.settings import Format, read_format
from stash_courier.worker.destinations.webhook.values import TEST_TYPE, Item
from stash_courier.worker.paths import PathMap
from tests import ROOT

AT = 1_767_225_600.5
STASH = "http://stash.lan:9999"
PATHS = PathMap((("/data", "/media"),))
MESSAGES = [name for name, preset in PRESETS.items() if preset.is_message]
TEMPLATE = json.dumps({"t": "{title}", "all": "{summary} {text} {details|none}", "n": "{rating}", "l": "{tags}"})
OPTIONS = {
    "token": "123:abc-DEF",
    "chat_id": "-100123",
    "topic": "stash",
    "key": "stash",
    "template": TEMPLATE,
}
PATHS_OF = {"discord": "/api/webhooks/1/tok", "slack": "/services/T1/B1/tok"}

SCENE = Scene(
    id=17,
    title="First light",
    code="FL-1",
    details="A morning at the lake.\nShot in one take.",
    director="Ida Holm",
    date="2024-05-01",
    rating100=80,
    organized=True,
    urls=("https://example.org/first-light",),
    created_at="2024-05-01T10:00:00+02:00",
    updated_at="2024-05-02T10:00:00+02:00",
    files=(SceneFile("/data/first-light.mkv", 1234567, 61.5, 1920, 1080, (("oshash", "0123456789abcdef"),)),),
    performers=(Named("1", "Anna"), Named("2", "Zoë")),
    tags=(Named("5", "outdoor"), Named("6", "lake")),
    studio=Named("7", "North"),
    groups=(Named("8", "Lights"),),
    stash_ids=(StashId("https://box.example/graphql", "1-2-3"),),
    cover_url="http://stash.lan:9999/scene/17/screenshot?t=1714636800",
    fetched_at=AT,
)
DESTROY = Delivery(
    3,
    "webhook:x",
    17,
    "destroy",
    (),
    1_767_225_600_125,
    AT,
    path="/data/first-light.mkv",
    oshash="0123456789abcdef",
)
HOSTILE = dataclasses.replace(
    SCENE,
    title='Quotes " \\ and\nlines </b> <!channel> &amp; @everyone {details} {{ 🎬\ud83d',
    details='"}],"x":[{"\n\r\t\x00\u2028 <b>& 🎬' * 500 + "\udfac",
    performers=tuple(Named(str(n), f"<i>P{n}\ud800") for n in range(300)),
    studio=Named("7", "A & B <North>"),
)


def item(scene: Scene = SCENE, event_type: str = "scene.updated", sequence: int = 1_767_225_600_123) -> Item:
    """An event of a scene."""
    changed = ("tag_ids", "title") if event_type == "scene.updated" else ()
    return Item(event_type, AT, scene_data(scene, PATHS, changed, sequence))


@contextlib.contextmanager
def zone(name: str) -> Iterator[None]:
    """The time zone of this machine within the block: sentences for people have local times."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = name
    time.tzset()
    yield
    os.environ.pop("TZ") if before is None else os.environ.update(TZ=before)
    time.tzset()


@zone("UTC")
def examples() -> dict[str, Item]:
    """One event of each type, as docs/schema/examples has them."""
    reason = "It refuses the API key (401)."
    jellyfin = troubles.about("jellyfin-2", "Jellyfin", "jellyfin")
    refused = {
        "group": "jellyfin-2 400",
        "error_type": "item_refused",
        "cause": "400: title too long",
        "count": 50,
    }
    items = (
        item(event_type="scene.created"),
        item(sequence=1_767_225_600_124),
        Item("scene.destroyed", AT, destroyed_data(DESTROY, PATHS)),
        Item(TEST_TYPE, AT, scene_data(SCENE, PATHS, (), 0)),
        Item(*troubles.message(troubles.dead_letters(AT, AT - 60, [{**jellyfin, **refused}]))),
        Item(*troubles.message(troubles.connection_down(jellyfin, AT, AT - 900, reason, "Enter a new key."))),
        Item(*troubles.message(troubles.connection_up(jellyfin, AT, AT - 9000))),
    )
    return {one.type: one for one in items}


def form(
    name: str, options: Mapping[str, Any] = OPTIONS, base: str = "http://127.0.0.1:1", stash_url: str = STASH
) -> Format:
    """A preset with options that are all right."""
    made, problems = read_format(name, options, base + PATHS_OF.get(name, ""), stash_url)
    assert made is not None, problems
    return made


def body(name: str, of: Item, **options: Any) -> Any:
    """The parsed body for an event."""
    return parsed(render(form(name, {**OPTIONS, **options}), of))


def parsed(rendered: Rendered) -> Any:
    """The parsed body; it is JSON by the letter, so it has no NaN."""
    return json.loads(rendered.body.decode("utf-8"), parse_constant=lambda name: 1 / 0)


def strings(value: Any) -> list[str]:
    """All strings in parsed JSON, keys included."""
    if isinstance(value, dict):
        return [*value, *(found for one in value.values() for found in strings(one))]
    if isinstance(value, list):
        return [found for one in value for found in strings(one)]
    return [value] if isinstance(value, str) else []


# Any text that Python can hold, lone surrogates included, mixed with what breaks formats.
texts = st.one_of(
    st.text(st.characters(codec=None), max_size=60),
    st.sampled_from(
        ['"', "\\", "\n", "{title}", "{", "}}", "<b>", "&amp;", "🎬", "\ud83d", "x" * 5000, "&" * 5000]
    ),
)
_named = st.builds(Named, st.integers(1, 99).map(str), texts)
_files = st.builds(
    SceneFile,
    texts.map(lambda text: f"/data/{text}"),
    st.integers(0, 2**50),
    st.floats(0, 1e6, allow_nan=False),
    st.integers(0, 10000),
    st.integers(0, 10000),
    st.lists(st.tuples(st.sampled_from(["oshash", "md5"]), texts), max_size=2).map(tuple),
)
scenes = st.builds(
    Scene,
    id=st.integers(1, 2**40),
    title=texts,
    code=texts,
    details=texts,
    director=texts,
    date=st.sampled_from(["", "2024", "2024-05", "2024-05-01"]),
    rating100=st.none() | st.integers(1, 100),
    organized=st.booleans(),
    urls=st.lists(texts, max_size=3).map(tuple),
    created_at=st.just(SCENE.created_at),
    updated_at=st.just(SCENE.updated_at),
    files=st.lists(_files, max_size=2).map(tuple),
    performers=st.lists(_named, max_size=3).map(tuple),
    tags=st.lists(_named, max_size=3).map(tuple),
    studio=st.none() | _named,
    groups=st.lists(_named, max_size=2).map(tuple),
    stash_ids=st.just(SCENE.stash_ids),
    cover_url=st.sampled_from(["", SCENE.cover_url]),
    fetched_at=st.just(AT),
)


SCHEMAS = ROOT / "docs" / "schema"


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


SCHEMA = json.loads((SCHEMAS / "webhook.schema.json").read_text(encoding="utf-8"))
JUDGE = Draft202012Validator(strict(SCHEMA))
