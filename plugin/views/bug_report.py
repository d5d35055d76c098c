"""The mode "bug_report": what a helper must know, as Markdown that can be posted in public.

Everything that another program or a person wrote goes through ``Pseudonyms``.
"""

from __future__ import annotations

import datetime
import platform
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from stash_courier.plugin import seen
from stash_courier.plugin.arguments import Arguments
from stash_courier.plugin.context import Context
from stash_courier.plugin.seen import Known
from stash_courier.plugin.snapshot import NO_QUEUE, Snapshot
from stash_courier.plugin.text.pseudonyms import LONGEST, Pseudonyms
from stash_courier.plugin.text.standings import Standing, standings
from stash_courier.plugin.text.words import DAY, ago, problem_line
from stash_courier.plugin.views import cards
from stash_courier.queue import failures
from stash_courier.queue.dead_letters.listing import Group
from stash_courier.queue.inbox import files, store
from stash_courier.queue.jobs import Attempt, DeadLetter, Summary
from stash_courier.worker import VERSION, destinations, heartbeat, process
from stash_courier.worker.connections import drafts
from stash_courier.worker.destinations.webhook.formats import preset_of
from stash_courier.worker.http import container
from stash_courier.worker.stash.address import StashUnavailable
from stash_courier.worker.stash.state import WrongShape

TITLES = 500  # newest dead letters whose titles are replaced
LETTERS = 10  # newest dead letters whose errors are shown
GROUPS = 20  # of dead letters
LOGGED = 30  # newest warnings of worker.log
LOG_BYTES = 256 * 1024  # of its end
ANSWER = 400  # characters of an answer

_LINE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d+ (WARNING|ERROR|CRITICAL) (.*)")
_VERSION = re.compile(r"v?\d[\w.+-]{0,40}")


@dataclass(frozen=True, slots=True)
class _Letters:
    """Dead letters."""

    groups: Sequence[Group]
    newest: Sequence[Summary]
    whole: Sequence[DeadLetter]  # the first of them


def bug_report(context: Context, _: Arguments) -> dict[str, object]:
    """Versions, the states of all connections, dead letters and the last errors, without anything private."""
    now = time.time()
    known = seen.connections(context)
    snapshot, banner = seen.queue(context, now)
    snapshot = snapshot or NO_QUEUE
    letters, unreadable = _letters(context)
    found = standings(snapshot, known.loaded)
    names = _pseudonyms(context, known, found, letters)
    lines = ["### Stash Courier", *_versions(context, now), ""]
    wrong = [*(one.text for one in (known.banner, banner) if one is not None), unreadable]
    lines += [f"- {names.safe(text)}" for text in wrong if text]
    parts = {
        "Connections": [*_table(found, letters, now, names), *_reasons(found, names)],
        "Problems": [f"- {names.safe(text)}" for text in _problems(known, snapshot)],
        "Dead letters": [*_groups(letters, names)],
        "Last errors": [*_errors(letters, snapshot, now, names)],
        f"{files.WORKER_LOG}, last day": [*_logged(context.folder, now, names)],
        "Notes": [*_notes(found, names)],
    }
    for title, part in parts.items():
        lines += ["", f"#### {title}", *(part or ["None."])]
    return {"text": "\n".join(lines)}


# What is read


def _letters(context: Context) -> tuple[_Letters, str]:
    """The dead letters, and why they can't be read."""
    try:
        with context.dead_letters() as dlq:
            newest = dlq.get_recent(TITLES)
            whole = [one for letter in newest[:LETTERS] if (one := dlq.get_by_id(letter.id)) is not None]
            return _Letters(dlq.groups(), newest, whole), ""
    except (store.QueueUnavailable, sqlite3.Error) as error:
        return _Letters((), (), ()), f"{files.DLQ_DB} can't be read: {error}"


def _pseudonyms(context: Context, known: Known, found: Sequence[Standing], letters: _Letters) -> Pseudonyms:
    """Pseudonyms for all that is known to be private."""
    entries = known.loaded.entries.values()
    secrets = [
        str(entry.values[key])
        for entry in entries
        for key in destinations.secret_fields(entry.kind, entry.values) & entry.values.keys()
    ]
    names = Pseudonyms(Path(context.root), secrets)
    ids = [one.destination for one in found] + [one.destination for one in letters.groups]
    for name in dict.fromkeys([*ids, *known.loaded.entries]):
        names.know(name, names.of("connection", name))
    for entry in entries:
        names.know(entry.name, names.of("connection", entry.id))
        names.know_host(drafts.host(entry))
        for key, value in entry.values.items():
            _know_values(names, key, value)
    for letter in letters.newest:
        names.know(letter.title, names.of("scene", letter.scene_id))
        names.know_path(letter.path)
    for folder in (str(context.folder), str(Path.home())):
        names.know_path(folder)
    names.know_host(platform.node())
    return names


def _know_values(names: Pseudonyms, key: str, value: object) -> None:
    """What an owner entered in a field: paths, names of tags, studios and libraries."""
    values = value if isinstance(value, list) else str(value).split("\n")
    match key:
        case "path_map" | "folders":
            for path in (part.strip() for one in values for part in re.split(r"=>|[,;]", str(one))):
                names.know_path(path)
        case "include_tags" | "skip_tags" | "studios" | "libraries":
            for name in (part.strip() for one in values for part in re.split("[,;]", str(one))):
                names.know(name, names.of("name", name))


