"""Emby's settings as they appear on Stash's page."""

from __future__ import annotations

from stash_courier.worker.settings import Setting, declare

SETTINGS = declare(
    Setting(
        "emby_api_key",
        "STRING",
        "Emby (experimental), API key",
        "Create one in Emby under Settings, API Keys. Stash shows it in plain text.",
        default="empty, nothing is sent to Emby",
    ),
    Setting(
        "emby_url",
        "STRING",
        "Emby (experimental), address",
        "The address of Emby. When a scene changes, Emby is told to read its file again. No field is written. "
        "Tested against a simulated server only.",
        default="empty, no Emby",
        example="http://192.168.1.5:8096",
    ),
)
