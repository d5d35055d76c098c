"""The web server of the stand-in: HTTP/1.1 on 127.0.0.1 with a thread per connection, all ended by ``close``."""

from __future__ import annotations

import math
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.standin.stash.processes import Cancel

_POLL = 0.02  # seconds between checks whether a thread must end
_IDLE = 120.0  # seconds that a connection may be idle


class ClientGone:
    """Set when the client closes its connection, like Go's request context."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._readable = select.poll()
        self._readable.register(connection, select.POLLIN)
        self._gone = False

    def is_set(self) -> bool:
        """Checks for the end of the stream without reading from it."""
        if not self._gone and self._readable.poll(0):
            try:
                self._gone = self._connection.recv(1, socket.MSG_PEEK) == b""
            except OSError:  # reset
                self._gone = True
        return self._gone


def wait(cancel: Cancel, seconds: float = math.inf) -> bool:
    """Waits until an operation is cancelled; returns False at the timeout."""
    end = time.monotonic() + seconds
    while not cancel.is_set():
        if (left := end - time.monotonic()) <= 0:
            return False
        time.sleep(min(left, _POLL))
    return True


@dataclass(frozen=True, slots=True)
class Request:
    """A complete HTTP request."""

    method: str
    path: str  # without the query
    query: Mapping[str, list[str]]
    headers: Message
    body: bytes
    client: Cancel  # set when the client disconnects


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP answer."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()


Site = Callable[[Request], Response | None]  # None: no answer, the connection is closed


class WebServer:
    """A running HTTP server.

    Args:
        port: 0 for any free port.
        on_crash: called with the exception that ended a request's thread, except when the client disconnected.

    Raises:
        OSError: the port is taken.
    """

    def __init__(self, port: int, site: Site, on_crash: Callable[[BaseException], None]) -> None:
        self._http = _Http(port, site, on_crash)
        self.port: int = self._http.server_address[1]
        self._thread = threading.Thread(
            target=self._http.serve_forever, args=(_POLL,), name="stand-in stash", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stops listening and drops all connections, which cancels what runs for them."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
        self._http.drop_all()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, site: Site, on_crash: Callable[[BaseException], None]) -> None:
        self.site = site
        self._on_crash = on_crash
        self._lock = threading.Lock()
        self._open: dict[threading.Thread, socket.socket] = {}
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(
            target=self.process_request_thread,
            args=(request, client_address),
            name="stand-in stash connection",
            daemon=True,
        )
        with self._lock:
            self._open[thread] = request
        thread.start()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                del self._open[threading.current_thread()]

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, ConnectionError | TimeoutError):
            self._on_crash(error)

    def drop_all(self) -> None:
        """Ends the threads of all connections."""
        with self._lock:
            threads = list(self._open)
            for connection in self._open.values():
                with suppress(OSError):  # the client has disconnected
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # send head and body in one packet
    disable_nagle_algorithm = True
    timeout = _IDLE
    server: _Http

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def finish(self) -> None:
        """Closes both directions, also when the client left before it had read the answer."""
        with suppress(OSError):
            self.wfile.close()
        self.rfile.close()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  http.server's name
        """Stash doesn't log requests either."""

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        client = ClientGone(self.connection)
        response = self.server.site(
            Request(self.command, parts.path, parse_qs(parts.query), self.headers, body, client)
        )
        if response is None:
            self.close_connection = True
            return
        self.send_response(response.status)
        for name, value in response.headers:
            self.send_header(name, value)
        self.send_header("Content-Type", response.content_type)
        self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        self.wfile.write(response.body)
