"""Lines for Stash's log about trouble: failing destinations, first dead letters, unusable settings, their ends.

Only a program that Stash started can write to Stash's log. So the worker leaves the lines in the file ``notices``.
The next page load or button takes it by renaming it to ``notices.shown``, and writes them. What was shown, and
when, is in the control table: nothing is shown twice, and trouble that comes and goes at most once an hour.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from stash_courier.queue import control
from stash_courier.queue.checks import or_default, parsed
from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.inbox import files
from stash_courier.queue.troubles import shortened
from stash_courier.worker.delivery.breaker import Health
from stash_courier.worker.delivery.registry import Registry

QUIET_SECONDS = 3600.0  # between two lines about the beginning of the same trouble
DESTINATION, DEAD_LETTERS, SETTINGS = "destination:", "dead letters", "settings"
BEGINS, ENDS = "begins ", "ends "  # how the ids of the lines begin
LONGEST = 400  # characters of a reason

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Trouble:
    """One trouble and what the owner was told of it. Wall times; 0 where it hasn't happened."""

    since: float
    told: float = 0.0  # its beginning was shown
    ended: float = 0.0
    end_told: float = 0.0


def follow(
    known: Mapping[str, Trouble], present: Mapping[str, float], shown: Mapping[str, object], now: float
) -> dict[str, Trouble]:
    """What is known after a look.

    Args:
        known: before, by the trouble's key.
        present: the present troubles, each with the wall time since which it lasts.
        shown: by id, the lines that were written to Stash's log since the last look.
        now: wall time, unix seconds.
    """
    found = {}
    for key, before in known.items():
        told = before.told or (now if BEGINS + key in shown else 0.0)
        end_told = before.end_told or (now if ENDS + key in shown else 0.0)
        trouble = replace(before, told=told, end_told=end_told)
        if trouble.end_told:
            if abs(now - trouble.told) < QUIET_SECONDS:
                found[key] = trouble  # if it is back, that is said later
        elif key in present:
            found[key] = replace(trouble, ended=0.0)
        elif trouble.told:
            found[key] = replace(trouble, ended=trouble.ended or now)
        # else the owner was not told of it, so there is nothing to say
    return {key: Trouble(since) for key, since in present.items()} | found


class Notices:
    """Keeps the file ``notices`` up to date; ``clock`` gives wall time. Only for the holder of the worker lock."""

    def __init__(
        self,
        folder: Path,
        queue: SceneQueue,
        dlq: DeadLetterQueue,
        registry: Registry,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._file = folder / files.NOTICES
        self._shown = folder / files.NOTICES_SHOWN
        self._conn = queue.connection
        self._dlq = dlq
        self._registry = registry
        self._clock = clock
        self._failed = False  # the file could not be written at the last look

    def update(self) -> None:
        """Looks for trouble. Call it about once a second, when the settings are known."""
        begins = self._troubles()
        stored = control.get(self._conn, control.TROUBLES) or {}
        known = {key: Trouble(*times) for key, times in stored.items()}
        shown = _read(self._shown)
        followed = follow(known, {key: since for key, (since, _) in begins.items()}, shown or {}, self._clock())
        kept = {key: one for key, one in followed.items() if key in begins or self._end(key, one)}
        if kept != known:
            control.put(self._conn, control.TROUBLES, {key: astuple(one) for key, one in kept.items()} or None)
        lines = {BEGINS + key: begins[key][1] for key, one in kept.items() if key in begins and not one.told}
        lines |= {ENDS + key: self._end(key, one) for key, one in kept.items() if one.ended and not one.end_told}
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

    def _troubles(self) -> dict[str, tuple[float, str]]:
        """For each trouble, the wall time since which it lasts and what to say about it."""
        now = self._clock()
        found = {}
        for name, pool in self._registry.pools.items():
            if pool.health.state != "well":
                failing = _failing(self._registry.name(name), pool.health, now)
                found[DESTINATION + name] = pool.health.since or now, failing
        if problems := control.get(self._conn, control.PROBLEMS):
            connection, _, message = problems[0]
            first = _sentence(f"{self._registry.name(connection)}: {message}" if connection else message)
            said = f"Settings that can't be used: {len(problems)}. {first}"
            found[SETTINGS] = now, said if len(problems) == 1 else f'{said} Press "Show status" for the others.'
        if dead := self._dlq.get_count():
            found[DEAD_LETTERS] = (
                now,
                f"Dead letters: {dead:,}. Open Stash Courier in the top bar to see what failed and why.",
            )
        return found

    def _end(self, key: str, trouble: Trouble) -> str:
        """What to say when a trouble has ended; nothing about a destination that was removed."""
        if key == SETTINGS:
            return "Settings: all can be used again."
        if key == DEAD_LETTERS:
            return "Dead letters: 0. They were delivered or deleted."
        name = key.removeprefix(DESTINATION)
        if name not in self._registry.pools:
            return ""
        since = _clock_time(trouble.since, trouble.ended)
        return f"{self._registry.name(name)}: takes deliveries again. It had failed since {since}."


def _failing(name: str, health: Health, now: float) -> str:
    since = f"since {_clock_time(health.since, now)}" if health.since else "now"
    state = "switched off" if health.state == "gone" else "deliveries wait"
    return " ".join(filter(None, (f"{name}: {state} {since}.", _sentence(health.reason), health.advice)))


def _clock_time(at: float, now: float) -> str:
    """A wall time for people, with the date if that is another day."""
    then, today = time.localtime(at), time.localtime(now)
    return time.strftime("%H:%M" if then[:3] == today[:3] else "%Y-%m-%d %H:%M", then)


def _sentence(text: str) -> str:
    text = shortened(" ".join(text.split()), LONGEST)
    return text if not text or text[-1] in ".!?…" else f"{text}."


def _read(path: Path) -> dict[str, object] | None:
    """The lines in a file, by id; empty if it is damaged, None if there is none."""
    try:
        found = or_default(parsed, path.read_bytes(), None)
    except OSError:
        return None
    return found if isinstance(found, dict) else {}
