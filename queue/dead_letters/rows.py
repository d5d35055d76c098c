"""A dead letter as a row of dlq.db. A damaged row is still shown to a person: what can't be read is reported."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stash_courier.queue import codec
from stash_courier.queue.dead_letters import groups, pickles
from stash_courier.queue.dead_letters.statements import LETTER_COLUMNS
from stash_courier.queue.jobs import Attempt, CorruptRow, DeadLetter, Delivery
from stash_courier.queue.search import search_text

TRACE_CHARACTERS = 16_000  # of a stack trace's end


@dataclass(frozen=True, slots=True)
class InTransit:
    """A dead letter that is ``asked`` or ``back``, without its content."""

    id: int
    destination: str
    scene_id: int
    generation: int
    seq: int


def job_columns(job: Delivery | CorruptRow, plugin_version: str) -> dict[str, Any]:
    """The columns that describe a job."""
    content = {**_fields(job), "plugin_version": plugin_version}
    job_id, event, generation, seq, attempts = f"{job.destination or 'inbox'}:{job.seq}", "unknown", 0, 0, []
    if isinstance(job, Delivery):
        job_id, event, generation, seq = job.job_id, job.event, job.generation, job.seq
        attempts = [_fields(attempt) for attempt in job.history]
        content |= {"history": attempts, "changed": list(job.changed)}
    return {
        "job_id": job_id,
        "scene_id": job.scene_id,
        "destination": job.destination,
        "event": event,
        "history": json.dumps(attempts),
        "generation": generation + 1,
        "seq": seq,
        "plugin_version": plugin_version,
        "job_data": pickles.dumps(content),
    }


def error_columns(error: BaseException, redact: Callable[[str], str]) -> dict[str, str]:
    """The columns that describe why a job failed, without secrets."""
    return {
        "error_type": str(getattr(error, "failure", type(error).__name__)),
        "error_message": codec.storable(redact(str(error))),
        "stack_trace": codec.storable(redact(stack_trace(error)[-TRACE_CHARACTERS:])),
    }


def group_columns(columns: Mapping[str, Any], cause: str = "") -> dict[str, str]:
    """The columns that say which dead letters have the same cause, from the other columns.

    ``cause`` is what the failure itself names, if anything.
    """
    error_type = columns["error_type"]
    if cause:
        text = groups.named(error_type, cause)
    else:
        text = groups.text_of(error_type, columns["error_message"], columns["history"], columns["title"])
    return {"group_key": groups.key_of(columns["destination"], error_type, text), "group_text": text}


def joined_history(older: str, newer: str) -> str:
    """One history as JSON for two. A delivery's history includes what it had before its redrive."""
    attempts = *(codec.history(older) or ()), *(codec.history(newer) or ())
    return json.dumps([_fields(attempt) for attempt in codec.latest(list(dict.fromkeys(attempts)))])


def computed(columns: Mapping[str, Any], retry_count: int) -> dict[str, Any]:
    """The columns that follow from others: the text to search, and the attempts, also before the newest event."""
    return {
        "search": search_text(columns["title"], columns["path"]),
        "retry_count": max(retry_count, len(codec.history(columns["history"]) or ())),
    }


def dead_letter(row: Sequence[Any]) -> DeadLetter:
    """Reads a row whose columns are ``LETTER_COLUMNS``."""
    columns = dict(zip(LETTER_COLUMNS, row, strict=True))
    problems, job = [], None
    try:
        job = pickles.loads(columns.pop("job_data"))
    except pickles.UnsafePickleError as error:
        problems.append(f"the stored job was not loaded: {error}")
    history = codec.history(columns.pop("history"))
    if history is None:
        problems.append("the stored history can't be decoded")
    return DeadLetter(**columns, job=job, job_problem="; ".join(problems), history=history or ())


def stack_trace(error: BaseException) -> str:
    """An error and its causes as Python prints them, without the markers below the lines, which are slow."""
    walked = traceback.walk_tb(error.__traceback__)
    frames = [(frame.f_code.co_filename, line, frame.f_code.co_name, None) for frame, line in walked]
    text = "".join(traceback.StackSummary.from_list(frames).format() + traceback.format_exception_only(error))
    if frames:
        text = f"Traceback (most recent call last):\n{text}"
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return text if cause is None else f"{stack_trace(cause)}\nwhich led to:\n\n{text}"


def _fields(row: Delivery | CorruptRow | Attempt) -> dict[str, Any]:
    """The fields of a dataclass by name, without the deep copies of ``asdict``."""
    return {name: getattr(row, name) for name in row.__dataclass_fields__}
