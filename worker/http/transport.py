"""Sockets with a wall-clock deadline, below ``requests``.

A socket's timeout starts again with every byte, so a server that sends slowly can hold a request for as long as it
likes. Here one watchdog thread shuts down a request's sockets at its deadline: while it connects, during the TLS
handshake, while it sends, and while it reads headers and body. Names are resolved in another thread, because
nothing can interrupt the system's resolver. What an error means is in client.py.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import ipaddress
import logging
import math
import socket
import ssl
import threading
import time
from concurrent.futures import Future
from contextvars import ContextVar
from typing import Any, Self, cast

import certifi
from requests import PreparedRequest
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.response import HTTPResponse

# At WARNING urllib3 logs whole URLs, whose path and query may contain a token.
logging.getLogger("urllib3").setLevel(logging.CRITICAL)

Address = tuple[socket.AddressFamily, tuple[Any, ...]]  # family and what connect() takes
Lookup = Future[tuple[list[Address], tuple[object, ...]]]  # the addresses, or else a gaierror's arguments

_CERTIFI = certifi.contents()  # read once: an update of the plugin deletes the file for a moment

_lookups: dict[tuple[str, int], Lookup] = {}  # in progress
_lookups_lock = threading.Lock()


class LinkLocalRefused(OSError):
    """The host's address is link-local: clouds serve credentials there, and no media server is there."""


class TimedRequest:
    """One request in progress: its deadline, and the sockets to shut down then. Entered by its thread.

    It has duplicates of the sockets: urllib3 closes and wraps the originals, and a shutdown through a duplicate
    reaches the connection below any TLS layer without touching that layer's state.
    """

    def __init__(self, watchdog: Watchdog, deadline: float, fresh: bool) -> None:
        self.deadline = deadline  # monotonic seconds
        self.fresh = fresh  # True: it must open a connection, not reuse one
        self.connected = False  # it opened a connection
        self.fired = False  # the deadline passed, so the outcome is a timeout even if an answer came
        self._watchdog = watchdog
        self._handles: list[socket.socket] = []  # duplicates of its sockets
        self._dropped: list[socket.socket] = []  # those of them whose connections have ended

    def __enter__(self) -> Self:
        self._token = _current.set(self)
        self._watchdog.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)
        self._watchdog.remove(self)
        for handle in self._dropped:
            handle.close()

    def guard(self, handle: socket.socket) -> None:
        """Adds a socket to shut down at the deadline; TimeoutError if that has already passed."""
        with self._watchdog.lock:
            if self.fired:
                raise TimeoutError("the deadline has passed")
            self._handles.append(handle)

    def drop(self, handle: socket.socket) -> None:
        """Takes over a handle whose connection ends: an answer may still be read from its socket."""
        self._dropped.append(handle)

    def fire(self) -> None:
        """Shuts down the sockets. The caller holds the watchdog's lock."""
        self.fired = True
        for handle in self._handles:
            with contextlib.suppress(OSError):  # already closed by the other side
                handle.shutdown(socket.SHUT_RDWR)


_current: ContextVar[TimedRequest | None] = ContextVar("timed request", default=None)


