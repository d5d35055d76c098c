"""HTTP for all destinations: how a request is sent, and what an answer or an error means.

Deadlines and addresses are in transport.py; what follows from a failure's class is in queue/failures.py. Nothing
here knows a destination: each passes in its own advice for the owner.
"""

from __future__ import annotations

import functools
import http.client
import json
import math
import re
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import requests
import urllib3

from stash_courier.queue.failures import CLASSES, DeliveryFailed, Failure
from stash_courier.worker.http.addresses import DEFAULT_PORTS, host_of
from stash_courier.worker.http.redact import longest_spelling, redact
from stash_courier.worker.http.transport import GuardedAdapter, LinkLocalRefused, Watchdog

KEPT = 2048  # bytes of an answer that are shown to the owner
RETRY_AFTER_CAP = 24 * 3600.0  # seconds
PIECE = 1 << 16  # bytes that are read at a time

_HEADERS = {"User-Agent": "Stash-Courier", "Accept-Encoding": "identity"}
_NO_RETRIES = urllib3.Retry(False)

_BY_STATUS = {status: failure for failure, row in CLASSES.items() for status in row.statuses}
_PLAIN_ON_TLS = re.compile(r"plain HTTP|HTTP request to an HTTPS", re.IGNORECASE)  # nginx, Apache, Go

_ADVICE = {
    401: "check the credentials in this destination's settings",
    403: "it does not allow this; check its permissions and the credentials in this connection",
    404: "it has nothing at this address; check the address in this connection",
    405: "it does not accept this kind of request here; check the address in this connection",
    407: "a proxy requires a login, which Stash Courier does not support; enter an address without that proxy",
    410: "it is gone permanently; nothing is sent until the settings change",
    413: "the request is larger than it accepts; raise its limit",
    429: "it asks for fewer requests, so we wait",
    502: "the server behind it is down or starting, so we wait",
    503: "it is overloaded or starting, so we wait",
    504: "the server behind it does not answer, so we wait",
}

_NOT_HTTP = (http.client.HTTPException, urllib3.exceptions.HTTPError, requests.RequestException)
_ERRORS_OF_TRANSPORT = (OSError, *_NOT_HTTP)
_CLOSED = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)

# The first match is used. What isn't HTTP doesn't go away with time: another program is listening, and the owner
# must fix it. An answer that breaks off usually does: a restart, a proxy, a network.
_ERRORS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], Failure, str], ...] = (
    (LinkLocalRefused, Failure.DESTINATION, "has a link-local address: enter its address in your network"),
    (socket.gaierror, Failure.UNREACHABLE, "can't be found ({detail}): check the name and this machine's DNS"),
    (ConnectionRefusedError, Failure.UNREACHABLE, "refuses connections: check that it runs, and the port"),
    (
        ssl.SSLCertVerificationError,
        Failure.DESTINATION,
        "has a certificate that can't be trusted ({detail}): give it one from a known authority, add yours to "
        "this system's certificates or put its file in SSL_CERT_FILE, or use http:// inside your own network",
    ),
    (_CLOSED, Failure.BUSY, "closed the connection without an answer: it is restarting or overloaded"),
    (http.client.IncompleteRead, Failure.BUSY, "broke off its answer, so it may not have accepted this"),
    (ssl.SSLError, Failure.DESTINATION, "can't agree on TLS ({detail}): check the port, or enter {other}://"),
    (_NOT_HTTP, Failure.DESTINATION, "sends something that isn't valid HTTP: check the port, or enter {other}://"),
    (Exception, Failure.UNREACHABLE, "can't be reached ({detail}): check the address and this machine's network"),
)


