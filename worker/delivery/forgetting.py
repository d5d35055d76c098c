"""Forgets destinations that the owner removed or deleted, and wants dropped at once.

The wish is recorded in the control table. Only the holder of the worker lock carries it out, a part at a
time, so that nothing else has to wait. After a kill it continues: the wish is removed last.
"""

from __future__ import annotations

import logging

from stash_courier.queue import control, transfer
from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.history import ledger, receipts
from stash_courier.worker.delivery.registry import Registry
from stash_courier.worker.stash.poller import Poller

BURIED = 200  # dead letters made at a time; each is synced
DISCARDED = 5000  # deliveries deleted at a time

log = logging.getLogger(__name__)


class ForgottenDestinationError(Exception):
    """The owner removed or deleted this destination."""


class Forgetting:
    """Call ``work`` about once a second, in the loop's thread, while the settings are known."""

    def __init__(self, queue: SceneQueue, dlq: DeadLetterQueue, registry: Registry, poller: Poller) -> None:
        self._queue = queue
        self._conn = queue.connection
        self._dlq = dlq
        self._registry = registry
        self._poller = poller
        self._checked: dict[str, str] | None = None  # wishes that are older than the settings in use

    def work(self) -> None:
        """Does the next part of what is wanted, after the current settings have been read."""
        wanted = control.get(self._conn, control.FORGET, dict)
        if wanted is None:
            return
        if wanted != self._checked:
            if not self._poller.request_state():
                return
            self._checked = wanted
        for name, waiting in wanted.items():
            if name in self._registry.loaded.entries or name in self._registry.targets:
                log.warning("%s is not forgotten, because it is set up", name)
                self._end(name)
            else:
                self._drop(name, waiting)

    def _drop(self, name: str, waiting: str) -> None:
        self._dlq.end_waiting(name)  # dead letters that would be sent to it, or after one that is sent to it
        if waiting == "discard":
            with self._queue.transaction():
                self._queue.discard(name, DISCARDED)
        else:
            error = ForgottenDestinationError(ForgottenDestinationError.__doc__)
            transfer.bury_waiting(self._queue, self._dlq, name, error, BURIED)
        if self._queue.holds(name):
            return  # there is more, or a request is still running
        ledger.delete(self._conn, name)
        receipts.forget(self._conn, name)
        with self._queue.transaction():
            self._registry.forget(name)
            self._end(name)
        log.info("%s is forgotten", name)

    def _end(self, name: str) -> None:
        left = {**(control.get(self._conn, control.FORGET, dict) or {})}
        left.pop(name, None)
        control.put(self._conn, control.FORGET, left or None)
        self._checked = left
