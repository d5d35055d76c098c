"""The dispatcher in fast-forward: changed settings, disabled and paused, and after a worker's death."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from stash_courier.queue import control
from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.inbox import files
from tests import ROOT
from tests.standin.receivers import Held, RawReceiver, Received, Receiver, Reply, never_answer
from tests.standin.stash.server import StandInStash
from tests.support.fast_forward import FastForward
from tests.support.harness import PLUGIN, wait_until

DAY = 86_400.0
SCENES = 30


@pytest.fixture
def stash(tmp_path: Path) -> Iterator[StandInStash]:
    with StandInStash(SCENES, config_dir=tmp_path / "config") as running:
        running.install_plugin(ROOT)  # no hook fires here: it is there to be enabled
        yield running


@pytest.fixture
def courier(tmp_path: Path, stash: StandInStash) -> Iterator[FastForward]:
    with FastForward(tmp_path / "data", stash) as running:
        yield running


def set_up(stash: StandInStash, **settings: object) -> None:
    """Replaces all of the plugin's settings."""
    stash.config.plugins[PLUGIN] = settings


def arrived(receiver: Receiver) -> list[str]:
    """The scene ids that a receiver got, in order."""
    return [received.json()["data"]["id"] for received in receiver.received]


# Settings


def test_a_mistake_in_one_url_keeps_what_is_edited_for_it(
    courier: FastForward, stash: StandInStash, receiver: Receiver
) -> None:
    """A typo in one of two webhook URLs doesn't stop the other; once corrected, the first gets what it missed."""
    with Receiver() as other:
        set_up(stash, webhook_url=f"{receiver.url} {other.url}")
        courier.put(1)
        courier.run(courier.queue.empty)
        set_up(stash, webhook_url=f"{receiver.url} {other.url.replace('//', '/')}")
        courier.put(2)
        courier.run(lambda: "2" in arrived(receiver))
        courier.run(seconds=60.0)
        assert arrived(other) == ["1"]
        set_up(stash, webhook_url=f"{receiver.url} {other.url}")
        courier.put(3)
        courier.run(courier.queue.empty)
        assert sorted(arrived(other)) == ["1", "2", "3"]


def test_a_dead_letter_of_a_removed_destination_does_not_vanish(
    courier: FastForward, stash: StandInStash, receiver: Receiver
) -> None:
    """A dead letter that is retried for a removed webhook waits, and after 30 days is a dead letter again."""
    with Receiver(Reply(400)) as other:
        set_up(stash, webhook_url=f"{receiver.url} {other.url}")
        courier.put(1)
        courier.run(courier.queue.empty)
        (dead_letter,) = courier.dlq.get_recent()
        set_up(stash, webhook_url=receiver.url)
        courier.run(seconds=300.0)
        assert courier.dlq.ask() == 1
        courier.run(seconds=120.0)
        courier.jump(29 * DAY)
        courier.run(seconds=120.0)
        assert (courier.dlq.get_count(), courier.queue.size) == (0, 1)
        courier.jump(DAY)
        courier.run(seconds=120.0)
        assert (courier.dlq.get_count(), courier.queue.size) == (1, 0)
        assert courier.dlq.get_recent()[0].error_type == "RemovedDestinationError"
        assert dead_letter.destination not in control.states(courier.queue.connection)
        assert courier.dlq.ask() == 1
        courier.jump(DAY)
        courier.run(seconds=120.0)
        other.answer = Reply()
        set_up(stash, webhook_url=f"{receiver.url} {other.url}")
        courier.run(courier.queue.empty)
        assert arrived(other) == ["1", "1"]


# Several destinations


def test_a_destination_that_hangs_delays_no_other(
    courier: FastForward, stash: StandInStash, receiver: Receiver
) -> None:
    """While one webhook answers no request, the other gets every edit, and in the end the first does too."""
    hanging = Held()
    with Receiver(hanging) as other:
        set_up(stash, webhook_url=f"{other.url} {receiver.url}")
        for scene_id in range(1, SCENES + 1):
            courier.put(scene_id)
        courier.run(lambda: len(receiver.received) == SCENES)
        assert len(other.received) < SCENES
        hanging.may_answer.set()
        courier.run(courier.queue.empty)
        assert set(arrived(other)) == set(arrived(receiver))


# Disabled and paused


