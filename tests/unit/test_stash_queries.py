"""The queries for Stash and the decoders of its answers, without a network."""

from __future__ import annotations

import copy
import datetime
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import graphql
import pytest

from stash_courier.queue.jobs import Named, SceneFile, StashId
from stash_courier.worker.stash import answers, queries, scene_files
from stash_courier.worker.stash.answers import Login, PluginState, WrongShape
from tests import ROOT

INTROSPECTION = Path(os.environ.get("STASH_INTROSPECTION", ROOT.parent / "shared/stash/introspection.json"))
TEXTS = {
    "plugin state": answers.PLUGIN_STATE,
    "first scenes": queries.FIRST_SCENES,
    "page of scenes": queries.listing(queries.LISTED, count=False),
    "first page of scenes": queries.listing(queries.LISTED, count=True),
    "one scene": queries.scenes_by_id(1),
    "forty scenes": queries.scenes_by_id(40),
    "first page of a sweep": queries.sweep_page(count=True),
    "page of a sweep": queries.sweep_page(count=False),
    "page of files": queries.listing(scene_files.FIELDS, count=True),
    "library folders": queries.LIBRARY_FOLDERS,
    "scenes in a folder": scene_files.sample_query(1),
    "scenes in twenty folders": scene_files.sample_query(20),
}
SECRET = "MTc2ODI-very-secret"

RAW: dict[str, Any] = {
    "id": "45",
    "title": "A “title”\nof two lines 🎬",
    "code": "C-1",
    "details": "d",
    "director": "D",
    "date": "2024-05",
    "rating100": 80,
    "organized": True,
    "urls": ["https://example.org/1", "https://example.org/2"],
    "created_at": "2025-01-01T10:00:00+01:00",
    "updated_at": "2026-01-01T10:00:00+01:00",
    "files": [
        {
            "path": "/data/primary.mp4",
            "size": 5_000_000_000,
            "duration": 61,
            "width": 1920,
            "height": 1080,
            "fingerprints": [{"type": "oshash", "value": "abc"}, {"type": "phash", "value": "def"}],
        },
        {"path": "/data/b.mp4", "size": 1, "duration": 1.5, "width": 1, "height": 1, "fingerprints": []},
    ],
    "performers": [{"id": "1", "name": "P"}],
    "tags": [{"id": "2", "name": "T"}, {"id": "3", "name": "U"}],
    "studio": {"id": "4", "name": "S"},
    "groups": [{"group": {"id": "5", "name": "G"}}],
    "stash_ids": [{"endpoint": "https://box.example/graphql", "stash_id": "x-1"}],
    "paths": {"screenshot": "http://127.0.0.1:9999/scene/45/screenshot?t=1767258000"},
}


def raw(**changes: Any) -> dict[str, Any]:
    """The sample scene with other top-level values."""
    return {**copy.deepcopy(RAW), **changes}


class TestQueries:
    @pytest.mark.parametrize("name", TEXTS)
    def test_a_real_stash_understands_every_query(self, name: str) -> None:
        """Every query is valid in the schema of a Stash server."""
        if not INTROSPECTION.exists():
            pytest.skip(f"Stash's schema isn't at {INTROSPECTION}: set STASH_INTROSPECTION to its path")
        schema = graphql.build_client_schema(json.loads(INTROSPECTION.read_text())["data"])
        assert graphql.validate(schema, graphql.parse(TEXTS[name])) == []

    def test_batches_of_one_size_share_a_query(self) -> None:
        """Ids are variables, so that requests for other scenes don't fill Stash's cache of parsed queries."""
        text = queries.scenes_by_id(2)
        assert text == queries.scenes_by_id(2)
        assert "findScene(id: $s0)" in text
        assert "findScene(id: $s1)" in text


