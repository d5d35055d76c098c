"""Errors whose message is shown to the person who uses Stash. On the hook's path."""

from __future__ import annotations


class BadInputError(Exception):
    """What Stash sent can't be acted on; the message says what is wrong and what to do."""
