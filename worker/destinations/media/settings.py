"""The settings that media servers have in common: address, key, which fields are written and how.

Readers collect a ``Problem`` or raise ``BadSetting``. A destination whose setting can't be read sends nothing
until it is mended, since what it would overwrite meanwhile is gone. What is written is media.py's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

from stash_courier.worker.http.addresses import BadSetting, Target, read_target
from stash_courier.worker.settings import Problem, label

# The fields that a media server can take, by the names that *_skip_fields knows. "ids" is the scene's own id.
ALL_FIELDS = (
    "title",
    "details",
    "date",
    "studio",
    "performers",
    "tags",
    "groups",
    "director",
    "rating",
    "ids",
)
OFF_BY_DEFAULT = frozenset({"rating"})  # it is the household's, not the scene's; "+rating" sends it
EMPTY = "empty"  # "+empty": what is empty in Stash is emptied at the server too
PAGES = {"web", "index.html"}  # how the addresses of the servers' own pages end


@dataclass(frozen=True, slots=True)
class Server:
    """A media server's address and key."""

    name: str  # as people call it: "Jellyfin"
    url: str = field(repr=False)  # with the path of a reverse proxy, without a slash at the end
    key: str = field(repr=False)
    authorization: str = field(default="", repr=False)  # Basic, made of the URL's login; "" without one
    password: str = field(default="", repr=False)  # the login's
    kind: str = ""  # what its settings begin with: "jellyfin"
    key_setting: str = ""  # the setting that holds the key

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
        """What no message may show."""
        return tuple(filter(None, (self.key, self.authorization, self.password)))


@dataclass(frozen=True, slots=True)
class Selection:
    """Which fields are written, and how."""

    fields: frozenset[str]
    add_only: bool = False  # lists get what is missing and lose nothing
    clear: bool = False  # an empty value in Stash empties the server's


def read_server(
    raw: Mapping[str, object], kind: str, key_setting: str, name: str
) -> tuple[Server | None, list[Problem]]:
    """Reads ``<kind>_url`` and the key that goes with it.

    Args:
        raw: the plugin's map as Stash stores it.
        kind: what the settings begin with, such as ``jellyfin``.
        key_setting: such as ``jellyfin_api_key``.
        name: the server's name for people.

    Returns:
        The server, None without a URL or if something is wrong; and what is wrong.
    """
    url_setting = f"{kind}_url"
    url = text(raw, url_setting)
    if not url:
        return None, []
    setting = url_setting
    try:
        target = _base_url(url)
        setting = key_setting
        key = _key(text(raw, key_setting))
    except BadSetting as error:
        return None, [
            Problem(setting, f"{label(setting)} {error}; nothing is sent to {name} until it is corrected.")
        ]
    return Server(name, target.url, key, target.authorization, target.password, kind, key_setting), []


def read_selection(
    raw: Mapping[str, object], kind: str, offered: Collection[str]
) -> tuple[Selection, list[Problem]]:
    """Reads ``<kind>_skip_fields`` and ``<kind>_add_only``.

    Names are separated by spaces or commas. One with ``+`` in front is sent although it is off by default;
    ``+empty`` lets what is empty in Stash empty the server's value too.

    Args:
        raw: the plugin's map as Stash stores it.
        kind: what the settings begin with.
        offered: which of ALL_FIELDS this server can take.
    """
    problems = []
    setting = f"{kind}_skip_fields"
    words = text(raw, setting).lower().replace(",", " ").replace(";", " ").split()
    off = sorted(OFF_BY_DEFAULT.intersection(offered))
    extra = {f"+{name}" for name in (*off, EMPTY)}
    bad = [str(place) for place, word in enumerate(words, 1) if word not in {*offered, *extra}]
    if bad:
        known = ", ".join([*(n for n in ALL_FIELDS if n in offered), *sorted(extra)])
        which = f"word {bad[0]}" if len(bad) == 1 else f"words {', '.join(bad[:5])}"
        problems.append(
            Problem(
                setting,
                f"{label(setting)} holds an unknown name: {which} must be one of {known}; "
                "nothing is sent there until it is corrected, so that no field is overwritten that was meant.",
            )
        )
    switches, wrong = read_switches(raw, f"{kind}_add_only")
    problems += wrong
    chosen = (set(offered) - OFF_BY_DEFAULT | {n for n in off if f"+{n}" in words}) - set(words)
    return Selection(frozenset(chosen), switches[f"{kind}_add_only"], f"+{EMPTY}" in words), problems


def text(raw: Mapping[str, object], setting: str) -> str:
    """A setting's text, "" if it is unset."""
    value = raw.get(setting)
    return "" if value is None else str(value).strip()


def read_switches(raw: Mapping[str, object], *settings: str) -> tuple[dict[str, bool], list[Problem]]:
    """Which of these settings are on; one that is neither on nor off is a problem."""
    values = {setting: text(raw, setting).lower() for setting in settings}
    problems = [
        Problem(setting, f"{label(setting)} must be on or off; nothing is sent there until it is corrected.")
        for setting, value in values.items()
        if value not in {"", "0", "false", "true"}
    ]
    return {setting: value == "true" for setting, value in values.items()}, problems


def fingerprint(raw: Mapping[str, object], kind: str) -> str:
    """A hash of a destination's settings."""
    mine = sorted((key, str(value)) for key, value in raw.items() if key.startswith(f"{kind}_"))
    return hashlib.sha256(json.dumps(mine).encode()).hexdigest()[:32]


def _base_url(url: str) -> Target:
    target = read_target(url)
    parts = urlsplit(target.url)
    path = parts.path.rstrip("/")
    if "#" in url or "?" in url or path.rpartition("/")[2] in PAGES:
        raise BadSetting("is the address of a page; enter what stands before /web, such as http://host:8096")
    return Target(urlunsplit((parts.scheme, parts.netloc, path, "", "")), target.authorization)


def _key(key: str) -> str:
    if not key:
        raise BadSetting("is empty")
    if not key.isascii() or not key.isprintable() or set(key) & set(' "\\,'):
        raise BadSetting("holds a space or a character that no key has; copy it anew")
    return key
