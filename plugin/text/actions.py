"""What a click on the page does. text/standings.py decides which one a connection's state calls for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from stash_courier.worker.connections.drafts import ADDRESS
from stash_courier.worker.connections.model import Entry
from stash_courier.worker.destinations import field_label, find_field, own_fields, secret_fields

_DENIED = re.compile(r"\b(401|403|407)\b")  # in a failure's message: the credentials were refused


@dataclass(frozen=True, slots=True)
class Action:
    """What a click does; docs/api.md lists the kinds."""

    do: Literal["edit", "open_dead_letters", "deliver_now", "resume", "test", "restart_worker", "open_settings"]
    label: str
    field: str = ""  # edit: the connection's field to begin with

    def facts(self) -> dict[str, object]:
        """This action in an answer."""
        return {"do": self.do, "label": self.label, **({"field": self.field} if self.field else {})}


RESUME = Action("resume", "Resume deliveries")
RESTART = Action("restart_worker", "Restart the worker")
START = Action("restart_worker", "Start the worker")
TEST = Action("test", "Test")
DELIVER_NOW = Action("deliver_now", "Deliver now")
OPEN_DEAD_LETTERS = Action("open_dead_letters", "Open dead letters")
OPEN_SETTINGS = Action("open_settings", "Open Settings → Plugins")


def edit_refused(entry: Entry, reason: str) -> Action:
    """For a destination that takes nothing until its owner corrects what it refuses, for this reason."""
    return edit(entry, _key_of(entry) if _DENIED.search(reason) else ADDRESS)


def _key_of(entry: Entry) -> str:
    """The field with what a receiver checks: its key, else an address with a token, else the headers."""
    fields = own_fields(entry.kind, entry.values)
    required = next((field.key for field in fields if field.type == "secret" and field.required), "")
    return required or (ADDRESS if ADDRESS in secret_fields(entry.kind, entry.values) else "headers")


def edit(entry: Entry, field: str) -> Action:
    """Opens the form at a field."""
    found = find_field(entry.kind, field, entry.values)
    if field == ADDRESS:
        return Action("edit", "Enter a new address", field)
    if found is not None and found.type == "secret":
        return Action("edit", "Enter a new key", field)
    return Action("edit", f"Correct {field_label(entry.kind, field, entry.values)}", field)
