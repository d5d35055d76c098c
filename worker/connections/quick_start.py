"""Connections from the settings on Stash's page: the quick start, and the settings that earlier versions had
there.

Each set of quick start settings is an implicit connection. ``convert`` makes real ones of them, with the filters
and other settings of earlier versions. Until those were converted nothing is sent, because a filter may be among
them.

A browser tab that was opened before the conversion may write the old values back. So a digest of each converted
value is kept, and the same value is ignored from then on. It has come back if Stash still had it after the program
that converted it had emptied the setting. Settings that were read before that say nothing.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from stash_courier.queue.inbox.events import EVENTS
from stash_courier.worker.connections.model import Entry, State
from stash_courier.worker.connections.store import Stored
from stash_courier.worker.fields import BadSetting, Problem
from stash_courier.worker.http.addresses import Target, read_target
from stash_courier.worker.settings import label

WEBHOOKS = "webhook_url"
LONGEST_AGE = 3600.0  # seconds for which settings may have been in use; a greater difference is a clock's jump
# Media servers: kind → its settings on Stash's page and the fields that they are.
SERVERS: Mapping[str, Mapping[str, str]] = {
    "emby": {"emby_url": "url", "emby_api_key": "key"},
    "jellyfin": {"jellyfin_url": "url", "jellyfin_api_key": "key"},
    "plex": {"plex_url": "url", "plex_token": "key"},
}
# Settings of earlier versions → the fields that they became, for each kind; "" for all kinds.
FORMER: Mapping[str, tuple[str, str]] = {
    "emby_url": ("emby", "url"),
    "emby_api_key": ("emby", "key"),
    "filter_only_organized": ("", "only_organized"),
    "filter_paths": ("", "folders"),
    "filter_skip_events": ("", "events"),
    "filter_skip_tags": ("", "skip_tags"),
    "jellyfin_add_only": ("jellyfin", "add_only"),
    "jellyfin_images": ("jellyfin", "images"),
    "jellyfin_refresh_only": ("jellyfin", "refresh_only"),
    "jellyfin_skip_fields": ("jellyfin", "skip_fields"),
    "plex_add_only": ("plex", "add_only"),
    "plex_images": ("plex", "images"),
    "plex_libraries": ("plex", "libraries"),
    "plex_skip_fields": ("plex", "skip_fields"),
    "webhook_headers": ("webhook", "headers"),
}
# Common settings of earlier versions → their keys now.
RENAMED: Mapping[str, str] = {
    "dead_letter_retention_days": "worker_dead_letter_days",
    "delivery_concurrency": "worker_concurrency",
    "delivery_max_attempts": "worker_attempts",
    "delivery_retry_schedule": "worker_schedule",
    "delivery_settle_seconds": "worker_settle_seconds",
    "delivery_timeout_seconds": "worker_timeout_seconds",
    "sweep_minutes": "worker_sweep_minutes",
    "sweep_off": "worker_sweep_off",
}


@dataclass(frozen=True, slots=True)
class Implicit:
    """What the settings on Stash's page say about connections."""

    entries: tuple[Entry, ...] = ()
    former: tuple[str, ...] = ()  # keys of settings of earlier versions that must be converted first
    returned: tuple[str, ...] = ()  # keys with a value that was converted before: an old tab wrote it back
    bad_urls: tuple[Problem, ...] = ()  # webhooks whose id isn't known until their URL is corrected

    @property
    def problems(self) -> list[Problem]:
        """What the owner should know."""
        found = list(self.bad_urls)
        if self.former:
            first = "" if self.entries else "Enter the address of a receiver first if there is none. "
            wrong = (
                f"These settings are of an earlier version: {', '.join(self.former)}. Nothing is sent until they "
                f'are converted. {first}Press "Convert settings".'
            )
            found.append(Problem(self.former[0], wrong))
        return found + [Problem(key, _back(key), minor=True) for key in self.returned]


def read(raw: Mapping[str, object], stored: Stored, asked_at: float = math.inf) -> Implicit:
    """The implicit connections in the plugin's map as Stash stores it; ``asked_at`` is since when, a wall time."""
    returned = [
        key for key in (*FORMER, *RENAMED) if _set(raw, key) and _digest(key, raw[key]) in stored.converted
    ]
    former = [key for key in (*FORMER, *RENAMED) if _set(raw, key) and key not in returned]
    used = {entry.id for entry in stored.entries} | stored.retired
    entries = []
    for kind, names in SERVERS.items():
        url, *_ = names
        if not _set(raw, url) or url in returned:
            continue
        if _digest(url, raw[url]) in stored.converted:
            returned.append(url)
            continue
        values = {name: raw[key] for key, name in names.items() if _set(raw, key)}
        entries.append(_entry(_unused(kind, used), kind, values, raw))
    targets, bad_urls = _webhooks(raw)
    for target in targets:
        if _digest(WEBHOOKS, target.text) in stored.converted:
            returned.append(WEBHOOKS)
            continue
        values = {"url": target.text, **({"secret": raw["webhook_secret"]} if _set(raw, "webhook_secret") else {})}
        entries.append(_entry(_unused(target.id, used), "webhook", values, raw))
    back = dict.fromkeys(returned if shows_returned(stored, asked_at) else ())
    return Implicit(tuple(entries), tuple(former), tuple(back), tuple(bad_urls))


def shows_returned(stored: Stored, asked_at: float) -> bool:
    """Whether a converted value has come back if settings have it that Stash was asked for at this wall time."""
    return not stored.emptied_at - LONGEST_AGE < asked_at < stored.emptied_at


