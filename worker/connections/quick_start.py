"""Connections that the owner entered in the settings on Stash's own page.

They are connections like others, but only Stash stores them, so they are changed there. An id doesn't depend on
other settings, except that only the first URL of a host is named by the host alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from stash_courier.worker.connections.model import Entry
from stash_courier.worker.fields import BadSetting, Problem
from stash_courier.worker.http.addresses import read_target
from stash_courier.worker.settings import label

WEBHOOKS = "webhook_url"
# Media servers: kind → the settings with their address and their key.
SERVERS: Mapping[str, tuple[str, str]] = {
    "jellyfin": ("jellyfin_url", "jellyfin_api_key"),
    "plex": ("plex_url", "plex_token"),
}


def read(raw: Mapping[str, object]) -> tuple[list[Entry], list[Problem]]:
    """The connections in the plugin's map as Stash stores it.

    Returns:
        The connections, and the URLs that can't be used, whose connections are therefore unknown.
    """
    common = {"path_map": raw["path_map"]} if _is_set(raw, "path_map") else {}
    entries = []
    for kind, (url, key) in SERVERS.items():
        if _is_set(raw, url):
            secret = {"key": raw[key]} if _is_set(raw, key) else {}
            entries.append(_entry(kind, kind, {"url": raw[url], **secret, **common}))
    signed = {"secret": raw["webhook_secret"]} if _is_set(raw, "webhook_secret") else {}
    targets, problems = _webhooks(str(raw.get(WEBHOOKS) or "").split())
    entries += [_entry(name, "webhook", {"url": url, **signed, **common}) for name, url in targets.items()]
    return entries, problems


def _webhooks(urls: list[str]) -> tuple[dict[str, str], list[Problem]]:
    """The usable URLs by the id of their connection, and what is wrong with the others."""
    targets: dict[str, str] = {}
    problems = []
    for place, url in enumerate(dict.fromkeys(urls), start=1):
        try:
            target = read_target(url)
        except BadSetting as error:
            message = f"URL {place} in {label(WEBHOOKS)} {error}. Nothing is sent there until it is corrected."
            problems.append(Problem(WEBHOOKS, message))
            continue
        name = f"webhook:{target.host}"
        if name in targets:
            name += f"-{hashlib.sha256(target.url.encode()).hexdigest()[:8]}"
        targets.setdefault(name, url)  # an address that is entered with several logins has two connections at most
    return targets, problems


def _entry(name: str, kind: str, values: Mapping[str, object]) -> Entry:
    return Entry(name, name, kind, values=values, from_settings=True)


def _is_set(raw: Mapping[str, object], key: str) -> bool:
    """Whether a setting has a value. Stash's page shows unset ones as "", 0 or off."""
    value = raw.get(key)
    return bool(value) and str(value).strip().lower() not in {"", "0", "false"}