class TestScene:
    def test_everything_arrives(self) -> None:
        """A scene has all that Stash gives, with the primary file first and its characters intact."""
        scene = queries.read_scene(raw(), 1234.5)
        assert scene.id == 45
        assert scene.title == "A “title”\nof two lines 🎬"
        assert (scene.code, scene.details, scene.director, scene.date) == ("C-1", "d", "D", "2024-05")
        assert (scene.rating100, scene.organized) == (80, True)
        assert scene.urls == ("https://example.org/1", "https://example.org/2")
        assert scene.updated_at == "2026-01-01T10:00:00+01:00"
        assert scene.files == (
            SceneFile("/data/primary.mp4", 5_000_000_000, 61.0, 1920, 1080, (("oshash", "abc"), ("phash", "def"))),
            SceneFile("/data/b.mp4", 1, 1.5, 1, 1),
        )
        assert scene.path == "/data/primary.mp4"
        assert scene.performers == (Named("1", "P"),)
        assert scene.tags == (Named("2", "T"), Named("3", "U"))
        assert scene.studio == Named("4", "S")
        assert scene.groups == (Named("5", "G"),)
        assert scene.stash_ids == (StashId("https://box.example/graphql", "x-1"),)
        assert scene.cover_url == "http://127.0.0.1:9999/scene/45/screenshot?t=1767258000"
        assert scene.fetched_at == 1234.5

    def test_what_stash_leaves_empty(self) -> None:
        """A scene that was only scanned is complete: optional values are empty or None."""
        lists: dict[str, Any] = {k: [] for k in ("urls", "files", "performers", "tags", "groups", "stash_ids")}
        nothing = dict.fromkeys(("title", "code", "details", "director", "date", "rating100", "studio"))
        scene = queries.read_scene(raw(**lists, **nothing, organized=False, paths={"screenshot": None}), 0.0)
        assert (scene.title, scene.code, scene.details, scene.director, scene.date) == ("",) * 5
        assert (scene.rating100, scene.studio, scene.cover_url, scene.path) == (None, None, "", "")
        assert [scene.files, scene.performers, scene.tags, scene.groups] == [()] * 4

    @pytest.mark.parametrize(
        ("changes", "where"),
        [
            ({"id": None}, "id"),
            ({"id": "4½"}, "id"),
            ({"id": "-1"}, "id"),
            ({"id": "9" * 5000}, "id"),
            ({"title": 5}, "title"),
            ({"organized": "yes"}, "organized"),
            ({"organized": None}, "organized"),
            ({"rating100": "80"}, "rating100"),
            ({"rating100": True}, "rating100"),
            ({"updated_at": None}, "updated_at"),
            ({"urls": None}, "urls"),
            ({"urls": [None]}, "urls"),
            ({"files": {}}, "files"),
            ({"files": [None]}, "files"),
            ({"files": [{**RAW["files"][0], "size": "big"}]}, "size"),
            ({"files": [{**RAW["files"][0], "path": None}]}, "path"),
            ({"files": [{**RAW["files"][0], "duration": float("nan")}]}, "duration"),
            ({"files": [{**RAW["files"][0], "fingerprints": [{"type": "oshash"}]}]}, "value"),
            ({"performers": [["1", "P"]]}, "performers"),
            ({"tags": "T"}, "tags"),
            ({"studio": "S"}, "studio"),
            ({"groups": [{"group": None}]}, "groups"),
            ({"stash_ids": [{"endpoint": 1, "stash_id": "x"}]}, "endpoint"),
            ({"paths": None}, "paths"),
            ({"paths": {"screenshot": "http://[::1/cover"}}, "screenshot"),
        ],
    )
    def test_an_incomplete_scene_is_refused(self, changes: dict[str, Any], where: str) -> None:
        """A scene that doesn't match Stash's schema is refused, and the error names the field."""
        with pytest.raises(WrongShape, match=where):
            queries.read_scene(raw(**changes), 0.0)

    @pytest.mark.parametrize("field", ["title", "rating100", "studio", "files", "paths"])
    def test_a_missing_field_is_not_an_empty_one(self, field: str) -> None:
        """A field that is missing in the answer doesn't count as empty."""
        scene = raw()
        del scene[field]
        with pytest.raises(WrongShape, match=field):
            queries.read_scene(scene, 0.0)

    @pytest.mark.parametrize(
        ("given", "kept"),
        [
            ("http://h:1/s/1/screenshot?t=5", "http://h:1/s/1/screenshot?t=5"),
            (f"http://h/s?apikey={SECRET}&t=5", "http://h/s?t=5"),
            (f"http://h/s?t=5&ApiKey={SECRET}", "http://h/s?t=5"),
            (f"http://h/s?apikey={SECRET}", "http://h/s"),
            (f"https://me:{SECRET}@h:2/s?t=5", "https://h:2/s?t=5"),
            ("stash.example.org/scene/1/screenshot?t=5", ""),
            ("@example.org/scene/1/screenshot?t=5", ""),
            ("file:///etc/passwd", ""),
            ("http://h/a%2Fb%20c?t=%31&x=a+b", "http://h/a%2Fb%20c?t=%31&x=a+b"),
        ],
    )
    def test_the_cover_carries_no_key(self, given: str, kept: str) -> None:
        """A cover's URL, which is sent to other systems, has no API key or password and is otherwise unchanged."""
        assert queries.read_scene(raw(paths={"screenshot": given}), 0.0).cover_url == kept


