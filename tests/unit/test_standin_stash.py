"""The stand-in Stash answers like Stash: schema, sessions, queries, faults. Plugins are tested elsewhere."""

from __future__ import annotations

import http.client
import json
import os
import threading
import time
from collections.abc import Iterator
from datetime import UTC, timedelta, timezone
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
from stashapi.stashapp import StashInterface

from tests import ROOT
from tests.standin.stash import GraphQLFailed, StandInStash
from tests.standin.stash.cancel import Flag, wait
from tests.standin.stash.schema import bare
from tests.standin.stash.sessions import Session

INTROSPECTION = Path(
    os.environ.get("STASH_INTROSPECTION", ROOT.parent / "shared" / "stash" / "introspection.json")
)
VERSION = "{ version { version } }"


@pytest.fixture
def stash(tmp_path: Path) -> Iterator[StandInStash]:
    with StandInStash(config_dir=tmp_path / "config") as server:
        yield server


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[StandInStash]:
    """A server with credentials, whose clock only moves when a test moves it."""
    now = [1_768_000_000.0]
    with StandInStash(
        5,
        config_dir=tmp_path / "config",
        credentials=("owner", "secret"),
        api_key="the-key",
        max_session_age=60,
        clock=lambda: now[0],
    ) as server:
        server.now = now  # type: ignore[attr-defined]
        yield server


def post(
    stash: StandInStash, query: str = VERSION, headers: dict[str, str] | None = None, path: str = "/graphql"
) -> tuple[int, dict[str, str], bytes]:
    """Sends one request like any client; returns status, headers and body."""
    connection = http.client.HTTPConnection("127.0.0.1", stash.config.port, timeout=20)
    try:
        connection.request("POST", path, json.dumps({"query": query}), headers or {})
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


