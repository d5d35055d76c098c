"""Servers for large benchmarks that need little CPU time per request, so that the worker is measured and not they.

``LeanSite`` stands in front of the stand-in Stash and answers the same, which ``check`` proves. ``LeanServer``
serves receivers.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Self

from stash_courier.worker.stash import queries
from tests.standin.receivers import Received, Reply
from tests.standin.stash import StandInStash
from tests.standin.stash.library import Kind, Scene
from tests.standin.stash.site import OWNER
from tests.standin.stash.web import Request, Response

CHECKED = 60  # scenes that are compared; all combinations of values in the stand-in's library


class LeanSite:
    """Answers the worker's and the buttons' questions about scenes without running GraphQL.

    graphql-core takes more CPU time for an answer than the worker for its deliveries. A real Stash takes little,
    and on a small machine the difference would be measured as the worker's.
    """

    def __init__(self, stash: StandInStash) -> None:
        self._stash = stash
        self._site = stash._site
        self._library = stash.library
        self._state: str | None = None  # the plugin's state as JSON, without the braces

    @classmethod
    def put_before(cls, stash: StandInStash) -> LeanSite:
        """Puts it in front of a stand-in that hasn't been started."""
        site = cls(stash)
        stash._site = site  # type: ignore[assignment]
        return site

    def check(self) -> None:
        """Compares the first scenes with those of the stand-in's GraphQL.

        Raises:
            RuntimeError: they differ.
        """
        scenes = self._library.all()[:CHECKED]
        variables = {f"s{n}": str(scene.id) for n, scene in enumerate(scenes)}
        answer = self._stash.graphql(queries.scenes_by_id(len(scenes)), variables)
        host = self._stash.url.removeprefix("http://")
        if [self._scene(scene, host) for scene in scenes] != [answer[name] for name in variables]:
            raise RuntimeError("the benchmark's lean Stash answers differently from the stand-in")

    def changed(self) -> None:
        """The plugin's settings were changed."""
        self._state = None

    def __call__(self, request: Request) -> Response | None:
        """Answers one request."""
        if request.path == "/graphql" and request.body and OWNER not in request.headers:
            asked = json.loads(request.body)
            query, variables = asked["query"].lstrip(), asked.get("variables") or {}
            if query.startswith("query Scenes("):
                return self._scenes(request, variables)
            if query.startswith("query SceneList(") and variables["where"].keys() == {"id"}:
                return self._ids(variables, counted="count" in query)
        return self._site(request)

    def _scenes(self, request: Request, variables: Mapping[str, str]) -> Response | None:
        state = self._state
        if state is None:
            response = self._site(request)
            if response is not None and response.status == 200:
                data = json.loads(response.body)["data"]
                self._state = json.dumps({k: v for k, v in data.items() if k not in variables})[1:-1]
            return response
        self._stash.requests.total += 1
        host = request.headers.get("Host", "")
        found = {alias: self._library.find(int(scene_id)) for alias, scene_id in variables.items()}
        scenes = json.dumps({a: None if s is None else self._scene(s, host) for a, s in found.items()})
        return _answered(f"{scenes[:-1]}, {state}}}")

    def _ids(self, variables: Mapping[str, Any], *, counted: bool) -> Response:
        """A page of ids above a given one; the library is in the order of its ids."""
        self._stash.requests.total += 1
        above = variables["where"]["id"]["value"]
        scenes = [scene for scene in self._library.all() if scene.id > above]
        page = [{"id": str(s.id), "updated_at": s.updated_at} for s in scenes[: variables["how"]["per_page"]]]
        count = {"count": len(scenes)} if counted else {}
        return _answered(json.dumps({"findScenes": {**count, "scenes": page}}))

    def _scene(self, scene: Scene, host: str) -> dict[str, Any]:
        """The fields of the fragment SceneFields."""
        stamp = int(datetime.fromisoformat(scene.updated_at).timestamp())
        return {
            "id": str(scene.id),
            **{key: getattr(scene, key) for key in ("title", "code", "details", "director", "date")},
            **{key: getattr(scene, key) for key in ("rating100", "organized", "created_at", "updated_at")},
            "urls": list(scene.urls),
            "files": [
                {
                    **{key: getattr(file, key) for key in ("path", "size", "duration", "width", "height")},
                    "fingerprints": [{"type": kind, "value": value} for kind, value in file.fingerprints],
                }
                for file in scene.files
            ],
            "performers": [self._named("performer", one) for one in scene.performers],
            "tags": [self._named("tag", one) for one in scene.tags],
            "studio": None if scene.studio is None else self._named("studio", scene.studio),
            "groups": [{"group": self._named("group", one)} for one, _ in scene.groups],
            "stash_ids": list(scene.stash_ids),
            "paths": {"screenshot": f"http://{host}/scene/{scene.id}/screenshot?t={stamp}"},
        }

    def _named(self, kind: Kind, number: int) -> dict[str, str]:
        return {"id": str(number), "name": self._library.name(kind, number)}


def _answered(data: str) -> Response:
    return Response(200, f'{{"data":{data}}}'.encode(), "application/json")


class LeanServer:
    """An HTTP server on loopback that counts requests and keeps the first ones; a context manager.

    Args:
        answer: answers a request.
        counts: whether a request is the delivery of a scene.
        keeps: how many deliveries are kept, with the requests between them.
    """

    def __init__(
        self, answer: Callable[[Received], Reply], counts: Callable[[Received], bool], keeps: int
    ) -> None:
        self._answer = answer
        self._counts = counts
        self.keeps = keeps
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self.kept: list[Received] = []
        self.count = 0
        self.last_at = 0.0  # wall time of the last delivery

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._accept, name="lean server")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # ends accept()
        self._thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(connection,), name="lean connection", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            while line := stream.readline():
                method, path, _ = line.decode("latin-1").split(" ", 2)
                headers = {}
                while (line := stream.readline()) != b"\r\n":
                    name, _, value = line.decode("latin-1").partition(":")
                    headers[name.lower()] = value.strip()
                body = stream.read(int(headers.get("content-length", 0)))
                received = Received(time.time(), method, path, headers, body)
                reply = self._answer(received)
                self._note(received)
                head = [f"HTTP/1.1 {reply.status} OK", *(f"{n}: {v}" for n, v in reply.headers.items())]
                if reply.status != 204:
                    head.append(f"Content-Length: {len(reply.body)}")
                connection.sendall("\r\n".join([*head, "", ""]).encode("latin-1") + reply.body)

    def _note(self, received: Received) -> None:
        with self._lock:
            if self.count < self.keeps:
                self.kept.append(received)
            if self._counts(received):
                self.count += 1
                self.last_at = received.at
