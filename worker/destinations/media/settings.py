"""The fields that media servers share: address, key, which fields of an item are written and how.

A connection with a field that can't be read sends nothing until it is corrected, since a value on the server that
was overwritten by mistake can't be restored.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from stash_courier.worker import fields
from stash_courier.worker.fields import BadSetting, Fix, Value
from stash_courier.worker.http.addresses import Target, is_usable, read_target

# The fields that an item may have, as "skip_fields" calls them. "ids" is the scene's id.
ALL_FIELDS = ("title", "details", "date", "studio", "performers", "tags", "groups", "director", "rating", "ids")
OFF_BY_DEFAULT = frozenset({"rating"})  # the household's rating, not the scene's; "+rating" sends it
EMPTY = "empty"  # "+empty": a field that is empty in Stash is emptied on the server too
PAGES = {"web", "index.html"}  # the last part of the address of a server's own page
OWN_PATHS = {*PAGES, "library", "identity", "items", "system"}  # where the servers' own paths begin
KEYS = {"x-plex-token", "x-emby-token", "api_key", "apikey"}  # parameters of pasted links

Collections = Literal["none", "studio", "groups", "both"]  # what becomes a collection


@dataclass(frozen=True, slots=True)
class Server:
    """A media server, as its connection describes it."""

    name: str  # for the owner: "Jellyfin"
    target: Target = field(repr=False)  # with the path of a reverse proxy; no trailing slash
    key: str = field(repr=False)
    key_label: str = '"API key"'

    @property
    def url(self) -> str:
        """Its address, without a trailing slash."""
        return self.target.url

    @property
    def host(self) -> str:
        """``host[:port]``."""
        return self.target.host

    @property
    def authorization(self) -> str:
        """Basic, from the login in the address; "" without one."""
        return self.target.authorization

    @property
    def hidden(self) -> tuple[str, ...]:
        """The secrets, which no message may show."""
        return tuple(filter(None, (self.key, self.authorization, self.target.password)))


@dataclass(frozen=True, slots=True)
class Selection:
    """Which fields of an item are written."""

    fields: frozenset[str]
    clear: bool = False  # a value that is empty in Stash is emptied on the server


def address(about: str) -> Any:
    """The field with the server's address."""
    return fields.text(
        "Address", about, _base_url, Target(""), required=True, basic=True, example="http://192.168.1.5:8096"
    )


def key(name: str, about: str) -> Any:
    """The field with the server's key."""
    return fields.secret(name, about, _key, required=True, basic=True)


def selection(offered: Collection[str], how: str) -> Any:
    """The field that says which fields are left alone.

    Args:
        offered: the names of ALL_FIELDS that this server has.
        how: what happens to the others, for a person.
    """
    off = sorted(OFF_BY_DEFAULT.intersection(offered))
    plus = {f"+{name}" for name in (*off, EMPTY)}
    known = [name for name in ALL_FIELDS if name in offered]

    def read(value: Value) -> Selection:
        words = [word.lower() for word in value.parts(r"\s,;")]
        value.usable(
            [word if word in {*known, *plus} else None for word in words],
            f"be one of {', '.join([*known, *sorted(plus)])}",
        )
        switched_on = {name for name in off if f"+{name}" in words}
        chosen = (set(offered) - OFF_BY_DEFAULT | switched_on) - set(words)
        return Selection(frozenset(chosen), f"+{EMPTY}" in words)

    names = ", ".join(name for name in known if name not in OFF_BY_DEFAULT)
    return fields.several(
        "Fields to leave alone",
        f"Fields that are not sent: any of {names}. +rating sends the rating too. +empty clears a field there if "
        "it is empty in Stash.",
        read,
        Selection(frozenset(offered) - OFF_BY_DEFAULT),
        unset=how,
        example="title, studio, +rating",
    )


def add_only(name: str, lists: str) -> Any:
    """The switch that keeps what is on the server's lists. ``lists``: which they are, in words."""
    return fields.switch(
        "Lists are only added to",
        f"Adds {lists} to an item in {name} and removes none. What was added there by hand stays.",
        unset="off, what is no longer in Stash is removed there",
    )