def test_a_pause_holds_what_was_claimed(courier: FastForward, stash: StandInStash, receiver: Receiver) -> None:
    """After "Pause" only the deliveries that have started end; no other starts."""
    set_up(stash, webhook_url=receiver.url, worker_concurrency=1)

    def pause(_: object) -> Reply:
        with_queue = SceneQueue(courier.folder)
        control.put(with_queue.connection, control.PAUSED, courier.wall)
        with_queue.close()
        return Reply()

    receiver.answer = pause
    for scene_id in range(1, SCENES + 1):
        courier.put(scene_id)
    courier.run(lambda: bool(receiver.received))
    courier.run(seconds=60.0)
    assert len(receiver.received) <= 3  # one running, one behind it, and one whose end the loop hadn't seen yet
    assert courier.queue.size == SCENES - len(receiver.received)
    assert not courier.queue.in_flight()


# After a worker's death


def died(courier: FastForward, *in_flight: int) -> None:
    """The worker dies while these scenes are in flight, and another one starts."""
    scenes = ", ".join(map(str, in_flight))
    with courier.queue.transaction():
        courier.queue.connection.execute(
            f"UPDATE ack_queue_deliveries SET status = 2, taken = seq WHERE scene_id IN ({scenes})"
        )
    courier.__exit__()
    courier.__enter__()


def test_what_a_dead_worker_left_delays_no_other_destination(
    courier: FastForward, stash: StandInStash, receiver: Receiver
) -> None:
    """After a kill, a destination that hangs delays only what was in flight to it, not edits for the others."""
    with RawReceiver(never_answer) as hanging:
        set_up(stash, webhook_url=f"{hanging.url} {receiver.url}", worker_timeout_seconds=60)
        for scene_id in range(1, 11):
            courier.put(scene_id)
        courier.run(lambda: len(receiver.received) == 10)
        died(courier, 1, 2)
        courier.put(11)
        courier.run(lambda: "11" in arrived(receiver))
        assert courier.queue.in_flight()  # the first one of the destination that hangs is still on its way


def test_what_was_in_flight_at_a_death_is_sent_one_by_one_beside_others(
    courier: FastForward, stash: StandInStash, receiver: Receiver
) -> None:
    """One for each destination; after two deaths one in the whole process, and none with a count beside it."""
    stepped = threading.Condition()
    steps = 0
    together: list[list[tuple[str, int]]] = []  # destination and deaths of all that is in flight

    def all_sent() -> bool:
        nonlocal steps
        with stepped:
            steps += 1
            stepped.notify_all()
        return courier.queue.empty()

    def answer(_: Received) -> Reply:
        with stepped:  # the dispatcher has time to send others beside this one
            enough = steps + 5
            assert stepped.wait_for(lambda: steps >= enough, 30.0)
        with closing(sqlite3.connect(courier.folder / files.QUEUE_DB)) as conn:
            sql = "SELECT destination, deaths FROM ack_queue_deliveries WHERE status = 2"
            together.append(conn.execute(sql).fetchall())
        return Reply()

    set_up(stash, webhook_url=f"{receiver.url}/one {receiver.url}/two")
    control.put(courier.queue.connection, control.PAUSED, courier.wall)
    for scene_id in range(1, 21):
        courier.put(scene_id)
    courier.run(courier.queue.inbox_empty)
    died(courier, 5, 6)
    died(courier, 1, 2, 3, 4, 5, 6)
    receiver.answer = answer
    control.put(courier.queue.connection, control.PAUSED, None)
    courier.run(all_sent)
    counts = []
    for at_once in together:
        counted = [(name, deaths) for name, deaths in at_once if deaths]
        assert len({name for name, _ in counted}) == len(counted)
        assert len(counted) <= 1 or all(deaths == 1 for _, deaths in counted)
        counts.append(len(counted))
    assert 2 in counts
    assert any(0 < count < len(at_once) for count, at_once in zip(counts, together, strict=True))
    assert courier.dlq.get_count() == 0


def test_retried_dead_letters_run_behind_edits(
    courier: FastForward, stash: StandInStash, receiver: Receiver
) -> None:
    """ "Retry dead letters" delays no edit: it starts with the next free request."""
    set_up(stash, webhook_url=receiver.url, worker_concurrency=1)
    receiver.answer = lambda received: Reply(400 if int(received.json()["data"]["id"]) <= 10 else 200)
    for scene_id in sorted(range(1, 21), key=lambda n: n % 10):  # others that are accepted come in between
        courier.put(scene_id)
    courier.run(lambda: courier.dlq.get_count() == 10)
    receiver.answer = slow = Held()
    assert courier.dlq.ask() == 10
    courier.run(slow.asked.is_set)
    courier.put(25)
    wait_until(lambda: courier.step() < 0 or not courier.dispatcher.poller.awaiting, 10.0)
    wait_until(lambda: [courier.step(), "25" in waiting_jobs(courier)][1], 10.0)
    slow.may_answer.set()
    courier.run(courier.queue.empty)
    assert arrived(receiver)[20:].index("25") <= 2


