"""Receivers on loopback for tests and the demo: one that records requests, and one that misbehaves below HTTP.

They check nothing and know nothing about Stash Courier.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from tests.standin.ports import reserve


@dataclass(frozen=True, slots=True)
class Received:
    """A received request."""

    at: float  # wall time, unix seconds
    method: str
    path: str  # with the query
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    def json(self) -> Any:
        """The parsed body."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay: float = 0.0  # seconds before answering


Answers = Reply | Callable[[Received], Reply]


class Receiver:
    """Records every request; a context manager that is up inside the block.

    Args:
        answer: the answer to every request; can be changed through ``answer``.
        port: 0 for any free port; ``down`` and ``up`` keep it.
        tls: PEM file with certificate and key, for https.
    """

    def __init__(self, answer: Answers = Reply(), *, port: int = 0, tls: str | None = None) -> None:
        self.answer = answer
        self.port = port
        self._tls = tls
        self._next: deque[Answers] = deque()
        self._received: list[Received] = []
        self._changed = threading.Condition()
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self._reserved: socket.socket | None = None

    @property
    def url(self) -> str:
        """The URL it listens at."""
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}/"

    @property
    def received(self) -> tuple[Received, ...]:
        """All requests so far, in order of arrival."""
        with self._changed:
            return tuple(self._received)

    def answer_next(self, *answers: Answers) -> None:
        """Answers the next requests with these, one each, before ``answer`` applies again."""
        with self._changed:
            self._next.extend(answers)

    def wait_for(self, count: int, timeout: float = 10.0) -> tuple[Received, ...]:
        """Waits until ``count`` requests have arrived in total; returns all. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._received) >= count, timeout):
                raise TimeoutError(f"{len(self._received)} of {count} requests arrived within {timeout} s")
            return tuple(self._received)

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._server.open) if self._server else 0

    def up(self) -> None:
        """Starts to listen, on the same port as before."""
        if self._reserved is None:
            # Otherwise the system may give the port to another program while this one is down.
            self._reserved = reserve(self.port)
            weakref.finalize(self, self._reserved.close)
            self.port = self._reserved.getsockname()[1]
        self._server = _Server(self.port, self._take, self._tls)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="receiver")
        self._thread.start()

    def down(self) -> None:
        """Stops like a crash: open connections break, new ones are refused."""
        server, thread = self._server, self._thread
        self._server = self._thread = None
        if server is not None and thread is not None:
            server.shutdown()
            thread.join()
            server.stopping.set()
            server.drop_connections()
            server.server_close()  # waits for the threads of the connections

    def drop_connections(self) -> None:
        """Closes all open connections, as servers do with idle ones."""
        if self._server is not None:
            self._server.drop_connections()

    def _take(self, received: Received) -> Reply:
        with self._changed:
            self._received.append(received)
            self._changed.notify_all()
            answer = self._next.popleft() if self._next else self.answer
        return answer if isinstance(answer, Reply) else answer(received)

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()


class Held:
    """An answer that comes when the test allows it, after at most a minute."""

    def __init__(self, status: int = 200) -> None:
        self.asked, self.may_answer = threading.Event(), threading.Event()
        self._status = status

    def __call__(self, _: Received) -> Reply:
        self.asked.set()
        self.may_answer.wait(60.0)
        return Reply(self._status)


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # server_close waits for them
    request_queue_size = 128

    def __init__(self, port: int, take: Callable[[Received], Reply], tls: str | None) -> None:
        self.take = take
        self.stopping = threading.Event()
        self.open: set[socket.socket] = set()
        self._tls = None if tls is None else server_context(tls)
        super().__init__(("127.0.0.1", port), _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        if self._tls is not None:  # the connection's thread makes the handshake
            connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        self.open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def drop_connections(self) -> None:
        for connection in list(self.open):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Prints nothing: tests make clients disconnect."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # send head and body in one packet
    disable_nagle_algorithm = True
    server: _Server

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(length)
        if len(body) < length:  # the client died while it sent: no request arrived
            self.close_connection = True
            return
        reply = self.server.take(Received(time.time(), self.command, self.path, headers, body))
        if reply.delay and self.server.stopping.wait(reply.delay):
            self.close_connection = True
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.status >= 200 and reply.status != 204:
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _answer  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Logs nothing."""


Script = Callable[[socket.socket, threading.Event], None]


class RawReceiver:
    """Accepts connections and runs a script for each; a context manager.

    The script gets the connection and an event that is set when the receiver stops. The connection is closed after
    the script. With ``tls`` the handshake is already done.
    """

    def __init__(self, script: Script, *, tls: str | None = None) -> None:
        self._script = script
        self._tls = None if tls is None else server_context(tls)
        self._ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self.accepted = 0
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}/"

    def __enter__(self) -> Self:
        self._threads.append(threading.Thread(target=self._accept, name="raw receiver"))
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._listener.shutdown(socket.SHUT_RDWR)  # ends accept()
        self._threads[0].join()
        self._listener.close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            self._open.add(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), name="raw connection")
            self._threads.append(thread)
            thread.start()

    def _serve(self, raw: socket.socket) -> None:
        connection = raw
        with contextlib.suppress(OSError):  # the client disconnected
            if self._tls is not None:
                connection = self._tls.wrap_socket(raw, server_side=True)
                self._open.add(connection)
            self._script(connection, self._ended)
        self._open -= {raw, connection}
        connection.close()


def server_context(pem: str) -> ssl.SSLContext:
    """A TLS context for a server with the certificate and key in this PEM file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


# Scripts of bad receivers. All but the first read the request before they answer.


def never_answer(connection: socket.socket, ended: threading.Event) -> None:
    """Reads nothing and sends nothing."""
    ended.wait()


def drip(head: bytes, every: float) -> Script:
    """Sends a head, then one byte every ``every`` seconds without end."""

    def script(connection: socket.socket, ended: threading.Event) -> None:
        read_request(connection)
        connection.sendall(head)
        while not ended.wait(every):
            connection.sendall(b"x")

    return script


def say(*pieces: bytes) -> Script:
    """Sends these bytes and closes the connection."""

    def script(connection: socket.socket, ended: threading.Event) -> None:
        read_request(connection)
        for piece in pieces:
            connection.sendall(piece)

    return script


def flood(head: bytes, block: bytes, blocks: int, sent: list[int]) -> Script:
    """Sends a head and ``blocks`` blocks; appends to ``sent`` how many bytes of them the client accepted."""

    def script(connection: socket.socket, ended: threading.Event) -> None:
        read_request(connection)
        connection.sendall(head)
        sent.append(0)
        for _ in range(blocks):
            connection.sendall(block)
            sent[-1] += len(block)

    return script


def reset(connection: socket.socket, ended: threading.Event) -> None:
    """Reads the request and resets the connection."""
    read_request(connection)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def read_request(connection: socket.socket) -> bytes:
    """Reads and returns one request with its body; b"" if the client disconnects first."""
    got = b""
    while b"\r\n\r\n" not in got:
        piece = connection.recv(65536)
        if not piece:
            return b""
        got += piece
    head, _, body = got.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    missing = int(lengths[0]) - len(body) if lengths else 0
    while missing > 0:
        piece = connection.recv(min(missing, 65536))
        if not piece:
            break
        missing -= len(piece)
        got += piece
    return got