# What is written


def _versions(context: Context, now: float) -> Iterator[str]:
    last = heartbeat.current(context.folder)
    running = process.running(str(context.folder))
    worker = "not running"
    if running and last is not None:
        started, beat = (ago(now - at) for at in (last.started_at, last.heartbeat_at))
        worker = f"{last.version}, started {started}, last heartbeat {beat}"
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
        return "not known"


def _table(found: Sequence[Standing], letters: _Letters, now: float, names: Pseudonyms) -> Iterator[str]:
    if not found:
        return
    dead: Counter[str] = Counter()
    for group in letters.groups:
        dead[group.destination] += group.count
    yield "| connection | kind | state | health | waiting | retrying | dead letters | last delivery |"
    yield "|---|---|---|---|---|---|---|---|"
    for one in found:
        entry, waits = one.entry, one.backlog
        kind = entry.kind if entry is not None and entry.kind in destinations.kinds() else "unknown"
        preset = f" ({preset_of(entry.values).name})" if entry is not None and kind == "webhook" else ""
        implicit = ", in Stash's settings" if entry is not None and entry.implicit else ""
        last = ago(now - one.last_success) if one.last_success else "none"
        cells = [
            names.of("connection", one.destination),
            f"{kind}{preset}{implicit}",
            entry.state if entry else "unknown",
            cards.HEALTHS[one.state],
            *map(str, (waits.total, waits.retrying, dead[one.destination])),
            last,
        ]
        yield f"| {' | '.join(cells)} |"


def _reasons(found: Sequence[Standing], names: Pseudonyms) -> Iterator[str]:
    for one in found:
        if one.reason:
            yield ""
            yield f"{names.of('connection', one.destination)}: {names.safe(one.reason)}"


def _problems(known: Known, snapshot: Snapshot) -> Iterator[str]:
    for problem in known.problems:
        yield problem_line(problem)
    yield from snapshot.notices
    if snapshot.stash_away is not None:
        yield f"Stash: {snapshot.stash_away.get('reason')}"


def _groups(letters: _Letters, names: Pseudonyms) -> Iterator[str]:
    for group in letters.groups[:GROUPS]:
        label = failures.label(group.error_type)
        to = names.of("connection", group.destination)
        yield f"- {group.count} of {to}, {names.safe(label)}: {names.safe(group.text, quotes=False)}"
    if more := sum(group.count for group in letters.groups[GROUPS:]):
        yield f"- {more} more"


def _errors(letters: _Letters, snapshot: Snapshot, now: float, names: Pseudonyms) -> Iterator[str]:
    for name, (_, attempt) in snapshot.failed.items():
        yield f"- waiting for {names.of('connection', name)}: {_attempt(attempt, now, names)}"
    for one in letters.whole:
        last = one.history[-1] if one.history else Attempt(one.failed_at, one.error_type, one.error_message)
        what = f"{names.of('scene', one.scene_id)} to {names.of('connection', one.destination)}"
        yield f"- {what}, {one.retry_count} attempts: {_attempt(last, now, names)}"
        if "Traceback" in one.stack_trace:
            yield "  ```"
            yield from (f"  {line.replace('`', chr(39))}" for line in names.trace(_end(one.stack_trace)))
            yield "  ```"


def _end(trace: str) -> str:
    """The last lines of a stack trace. None is cut, because the rest of a path or name could pass for a word."""
    return trace if len(trace) <= LONGEST else trace[-LONGEST:].partition("\n")[2]


def _attempt(attempt: Attempt, now: float, names: Pseudonyms) -> str:
    status = "" if attempt.status is None else f" {attempt.status}"
    answer = names.safe(attempt.answer[:ANSWER], quotes=False)
    said = f" It said: `{answer.replace('`', '')}`" if answer else ""
    return f"{ago(now - attempt.at)}, {names.safe(attempt.failure)}{status}: {names.safe(attempt.message)}{said}"


def _logged(folder: Path, now: float, names: Pseudonyms) -> Iterator[str]:
    """The warnings and errors of worker.log, newest last; equal ones once."""
    try:
        with (folder / files.WORKER_LOG).open("rb") as log:
            log.seek(max(0, log.seek(0, 2) - LOG_BYTES))
            text = log.read().decode("utf-8", "replace")
    except OSError:
        return
    counts: dict[str, tuple[int, float]] = {}
    for line in text.splitlines():
        found = _LINE.fullmatch(line)
        if found is None:
            continue
        at = datetime.datetime.fromisoformat(found[1]).timestamp()
        if 0 <= now - at < DAY:
            said = f"{found[2]} {names.safe(found[3])}"
            counts[said] = counts.pop(said, (0, 0.0))[0] + 1, at
    for said, (count, at) in list(counts.items())[-LOGGED:]:
        times = f" ({count} times)" if count > 1 else ""
        yield f"- {ago(now - at)}{times}: {said}"


def _notes(found: Sequence[Standing], names: Pseudonyms) -> Iterator[str]:
    for one in found:
        for note, noted in sorted(one.notes.items()):
            yield f"- {names.of('connection', one.destination)}: {note.partition(':')[0]}: {noted.count}"
        if one.absent:
            yield f"- {names.of('connection', one.destination)}: not on the server: {one.absent}"
