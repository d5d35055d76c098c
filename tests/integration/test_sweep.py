"""The sweep with the stand-in Stash over HTTP, real hook processes, real files and a real receiver."""

from __future__ import annotations

import datetime
import http.client
import json
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from stash_courier.queue import control, transfer
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

    def __init__(self, folder: Path, scenes: int = 20, zone: datetime.tzinfo | None = None) -> None:
        self.ahead = -72 * HOUR  # so that the library is older than the watermark
        self.receiver = Receiver()
        self.stash = StandInStash(
            scenes,
            config_dir=folder / "config",
            env={"STASH_COURIER_WORKER": "off"},
            zone=zone,
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
    before = len(stash.runs)
    query = "mutation($i: BulkSceneUpdateInput!) { bulkSceneUpdate(input: $i) { id } }"
    body = json.dumps({"query": query, "variables": {"i": {"ids": scene_ids, "title": "All the same"}}})
    browser = http.client.HTTPConnection("127.0.0.1", stash.config.port, timeout=30.0)
    browser.request("POST", "/graphql", body, {"Content-Type": "application/json", OWNER: "yes"})
    wait_until(lambda: len(stash.runs) >= before + hooks, 30.0)
    browser.close()
    settled = -1
    while settled != len(stash.runs):
        settled = len(stash.runs)
        time.sleep(0.3)
    assert hooks <= settled - before < len(scene_ids)


def test_a_library_that_was_never_seen_sends_nothing(tmp_path: Path) -> None:
    """The first sweeps after the installation send nothing of the existing library."""
    with Bench(tmp_path) as bench:
        bench.stash.change_without_hook(3, title="Just before")
        bench.rest()
        bench.jump(SWEEP)
        bench.rest()
        assert control.get(bench.queue.connection, control.SWEEP)["total"] == 20
        assert not bench.got()


def test_auto_tag(bench: Bench) -> None:
    """What auto-tag changed without hooks is sent by the next sweep, once."""
    for scene_id in range(1, 13):
        bench.stash.change_without_hook(scene_id, tags=["Found in its path"])
    for _ in range(4):
        bench.sweep()
    assert bench.got() == Counter({(i, "scene.updated"): 1 for i in range(1, 13)})
    tags = bench.receiver.received[0].json()["data"]["tags"]
    assert [tag["name"] for tag in tags] == ["Found in its path"]


def test_a_canceled_bulk_edit(tmp_path: Path) -> None:
    """Of fifty edited scenes each is sent once, though the browser disconnected and most hooks never ran."""
    with Bench(tmp_path, scenes=50) as bench:
        bench.rest()
        bench.jump(5.0)
        canceled_bulk_edit(bench.stash, list(range(1, 51)), hooks=10)
        bench.rest()
        hooked = len(bench.got())
        assert 9 <= hooked < 50
        for _ in range(2):
            bench.sweep()
        assert bench.got() == Counter({(i, "scene.updated"): 1 for i in range(1, 51)})


def test_hooks_that_run_after_the_sweep(bench: Bench) -> None:
    """If hooks of a bulk edit run after the sweep found the changes, each change is still sent once."""
    for scene_id in range(1, 7):
        bench.stash.change_without_hook(scene_id, title="All at once")
    bench.sweep()
    for scene_id in range(1, 7):
        event = {"scene": scene_id, "event": "update", "changed": ["title"], "at": bench.wall()}
        store.put(str(bench.data), store.encode(event), bench.wall())
    bench.rest()
    assert bench.got() == Counter({(i, "scene.updated"): 1 for i in range(1, 7)})


def test_edits_with_hooks_are_sent_once(bench: Bench) -> None:
    """Edits, a new scene and a deletion, each with its hook, are sent once, however many sweeps follow."""
    bench.stash.edit(1, title="One")
    bench.stash.edit_many([2, 3], title="Two")
    bench.stash.queue_scan("/media/films/new.mp4")
    bench.stash.scan()
    bench.stash.destroy(5)
    for _ in range(5):
        bench.sweep()
    expected = {(1, "scene.updated"): 1, (2, "scene.updated"): 1, (3, "scene.updated"): 1}
    assert bench.got() == Counter({**expected, (21, "scene.created"): 1, (5, "scene.destroyed"): 1})


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


def test_a_new_scene_whose_hook_was_killed(bench: Bench) -> None:
    """A new scene whose hook was killed is sent as created."""
    scene_id = bench.stash.add_scene("/media/films/silent.mp4")
    bench.sweep()
    assert bench.got() == Counter({(scene_id, "scene.created"): 1})


class Autumn(datetime.tzinfo):
    """A time zone whose clocks go back by an hour at one moment."""

    def __init__(self, before: int, moment: float) -> None:
        self.before = before  # hours
        self.moment = moment

    def dst(self, when: datetime.datetime | None) -> None:
        """Not used."""

    def tzname(self, when: datetime.datetime | None) -> str:
        """Not used."""
        return "Autumn"

    def utcoffset(self, when: datetime.datetime | None) -> datetime.timedelta:
        assert when is not None
        return datetime.timedelta(hours=self.before - when.fold)

    def fromutc(self, when: datetime.datetime) -> datetime.datetime:
        moment = when.replace(tzinfo=datetime.UTC).timestamp()
        later = moment >= self.moment
        hours = self.before - later
        return (when + datetime.timedelta(hours=hours)).replace(fold=int(later))


@pytest.mark.parametrize("hours", [2, -4])
def test_summer_time_ends(tmp_path: Path, hours: int) -> None:
    """At the end of summer time a change is found, though the text of its time sorts before an older one."""
    zone = Autumn(hours, time.time() + 2 * HOUR)
    with Bench(tmp_path, zone=zone) as bench:
        bench.rest()
        bench.jump(2 * HOUR - 300.0)
        bench.stash.change_without_hook(1, title="Before")
        bench.sweep()  # ten minutes after the clocks went back
        bench.stash.change_without_hook(2, title="After")
        assert bench.stash.scene(2).updated_at < bench.stash.scene(1).updated_at
        bench.sweep()
        bench.sweep()
        assert bench.got() == Counter({(1, "scene.updated"): 1, (2, "scene.updated"): 1})


class Moving(datetime.tzinfo):
    """The time zone of a machine that moves: it can be changed at any time."""

    def __init__(self, hours: int) -> None:
        self.hours = hours

    def dst(self, when: datetime.datetime | None) -> None:
        """Not used."""

    def tzname(self, when: datetime.datetime | None) -> str:
        """Not used."""
        return "Moving"

    def utcoffset(self, when: datetime.datetime | None) -> datetime.timedelta:
        return datetime.timedelta(hours=self.hours)

    def fromutc(self, when: datetime.datetime) -> datetime.datetime:
        return when + datetime.timedelta(hours=self.hours)


@pytest.mark.parametrize(("before", "after"), [(9, -8), (-8, 9), (14, -12)])
def test_stash_restarts_in_another_time_zone(tmp_path: Path, before: int, after: int) -> None:
    """Stash restarts in another zone between two questions, so the worker notices nothing. Changes are found."""
    zone = Moving(before)
    with Bench(tmp_path, zone=zone) as bench:
        bench.rest()
        bench.jump(600.0)
        bench.stash.change_without_hook(1, title="Before")
        bench.sweep()
        bench.sweep()
        assert bench.got() == Counter({(1, "scene.updated"): 1})
        zone.hours = after
        bench.stash.restart()
        for scene_id in (2, 3):
            bench.stash.change_without_hook(scene_id, title="After")
            bench.sweep()
            bench.sweep()
        assert bench.got() == Counter({(i, "scene.updated"): 1 for i in (1, 2, 3)})


def test_an_idle_library_of_100000_scenes(tmp_path: Path) -> None:
    """A sweep of an idle library takes one request, however big the library is."""
    with Bench(tmp_path, scenes=100_000) as bench:
        bench.rest()
        for _ in range(2):
            assert bench.sweep() == 1
        assert bench.stash.requests.by_field["findScenes"] >= 2


def test_a_restart_during_a_sweep(tmp_path: Path) -> None:
    """If the worker ends between two pages of a sweep, each change is still sent once."""
    with Bench(tmp_path, scenes=1500) as bench:
        bench.rest()
        bench.jump(5.0)
        for scene_id in range(1, 1501):
            bench.stash.change_without_hook(scene_id, title="Tagged")
        bench.jump(SWEEP)
        while bench.queue.empty():
            bench.dispatcher.step()
            time.sleep(0.001)
        assert bench.queue.size == 1000  # the first page, of which nothing has been delivered
        bench.close()
        bench.open()
        bench.rest(120.0)
        bench.sweep()
        assert bench.got() == Counter({(i, "scene.updated"): 1 for i in range(1, 1501)})


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


def test_deliveries_come_before_the_sweep(bench: Bench) -> None:
    """While scenes wait to be fetched, the sweep sends no request."""
    bench.jump(SWEEP)
    for scene_id in range(1, 4):
        event = {"scene": scene_id, "event": "update", "changed": ["title"], "at": bench.wall()}
        store.put(str(bench.data), store.encode(event), bench.wall())
    fields = bench.stash.requests.by_field
    sweeps = fields["findScenes"]
    while not bench.receiver.received:
        bench.dispatcher.step()
        assert fields["findScenes"] == sweeps or fields["findScene"] == 1
        bench.wakeup.wait(0.005)
    bench.rest()
    assert fields["findScenes"] == sweeps + 1


def test_a_receiver_that_refuses_gets_each_change_once(bench: Bench) -> None:
    """A scene that became a dead letter isn't sent again by later sweeps."""
    bench.receiver.answer = Reply(422)
    bench.stash.change_without_hook(6, title="Not wanted")
    for _ in range(4):
        bench.sweep()
    assert bench.got() == Counter({(6, "scene.updated"): 1})
    assert bench.dlq.get_count() == 1


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


def test_it_can_be_switched_off(bench: Bench) -> None:
    """With sweep_off the worker asks Stash only for its settings."""
    bench.stash.configure(PLUGIN, {"webhook_url": bench.receiver.url, "worker_sweep_off": True})
    bench.jump(70.0)
    bench.rest()
    before = bench.stash.requests.by_field["findScenes"]
    bench.stash.change_without_hook(6, title="Silent")
    bench.sweep()
    assert bench.stash.requests.by_field["findScenes"] == before
    assert not bench.got()


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
