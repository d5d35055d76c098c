"""The webhook's settings: entries for Stash's page, and how URLs, secrets and headers are parsed.

A bad URL stops only that URL's destination. A bad secret or header stops all of them until it is corrected:
events that are unsigned, or lack the header that admits them, are worse than events that wait. No problem
contains a secret.
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from stash_courier.worker.http.addresses import BadSetting, Target, read_target
from stash_courier.worker.settings import Problem, Setting, declare, label, stripped

SETTINGS = declare(
    Setting(
        "webhook_headers",
        "STRING",
        "Webhook, extra headers",
        "Sent with every webhook request, in the form name, colon, value, separated by semicolons. Stash shows "
        "them in plain text.",
        default="empty, none",
        example="Authorization: Bearer abc; X-Source: stash",
    ),
    Setting(
        "webhook_secret",
        "STRING",
        "Webhook, signing secret",
        "Signs each request by Standard Webhooks, so that receivers can verify the sender. Enter whsec_ followed "
        "by 24 to 64 random bytes in base64. While you change it, enter both secrets separated by a space. Stash "
        "shows it in plain text.",
        default="empty, not signed",
    ),
    Setting(
        "webhook_url",
        "STRING",
        "Webhook, URL",
        "Where each change is sent, by http or https. Several URLs are separated by spaces, and each is a "
        "destination of its own.",
        default="empty, no webhook",
        example="http://192.168.1.5:5678/webhook/stash",
    ),
)

SECRET_PREFIX = "whsec_"  # noqa: S105 - how secrets begin by Standard Webhooks, not a secret
SECRET_BYTES = range(24, 65)  # Standard Webhooks: between 24 and 64 bytes
# Parts of a URL's path that are never a token. Any other part may be one, however short.
PATH_WORDS = {"api", "event", "events", "hook", "hooks", "incoming", "notify", "scene", "scenes", "services"}
PATH_WORDS |= {"stash", "test", "trigger", "triggers", "webhook", "webhook-test", "webhooks", "workflows"}

# Set by us or by HTTP itself, so the owner can't override them.
_RESERVED = re.compile(
    "accept-encoding|connection|content-(encoding|length|type)|expect|host|te|trailer|transfer-encoding|upgrade|"
    "x-hub-signature-256|webhook-.*"
)
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*:\s*([ -~]*)")  # a token of RFC 9110; printable ASCII


@dataclass(frozen=True, slots=True)
class Secret:
    """One signing secret."""

    text: str = field(repr=False)  # as configured
    key: bytes = field(repr=False)  # decoded


@dataclass(frozen=True, slots=True)
class Wanted:
    """The three settings, parsed."""

    targets: tuple[Target, ...] = ()
    signing: tuple[Secret, ...] = ()  # one signature each; empty: unsigned
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    usable: bool = True  # False: secret or headers must be corrected first
    bad_urls: bool = False  # some URLs can't be used


def parse(raw: Mapping[str, object]) -> tuple[Wanted, list[Problem]]:
    """Parses ``webhook_url``, ``webhook_secret`` and ``webhook_headers``; never raises on their content.

    All problems are reported at once, so that the owner doesn't find them one by one.
    """
    targets, problems = _targets(stripped(raw, "webhook_url"))
    bad_urls = bool(problems)
    if not targets and not bad_urls:
        return Wanted(), []
    signing: tuple[Secret, ...] = ()
    headers: Mapping[str, str] = {}
    usable = True
    try:
        signing = _signing(stripped(raw, "webhook_secret"))
    except BadSetting as error:
        usable = False
        problems.append(Problem("webhook_secret", f"{label('webhook_secret')} {error}."))
    name = label("webhook_headers")
    login = any(target.authorization for target in targets)
    try:
        headers, left_out = _headers(stripped(raw, "webhook_headers"), login=login)
    except BadSetting as error:
        usable = False
        problems.append(Problem("webhook_headers", f"{name} {error}; nothing is sent until it is corrected."))
    else:
        for header in left_out:
            wrong = f"{name} contains {header}, which Stash Courier sets itself. It is not used; delete it there."
            problems.append(Problem("webhook_headers", wrong, minor=True))
    return Wanted(tuple(targets), signing, headers, usable=usable, bad_urls=bad_urls), problems


def fresh_secret() -> str:
    """A new random secret. Show it to the owner only; never log or store it."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def hidden(target: Target, signing: tuple[Secret, ...], headers: Mapping[str, str]) -> tuple[str, ...]:
    """What a receiver may echo but no text may show.

    The secrets, the login, the values of headers (with and without a scheme such as "Bearer"), the URL's query
    and each of its values, and the parts of its path that may be a token.
    """
    parts = urlsplit(target.url)
    path = parts.path.strip("/")
    tokens = [part for part in path.split("/") if part.lower() not in PATH_WORDS]
    values = [*headers.values(), target.authorization]
    return (
        *(spelling for s in signing for spelling in (s.text, s.text.removeprefix(SECRET_PREFIX))),
        *(spelling for v in values for spelling in (v, v.rpartition(" ")[2])),
        target.password,
        parts.query,
        *(value for _, value in parse_qsl(parts.query)),
        *(spelling for token in (tokens and [path, *tokens]) for spelling in (token, unquote(token))),
    )


def _targets(text: str) -> tuple[list[Target], list[Problem]]:
    found: dict[str, Target] = {}
    problems = []
    for place, url in enumerate(dict.fromkeys(text.split()), start=1):
        wrong = ""
        try:
            target = _target(url)
        except BadSetting as error:
            wrong = str(error)
        else:
            if found.setdefault(target.url, target) != target:
                wrong = "is entered twice with different logins; delete one"
        if wrong:
            which = f"URL {place} in {label('webhook_url')} {wrong}"
            problems.append(Problem("webhook_url", f"{which}; nothing is sent there until it is corrected."))
    return list(found.values()), problems


def _target(url: str) -> Target:
    if "://" not in url:
        raise BadSetting(
            "has no http:// or https:// in front (URLs are separated by spaces; write a space in a URL as %20)"
        )
    target = read_target(url)
    if "#" in url:
        raise BadSetting("contains a #, which is never sent: it is likely the address of a page, not of a webhook")
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
                'press "Show status" or "Test destinations" to get a new one'
            )
        found.append(Secret(secret, key))
    return tuple(found)


def _headers(text: str, *, login: bool) -> tuple[dict[str, str], list[str]]:
    """The headers, and the names of those that are not used. With a login in a URL there must be no other."""
    found: dict[str, str] = {}
    seen: set[str] = set()  # their names in lower case
    left_out = []
    for place, part in enumerate(filter(None, map(str.strip, text.split(";"))), start=1):
        match = _HEADER.fullmatch(part)
        if match is None:
            raise BadSetting(
                f"is invalid: entry {place} must be Name: value in plain ASCII (headers are separated by ;, "
                "so they can't contain one)"
            )
        name, value = match.groups()
        lower = name.lower()
        if _RESERVED.fullmatch(lower):
            left_out.append(name)
            continue
        if lower in seen:
            raise BadSetting(f"contains {name} twice")
        if lower == "authorization" and login:
            raise BadSetting(f"contains {name} while {label('webhook_url')} contains a login; delete one of them")
        seen.add(lower)
        found[name] = value
    return found, left_out