class Watchdog:
    """Ends requests at their deadline, in one thread. The first request starts it; ``close`` ends it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._changed = threading.Condition(self.lock)
        self._requests: set[TimedRequest] = set()
        self._wakes_at = math.inf
        self._thread: threading.Thread | None = None
        self.closed = False  # True after ``close``

    def timed(self, deadline: float, *, fresh: bool = False) -> TimedRequest:
        """A context in which what this thread sends through a ``GuardedAdapter`` ends at the deadline.

        ``deadline`` is in monotonic seconds; after ``close`` it has passed from the start. ``fresh``: reuses no
        connection.
        """
        return TimedRequest(self, deadline, fresh)

    def close(self) -> None:
        """Ends every request in progress, and the thread."""
        with self.lock:
            self.closed = True
            for request in self._requests:
                request.fire()
            self._changed.notify()
            thread = self._thread
        if thread is not None:
            thread.join()

    def add(self, request: TimedRequest) -> None:
        """Watches a request from now on."""
        with self.lock:
            if self.closed:
                request.fire()
                return
            self._requests.add(request)
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="http deadline", daemon=True)
                thread.start()
                self._thread = thread
            elif request.deadline < self._wakes_at:
                self._changed.notify()

    def remove(self, request: TimedRequest) -> None:
        """Forgets a request that has ended."""
        with self.lock:
            self._requests.discard(request)

    def _run(self) -> None:
        with self.lock:
            while not self.closed:
                now = time.monotonic()
                for request in [r for r in self._requests if r.deadline <= now]:
                    self._requests.discard(request)
                    request.fire()
                self._wakes_at = min((r.deadline for r in self._requests), default=math.inf)
                self._changed.wait(None if self._wakes_at == math.inf else self._wakes_at - now)


class _GuardedConnection(HTTPConnection):
    """A connection that belongs to the request of the thread that uses it."""

    _handle: socket.socket | None = None  # a duplicate of its socket
    _unsent: list[bytes] | None = None  # parts of a request that go out together

    def connect(self) -> None:
        """Connects. A reset is reported as such: urllib3 takes it for one that came with an early answer."""
        try:
            super().connect()
        except (ConnectionResetError, BrokenPipeError) as error:
            raise ConnectionAbortedError(errno.ECONNABORTED, error.strerror) from error

    def _new_conn(self) -> socket.socket:
        request = _request_of_thread()
        sock = _connect(self._dns_host, self.port, request.deadline)
        try:
            for option in self.socket_options or ():
                sock.setsockopt(*option)
            self._handle = socket.fromfd(sock.fileno(), sock.family, sock.type)
            request.guard(self._handle)
        except OSError:
            sock.close()
            raise
        request.connected = True
        return sock

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Sends head and body together: sent one after another, they wake the receiver twice."""
        request = _request_of_thread()
        if self._handle is not None and not request.connected:
            request.guard(self._handle)
        self._unsent = []
        super().request(*args, **kwargs)
        unsent, self._unsent = self._unsent, None
        self.send(b"".join(unsent))

    def send(self, data: Any) -> None:
        """Sends a part of a request, or keeps it until the request is complete."""
        if self._unsent is None:
            super().send(data)
        else:
            self._unsent.append(data)

    def close(self) -> None:
        handle, self._handle = self._handle, None
        super().close()
        if handle is not None:
            request = _current.get()
            if request is None:
                handle.close()
            else:
                request.drop(handle)

    def getresponse(self) -> HTTPResponse:  # type: ignore[override] # as in urllib3
        """Hides cookies (not in headers) from the jar of requests, which logs a traceback for invalid ones."""
        response = super().getresponse()
        del response._original_response.msg["Set-Cookie"]  # type: ignore[union-attr]
        return response

    @property
    def is_connected(self) -> bool:
        return not _request_of_thread().fresh and super().is_connected


def _request_of_thread() -> TimedRequest:
    request = _current.get()
    assert request is not None, "outside of Watchdog.timed"
    return request


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

    def pool(self, request: PreparedRequest) -> HTTPConnectionPool:
        """The connections to a request's host."""
        return cast(HTTPConnectionPool, self.get_connection_with_tls_context(request, verify=True))

    def close(self) -> None:
        """Closes the connections that are not in use.

        The inherited method only forgets the pools. A socket would stay open while anything, such as an error's
        traceback, refers to a response that came through it.
        """
        pools = self.poolmanager.pools
        for key in pools.keys():  # noqa: SIM118, the container can't be iterated
            pools[key].close()
        super().close()

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Does nothing: the TLS context verifies. The inherited method reads certifi's file each time."""


@functools.lru_cache(maxsize=8)
def _tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Trusts the system's certificates (or those of SSL_CERT_FILE, see OpenSSL) and certifi's.

    Both are needed: owners can add their own certificate only to the system's, which may be empty in a container.
    """
    context = ssl.create_default_context()
    context.load_verify_locations(cadata=_CERTIFI)
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
