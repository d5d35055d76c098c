"""The tasks that review, retry and discard dead letters, and the mode that purges old ones.

None of them moves a dead letter back to the queue itself. It asks the worker, the only process that may.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import asdict, fields, replace
from typing import Any

from stash_courier.plugin.arguments import Arguments
from stash_courier.plugin.context import Context
from stash_courier.plugin.errors import BadInputError
from stash_courier.plugin.text.plain import plain
from stash_courier.plugin.text.words import LONGEST_ANSWER, ago, flat, joined, scene, sentence
from stash_courier.queue import failures
from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.dead_letters.listing import Group, Selection
from stash_courier.queue.jobs import DeadLetter, Summary

# A review stays below the 30 lines that Stash's page of logs shows; the answer has everything.
LISTED = 10  # of the latest, unless the caller gives a limit
GROUPS = 10  # lines
ATTEMPTS = 5  # lines of one dead letter's history

STATES = {
    "asked": "on its way back to the queue",
    "back": "back in the queue",
    "resolved": "delivered since, or superseded by a newer change",
    "discarded": "discarded; the page brings it back for 10 minutes",
}


def review_dead_letters(context: Context, arguments: Arguments) -> dict[str, object]:
    """Lists the dead letters: counts by error, then the latest; or everything about those with the given ids."""
    now = time.time()
    with context.dead_letters() as dlq:
        if arguments.ids is not None:
            return _review_each(context, dlq, arguments.ids, now)
        total, groups = dlq.get_count(), dlq.groups()
        _require_fitting(groups, arguments)
        latest = dlq.get_recent(arguments.limit or LISTED, arguments.dead_letters())
        answers = {dead_letter.id: _last_answer(dlq.get_by_id(dead_letter.id)) for dead_letter in latest}
        dlq.mark_reviewed([dead_letter.id for dead_letter in latest])
    titles, names = _titles(context, latest), context.names()
    context.say(f"Dead letters: {total:,}. Latest listed: {len(latest):,}." if total else "Dead letters: 0.")
    _say_groups(context, groups)
    for dead_letter in latest:
        context.say(_line(dead_letter, titles, names, now, answers[dead_letter.id]))
    if total:
        context.say('After fixing the cause, press "Retry dead letters". "Discard dead letters" deletes them.')
    return {
        "total": total,
        "groups": [_group_facts(group) for group in groups],
        "dead_letters": [{**_facts(one, titles), "answer": answers[one.id]} for one in latest],
    }


def _group_facts(group: Group) -> dict[str, object]:
    return {
        "group": group.key,
        "destination": group.destination,
        "error_type": group.error_type,
        "cause": group.text,
        "count": group.count,
    }


def _say_groups(context: Context, groups: list[Group]) -> None:
    names = context.names()
    for group in groups[:GROUPS]:
        where, kind = _where(group.destination, names), failures.label(group.error_type)
        cause = sentence(group.text.removeprefix(f"{kind}: "), LONGEST_ANSWER)
        context.say(f"{where}, {kind}: {cause} Dead letters: {group.count:,}. Group: {flat(group.key)}")
    if others := groups[GROUPS:]:
        number = sum(group.count for group in others)
        context.say(f"Dead letters in other groups: {number:,}. Groups not listed: {len(others):,}.")


def retry_dead_letters(context: Context, arguments: Arguments) -> dict[str, object]:
    """Asks the worker to send dead letters again, each with its scene's current state; all, or one first."""
    with context.dead_letters() as dlq:
        chosen = replace(_chosen(dlq, arguments), deleted=context.store.read().retired)
        first, after_one = dlq.ask_carefully(chosen) if arguments.careful else (None, 0)
        asked = int(first is not None) if arguments.careful else dlq.ask(chosen)
        lost, newer = dlq.count_unsendable(chosen), dlq.count_newer(chosen)
    after = "Each is sent with its scene's current state." if asked else ""
    rest = f"Dead letters that follow when that one is delivered: {after_one:,}." if after_one else ""
    context.say(joined(f"Dead letters queued again: {asked:,}.", rest, _left_alone(newer), after))
    if asked:
        context.start_work()
    if lost:
        context.warn(
            f"Dead letters that can't be sent again: {lost:,}. Their connection was deleted, or their scene or "
            'connection can\'t be read any more. Press "Send all scenes" instead. When there '
            'are no other dead letters, press "Discard dead letters" to delete them.'
        )
    _say_missing(
        context, chosen.ids, asked + after_one + lost + newer, "without a dead letter, or already queued again"
    )
    return {"retried": asked, "first": first, "after_one": after_one, "unsendable": lost, "newer": newer}


def discard_dead_letters(context: Context, arguments: Arguments) -> dict[str, object]:
    """Discards dead letters of any age. They are deleted 10 minutes later, unless it is undone."""
    with context.dead_letters() as dlq:
        chosen = _chosen(dlq, arguments)
        batch = dlq.discard(chosen)
        left, newer = dlq.get_count(), dlq.count_newer(chosen)
    undo = "The page can undo this for 10 minutes." if batch.count else ""
    context.say(joined(f"Dead letters discarded: {batch.count:,}. Left: {left:,}.", _left_alone(newer), undo))
    _say_missing(context, chosen.ids, batch.count + newer, "without a dead letter")
    undone = {"batch": batch.at, "until": batch.until} if batch.count else {"batch": None, "until": None}
    return {"discarded": batch.count, "left": left, "newer": newer, **undone}


