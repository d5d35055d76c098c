"""What is asked of Stash, how its answers read, and what connection.json means. No network."""

from __future__ import annotations

import copy
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import graphql
import pytest

from stash_courier.queue.jobs import Named, SceneFile, StashId
from stash_courier.worker.stash import queries
from stash_courier.worker.stash.client import Connection, StashUnavailable
from stash_courier.worker.stash.queries import Login, PluginState, WrongShape
from tests import ROOT

INTROSPECTION = Path(os.environ.get("STASH_INTROSPECTION", ROOT.parent / "shared/stash/introspection.json"))
TEXTS = {
    "plugin state": queries.PLUGIN_STATE,
    "first scene": queries.FIRST_SCENE,
    "scene ids": queries.scene_ids(count=False),
    "scene ids and count": queries.scene_ids(count=True),
    "one scene": queries.scenes_by_id(1),
    "forty scenes": queries.scenes_by_id(40),
    "first page of a sweep": queries.sweep_page(count=True, times=True),
    "page of a sweep": queries.sweep_page(count=False, times=False),
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
    """The sample scene with other values at the top."""
    return {**copy.deepcopy(RAW), **changes}


def written(tmp_path: Path, **changes: Any) -> Path:
    """A connection.json as the hook writes it, with other values."""
    path = tmp_path / "connection.json"
    place = {
        "scheme": "http",
        "host": "0.0.0.0",
        "port": 9999,
        "dir": "/config",
        "plugin_dir": "/config/plugins/x",
    }
    path.write_text(json.dumps({**place, "cookie": SECRET, "at": 1000.5, **changes}))
    return path


class TestQueries:
    @pytest.mark.parametrize("name", TEXTS)
    def test_a_real_stash_understands_every_query(self, name: str) -> None:
        """Every question is valid in the schema of a Stash server."""
        if not INTROSPECTION.exists():
            pytest.skip(f"Stash's schema isn't at {INTROSPECTION}: set STASH_INTROSPECTION to its path")
        schema = graphql.build_client_schema(json.loads(INTROSPECTION.read_text())["data"])
        assert graphql.validate(schema, graphql.parse(TEXTS[name])) == []

    @pytest.mark.parametrize("name", TEXTS)
    def test_no_query_asks_for_the_stream(self, name: str) -> None:
        """The stream's address, which contains the API key, is never fetched."""
        assert "stream" not in TEXTS[name].lower()

    def test_batches_of_one_size_share_a_text(self) -> None:
        """Asking for other scenes doesn't fill Stash's cache of parsed queries: ids are variables."""
        text = queries.scenes_by_id(2)
        assert text == queries.scenes_by_id(2)
        assert "findScene(id: $s0)" in text
        assert "findScene(id: $s1)" in text


class TestScene:
    def test_everything_arrives(self) -> None:
        """A scene has all that Stash says of it, the primary file first, characters intact."""
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

    def test_what_stash_leaves_out_is_empty(self) -> None:
        """A scene that was only scanned is a whole scene: optional values are empty or None."""
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
    def test_half_a_scene_is_refused(self, changes: dict[str, Any], where: str) -> None:
        """A scene that isn't what Stash's schema promises is refused, and the error says at which field."""
        with pytest.raises(WrongShape, match=where):
            queries.read_scene(raw(**changes), 0.0)

    @pytest.mark.parametrize("field", ["title", "rating100", "studio", "files", "paths"])
    def test_a_missing_field_is_not_an_empty_one(self, field: str) -> None:
        """A field that is absent from the answer doesn't pass for one that the owner left empty."""
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
        """A cover's URL goes to other systems without API key or password, otherwise unchanged."""
        assert queries.read_scene(raw(paths={"screenshot": given}), 0.0).cover_url == kept


class TestState:
    @staticmethod
    def data(**changes: Any) -> dict[str, Any]:
        general = {"apiKey": "", "username": ""}
        return {"configuration": {"general": general, "plugins": {}}, "plugins": [], **changes}

    @pytest.mark.parametrize(
        ("plugins", "enabled"),
        [
            ([{"id": "stash_plugin", "enabled": True}], True),
            ([{"id": "stash_plugin", "enabled": False}, {"id": "other", "enabled": True}], False),
            ([], False),
            (None, False),
        ],
    )
    def test_only_an_enabled_plugin_delivers(self, plugins: object, enabled: bool) -> None:
        """The plugin counts as enabled only where Stash says so; without plugins Stash answers null."""
        assert queries.read_state(self.data(plugins=plugins)) == PluginState({}, enabled)

    @pytest.mark.parametrize("data", [{}, {"configuration": None, "plugins": []}, {"configuration": {}}])
    def test_unreadable_settings_are_not_empty_ones(self, data: dict[str, Any]) -> None:
        """A state that isn't all there is an error and never looks like a plugin without settings."""
        with pytest.raises(WrongShape):
            queries.read_state(data)

    def test_the_key_is_in_no_repr(self) -> None:
        """The API key can't get into a log by way of an object's text."""
        configuration = {"general": {"apiKey": SECRET, "username": "me"}}
        login = queries.read_login(self.data(configuration=configuration))
        assert login == Login(SECRET, needed=True)
        assert SECRET not in repr(login)


class TestConnection:
    def test_what_the_hook_wrote(self, tmp_path: Path) -> None:
        """The worker finds Stash where the hook said it is."""
        found = Connection.read(written(tmp_path))
        assert found == Connection("http", "0.0.0.0", 9999, SECRET, "/config", "/config/plugins/x", 1000.5)
        assert SECRET not in repr(found)

    @pytest.mark.parametrize(
        ("host", "url"),
        [
            ("0.0.0.0", "http://127.0.0.1:9999"),
            ("::", "http://[::1]:9999"),
            ("0:0:0:0:0:0:0:0", "http://[::1]:9999"),
            ("", "http://127.0.0.1:9999"),
            ("127.0.0.1", "http://127.0.0.1:9999"),
            ("fd00::5", "http://[fd00::5]:9999"),
            ("192.168.1.5", "http://192.168.1.5:9999"),
            ("stash.lan", "http://stash.lan:9999"),
        ],
    )
    def test_the_listening_address_becomes_one_to_connect_to(self, tmp_path: Path, host: str, url: str) -> None:
        """Whatever Stash listens on is asked at an address that works from its own machine."""
        assert Connection.read(written(tmp_path, host=host)).url == url

    def test_a_missing_file_says_what_to_do(self, tmp_path: Path) -> None:
        """Before the first hook the owner is told that any edit or page view is enough."""
        with pytest.raises(StashUnavailable, match=r"isn't there yet.*edit any scene") as caught:
            Connection.read(tmp_path / "connection.json")
        assert str(tmp_path) in str(caught.value)

    @pytest.mark.parametrize(
        "changes",
        [
            {"scheme": "file"},
            {"host": None},
            {"host": "me@elsewhere.example/"},
            {"port": "9999"},
            {"port": 0},
            {"port": True},
            {"cookie": None},
            {"cookie": f"{SECRET}\r\nX-Evil: 1"},
            {"cookie": f"{SECRET}; other=1"},
            {"at": "now"},
        ],
    )
    def test_nonsense_is_refused_without_quoting_it(self, tmp_path: Path, changes: dict[str, Any]) -> None:
        """A damaged file is a sentence for the owner, and the session in it is not part of it."""
        path = written(tmp_path, **changes)
        with pytest.raises(StashUnavailable, match=r"is damaged.*delete it") as caught:
            Connection.read(path)
        assert SECRET not in str(caught.value)
        assert caught.value.__suppress_context__

    @pytest.mark.parametrize("content", [b"", b"[]", b"null", b'{"scheme": "ht', b"\xff\xfe", b"[" * 100_000])
    def test_rubbish_is_refused(self, tmp_path: Path, content: bytes) -> None:
        """Whatever stands in the file, the outcome is one sentence."""
        path = tmp_path / "connection.json"
        path.write_bytes(content)
        with pytest.raises(StashUnavailable):
            Connection.read(path)

    @pytest.mark.parametrize(
        ("host", "trusted"), [("127.0.0.1", True), ("0.0.0.0", True), ("", True), ("192.0.2.7", False)]
    )
    def test_only_this_machine_needs_no_certificate(self, tmp_path: Path, host: str, trusted: bool) -> None:
        """A self-signed certificate is good enough on this machine and nowhere else."""
        assert Connection.read(written(tmp_path, host=host)).trusted_by_place is trusted

    def test_a_name_that_is_not_found_is_not_this_machine(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where the resolver knows no address, a certificate is asked for."""

        def unknown(*_args: object, **_kwargs: object) -> list[object]:
            raise socket.gaierror

        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        assert not Connection.read(written(tmp_path, host="stash.lan")).trusted_by_place


def test_stashapi_brings_no_logging_of_its_own() -> None:
    """Talking to Stash loads neither stashapi's log protocol nor its client, which asks for introspection."""
    code = (
        "import sys; import tests; import stash_courier.worker.stash.client; "
        "print([m for m in ('stashapi.log', 'stashapi.stashapp') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