@dataclass(frozen=True, slots=True)
class _NoAnswer:
    """Why no answer came. Not an exception, which would keep its frames alive."""

    failure: Failure
    message: str
    retry: bool = False  # the other side closed a kept connection before any part of an answer came


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer's status and headers, and as much of its body as was read."""

    status: int
    headers: Mapping[str, str]  # names are case-insensitive
    body: bytes  # undecoded, if the server encoded it anyway; never longer than the limit
    whole: bool  # False: it was longer than the limit, and the rest was not read


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a URL leads."""

    url: str  # encoded
    target: str  # its path and query
    pool: urllib3.HTTPConnectionPool


@dataclass(frozen=True, slots=True)
class _Request:
    """One request, complete."""

    place: _Place
    method: str
    headers: dict[str, str]
    body: bytes | None
    limit: int  # bytes of the answer's body that are read


class Client:
    """Sends requests for one destination, from several threads at once.

    Follows no redirects, uses no proxies, keeps no cookies and reads nothing from the environment. Connections
    are kept open.

    Args:
        timeout: wall-clock seconds for one whole request, from resolving the name to the last byte.
        concurrency: how many connections are kept.
        secrets: strings that no error may contain, however the other side echoes them.
        advice: what the owner can do, by HTTP status: the part of a sentence that follows a colon.
        ca_file: a PEM file of certificates to trust in addition to the system's and certifi's.
        refused: what a 4xx means that no class lists.
    """

    def __init__(
        self,
        *,
        timeout: float,
        concurrency: int = 4,
        secrets: tuple[str, ...] = (),
        advice: Mapping[int, str] | None = None,
        ca_file: str | None = None,
        refused: Failure = Failure.ITEM_REFUSED,
    ) -> None:
        self._timeout = timeout
        self._refused = refused
        self._secrets = secrets
        # Removed from the end of a text that was cut, where a secret may be incomplete. Secrets that are known
        # only by their form get 100 characters.
        self._cut_off = max(longest_spelling(secrets), 100)
        self._advice = _ADVICE | dict(advice or {})
        self._adapter = GuardedAdapter(concurrency, ca_file)
        self._watchdog = Watchdog()
        self._place = functools.lru_cache(maxsize=64)(self._find)

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        limit: int = KEPT,
        fixed_url: bool = False,
    ) -> Answer:
        """Sends one request and returns its 2xx answer; any other outcome raises DeliveryFailed.

        A kept connection that the server has closed meanwhile is no failure: if no part of an answer came, the
        request is sent once more on a new connection, within the same deadline.

        Args:
            headers: sent unchanged; printable ASCII.
            limit: how many bytes of the answer's body are read.
            fixed_url: True if the owner entered this URL, so that a 404 or 405 is the fault of the settings and
                not of the item.
        """
        deadline = time.monotonic() + self._timeout
        try:
            place = self._place(url)
        except requests.RequestException:
            problem = "The address in this connection is not a valid URL: enter it again."
            raise DeliveryFailed(Failure.DESTINATION, problem) from None
        request = _Request(place, method, {**_HEADERS, **(headers or {})}, body, limit)
        answer = self._try(request, deadline)
        if isinstance(answer, _NoAnswer) and answer.retry:
            answer = self._try(request, deadline, fresh=True)
        if isinstance(answer, _NoAnswer):
            raise DeliveryFailed(answer.failure, answer.message)
        if not 200 <= answer.status < 300:
            raise self._refusal(place.url, answer, fixed_url)
        return answer

    def excerpt(self, answer: Answer) -> str:
        """An answer's body for the owner: at most 2 KB of text without secrets and control characters."""
        text = redact(answer.body[:KEPT].decode("utf-8", errors="replace"), self._secrets)
        if len(answer.body) > KEPT or not answer.whole:
            text = text[: -self._cut_off]
        text = "".join(c if c.isprintable() or c in "\n\t" else " " for c in text)
        return text.encode()[:KEPT].decode(errors="ignore").strip()

    def close(self) -> None:
        """Closes all connections. A request in progress ends as a timeout."""
        self._watchdog.close()
        self._adapter.close()

    def _find(self, url: str) -> _Place:
        prepared = requests.Request("GET", url).prepare()
        return _Place(str(prepared.url), prepared.path_url, self._adapter.pool(prepared))

    def _try(self, request: _Request, deadline: float, *, fresh: bool = False) -> Answer | _NoAnswer:
        """One exchange; with ``fresh`` on a new connection."""
        with self._watchdog.timed(deadline, fresh=fresh) as timed:
            try:
                outcome: Answer | _NoAnswer = _exchange(request, deadline)
            except _ERRORS_OF_TRANSPORT as error:
                outcome = self._no_answer(request.place.url, _cause(error), kept=not timed.connected)
        # After the deadline even an answer doesn't count.
        return self._no_answer(request.place.url, TimeoutError()) if timed.fired else outcome

    def _refusal(self, url: str, answer: Answer, fixed_url: bool) -> DeliveryFailed:
        """What an answer other than 2xx means."""
        status = answer.status
        said = self.excerpt(answer)
        failure = classify(status, fixed_url=fixed_url, refused=self._refused)
        retry_after = None
        if failure is Failure.BUSY:
            retry_after = parse_retry_after(answer.headers.get("Retry-After", ""), time.time())
        if status == 429 and retry_after is None:
            retry_after = stated_wait(answer.body)
        if 300 <= status < 400:
            advice = _redirect_advice(answer.headers.get("Location", ""))
        elif status == 400 and url.startswith("http://") and _PLAIN_ON_TLS.search(said):
            failure = Failure.DESTINATION
            advice = "it uses TLS on this port; enter https:// in this connection"
        else:
            advice = self._advice.get(status, CLASSES[failure].hint)
        if retry_after is not None:
            advice += f", {math.ceil(retry_after)} s as it asks"
        phrase = http.client.responses.get(status, "")  # never the server's own reason, which may contain anything
        words = redact(f"{host_of(url)} answered {f'{status} {phrase}'.rstrip()}: {advice}.", self._secrets)
        return DeliveryFailed(failure, words, status=status, answer=said, retry_after=retry_after)

    def _no_answer(self, url: str, error: Exception, *, kept: bool = False) -> _NoAnswer:
        """What an error means that occurred instead of an answer, perhaps on a kept connection."""
        where = host_of(url)
        if isinstance(error, TimeoutError | urllib3.exceptions.TimeoutError):
            if self._watchdog.closed:
                return _NoAnswer(Failure.BUSY, f"The request to {where} was canceled: the worker is closing it.")
            words = f"did not answer within {self._timeout:g} s: it is down, busy or can't be reached from here"
            return _NoAnswer(Failure.BUSY, f"{where} {words}.")
        failure, words = next((f, w) for kinds, f, w in _ERRORS if isinstance(error, kinds))
        details = (getattr(error, name, "") for name in ("verify_message", "reason", "strerror"))
        detail = next(filter(None, details), type(error).__name__)
        words = words.format(detail=detail, other="https" if url.startswith("http://") else "http")
        message = redact(f"{where} {words}.", self._secrets)
        return _NoAnswer(failure, message, retry=kept and isinstance(error, _CLOSED))


