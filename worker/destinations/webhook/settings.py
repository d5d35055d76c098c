"""The webhook's settings: URLs, secrets and headers, parsed; problems in plain words that show no secret.

A bad URL costs that URL's destination. A bad secret or header costs all of them until it is mended: events
that are unsigned, or lack the header that lets them in, are worse than events that wait.
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from stash_courier.worker.http.addresses import BadSetting, Target, read_target
from stash_courier.worker.settings import Problem

SECRET_PREFIX = "whsec_"  # noqa: S105 - Standard Webhooks' mark of a secret, none itself
SECRET_BYTES = range(24, 65)  # Standard Webhooks: between 24 and 64 bytes
LONG_SEGMENT = 16  # characters; a part of a path that long is likely a token

# Ours, or HTTP's own; a header of the owner's must not change what they say. So is all of webhook-*.
RESERVED = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-hub-signature-256",
    }
)
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*:\s*([ -~]*)")  # RFC 9110's token; printable ASCII


@dataclass(frozen=True, slots=True)
class Secret:
    """One signing secret."""

    text: str = field(repr=False)  # as configured, ``whsec_…``
    key: bytes = field(repr=False)  # what it stands for


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the three settings ask for."""

    targets: tuple[Target, ...] = ()
    signing: tuple[Secret, ...] = ()  # one signature each; none: unsigned
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    usable: bool = True  # False: secret or headers must be corrected first
    unread: bool = False  # there are URLs that can't be used


def parse(raw: Mapping[str, object]) -> tuple[Wanted, list[Problem]]:
    """Parses ``webhook_url``, ``webhook_secret`` and ``webhook_headers``; never raises on their content."""
    targets, problems = _targets(_text(raw, "webhook_url"))
    unread = bool(problems)
    if not targets and not unread:
        return Wanted(), []
    # All that is wrong is told at once, whatever else is: who mends one of these shouldn't find the next then.
    signing: tuple[Secret, ...] = ()
    headers: Mapping[str, str] = {}
    usable = True
    try:
        signing = _signing(_text(raw, "webhook_secret"))
    except BadSetting as error:
        usable = False
        problems.append(Problem("webhook_secret", f"webhook_secret {error}."))
    try:
        headers, left_out = _headers(_text(raw, "webhook_headers"))
        if "authorization" in map(str.lower, headers) and any(t.authorization for t in targets):
            raise BadSetting("holds Authorization while webhook_url holds a login; leave one of them")  # noqa: TRY301
    except BadSetting as error:
        usable = False
        message = f"webhook_headers {error}; nothing is sent until it is corrected."
        problems.append(Problem("webhook_headers", message))
    else:
        problems += map(_left_out, left_out)
    return Wanted(tuple(targets), signing, headers, usable=usable, unread=unread), problems


def _left_out(header: str) -> Problem:
    message = f"webhook_headers holds {header}, which Stash Courier sets itself: it is left out, delete it there."
    return Problem("webhook_headers", message, minor=True)


def hidden(target: Target, signing: tuple[Secret, ...], headers: Mapping[str, str]) -> tuple[str, ...]:
    """What a receiver may echo and nobody may see.

    The secrets, the login, the values of headers (also without "Bearer" and the like), the URL's query and
    each of its values, and the parts of its path that look like a token.
    """
    parts = urlsplit(target.url)
    values = [*headers.values(), target.authorization]
    return (
        *(spelling for s in signing for spelling in (s.text, s.text.removeprefix(SECRET_PREFIX))),
        *(spelling for v in values for spelling in (v, v.rpartition(" ")[2])),
        target.password,
        parts.query,
        *(value for _, value in parse_qsl(parts.query)),
        *(segment for segment in parts.path.split("/") if len(segment) >= LONG_SEGMENT),
    )


def _text(raw: Mapping[str, object], setting: str) -> str:
    value = raw.get(setting)
    return "" if value is None else str(value).strip()


def _targets(text: str) -> tuple[list[Target], list[Problem]]:
    found: dict[str, Target] = {}
    problems = []
    for place, url in enumerate(dict.fromkeys(text.split()), start=1):
        try:
            target = _target(url)
            if found.setdefault(target.url, target) != target:
                raise BadSetting("is there twice with different logins; leave one")  # noqa: TRY301
        except BadSetting as error:
            message = f"URL {place} in webhook_url {error}; nothing is sent there until it is corrected."
            problems.append(Problem("webhook_url", message))
    return list(found.values()), problems


def _target(url: str) -> Target:
    if "://" not in url:
        raise BadSetting(
            "has no http:// or https:// in front (URLs are separated by spaces, a space inside one is written %20)"
        )
    target = read_target(url)
    if "#" in url:
        raise BadSetting("holds a #, which is never sent: it is likely the address of a page, not of a webhook")
    return target


def _signing(text: str) -> tuple[Secret, ...]:
    found = []
    for secret in text.split():
        try:
            key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
        except ValueError:
            key = b""
        if not secret.startswith(SECRET_PREFIX) or len(key) not in SECRET_BYTES:
            raise BadSetting(
                "is not whsec_ followed by 24 to 64 bytes in base64, so nothing is sent until it is corrected; "
                "«Show status» and «Test destinations» offer one that nobody has used yet"
            )
        found.append(Secret(secret, key))
    return tuple(found)


def fresh_secret() -> str:
    """A secret that nobody has used yet, for a person only: it belongs into no log of ours and no problem."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def _headers(text: str) -> tuple[dict[str, str], list[str]]:
    """The headers, and the names of those that are left out."""
    found: dict[str, str] = {}
    left_out = []
    parts = filter(None, (part.strip() for part in text.split(";")))
    for place, part in enumerate(parts, start=1):
        match = _HEADER.fullmatch(part)
        if match is None:
            raise BadSetting(
                f"holds at place {place} what isn't Name: value in plain ASCII (headers are separated by ;, "
                "which can't be part of one)"
            )
        name, value = match.groups()
        lower = name.lower()
        if lower in RESERVED or lower.startswith("webhook-"):
            left_out.append(name)
        elif lower in map(str.lower, found):
            raise BadSetting(f"holds {name} twice")
        else:
            found[name] = value
    return found, left_out
