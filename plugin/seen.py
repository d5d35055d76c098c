"""What can be read now of the connections, queue.db and dlq.db, and why not."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, replace

from stash_courier.plugin.context import Context
from stash_courier.plugin.snapshot import Snapshot, read
from stash_courier.plugin.text import banners, words
from stash_courier.plugin.text.actions import RESTART
from stash_courier.plugin.text.banners import Banner
from stash_courier.queue import codec
from stash_courier.queue.dead_letters import statements as dlq_statements
from stash_courier.queue.inbox import files, store
from stash_courier.worker import destinations
from stash_courier.worker.connections.store import Stored
from stash_courier.worker.destinations import Loaded
from stash_courier.worker.fields import Problem
from stash_courier.worker.settings import parse
from stash_courier.worker.stash.address import StashUnavailable
from stash_courier.worker.stash.answers import PluginState


@dataclass(frozen=True, slots=True)
class Known:
    """What the owner set up, as far as it is known."""

    stored: Stored  # connections.json
    loaded: Loaded  # without destinations
    problems: tuple[Problem, ...]
    banner: Banner | None  # why Stash can't be asked
    state: PluginState  # what Stash says of the plugin


def connections(context: Context, *, ask: bool = True) -> Known:
    """The connections. If Stash can't be asked, those of its settings page may be missing, so it is unsure.

    ``ask``: whether Stash is asked at all.
    """
    banner = None
    state = PluginState({}, enabled=False)
    try:
        if ask:
            state = context.quick_state()
    except StashUnavailable as error:
        banner = banners.stash_unknown(str(error))
    settings, problems = parse(state.settings)
    stored = context.store.read()
    loaded = destinations.read(state.settings, stored, settings)
    if banner is not None or not ask:
        loaded = replace(loaded, unsure=True, asked=False)
    return Known(stored, loaded, (*problems, *loaded.problems), banner, state)


def queue(context: Context, at: float) -> tuple[Snapshot | None, Banner | None]:
    """The queue at a wall time; None if there is none yet, or with why it can't be read."""
    try:
        with context.read_queue(codec.exact) as conn:
            if conn is not None:
                return read(conn, context.folder, at), None
    except (store.QueueUnavailable, sqlite3.Error) as error:
        return None, unreadable(files.QUEUE_DB, error)
    reason = store.too_long(str(context.folder / files.QUEUE_DB))
    return None, Banner(f"{files.QUEUE_DB} can't be made: {reason}.", status="fail") if reason else None


def dead_letters(context: Context) -> tuple[dict[str, int], Banner | None]:
    """How many open dead letters each connection has, by id; with why they can't be read."""
    found: dict[str, int] = {}
    try:
        with context.read_dead_letters() as conn:
            if conn is not None:
                for _, name, count in conn.execute(dlq_statements.COUNT_BY_ERROR):
                    found[name] = found.get(name, 0) + count
    except (store.QueueUnavailable, sqlite3.Error) as error:
        return {}, unreadable(files.DLQ_DB, error)
    return found, None


def unreadable(name: str, error: store.QueueUnavailable | sqlite3.Error) -> Banner:
    """Why a database can't be read, and what to do."""
    if isinstance(error, sqlite3.Error):
        return Banner(words.unreadable(name, error), action=RESTART, status="fail")
    if isinstance(error, store.BeingReplaced):
        return Banner("The queue is being made, repaired or upgraded.")
    return Banner(f"{name} can't be read. {words.sentence(str(error))}", status="fail")
