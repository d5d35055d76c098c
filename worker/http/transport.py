"""Sockets with a wall deadline, under ``requests``: the part of the HTTP policy that lives below HTTP.

A time-out on a socket counts from the last byte, so a server that drips holds a request for as long as it
likes. Here one watchdog thread shuts the sockets of a request down when its time is over: while connecting,
in a TLS handshake, sending, in the headers and in the body. Addresses are looked up in a thread of their own,
because nothing interrupts the system's resolver. What an error means is said in http.py, not here.
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
from contextvars import ContextVar
from typing import Any, ClassVar

import certifi
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.response import HTTPResponse

# At WARNING urllib3 logs whole URLs, whose path and query may be a token.
logging.getLogger("urllib3").setLevel(logging.CRITICAL)

Address = tuple[socket.AddressFamily, tuple[Any, ...]]  # family and what connect() takes


class LinkLocalRefused(OSError):
    """The host's address is link-local: where clouds keep their credentials, and no media server lives."""


class TimedRequest:
    """One request on the wire: when it must end, and the sockets that end with it."""

    def __init__(self, deadline: float, fresh: bool, lock: threading.Condition) -> None:
        self.deadline = deadline  # monotonic seconds
        self.fresh = fresh  # True: no kept connection may be used
        self.connected = False  # it opened its connection itself
        self.fired = False  # the deadline passed, so the outcome is a time-out whatever came back
        self._lock = lock
        self._handles: list[socket.socket] = []

    def guard(self, sock: socket.socket) -> None:
        """Ties the socket to the deadline.

        Keeps a duplicate: urllib3 closes and wraps the original as it goes, and a shutdown through a
        duplicate reaches the connection under any TLS layer without touching that layer's state.

        Raises:
            TimeoutError: the deadline has passed already.
        """
        with self._lock:
            if self.fired:
                raise TimeoutError("the deadline has passed")
            self._handles.append(socket.fromfd(sock.fileno(), sock.family, sock.type))

    def fire(self) -> None:
        """Shuts the sockets down; the caller holds the lock."""
        self.fired = True
        for handle in self._handles:
            with contextlib.suppress(OSError):  # the other side was first
                handle.shutdown(socket.SHUT_RDWR)

    def release(self) -> None:
        """Lets go of the sockets; the caller holds the lock."""
        for handle in self._handles:
            handle.close()
        self._handles.clear()


_current: ContextVar[TimedRequest] = ContextVar("attempt")


class Watchdog:
    """Ends attempts at their deadline: one thread, started with the first attempt, ended by ``close``."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._attempts: set[TimedRequest] = set()
        self._wakes_at = math.inf
        self._thread: threading.Thread | None = None
        self._closed = False

    @contextlib.contextmanager
    def attempt(self, deadline: float, *, fresh: bool = False) -> Iterator[TimedRequest]:
        """Everything this thread sends through a ``GuardedAdapter`` inside the block ends at the deadline.

        After ``close`` an attempt has fired from the start.
        """
        attempt = TimedRequest(deadline, fresh, self._lock)
        self._add(attempt)
        token = _current.set(attempt)
        try:
            yield attempt
        finally:
            _current.reset(token)
            with self._lock:
                self._attempts.discard(attempt)
                attempt.release()

    def close(self) -> None:
        """Ends every attempt that is under way, and the thread."""
        with self._lock:
            self._closed = True
            for attempt in self._attempts:
                attempt.fire()
            self._lock.notify()
            thread = self._thread
        if thread is not None:
            thread.join()

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._closed

    def _add(self, attempt: TimedRequest) -> None:
        with self._lock:
            if self._closed:
                attempt.fire()
                return
            self._attempts.add(attempt)
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="http deadline", daemon=True)
                thread.start()
                self._thread = thread
            elif attempt.deadline < self._wakes_at:
                self._lock.notify()

    def _run(self) -> None:
        with self._lock:
            while not self._closed:
                now = time.monotonic()
                for attempt in [a for a in self._attempts if a.deadline <= now]:
                    self._attempts.discard(attempt)
                    attempt.fire()
                self._wakes_at = min((a.deadline for a in self._attempts), default=math.inf)
                self._lock.wait(None if self._wakes_at == math.inf else self._wakes_at - now)


class _GuardedConnection(HTTPConnection):
    """A connection whose sockets belong to the attempt of the thread that uses it."""

    def _new_conn(self) -> socket.socket:
        attempt = _current.get()
        sock = _connect(self._dns_host, self.port, attempt.deadline)
        try:
            for option in self.socket_options or ():
                sock.setsockopt(*option)
            attempt.guard(sock)
        except OSError:
            sock.close()
            raise
        attempt.connected = True
        return sock

    def request(self, *args: Any, **kwargs: Any) -> None:
        attempt = _current.get()
        if self.sock is not None and not attempt.connected:
            attempt.guard(self.sock)
        super().request(*args, **kwargs)

    def getresponse(self) -> HTTPResponse:  # type: ignore[override] # as in urllib3
        """Hides cookies from the jar that requests fills: it answers odd ones with a warning and a traceback.

        They stay in the response's headers.
        """
        response = super().getresponse()
        del response._original_response.msg["Set-Cookie"]  # type: ignore[union-attr]
        return response

    @property
    def is_connected(self) -> bool:
        return not _current.get().fresh and super().is_connected


class _GuardedTLSConnection(_GuardedConnection, HTTPSConnection):
    """The same with TLS above the guarded socket."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _GuardedConnection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _GuardedTLSConnection