def get(stash: StandInStash, path: str) -> tuple[int, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", stash.config.port, timeout=20)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        return response.status, dict(response.getheaders())
    finally:
        connection.close()


def plugin_cookie(stash: StandInStash) -> str:
    return stash.sessions.make(Session(stash.config.username))


def renewed(headers: dict[str, str]) -> str:
    return headers["Set-Cookie"].split(";")[0].removeprefix("session=")


# Schema


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


@pytest.mark.skipif(not INTROSPECTION.exists(), reason=f"Stash's schema isn't at {INTROSPECTION}")
def test_a_schema_that_differs_is_noticed() -> None:
    """The comparison detects a wrong type, an unknown field and a missing enum value."""
    real = build_client_schema(json.loads(INTROSPECTION.read_text("utf-8"))["data"])
    ours = bare()
    scene: Any = ours.type_map["Scene"]
    scene.fields["title"], scene.fields["made_up"] = scene.fields["id"], scene.fields["id"]
    status: Any = ours.type_map["JobStatus"]
    del status.values["FAILED"]

    assert set(disagreements(ours, real)) == {"Scene.title: ID!", "Scene.made_up: ID!", "JobStatus.FAILED"}


def test_the_real_stashapi_connects_and_finds_scenes(stash: StandInStash) -> None:
    """stashapi's client introspects the stand-in and gets complete scenes."""
    client = StashInterface({"Scheme": "http", "Host": "127.0.0.1", "Port": stash.config.port})
    try:
        scenes = client.find_scenes(filter={"per_page": 7, "sort": "id", "direction": "DESC"})
        one = client.find_scene(3)
    finally:
        client.s.close()

    assert [s["id"] for s in scenes] == ["50", "49", "48", "47", "46", "45", "44"]
    assert one["title"] == "Film 3"
    assert one["files"][0]["path"] == "/media/films/3/Film 3.mp4"
    assert one["studio"]["id"] == "1"


# Access


def test_a_plugins_cookie_expires(locked: StandInStash) -> None:
    """A cookie gives access for max_session_age seconds and no longer."""
    cookie = {"Cookie": f"session={plugin_cookie(locked)}"}
    locked.now[0] += 60  # type: ignore[attr-defined]
    in_time = post(locked, headers=cookie)
    locked.now[0] += 1  # type: ignore[attr-defined]
    late = post(locked, headers=cookie)

    assert in_time[0] == 200
    assert late[0] == 401
    assert late[1]["WWW-Authenticate"] == "FormBased"


def test_an_answer_renews_the_cookie(locked: StandInStash) -> None:
    """Each answer to a valid cookie sets a new one with a full lifetime."""
    locked.now[0] += 50  # type: ignore[attr-defined]
    before = plugin_cookie(locked)
    locked.now[0] += 50  # type: ignore[attr-defined]
    status, headers, _ = post(locked, headers={"Cookie": f"session={before}"})
    locked.now[0] += 50  # type: ignore[attr-defined]

    assert status == 200
    assert "Max-Age=60" in headers["Set-Cookie"]
    assert post(locked, headers={"Cookie": f"session={before}"})[0] == 401
    assert post(locked, headers={"Cookie": f"session={renewed(headers)}"})[0] == 200


def test_of_two_cookies_the_first_counts(locked: StandInStash) -> None:
    """A client that sends the old cookie before the renewed one loses access, as in Stash."""
    old = plugin_cookie(locked)
    locked.now[0] += 61  # type: ignore[attr-defined]
    new = plugin_cookie(locked)

    assert post(locked, headers={"Cookie": f"session={old}; session={new}"})[0] == 401
    assert post(locked, headers={"Cookie": f"other=1; session={new}; session={old}"})[0] == 200


def test_stashapi_loses_access_after_one_session_age(locked: StandInStash) -> None:
    """stashapi keeps sending its first cookie first, so the renewed one has no effect."""
    connection = {"Port": locked.config.port, "SessionCookie": {"Value": plugin_cookie(locked)}}
    client = StashInterface(connection)
    try:
        locked.now[0] += 59  # type: ignore[attr-defined]
        assert client.find_scene(1)["id"] == "1"
        locked.now[0] += 2  # type: ignore[attr-defined]
        with pytest.raises(Exception, match="Authentication error"):
            client.find_scene(1)
    finally:
        client.s.close()


@pytest.mark.parametrize("value", ["", "nonsense", "bm9uc2Vuc2U=", "fHx8"])
def test_an_invalid_cookie_is_refused(locked: StandInStash, value: str) -> None:
    """A value that the server didn't sign gives no access."""
    assert post(locked, headers={"Cookie": f"session={value}"})[0] == 401


def test_the_api_key_gives_access(locked: StandInStash) -> None:
    """The key works as a header and as a query parameter; a wrong or missing key doesn't."""
    assert post(locked, headers={"ApiKey": "the-key"})[0] == 200
    assert post(locked, path="/graphql?apikey=the-key")[0] == 200
    assert post(locked, headers={"ApiKey": "wrong"})[0] == 401
    assert post(locked)[0] == 401
    assert locked.requests.by_credential == {"api_key": 3, "none": 1}


def test_without_credentials_only_a_wrong_key_is_refused(stash: StandInStash) -> None:
    """A Stash without credentials needs none, but refuses a wrong API key."""
    assert post(stash)[0] == 200
    assert post(stash, headers={"Cookie": "session=old"})[0] == 200
    assert post(stash, headers={"ApiKey": "left over"})[0] == 401


def test_pages_lead_to_the_login(locked: StandInStash) -> None:
    """A page redirects to /login, where user name and password create a session."""
    status, headers = get(locked, "/scenes")
    connection = http.client.HTTPConnection("127.0.0.1", locked.config.port, timeout=20)
    connection.request("POST", "/login", "username=owner&password=secret")
    answer = connection.getresponse()
    answer.read()
    connection.close()

    assert (status, headers["Location"]) == (302, "/login?returnURL=%2Fscenes")
    assert get(locked, "/healthz")[0] == 200
    assert post(locked, headers={"Cookie": answer.headers["Set-Cookie"].split(";")[0]})[0] == 200


# Scenes


@pytest.mark.parametrize(
    ("ids", "message"), [("[1, 99]", "scene with id 99 not found"), ("[1, 2, 1]", "duplicate id found: 1")]
)
def test_a_batch_by_ids_fails_as_a_whole(stash: StandInStash, ids: str, message: str) -> None:
    """One unknown or repeated id fails the whole request."""
    status, _, body = post(stash, f"{{ findScenes(ids: {ids}) {{ scenes {{ id }} }} }}")
    answer = json.loads(body)

    assert (status, answer["data"]) == (200, None)
    assert message in answer["errors"][0]["message"]


def test_a_batch_by_aliases_tells_gone_from_broken(stash: StandInStash) -> None:
    """A deleted scene is null without an error; one that can't be read is null with an error."""
    stash.faults.broken_ids = {2}
    query = "{ s1: findScene(id: 1) { id } s2: findScene(id: 2) { id } s99: findScene(id: 99) { id } }"
    answer = json.loads(post(stash, query)[2])

    assert answer["data"] == {"s1": {"id": "1"}, "s2": None, "s99": None}
    assert [error["path"] for error in answer["errors"]] == [["s2"]]


def test_times_are_compared_as_text_in_the_servers_zone(tmp_path: Path) -> None:
    """The same time written in another zone compares differently, and fractions of seconds are dropped."""
    zone = timezone(timedelta(hours=5, minutes=30))
    with StandInStash(0, config_dir=tmp_path, zone=zone, clock=lambda: 1_768_000_000.9) as stash:
        stash.add_scene("/media/a.mp4")
        text = stash.scene(1).updated_at

        def found(value: str) -> int:
            query = "query($f: SceneFilterType) { findScenes(scene_filter: $f) { count } }"
            criterion = {"updated_at": {"value": value, "modifier": "GREATER_THAN"}}
            return int(stash.graphql(query, {"f": criterion})["findScenes"]["count"])

        assert text == "2026-01-10T04:36:40+05:30"
        assert found(text) == 0
        assert found("2026-01-10T04:36:39+05:30") == 1
        assert found("2026-01-09T23:06:41Z") == 1  # later, and yet found


def test_utc_is_written_with_a_z(tmp_path: Path) -> None:
    """UTC is written as Z like in Go, which matters for the text comparison."""
    with StandInStash(1, config_dir=tmp_path, zone=UTC, clock=lambda: 1_768_000_000.0) as stash:
        assert stash.scene(1).created_at == "2026-01-09T23:06:40Z"


def test_scenes_come_in_pages(stash: StandInStash) -> None:
    """A page has 25 scenes by default, -1 means all, and the count covers all pages."""

    def ids(arguments: str) -> list[str]:
        answer = stash.graphql(f"{{ findScenes({arguments}) {{ count scenes {{ id }} }} }}")["findScenes"]
        return [str(answer["count"]), *(scene["id"] for scene in answer["scenes"])]

    after = "scene_filter: {id: {value: 45, modifier: GREATER_THAN}}"
    assert len(ids("filter: {}")) == 26
    assert len(ids("filter: {per_page: -1}")) == 51
    assert ids('filter: {page: 3, per_page: 2, sort: "id"}') == ["50", "5", "6"]
    assert ids(f'{after}, filter: {{per_page: 2, sort: "id"}}') == ["5", "46", "47"]
    assert ids('filter: {q: "films/7 film", per_page: 2, sort: "title", direction: DESC}') == ["5", "47", "37"]
    assert ids("scene_filter: {organized: true}, filter: {per_page: 1}") == ["0"]


def test_addresses_come_from_the_request_and_hold_the_key(locked: StandInStash) -> None:
    """A cover's URL has the host of the request; a stream's URL contains the API key."""
    query = "{ findScene(id: 1) { paths { screenshot stream } } }"
    headers = {"ApiKey": "the-key", "Host": "stash.example:9999"}
    paths = json.loads(post(locked, query, headers)[2])["data"]["findScene"]["paths"]

    assert paths["screenshot"].startswith("http://stash.example:9999/scene/1/screenshot?t=")
    assert paths["stream"] == "http://stash.example:9999/scene/1/stream?apikey=the-key"


def test_an_edit_that_is_refused_changes_nothing(stash: StandInStash) -> None:
    """A bulk edit is one transaction: if a scene doesn't exist, no scene changes."""
    with pytest.raises(GraphQLFailed, match="99"):
        stash.edit_many([1, 99], organized=True)
    with pytest.raises(GraphQLFailed, match="FOREIGN KEY"):
        stash.edit(1, tag_ids=["77"])

    assert not stash.scene(1).organized


def test_edits_reach_every_field(stash: StandInStash) -> None:
    """Fields that a client sends are stored, and the others stay unchanged."""
    tag, actor = stash.named("tag", "New"), stash.named("performer", "Di Example")
    stash.edit(1, title=" New title ", date=None, rating100=90, tag_ids=[tag], urls=["https://example.org/"])
    stash.edit(
        1,
        stash_ids=[{"endpoint": "https://box.example/", "stash_id": "a"}],
        cover_image="data:image/png;base64,iVBORw==",
    )
    stash.edit_many([1, 2], performer_ids={"mode": "ADD", "ids": [actor]}, organized=True)
    scene = stash.scene(1)

    assert (scene.title, scene.date, scene.rating100, scene.tags) == ("New title", None, 90, (tag,))
    assert scene.details == "The 1. film."
    assert scene.performers == (1, actor)
    assert (scene.cover, scene.stash_ids[0].stash_id) == (b"\x89PNG", "a")
    assert get(stash, "/scene/1/screenshot")[1]["Content-Type"] == "image/png"
    assert stash.scene(2).organized


def test_plugin_settings_are_absent_until_set(stash: StandInStash) -> None:
    """A plugin without settings has no map, and configurePlugin replaces the whole map."""
    query = '{ configuration { general { apiKey } plugins(include: ["courier"]) } }'
    before = stash.graphql(query)["configuration"]
    stash.configure("courier", {"a": 1, "b": True})
    stash.configure("courier", {"b": False})

    assert before == {"general": {"apiKey": ""}, "plugins": {}}
    assert stash.graphql(query)["configuration"]["plugins"] == {"courier": {"b": False}}


def test_a_library_can_change_without_hooks(stash: StandInStash) -> None:
    """Scenes can change and disappear without a hook, as in Stash."""
    stash.clock = lambda: 2_000_000_000.0
    stash.change_without_hook(1, tags=["Auto"], studio="Other")
    stash.vanish(2)
    answer = stash.graphql(
        "{ s1: findScene(id: 1) { tags { name } studio { name } } s2: findScene(id: 2) { id } }"
    )

    assert answer == {"s1": {"tags": [{"name": "Auto"}], "studio": {"name": "Other"}}, "s2": None}
    assert stash.scene(1).updated_at.startswith("2033-05-1")


# Faults, start and stop


def test_faults_hit_others_but_not_the_helpers(stash: StandInStash) -> None:
    """Clients get the faults that a test switches on, while the test can still edit scenes."""
    seen = {}
    for name, value in (("status", 503), ("html", True), ("login_redirect", True), ("graphql_error", "locked")):
        setattr(stash.faults, name, value)
        seen[name] = post(stash)
        stash.edit(1, title=name)
        stash.faults.clear()

    assert seen["status"][0] == 503
    assert (seen["html"][0], seen["html"][1]["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert seen["login_redirect"][0] == 302
    assert json.loads(seen["graphql_error"][2])["errors"][0]["message"] == "locked"
    assert post(stash)[0] == 200
    assert (stash.requests.total, stash.requests.by_field) == (5, {"version": 5})


def test_a_delay_comes_before_the_answer(stash: StandInStash) -> None:
    """With a delay the answer is late, but complete."""
    stash.faults.delay = 0.2
    began = time.monotonic()
    status = post(stash)[0]

    assert status == 200
    assert time.monotonic() - began >= 0.2


def test_a_server_that_hangs_lets_go_when_stopped(stash: StandInStash) -> None:
    """A hanging server doesn't answer, and stopping it breaks the connection."""
    stash.faults.hang = True
    outcome: list[BaseException] = []

    def ask() -> None:
        try:
            post(stash)
        except OSError as error:
            outcome.append(error)

    client = threading.Thread(target=ask)
    client.start()
    client.join(0.2)
    waited = client.is_alive()
    stash.stop()
    client.join(20)

    assert waited
    assert len(outcome) == 1


def test_a_restart_keeps_what_a_stash_keeps(locked: StandInStash) -> None:
    """A restart keeps the port, the library and old cookies."""
    cookie, port = plugin_cookie(locked), locked.config.port
    locked.add_scene("/media/late.mp4", title="Late", tags=["New"])
    locked.stop()
    with pytest.raises(OSError, match="refused"):
        locked.graphql(VERSION)
    locked.start()

    assert locked.config.port == port
    assert post(locked, headers={"Cookie": f"session={cookie}"})[0] == 200
    assert locked.scene(6).title == "Late"


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    """A stopped stand-in leaves no threads, even with open connections."""
    before = set(threading.enumerate())
    with StandInStash(1, config_dir=tmp_path) as stash:
        connection = http.client.HTTPConnection("127.0.0.1", stash.config.port, timeout=20)
        connection.request("POST", "/graphql", json.dumps({"query": VERSION}))
        connection.getresponse().read()
        during = set(threading.enumerate())
    connection.close()

    assert during - before
    assert set(threading.enumerate()) == before


def test_what_cannot_be_executed_is_a_422(stash: StandInStash) -> None:
    """A syntax error, an unknown field and an invalid variable are refused before anything runs."""
    assert post(stash, "{ version {")[0] == 422
    assert post(stash, "{ nothing }")[0] == 422
    with pytest.raises(GraphQLFailed, match="422"):
        stash.graphql("query($id: ID!) { findScene(id: $id) { id } }", {"id": {}})


def test_waiting_for_a_cancel_can_time_out() -> None:
    """Waiting returns False at the timeout and True after a cancel."""
    flag = Flag()
    assert not wait(flag, 0.01)
    flag.set()
    assert wait(flag, None)
    flag.close()
