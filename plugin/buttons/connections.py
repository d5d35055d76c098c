"""The modes for programs and the page that list, save, test and delete connections.

Expected failures, such as a bad value or a conflict, are part of the answer. No answer contains a secret.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from stash_courier.plugin.arguments import Arguments
from stash_courier.plugin.buttons import check_destinations, forget_destination
from stash_courier.plugin.buttons.check_destinations import Samples
from stash_courier.plugin.context import Context, Setup
from stash_courier.plugin.errors import BadInputError
from stash_courier.plugin.text.words import flat
from stash_courier.worker import destinations, fields
from stash_courier.worker.connections import drafts, model
from stash_courier.worker.connections.drafts import Draft
from stash_courier.worker.connections.model import Entry, Shared, State
from stash_courier.worker.connections.store import Conflict, Stored
from stash_courier.worker.destinations import Step
from stash_courier.worker.fields import Field, Fix, Problem

NOTHING = "Nothing was done."


def connections(context: Context, _: Arguments) -> dict[str, object]:
    """All connections without their secrets, and the revision that a change must name."""
    with context.setup() as setup:
        listed = [_facts(entry, setup) for entry in setup.loaded.entries.values()]
        common = [_told(problem) for problem in setup.problems if not problem.connection]
        return {
            "revision": setup.stored.revision,
            "connections": listed,
            "problems": common,
            "common": model.common(setup.settings),
        }


def connection_kinds(_: Context, __: Arguments) -> dict[str, object]:
    """The kinds of connection, each with the fields of its form."""
    shared = fields.of(Shared)
    kinds = [
        {
            "kind": kind,
            "name": module.NAME,
            "help": module.HELP,
            "fields": [_form_field(entry) for entry in (*fields.of(module.Options), *shared)],
            "variants": [
                {**variant, "fields": [_form_field(entry) for entry in variant["fields"]]}
                for variant in (module.variants() if hasattr(module, "variants") else ())
            ],
        }
        for kind, module in destinations.kinds().items()
    ]
    return {"kinds": kinds}


def save_connection(context: Context, arguments: Arguments) -> dict[str, object]:
    """Saves a new connection, or changes one. Never depends on a test."""
    with context.setup() as setup:
        before, entry, wrong = draft(setup, arguments)
        if before is not None and before.from_settings:
            raise BadInputError(f"{flat(before.id)} is in Stash's settings. Change it there. {NOTHING}")
        wrong += drafts.wrong_name(entry.name, entry.id, setup.stored)
        wrong += destinations.configured(entry, setup.settings)[1]
        stored = setup.stored
    if wrong:
        told = [{**_told(problem), "fix": _fix(problem.fix, arguments)} for problem in _first_of_each_field(wrong)]
        return {"saved": False, "problems": told, "revision": stored.revision}
    saved, entry = drafts.saved(stored, entry, time.time())
    if arguments.revision not in {None, stored.revision}:  # a revision that this save wasn't made from
        return {"saved": False, "conflict": True, "problems": [], "revision": stored.revision}
    if (conflict := _change(context, arguments, lambda _: saved)) is not None:
        return {"saved": False, "conflict": True, "problems": [], "revision": conflict}
    context.start_work()
    offers = drafts.offers(before, entry)
    return {"saved": True, "id": entry.id, "revision": context.store.read().revision, "offers": offers}


def test_connection(context: Context, arguments: Arguments) -> dict[str, object]:
    """Tests a stored connection, or a draft of one, and reports the steps."""
    with context.setup() as setup:
        before, entry, wrong = draft(setup, arguments)
        connection, found = destinations.configured(entry, setup.settings)
        wrong += found
        if connection is None or wrong:
            return {"ok": False, "steps": wrong_fields(wrong, arguments)}
        destination = destinations.make(connection)
        try:
            samples, remarks = Samples(context.stash).of(connection)
            records = context.records(entry.id, samples)
            tested = destination.test(samples, show_scene=bool(arguments.show_scene), records=records)
            steps = [*remarks, *tested]
        finally:
            destination.close()
    ok = all(step.status != "fail" for step in steps)
    if ok and entry == before and connection.sends:
        steps += check_destinations.resume(context, entry.id)
    return {"ok": ok, "steps": [_step(step, arguments) for step in steps]}


def wrong_fields(problems: Sequence[Problem], arguments: Arguments) -> list[dict[str, object]]:
    """The steps of a test that can't be made, because values can't be used."""
    wrong = _first_of_each_field(problems)
    return [_step(Step("fields", "fail", one.message, one.field, one.fix), arguments) for one in wrong]


def delete_connection(context: Context, arguments: Arguments) -> dict[str, object]:
    """Deletes a connection. What waits for it is sent first, or becomes dead letters, or is discarded.

    For the first two the worker deletes it, when everything from before is in the queue. Its dead letters stay.
    """
    with context.setup() as setup:
        entry = _before(setup, arguments)
    if entry is None:
        raise BadInputError(f"id is missing. The mode connections tells it. {NOTHING}")
    if entry.from_settings:
        raise BadInputError(f"{flat(entry.id)} is in Stash's settings. Empty it there. {NOTHING}")
    if arguments.waiting is None:
        raise BadInputError(f"waiting must be send, dead_letter or discard. {NOTHING}")
    state: State = "leaving" if arguments.waiting == "send" else "burying"
    leaving = replace(entry, state=state, off_since=entry.off_since or time.time())

    def delete(stored: Stored) -> Stored:
        if arguments.waiting == "discard":
            return drafts.deleted(stored, leaving.id)
        return drafts.saved(stored, leaving, time.time())[0]

    if (conflict := _change(context, arguments, delete)) is not None:
        return {"deleted": False, "conflict": True, "revision": conflict}
    if arguments.waiting == "discard":
        forget_destination.forget(context, entry.id, arguments.waiting)
    context.start_work()
    return {"deleted": True, "revision": context.store.read().revision}


def draft(setup: Setup, arguments: Arguments) -> tuple[Entry | None, Entry, list[Problem]]:
    """The stored connection, if the caller names one; the same as the caller wants it; what is wrong with that."""
    base = before = _before(setup, arguments)
    if arguments.copy_of is not None:
        if before is not None:
            raise BadInputError(f"Only a new connection can be a copy: give either id or copy_of. {NOTHING}")
        base = drafts.copied(_named(setup, arguments.copy_of))
    given = Draft(arguments.id, arguments.kind, arguments.name, arguments.state, arguments.values)
    return before, *drafts.merged(given, base, destinations.field_keys, destinations.secret_fields, time.time())


def _before(setup: Setup, arguments: Arguments) -> Entry | None:
    """The connection that the caller names; None if it names none."""
    return None if arguments.id is None else _named(setup, arguments.id)


def _named(setup: Setup, connection: str) -> Entry:
    """The connection with this id. Raises BadInputError if there is none."""
    entry = setup.loaded.entries.get(connection)
    if entry is None:
        known = ", ".join(setup.loaded.entries) or "none"
        raise BadInputError(f"There is no connection {flat(connection)!r}. Connections: {known}. {NOTHING}")
    return entry


def _first_of_each_field(problems: Sequence[Problem]) -> list[Problem]:
    """One problem for each field: the first is the cause."""
    first: dict[str, Problem] = {}
    for problem in problems:
        first.setdefault(problem.field, problem)
    return [*first.values()]


def _change(context: Context, arguments: Arguments, make: Callable[[Stored], Stored]) -> int | None:
    """Changes connections.json. Returns None, or the present revision if somebody else changed it before."""
    if arguments.revision is None:
        raise BadInputError(f"revision is missing. The mode connections tells it. {NOTHING}")
    try:
        context.store.change(arguments.revision, make)
    except Conflict:
        return context.store.read().revision
    return None


def _facts(entry: Entry, setup: Setup) -> dict[str, object]:
    secret = destinations.secret_fields(entry.kind, entry.values)
    problems = [problem for problem in setup.problems if problem.connection == entry.id]
    return {
        "id": entry.id,
        "name": entry.name,
        "kind": entry.kind,
        "state": entry.state,
        "from_settings": entry.from_settings,
        "host": drafts.host(entry),
        "values": {key: value for key, value in entry.values.items() if key not in secret},
        "secrets": {key: bool(entry.values.get(key)) for key in sorted(secret)},
        "problems": [_told(problem) for problem in problems],
    }


def _form_field(entry: Field) -> dict[str, object]:
    return {
        "key": entry.key,
        "type": entry.type,
        "label": entry.label,
        "help": entry.help,
        "unset": entry.unset,
        "example": entry.example,
        "choices": [{"value": value, "label": name} for value, name in entry.choices.items()],
        "basic": entry.basic,
        "required": entry.required,
    }


def _fix(fix: Fix | None, arguments: Arguments) -> dict[str, object] | None:
    """A fix as the page applies it. One that changes the address may contain what was in it.

    So it is told only to a caller who entered that address.
    """
    if fix is None or (drafts.ADDRESS in fix.values and drafts.ADDRESS not in (arguments.values or {})):
        return None
    return {"label": fix.label, "values": dict(fix.values)}


def _step(step: Step, arguments: Arguments) -> dict[str, object]:
    told: dict[str, object] = {
        "step": step.name,
        "status": step.status,
        "text": step.text,
        "examples": list(step.examples),
        "field": step.field,
        "fix": _fix(step.fix, arguments),
        "action": {"do": "library_report", "label": "Library report"} if step.report else None,
    }
    return {**told, "body": step.body} if step.body else told


def _told(problem: Problem) -> dict[str, str]:
    return {"field": problem.field, "message": problem.message}