def tags_as(name: str, choices: Mapping[str, str], kept: str) -> Any:
    """The field that says what a scene's tags become; the first choice is the default.

    Args:
        name: the server's.
        choices: the choices and their names, for a person.
        kept: the list of which only what came from here is removed.
    """
    return fields.choice(
        "Tags become",
        f"What a scene's tags are in {name}. What an earlier choice wrote stays. Of an item's {kept}, only those "
        "that were added from here are removed.",
        choices,
        unset=next(iter(choices)),
    )


def respect_locks(name: str, more: str) -> Any:
    """The switch that leaves what the owner locked alone. ``more``: what it says besides, in whole sentences."""
    return fields.switch(
        "Leave locked fields alone",
        f"Leaves a field alone that is locked in {name}, unless its value came from here. {more} Switched off, "
        "locks are ignored.",
        on=True,
        unset="on",
    )


def date_added(name: str) -> Any:
    """The switch that sends when Stash got a scene."""
    return fields.switch(
        "Send the date added",
        f"Writes when Stash got a scene as the date on which {name} says that it was added.",
        unset=f"off, {name}'s own date stays",
    )


def collections(default: Collections, unset: str) -> Any:
    """The field that says what becomes a collection."""
    what = {
        "none": "None",
        "studio": "One for each studio",
        "groups": "One for each group",
        "both": "For studios and groups",
    }
    return fields.choice(
        "Collections",
        "Adds scenes to a collection for their studio or their groups. It is made if there is none of that name. "
        "Scenes are taken out only if they were added from here, and no collection is deleted.",
        {default: what[default], **what},
        unset=unset,
    )


def absent(name: str) -> Any:
    """The field that says what becomes of scenes that the server doesn't have."""
    return fields.choice(
        f"Scenes that {name} doesn't have",
        f"What becomes of a scene that {name} doesn't have. One that came to Stash within the last day is always "
        "announced and waited for first, unless its name rules it out.",
        {
            "wait": "Wait about 2 hours, then make a dead letter",
            "skip": f"Skip them, because {name} has only a part of the scenes",
            "dead_letter": "Make a dead letter at once",
        },
        unset="they are waited for",
    )


def _base_url(value: Value) -> Target:
    url = value.text()
    try:
        target = read_target(url)
    except BadSetting as error:
        raise BadSetting(str(error), error.fix and _corrected(url)) from None
    parts = urlsplit(target.url)
    path = parts.path.rstrip("/")
    fix = _corrected(url)
    if fix is not None and "key" in fix.values:
        raise BadSetting("is a link with the server's key in it; enter the server's address alone", fix)
    if "#" in url or "?" in url or path.rpartition("/")[2] in PAGES:
        raise BadSetting("is the address of a page; enter the part before /web, such as http://host:8096", fix)
    return Target(urlunsplit((parts.scheme, parts.netloc, path, "", "")), target.authorization)


def _corrected(url: str) -> Fix | None:
    """The server's address in a link that was pasted, and the key if the link has one; None without an address."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
    except ValueError:
        return None
    folders = parts.path.split("/")
    end = next((n for n, folder in enumerate(folders) if folder.lower() in OWN_PATHS), len(folders))
    address = urlunsplit((parts.scheme, parts.netloc, "/".join(folders[:end]).rstrip("/"), "", ""))
    if not is_usable(address):
        return None
    given = [*parse_qsl(parts.query), *parse_qsl(parts.fragment.partition("?")[2])]
    keys = {"key": value} if (value := next((v for name, v in given if name.lower() in KEYS), "")) else {}
    more = ", and the key in the link as the key" if keys else ""
    return Fix(f"Use {read_target(address).url.rstrip('/')} as the address{more}", {"url": address, **keys})


def _key(value: Value) -> str:
    text = value.text()
    if not text.isascii() or not text.isprintable() or set(text) & set(' "\\,'):
        raise BadSetting("contains a space or a character that no key has; copy it again")
    return text
