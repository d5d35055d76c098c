"""How people know what the code calls by keys: settings by the names on Stash's page, failures by words.

Stash's page shows no keys, so whatever a button says goes through ``spoken``. Worker, log file and JSON keep
the keys, which programs and a search in the settings need.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

# Key in Stash → displayName in stash_plugin.yml, which a test compares.
SETTINGS: Mapping[str, str] = {
    "dead_letter_retention_days": "Dead letters, days to keep",
    "delivery_concurrency": "Delivery, requests at once",
    "delivery_max_attempts": "Delivery, attempts",
    "delivery_retry_schedule": "Delivery, waits between attempts",
    "delivery_settle_seconds": "Delivery, seconds to let edits settle",
    "delivery_timeout_seconds": "Delivery, timeout in seconds",
    "emby_api_key": "Emby (experimental), API key",
    "emby_url": "Emby (experimental), address",
    "filter_only_organized": "Filter, only organized scenes",
    "filter_paths": "Filter, only these folders",
    "filter_skip_events": "Filter, events to skip",
    "filter_skip_tags": "Filter, tags to skip",
    "jellyfin_add_only": "Jellyfin, lists are only added to",
    "jellyfin_api_key": "Jellyfin, API key",
    "jellyfin_images": "Jellyfin, send covers",
    "jellyfin_refresh_only": "Jellyfin, only notify",
    "jellyfin_skip_fields": "Jellyfin, fields to leave alone",
    "jellyfin_url": "Jellyfin, address",
    "path_map": "Path map",
    "plex_add_only": "Plex, lists are only added to",
    "plex_images": "Plex, send covers",
    "plex_libraries": "Plex, libraries",
    "plex_skip_fields": "Plex, fields to leave alone",
    "plex_token": "Plex, token",
    "plex_url": "Plex, address",
    "sweep_minutes": "Sweep, minutes between two",
    "sweep_off": "Sweep, switch off",
    "webhook_headers": "Webhook, extra headers",
    "webhook_secret": "Webhook, signing secret",
    "webhook_url": "Webhook, URL",
}

# What stands between « and » is a title or a name already; a key in a path or an assignment is part of that.
_KEY = re.compile(rf"«[^»]*»|(?<![\w/\\.-])({'|'.join(SETTINGS)})(?![\w/\\=-]|\.\w)")


def spoken(text: str) -> str:
    """The text with each setting's key, where it is a word of its own, replaced by the «name» on Stash's page."""
    return _KEY.sub(lambda found: f"«{SETTINGS[found[1]]}»" if found[1] else found[0], text)
