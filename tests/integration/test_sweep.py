"""The sweep with the stand-in Stash over HTTP, real hook processes, real files and a real receiver."""

from __future__ import annotations

import http.client
import json
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from stash_courier.queue import transfer
from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.inbox import files, store
from stash_courier.worker.delivery.dispatcher import Dispatcher
from stash_courier.worker.stash.client import Stash
from stash_courier.worker.wakeup import Wakeup
from tests import ROOT
from tests.standin.receivers import Receiver, Reply
from tests.standin.stash.server import StandInStash
from tests.standin.stash.site import OWNER
from tests.support.buttons import webhook
from tests.support.harness import PLUGIN, Courier, wait_until

HOUR = 3600.0
SWEEP = 15 * 60.0


class Bench:
    """A dispatcher and a stand-in Stash that share a clock, which runs in real time and can be moved."""

    def __init__(self, folder: Path, scenes: int = 20) -> None:
        self.ahead = -72 * HOUR  # so that the library is older than the watermark
        self.receiver = Receiver()
        self.stash = StandInStash(
            scenes,
            config_dir=folder / "config",
            env={"STASH_COURIER_WORKER": "off"},
            clock=self.wall,
        )
        self.data = folder / "config" / "stash_courier"
        self.ahead = 0.0

    def wall(self) -> float:
        """The time everywhere except in hook processes."""
        return time.time() + self.ahead

    def __enter__(self) -> Self:
        self.receiver.__enter__()
        self.stash.start()
        self.stash.install_plugin(ROOT)
        self.stash.configure(PLUGIN, {"webhook_url": self.receiver.url})
        self.data.mkdir(mode=0o700, exist_ok=True)
        place = {"scheme": "http", "host": "127.0.0.1", "dir": "", "plugin_dir": "", "cookie": "", "at": 0.0}
        (self.data / files.STASH).write_text(json.dumps({**place, "port": self.stash.config.port}))
        self.open()
        return self

    def open(self) -> None:
        """Starts a worker."""
        self.wakeup = Wakeup(self.data)
        self.queue = SceneQueue(self.data, clock=self.wall)
        self.dlq = DeadLetterQueue(self.data, clock=self.wall)
        transfer.heal(self.queue, self.dlq)
        self.queue.recover()
        asked = Stash(self.data, timeout=5.0, clock=self.wall)
        self.dispatcher = Dispatcher(
            self.queue,
            self.dlq,
            asked,
            self.wakeup,
            clock=self.wall,
            monotonic=lambda: time.monotonic() + self.ahead,
            rng=lambda: 0.5,
        )

    def close(self) -> None:
        """Stops it, whatever it is doing."""
        self.dispatcher.close()
        self.queue.close()
        self.dlq.close()
        self.wakeup.close()

    def __exit__(self, *error: Any) -> None:
        self.close()
        self.stash.stop()
        self.receiver.__exit__(*error)

    def jump(self, seconds: float) -> None:
        """Lets time pass."""
        self.ahead += seconds

    def rest(self, limit: float = 60.0) -> None:
        """Runs the worker until it is idle."""
        give_up = time.monotonic() + limit
        quiet = 0
        while quiet < 2:
            wait = self.dispatcher.step()
            still = self.dispatcher.busy() or self.dispatcher.poller.awaiting or not self.queue.empty()
            quiet = 0 if still or wait < 0.5 else quiet + 1
            self.wakeup.wait(min(wait, 0.02))
            assert time.monotonic() < give_up, "the worker doesn't become idle"

    def sweep(self) -> int:
        """Runs the next sweep; returns the number of requests to Stash."""
        self.jump(SWEEP)
        before = self.stash.requests.total
        self.rest()
        return self.stash.requests.total - before

    def got(self) -> Counter[tuple[int, str]]:
        """What the receiver got: (scene, event) → how often."""
        counts: Counter[tuple[int, str]] = Counter()
        for received in self.receiver.received:
            body = received.json()
            counts[int(body["data"]["id"]), body["type"]] += 1
        return counts


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A library that was swept a day ago."""
    with Bench(tmp_path) as made:
        made.rest()
        made.jump(24 * HOUR)
        made.rest()
        yield made


def canceled_bulk_edit(stash: StandInStash, scene_ids: list[int], hooks: int) -> None:
    """A bulk edit whose browser disconnects after this number of hooks."""
    before = stash.plugins.runs
    query = "mutation($i: BulkSceneUpdateInput!) { bulkSceneUpdate(input: $i) { id } }"
    body = json.dumps({"query": query, "variables": {"i": {"ids": scene_ids, "title": "All the same"}}})
    browser = http.client.HTTPConnection("127.0.0.1", stash.config.port, timeout=30.0)
    browser.request("POST", "/graphql", body, {"Content-Type": "application/json", OWNER: "yes"})
    wait_until(lambda: stash.plugins.runs >= before + hooks, 30.0)
    browser.close()
    wait_until(lambda: any("context canceled" in line.text for line in stash.log.lines), 30.0)
    assert hooks <= stash.plugins.runs - before < len(scene_ids)


def test_each_change_is_sent_once(tmp_path: Path) -> None:
    """Nothing of a library that was never seen is sent. Then each change is, with its hook or without one.

    Auto-tag, a bulk edit whose browser disconnects, a new scene whose hook was killed, and edits, a scan and a
    deletion with their hooks.
    """
    with Bench(tmp_path, scenes=60) as bench:
        stash = bench.stash
        stash.change_without_hook(3, title="Just before")
        bench.rest()
        bench.jump(24 * HOUR)
        bench.rest()
        assert not bench.got()
        for scene_id in range(1, 13):
            stash.change_without_hook(scene_id, tags=["Found in its path"])
        canceled_bulk_edit(stash, list(range(21, 51)), hooks=5)
        silent = stash.add_scene("/media/films/silent.mp4")
        stash.edit(13, title="One")
        stash.edit_many([14, 15], title="Two")
        stash.queue_scan("/media/films/new.mp4")
        stash.scan()
        stash.destroy(16)
        for _ in range(4):
            bench.sweep()
        changed = [*range(1, 13), *range(21, 51), 13, 14, 15]
        expected = Counter({(scene_id, "scene.updated"): 1 for scene_id in changed})
        created = {(scene_id, "scene.created"): 1 for scene_id in (silent, silent + 1)}
        assert bench.got() == expected | Counter(created) | Counter({(16, "scene.destroyed"): 1})
        assert bench.sweep() == 1  # an idle library costs one request


def test_a_deletion_while_the_plugin_was_disabled(bench: Bench) -> None:
    """A deletion while the plugin was disabled is sent, with the path, once it is enabled again."""
    bench.stash.edit(7, title="Known")
    bench.rest()
    path = bench.stash.scene(7).path
    bench.stash.enable(PLUGIN, enabled=False)
    bench.stash.destroy(7)
    bench.stash.destroy(8)  # was never delivered, so there is nothing to send
    bench.sweep()
    assert (7, "scene.destroyed") not in bench.got()
    bench.stash.enable(PLUGIN)
    bench.sweep()
    bench.sweep()
    assert bench.got() == Counter({(7, "scene.updated"): 1, (7, "scene.destroyed"): 1})
    assert path in bench.receiver.received[-1].body.decode()


def test_stash_was_away(bench: Bench) -> None:
    """After an outage of Stash, changes without hooks are sent at once, not at the next regular sweep."""
    bench.stash.stop()
    bench.jump(70.0)
    wait_until(lambda: bench.dispatcher.step() and bench.dispatcher.poller.gone_seconds > 0, 10.0)
    bench.stash.change_without_hook(4, title="During the outage")
    bench.stash.start(bench.stash.config.port)
    bench.jump(30.0)
    bench.rest()
    assert bench.got() == Counter({(4, "scene.updated"): 1})


def test_stash_fails_during_a_sweep(bench: Bench) -> None:
    """A sweep that Stash failed is repeated, and deliveries go on meanwhile."""
    bench.stash.change_without_hook(4, title="Silent")
    bench.jump(SWEEP)
    bench.stash.faults.graphql_error = "database is locked"
    wait_until(lambda: bench.dispatcher.step() and bench.dispatcher.poller.gone_seconds > 0, 10.0)
    assert not bench.got()
    bench.stash.faults.clear()
    bench.stash.edit(5, title="Hooked")
    bench.jump(2.0)
    bench.rest()
    assert bench.got() == Counter({(5, "scene.updated"): 1})
    bench.jump(60.0)
    bench.rest()
    assert bench.got() == Counter({(4, "scene.updated"): 1, (5, "scene.updated"): 1})


def test_an_edit_that_is_refused_at_once_is_sent_once(bench: Bench) -> None:
    """Sweeps send it again neither to the receiver that refused it, discarded or not, nor to one that has it."""
    with Receiver() as other:
        bench.receiver.answer = Reply(422)
        bench.stash.configure(PLUGIN, {"webhook_url": f"{bench.receiver.url} {other.url}"})
        bench.rest()
        bench.jump(60.0)
        bench.stash.edit(6, title="Not wanted")
        bench.rest()
        for over in (lambda: None, bench.dlq.discard, lambda: bench.jump(HOUR), bench.dlq.delete_discarded):
            over()
            bench.sweep()
        assert bench.got() == Counter({(6, "scene.updated"): 1})
        assert [received.json()["data"]["id"] for received in other.received] == ["6"]
        assert bench.dlq.get_count() == 0
        bench.stash.change_without_hook(6, title="Wanted")
        bench.sweep()
        assert [received.json()["data"]["title"] for received in other.received] == ["Not wanted", "Wanted"]
        assert bench.got() == Counter({(6, "scene.updated"): 2})


def test_only_those_that_lack_a_change_get_it(bench: Bench) -> None:
    """A change that one receiver already got is sent to the other alone."""
    with Receiver() as other:
        bench.stash.configure(PLUGIN, {"webhook_url": f"{bench.receiver.url} {other.url}"})
        bench.rest()
        bench.jump(60.0)
        bench.stash.change_without_hook(6, title="New")
        event = {"scene": 6, "event": "update", "changed": [], "at": bench.wall(), "to": [webhook(other)]}
        store.put(str(bench.data), store.encode(event), bench.wall())
        for _ in range(3):
            bench.sweep()
        assert bench.got() == Counter({(6, "scene.updated"): 1})
        assert len(other.received) == 1


@pytest.mark.check
def test_the_worker_that_a_hook_starts_sweeps(tmp_path: Path) -> None:
    """A real worker that was killed and started again by a hook finds what changed meanwhile."""
    with Receiver() as receiver, Courier(tmp_path, {"webhook_url": receiver.url}, scenes=5) as courier:

        def got() -> list[str]:
            return sorted(f"{r.json()['type']} {r.json()['data']['id']}" for r in receiver.received)

        courier.stash.edit(1, title="It begins")
        wait_until(lambda: "Scenes in Stash: 5." in courier.log(), 20.0)
        courier.drained()  # otherwise deliveries in flight would be sent again
        courier.kill_worker(signal.SIGKILL)
        time.sleep(1.1)  # Stash's times are whole seconds, and only changes after the first sweep must be found
        courier.stash.change_without_hook(2, title="Silent")
        courier.stash.edit(3, title="It is started again")
        wait_until(lambda: len(got()) == 3, 30.0)
        assert got() == ["scene.updated 1", "scene.updated 2", "scene.updated 3"]