def waiting_jobs(courier: FastForward) -> set[str]:
    """The scenes that are ready to be sent."""
    (pool,) = courier.dispatcher.registry.pools.values()
    return {str(job.delivery.scene_id) for *_, job, _ in pool._ready}


def test_a_crash_after_an_outage_was_recognized_loses_no_recall(
    courier: FastForward, stash: StandInStash, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the worker dies just after attempts were given back, the outage's dead letters are recalled as well."""
    set_up(stash, webhook_url=receiver.url, worker_attempts=1)
    receiver.answer = Reply(500)
    for scene_id in (1, 2):
        courier.put(scene_id)
        courier.run(seconds=600.0)
    assert courier.dlq.get_count() == 2

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(courier.dispatcher._completer, "_update_dlq", dies)
    courier.put(3)
    with pytest.raises(KeyboardInterrupt):
        courier.run(seconds=60.0)
    courier.__exit__()
    receiver.answer = Reply()
    courier.__enter__()
    courier.run(lambda: {"1", "2", "3"} <= set(arrived(receiver)[3:]))
    assert courier.dlq.get_count() == 0


def test_each_waiting_delivery_gets_its_turn_as_a_probe(
    courier: FastForward, stash: StandInStash, receiver: Receiver
) -> None:
    """One edit that the destination always refuses doesn't keep it paused for everything else that is queued."""
    set_up(stash, webhook_url=receiver.url)
    receiver.down()
    courier.queue.put_many(
        [
            b'{"scene": %d, "event": "update", "changed": [], "at": %f, "priority": 2}' % (n, courier.wall)
            for n in (2, 3)
        ]
    )
    courier.put(1)
    courier.run(seconds=120.0)
    receiver.up()
    receiver.answer = lambda received: Reply(503 if received.json()["data"]["id"] == "1" else 200)
    courier.run(lambda: {"2", "3"} <= set(arrived(receiver)))


def test_what_settles_is_not_hurried_by_a_recovery(
    courier: FastForward, stash: StandInStash, receiver: Receiver
) -> None:
    """A destination that is back gets what it missed at once, but an edit that is still settling waits."""
    set_up(stash, webhook_url=receiver.url, worker_settle_seconds=100)
    receiver.down()
    courier.put(1)
    courier.run(seconds=200.0)
    courier.put(2)
    receiver.up()
    courier.run(lambda: arrived(receiver) == ["1"])
    courier.run(seconds=30.0)
    assert arrived(receiver) == ["1"]
    courier.run(courier.queue.empty)
    assert arrived(receiver) == ["1", "2"]


# While something is on its way


def take_settings(courier: FastForward) -> None:
    """Has the dispatcher read the settings while requests hang."""
    before = courier.dispatcher.registry.settings
    courier.jump(61.0)
    wait_until(lambda: [courier.dispatcher.step(), courier.dispatcher.registry.settings is not before][1], 10.0)


def test_a_disabled_plugin_starts_none_of_what_is_ready(
    courier: FastForward, stash: StandInStash, receiver: Receiver
) -> None:
    """When it is disabled during a delivery, what is ready behind it waits until it is enabled again."""
    receiver.answer = slow = Held()
    set_up(stash, webhook_url=receiver.url, worker_concurrency=1)
    for scene_id in range(1, SCENES + 1):
        courier.put(scene_id)
    courier.run(slow.asked.is_set)
    stash.enable(PLUGIN, enabled=False)
    courier.jump(61.0)
    wait_until(lambda: [courier.step(), courier.dispatcher.poller.enabled is False][1], 10.0)
    slow.may_answer.set()
    courier.run(seconds=60.0)
    assert len(receiver.received) == 1
    assert courier.queue.size == SCENES - 1
    assert not courier.queue.in_flight()
    stash.enable(PLUGIN, enabled=True)
    courier.run(courier.queue.empty)
    assert len(receiver.received) == SCENES


def test_what_is_on_its_way_when_its_webhook_is_removed_is_not_stranded(
    courier: FastForward, stash: StandInStash, receiver: Receiver
) -> None:
    """A delivery that fails after its webhook was removed waits for 30 days and then becomes a dead letter."""
    slow = Held(503)
    with Receiver(slow) as other:
        set_up(stash, webhook_url=f"{receiver.url} {other.url}")
        courier.put(1)
        courier.run(slow.asked.is_set)
        courier.run(lambda: arrived(receiver) == ["1"])
        set_up(stash, webhook_url=receiver.url)
        take_settings(courier)
        slow.may_answer.set()
        courier.run(lambda: not courier.dispatcher.busy())
        assert courier.queue.size == 1
        courier.jump(31 * DAY)
        courier.run(seconds=120.0)
        assert (courier.queue.size, courier.dlq.get_count()) == (0, 1)
