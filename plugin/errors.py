"""The error whose message is shown to the owner. On the hook's path."""

from __future__ import annotations


class BadInputError(Exception):
    """A request can't be carried out; the message says what is wrong, where, and what to do."""

    silent = False  # True: Stash logs it, as the error of an operation
