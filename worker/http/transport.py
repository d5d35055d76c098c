"""Sockets with a wall-clock deadline, below ``requests``.

A socket's timeout starts again with every byte, so a server that sends slowly can hold a request for as long as it
likes. Here one watchdog thread shuts down a request's sockets at its deadline: while it connects, during the TLS
handshake, while it sends, and while it reads headers and body. Names are resolved in another thread, because
nothing can interrupt the system's resolver. What an error means is in client.py.
"""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import logging
import math
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextvars import ContextVar
from typing import Any

import certifi
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.response import HTTPResponse

# At WARNING urllib3 logs whole URLs, whose path and query may contain a token.
logging.getLogger("urllib3").setLevel(logging.CRITICAL)

Address = tuple[socket.AddressFamily, tuple[Any, ...]]  # family and what connect() takes
Lookup = Future[tuple[list[Address], tuple[object, ...]]]  # the addresses, or else a gaierror's arguments

_lookups: dict[tuple[str, int], Lookup] = {}  # in progress
_lookups_lock = threading.Lock()


class LinkLocalRefused(OSError):
    """The host's address is link-local: clouds serve credentials there, and no media server is there."""


class TimedRequest:
    """One request in progress: its deadline, and the sockets to shut down then."""

    def __init__(self, deadline: float, fresh: bool, lock: threading.Condition) -> None:
        self.deadline = deadline  # monotonic seconds
        self.fresh = fresh  # True: it must open a connection, not reuse one
        self.connected = False  # it opened a connection
        self.fired = False  # the deadline passed, so the outcome is a timeout even if an answer came
        self._lock = lock
        self.handles: list[socket.socket] = []  # duplicates of its sockets

    def guard(self, sock: socket.socket) -> None:
        """Adds a socket to shut down at the deadline; TimeoutError if that has already passed.

        Keeps a duplicate: urllib3 closes and wraps the original, and a shutdown through a duplicate reaches the
        connection below any TLS layer without touching that layer's state.
        """
        with self._lock:
            if self.fired:
                raise TimeoutError("the deadline has passed")
            self.handles.append(socket.fromfd(sock.fileno(), sock.family, sock.type))

    def fire(self) -> None:
        """Shuts down the sockets. The caller holds the lock."""
        self.fired = True
        for handle in self.handles:
            with contextlib.suppress(OSError):  # already closed by the other side
                handle.shutdown(socket.SHUT_RDWR)


_current: ContextVar[TimedRequest] = ContextVar("timed request")


class Watchdog:
    """Ends requests at their deadline, in one thread. The first request starts it; ``close`` ends it."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._requests: set[TimedRequest] = set()
        self._wakes_at = math.inf
        self._thread: threading.Thread | None = None
        self.closed = False  # True after ``close``

    @contextlib.contextmanager
    def timed(self, deadline: float, *, fresh: bool = False) -> Iterator[TimedRequest]:
        """Ends what this thread sends through a ``GuardedAdapter`` inside the block at the deadline.

        ``deadline`` is in monotonic seconds; after ``close`` it has passed from the start. ``fresh``: reuses no
        connection.
        """
        request = TimedRequest(deadline, fresh, self._lock)
        self._add(request)
        token = _current.set(request)
        try:
            yield request
        finally:
            _current.reset(token)
            with self._lock:
                self._requests.discard(request)
            for handle in request.handles:
                handle.close()

    def close(self) -> None:
        """Ends every request in progress, and the thread."""
        with self._lock:
            self.closed = True
            for request in self._requests:
                request.fire()
            self._lock.notify()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _add(self, request: TimedRequest) -> None:
        with self._lock:
            if self.closed:
                request.fire()
                return
            self._requests.add(request)
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="http deadline", daemon=True)
                thread.start()
                self._thread = thread
            elif request.deadline < self._wakes_at:
                self._lock.notify()

    def _run(self) -> None:
        with self._lock:
            while not self.closed:
                now = time.monotonic()
                for request in [r for r in self._requests if r.deadline <= now]:
                    self._requests.discard(request)
                    request.fire()
                self._wakes_at = min((r.deadline for r in self._requests), default=math.inf)
                self._lock.wait(None if self._wakes_at == math.inf else self._wakes_at - now)


class _GuardedConnection(HTTPConnection):
    """A connection whose sockets belong to the request of the thread that uses it."""

    def _new_conn(self) -> socket.socket:
        request = _current.get()
        sock = _connect(self._dns_host, self.port, request.deadline)
        try:
            for option in self.socket_options or ():
                sock.setsockopt(*option)
            request.guard(sock)
        except OSError:
            sock.close()
            raise
        request.connected = True
        return sock

    def request(self, *args: Any, **kwargs: Any) -> None:
        request = _current.get()
        if self.sock is not None and not request.connected:
            request.guard(self.sock)
        super().request(*args, **kwargs)

    def getresponse(self) -> HTTPResponse:  # type: ignore[override] # as in urllib3
        """Hides cookies (not in headers) from the jar of requests, which logs a traceback for invalid ones."""
        response = super().getresponse()
        del response._original_response.msg["Set-Cookie"]  # type: ignore[union-attr]
        return response

    @property
    def is_connected(self) -> bool:
        return not _current.get().fresh and super().is_connected


class _GuardedTLSConnection(_GuardedConnection, HTTPSConnection):
    """The same, with TLS over the guarded socket."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _GuardedConnection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _GuardedTLSConnection


