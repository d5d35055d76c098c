"""The mode "bug_report": what a helper must know, as Markdown that can be posted in public.

Only versions, counts, and words from this plugin's own lists are in it: nothing that another program or a person
wrote, so there is nothing to disguise. Connections are numbered.
"""

from __future__ import annotations

import platform
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from stash_courier.plugin import snapshot
from stash_courier.plugin.arguments import Arguments
from stash_courier.plugin.context import Context
from stash_courier.plugin.snapshot import Snapshot
from stash_courier.plugin.text.standings import HEALTHS, Standing, standings
from stash_courier.plugin.text.words import ago
from stash_courier.queue import failures
from stash_courier.queue.inbox import store
from stash_courier.queue.jobs import DeadLetter
from stash_courier.worker import VERSION, destinations, fields
from stash_courier.worker.connections.model import Entry, Shared
from stash_courier.worker.destinations.webhook.settings import preset_of
from stash_courier.worker.http import container
from stash_courier.worker.settings import Settings
from stash_courier.worker.stash.address import StashUnavailable
from stash_courier.worker.stash.answers import WrongShape

LETTERS = 200  # newest dead letters that are counted by cause
COLUMNS = ("connection", "kind", "state", "health", "waiting", "retrying", "dead letters", "last delivery", "set")

_VERSION = re.compile(r"v\d{1,4}(\.\d{1,4}){1,3}(-\d{1,6}-g[0-9a-f]{6,12})?")  # as Stash's builds are named


def bug_report(context: Context, _: Arguments) -> dict[str, object]:
    """Versions, the states of all connections, and counts of what failed."""
    now = snapshot.read(context)
    shown = standings(now)
    numbers = {one.destination: f"connection {number}" for number, one in enumerate(shown, 1)}
    lines = ["### Stash Courier", *_versions(context, now)]
    lines += [f"- Can't be read: {name}" for name in (*(["Stash"] if now.stash_error else []), *now.unreadable)]
    lines += [f"- Settings to correct: {len(now.problems)}"] if now.problems else []
    if changed := _set(fields.of(Settings), context.state.settings if context.state else {}):
        lines += [f"- Common settings that are set: {changed}"]
    parts = {
        "Connections": [*_table(shown, now.at)],
        "Retried": [*_retried(now, numbers)],
        f"Dead letters, newest {LETTERS}": [*_counted(_newest(context), numbers)],
    }
    for title, part in parts.items():
        lines += ["", f"#### {title}", *(part or ["None."])]
    return {"text": "\n".join(lines)}


def _versions(context: Context, seen: Snapshot) -> Iterator[str]:
    last, now = seen.heartbeat if seen.running else None, seen.at
    worker = "not running"
    if last is not None:
        version = last.version if last.version == VERSION else "another version"
        worker = f"{version}, started {ago(now - last.started_at)}, last heartbeat {ago(now - last.heartbeat_at)}"
    yield f"- Plugin: {VERSION}. Worker: {worker}"
    yield f"- Stash: {_stash_version(context)}"
    inside = ", in a container" if container.inside() else ""
    yield f"- Python: {platform.python_version()}. System: {platform.system()} {platform.machine()}{inside}"
    yield f"- SQLite: {sqlite3.sqlite_version}"


def _stash_version(context: Context) -> str:
    def read(data: object) -> str:
        version = data["version"]["version"] if isinstance(data, dict) else None
        if not isinstance(version, str) or not _VERSION.fullmatch(version):
            raise WrongShape("no version")
        return version

    try:
        return context.stash.ask("query Version { version { version } }", {}, read)
    except StashUnavailable:
        return "unknown"


def _set(known: Sequence[fields.Field], values: Mapping[str, object]) -> str:
    """The names of the fields that have a value, by their keys."""
    return ", ".join(field.key for field in known if values.get(field.key))


def _table(shown: Sequence[Standing], now: float) -> Iterator[str]:
    if shown:
        yield f"| {' | '.join(COLUMNS)} |"
        yield f"|{'---|' * len(COLUMNS)}"
    for number, one in enumerate(shown, 1):
        entry, waits = one.entry, one.backlog
        counts = (waits.total, waits.retrying, one.dead_letters)
        last = ago(now - one.last_success) if one.last_success else "none"
        values = "" if entry is None else _set(_fields(entry), entry.values)
        health = HEALTHS[one.state] + (f" ({failures.label(one.failure)})" if one.failure else "")
        state = entry.state if entry else "unknown"
        yield f"| {' | '.join([str(number), _kind(entry), state, health, *map(str, counts), last, values])} |"


def _kind(entry: Entry | None) -> str:
    if entry is None or entry.kind not in destinations.kinds():
        return "unknown"
    preset = f" ({preset_of(entry.values).name})" if entry.kind == "webhook" else ""
    return f"{entry.kind}{preset}{', in Stash settings' if entry.from_settings else ''}"


def _fields(entry: Entry) -> Sequence[fields.Field]:
    own = destinations.own_fields(entry.kind, entry.values) if entry.kind in destinations.kinds() else ()
    return (*own, *fields.of(Shared))


def _retried(now: Snapshot, numbers: Mapping[str, str]) -> Iterator[str]:
    for name, (_, attempt) in now.failed.items():
        yield f"- {numbers.get(name, 'unknown')}: {_cause(attempt.failure, attempt.status)}"


def _newest(context: Context) -> list[DeadLetter]:
    try:
        with context.dead_letters() as dlq:
            found = [dlq.get_by_id(letter.id) for letter in dlq.get_recent(LETTERS)]
    except (store.QueueUnavailable, sqlite3.Error):
        return []  # said above
    return [one for one in found if one is not None]


def _counted(letters: Sequence[DeadLetter], numbers: Mapping[str, str]) -> Iterator[str]:
    counts = Counter(
        (numbers.get(one.destination, "deleted"), one.error_type, one.history[-1].status if one.history else None)
        for one in letters
    )
    for (name, failure, status), count in counts.most_common():
        yield f"- {count} of {name}: {_cause(failure, status)}"


def _cause(failure: str, status: int | None) -> str:
    """A failure's class in words, and the HTTP status."""
    return failures.label(failure) if status is None else f"{failures.label(failure)}, status {status}"
