"""What is wrong now, and who is told: Stash's log, and the webhook connections that want to be told.

``present`` is the one list of troubles. ``followed`` says what is left of it to tell: a trouble that comes and
goes is told at most once an hour, and an end only if the beginning was told. What was told, and when, is in the
control table, for each outlet. A message is a delivery like those of scenes, so nothing here sends.

Only a program that Stash started can write to Stash's log. So the worker leaves the lines in the file ``notices``.
The next page load or task takes it by renaming it to ``notices.shown``, and writes them.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

from stash_courier.queue import control, troubles
from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.failures import CLASSES, Failure
from stash_courier.queue.inbox import files
from stash_courier.worker.delivery import breaker
from stash_courier.worker.delivery.breaker import Health
from stash_courier.worker.delivery.registry import Registry
from stash_courier.worker.destinations import Loaded

QUIET_SECONDS = 3600.0  # between two reports of the beginning of the same trouble
GATHER_SECONDS = 60.0  # from the first new dead letter until the message about it and those that follow
BRIEF_SECONDS = 60.0  # a Retry-After that ends sooner is no trouble
LOG = ""  # the outlet that is no connection
DEAD_LETTERS, SETTINGS = "dead letters", "settings"  # keys of troubles; that of a connection is its id
BEGINS, ENDS = "begins ", "ends "  # how the ids of the lines for Stash's log begin

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that is wrong now."""

    since: float  # wall time
    reason: str  # what is wrong, in sentences
    advice: str = ""  # what to do
    connection: bool = True  # whether the key is a connection's id; the others are for Stash's log only
    least_seconds: float = 0.0  # for which it must last before it is told


@dataclass(frozen=True, slots=True)
class Told:
    """What one outlet was told of a trouble. Wall times; 0 where it hasn't happened."""

    since: float
    told: float = 0.0  # its beginning was told
    ended: float = 0.0
    end_told: float = 0.0


def present(
    loaded: Loaded,
    healths: Mapping[str, Health],
    problems: Collection[tuple[str, str, str]],
    dead_letters: int,
    now: float,
) -> dict[str, Trouble]:
    """The troubles at a wall time, by key.

    Args:
        loaded: the connections.
        healths: of those that can be used, by id.
        problems: of the settings: connection or "", field, message.
        dead_letters: how many are open.
        now: wall time, unix seconds.
    """
    found = {}
    for name, entry in loaded.entries.items():
        health = healths.get(name)
        if name in loaded.unusable:
            if entry.state in {"on", "leaving"}:
                wrong = f"It can't be used: {', '.join(loaded.unusable[name])}."
                found[name] = Trouble(now, wrong, "Correct it in this connection. What waits is sent afterwards.")
        elif health is not None and health.state != "well":
            found[name] = Trouble(health.since or now, health.reason, health.advice)
        elif health is not None and health.retry_at > now:
            advice = CLASSES[Failure.BUSY].advice
            found[name] = Trouble(now, health.reason, advice, least_seconds=BRIEF_SECONDS)
    if others := [(name, message) for name, _, message in problems if name not in found]:
        (name, message), *more = others
        first = f"{_name(loaded, name)}: {message}" if name else message
        said = f"Settings that can't be used: {len(others)}. {troubles.sentence(first)}"
        advice = 'Press "Show status" for the others.' if more else ""
        found[SETTINGS] = Trouble(now, said, advice, connection=False)
    if dead_letters:
        advice = "Open Stash Courier in the top bar to see what failed and why."
        found[DEAD_LETTERS] = Trouble(now, f"Dead letters: {dead_letters:,}.", advice, connection=False)
    return found


def followed(
    known: Mapping[str, Told], found: Mapping[str, Trouble], now: float, *, unknown: Collection[str] = ()
) -> dict[str, Told]:
    """What an outlet was told, after a look at a wall time.

    Args:
        known: before, by key.
        found: the present troubles.
        now: wall time, unix seconds.
        unknown: keys of those that may have ended.
    """
    told = {}
    for key, before in known.items():
        if before.end_told:
            if abs(now - before.told) < QUIET_SECONDS:
                told[key] = before  # if it is back, that is told later
        elif key in found:
            told[key] = replace(before, ended=0.0)
        elif before.told:
            told[key] = before if key in unknown else replace(before, ended=before.ended or now)
        # else nothing was told of it, so there is nothing to say
    return {key: Told(trouble.since) for key, trouble in found.items()} | told


