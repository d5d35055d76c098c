"""The client for Stash against small HTTP servers that answer well, oddly, late or never."""

from __future__ import annotations

import json
import re
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from stash_courier.worker.stash.client import Connection, FetchedScenes, Stash, StashUnavailable
from tests.standin.stash import StandInStash
from tests.standin.stash.sessions import Session

COOKIE = "MTc2ODI-first-session"
RENEWED = "MTc2ODI-second-session"
KEY = "eyJhbGciOiJIUzI1NiJ9.key-of-the-owner.x"


@dataclass(frozen=True)
class Asked:
    """One request as the server got it."""

    query: str
    variables: Mapping[str, Any]
    headers: list[tuple[str, str]]  # as they came, repeated ones too
    path: str = "/graphql"

    @property
    def name(self) -> str:
        """The query's name."""
        found = re.match(r"\s*query (\w+)", self.query)
        return found[1] if found else ""

    def header(self, name: str) -> list[str]:
        """All values of one header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]


@dataclass(frozen=True)
class Reply:
    """What the server sends back."""

    body: bytes = b""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)
    missing: int = 0  # bytes that Content-Length promises and that never come
    drip: bool = False  # one byte every 20 ms, for ever

    @classmethod
    def of(cls, answer: object, *headers: tuple[str, str], status: int = 200) -> Reply:
        """JSON."""
        return cls(json.dumps(answer).encode(), status, (("Content-Type", "application/json"), *headers))


class Server(ThreadingHTTPServer):
    """Answers with what ``reply`` returns and remembers what it was asked."""

    daemon_threads = False
    block_on_close = True

    def __init__(self, reply: Callable[[Asked], Reply]) -> None:
        self.reply = reply
        self.asked: list[Asked] = []
        self.released = threading.Event()  # set at the end: nothing waits any longer
        super().__init__(("127.0.0.1", 0), Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Says nothing: clients that go away in the middle are what is tested."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def do_POST(self) -> None:
        """Reads the question and plays the reply."""
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "{}")
        asked = Asked(body.get("query", ""), body.get("variables", {}), list(self.headers.items()), self.path)
        self.server.asked.append(asked)
        reply = self.server.reply(asked)
        self.send_response(reply.status)
        for name, value in reply.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(10**6 if reply.drip else len(reply.body) + reply.missing))
        self.end_headers()
        self.wfile.write(reply.body)
        self.wfile.flush()
        while reply.drip and not self.server.released.wait(0.02):
            self.wfile.write(b" ")
        if reply.missing or reply.drip:
            self.close_connection = True

    do_GET = do_POST  # noqa: N815

    def log_message(self, *_args: object) -> None:
        """Says nothing."""


def scene(scene_id: int, **changes: Any) -> dict[str, Any]:
    """A scene as Stash answers it."""
    return {
        "id": str(scene_id),
        "title": f"Scene {scene_id}",
        **dict.fromkeys(("code", "details", "director", "date", "rating100", "studio")),
        "organized": False,
        "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00Z",
        **{key: [] for key in ("urls", "files", "performers", "tags", "groups", "stash_ids")},
        "paths": {"screenshot": f"http://127.0.0.1/scene/{scene_id}/screenshot?t=1"},
        **changes,
    }


@dataclass
class Library:
    """Answers like a Stash with these scenes."""

    scenes: dict[int, Any] = field(default_factory=lambda: {i: scene(i) for i in range(1, 11)})
    broken: set[int] = field(default_factory=set)  # answered with null and an error
    settings: dict[str, Any] = field(default_factory=dict)
    enabled: bool = True
    api_key: str = ""
    username: str = "me"
    cookie: str = ""  # renews the session with this value
    max_age: int | None = 3600

    def __call__(self, asked: Asked) -> Reply:
        """Answers one question."""
        data: dict[str, Any] = {}
        errors: list[dict[str, Any]] = []
        if "configuration" in asked.query:
            plugins = {"stash_plugin": self.settings} if self.settings else {}
            general = {"apiKey": self.api_key, "username": self.username}
            data["configuration"] = {"general": general, "plugins": plugins}
            data["plugins"] = [{"id": "stash_plugin", "enabled": self.enabled}]
        if asked.name == "Scenes":
            for name, scene_id in asked.variables.items():
                data[name] = self._one(int(scene_id), name, errors)
        if asked.name in ("FirstScene", "SceneIds"):
            found = self._found(asked.variables)
            page = found[: asked.variables["how"]["per_page"]]
            data["findScenes"] = {"scenes": [self._one(i, "findScenes", errors) for i in page]}
            if " count " in asked.query:
                data["findScenes"]["count"] = len(found)
        headers = []
        if self.cookie:
            age = "" if self.max_age is None else f"; Max-Age={self.max_age}"
            headers.append(("Set-Cookie", f"session={self.cookie}; Path=/{age}; SameSite=Lax"))
        return Reply.of({"data": data, **({"errors": errors} if errors else {})}, *headers)

    def _one(self, scene_id: int, name: str, errors: list[dict[str, Any]]) -> Any:
        if scene_id in self.broken:
            errors.append({"message": f"reading scene {scene_id}: malformed", "path": [name, "files"]})
            return None
        return self.scenes.get(scene_id)

    def _found(self, variables: Mapping[str, Any]) -> list[int]:
        where, how = variables["where"], variables["how"]
        assert how["sort"] == "id"
        found = sorted(self.scenes, reverse=how["direction"] == "DESC")
        if "id" in where:
            edge, above = where["id"]["value"], where["id"]["modifier"] == "GREATER_THAN"
            found = [i for i in found if (i > edge if above else i < edge)]
        if "updated_at" in where:  # Stash compares the texts
            assert where["updated_at"]["modifier"] == "GREATER_THAN"
            found = [i for i in found if self.scenes[i]["updated_at"] > where["updated_at"]["value"]]
        return found


class Bench:
    """A data folder, servers and clients, all ended after the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 1_800_000_000.0
        self._servers: list[tuple[Server, threading.Thread]] = []
        self._clients: list[Stash] = []

    def serve(self, reply: Callable[[Asked], Reply], tls: ssl.SSLContext | None = None) -> Server:
        """Starts a server and makes connection.json point to it."""
        server = Server(reply)
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        self._servers.append((server, thread))
        self.tell(server.server_port, scheme="http" if tls is None else "https")
        return server

    def tell(self, port: int, **changes: Any) -> None:
        """Writes connection.json as the hook does."""
        place = {"scheme": "http", "host": "0.0.0.0", "port": port, "dir": "", "plugin_dir": ""}
        text = json.dumps({**place, "cookie": COOKIE, "at": self.now, **changes})
        draft = self.folder / "connection.json.1"
        draft.write_text(text)
        draft.replace(self.folder / "connection.json")

    def stash(self, timeout: float = 30.0) -> Stash:
        """A client for the folder."""
        client = Stash(self.folder, timeout=timeout, clock=lambda: self.now)
        self._clients.append(client)
        return client

    def close_clients(self) -> None:
        """Lets go of all kept connections, for which a server that ends would wait."""
        for client in self._clients:
            client.close()

    def end(self) -> None:
        """Ends everything."""
        self.close_clients()
        for server, thread in self._servers:
            server.released.set()
            server.shutdown()
            server.server_close()
            thread.join()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """See Bench; checks that no thread is left behind."""
    before = set(threading.enumerate())
    made = Bench(tmp_path)
    yield made
    made.end()
    assert set(threading.enumerate()) <= before


