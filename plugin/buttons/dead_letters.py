"""The buttons for dead letters: review, retry, discard, purge.

A button never moves a job itself: it asks, and the worker, the only one that may, carries it out.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, replace
from typing import Any

from stash_courier.plugin.arguments import Arguments
from stash_courier.plugin.context import Context
from stash_courier.plugin.errors import BadInputError
from stash_courier.plugin.text.report import ago, count, flat, one_line, scene
from stash_courier.queue import failures
from stash_courier.queue.dlq import DeadLetterQueue, Selection
from stash_courier.queue.jobs import DeadLetter, Summary

# A review stays below the 30 lines that Stash's page of logs shows; the answer has all.
LISTED = 10  # of the latest, where no limit was given
GROUPS = 10  # lines
ATTEMPTS = 5  # lines of one letter's history; the answer has all
LONGEST_ANSWER = 200  # characters of what a destination said
DEEPEST = 6  # levels of a stored job that are shown; ours have three

STATES = {
    "asked": "is on its way back to the queue",
    "back": "is in the queue again",
    "resolved": "has been delivered since, or overtaken",
}


def review(context: Context, arguments: Arguments) -> dict[str, object]:
    """Shows what could not be delivered: by error, then the latest, or everything about named ones."""
    now = time.time()
    with context.dead_letters() as dlq:
        if arguments.ids is not None:
            return _review_each(context, dlq, arguments.ids, now)
        total, groups = dlq.get_count(), dlq.count_by_error()
        _require_fitting(groups, arguments)
        latest = dlq.get_recent(arguments.limit or LISTED, _filter(arguments))
        answers = {dead_letter.id: _last_answer(dlq.get_by_id(dead_letter.id)) for dead_letter in latest}
        dlq.mark_reviewed([dead_letter.id for dead_letter in latest])
    report = context.report
    titles = _titles(context, latest)
    if not total:
        report.say("There are no dead letters: nothing was given up.")
    else:
        _say_groups(context, total, groups, len(latest))
    for dead_letter in latest:
        report.say(_sentence(dead_letter, titles, now) + _said(answers[dead_letter.id]))
    if total:
        report.say(
            "When what made dead letters fail is mended, press «Retry dead letters»; what nobody needs any more "
            "goes with «Discard dead letters»."
        )
    return {
        "total": total,
        "groups": [{"error_type": kind, "destination": where, "count": n} for kind, where, n in groups],
        "dead_letters": [
            {**_facts(dead_letter, titles), "answer": answers[dead_letter.id]} for dead_letter in latest
        ],
    }


def _say_groups(context: Context, total: int, groups: list[tuple[str, str, int]], listed: int) -> None:
    latest = f"; the latest {listed:,} {'are' if listed > 1 else 'is'} listed" if listed < total else ""
    context.report.say(f"{count(total, 'dead letter')}: deliveries that were given up{latest}.")
    for kind, where, number in groups[:GROUPS]:
        context.report.say(
            f"{where or 'no destination yet'}: {count(number, 'dead letter')}, {failures.label(kind)} "
            f"(error_type {flat(kind)})."
        )
    if others := groups[GROUPS:]:
        number = sum(n for _, _, n in others)
        kinds = count(len(others), "further kind")
        context.report.say(f"And {count(number, 'dead letter')} of {kinds} of error and destination.")


def retry(context: Context, arguments: Arguments) -> dict[str, object]:
    """Asks the worker to send dead letters again, each with its scene as it is now."""
    with context.dead_letters() as dlq:
        wanted = _wanted(dlq, arguments)
        selection = replace(_filter(arguments), ids=wanted)
        asked = dlq.ask(selection)
        lost = dlq.count_unsendable(selection)
    if asked:
        context.report.say(
            f"{count(asked, 'dead letter')} {'goes' if asked == 1 else 'go'} back to the queue: each is sent "
            "again with its scene as it is now."
        )
        context.set_to_work()
    else:
        context.report.say("No dead letter was sent again: there is none to send.")
    if lost:
        them = "it" if lost == 1 else "them"
        context.report.warn(
            f"{count(lost, 'dead letter')} can't be sent again, since the scene or destination in {them} can't be "
            "read any more: press «Send recently changed scenes» or «Send all scenes» to send what was meant. "
            f"When no others are left, «Discard dead letters» deletes {them}."
        )
    _say_missing(context, wanted, asked + lost, ", or one that is on its way already")
    return {"retried": asked, "unsendable": lost}


def discard(context: Context, arguments: Arguments) -> dict[str, object]:
    """Deletes dead letters whatever their age."""
    with context.dead_letters() as dlq:
        wanted = _wanted(dlq, arguments)
        deleted = dlq.discard(replace(_filter(arguments), ids=wanted))
        left = dlq.get_count()
    if deleted:
        context.report.say(f"{count(deleted, 'dead letter')} deleted for good; {left:,} left.")
    else:
        context.report.say(f"No dead letter was deleted; {left:,} left.")
    _say_missing(context, wanted, deleted, " any more")
    return {"discarded": deleted, "left": left}


def purge(context: Context, arguments: Arguments) -> dict[str, object]:
    """Deletes dead letters that are older than the retention; none while that can't be read."""
    days = _retention(context) if arguments.days is None else arguments.days
    with context.dead_letters() as dlq:
        deleted = 0 if days is None else dlq.delete_older_than(days)
        left = dlq.get_count()
    if days is None:
        context.report.say(f"No dead letter was deleted; {left:,} left.")
    elif deleted:
        context.report.say(
            f"{count(deleted, 'dead letter')} older than {count(days, 'day')} deleted, those that were delivered "
            f"since included; {left:,} left."
        )
    else:
        context.report.say(f"No dead letter is older than {count(days, 'day')}; {left:,} left.")
    return {"purged": deleted, "days": days, "left": left}


