"""What the page offers first at a connection: the click that its state calls for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from stash_courier.plugin.text.standings import Standing
from stash_courier.queue.failures import Failure
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
OPEN_SETTINGS = Action("open_settings", "Open Settings → Plugins")


def called_for(one: Standing, dead_letters: int) -> Action | None:
    """The action that a connection's state calls for; None if there is nothing to do.

    ``dead_letters`` is how many it has.
    """
    entry = one.entry
    if entry is not None and one.state == "broken" and one.problem is not None:
        return _edit(entry, one.problem.field)
    if entry is not None and (action := _of_hold(one, entry)) is not None:
        return action
    if one.nothing_found:  # before dead letters, which may have come of it
        return Action("test", "Test")
    if dead_letters:
        return Action("open_dead_letters", "Open dead letters")
    if one.state in {"paused", "off"}:
        return Action("resume", "Resume" if one.state == "paused" else "Switch on")
    if one.state == "held" and one.failure in {Failure.REFUSED, Failure.REJECTED}:  # a test shows nothing
        return Action("deliver_now", "Deliver now")
    if one.state == "held" or (one.state == "well" and one.failure == Failure.NOT_THERE_YET):
        return Action("test", "Test")
    return None


def _of_hold(one: Standing, entry: Entry) -> Action | None:
    """What a person must do about a destination that takes nothing; None if nothing."""
    if one.state == "gone":
        return Action("deliver_now", "Deliver now")
    if one.state != "held" or one.failure not in {Failure.DESTINATION, Failure.FORBIDDEN}:
        return None
    return _edit(entry, _key_of(entry) if _DENIED.search(one.reason) else ADDRESS)


def _key_of(entry: Entry) -> str:
    """The field with what a receiver checks: its key, else an address with a token, else the headers."""
    fields = own_fields(entry.kind, entry.values)
    required = next((field.key for field in fields if field.type == "secret" and field.required), "")
    return required or (ADDRESS if ADDRESS in secret_fields(entry.kind, entry.values) else "headers")


def _edit(entry: Entry, field: str) -> Action:
    if entry.from_settings:
        return OPEN_SETTINGS
    found = find_field(entry.kind, field, entry.values)
    if field == ADDRESS:
        return Action("edit", "Enter a new address", field)
    if found is not None and found.type == "secret":
        return Action("edit", "Enter a new key", field)
    return Action("edit", f"Correct {field_label(entry.kind, field, entry.values)}", field)
