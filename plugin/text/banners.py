"""What concerns all deliveries: each in sentences, with what to do. For the page and "Show status"."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from stash_courier.plugin.snapshot import Snapshot
from stash_courier.plugin.text import words
from stash_courier.plugin.text.actions import OPEN_SETTINGS, RESTART, RESUME, START, Action
from stash_courier.plugin.text.words import flat, joined, sentence, since, to_correct
from stash_courier.queue.inbox import files, store
from stash_courier.worker import VERSION, package
from stash_courier.worker.fields import Problem
from stash_courier.worker.settings import MANIFEST
from stash_courier.worker.stash.answers import PluginState

PLUGINS = "Settings → Plugins"


@dataclass(frozen=True, slots=True)
class Banner:
    """Something that concerns all deliveries."""

    text: str  # a sentence without times
    rest: str = ""  # more sentences
    since: float | None = None  # wall time
    press: str = ""  # what to press, for readers without the page
    action: Action | None = None
    status: Literal["warn", "fail"] = "warn"

    def line(self, now: float) -> str:
        """This in a task's report. ``now`` is wall time."""
        began = "" if self.since is None else f" {since(self.since, now)}."
        return joined(f"{self.text.removesuffix('.')}{began}" if began else self.text, self.rest, self.press)

    def facts(self) -> dict[str, object]:
        """This in an answer for the page."""
        return {
            "status": self.status,
            "text": joined(self.text, self.rest),
            "since": self.since,
            "action": None if self.action is None else self.action.facts(),
        }


def concerns(snapshot: Snapshot, start_by_hand: str) -> list[Banner]:
    """Everything that concerns all deliveries now.

    ``start_by_hand``: how a worker is started where this plugin may start none; "" if it may.
    """
    found = [
        _stash(snapshot),
        *_copies(snapshot.state),
        *(unreadable(name, error) for name, error in snapshot.unreadable.items()),
        *(_of_settings(one) for one in snapshot.problems if not one.connection),  # the others are on their cards
        blocked(snapshot),
        worker(snapshot, start_by_hand),
        _slow(snapshot),
        undecided(snapshot),
        _outside_the_queue(snapshot),
        *map(Banner, snapshot.notices),
    ]
    # Both databases may wait for the same.
    return [*dict.fromkeys(one for one in found if one is not None)]


def blocked(snapshot: Snapshot) -> Banner | None:
    """Why the worker begins no delivery at all, and what to do; None if it does."""
    if snapshot.paused_since is not None:
        press = "Resume them on the page Stash Courier."
        return Banner("Deliveries: paused.", since=snapshot.paused_since, press=press, action=RESUME)
    if snapshot.disabled:
        what = f"Enable it in Stash's {PLUGINS}."
        return Banner("Stash Courier is disabled, so nothing is delivered.", what, status="fail")
    # A worker that has ended says nothing about whether Stash can be reached now.
    if snapshot.running and snapshot.stash_away is not None:
        began, reason = float(snapshot.stash_away["since"]), flat(str(snapshot.stash_away["reason"]))
        return Banner("Stash: not reached by the worker.", sentence(reason), began, status="fail")
    return None


def worker(snapshot: Snapshot, start_by_hand: str) -> Banner | None:
    """That the worker should run and doesn't, or hangs. ``start_by_hand`` as in ``concerns``."""
    if not snapshot.running and (snapshot.left or snapshot.spooled):
        start = "It starts with the next change of a scene or the next page load in Stash."
        action = None if start_by_hand else START
        return Banner(worker_line(snapshot), start_by_hand or start, action=action)
    if snapshot.late:
        return Banner(worker_line(snapshot), "If this persists, restart it.", action=RESTART)
    return None


def worker_line(snapshot: Snapshot) -> str:
    """The worker, in a sentence."""
    last = snapshot.heartbeat
    if not snapshot.running:
        unknown = files.QUEUE_DB in snapshot.unreadable
        waits = snapshot.left or snapshot.spooled
        return f"Worker: not running{'' if unknown else ', but deliveries wait' if waits else ', nothing waits'}."
    if snapshot.late:
        return "Worker: running, but its heartbeat is late."
    if last is not None and last.version != VERSION:
        return f"Worker: running, in version {last.version}. It switches to version {VERSION} by itself."
    return "Worker: running."


def unreadable(name: str, error: Exception) -> Banner:
    """Why a database can't be read, and what to do."""
    if isinstance(error, sqlite3.Error):
        return Banner(words.unreadable(name, error), action=RESTART, status="fail")
    if isinstance(error, store.BeingReplaced):
        return Banner(words.BEING_REPLACED)
    return Banner(f"{name} can't be read. {sentence(str(error), words.LONGEST)}", status="fail")


def _copies(state: PluginState) -> Iterator[Banner]:
    """That the plugin is installed more than once, and what to remove."""
    if not state.copies:
        return
    delivers = package.delivering(state.copies, enabled=state.enabled)
    ids = sorted({package.ID, *state.copies})
    remove = []
    for plugin in ids:
        if plugin != delivers:
            path = package.find(plugin)
            # Where the package was unzipped over a copy by hand, only a manifest is left of that.
            where = path if path is None or (path.parent / f"{delivers}.yml").exists() else path.parent
            remove.append(plugin if where is None else f"{plugin} ({where})")
    yield Banner(
        f"Stash Courier is installed more than once: {' and '.join(ids)}.",
        f"Only {delivers} delivers, and changes may arrive twice. Remove {', '.join(remove)}. Then press "
        f'"Reload plugins" in Stash\'s {PLUGINS}.',
    )


def undecided(snapshot: Snapshot) -> Banner | None:
    """Changes that wait because settings that can't be read hide where they go; None if none do."""
    if not snapshot.undecided:
        return None
    what = f"{to_correct(snapshot.loaded.to_correct)} What waits is delivered afterwards."
    return Banner(f"Waiting for a connection: {snapshot.inbox:,}.", what)


def _stash(snapshot: Snapshot) -> Banner | None:
    """That Stash can't be asked, and why."""
    if not snapshot.stash_error:
        return None
    known = "Connections and settings are shown as the worker last knew them."
    return Banner("Stash: not available.", f"{sentence(snapshot.stash_error)} {known}")


def _of_settings(problem: Problem) -> Banner:
    """What is wrong with settings that belong to no single connection."""
    there = any(entry.key == problem.field for entry in MANIFEST)
    return Banner(words.problem_line(problem), action=OPEN_SETTINGS if there else None, status="fail")


def _slow(snapshot: Snapshot) -> Banner | None:
    """That Stash takes long for each scene."""
    if snapshot.stash_slow is None or not snapshot.running:
        return None
    return Banner(
        f"Stash: slow. It last took {snapshot.stash_slow:.1f} s for each scene, so deliveries take longer.",
        "Check whether a task runs in Stash, and the disk of its database.",
    )


def _outside_the_queue(snapshot: Snapshot) -> Banner | None:
    """How many changes are in the spool folder."""
    if not snapshot.spooled:
        return None
    return Banner(
        f"Changes outside the queue: {snapshot.spooled:,}. They could not be written to the queue and are kept in "
        f"{files.SPOOL}/.",
        "The worker adds them to the queue when it runs.",
    )
