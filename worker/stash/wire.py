"""How Stash is reached: where it is, how it lets us in, and what counts as an answer.

One request at a time goes through stashapi's GQLWrapper, with what that lacks: time limits, one
session cookie, no proxy from the environment, errors that raise. What is asked is not decided here.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any, TypeVar, cast

import requests
import urllib3
from stashapi.classes import GQLException, GQLWrapper

from stash_courier.worker.http.redact import redact
from stash_courier.worker.http.transport import GuardedAdapter, Watchdog

QUOTED_CHARACTERS = 300  # of Stash's own error texts
COOKIE = "session"  # the name of Stash's session cookie (its pkg/session)


T = TypeVar("T")


class StashUnavailable(Exception):
    """Stash can't be asked now; the message is a sentence for the owner, without secrets."""


class UnusableAnswer(StashUnavailable):
    """Stash answered, but with GraphQL errors or not what its schema promises.

    Args:
        message: as StashUnavailable's.
        reason: only what was wrong, for a sentence about one scene.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class LoginRefused(StashUnavailable):
    """Stash doesn't accept the session or the API key (401)."""


@dataclass(frozen=True, slots=True)
class Connection:
    """What the hook wrote into ``connection.json``: where Stash is and a session for it."""

    scheme: str  # "http" or "https"
    host: str  # the address Stash listens on
    port: int
    cookie: str = field(repr=False)  # value of the session cookie, "" if there was none
    dir: str = ""  # the folder of Stash's configuration
    plugin_dir: str = ""  # this plugin's folder as Stash names it
    at: float = 0.0  # wall time of the writing, unix seconds

    @classmethod
    def read(cls, path: Path) -> Connection:
        """Reads the file.

        Raises:
            StashUnavailable: it isn't there, can't be read or isn't what the hook writes.
        """
        try:
            text = path.read_text("utf-8")
        except FileNotFoundError:
            raise StashUnavailable(
                f"{path} isn't there yet, so it isn't known where Stash is; "
                "edit any scene or reload a page of Stash, then the plugin writes it"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise StashUnavailable(
                f"{path} can't be read ({type(error).__name__}), so it isn't known where Stash is; "
                "check who owns the folder, or delete the file and edit any scene"
            ) from None
        try:
            return cls._parse(json.loads(text))
        except (ValueError, KeyError, TypeError, RecursionError):
            # "from None": the parser's error would show the text, and the text holds the cookie.
            raise StashUnavailable(
                f"{path} is damaged, so it isn't known where Stash is; "
                "delete it and edit any scene, then the plugin writes it anew"
            ) from None

    @classmethod
    def _parse(cls, raw: Mapping[str, object]) -> Connection:
        scheme, host, port = raw["scheme"], raw["host"], raw["port"]
        cookie, at = raw["cookie"], raw["at"]
        if scheme not in ("http", "https") or not isinstance(host, str) or set(host) & set("/@?#\\ "):
            raise ValueError
        if isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536:
            raise ValueError
        if not isinstance(cookie, str) or not _fits_header(cookie) or not isinstance(at, int | float):
            raise ValueError
        folder, plugin_folder = raw.get("dir"), raw.get("plugin_dir")
        return cls(
            str(scheme),
            host,
            port,
            cookie,
            folder if isinstance(folder, str) else "",
            plugin_folder if isinstance(plugin_folder, str) else "",
            float(at),
        )

    @property
    def url(self) -> str:
        """Stash's address without a path.

        Stash gives its *listening* address: 0.0.0.0, :: and none mean every interface, and this
        machine's own is the one to ask (the worker runs beside Stash).
        """
        host = self.host
        with contextlib.suppress(ValueError):
            address = ipaddress.ip_address(host)
            if address.is_unspecified:
                host = "127.0.0.1" if address.version == 4 else "::1"
        host = host or "127.0.0.1"
        return f"{self.scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def trusted_by_place(self) -> bool:
        """True if the host is this machine: every one of its addresses can be listened on here.

        There a certificate proves nothing: whoever could pretend to be Stash on its own machine
        doesn't need to. And nearly every Stash with https has a self-signed one. Any other
        host, which only a hand-written connection.json names, must have a valid certificate.
        """
        try:
            found = socket.getaddrinfo(self.host or "127.0.0.1", 0, type=socket.SOCK_STREAM)
        except OSError:
            return False
        for family, kind, protocol, _, address in found:
            try:
                with socket.socket(family, kind, protocol) as probe:
                    probe.bind(address)
            except OSError:
                return False
        return bool(found)


class _Silent:
    """Takes stashapi's log calls and keeps nothing: what matters is raised, not logged."""

    def error(self, message: object) -> None:
        """Says nothing."""

    warning = debug = error


class _OnThisMachine(GuardedAdapter):
    """Speaks TLS without looking at the certificate; see Connection.trusted_by_place."""

    def build_connection_pool_key_attributes(self, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """With a context of its own: urllib3 writes into the one it gets, and the other is shared."""
        host, pool = super().build_connection_pool_key_attributes(*args, **kwargs)
        if host["scheme"] == "https":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            pool["ssl_context"] = context
        return host, pool


class Wire(GQLWrapper):  # type: ignore[misc]
    """One connection to one Stash, with the credentials in use.

    Not for several threads at once.
    """

    RAISE_GQL_ERRORS = True
    log = _Silent()

    def __init__(self, connection: Connection, timeout: float) -> None:
        """Connects to nothing yet and asks for no introspection (stashapi's own client would).

        Args:
            connection: where Stash is; its cookie is used until Stash renews it.
            timeout: wall seconds that one question may take, up to the last byte of the answer.
        """
        super().__init__()
        self.place = connection.url
        self.url = f"{self.place}/graphql"
        self.cookie = connection.cookie
        self.api_key = ""  # in memory only
        self.max_age: float | None = None  # seconds a session lives, as its last renewal said
        self._timeout = timeout
        self.s.trust_env = False
        self.s.max_redirects = 0  # a redirect raises; Stash's own is the way to its login page
        self.s.headers["Accept-Encoding"] = "identity"
        # The jar would keep the renewed cookie beside the first one and send both; Stash reads
        # the first of two, so that access would end with it. The one cookie is kept here.
        self.s.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._adapter = GuardedAdapter(connections=1)
        if connection.scheme == "https" and connection.trusted_by_place:
            self._adapter = _OnThisMachine(connections=1)
            self.s.verify = False
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        for scheme in ("http://", "https://"):
            self.s.mount(scheme, self._adapter)
        self._watchdog = Watchdog()

    def close(self) -> None:
        """Closes the connection; a question that is under way ends as a time-out."""
        self._watchdog.close()
        # Session.close() only forgets the pools, and a socket lives on as long as anything, such
        # as an error's traceback, holds on to an answer that came through it.
        pools = self._adapter.poolmanager.pools
        for key in pools.keys():  # noqa: SIM118, the container can't be iterated
            pools[key].close()
        self.s.close()

    def ask(self, query: str, variables: Mapping[str, object]) -> Mapping[str, object]:
        """Puts one question and returns the answer's ``data``.

        Raises:
            LoginRefused: 401.
            UnusableAnswer: GraphQL errors, or not what GraphQL answers look like.
            StashUnavailable: anything else that kept Stash from answering.
        """
        return self._timed(lambda: cast(Mapping[str, object], self.call_GQL(query, dict(variables))))

    def cover(self, path: str) -> bytes:
        """The picture that Stash shows at a path of its own (with its query); b"" if there is none.

        Anything but a path is none: what stands before the first slash would become part of the
        host, and the key goes with the request.

        Raises:
            LoginRefused: 401.
            StashUnavailable: anything else that kept Stash from answering.
        """
        if not path.startswith("/"):
            return b""

        def fetch() -> bytes:
            response = self.s.get(f"{self.place}{path}")
            self._accept(response)
            if response.status_code == 404:
                return b""
            if response.status_code != 200:
                raise self._unavailable(f"answered with status {response.status_code} for a cover")
            return cast(bytes, response.content)

        return self._timed(fetch)

    def _timed(self, action: Callable[[], T]) -> T:
        """Does it with our credentials and within the time limit; says what went wrong."""
        # With a key Stash doesn't look at the session, nor renew it.
        self.s.headers["ApiKey"] = cast(str, self.api_key or None)  # None: not sent
        self.s.headers["Cookie"] = cast(str, f"{COOKIE}={self.cookie}" if self._sends_cookie else None)
        with self._watchdog.timed(time.monotonic() + self._timeout) as timed:
            try:
                return action()
            except GQLException as error:
                raise self._answered_with_errors(str(error)) from None
            except StashUnavailable:
                if not timed.fired:
                    raise
                problem = ""  # an answer that was cut off by our own deadline
            except requests.RequestException as error:
                problem = _problem(error)  # not chained: requests' errors can quote headers
        if timed.fired:
            problem = f"did not answer within {self._timeout:g} s"
        raise self._unavailable(problem)

    @property
    def _sends_cookie(self) -> bool:
        return bool(self.cookie) and not self.api_key

    def _handle_GQL_response(self, response: requests.Response) -> object:  # noqa: N802
        """Lets stashapi see only what is a GraphQL answer; it takes everything else for ``{}``."""
        self._accept(response)
        try:
            # Stash passes on paths that are no UTF-8 as the bytes they are; requests would replace those.
            answer = json.loads(response.content.decode("utf-8", "surrogateescape"))
        except (ValueError, RecursionError):
            raise self._unavailable(_not_json(response)) from None
        vars(response)["json"] = lambda: answer  # stashapi reads it once more
        if not isinstance(answer, dict):
            raise self.wrong_shape("it is no object")
        errors = answer.get("errors", [])
        if not isinstance(errors, list) or not all(map(_is_error, errors)):
            raise self.wrong_shape("its errors can't be read")
        if response.status_code != 200:
            said = f": {self._quote(errors[0]['message'])}" if errors else ""
            raise self._unavailable(f"answered with status {response.status_code}{said}")
        if not errors and (not isinstance(answer.get("data"), dict) or not answer["data"]):
            raise self.wrong_shape("there is no data")
        return super()._handle_GQL_response(response)

    def _accept(self, response: requests.Response) -> None:
        """Takes note of what an answer says about our login.

        Raises:
            LoginRefused: 401.
        """
        if response.status_code == 401:
            raise LoginRefused(
                f"Stash at {self.place} doesn't accept the plugin's session (401); deliveries wait "
                "until the next edit or page view in Stash, which hands over a new one. "
                "An API key (Settings > Security) spares this"
            )
        self._renew(response)

    def _renew(self, response: requests.Response) -> None:
        """Takes the fresh cookie that Stash sends with each answer to a valid one."""
        for header in response.raw.headers.getlist("Set-Cookie"):
            with contextlib.suppress(CookieError):
                found = SimpleCookie(header).get(COOKIE)
                if found is not None and found.value and _fits_header(found.value):
                    age = found["max-age"]
                    self.cookie = found.value
                    self.max_age = float(age) if age.isascii() and age.isdigit() and int(age) else None

    def wrong_shape(self, reason: str) -> UnusableAnswer:
        """The error for an answer that isn't what the schema promises."""
        return UnusableAnswer(
            f"Stash at {self.place} gave an answer that can't be used ({reason}); deliveries wait. "
            "Is it a Stash of version 0.30 or newer, and no other program?",
            reason,
        )

    def _answered_with_errors(self, said: str) -> StashUnavailable:
        quoted = self._quote(said)
        if "database is locked" in said:
            return self._unavailable("is busy writing its database (database is locked)")
        return UnusableAnswer(f"Stash at {self.place} answered with an error ({quoted}); deliveries wait", quoted)

    def _unavailable(self, problem: str) -> StashUnavailable:
        return StashUnavailable(f"Stash at {self.place} {problem}; deliveries wait until it answers")

    def _quote(self, said: str) -> str:
        """Another program's text in one line, cut, and without secrets."""
        said = redact(said, (self.api_key, self.cookie))
        line = " ".join("".join(c if c.isprintable() else " " for c in said).split())
        return line if len(line) <= QUOTED_CHARACTERS else f"{line[:QUOTED_CHARACTERS]}…"


def _problem(error: requests.RequestException) -> str:
    match error:
        case requests.exceptions.TooManyRedirects():
            return "sends us to another page; is a proxy's login in front of it?"
        case requests.exceptions.SSLError():
            return "can't be reached over https: its certificate isn't valid, or it doesn't speak https"
        case requests.exceptions.ChunkedEncodingError():
            return "broke off in the middle of its answer"
        case requests.exceptions.ConnectionError():
            return "can't be reached; is it running?"
        case _:
            return f"can't be asked ({type(error).__name__})"


def _not_json(response: requests.Response) -> str:
    if response.status_code != 200:
        return f"answered with status {response.status_code}"
    if response.content.lstrip().startswith(b"<"):
        return "answered with a web page; is another program at that address, or a proxy's login in front?"
    return "gave an answer that is cut off or no JSON"


def _is_error(error: object) -> bool:
    """Whether stashapi can read this entry of ``errors``."""
    return (
        isinstance(error, dict)
        and isinstance(error.get("message"), str)
        and isinstance(error.get("extensions", {}), dict)
    )


def _fits_header(value: str) -> bool:
    """Whether a cookie or key can be sent as it is; requests' error would quote one that can't."""
    return value.isascii() and value.isprintable() and not set(value) & set('; ,"')
