"""Addresses in settings: http URLs, separated from the login they may contain.

What an address's path means is up to the destination.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit, urlunsplit

from stash_courier.worker.fields import BadSetting, Fix

DEFAULT_PORTS = {"http": 80, "https": 443}
# What requests sends as it is, but for an empty path. Importing requests takes longer than a view may.
_LABEL = "[a-z0-9](?:[-_a-z0-9]*[a-z0-9])?"
_PLAIN = re.compile(
    rf"https?://{_LABEL}(?:\.{_LABEL})*(?::(?:[1-9][0-9]{{0,3}}|[1-5][0-9]{{4}}))?(?P<path>(?:/[-_~!$&'()*+,;=:@a-zA-Z0-9]"
    r"[-_.~!$&'()*+,;=:@a-zA-Z0-9]*)*/?)(?:\?[-_.~!$&'()*+,;=:@/a-zA-Z0-9]+)?"
)


@dataclass(frozen=True, slots=True)
class Target:
    """Where one destination sends."""

    url: str = field(repr=False)  # encoded, without the login; path and query may contain a token
    authorization: str = field(default="", repr=False)  # Basic, from the URL's login

    @property
    def host(self) -> str:
        """``host[:port]``."""
        return host_of(self.url)

    @property
    def password(self) -> str:
        """The login's password; "" without a login."""
        login = base64.b64decode(self.authorization.removeprefix("Basic ")).decode()
        return login.partition(":")[2]


def read_target(url: str) -> Target:
    """Reads one URL.

    Raises:
        BadSetting: it can't be used.
    """
    scheme, mark, _ = url.partition("://")
    if not mark:
        fix = Fix("Put http:// in front", {"url": f"http://{url}"}) if is_usable(f"http://{url}") else None
        raise BadSetting("has no http:// or https:// in front", fix)
    if scheme.lower() not in {"http", "https"}:
        raise BadSetting("starts with neither http:// nor https://, and nothing else is supported")
    try:
        parts = urlsplit(url)
        login, _, place = parts.netloc.rpartition("@")
        bare = urlunsplit((parts.scheme, place, parts.path, parts.query, ""))
        prepared = _prepared(bare)
        # requests drops port 0 and would send to the default port
        usable = bool(urlsplit(prepared).hostname) and urlsplit(bare).port != 0
        authorization = _basic(login) if login else ""
    except (ValueError, OSError):  # requests' errors are OSErrors
        usable = False
    if not usable:
        raise BadSetting("is not a valid URL; check its host name and port")
    return Target(prepared, authorization)


def _prepared(bare: str) -> str:
    """A URL as requests sends it. Raises ValueError if it can't be used."""
    plain = _PLAIN.fullmatch(bare)
    if plain is not None:
        return bare if plain["path"] else f"{bare[: plain.start('path')]}/{bare[plain.start('path') :]}"
    import requests

    return str(requests.Request("POST", bare).prepare().url)


def host_of(url: str) -> str:
    """``host[:port]`` of a URL for messages and ids: in lower case, without a default port."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    return host if parts.port in {None, DEFAULT_PORTS.get(parts.scheme)} else f"{host}:{parts.port}"


def is_usable(url: str) -> bool:
    """Whether ``read_target`` reads it."""
    try:
        read_target(url)
    except BadSetting:
        return False
    return True


def _basic(login: str) -> str:
    """Basic authorization by RFC 7617: the bytes of ``user:password``, in UTF-8 as servers expect."""
    user, _, password = login.partition(":")
    octets = f"{unquote(user)}:{unquote(password)}".encode()
    return f"Basic {base64.b64encode(octets).decode()}"