def beginnings(known: Mapping[str, Told], found: Mapping[str, Trouble], patience: float, now: float) -> list[str]:
    """Keys of the troubles to tell now. ``patience`` is the seconds that each must last first."""
    return [
        key
        for key, trouble in found.items()
        if not known[key].told and abs(now - known[key].since) >= max(patience, trouble.least_seconds)
    ]


def ends(known: Mapping[str, Told]) -> list[str]:
    """Keys of the troubles whose end is to be told now."""
    return [key for key, one in known.items() if one.ended and not one.end_told]


def marked(
    known: Mapping[str, Told], told: Collection[str], end_told: Collection[str], now: float
) -> dict[str, Told]:
    """What an outlet was told, after it was told of some beginnings and ends."""
    return {
        key: replace(
            one,
            told=one.told or (now if key in told else 0.0),
            end_told=one.end_told or (now if key in end_told else 0.0),
        )
        for key, one in known.items()
    }


class Troubles:
    """Tells both outlets. ``clock`` gives wall time. Only for the holder of the worker lock."""

    def __init__(
        self,
        queue: SceneQueue,
        dlq: DeadLetterQueue,
        registry: Registry,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._file = queue.folder / files.NOTICES
        self._shown = queue.folder / files.NOTICES_SHOWN
        self._queue = queue
        self._conn = queue.connection
        self._dlq = dlq
        self._registry = registry
        self._clock = clock
        self._failed = False  # the file could not be written at the last look

    def update(self) -> None:
        """Looks for trouble. Call it about once a second, when the settings are known."""
        now, loaded = self._clock(), self._registry.loaded
        known = control.get(self._conn, control.TOLD, _told) or {}
        healths = {name: pool.health for name, pool in self._registry.pools.items()}
        problems = control.get(self._conn, control.PROBLEMS) or ()
        found = present(loaded, healths, problems, self._dlq.get_count(), now)
        told = {LOG: self._tell_log(known.get(LOG, {}), found, now)}
        messages: list[tuple[str, str, str]] = []  # receiver, connection, message
        if loaded.unsure:  # a receiver may be missing here
            told = {**known, **told}
        else:
            for to, patience in loaded.told.items():
                others = {key: one for key, one in found.items() if one.connection and key != to}
                told[to], said = self._tell_receiver(known.get(to, {}), others, patience, now)
                messages += [(to, *one) for one in said]
        told = {outlet: of for outlet, of in told.items() if of}
        if told != known:
            with self._queue.transaction():  # stored together with the messages
                for to, name, message in messages:
                    self._queue.notify(to, troubles.slot(name), message, now)
                kept = {to: {key: astuple(one) for key, one in of.items()} for to, of in told.items()}
                control.put(self._conn, control.TOLD, kept or None)
        if not loaded.unsure:
            self._tell_of_dead_letters(now)

    def _follow(self, known: Mapping[str, Told], found: Mapping[str, Trouble], now: float) -> dict[str, Told]:
        """What an outlet was told, after a look.

        Whether a connection works again is unknown while it is paused, and until it was tried with new settings.
        One that was deleted is forgotten.
        """
        others = {SETTINGS, DEAD_LETTERS}
        still = {key: one for key, one in known.items() if key in others or key in self._registry.loaded.entries}
        unknown = [key for key, one in still.items() if key not in others and not self._works(key, one)]
        return followed(still, found, now, unknown=unknown)

    def _works(self, name: str, known: Told) -> bool:
        pool = self._registry.pools.get(name)
        return pool is not None and not breaker.untried(pool.health, known.since)

    def _tell_receiver(
        self, known: Mapping[str, Told], found: Mapping[str, Trouble], patience: float, now: float
    ) -> tuple[dict[str, Told], list[tuple[str, str]]]:
        """What a receiver is told then, and the messages to queue, each with its connection."""
        told = self._follow(known, found, now)
        began, ended = beginnings(told, found, patience, now), ends(told)
        messages = [(key, self._down(key, told[key], found[key], now)) for key in began]
        messages += [(key, self._up(key, told[key], now)) for key in ended]
        return marked(told, began, ended, now), messages

    def _down(self, name: str, told: Told, trouble: Trouble, now: float) -> str:
        return troubles.connection_down(self._about(name), now, told.since, trouble.reason, trouble.advice)

    def _up(self, name: str, told: Told, now: float) -> str:
        return troubles.connection_up(self._about(name), now, told.since)

    def _about(self, name: str) -> dict[str, object]:
        entry = self._registry.loaded.entries.get(name)
        return troubles.about(name, entry.name if entry else "", entry.kind if entry else "")

    def _tell_of_dead_letters(self, now: float) -> None:
        """Queues messages, and then marks the dead letters. A kill in between tells of them twice."""
        since = self._dlq.unreported_since()
        if since is None or abs(now - since) < GATHER_SECONDS:
            return
        groups = [
            {
                **self._about(group.destination),
                "group": group.key,
                "error_type": group.error_type,
                "cause": group.text,
                "count": group.count,
            }
            for group in self._dlq.unreported()
        ]
        with self._queue.transaction():
            for to in self._registry.loaded.told:
                if others := [group for group in groups if group["connection"] != to]:
                    self._queue.notify(to, troubles.slot(), troubles.dead_letters(now, since, others), now)
        self._dlq.mark_reported()

    # Stash's log

    def _tell_log(self, known: Mapping[str, Told], found: Mapping[str, Trouble], now: float) -> dict[str, Told]:
        """Keeps the file up to date. What a program has taken from it since the last look was told."""
        shown = _read(self._shown)
        told = marked(known, _keys(BEGINS, shown), _keys(ENDS, shown), now)
        told = self._follow(told, found, now)
        began = beginnings(told, found, 0.0, now)
        lines = {BEGINS + key: self._line(key, told[key], found[key], now) for key in began}
        lines |= {ENDS + key: self._end(key, told[key], now) for key in ends(told)}
        try:
            if shown is not None:
                self._shown.unlink(missing_ok=True)
            if lines != (_read(self._file) or {}):
                self._write(lines)
            self._failed = False
        except OSError as error:
            if not self._failed:
                log.warning("notices can't be written (%s)", error)
            self._failed = True
        return told

    def _write(self, lines: Mapping[str, str]) -> None:
        """Replaces the file, unless a program has just taken it: then the next look follows."""
        draft = self._file.with_name(f"{self._file.name}.draft")
        try:
            self._file.replace(draft)  # from now on no page load can take it
        except FileNotFoundError:
            if self._shown.exists():
                return
        if lines:
            draft.write_text(json.dumps(lines), "ascii")
            draft.replace(self._file)
        else:
            draft.unlink(missing_ok=True)

    def _line(self, key: str, told: Told, trouble: Trouble, now: float) -> str:
        said = troubles.summary(self._down(key, told, trouble, now)) if trouble.connection else trouble.reason
        return f"{troubles.sentence(said)} {trouble.advice}".rstrip()

    def _end(self, key: str, told: Told, now: float) -> str:
        if key == SETTINGS:
            return "Settings: all can be used again."
        if key == DEAD_LETTERS:
            return "Dead letters: 0. They were delivered or deleted."
        return troubles.summary(self._up(key, told, now))


def _told(stored: Any) -> dict[str, dict[str, Told]]:
    """The form of control.TOLD."""
    return {to: {key: Told(*map(float, at)) for key, at in of.items()} for to, of in stored.items()}


def _name(loaded: Loaded, connection: str) -> str:
    entry = loaded.entries.get(connection)
    return entry.name if entry else connection


def _keys(word: str, lines: Mapping[str, object] | None) -> set[str]:
    return {line.removeprefix(word) for line in lines or () if line.startswith(word)}


def _read(path: Path) -> dict[str, object] | None:
    """The lines in a file, by id; empty if it is damaged, None if there is none."""
    try:
        raw = path.read_bytes()
    except OSError:
        return None
    found: object = None
    with contextlib.suppress(ValueError, RecursionError):
        found = json.loads(raw)
    return found if isinstance(found, dict) else {}
