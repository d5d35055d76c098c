"""Jellyfin's settings as they appear on Stash's page."""

from __future__ import annotations

from stash_courier.worker.settings import Setting, declare

SETTINGS = declare(
    Setting(
        "jellyfin_add_only",
        "BOOLEAN",
        "Jellyfin, lists are only added to",
        "Adds tags, studio, performers and director to an item in Jellyfin and removes none. What was added "
        "there by hand stays.",
        default="off, what is no longer in Stash is removed there",
    ),
    Setting(
        "jellyfin_api_key",
        "STRING",
        "Jellyfin, API key",
        "Create one in Jellyfin under Dashboard, API Keys. Stash shows it in plain text.",
        default="empty, nothing is sent to Jellyfin",
    ),
    Setting(
        "jellyfin_images",
        "BOOLEAN",
        "Jellyfin, send covers",
        "Sends a scene's cover as the primary image when it has changed.",
        default="off, images are left alone",
    ),
    Setting(
        "jellyfin_refresh_only",
        "BOOLEAN",
        "Jellyfin, only notify",
        "Only tells Jellyfin that a scene's file has changed. Jellyfin then reads the file again.",
        default="off, the fields of its item are written",
    ),
    Setting(
        "jellyfin_skip_fields",
        "STRING",
        "Jellyfin, fields to leave alone",
        "Fields that are not sent: any of title, details, date, studio, performers, tags, director and ids (the "
        "scene's id). +rating sends the rating too. +empty clears a field there if it is empty in Stash.",
        default="empty, all but the rating are sent, and locked where Jellyfin has a lock",
        example="title, studio, +rating",
    ),
    Setting(
        "jellyfin_url",
        "STRING",
        "Jellyfin, address",
        "The address of Jellyfin's own pages, without /web. Requires 10.8 or newer. Tested against a simulated "
        "server only.",
        default="empty, no Jellyfin",
        example="http://192.168.1.5:8096",
    ),
)