def refused(ask: Callable[[], object]) -> str:
    """The sentence with which Stash is unavailable; it never holds a secret and is one line."""
    with pytest.raises(StashUnavailable) as caught:
        ask()
    said = str(caught.value)
    chain: BaseException | None = caught.value
    while chain is not None:  # what a traceback would show
        assert not any(secret in str(chain) for secret in (COOKIE, RENEWED, KEY))
        chain = chain.__cause__ or (None if chain.__suppress_context__ else chain.__context__)
    assert "\n" not in said
    return said


class TestAsking:
    def test_settings_and_state(self, bench: Bench) -> None:
        """The worker learns its settings and whether it is enabled, in one request."""
        server = bench.serve(Library(settings={"webhook_url": "http://h"}))
        state = bench.stash().plugin_state()
        assert (state.settings, state.enabled) == ({"webhook_url": "http://h"}, True)
        assert [asked.name for asked in server.asked] == ["PluginState"]
        assert server.asked[0].path == "/graphql"

    def test_a_disabled_plugin_without_settings(self, bench: Bench) -> None:
        """A plugin that was never set up and is switched off is seen as just that."""
        bench.serve(Library(enabled=False))
        state = bench.stash().plugin_state()
        assert (state.settings, state.enabled) == ({}, False)

    def test_a_batch_is_one_request(self, bench: Bench) -> None:
        """Forty scenes and the plugin's state cost Stash one request, and a deleted one fails none."""
        library = Library({i: scene(i) for i in range(1, 41)}, settings={"a": 1})
        del library.scenes[7]
        server = bench.serve(library)
        batch = bench.stash().scenes([*range(1, 41), 3])
        assert len(server.asked) == 1
        assert sorted(batch.scenes) == list(range(1, 41))
        assert batch.scenes[7] is None
        assert all(found is None or found.id == i for i, found in batch.scenes.items())
        first = batch.scenes[1]
        assert first is not None
        assert (first.title, first.fetched_at) == ("Scene 1", bench.now)
        assert (batch.broken, batch.state.settings) == ({}, {"a": 1})

    def test_no_scenes_is_still_a_state(self, bench: Bench) -> None:
        """An empty batch asks for the state alone."""
        server = bench.serve(Library())
        assert bench.stash().scenes([]) == FetchedScenes({}, {}, bench.stash().plugin_state())
        assert [asked.name for asked in server.asked] == ["PluginState"] * 2

    def test_newest_scene_and_titles(self, bench: Bench) -> None:
        """Buttons get a real scene and names for people; what is gone is left out."""
        library = Library()
        stem = {
            "path": "C:\\media\\a.b.mp4",
            "size": 1,
            "duration": 1,
            "width": 1,
            "height": 1,
            "fingerprints": [],
        }
        library.scenes[2] = scene(2, title="", files=[stem])
        library.broken = {4}
        bench.serve(library)
        stash = bench.stash()
        newest = stash.newest_scene()
        assert newest is not None
        assert newest.id == 10
        assert stash.titles([1, 2, 4, 99]) == {1: "Scene 1", 2: "a.b"}

    def test_an_empty_library_has_no_newest_scene(self, bench: Bench) -> None:
        """A test without any scene is possible."""
        bench.serve(Library({}))
        assert bench.stash().newest_scene() is None

    def test_questions_go_one_at_a_time(self, bench: Bench) -> None:
        """Threads that ask at once are served in turn: Stash gets one request at a time."""
        library, inside, seen = Library(), threading.Semaphore(1), []

        def reply(asked: Asked) -> Reply:
            alone = inside.acquire(blocking=False)
            seen.append(alone)
            time.sleep(0.01)
            if alone:
                inside.release()
            return library(asked)

        bench.serve(reply)
        stash = bench.stash()
        threads = [threading.Thread(target=stash.plugin_state) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen == [True] * 6

    def test_the_environment_is_not_asked(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        """A proxy for the internet in the environment doesn't get the requests to Stash."""
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        bench.serve(Library())
        assert bench.stash().plugin_state().enabled


class TestBrokenScenes:
    def test_one_broken_scene_stops_no_other(self, bench: Bench) -> None:
        """Where one scene of ten can't be read, nine are delivered and the tenth is named with the reason."""
        library = Library(broken={6})
        server = bench.serve(library)
        batch = bench.stash().scenes(range(1, 11))
        assert sorted(batch.scenes) == [1, 2, 3, 4, 5, 7, 8, 9, 10]
        assert all(batch.scenes.values())
        assert list(batch.broken) == [6]
        assert "scene 6" in batch.broken[6]
        assert "malformed" in batch.broken[6]
        assert batch.state.enabled
        assert len(server.asked) <= 10

    def test_a_scene_that_fails_alone_is_broken(self, bench: Bench) -> None:
        """A single scene that can't be read is at fault itself if Stash answers for another."""
        bench.serve(Library(broken={6}))
        batch = bench.stash().scenes([6])
        assert (batch.scenes, list(batch.broken)) == ({}, [6])

    def test_a_broken_neighbour_proves_nothing(self, bench: Bench) -> None:
        """Two broken scenes side by side aren't taken for a Stash that is down: a third is asked."""
        bench.serve(Library(broken={5, 6}))
        assert sorted(bench.stash().scenes([5, 6]).broken) == [5, 6]
        assert sorted(bench.stash().scenes([6]).broken) == [6]

    def test_the_only_scene_there_is(self, bench: Bench) -> None:
        """In a library of one broken scene the scene is at fault: there is no other to ask."""
        bench.serve(Library({3: scene(3)}, broken={3}))
        assert list(bench.stash().scenes([3]).broken) == [3]

    def test_all_scenes_there_are(self, bench: Bench) -> None:
        """When the batch is the whole library, the scenes that do come show that Stash is well."""
        bench.serve(Library({1: scene(1), 2: scene(2)}, broken={2}))
        batch = bench.stash().scenes([1, 2])
        assert (list(batch.scenes), list(batch.broken)) == ([1], [2])

    @pytest.mark.parametrize(
        ("ids", "most"), [([1], 3), ([4], 3), ([1, 2, 3], 3), (list(range(1, 11)), 25)], ids=str
    )
    def test_errors_for_every_scene_are_an_outage(self, bench: Bench, ids: list[int], most: int) -> None:
        """When Stash can read no scene at all, no scene is blamed, although its settings still come."""
        library = Library(broken=set(range(1, 11)))
        server = bench.serve(library)
        assert "none of its scenes" in refused(lambda: bench.stash().scenes(ids))
        assert len(server.asked) <= most

    def test_a_scene_of_the_wrong_shape(self, bench: Bench) -> None:
        """A scene that isn't what the schema promises is broken, the others are delivered."""
        library = Library()
        library.scenes[2] = scene(2, files="none")
        library.scenes[3] = [scene(3)]
        library.scenes[4] = scene(5)
        bench.serve(library)
        batch = bench.stash().scenes([1, 2, 3, 4])
        assert list(batch.scenes) == [1]
        assert "files is of type str" in batch.broken[2]
        assert sorted(batch.broken) == [2, 3, 4]

    def test_the_wrong_shape_everywhere_is_an_outage(self, bench: Bench) -> None:
        """A server whose scenes are all of another shape isn't a Stash we know; no scene is blamed."""
        bench.serve(Library({i: scene(i, tags=None) for i in range(1, 5)}))
        assert "none of its scenes" in refused(lambda: bench.stash().scenes([2, 3]))

    def test_a_missing_scene_is_not_a_deleted_one(self, bench: Bench) -> None:
        """A scene that the answer doesn't mention is never taken for deleted."""
        library = Library()

        def reply(asked: Asked) -> Reply:
            answer = json.loads(library(asked).body)
            answer["data"].pop("s1", None)
            return Reply.of(answer)

        bench.serve(reply)
        batch = bench.stash().scenes([1, 2, 3])
        assert list(batch.scenes) == [1, 3]
        assert "missing" in batch.broken[2]

    def test_a_locked_database_is_an_outage(self, bench: Bench) -> None:
        """While Stash is busy writing, deliveries wait; it isn't asked scene by scene."""
        server = bench.serve(
            lambda _: Reply.of({"errors": [{"message": "finding: database is locked"}], "data": None})
        )
        assert "database is locked" in refused(lambda: bench.stash().scenes([1, 2, 3]))
        assert len(server.asked) == 1


LOGIN_PAGE = b"<!DOCTYPE html><html><title>Login</title></html>"
HTML = (("Content-Type", "text/html"),)
ODD = {
    "a page": (Reply(LOGIN_PAGE, headers=HTML), "web page"),
    "a redirect to the login": (Reply(status=302, headers=(("Location", "/login?returnURL=x"),)), "another page"),
    "a permanent redirect": (Reply(status=308, headers=(("Location", "https://example.org/"),)), "another page"),
    "500 with a page": (Reply(LOGIN_PAGE, 500, HTML), "status 500"),
    "500 with JSON": (Reply.of({"data": {"version": {}}}, status=500), "status 500"),
    "502": (Reply(b"Bad Gateway", 502, HTML), "status 502"),
    "403": (Reply(b"exposed to the public internet", 403, HTML), "status 403"),
    "404": (Reply(b"404 page not found", 404, HTML), "status 404"),
    "an older schema": (
        Reply.of({"errors": [{"message": 'Cannot query field "groups"'}], "data": None}, status=422),
        'Cannot query field "groups"',
    ),
    "nothing": (Reply(b""), "no JSON"),
    "cut JSON": (Reply(b'{"data": {"version": {"vers'), "cut off"),
    "a cut answer": (Reply(b'{"data": {"version": {"vers', missing=100), "broke off"),
    "endless nesting": (Reply(b"[" * 200_000), "no JSON"),
    "not UTF-8": (Reply(b'{"data": "\xff\xfe"}'), "no JSON|no data"),
    "a list": (Reply.of([]), "no object"),
    "null": (Reply.of(None), "no object"),
    "no data": (Reply.of({}), "no data"),
    "null data": (Reply.of({"data": None}), "no data"),
    "empty data": (Reply.of({"data": {}}), "no data"),
    "data as a list": (Reply.of({"data": []}), "no data"),
    "errors as a text": (Reply.of({"errors": "no", "data": {}}), "errors can't be read"),
    "errors as null": (Reply.of({"errors": None, "data": {"version": None}}), "errors can't be read"),
    "an error without message": (Reply.of({"errors": [{}]}), "errors can't be read"),
    "an error": (Reply.of({"errors": [{"message": "boom\nat line 5"}], "data": None}), "boom at line 5"),
    "partial data": (Reply.of({"errors": [{"message": "boom"}], "data": {"version": {}}}), "boom"),
    "other data": (Reply.of({"data": {"something": 1}}), "missing"),
}


class TestOddAnswers:
    @pytest.mark.parametrize("what", ODD)
    @pytest.mark.parametrize("ask", ["plugin_state", "newest_scene", "scenes", "scene_ids"])
    def test_whatever_comes_back_is_an_outage(self, bench: Bench, what: str, ask: str) -> None:
        """An answer that isn't a whole and proper one is never used: Stash counts as away, in a sentence."""
        reply, said = ODD[what]
        server = bench.serve(lambda _: reply)
        stash = bench.stash()
        ways: dict[str, Callable[[], object]] = {
            "scenes": lambda: stash.scenes([1, 2]),
            "scene_ids": lambda: list(stash.scene_ids()),
        }
        sentence = refused(ways.get(ask, getattr(stash, ask)))
        assert re.search(said, sentence)
        assert "deliveries wait" in sentence
        assert {asked.path for asked in server.asked} == {"/graphql"}, "a redirect was followed"

    def test_nobody_there(self, bench: Bench) -> None:
        """A Stash that isn't running is said to be unreachable, with its address."""
        server = bench.serve(Library())
        bench.end()
        sentence = refused(bench.stash().plugin_state)
        assert f"http://127.0.0.1:{server.server_port} can't be reached" in sentence

    def test_never_an_answer(self, bench: Bench) -> None:
        """A Stash that takes a request and doesn't answer holds the worker for the time limit and no longer."""
        server = bench.serve(lambda _: Reply(b"{}"))
        server.reply = lambda _: (server.released.wait(30), Reply())[1]
        before = time.monotonic()
        assert "did not answer within 0.3 s" in refused(bench.stash(timeout=0.3).plugin_state)
        assert 0.25 < time.monotonic() - before < 5

    def test_a_dripping_answer(self, bench: Bench) -> None:
        """An answer that comes byte by byte ends at the time limit too."""
        bench.serve(lambda _: Reply(b"{", drip=True))
        before = time.monotonic()
        assert "did not answer within 0.3 s" in refused(bench.stash(timeout=0.3).plugin_state)
        assert time.monotonic() - before < 5

    def test_after_an_outage_it_goes_on(self, bench: Bench) -> None:
        """The same client works again as soon as Stash does."""
        server = bench.serve(lambda _: Reply(b"{", missing=5))
        stash = bench.stash()
        refused(stash.plugin_state)
        server.reply = Library()
        assert stash.plugin_state().enabled

    def test_closing_ends_a_question(self, bench: Bench) -> None:
        """Closing doesn't wait for a Stash that doesn't answer: what was under way ends at once."""
        server = bench.serve(lambda _: Reply())
        arrived = threading.Event()

        def hang(_: Asked) -> Reply:
            arrived.set()
            server.released.wait(30)
            return Reply()

        server.reply = hang
        stash, ended = bench.stash(), []
        thread = threading.Thread(target=lambda: ended.append(refused(stash.plugin_state)))
        thread.start()
        assert arrived.wait(10)
        stash.close()
        thread.join(10)
        assert len(ended) == 1

    def test_an_echoed_secret(self, bench: Bench) -> None:
        """An error text that repeats what we sent is shown without cookie and key."""
        library = Library(api_key=KEY)
        server = bench.serve(library)
        stash = bench.stash()
        stash.plugin_state()
        echo = f"bad session={COOKIE} ApiKey: {KEY} http://me:pw@h/?apikey={KEY}" + "x" * 5000
        server.reply = lambda _: Reply.of({"errors": [{"message": echo}], "data": None})
        assert len(refused(stash.plugin_state)) < 600
        server.reply = lambda _: Reply.of({"errors": [{"message": echo}], "data": None}, status=422)
        assert len(refused(stash.plugin_state)) < 600


class TestWhereStashIs:
    def test_no_connection_file_yet(self, bench: Bench) -> None:
        """Before the first hook the sentence says what brings the file."""
        assert "edit any scene" in refused(bench.stash().plugin_state)

    def test_stash_moves(self, bench: Bench) -> None:
        """When a hook tells of another port, the next question goes there."""
        old, stash = bench.serve(Library()), bench.stash()
        stash.plugin_state()
        new = bench.serve(Library())
        stash.plugin_state()
        assert (len(old.asked), len(new.asked)) == (1, 1)

    def test_the_file_goes_away_or_is_damaged(self, bench: Bench) -> None:
        """A client that knows where Stash is goes on when the file is lost."""
        bench.serve(Library())
        stash = bench.stash()
        stash.plugin_state()
        (bench.folder / "connection.json").write_text("{")
        assert stash.plugin_state().enabled
        (bench.folder / "connection.json").unlink()
        assert stash.plugin_state().enabled

    @pytest.mark.parametrize("ours", [True, False])
    def test_a_self_signed_certificate(
        self, bench: Bench, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, ours: bool
    ) -> None:
        """On this machine a self-signed certificate will do, quietly; elsewhere it won't."""
        if shutil.which("openssl") is None:
            pytest.skip("openssl isn't installed: no certificate can be made")
        folder = tmp_path_factory.mktemp("tls")
        subject = ["-subj", "/CN=stash", "-keyout", f"{folder}/key", "-out", f"{folder}/cert", "-days", "2"]
        new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        subprocess.run([*new, *subject], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "cert", folder / "key")
        bench.serve(Library(), tls=context)
        if ours:
            assert bench.stash().plugin_state().enabled
        else:
            monkeypatch.setattr(Connection, "trusted_by_place", False)
            assert "certificate isn't valid" in refused(bench.stash().plugin_state)


class TestLogin:
    def test_one_cookie_is_replaced_by_each_answer(self, bench: Bench) -> None:
        """The session lives on: each request carries exactly one cookie, the newest."""
        library = Library(cookie=RENEWED)
        server = bench.serve(library)
        stash = bench.stash()
        stash.plugin_state()
        stash.plugin_state()
        library.cookie = "third"
        stash.plugin_state()
        library.cookie = ""
        stash.plugin_state()
        sent = [asked.header("Cookie") for asked in server.asked]
        assert sent == [[f"session={c}"] for c in (COOKIE, RENEWED, RENEWED, "third")]
        assert all(asked.header("ApiKey") == [] for asked in server.asked)

    def test_several_cookies_in_one_answer(self, bench: Bench) -> None:
        """Cookies of others beside the session's don't confuse, and of two sessions the last counts."""
        library = Library()
        cookies = ("session=x; Path=/; Max-Age=9", "proxy=1; Path=/", f"session={RENEWED}; Path=/; Max-Age=30")
        server = bench.serve(
            lambda asked: Reply(library(asked).body, headers=tuple(("Set-Cookie", c) for c in cookies))
        )
        stash = bench.stash()
        stash.plugin_state()
        stash.plugin_state()
        assert server.asked[1].header("Cookie") == [f"session={RENEWED}"]
        assert stash.keep_alive_in() == 10.0

    def test_an_api_key_is_preferred(self, bench: Bench) -> None:
        """Once Stash says its API key, that is used instead of the session, and kept in memory only."""
        server = bench.serve(Library(api_key=KEY, cookie=RENEWED))
        stash = bench.stash()
        stash.plugin_state()
        stash.scenes([1])
        assert server.asked[0].header("ApiKey") == []
        assert (server.asked[1].header("ApiKey"), server.asked[1].header("Cookie")) == ([KEY], [])
        assert not any(KEY in path.read_text() for path in bench.folder.rglob("*") if path.is_file())

    def test_a_key_that_was_changed(self, bench: Bench) -> None:
        """A key that Stash no longer accepts is dropped for the session, and the new one is learned."""
        library = Library(api_key=KEY)
        server = bench.serve(guarded(library, lambda: {f"key {library.api_key}", f"cookie {COOKIE}"}))
        stash = bench.stash()
        stash.plugin_state()
        library.api_key = "another-key"
        stash.plugin_state()
        stash.plugin_state()
        used = [(asked.header("ApiKey"), asked.header("Cookie")) for asked in server.asked]
        session: tuple[list[str], list[str]] = ([], [f"session={COOKIE}"])
        assert used == [session, ([KEY], []), session, (["another-key"], [])]

    def test_a_key_that_was_deleted(self, bench: Bench) -> None:
        """A deleted key ends in the session that the last hook wrote, without a person's doing."""
        library, accepted = Library(api_key=KEY), {f"cookie {COOKIE}", f"key {KEY}"}
        server = bench.serve(guarded(library, lambda: accepted))
        stash = bench.stash()
        stash.plugin_state()
        library.api_key, accepted = "", {f"cookie {RENEWED}"}
        bench.tell(server.server_port, cookie=RENEWED)
        assert stash.plugin_state().enabled
        assert server.asked[-1].header("ApiKey") == []

    def test_a_newer_session_from_a_hook(self, bench: Bench) -> None:
        """When the session has ended, the one that a hook has written since is used at once."""
        accepted = COOKIE
        server = bench.serve(guarded(Library(), lambda: {f"cookie {accepted}"}))
        stash = bench.stash()
        stash.plugin_state()
        accepted = RENEWED
        bench.tell(server.server_port, cookie=RENEWED)
        assert stash.plugin_state().enabled
        sent = [asked.header("Cookie") for asked in server.asked]
        assert sent == [[f"session={c}"] for c in (COOKIE, COOKIE, RENEWED)]

    def test_a_session_that_works_is_kept(self, bench: Bench) -> None:
        """The renewed session isn't given up for the one in the file, which may be older."""
        server = bench.serve(Library(cookie=RENEWED))
        stash = bench.stash()
        stash.plugin_state()
        bench.tell(server.server_port, cookie="older")
        stash.plugin_state()
        assert server.asked[1].header("Cookie") == [f"session={RENEWED}"]

    def test_nothing_is_accepted(self, bench: Bench) -> None:
        """Without a valid session the sentence says what helps, and Stash isn't asked in a loop."""
        server = bench.serve(lambda _: Reply(status=401, headers=(("WWW-Authenticate", "FormBased"),)))
        stash = bench.stash()
        sentence = refused(lambda: stash.scenes([1, 2]))
        assert "401" in sentence
        assert "API key" in sentence
        assert len(server.asked) == 1
        bench.tell(server.server_port, cookie=RENEWED)
        refused(stash.plugin_state)
        assert len(server.asked) == 3

    def test_no_cookie_at_all(self, bench: Bench) -> None:
        """A Stash without a login is asked without credentials."""
        server = bench.serve(Library(username=""))
        bench.tell(server.server_port, cookie="")
        assert bench.stash().plugin_state().enabled
        assert server.asked[0].header("Cookie") == []


def guarded(library: Library, accepted: Callable[[], set[str]]) -> Callable[[Asked], Reply]:
    """The library behind a login that takes these credentials; like Stash it looks at a key first."""

    def reply(asked: Asked) -> Reply:
        key, cookie = asked.header("ApiKey"), asked.header("Cookie")
        shown = f"key {key[0]}" if key else f"cookie {cookie[0].removeprefix('session=')}" if cookie else ""
        return library(asked) if shown in accepted() else Reply(status=401)

    return reply


class TestCover:
    PATH = "/scene/1/screenshot?t=5"

    def test_a_picture(self, bench: Bench) -> None:
        """A cover comes as it is, asked for with the credentials that are in use."""
        library = Library(api_key=KEY)
        picture = bytes(range(256))
        server = bench.serve(lambda asked: library(asked) if asked.query else Reply(picture, headers=()))
        stash = bench.stash()
        stash.plugin_state()
        assert stash.cover(self.PATH) == picture
        assert (server.asked[1].path, server.asked[1].header("ApiKey")) == (self.PATH, [KEY])

    def test_no_picture(self, bench: Bench) -> None:
        """A scene without a cover has none; that is no outage."""
        bench.serve(lambda _: Reply(status=404))
        assert bench.stash().cover(self.PATH) == b""

    def test_a_newer_session(self, bench: Bench) -> None:
        """When the session has ended, a cover is asked for again with the one that a hook wrote since."""
        accepted = COOKIE
        server = bench.serve(guarded(Library(), lambda: {f"cookie {accepted}"}))
        stash = bench.stash()
        stash.plugin_state()
        accepted = RENEWED
        bench.tell(server.server_port, cookie=RENEWED)
        stash.cover(self.PATH)
        assert [asked.header("Cookie") for asked in server.asked[1:]] == [
            [f"session={c}"] for c in (COOKIE, RENEWED)
        ]

    @pytest.mark.parametrize("status", [302, 401, 403, 500, 503])
    def test_an_outage(self, bench: Bench, status: int) -> None:
        """Anything else than a picture or none means that Stash can't be asked now."""
        bench.serve(lambda _: Reply(LOGIN_PAGE, status, (("Location", "/login"),)))
        refused(lambda: bench.stash().cover(self.PATH))

    @pytest.mark.parametrize("path", ["@127.0.0.1:{port}/x", ".example.org/x", "", "http://127.0.0.1:{port}/x"])
    def test_the_key_stays_with_stash(self, bench: Bench, path: str) -> None:
        """What isn't a path at Stash is not asked for, since the key would go wherever it points."""
        elsewhere = bench.serve(lambda _: Reply(b"x"))
        bench.serve(Library())
        assert bench.stash().cover(path.format(port=elsewhere.server_port)) == b""
        assert elsewhere.asked == []


class TestKeepAlive:
    def test_a_third_of_the_session(self, bench: Bench) -> None:
        """A session of 30 s is due for renewal 10 s after each answer, and a ping renews it."""
        server = bench.serve(Library(cookie=RENEWED, max_age=30))
        stash = bench.stash()
        assert stash.keep_alive_in() is None
        stash.plugin_state()
        assert stash.keep_alive_in() == 10.0
        bench.now += 4
        assert stash.keep_alive_in() == 6.0
        bench.now += 60
        assert stash.keep_alive_in() == 0.0
        stash.plugin_state()
        assert stash.keep_alive_in() == 10.0
        bench.now += 3
        stash.scenes([1])
        assert stash.keep_alive_in() == 10.0
        assert len(server.asked) == 3

    @pytest.mark.parametrize(
        "library",
        [
            Library(cookie=RENEWED, api_key=KEY),
            Library(cookie=RENEWED, username=""),
            Library(cookie=RENEWED, max_age=None),
            Library(cookie=RENEWED, max_age=0),
            Library(cookie=""),
        ],
        ids=["an API key", "no login", "sessions without end", "no age", "no renewal"],
    )
    def test_nothing_to_keep_alive(self, bench: Bench, library: Library) -> None:
        """Where no session can expire, nobody is pinged."""
        bench.serve(library)
        stash = bench.stash()
        stash.plugin_state()
        assert stash.keep_alive_in() is None

    def test_a_failed_ping_is_not_repeated_at_once(self, bench: Bench) -> None:
        """While Stash is down pings stay a third of the session apart, and there is time for another."""
        server = bench.serve(Library(cookie=RENEWED, max_age=30))
        stash = bench.stash()
        stash.plugin_state()
        bench.now += 10
        server.reply = lambda _: Reply(status=503)
        refused(stash.plugin_state)
        assert stash.keep_alive_in() == 10.0

    def test_a_clock_that_was_set_back(self, bench: Bench) -> None:
        """After a jump of the wall clock the session is renewed now and not in an hour."""
        bench.serve(Library(cookie=RENEWED, max_age=30))
        stash = bench.stash()
        stash.plugin_state()
        bench.now -= 3600
        assert stash.keep_alive_in() == 0.0

    def test_asking_doesnt_wait_for_stash(self, bench: Bench) -> None:
        """The worker's loop learns when a ping is due also while another thread waits for Stash."""
        library = Library(cookie=RENEWED, max_age=30)
        server = bench.serve(library)
        stash = bench.stash()
        stash.plugin_state()
        arrived, go_on = threading.Event(), threading.Event()

        def late(asked: Asked) -> Reply:
            arrived.set()
            go_on.wait(30)
            return library(asked)

        server.reply = late
        thread = threading.Thread(target=stash.plugin_state)
        thread.start()
        assert arrived.wait(10)
        assert stash.keep_alive_in() == 10.0
        go_on.set()
        thread.join()


class TestListing:
    def test_all_scenes_in_pages(self, bench: Bench) -> None:
        """All ids come once, ascending, a page at a time, with a total for the progress bar from the start."""
        server = bench.serve(Library({i: scene(i) for i in range(1, 26)}))
        pages = bench.stash().scene_ids(page_size=10)
        first = next(pages)
        assert (first.ids, first.examined, first.total) == (tuple(range(1, 11)), 10, 25)
        assert len(server.asked) == 1
        rest = [(page.ids, page.examined, page.total) for page in pages]
        assert rest == [(tuple(range(11, 21)), 20, 25), (tuple(range(21, 26)), 25, 25)]
        assert ["count" in asked.query for asked in server.asked] == [True, False, False]

    def test_changes_meanwhile_skip_nothing(self, bench: Bench) -> None:
        """Scenes deleted or added between two pages make no other scene be left out or come twice."""
        library = Library({i: scene(i) for i in range(1, 26)})
        bench.serve(library)
        pages = bench.stash().scene_ids(page_size=10)
        found = list(next(pages).ids)
        for gone in (1, 2, 3, 12):
            del library.scenes[gone]
        library.scenes[26] = scene(26)
        found += [i for page in pages for i in page.ids]
        assert found == [i for i in range(1, 27) if i != 12]

    def test_an_empty_library(self, bench: Bench) -> None:
        """Nothing to list is one empty page with a total of zero."""
        bench.serve(Library({}))
        assert [(p.ids, p.examined, p.total) for p in bench.stash().scene_ids()] == [((), 0, 0)]

    def test_a_full_last_page(self, bench: Bench) -> None:
        """A library of exactly one page is listed once."""
        bench.serve(Library())
        assert [i for page in bench.stash().scene_ids(page_size=10) for i in page.ids] == list(range(1, 11))

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("2026-01-05T09:59:59Z", "2026-01-05T10:00:00Z"),
            ("2026-01-05T21:59:59+12:00", "2026-01-05T22:00:00+12:00"),
            ("2026-01-04T21:59:59-12:00", "2026-01-04T22:00:00-12:00"),
            ("2026-01-05T23:59:59+14:00", "2026-01-06T00:00:00+14:00"),
        ],
    )
    def test_changed_since_in_every_zone(self, bench: Bench, before: str, after: str) -> None:
        """Scenes changed since a moment are found to the second, whatever zone the server's clock shows."""
        bench.serve(Library({1: scene(1, updated_at=before), 2: scene(2, updated_at=after)}))
        since = 1_767_607_200.75  # 2026-01-05 10:00:00 UTC and a bit: Stash knows seconds only
        pages = list(bench.stash().scene_ids(changed_since=since))
        assert [page.ids for page in pages] == [(2,)]
        assert pages[0].examined == pages[0].total

    def test_old_scenes_are_left_to_stash(self, bench: Bench) -> None:
        """Only the last changes are asked for: a large library isn't read for a few edits."""
        library = Library({i: scene(i, updated_at="2020-01-01T00:00:00Z") for i in range(1, 11)})
        library.scenes[4] = scene(4, updated_at="2026-01-05T12:00:00Z")
        bench.serve(library)
        (page,) = bench.stash().scene_ids(changed_since=1_767_607_200.0)
        assert (page.ids, page.total) == ((4,), 1)

    @pytest.mark.parametrize("ids", [["3", "2"], ["2", "2"], ["0"]])
    def test_a_server_that_ignores_the_order(self, bench: Bench, ids: list[str]) -> None:
        """A listing that doesn't ascend ends with a sentence instead of going on for ever."""
        listed = [{"id": i, "updated_at": "2026-01-01T00:00:00Z"} for i in ids]
        bench.serve(lambda _: Reply.of({"data": {"findScenes": {"count": 9, "scenes": listed}}}))
        assert "ascending" in refused(lambda: list(bench.stash().scene_ids(page_size=1)))


