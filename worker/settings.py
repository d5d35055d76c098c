"""The settings on Stash's page: the common ones, and the quick start for a first destination.

Everything else belongs to a connection; see connections/. A test compares the manifest with ``MANIFEST``. Stash
sorts settings by key. The common ones begin with ``worker_``, so they follow the quick start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stash_courier.worker import fields
from stash_courier.worker.fields import Field, Problem, number, secret, switch, text

SCHEDULE = (5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 50400.0, 72000.0, 86400.0)  # seconds

_PLAIN = "Stash shows it in plain text; the page Stash Courier hides it."


def _common(default: int, limits: tuple[int, int], name: str, about: str, meanwhile: str = "") -> Any:
    meanwhile = meanwhile or f"the default ({default}) is used"
    return number(name, about, limits, default, unset=str(default), meanwhile=meanwhile)


@dataclass(frozen=True, slots=True)
class Settings:
    """The common settings with their defaults, parsed. A connection may have its own delivery policy."""

    worker_attempts: int = _common(
        10,
        (1, 100),
        "Delivery, attempts",
        "After this many failed attempts a delivery becomes a dead letter. Attempts don't count while a "
        "receiver or Stash is down.",
    )
    worker_concurrency: int = _common(
        4, (1, 32), "Delivery, requests at once", "How many requests of one connection may be in progress."
    )
    worker_dead_letter_days: int = _common(
        30,
        (1, 3650),
        "Dead letters, days to keep",
        "The age at which a dead letter is deleted, in days.",
        "no dead letter is deleted for its age",
    )
    worker_schedule: tuple[float, ...] = text(  # seconds; the last one repeats
        "Delivery, waits between attempts",
        "Up to 50 durations from 1s to 7d, in s, m, h or d, separated by spaces. The last one repeats.",
        fields.read_schedule,
        SCHEDULE,
        unset="5s 5m 30m 2h 5h 10h 14h 20h 24h",
        example="10s 1m 10m 1h",
        meanwhile="the default schedule is used",
    )
    worker_settle_seconds: float = _common(
        0,
        (0, 86400),
        "Delivery, seconds to let edits settle",
        "How long to wait after the first edit of a scene, so that several edits in a row become one delivery. "
        "Deletions don't wait.",
    )
    worker_sweep_minutes: int = _common(
        15,
        (1, 1440),
        "Sweep, minutes between two",
        "How often Stash is asked for changes that came without an event, in minutes.",
    )
    worker_sweep_off: bool = switch(
        "Sweep, switch off",
        "Never asks Stash for changes that came without an event.",
        unset="off, the sweep runs",
        meanwhile="it counts as off",
    )
    worker_timeout_seconds: float = _common(  # wall time of one whole request
        15, (1, 300), "Delivery, timeout in seconds", "How long one whole request may take."
    )


@dataclass(frozen=True, slots=True)
class QuickStart:
    """The first destinations, as text; see connections/quick_start.py."""

    jellyfin_api_key: str = secret(
        "Jellyfin, API key", f"Create one in Jellyfin under Dashboard, API Keys. {_PLAIN}", unset="no Jellyfin"
    )
    jellyfin_url: str = text(
        "Jellyfin, address",
        "The address of Jellyfin's own pages, without /web. Requires 10.8 or newer.",
        unset="no Jellyfin",
        example="http://192.168.1.5:8096",
    )
    path_map: str = text(
        "Path map",
        "What the receivers in these settings call the folders that Stash sees. Enter rules of the form from => "
        "to, separated by semicolons. The rule with the longest matching path is used.",
        unset="paths are sent as they are in Stash",
        example=r"/data => /mnt/media; D:\clips => /mnt/clips",
    )
    plex_token: str = secret(
        "Plex (experimental), token", f"The X-Plex-Token of the server's owner. {_PLAIN}", unset="no Plex"
    )
    plex_url: str = text(
        "Plex (experimental), address",
        "The address of Plex's own pages, without /web. Tested against a simulated server only.",
        unset="no Plex",
        example="http://192.168.1.5:32400",
    )
    webhook_secret: str = secret(
        "Webhook, signing secret",
        "Signs each request by Standard Webhooks, so that receivers can verify the sender. Enter whsec_ followed "
        f"by 24 to 64 random bytes in base64. {_PLAIN}",
        unset="not signed",
    )
    webhook_url: str = text(
        "Webhook, URL",
        "Where each change is sent, by http or https. Several URLs are separated by spaces, and each is a "
        "connection of its own.",
        unset="no webhook",
        example="http://192.168.1.5:5678/webhook/stash",
    )


# Every entry on Stash's page, in its order.
MANIFEST: tuple[Field, ...] = tuple(
    sorted([*fields.of(QuickStart), *fields.of(Settings)], key=lambda entry: entry.key)
)


def description(entry: Field) -> str:
    """What Stash's page says below a setting's name."""
    said = entry.help
    if entry.limits is not None:
        low, high = entry.limits
        said += f" {low} to {high}."
    if entry.example:
        said += f" Example: {entry.example}."
    if entry.type == "number":
        return f"{said} Not set (0): {entry.unset}."
    return f"{said} Not set: {entry.unset}."


def label(key: str) -> str:
    """A setting's name on Stash's page, quoted; an unknown key, such as one of another version, as it is."""
    return next((f'"{entry.label}"' for entry in MANIFEST if entry.key == key), f'"{key}"')


def parse(raw: Mapping[str, object]) -> tuple[Settings, list[Problem]]:
    """Parses the common settings from the plugin's map as Stash stores it; never raises on its content."""
    return fields.parse(Settings, raw)
