"""Small HTTP servers that answer in place of Stash, and what the tests of the client for Stash share."""

from __future__ import annotations

import json
import re
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import pytest

from stash_courier.worker.stash.client import Stash, StashUnavailable

COOKIE = "MTc2ODI-first-session"
RENEWED = "MTc2ODI-second-session"
KEY = "eyJhbGciOiJIUzI1NiJ9.key-of-the-owner.x"


@dataclass(frozen=True)
class Asked:
    """A request as the server got it."""

    query: str
    variables: Mapping[str, Any]
    headers: list[tuple[str, str]]  # in order, with duplicates
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
    missing: int = 0  # bytes that Content-Length promises but that are never sent
    drip: bool = False  # one byte every 20 ms without end

    @classmethod
    def of(cls, answer: object, *headers: tuple[str, str], status: int = 200) -> Reply:
        """JSON."""
        return cls(json.dumps(answer).encode(), status, (("Content-Type", "application/json"), *headers))


class Server(ThreadingHTTPServer):
    """Answers with what ``reply`` returns and records the requests."""

    daemon_threads = False
    block_on_close = True

    def __init__(self, reply: Callable[[Asked], Reply]) -> None:
        self.reply = reply
        self.asked: list[Asked] = []
        self.released = threading.Event()  # set when the test ends: stops all waiting
        super().__init__(("127.0.0.1", 0), Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Prints nothing: tests include clients that disconnect early."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def do_POST(self) -> None:
        """Reads the request and sends the reply."""
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
        """Prints nothing."""


def scene(scene_id: int, **changes: Any) -> dict[str, Any]:
    """A scene in an answer of Stash."""
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
    """Answers as a Stash with these scenes does."""

    scenes: dict[int, Any] = field(default_factory=lambda: {i: scene(i) for i in range(1, 11)})
    broken: set[int] = field(default_factory=set)  # the answer is null and an error
    settings: dict[str, Any] = field(default_factory=dict)
    enabled: bool = True
    api_key: str = ""
    username: str = "me"
    cookie: str = ""  # the value with which each answer renews the session
    max_age: int | None = 3600

    def __call__(self, asked: Asked) -> Reply:
        """Answers one request."""
        data: dict[str, Any] = {}
        errors: list[dict[str, Any]] = []
        if "configuration" in asked.query:
            plugins = {"stash_plugin": self.settings} if self.settings else {}
            general = {"apiKey": self.api_key, "username": self.username}
            data["configuration"] = {"general": general, "plugins": plugins}
            data["plugins"] = [{"id": "stash_plugin", "name": "Stash Courier", "enabled": self.enabled}]
        if asked.name == "Scenes":
            for name, scene_id in asked.variables.items():
                data[name] = self._one(int(scene_id), name, errors)
        if asked.name in ("FirstScenes", "SceneList"):
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
        if "updated_at" in where:  # compared as text, as Stash does
            assert where["updated_at"]["modifier"] == "GREATER_THAN"
            found = [i for i in found if self.scenes[i]["updated_at"] > where["updated_at"]["value"]]
        return found


class StashBench:
    """A data folder, servers and clients. Stops them at the end and checks that no thread is left."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 1_800_000_000.0
        self._servers: list[tuple[Server, threading.Thread]] = []
        self._clients: list[Stash] = []
        self._threads = set(threading.enumerate())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.end()
        assert set(threading.enumerate()) <= self._threads

    def serve(self, reply: Callable[[Asked], Reply], tls: ssl.SSLContext | None = None) -> Server:
        """Starts a server and writes its address into stash.json."""
        server = Server(reply)
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        self._servers.append((server, thread))
        self.write_address(server.server_port, scheme="http" if tls is None else "https")
        return server

    def write_address(self, port: int, **changes: Any) -> None:
        """Writes stash.json as the hook does."""
        place = {"scheme": "http", "host": "0.0.0.0", "port": port, "dir": "", "plugin_dir": ""}
        text = json.dumps({**place, "cookie": COOKIE, "at": self.now, **changes})
        draft = self.folder / "stash.json.1"
        draft.write_text(text)
        draft.replace(self.folder / "stash.json")

    def stash(self, timeout: float = 30.0) -> Stash:
        """A client for the folder."""
        client = Stash(self.folder, timeout=timeout, clock=lambda: self.now)
        self._clients.append(client)
        return client

    def close_clients(self) -> None:
        """Closes kept connections, which would delay the end of a server."""
        for client in self._clients:
            client.close()

    def end(self) -> None:
        """Stops everything."""
        self.close_clients()
        for server, thread in self._servers:
            server.released.set()
            server.shutdown()
            server.server_close()
            thread.join()


def refused(ask: Callable[[], object]) -> str:
    """The message of StashUnavailable. Checks that it is one line and that no traceback shows a secret."""
    with pytest.raises(StashUnavailable) as caught:
        ask()
    message = str(caught.value)
    chain: BaseException | None = caught.value
    while chain is not None:
        assert not any(secret in str(chain) for secret in (COOKIE, RENEWED, KEY))
        chain = chain.__cause__ or (None if chain.__suppress_context__ else chain.__context__)
    assert "\n" not in message
    return message
