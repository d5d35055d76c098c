"""The transport to Stash: the credentials, and what counts as an answer.

Requests go through stashapi's GQLWrapper, one at a time. This module adds what that lacks: time limits, a single
session cookie, no proxy from the environment, strict reading of answers.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from http.cookiejar import DefaultCookiePolicy
from http.cookies import CookieError, SimpleCookie
from typing import TypeVar, cast

import requests
import urllib3
from stashapi.classes import GQLWrapper

from stash_courier.worker.http.redact import redact
from stash_courier.worker.http.transport import GuardedAdapter, Watchdog
from stash_courier.worker.stash.address import COOKIE, StashAddress, StashUnavailable, fits_header, unverified
from stash_courier.worker.stash.answers import WrongShape, read, read_list

QUOTED_CHARACTERS = 300  # of Stash's own error texts

# The first match is used: an SSLError is a ConnectionError, too.
_PROBLEMS = {
    requests.exceptions.TooManyRedirects: "redirects to another page; does a proxy ask for a login?",
    requests.exceptions.SSLError: "can't be reached over https: its certificate isn't valid, or it uses no https",
    requests.exceptions.ChunkedEncodingError: "closed the connection before the end of its answer",
    requests.exceptions.ConnectionError: "can't be reached; is it running?",
}

T = TypeVar("T")


class UnusableAnswer(StashUnavailable):
    """Stash answered with GraphQL errors, or its answer doesn't match its schema.

    ``reason`` says only what is wrong, for a sentence about one scene.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class TimedOut(StashUnavailable):
    """Stash didn't answer in time: it is slow, or hangs."""


class LoginRefused(StashUnavailable):
    """Stash doesn't accept the session or the API key (401)."""


