"""Plex's settings as they appear on Stash's page."""

from __future__ import annotations

from stash_courier.worker.settings import Setting, declare

SETTINGS = declare(
    Setting(
        "plex_add_only",
        "BOOLEAN",
        "Plex, lists are only added to",
        "Adds tags, performers and director to an item in Plex and removes none. What was added there by hand "
        "stays.",
        default="off, what is no longer in Stash is removed there",
    ),
    Setting(
        "plex_images",
        "BOOLEAN",
        "Plex, send covers",
        "Sends a scene's cover as the poster when it has changed.",
        default="off, posters are left alone",
    ),
    Setting(
        "plex_libraries",
        "STRING",
        "Plex, libraries",
        "The names of the libraries to search for scenes, separated by semicolons or commas.",
        default="empty, all libraries of movies and other videos",
        example="Films; Home videos",
    ),
    Setting(
        "plex_skip_fields",
        "STRING",
        "Plex, fields to leave alone",
        "Fields that are not sent: any of title, details, date, studio, performers, tags, groups and director. "
        "+rating sends the rating too. +empty clears a field there if it is empty in Stash.",
        default="empty, all but the rating are sent and locked in Plex",
        example="title, groups, +rating",
    ),
    Setting(
        "plex_token",
        "STRING",
        "Plex, token",
        "The X-Plex-Token of the server's owner. Stash shows it in plain text.",
        default="empty, nothing is sent to Plex",
    ),
    Setting(
        "plex_url",
        "STRING",
        "Plex, address",
        "The address of Plex's own pages, without /web. Tested against a simulated server only.",
        default="empty, no Plex",
        example="http://192.168.1.5:32400",
    ),
)
