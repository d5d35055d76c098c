"""The settings that media servers share: address, key, which fields are written and how.

A destination with a setting that can't be read sends nothing until the setting is corrected, since a field that
was overwritten by mistake can't be restored.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

from stash_courier.worker.http.addresses import BadSetting, Target, read_target
from stash_courier.worker.settings import Problem, label, stripped

# The fields that a media server may have, as *_skip_fields calls them. "ids" is the scene's id.
ALL_FIELDS = ("title", "details", "date", "studio", "performers", "tags", "groups", "director", "rating", "ids")
OFF_BY_DEFAULT = frozenset({"rating"})  # the household's rating, not the scene's; "+rating" sends it
EMPTY = "empty"  # "+empty": a field that is empty in Stash is emptied on the server too
PAGES = {"web", "index.html"}  # the last part of the address of a server's own page


@dataclass(frozen=True, slots=True)
class Server:
    """A media server, as its settings describe it."""

    name: str  # for the owner: "Jellyfin"
    url: str = field(repr=False)  # includes the path of a reverse proxy; no trailing slash
    key: str = field(repr=False)
    authorization: str = field(default="", repr=False)  # Basic, from the login in the URL; "" without one
    password: str = field(default="", repr=False)  # of that login
    kind: str = ""  # the prefix of its settings: "jellyfin"
    key_setting: str = ""  # the setting that holds the key
    fingerprint: str = ""  # a hash of all its settings

    @property
    def url_setting(self) -> str:
        """The setting that holds the address."""
        return f"{self.kind}_url"

    @property
    def host(self) -> str:
        """``host[:port]``."""
        return Target(self.url).host

    @property
    def hidden(self) -> tuple[str, ...]:
        """The secrets, which no message may show."""
        return tuple(filter(None, (self.key, self.authorization, self.password)))


@dataclass(frozen=True, slots=True)
class Selection:
    """Which fields are written, and how."""

    fields: frozenset[str]
    add_only: bool = False  # nothing is removed from lists
    clear: bool = False  # a value that is empty in Stash is emptied on the server
    switches: frozenset[str] = frozenset()  # the other switches of the destination that are on


def read_server(
    raw: Mapping[str, object], kind: str, key_setting: str, name: str
) -> tuple[Server | None, list[Problem]]:
    """Reads ``<kind>_url`` and the key. The server is None without a URL or with a problem.

    Args:
        kind: the prefix of the settings, such as ``jellyfin``.
        key_setting: such as ``jellyfin_api_key``.
        name: the server's name for the owner.
    """
    setting = f"{kind}_url"
    url = stripped(raw, setting)
    if not url:
        return None, []
    try:
        target = _base_url(url)
        setting = key_setting
        key = _key(stripped(raw, key_setting))
    except BadSetting as error:
        message = f"{label(setting)} {error}; nothing is sent to {name} until it is corrected."
        return None, [Problem(setting, message)]
    login = (target.authorization, target.password)
    return Server(name, target.url, key, *login, kind, key_setting, fingerprint(raw, kind)), []


def read_selection(
    raw: Mapping[str, object], kind: str, offered: Collection[str], *switches: str
) -> tuple[Selection, list[Problem]]:
    """Reads ``<kind>_skip_fields``, ``<kind>_add_only`` and other switches.

    Names are separated by spaces, commas or semicolons. ``+name`` sends a field that is off by default. ``+empty``
    empties fields on the server that are empty in Stash.

    Args:
        offered: the names of ALL_FIELDS that this server has.
        switches: the keys of the other switches.
    """
    problems = []
    setting = f"{kind}_skip_fields"
    words = stripped(raw, setting).lower().replace(",", " ").replace(";", " ").split()
    off = sorted(OFF_BY_DEFAULT.intersection(offered))
    extra = {f"+{name}" for name in (*off, EMPTY)}
    bad = [str(position) for position, word in enumerate(words, 1) if word not in {*offered, *extra}]
    if bad:
        known = ", ".join([*(n for n in ALL_FIELDS if n in offered), *sorted(extra)])
        which = f"word {bad[0]}" if len(bad) == 1 else f"words {', '.join(bad[:5])}"
        message = (
            f"{label(setting)} contains an unknown name: {which} must be one of {known}; nothing is sent there "
            "until it is corrected, so that no protected field is overwritten."
        )
        problems.append(Problem(setting, message))
    add_only = f"{kind}_add_only"
    values = {switch: stripped(raw, switch).lower() for switch in (add_only, *switches)}
    problems += [
        Problem(switch, f"{label(switch)} must be on or off; nothing is sent there until it is corrected.")
        for switch, value in values.items()
        if value not in {"", "0", "false", "true"}
    ]
    on = frozenset(switch for switch, value in values.items() if value == "true")
    switched_on = {name for name in off if f"+{name}" in words}
    chosen = (set(offered) - OFF_BY_DEFAULT | switched_on) - set(words)
    return Selection(frozenset(chosen), add_only in on, f"+{EMPTY}" in words, on - {add_only}), problems


def fingerprint(raw: Mapping[str, object], kind: str) -> str:
    """A hash of a destination's settings."""
    mine = sorted((key, str(value)) for key, value in raw.items() if key.startswith(f"{kind}_"))
    return hashlib.sha256(json.dumps(mine).encode()).hexdigest()[:32]


def _base_url(url: str) -> Target:
    target = read_target(url)
    parts = urlsplit(target.url)
    path = parts.path.rstrip("/")
    if "#" in url or "?" in url or path.rpartition("/")[2] in PAGES:
        raise BadSetting("is the address of a page; enter the part before /web, such as http://host:8096")
    return Target(urlunsplit((parts.scheme, parts.netloc, path, "", "")), target.authorization)


def _key(key: str) -> str:
    if not key:
        raise BadSetting("is empty")
    if not key.isascii() or not key.isprintable() or set(key) & set(' "\\,'):
        raise BadSetting("contains a space or a character that no key has; copy it again")
    return key