class TestListed:
    @staticmethod
    def data(*texts: object) -> dict[str, Any]:
        scenes = [{"id": str(n), "updated_at": text} for n, text in enumerate(texts, 1)]
        return {"findScenes": {"scenes": scenes}}

    def test_the_moment_of_a_change(self) -> None:
        """A change has the same moment whatever the server's time zone."""
        found = queries.read_page(
            self.data("2026-01-05T10:00:00Z", "2026-01-04T22:00:00-12:00"), 0, queries.read_listed
        )
        assert [scene.moment for scene in found] == [1_767_607_200] * 2

    @pytest.mark.parametrize("text", [None, "", "yesterday", "2026-01-05T10:00:00", 5])
    def test_an_invalid_time(self, text: object) -> None:
        """A time that is invalid or has no time zone makes the answer unusable."""
        with pytest.raises(WrongShape, match="updated_at"):
            queries.read_page(self.data(text), 0, queries.read_listed)


class TestChangedAfter:
    @pytest.mark.parametrize("hours", range(-12, 15))
    def test_it_sorts_before_every_later_change(self, hours: int) -> None:
        """A change since a moment, or stamped ten minutes earlier, is listed whatever Stash's time zone."""
        zone = datetime.timezone(datetime.timedelta(hours=hours))
        moment = 1_792_900_000.5
        change = datetime.datetime.fromtimestamp(moment - 600, zone).isoformat("T", "seconds")
        assert queries.changed_after(moment) < change

    def test_a_change_long_before_is_not_listed(self) -> None:
        """A change of more than 41 hours ago isn't listed again, whatever Stash's time zone."""
        zone = datetime.timezone(datetime.timedelta(hours=14))
        moment = 1_792_900_000.5
        change = datetime.datetime.fromtimestamp(moment - 41 * 3600, zone).isoformat("T", "seconds")
        assert change < queries.changed_after(moment)


class TestState:
    @staticmethod
    def data(**changes: Any) -> dict[str, Any]:
        general = {"apiKey": "", "username": ""}
        return {"configuration": {"general": general, "plugins": {}}, "plugins": [], **changes}

    @pytest.mark.parametrize(
        ("plugins", "enabled"),
        [
            ([{"id": "stash_plugin", "name": "Stash Courier", "enabled": True}], True),
            (
                [{"id": "stash_plugin", "name": "a", "enabled": False}],
                False,
            ),
            ([], False),
            (None, False),
        ],
    )
    def test_only_an_enabled_plugin_delivers(self, plugins: object, enabled: bool) -> None:
        """The plugin counts as enabled only if Stash says so; without plugins Stash answers null."""
        assert answers.read_state(self.data(plugins=plugins)) == PluginState({}, enabled)

    def test_other_copies_are_named(self) -> None:
        """Stash's other enabled plugins with our name are copies of this one."""
        copies = [
            {"id": "stash_plugin", "name": "Stash Courier", "enabled": True},
            {"id": "stash_courier", "name": "Stash Courier", "enabled": True},
            {"id": "old", "name": "Stash Courier", "enabled": False},
            {"id": "other", "name": "Other", "enabled": True},
        ]
        found = answers.read_state(self.data(plugins=copies))
        assert (found.enabled, found.copies) == (True, ("stash_courier",))

    @pytest.mark.parametrize("data", [{}, {"configuration": None, "plugins": []}, {"configuration": {}}])
    def test_unreadable_settings_are_not_empty_ones(self, data: dict[str, Any]) -> None:
        """An incomplete state is an error and never counts as a plugin without settings."""
        with pytest.raises(WrongShape):
            answers.read_state(data)

    def test_the_key_is_in_no_repr(self) -> None:
        """The API key can't get into a log through the repr of an object."""
        configuration = {"general": {"apiKey": SECRET, "username": "me"}}
        login = answers.read_login(self.data(configuration=configuration))
        assert login == Login(SECRET, needed=True)
        assert SECRET not in repr(login)


def test_no_unused_part_of_stashapi_is_imported() -> None:
    """The client imports neither stashapi's logging nor its client, which asks for introspection."""
    code = (
        "import sys; import tests; import stash_courier.worker.stash.client; "
        "print([m for m in ('stashapi.log', 'stashapi.stashapp') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
