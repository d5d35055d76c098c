"""Changes of connections: what a person entered, put together with what is stored. Pure.

A field that isn't given stays as it is stored. A person never gets a stored secret back, so this goes for secrets
too. But a secret is sent to the address. If scheme, host or port change it must be entered again; otherwise any
script could have it sent elsewhere. The same applies if the change would show it, as an address is shown with most
presets.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from stash_courier.worker.connections.model import ENDED, Entry, State
from stash_courier.worker.connections.store import Stored
from stash_courier.worker.fields import BadSetting, Problem
from stash_courier.worker.http.addresses import read_target

ADDRESS = "url"
LONGEST_NAME = 100  # characters
_ELSEWHERE = "The address has changed. Enter this again, so that it isn't sent elsewhere unnoticed."
_SHOWN = "With these values this is not hidden. Enter it again, so that it isn't shown unnoticed."


@dataclass(frozen=True, slots=True)
class Draft:
    """A connection as a person entered it. None: as it is stored."""

    id: str | None = None  # None: a new connection
    kind: str | None = None
    name: str | None = None
    state: State | None = None
    values: Mapping[str, object] | None = field(default=None, repr=False)  # what changes; "" unsets a field


def merged(
    draft: Draft,
    before: Entry | None,
    fields_of: Callable[[str, Mapping[str, object]], Collection[str]],
    secrets_of: Callable[[str, Mapping[str, object]], Collection[str]],
    now: float,
) -> tuple[Entry, list[Problem]]:
    """The connection that a draft makes of the stored one.

    Args:
        draft: what was entered.
        before: the stored connection; None for a new one.
        fields_of: the fields that a kind has with these values.
        secrets_of: those that are never given back.
        now: wall time, unix seconds.

    Returns:
        The connection, whose id is "" if it is new, and what is wrong: a secret that must be entered again.
    """
    entry = before or Entry("", "", draft.kind or "")
    given = {key: value for key, value in (draft.values or {}).items() if value is not None}
    absent = {key: value for key, value in entry.values.items() if key not in given}
    # What only another preset has doesn't stay.
    known = fields_of(entry.kind, {**absent, **given}) if given else entry.values.keys()
    secrets = secrets_of(entry.kind, entry.values)
    values = {**{key: value for key, value in absent.items() if key in known and key not in secrets}, **given}
    kept = {key: absent[key] for key in sorted(absent) if key in known and key in secrets}
    problems = []
    if draft.kind not in {None, entry.kind}:
        problems.append(Problem("kind", f"The kind can't be changed. This connection's kind is {entry.kind}."))
    if kept and ADDRESS not in kept and _origin(values.get(ADDRESS)) != _origin(entry.values.get(ADDRESS)):
        problems += [Problem(key, _ELSEWHERE) for key in kept]
        kept = {}
    hidden = secrets_of(entry.kind, {**values, **kept})
    problems += [Problem(key, _SHOWN) for key in kept if key not in hidden]
    kept = {key: value for key, value in kept.items() if key in hidden}
    state = draft.state or entry.state
    off_since = entry.off_since or now if state in ENDED else 0.0
    name = entry.name if draft.name is None else draft.name.strip()
    found = replace(entry, name=name, state=state, off_since=off_since, values={**values, **kept})
    return found, problems


def copied(entry: Entry) -> Entry:
    """A new connection with this one's values, secrets included; its name must still be given."""
    return Entry("", "", entry.kind, values=entry.values)


def host(entry: Entry) -> str:
    """``host[:port]`` of a connection's address; "" if that can't be read."""
    try:
        return read_target(str(entry.values.get(ADDRESS) or "")).host
    except BadSetting:
        return ""


def wrong_name(name: str, connection: str, stored: Stored) -> list[Problem]:
    """What is wrong with the name of the connection with this id."""
    taken = {entry.name.casefold() for entry in stored.entries if entry.id != connection}
    if not name:
        return [Problem("name", "Enter a name.")]
    if len(name) > LONGEST_NAME or not name.isprintable():
        return [Problem("name", f"The name must be one line of at most {LONGEST_NAME} characters.")]
    if name.casefold() in taken:
        return [Problem("name", "Another connection has this name.")]
    return []


def saved(stored: Stored, entry: Entry, now: float) -> tuple[Stored, Entry]:
    """The content of connections.json with a connection that is new or has changed, and that connection.

    Ids are numbered from the wall time on, so that none comes back with an older connections.json, or without one.
    """
    number = max(stored.next_number, int(now))
    if not entry.id:
        entry = replace(entry, id=f"{entry.kind}-{number}")
        return replace(stored, entries=(*stored.entries, entry), next_number=number + 1), entry
    return replace(stored, entries=tuple(entry if one.id == entry.id else one for one in stored.entries)), entry


def deleted(stored: Stored, connection: str) -> Stored:
    """The content of connections.json without a connection, whose id is never used again."""
    left = tuple(entry for entry in stored.entries if entry.id != connection)
    return replace(stored, entries=left, retired=stored.retired | {connection})


def offers(before: Entry | None, after: Entry) -> list[dict[str, object]]:
    """What the owner may want sent after a change: arguments for the mode send_existing."""
    if before is None or _origin(before.values.get(ADDRESS)) != _origin(after.values.get(ADDRESS)):
        return [{"connection": after.id, "all": True}]
    if before.state == "off" and after.state != "off":
        return [{"connection": after.id, "since": before.off_since}]
    return []


def _origin(url: object) -> tuple[str, str]:
    """Scheme and ``host[:port]`` of an address."""
    try:
        target = read_target(str(url or ""))
    except BadSetting:
        return "", str(url or "")
    return target.url.partition(":")[0], target.host