def _exchange(request: _Request, deadline: float) -> Answer:
    # Straight through urllib3's pool: a Session keeps cookies, reads the whole body of a redirect, and takes
    # twice the CPU time.
    response = request.place.pool.urlopen(
        request.method,
        request.place.target,
        request.body,
        request.headers,
        retries=_NO_RETRIES,
        redirect=False,
        assert_same_host=False,
        timeout=max(deadline - time.monotonic(), 0.001),  # 0 would mean "don't block"
        preload_content=False,
        decode_content=False,
    )
    body = bytearray()
    try:
        while missing := request.limit + 1 - len(body):
            if not (piece := response.read1(min(missing, PIECE), decode_content=False)):
                break
            body += piece
    except _ERRORS_OF_TRANSPORT:
        if response.status < 300:  # it broke off, so it is unknown whether this was accepted
            raise
    finally:
        response.close()
        response.release_conn()
    whole = len(body) <= request.limit
    return Answer(response.status, response.headers, bytes(body[: request.limit]), whole)


def classify(status: int, *, fixed_url: bool, refused: Failure = Failure.ITEM_REFUSED) -> Failure:
    """The class of a status other than 2xx. A status that no class lists goes by its first digit.

    ``fixed_url`` and ``refused`` are those of the client.
    """
    if status in {404, 405} and fixed_url:
        return Failure.DESTINATION
    by_digit = {4: refused, 5: Failure.REFUSED}
    return _BY_STATUS.get(status, by_digit.get(status // 100, Failure.DESTINATION))


def parse_retry_after(value: str, now: float) -> float | None:
    """Seconds to wait by a ``Retry-After`` header, at most 24 h; None if it is unusable, 0 or in the past.

    ``value`` is seconds or a date (RFC 9110, 10.2.3), ``now`` wall time in unix seconds.
    """
    value = value.strip()
    if value.isascii() and value.isdigit():
        seconds = float(value)
    else:
        try:
            date = parsedate_to_datetime(value)
            seconds = date.replace(tzinfo=date.tzinfo or UTC).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return min(seconds, RETRY_AFTER_CAP) if seconds > 0 else None


def stated_wait(body: bytes) -> float | None:
    """Seconds to wait by the JSON body of a 429, at most 24 h; None if it states no usable wait, or 0.

    ``retry_after`` is seconds and may have a fraction (Discord). Telegram has it in ``parameters``. Matrix has
    ``retry_after_ms``, milliseconds.
    """
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    below = said.get("parameters")
    stated = (
        (said.get("retry_after"), 1.0),
        (below.get("retry_after") if isinstance(below, dict) else None, 1.0),
        (said.get("retry_after_ms"), 1000.0),
    )
    for value, per_second in stated:
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            return min(value, RETRY_AFTER_CAP * per_second) / per_second
    return None


def _cause(error: Exception) -> Exception:
    """The error that requests and urllib3 wrapped, but never an outer exception's context."""
    while True:
        wrapped = (getattr(error, "reason", None), *error.args, error.__cause__)
        inner = next((e for e in wrapped if isinstance(e, Exception)), None)
        if inner is None:
            return error
        error = inner


def _redirect_advice(location: str) -> str:
    """Where a redirect points, without path and query, which may contain a token."""
    try:
        target = urlsplit(location)
        origin = f" ({target.scheme}://{host_of(location)})" if target.scheme in DEFAULT_PORTS else ""
    except ValueError:
        origin = ""
    return f"redirects are not followed; enter the address it points to{origin} in this connection"
