"""The page's views of the dead letters: the list, one of them, and the undo of a discard."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Literal

from stash_courier.plugin.arguments import Arguments
from stash_courier.plugin.context import Context
from stash_courier.plugin.text.plain import plain
from stash_courier.queue import failures
from stash_courier.queue.dead_letters import listing as dlq_list
from stash_courier.queue.dead_letters.listing import Batch, Group, Page
from stash_courier.queue.jobs import DeadLetter, Summary
from stash_courier.worker import VERSION

ROWS = 50  # of a page, unless the caller gives a limit
GROUPS = 100  # the largest ones
GONE = (
    "Dead letter {id} doesn't exist any more: it was discarded or is past its retention. Go back to the list of "
    "dead letters."
)


def dead_letters(context: Context, arguments: Arguments) -> dict[str, object]:
    """A page of the dead letters that fit, newest first, and the counts by cause, connection and error."""
    names, retired = context.names(), context.store.read().retired
    page, discarded = _read(context, arguments)
    answer = {
        "as_of": page.as_of,
        "total": sum(group.count for group in page.groups),
        "matching": page.matching,
        "newer": page.newer,
        "page": page.number,
        "pages": page.pages,
        "groups": [_group(one, names) for one in _shown(page.groups, arguments)],
        "connections": [
            {"id": one, "name": _name(one, names), "count": count}
            for one, count in _counts(page.groups, "destination")
        ],
        "errors": [
            {"error_type": one, "label": failures.label(one), "count": count}
            for one, count in _counts(page.groups, "error_type")
        ],
        "rows": [{**_row(one, names, retired), "cause": page.causes[one.id]} for one in page.rows],
        "waiting": [
            {"first": first, "count": count, "scene_id": scene_id, "title": title, "destination": where}
            for first, count, scene_id, title, where in page.waiting
        ],
        "discarded": _batch(discarded),
    }
    return {name: plain(value) for name, value in answer.items()}  # a damaged row may hold anything


def dead_letter(context: Context, arguments: Arguments) -> dict[str, object]:
    """Everything about one dead letter."""
    if arguments.ids is None or len(arguments.ids) != 1:
        return {"problem": "Give the id of one dead letter as ids."}
    names, retired = context.names(), context.store.read().retired
    with context.dead_letters() as dlq:
        found = dlq.get_by_id(arguments.ids[0])
        if found is None:
            return {"problem": GONE.format(id=arguments.ids[0])}
        dlq.mark_reviewed([found.id])
    job = plain(found.job)
    return {
        **{name: plain(value) for name, value in _row(found, names, retired).items()},
        "history": [{**asdict(one), "label": failures.label(one.failure)} for one in found.history],
        "stack_trace": found.stack_trace,
        "plugin_version": found.plugin_version,
        "job": job,
        "copy": _copy(found, names, job),
    }


def restore_dead_letters(context: Context, arguments: Arguments) -> dict[str, object]:
    """Brings back what was discarded together."""
    if arguments.batch is None:
        return {"problem": "Give the batch that discard_dead_letters answered."}
    with context.dead_letters() as dlq:
        restored = dlq.restore(arguments.batch)
    if not restored:
        return {
            "problem": "Nothing can be brought back: a discard can be undone for 10 minutes, and only once. "
            "Send existing scenes to send what those dead letters would have sent."
        }
    return {"restored": restored}


def _read(context: Context, arguments: Arguments) -> tuple[Page, Batch | None]:
    """The page, and what was discarded last."""
    now, wanted = time.time(), arguments.dead_letters()
    with context.read_dead_letters() as conn:
        if conn is None:
            return Page(now if arguments.as_of is None else arguments.as_of), None
        page = dlq_list.page(conn, wanted, now, arguments.page or 1, arguments.limit or ROWS)
        discarded = dlq_list.discarded(conn, now)
        dlq_list.mark_reviewed(conn, [one.id for one in page.rows], now)
    return page, discarded


def _name(destination: str, names: Mapping[str, str]) -> str:
    return names.get(destination, destination)


def _shown(groups: Collection[Group], arguments: Arguments) -> list[Group]:
    """The largest groups, and the one that the caller selects."""
    largest = list(groups)[:GROUPS]
    return largest + [one for one in list(groups)[GROUPS:] if one.key == arguments.group]


def _group(group: Group, names: Mapping[str, str]) -> dict[str, object]:
    label = failures.label(group.error_type)
    return {
        "group": group.key,
        "destination": group.destination,
        "name": _name(group.destination, names),
        "error_type": group.error_type,
        "label": label,
        "text": group.text.removeprefix(f"{label}: "),
        "count": group.count,
    }


def _counts(groups: Collection[Group], field: Literal["destination", "error_type"]) -> list[tuple[str, int]]:
    """The dead letters with each value of a field, most first."""
    counted = Counter[str]()
    for group in groups:
        counted[getattr(group, field)] += group.count
    return counted.most_common()


def _batch(batch: Batch | None) -> dict[str, object] | None:
    return None if batch is None else {"batch": batch.at, "count": batch.count, "until": batch.until}


def _row(one: Summary, names: Mapping[str, str], retired: Collection[str]) -> dict[str, object]:
    state = (
        one.state if one.state != "dead" or one.waits_for is None else "after_one" if one.waits_for else "asked"
    )
    known = bool(one.destination) and (one.scene_id > 0 or one.event == "notice")
    return {
        "id": one.id,
        "scene_id": one.scene_id,
        "title": one.title,
        "path": one.path,
        "destination": one.destination,
        "name": _name(one.destination, names),
        "event": one.event,
        "group": one.group_key,
        "error_type": one.error_type,
        "label": failures.label(one.error_type),
        "error_message": one.error_message,
        "attempts": one.retry_count,
        "failed_at": one.failed_at,
        "state": state,
        "sendable": known and one.state == "dead" and one.destination not in retired,
    }


def _copy(found: DeadLetter, names: Mapping[str, str], job: object) -> str:
    """What a person pastes into an issue."""
    name = _name(found.destination, names)
    lines = [
        f"Stash Courier {VERSION}, dead letter {found.id} of version {found.plugin_version or 'unknown'}",
        f"Scene: {found.scene_id} {found.title!r}",
        f"Path: {found.path or 'unknown'}",
        f"Connection: {name} ({found.destination or 'none'})",
        f"Event: {found.event}",
        f"Error: {failures.label(found.error_type)} ({found.error_type}): {found.error_message}",
        f"Failed: {_utc(found.failed_at)}",
        f"Attempts: {found.retry_count}",
    ]
    for attempt in found.history:
        status = "" if attempt.status is None else f", status {attempt.status}"
        lines.append(f"- {_utc(attempt.at)}, {attempt.failure}{status}: {attempt.message}")
        if attempt.answer.strip():
            lines.append(f"  Answer: {attempt.answer}")
    if found.job_problem:
        lines.append(f"Problem: {found.job_problem}")
    else:
        lines.append(f"Job: {json.dumps(job, ensure_ascii=False, sort_keys=True)}")
    return "\n".join([*lines, "", found.stack_trace.strip() or "No stack trace."])


def _utc(at: float) -> str:
    """A wall time for people, in UTC."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))
    except (ValueError, OverflowError, OSError):
        return str(at)