class GuardedAdapter(HTTPAdapter):
    """Sends for ``requests``, inside a ``Watchdog.attempt`` only; verifies TLS always.

    Args:
        connections: how many connections are kept alive.
        ca_file: a PEM file of certificates to trust besides the system's and certifi's.
    """

    def __init__(self, connections: int, ca_file: str | None = None) -> None:
        self._ca_file = ca_file
        super().__init__(pool_connections=2, pool_maxsize=connections)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}

    def build_connection_pool_key_attributes(self, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """As ``requests`` documents for a TLS context of one's own."""
        host, pool = super().build_connection_pool_key_attributes(*args, **kwargs)
        if host["scheme"] == "https":
            pool["ssl_context"] = _tls_context(self._ca_file)
        return host, pool

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Nothing: the context verifies; the inherited one would read certifi's file for every connection."""


@functools.lru_cache(maxsize=8)
def _tls_context(ca_file: str | None) -> ssl.SSLContext:
    """The system's certificates (or those of SSL_CERT_FILE, as OpenSSL has it) and certifi's.

    Both, because an owner can add a certificate of their own to the first only, and a container's may be empty.
    """
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context


def _connect(host: str, port: int, deadline: float) -> socket.socket:
    """A TCP connection to the first address that answers; each gets its share of the time that is left.

    Raises:
        LinkLocalRefused: the host has link-local addresses only. It is the address we connect to that counts,
            not the URL's spelling, so integer forms, mapped IPv6 and names that point there are refused too.
        OSError: what the last address failed with; socket.gaierror if there is none.
        TimeoutError: the deadline passed.
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


class _Lookup:
    """One question to the system's resolver; all who ask the same meanwhile wait for the same answer.

    So a resolver that hangs holds one thread per host, however often the host is tried.
    """

    _running: ClassVar[dict[tuple[str, int], _Lookup]] = {}
    _lock = threading.Lock()

    def __init__(self, host: str, port: int) -> None:
        self._key = (host, port)
        self._done = threading.Event()
        self._found: list[Address] = []
        self._why_not: tuple[object, ...] = (socket.EAI_FAIL, "the lookup failed")

    @classmethod
    def of(cls, host: str, port: int) -> _Lookup:
        """The lookup that is running for this host, else a new one."""
        with cls._lock:
            lookup = cls._running.get((host, port))
            if lookup is None:
                lookup = cls(host, port)
                threading.Thread(target=lookup._run, name="http lookup", daemon=True).start()
                cls._running[host, port] = lookup
            return lookup

    def wait(self, deadline: float) -> list[Address]:
        """The host's addresses; TimeoutError or socket.gaierror if there are none."""
        if not self._done.wait(max(deadline - time.monotonic(), 0)):
            raise TimeoutError("the host name was not found in time")
        if not self._found:
            raise socket.gaierror(*self._why_not)
        return self._found

    def _run(self) -> None:
        try:
            self._found = _ask_system(*self._key)
        except UnicodeError:  # a label that is empty or too long
            self._why_not = (socket.EAI_NONAME, "not a host name")
        except OSError as error:
            self._why_not = error.args
        finally:
            with self._lock:
                del self._running[self._key]
            self._done.set()


def _resolve(host: str, port: int, deadline: float) -> list[Address]:
    try:
        return _ask_system(host, port, socket.AI_NUMERICHOST)  # an address needs no thread
    except (OSError, UnicodeError):
        return _Lookup.of(host, port).wait(deadline)


def _ask_system(host: str, port: int, flags: int = 0) -> list[Address]:
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return [(family, address) for family, _, _, _, address in answers]
