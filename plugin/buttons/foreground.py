"""For buttons that do the worker's work themselves because none runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from stash_courier.plugin.context import Context
from stash_courier.worker import process
from stash_courier.worker.log_file import set_up_log
from stash_courier.worker.runtime import Runtime


@contextmanager
def as_worker(context: Context, lock: int) -> Iterator[Runtime]:
    """Everything that a worker has open, within the block. Then a worker starts in the background.

    ``lock`` is the descriptor that holds worker.lock. It is closed.
    """
    opened: list[Runtime] = []
    set_up_log(context.folder, lambda: opened[0].dispatcher.registry.secrets if opened else ())
    try:
        with Runtime(context.folder) as runtime:
            opened.append(runtime)
            yield runtime
    finally:
        os.close(lock)
    process.start(str(context.folder), context.root)