def _retention(context: Context) -> int | None:
    """Days for which the settings keep dead letters; None, with a warning, where that can't be read."""
    with context.setup() as setup:
        wrong = [p.message for p in setup.problems if p.setting == "dead_letter_retention_days"]
        for message in wrong:
            context.report.warn(message)
        return None if wrong else setup.settings.dead_letter_retention_days


def _review_each(context: Context, dlq: DeadLetterQueue, ids: tuple[int, ...], now: float) -> dict[str, object]:
    found = [dead_letter for dead_letter in map(dlq.get_by_id, ids) if dead_letter is not None]
    dlq.mark_reviewed([dead_letter.id for dead_letter in found])
    report = context.report
    titles = _titles(context, found)
    for dead_letter in found:
        report.say(_sentence(dead_letter, titles, now))
        for attempt in dead_letter.history[-ATTEMPTS:]:
            said = _said(attempt.answer)
            report.say(
                f"Dead letter #{dead_letter.id}, attempt {ago(now - attempt.at)}: {flat(attempt.message)}{said}"
            )
        if dead_letter.job_problem:
            report.warn(f"Dead letter #{dead_letter.id}: {dead_letter.job_problem}.")
    _say_missing(context, ids, len(found))
    return {"dead_letters": [_everything(dead_letter, titles) for dead_letter in found]}


def _wanted(dlq: DeadLetterQueue, arguments: Arguments) -> tuple[int, ...] | None:
    """The ids that are meant; None for all that fit."""
    if arguments.ids is None:
        _require_fitting(dlq.count_by_error(), arguments)
    if arguments.limit is None:
        return arguments.ids
    if arguments.ids is not None:
        raise BadInputError("ids and limit exclude each other: name the dead letters or count them")
    return tuple(dead_letter.id for dead_letter in dlq.get_recent(arguments.limit, _filter(arguments)))