class GuardedAdapter(HTTPAdapter):
    """Sends for ``requests``, only inside ``Watchdog.timed``.

    Args:
        connections: how many connections are kept open.
        ca_file: a PEM file of certificates to trust in addition to the system's and certifi's.
        context: for TLS, instead of the one that trusts those certificates. urllib3 changes it.
    """

    def __init__(
        self, connections: int, ca_file: str | None = None, *, context: ssl.SSLContext | None = None
    ) -> None:
        self._ca_file = ca_file
        self._context = context
        super().__init__(pool_connections=2, pool_maxsize=connections)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}

    def build_connection_pool_key_attributes(self, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """As ``requests`` documents it for a custom TLS context."""
        host, pool = super().build_connection_pool_key_attributes(*args, **kwargs)
        if host["scheme"] == "https":
            pool["ssl_context"] = self._context or _tls_context(self._ca_file)
        return host, pool

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Does nothing: the TLS context verifies. The inherited method reads certifi's file each time."""


@functools.lru_cache(maxsize=8)
def _tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Trusts the system's certificates (or those of SSL_CERT_FILE, see OpenSSL) and certifi's.

    Both are needed: owners can add their own certificate only to the system's, which may be empty in a container.
    """
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context


def _connect(host: str, port: int, deadline: float) -> socket.socket:
    """A TCP connection to the first address that answers; the remaining time is divided among the addresses.

    LinkLocalRefused goes by the address, not by how the URL spells it, so integer forms, mapped IPv6 and names
    that point there are refused too.
    """
    found = _resolve(host.strip("[]"), port, deadline)
    usable = [address for address in found if not _is_link_local(address)]
    if not usable:
        raise LinkLocalRefused(f"{host} is a link-local address")
    error: OSError = TimeoutError("no time left to connect")
    for tried, (family, address) in enumerate(usable):
        left = deadline - time.monotonic()
        if left <= 0:
            break
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(left / (len(usable) - tried))
            sock.connect(address)
            sock.settimeout(left)
        except OSError as failed:
            sock.close()
            error = failed
        else:
            return sock
    raise error


def _is_link_local(address: Address) -> bool:
    ip = ipaddress.ip_address(address[1][0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        return ip.ipv4_mapped.is_link_local
    return ip.is_link_local


def _resolve(host: str, port: int, deadline: float) -> list[Address]:
    """The host's addresses. Raises TimeoutError or socket.gaierror if there are none.

    All who ask for the same host meanwhile share one query to the system's resolver, so a resolver that hangs
    holds one thread per host, however often the host is tried.
    """
    with contextlib.suppress(OSError, UnicodeError):
        return _query_resolver(host, port, socket.AI_NUMERICHOST)  # an address needs no lookup
    with _lookups_lock:
        lookup = _lookups.get((host, port))
        if lookup is None:
            lookup = Future()
            threading.Thread(target=_look_up, args=(host, port, lookup), name="http lookup", daemon=True).start()
            _lookups[host, port] = lookup
    found, error = lookup.result(max(deadline - time.monotonic(), 0))
    if not found:
        raise socket.gaierror(*error)
    return found


def _look_up(host: str, port: int, lookup: Lookup) -> None:
    found: list[Address] = []
    error: tuple[object, ...] = (socket.EAI_FAIL, "the lookup failed")
    try:
        found = _query_resolver(host, port)
    except UnicodeError:  # a part of the name is empty or too long
        error = (socket.EAI_NONAME, "not a host name")
    except OSError as failed:
        error = failed.args
    finally:
        with _lookups_lock:
            del _lookups[host, port]
        lookup.set_result((found, error))


def _query_resolver(host: str, port: int, flags: int = 0) -> list[Address]:
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return [(family, address) for family, _, _, _, address in answers]