class Wire(GQLWrapper):  # type: ignore[misc]
    """A connection to one Stash, with the credentials in use. Not thread-safe."""

    def __init__(self, address: StashAddress, timeout: float) -> None:
        """Does no I/O. ``timeout``: seconds for one request, up to the last byte of the answer."""
        super().__init__()
        self.base_url = address.url
        self.url = f"{self.base_url}/graphql"
        self.cookie = address.cookie  # until Stash renews it
        self.api_key = address.api_key  # in memory only
        self.max_age: float | None = None  # lifetime of a session in seconds, from its last renewal
        self._timeout = timeout
        self.s.trust_env = False
        self.s.max_redirects = 0  # a redirect raises; Stash only redirects to its login page
        self.s.headers["Accept-Encoding"] = "identity"
        # The jar would keep the renewed cookie in addition to the first one and send both. Stash reads the
        # first of two, so access would end with the first session. So the cookie is kept here.
        self.s.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._adapter = GuardedAdapter(connections=1)
        if address.scheme == "https" and address.trusted_by_place:
            self._adapter = GuardedAdapter(connections=1, context=unverified())
            self.s.verify = False
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        for scheme in ("http://", "https://"):
            self.s.mount(scheme, self._adapter)
        self._watchdog = Watchdog()

    def close(self) -> None:
        """Closes the connection; a request in progress ends like a timeout."""
        self._watchdog.close()
        self.s.close()

    def ask(self, query: str, variables: Mapping[str, object]) -> Mapping[str, object]:
        """Sends one query and returns the answer's ``data``.

        Raises LoginRefused for a 401, UnusableAnswer for GraphQL errors and for what is no GraphQL answer,
        TimedOut if there is no answer in time, and StashUnavailable if there is none for any other reason.
        """
        return self._timed(lambda: cast(Mapping[str, object], self.call_GQL(query, dict(variables))))

    def cover(self, path: str) -> bytes:
        """The picture at a path of Stash (including the query string); b"" if there is none. Raises like ``ask``.

        A value that doesn't start with a slash gives b"" without a request: it would become part of the host,
        and the API key goes with the request.
        """
        if not path.startswith("/"):
            return b""

        def fetch() -> bytes:
            response = self.s.get(f"{self.base_url}{path}")
            self._accept(response)
            if response.status_code == 404:
                return b""
            if response.status_code != 200:
                raise self._unavailable(f"answered with status {response.status_code} for a cover")
            return cast(bytes, response.content)

        return self._timed(fetch)

    def _timed(self, action: Callable[[], T]) -> T:
        """Runs a request with the credentials and the time limit; translates its errors."""
        # With a key Stash neither checks nor renews the session.
        self.s.headers["ApiKey"] = cast(str, self.api_key or None)  # None: not sent
        sends_cookie = self.cookie and not self.api_key
        self.s.headers["Cookie"] = cast(str, f"{COOKIE}={self.cookie}" if sends_cookie else None)
        with self._watchdog.timed(time.monotonic() + self._timeout) as timed:
            try:
                return action()
            except StashUnavailable:
                if not timed.fired:
                    raise
                problem = ""  # the answer was cut off by our own deadline
            except requests.RequestException as error:
                # Not chained: requests' errors can quote headers.
                unknown = f"can't be asked ({type(error).__name__})"
                problem = next((words for kind, words in _PROBLEMS.items() if isinstance(error, kind)), unknown)
        if timed.fired:
            raise TimedOut(str(self._unavailable(f"did not answer within {self._timeout:g} s")))
        raise self._unavailable(problem)

    def _handle_GQL_response(self, response: requests.Response) -> object:  # noqa: N802
        """The ``data`` of an answer. stashapi's own method treats what isn't JSON as ``{}``."""
        self._accept(response)
        try:
            # Stash sends paths that aren't UTF-8 as raw bytes; requests would replace those.
            answer = json.loads(response.content.decode("utf-8", "surrogateescape"))
        except (ValueError, RecursionError):
            raise self._unavailable(_not_json(response)) from None
        if not isinstance(answer, dict):
            raise self.wrong_shape("it is not an object")
        try:
            errors = read_list({"errors": [], **answer}, "errors", _said)
        except WrongShape as error:
            raise self.wrong_shape(str(error)) from None
        if response.status_code != 200:
            quoted = f": {self._quote(errors[0])}" if errors else ""
            raise self._unavailable(f"answered with status {response.status_code}{quoted}")
        if errors:
            raise self._answered_with_error(errors[0])
        data = answer.get("data")
        if not isinstance(data, dict) or not data:
            raise self.wrong_shape("there is no data")
        return data

    def _accept(self, response: requests.Response) -> None:
        """Takes the fresh cookie of an answer to a valid session. Raises LoginRefused for a 401."""
        if response.status_code == 401:
            raise LoginRefused(
                f"Stash at {self.base_url} doesn't accept the plugin's session (401); deliveries wait until "
                "the next edit or page view in Stash, which provides a new one. "
                "An API key (Settings > Security) avoids this"
            )
        for header in response.raw.headers.getlist("Set-Cookie"):
            with contextlib.suppress(CookieError):
                found = SimpleCookie(header).get(COOKIE)
                if found is not None and found.value and fits_header(found.value):
                    age = found["max-age"]
                    self.cookie = found.value
                    self.max_age = float(age) if age.isascii() and age.isdigit() and int(age) else None

    def wrong_shape(self, reason: str) -> UnusableAnswer:
        """The error for an answer that doesn't match the schema."""
        return UnusableAnswer(
            f"Stash at {self.base_url} gave an answer that can't be used ({reason}); deliveries wait. "
            "Is that Stash, version 0.30 or newer?",
            reason,
        )

    def _answered_with_error(self, message: str) -> StashUnavailable:
        if "database is locked" in message:
            return self._unavailable("is busy writing its database (database is locked)")
        quoted = self._quote(message)
        return UnusableAnswer(
            f"Stash at {self.base_url} answers with an error ({quoted}); deliveries wait", quoted
        )

    def _unavailable(self, problem: str) -> StashUnavailable:
        return StashUnavailable(f"Stash at {self.base_url} {problem}; deliveries wait until it answers")

    def _quote(self, text: str) -> str:
        """Another program's text on one line, shortened and without secrets."""
        text = redact(text, (self.api_key, self.cookie))
        line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        return line if len(line) <= QUOTED_CHARACTERS else f"{line[:QUOTED_CHARACTERS]}…"


def _said(error: object) -> str:
    """What a GraphQL error says, and where."""
    path = read({"path": "", **error} if isinstance(error, dict) else error, "path", str, list, type(None))
    return f"{path or ''} {read(error, 'message', str)}".lstrip()


def _not_json(response: requests.Response) -> str:
    if response.status_code != 200:
        return f"answered with status {response.status_code}"
    if response.content.lstrip().startswith(b"<"):
        return "answered with a web page; is another program at that address, or does a proxy ask for a login?"
    return "gave an answer that is cut off or not JSON"