def _filter(arguments: Arguments) -> Selection:
    return Selection(error_type=arguments.error_type, destination=arguments.destination)


def _require_fitting(groups: list[tuple[str, str, int]], arguments: Arguments) -> None:
    """A filter that fits no dead letter is likely misspelt; the sentence names those that do."""
    for name, place, wanted in (
        ("error_type", 0, arguments.error_type),
        ("destination", 1, arguments.destination),
    ):
        there = sorted({str(group[place]) for group in groups})
        if wanted is not None and wanted not in there:
            known = f"there are {', '.join(there)}" if there else "there are no dead letters at all"
            raise BadInputError(one_line(f"no dead letter has the {name} {flat(wanted)!r}: {known}"))


def _say_missing(context: Context, wanted: tuple[int, ...] | None, done: int, more: str = "") -> None:
    if wanted is not None and done < len(wanted):
        missing, given = len(wanted) - done, count(len(wanted), "number")
        context.report.warn(
            f"{missing:,} of the {given} given {'is' if missing == 1 else 'are'} no dead letter's{more}."
        )


def _titles(context: Context, dead_letters: list[Summary] | list[DeadLetter]) -> dict[int, str]:
    """The title that was stored, else Stash's."""
    stored = {dead_letter.scene_id: dead_letter.title for dead_letter in dead_letters if dead_letter.title}
    missing = {dead_letter.scene_id for dead_letter in dead_letters if dead_letter.scene_id > 0} - set(stored)
    return {**context.titles(missing), **stored}


def _sentence(one: Summary, titles: dict[int, str], now: float) -> str:
    what = scene(one.scene_id, titles.get(one.scene_id, "")) if one.scene_id else "an unreadable event"
    state = STATES.get(one.state)
    return (
        f"Dead letter #{one.id}: {what} to {one.destination or 'nobody yet'} ({flat(one.event)}), "
        f"{count(one.retry_count, 'attempt')}, {ago(now - one.failed_at)}"
        f"{f', {state}' if state else ''}, {failures.label(one.error_type)}: {flat(one.error_message)}"
    )


def _said(answer: str) -> str:
    return f" It said: {flat(answer, LONGEST_ANSWER)}" if answer.strip() else ""


def _last_answer(dead_letter: DeadLetter | None) -> str:
    """What the destination said to the last attempt, "" if it said nothing or that isn't known."""
    return dead_letter.history[-1].answer if dead_letter is not None and dead_letter.history else ""


def _facts(dead_letter: Summary, titles: dict[int, str]) -> dict[str, Any]:
    return {
        "id": dead_letter.id,
        "job_id": dead_letter.job_id,
        "scene_id": dead_letter.scene_id,
        "title": titles.get(dead_letter.scene_id, ""),
        "destination": dead_letter.destination,
        "event": dead_letter.event,
        "error_type": dead_letter.error_type,
        "error_message": dead_letter.error_message,
        "retry_count": dead_letter.retry_count,
        "failed_at": dead_letter.failed_at,
        "state": dead_letter.state,
    }


def _everything(dead_letter: DeadLetter, titles: dict[int, str]) -> dict[str, Any]:
    return {
        **_facts(dead_letter, titles),
        "job": _plain(dead_letter.job),
        "job_problem": dead_letter.job_problem,
        "history": [asdict(attempt) for attempt in dead_letter.history],
        "stack_trace": dead_letter.stack_trace,
        "plugin_version": dead_letter.plugin_version,
    }


def _plain(value: object, depth: int = 0) -> object:
    """A stored job as JSON can say it: the bytes are of a database, so anything may stand there."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if (isinstance(value, float) and not math.isfinite(value)) or (isinstance(value, int) and abs(value) >= 2**63):
        return str(value)
    if isinstance(value, dict | list | tuple) and depth >= DEEPEST:
        return "…"
    if isinstance(value, dict):
        return {str(key): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, depth + 1) for item in value]
    return value
