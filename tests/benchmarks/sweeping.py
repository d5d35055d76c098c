"""The row about the sweep: its requests to Stash when nothing has changed."""

from __future__ import annotations

import time

from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.history.ledger import Sent, write
from stash_courier.worker.settings import Settings
from stash_courier.worker.stash.client import Stash
from stash_courier.worker.stash.sweep import Sweep, ask
from tests.benchmarks.helpers import write_connection
from tests.benchmarks.table import Figure
from tests.benchmarks.workspace import DESTINATION, Workspace
from tests.standin.stash import StandInStash

SETTINGS = Settings()
LONG_AGO = 30 * 86_400.0  # when the library last changed and was sent


def sweep(workspace: Workspace) -> list[Figure]:
    """Counts the requests of later sweeps; the first one only records the state of the library."""
    data = workspace.new("sweep")
    wall = time.time() - LONG_AGO
    with StandInStash(workspace.sizes.library, config_dir=workspace.new("library"), clock=lambda: wall) as standin:
        write_connection(data, standin.config.port)
        queue, dlq, stash = SceneQueue(data), DeadLetterQueue(data), Stash(data)
        with queue.transaction():
            for scene in standin.library.all():
                write(
                    queue.connection,
                    Sent(DESTINATION, scene.id, scene.id, scene.updated_at, wall, scene.path, "sent"),
                )
        wall = time.time()
        sweeping = Sweep(queue, dlq, lambda: wall, time.monotonic)
        sweeping.meet((DESTINATION,))
        asked = []
        for _ in range(3):
            before = standin.requests.total
            began = time.perf_counter()
            while True:
                sweeping.hear(ask(stash, sweeping.question()))
                sweeping.put()
                if sweeping.due_in(SETTINGS) > 0:
                    break
            seconds = time.perf_counter() - began
            asked.append(standin.requests.total - before)
            wall += 900.0
        found = queue.inbox_count()
        stash.close()
        queue.close()
        dlq.close()
    if found:
        raise RuntimeError(f"the sweep reported {found} unchanged scenes as changed")
    return [Figure("", f"{asked[-1]} in {seconds:.2g} s", "", asked[-1], 1)]
