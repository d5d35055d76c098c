"""Access by session cookies, like Stash's pkg/session and the libraries it uses.

A cookie is signed and contains the time of its creation in seconds; the server stores nothing. Each answer to a
request with a valid cookie renews it with Set-Cookie. Of two cookies the first one counts.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Callable
from email.utils import formatdate

COOKIE = "session"


class Unauthorized(Exception):
    """The API key is wrong, or nothing gives access. Stash refuses a wrong key even without credentials."""


class Sessions:
    """Creates and reads cookies.

    Args:
        max_age: lifetime of a cookie in seconds, 0 for no limit. Stash reads it at its start.
        clock: returns wall time in unix seconds.
    """

    def __init__(self, max_age: int, clock: Callable[[], float]) -> None:
        self.max_age = max_age
        self._clock = clock
        self._key = os.urandom(32)

    def make(self, user: str) -> str:
        """The value of a new cookie of a user, "" when the server has no credentials."""
        signed = f"{int(self._clock())}|".encode() + base64.urlsafe_b64encode(user.encode())
        return base64.urlsafe_b64encode(signed + b"|" + self._mac(signed)).decode()

    def read(self, value: str) -> str | None:
        """The user of a cookie; None if it isn't ours or is too old."""
        try:
            at, user, mac = base64.urlsafe_b64decode(value.encode()).split(b"|", 2)
        except (binascii.Error, ValueError):
            return None
        if not hmac.compare_digest(mac, self._mac(at + b"|" + user)):
            return None
        if self.max_age and int(at) < int(self._clock()) - self.max_age:
            return None
        return base64.urlsafe_b64decode(user).decode()

    def set_cookie(self, user: str) -> str:
        """The Set-Cookie header that renews a session."""
        expires = formatdate(self._clock() + self.max_age, usegmt=True)
        age = f"; Expires={expires}; Max-Age={self.max_age}" if self.max_age else ""
        return f"{COOKIE}={self.make(user)}; Path=/{age}; SameSite=Lax"

    def _mac(self, signed: bytes) -> bytes:
        return hmac.new(self._key, COOKIE.encode() + b"|" + signed, hashlib.sha256).digest()


def first_cookie(header: str) -> str:
    """The value of the first session cookie in a Cookie header, "" if there is none."""
    for part in header.split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE:
            return value.strip('"')
    return ""


def connection_cookie(value: str) -> dict[str, object]:
    """A cookie in the format of ``server_connection`` (Go's http.Cookie with all other fields unset)."""
    return {
        "Name": COOKIE,
        "Value": value,
        "Path": "",
        "Domain": "",
        "Expires": "0001-01-01T00:00:00Z",
        "RawExpires": "",
        "MaxAge": 0,
        "Secure": False,
        "HttpOnly": False,
        "SameSite": 0,
        "Raw": "",
        "Unparsed": None,
        "Quoted": False,
        "Partitioned": False,
    }