def converted(raw: Mapping[str, object], stored: Stored, kind: str = "") -> tuple[Stored, dict[str, object]]:
    """Implicit connections as real ones: those of one kind, or all.

    Settings of earlier versions are converted with all.

    Returns:
        The new content of connections.json, and the plugin's map that Stash shall store.
    """
    implicit = read(raw, stored)
    chosen = [entry for entry in implicit.entries if kind in {"", entry.kind}]
    made = [_with_former(entry, raw, implicit) for entry in chosen]
    kinds = (kind,) if kind else (*SERVERS, "webhook")
    # A key without an address makes no connection, so it stays for the address that may follow.
    gone = {key for one in kinds if _set(raw, _keys(one)[0]) for key in _keys(one)}
    if gone and len(chosen) == len(implicit.entries):
        gone.add("path_map")  # no implicit connection is left that needs it
    former = set() if kind else {*FORMER, *RENAMED} - {*_early(implicit, stored)}
    gone = {key for key in gone | former if _set(raw, key)}
    known_again = {*FORMER, *RENAMED, *(_keys(server)[0] for server in SERVERS)}
    digests = {_digest(key, raw[key]) for key in gone & known_again}
    if WEBHOOKS in gone:
        digests.update(_digest(WEBHOOKS, target.text) for target in _webhooks(raw)[0])
    left = {key: value for key, value in raw.items() if key not in gone}
    # Also if it is known as converted: a crash may have come before Stash stored it under its new key.
    for key in gone & RENAMED.keys():
        if not _set(raw, RENAMED[key]):
            left[RENAMED[key]] = raw[key]
    found = replace(stored, entries=(*stored.entries, *made), converted=stored.converted | digests)
    return found, left


def _keys(kind: str) -> list[str]:
    """The keys of a kind's quick start, its address first."""
    return list(SERVERS.get(kind, {WEBHOOKS: "url", "webhook_secret": "secret"}))


def unclaimed(implicit: Implicit, stored: Stored) -> list[str]:
    """Keys of settings of earlier versions that no connection takes over."""
    kinds = {entry.kind for entry in implicit.entries}
    early = _early(implicit, stored)
    return [key for key in implicit.former if key in FORMER and key not in early and not kinds & _kinds_of(key)]


def _early(implicit: Implicit, stored: Stored) -> list[str]:
    """Keys of filters that stay, since there is no connection yet: they are for the first one."""
    if implicit.entries or stored.entries:
        return []
    return [key for key in implicit.former if key in FORMER and not FORMER[key][0]]


def _kinds_of(key: str) -> set[str]:
    kind = FORMER[key][0]
    return {kind} if kind else {*SERVERS, "webhook"}


def _with_former(entry: Entry, raw: Mapping[str, object], implicit: Implicit) -> Entry:
    """A real connection with the values that earlier versions had on Stash's page."""
    own = {
        name: _former_value(key, raw[key])
        for key, (kind, name) in FORMER.items()
        if kind in {"", entry.kind} and key in implicit.former
    }
    state: State = "off" if own.get("events") == [] else entry.state  # every event was skipped
    return replace(entry, implicit=False, state=state, values={**own, **entry.values})


def _entry(name: str, kind: str, values: Mapping[str, object], raw: Mapping[str, object]) -> Entry:
    rules = {"path_map": raw["path_map"]} if _set(raw, "path_map") else {}
    return Entry(name, name, kind, "on", {**values, **rules}, implicit=True)


@dataclass(frozen=True, slots=True)
class _Webhook:
    text: str = field(repr=False)  # as entered
    id: str


def _webhooks(raw: Mapping[str, object]) -> tuple[list[_Webhook], list[Problem]]:
    """The usable URLs, and what is wrong with the others.

    Every URL of a shared host gets a suffix, so that no id depends on their order.
    """
    found: dict[str, tuple[str, Target]] = {}
    problems = []
    for place, text in enumerate(dict.fromkeys(str(raw.get(WEBHOOKS) or "").split()), start=1):
        wrong = ""
        try:
            target = read_target(text)
        except BadSetting as error:
            wrong = str(error)
        else:
            if found.setdefault(target.url, (text, target))[1] != target:
                wrong = "is entered twice with different logins; delete one"
        if wrong:
            message = f"URL {place} in {label(WEBHOOKS)} {wrong}. Nothing is sent there until it is corrected."
            problems.append(Problem(WEBHOOKS, message))
    hosts = [target.host for _, target in found.values()]
    webhooks = []
    for text, target in found.values():
        suffix = f"-{hashlib.sha256(target.url.encode()).hexdigest()[:8]}" if hosts.count(target.host) > 1 else ""
        webhooks.append(_Webhook(text, f"webhook:{target.host}{suffix}"))
    return webhooks, problems


def _unused(wanted: str, used: set[str]) -> str:
    """The wanted id, with a number if a connection has or had it. No other id contains a #."""
    numbered = (f"{wanted}#{number}" for number in itertools.count(2))
    found = next(name for name in itertools.chain([wanted], numbered) if name not in used)
    used.add(found)
    return found


def _former_value(key: str, value: object) -> object:
    if key != "filter_skip_events":
        return value
    skipped = str(value).lower().replace(",", " ").replace(";", " ").split()
    # An unknown word stays, so that nothing is sent until it is corrected.
    return [event for event in EVENTS if event not in skipped] + [word for word in skipped if word not in EVENTS]


def _back(key: str) -> str:
    return (
        f"{label(key)} contains a value that was converted before, so it is not used. An old browser tab may have "
        'written it back. Press "Convert settings" to remove it, and reload Stash\'s pages.'
    )


def _set(raw: Mapping[str, object], key: str) -> bool:
    value = raw.get(key)
    nothing = {""} if key == "filter_skip_tags" else {"", "0", "false"}  # a tag may have any name
    return bool(value) and str(value).strip().lower() not in nothing


def _digest(key: str, value: object) -> str:
    text = f"{key}\n{str(value).strip()}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
