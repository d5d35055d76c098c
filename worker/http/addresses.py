"""Addresses in settings: an http URL, with the login it may hold taken out of it.

What the path of an address means, and in which setting it stands, is its destination's to know.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit, urlunsplit

import requests

from stash_courier.worker.http.client import host_of


class BadSetting(ValueError):
    """Part of a setting can't be used; the message says what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where one destination sends: a URL without the login it may have held."""

    url: str = field(repr=False)  # as it goes out: punycode, escapes; path and query may hold a token
    authorization: str = field(default="", repr=False)  # Basic, made of the URL's login

    @property
    def host(self) -> str:
        """``host[:port]``."""
        return host_of(self.url)

    @property
    def password(self) -> str:
        """That of the URL's login, "" without one."""
        login = base64.b64decode(self.authorization.removeprefix("Basic ")).decode()
        return login.partition(":")[2]


def read_target(url: str) -> Target:
    """Reads one URL.

    Raises:
        BadSetting: it can't be used; the message goes on after the setting's name.
    """
    scheme, mark, _ = url.partition("://")
    if not mark:
        raise BadSetting("has no http:// or https:// in front")
    if scheme.lower() not in {"http", "https"}:
        raise BadSetting("starts with neither http:// nor https://, and nothing else is spoken here")
    try:
        login, bare = _split_login(url)
        prepared = str(requests.Request("POST", bare).prepare().url)
        # requests drops a port 0, and would send to another one then
        usable = bool(urlsplit(prepared).hostname) and urlsplit(bare).port != 0
        authorization = _basic(login) if login else ""
    except (ValueError, requests.RequestException):
        usable = False
    if not usable:
        raise BadSetting("is not a valid URL; check its host name and port")
    return Target(prepared, authorization)


def _split_login(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    login, _, place = parts.netloc.rpartition("@")
    return login, urlunsplit((parts.scheme, place, parts.path, parts.query, ""))


def _basic(login: str) -> str:
    """RFC 7617: the octets of ``user:password``; UTF-8 is what servers expect."""
    user, _, password = login.partition(":")
    octets = f"{unquote(user)}:{unquote(password)}".encode()
    return f"Basic {base64.b64encode(octets).decode()}"