def _left_alone(newer: int) -> str:
    return f"Failed since the list was shown, so left alone: {newer:,}." if newer else ""


def purge_dead_letters(context: Context, arguments: Arguments) -> dict[str, object]:
    """Deletes dead letters older than the retention; none if the retention setting is invalid."""
    days = _retention(context) if arguments.days is None else arguments.days
    with context.dead_letters() as dlq:
        deleted = 0 if days is None else dlq.delete_older_than(days)
        left = dlq.get_count()
    return {"purged": deleted, "days": days, "left": left}


def _retention(context: Context) -> int | None:
    """Days for which the settings keep dead letters; None if the setting is invalid."""
    with context.setup() as setup:
        wrong = any(one.field == "worker_dead_letter_days" for one in setup.problems)
        return None if wrong else setup.settings.worker_dead_letter_days


def _review_each(context: Context, dlq: DeadLetterQueue, ids: tuple[int, ...], now: float) -> dict[str, object]:
    found = [dead_letter for dead_letter in map(dlq.get_by_id, ids) if dead_letter is not None]
    dlq.mark_reviewed([dead_letter.id for dead_letter in found])
    titles = _titles(context, found)
    for dead_letter in found:
        name = f"Dead letter #{dead_letter.id}"
        context.say(_line(dead_letter, titles, context.names(), now))
        for attempt in dead_letter.history[-ATTEMPTS:]:
            line = f"{name}, attempt {ago(now - attempt.at)}: {sentence(attempt.message)}"
            context.say(joined(line, _answer(attempt.answer)))
        if dead_letter.job_problem:
            context.warn(f"{name}: {sentence(dead_letter.job_problem)}")
    _say_missing(context, ids, len(found), "without a dead letter")
    return {"dead_letters": [_everything(dead_letter, titles) for dead_letter in found]}


def _chosen(dlq: DeadLetterQueue, arguments: Arguments) -> Selection:
    """What the caller selects, of which there must be some, at most ``limit``."""
    if arguments.ids is None:
        _require_fitting(dlq.groups(), arguments)
    if arguments.limit is None:
        return arguments.dead_letters()
    if arguments.ids is not None:
        raise BadInputError("ids and limit can't be combined. Give one of them. Nothing was done.")
    latest = dlq.get_recent(arguments.limit, arguments.dead_letters())
    return replace(arguments.dead_letters(), ids=tuple(one.id for one in latest))


def _require_fitting(groups: list[Group], arguments: Arguments) -> None:
    """Refuses a filter that fits no dead letter, since it is probably misspelled."""
    for name, wanted, field in (
        ("error_type", arguments.error_type, "error_type"),
        ("destination", arguments.destination, "destination"),
        ("group", arguments.group, "key"),
    ):
        known = {str(getattr(group, field)) for group in groups}
        if wanted is not None and wanted not in known:
            listed = ", ".join(sorted(known)) or "none"
            raise BadInputError(f"No dead letter has the {name} {flat(wanted)!r}. Known: {listed}.")


def _say_missing(context: Context, wanted: Collection[int] | None, done: int, what: str) -> None:
    if wanted is not None and done < len(wanted):
        context.warn(f"Ids {what}: {len(wanted) - done:,} of {len(wanted):,}.")


def _titles(context: Context, dead_letters: list[Summary] | list[DeadLetter]) -> dict[int, str]:
    """Titles by scene id: the stored one, else Stash's."""
    stored = {dead_letter.scene_id: dead_letter.title for dead_letter in dead_letters if dead_letter.title}
    missing = {dead_letter.scene_id for dead_letter in dead_letters if dead_letter.scene_id > 0} - set(stored)
    return {**context.titles(missing), **stored}


def _where(destination: str, names: Mapping[str, str]) -> str:
    return names.get(destination, destination) or "no connection"


def _line(one: Summary, titles: dict[int, str], names: Mapping[str, str], now: float, answer: str = "") -> str:
    title = one.title or titles.get(one.scene_id, "")
    what = scene(one.scene_id, title) if one.scene_id else "an unreadable event"
    return joined(
        f"Dead letter #{one.id}: {what} to {_where(one.destination, names)} ({flat(one.event)}),",
        f"{failures.label(one.error_type)}: {sentence(one.error_message)}",
        f"Attempts: {one.retry_count:,}. Failed: {ago(now - one.failed_at)}.",
        f"Now: {STATES[one.state]}." if one.state in STATES else "",
        _answer(answer),
    )


def _answer(answer: str) -> str:
    return f"Answer: {flat(answer, LONGEST_ANSWER)}" if answer.strip() else ""


def _last_answer(dead_letter: DeadLetter | None) -> str:
    """The destination's answer to the last attempt; "" if it is empty or unknown."""
    return dead_letter.history[-1].answer if dead_letter is not None and dead_letter.history else ""


def _facts(dead_letter: Summary, titles: dict[int, str]) -> dict[str, Any]:
    facts = {one.name: getattr(dead_letter, one.name) for one in fields(Summary)}
    facts["group"] = facts.pop("group_key")
    return {**facts, "title": dead_letter.title or titles.get(dead_letter.scene_id, "")}


def _everything(dead_letter: DeadLetter, titles: dict[int, str]) -> dict[str, Any]:
    return {
        **_facts(dead_letter, titles),
        "job": plain(dead_letter.job),
        "job_problem": dead_letter.job_problem,
        "history": [asdict(attempt) for attempt in dead_letter.history],
        "stack_trace": dead_letter.stack_trace,
        "plugin_version": dead_letter.plugin_version,
    }