class TestTheStandIn:
    """The same client with the stand-in, whose sessions and errors are Stash's."""

    @pytest.fixture
    def standin(self, bench: Bench, tmp_path: Path) -> Iterator[StandInStash]:
        """A stand-in with a login whose sessions live a minute, by the bench's clock."""
        with StandInStash(
            30,
            config_dir=tmp_path / "stash",
            credentials=("me", "secret"),
            max_session_age=60,
            clock=lambda: bench.now,
        ) as standin:
            bench.tell(standin.config.port, cookie=standin.sessions.make(Session("me")))
            yield standin
            bench.close_clients()

    def test_a_session_lives_as_long_as_it_is_kept_alive(self, bench: Bench, standin: StandInStash) -> None:
        """Without an API key the worker stays authorised over many session ages, and not without pings."""
        stash = bench.stash()
        stash.plugin_state()
        for _ in range(30):
            wait = stash.keep_alive_in()
            assert wait == 20.0
            bench.now += wait
            assert stash.keep_alive_in() == 0.0
            stash.plugin_state()
        assert standin.requests.total == 31
        bench.now += 61
        assert "401" in refused(stash.plugin_state)

    def test_stash_restarts(self, bench: Bench, standin: StandInStash) -> None:
        """A restart between two questions costs nothing: the dead connection is noticed."""
        stash = bench.stash()
        stash.plugin_state()
        standin.restart()
        stash.plugin_state()

    def test_scenes_broken_gone_and_well(self, bench: Bench, standin: StandInStash) -> None:
        """A broken and a deleted scene among others: each ends as what it is."""
        standin.vanish(3)
        standin.faults.broken_ids = {5}
        batch = bench.stash().scenes(range(1, 11))
        assert batch.scenes[3] is None
        assert sorted(batch.scenes) == [1, 2, 3, 4, 6, 7, 8, 9, 10]
        assert list(batch.broken) == [5]

    def test_ids_of_all_and_of_the_last_changes(self, bench: Bench, standin: StandInStash) -> None:
        """Listing the library and the last hour's changes gives what was put in."""
        bench.now += 2 * 86400
        standin.change_without_hook(17, title="new")
        bench.tell(standin.config.port, cookie=standin.sessions.make(Session("me")))
        stash = bench.stash()
        assert [page.ids for page in stash.scene_ids(page_size=20)] == [tuple(range(1, 21)), tuple(range(21, 31))]
        (page,) = stash.scene_ids(changed_since=bench.now - 3600)
        assert page.ids == (17,)
