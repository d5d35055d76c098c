"""Where Stash is and how to log in there: as hooks and page loads write it, or as the environment names it.

Every view needs this, so what takes long to import is imported where it is used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import ssl

COOKIE = "session"  # the name of Stash's session cookie (its pkg/session)
URL, KEY = "STASH_COURIER_STASH_URL", "STASH_COURIER_API_KEY"  # in the environment of a worker in the foreground
PORTS = {"http": 80, "https": 443}


class StashUnavailable(Exception):
    """Stash can't be asked now. The message is a sentence for the owner, without secrets."""


@dataclass(frozen=True, slots=True)
class StashAddress:
    """Stash's address and a session, as the hook wrote them into ``stash.json``."""

    scheme: str  # "http" or "https"
    host: str  # the address Stash listens on
    port: int
    cookie: str = field(repr=False)  # value of the session cookie; "" if there was none
    api_key: str = field(default="", repr=False)  # that the environment names

    @classmethod
    def read(cls, path: Path) -> StashAddress:
        """Reads the file. Raises StashUnavailable if it is missing, unreadable or not what the hook writes."""
        try:
            return cls._parse(json.loads(path.read_text("utf-8")))
        except FileNotFoundError:
            problem = "doesn't exist yet"
            advice = "edit any scene or reload a page of Stash, and the plugin writes it"
        except (OSError, UnicodeDecodeError) as error:
            problem = f"can't be read ({type(error).__name__})"
            advice = "check who owns the folder, or delete the file and edit any scene"
        except (ValueError, LookupError, TypeError, RecursionError):
            problem, advice = "is damaged", "delete it and edit any scene, and the plugin writes it again"
        # Not chained: the parser's error would quote the text, which contains the cookie.
        raise StashUnavailable(f"{path} {problem}, so Stash's address is unknown; {advice}") from None

    @classmethod
    def _parse(cls, raw: Mapping[str, object]) -> StashAddress:
        scheme, host, port, cookie = (raw[name] for name in ("scheme", "host", "port", "cookie"))
        if scheme not in ("http", "https") or not isinstance(host, str) or set(host) & set("/@?#\\ "):
            raise ValueError
        if type(port) is not int or not 0 < port < 65536:
            raise ValueError
        if not isinstance(cookie, str) or not fits_header(cookie):
            raise ValueError
        return cls(str(scheme), host, port, cookie)

    @property
    def url(self) -> str:
        """The base URL, without a path.

        Stash gives the address on which it *listens*. 0.0.0.0, :: and none mean every interface; then the
        loopback address is used, because the worker runs on Stash's machine.
        """
        host = self.host or "0.0.0.0"  # noqa: S104 - it is compared, not listened on
        if set(host) <= set("0:."):
            host = "::1" if ":" in host else "127.0.0.1"
        return f"{self.scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def trusted_by_place(self) -> bool:
        """Whether the host is this machine, so that its certificate isn't checked.

        A program that could pose as Stash on Stash's machine has no need to, and almost every Stash with https
        has a self-signed certificate. Any other host, which only a stash.json edited by hand names, must
        have a valid one. A host is this machine if a socket can be bound to each of its addresses.
        """
        import socket

        try:
            found = socket.getaddrinfo(self.host or "127.0.0.1", 0, type=socket.SOCK_STREAM)
            for family, kind, protocol, _, address in found:
                with socket.socket(family, kind, protocol) as probe:
                    probe.bind(address)
        except OSError:
            return False
        return bool(found)


@dataclass(frozen=True, slots=True)
class NamedStash:
    """Where Stash is and its API key, as the environment of a worker under systemd or in a container names them.

    What isn't named is in ``stash.json``. A worker that the plugin starts reads none: it runs beside Stash.
    """

    place: tuple[str, str, int] | None = None  # scheme, host, port
    api_key: str = field(default="", repr=False)

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> NamedStash:
        """Reads both variables. Raises ValueError with a sentence, which never contains a value."""
        url, key = environment.get(URL, ""), environment.get(KEY, "")
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise ValueError(f"{KEY} can't be used: an API key has neither spaces nor special characters.")
        return cls(_place(url) if url else None, key)

    def address(self, path: Path) -> StashAddress:
        """The address to use; ``path`` is that of ``stash.json``.

        Raises:
            StashUnavailable: no place is named, and the file can't be read.
        """
        try:
            written = StashAddress.read(path)
        except StashUnavailable:
            if self.place is None:
                raise
            return StashAddress(*self.place, cookie="", api_key=self.api_key)
        place = self.place or (written.scheme, written.host, written.port)
        return StashAddress(*place, cookie=written.cookie, api_key=self.api_key)


def unverified() -> ssl.SSLContext:
    """TLS without checking the certificate; see StashAddress.trusted_by_place."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def fits_header(value: str) -> bool:
    """Whether a cookie or key can be sent as a header; requests' error would quote one that can't."""
    return value.isascii() and value.isprintable() and not set(value) & set('; ,"')


def _place(url: str) -> tuple[str, str, int]:
    wrong = f"{URL} can't be used. It must be like http://stash:9999, without a path, user name or password."
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise ValueError(wrong) from None  # the parser's error would quote it
    host = parts.hostname or ""
    clean = not (parts.query or parts.fragment or "@" in parts.netloc) and parts.path in ("", "/")
    if parts.scheme not in PORTS or not clean or not host or set(host) & set("/@?#\\ ") or port == 0:
        raise ValueError(wrong)
    return parts.scheme, host, port or PORTS[parts.scheme]
