"""For buttons that do the worker's work themselves because none runs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from stash_courier.plugin.context import Context
from stash_courier.worker import heartbeat, process
from stash_courier.worker.log_file import set_up_log
from stash_courier.worker.runtime import Runtime


@contextmanager
def as_worker(context: Context, lock: int) -> Iterator[Runtime]:
    """Everything that a worker has open, within the block. Then a worker starts in the background.

    None starts if this one was asked to stop: a person who stops the worker means the next one too. ``lock`` is
    the descriptor that holds worker.lock. It is closed.
    """
    opened: list[Runtime] = []
    set_up_log(context.folder, lambda: opened[0].dispatcher.registry.secrets if opened else ())
    try:
        with Runtime(context.folder) as runtime:
            opened.append(runtime)
            heartbeat.beat(context.folder, time.time())  # a button that stops it needs its pid
            yield runtime
            stopped = runtime.stop_wanted()
    finally:
        os.close(lock)
    if not stopped:
        process.start(str(context.folder), context.root)
