"""Hostile answers on real sockets. The unit tests cover hostile input of single functions."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stash_courier.queue.failures import DeliveryFailed
from stash_courier.queue.inbox import files
from stash_courier.queue.jobs import Delivery
from stash_courier.worker.destinations.webhook.destination import Webhook
from stash_courier.worker.stash.client import Stash, StashUnavailable
from tests.standin.receivers import RawReceiver, read_request
from tests.support.connections import connection

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=20)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
DELIVERY = Delivery(1, "webhook:127.0.0.1", 5, "destroy", (), 9, 1.5, path="/media/a.mp4")

HEADERS = st.lists(
    st.sampled_from(
        [
            *(b"Content-Length: 5", b"Content-Length: -1", b"Content-Length: 99999999999999999999"),
            *(b"Content-Length: 1, 2", b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked"),
            *(b"Content-Encoding: gzip", b"Content-Encoding: \xff", b"Location: \xff://[", b"Retry-After: \xff"),
            *(b"Retry-After: 99999999999999999999", b"Set-Cookie: \x00", b"Connection: close", b": nameless"),
            *(b" folded", b"A" * 70_000, b"Content-Type: text/html; charset=\xff"),
        ]
    ),
    max_size=4,
)
HEADS = st.sampled_from(
    [
        *(b"HTTP/1.1 200 OK", b"HTTP/1.1 204 None", b"HTTP/1.0 307 Go", b"HTTP/1.1 422 No", b"HTTP/1.1 503 Busy"),
        *(b"HTTP/1.1 100 Continue", b"HTTP/1.1 999 ?", b"HTTP/1.1 0 ?", b"HTTP/9.9 200 OK", b"HTTP/1.1 -5 ?"),
        *(
            b"HTTP/1.1 99999999999 ?",
            b"HTTP/1.1 \xff",
            b"SSH-2.0-OpenSSH_9.2",
            b"\x15\x03\x01\x00\x02\x02\x46",
            b"",
        ),
    ]
)
BODIES = st.binary(max_size=300) | st.sampled_from(
    [b"5\r\nhello\r\n0\r\n\r\n", b"ffffffffffffffff\r\n", b"zz\r\n"]
)


class Server:
    """Sends one prepared answer to each client."""

    def __init__(self) -> None:
        self.answer = b""

    def serve(self, connection: Any, ended: threading.Event) -> None:
        """Answers one client."""
        read_request(connection)
        connection.sendall(self.answer)


@contextmanager
def serving() -> Iterator[tuple[Server, str]]:
    """A server, and its URL."""
    server = Server()
    with RawReceiver(server.serve) as raw:
        yield server, raw.url


@settings(max_examples=150)
@given(HEADS, HEADERS, BODIES)
def test_no_answer_of_a_receiver_is_a_bug(head: bytes, headers: list[bytes], body: bytes) -> None:
    """Whatever a receiver answers, the delivery succeeds or fails with a class of the failure table."""
    server, url = RECEIVER
    server.answer = b"\r\n".join([head, *headers, b"", body])
    destination = Webhook(connection("webhook", {"url": url, "timeout_seconds": 1}))
    try:
        destination.deliver(DELIVERY, None)
    except DeliveryFailed:
        pass
    finally:
        destination.close()


RECEIVER: tuple[Server, str]


@pytest.fixture(scope="module", autouse=True)
def _receiver() -> Iterator[None]:
    global RECEIVER  # hypothesis doesn't reset fixtures between examples
    with serving() as RECEIVER:
        yield


def answers() -> st.SearchStrategy[bytes]:
    """Bodies of Stash's answers: JSON of any shape, often that of an answer, or no JSON at all."""
    scene = st.dictionaries(st.sampled_from(["id", "title", "files", "tags", "studio", "updated_at"]), VALUES)
    plugins: st.SearchStrategy[Any] = st.fixed_dictionaries({"plugins": VALUES | st.just({"stash_plugin": {}})})
    data = st.fixed_dictionaries(
        {},
        optional={
            "s0": scene | VALUES,
            "configuration": plugins | VALUES,
            "plugins": VALUES,
            "findScenes": VALUES,
        },
    )
    whole = st.fixed_dictionaries({}, optional={"data": data | VALUES, "errors": VALUES})
    return st.binary(max_size=60) | (whole | VALUES).map(lambda value: json.dumps(value).encode())


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(answers(), st.sampled_from([b"200 OK", b"204 None", b"401 No", b"302 Go\r\nLocation: /login", b"500 Oh"]))
def test_no_answer_of_stash_is_a_bug(tmp_path: Path, body: bytes, status: bytes) -> None:
    """Whatever Stash answers, the worker waits for Stash or treats that one scene as broken; it never crashes."""
    server, url = RECEIVER
    server.answer = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nConnection: close\r\n" % status
    server.answer += b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    port = int(url.rstrip("/").rpartition(":")[2])
    place = {"scheme": "http", "host": "127.0.0.1", "port": port, "dir": "", "plugin_dir": ""}
    (tmp_path / files.STASH).write_text(json.dumps({**place, "cookie": "", "at": 0.0}))
    stash = Stash(tmp_path, timeout=1.0)
    try:
        for ask in (stash.plugin_state, lambda: stash.scenes([5])):
            with contextlib.suppress(StashUnavailable):
                ask()
    finally:
        stash.close()
