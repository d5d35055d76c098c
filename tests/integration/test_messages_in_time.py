"""Messages about trouble in fast-forward: when they come, how many, and what never makes one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stash_courier.queue import control
from stash_courier.worker.connections.model import Entry
from stash_courier.worker.troubles import Troubles
from tests import ROOT
from tests.standin.receivers import Received, Receiver, Reply
from tests.standin.stash.server import StandInStash
from tests.support import connections
from tests.support.fast_forward import FastForward
from tests.support.harness import PLUGIN

MINUTE, HOUR = 60.0, 3600.0


class Attended(FastForward):
    """A dispatcher whose chores are done, too, at least every 20 s."""

    def __enter__(self) -> Attended:
        super().__enter__()
        self.troubles = Troubles(self.queue, self.dlq, self.dispatcher.registry, lambda: self.wall)
        return self

    def step(self) -> float:
        wait = super().step()
        if self.dispatcher.poller.knows_settings:
            self.troubles.update()
        return min(wait, 20.0)


@pytest.fixture
def courier(tmp_path: Path) -> Iterator[Attended]:
    with StandInStash(200, config_dir=tmp_path / "config") as stash:
        stash.install_plugin(ROOT)
        stash.config.plugins[PLUGIN] = {"worker_sweep_off": True, "worker_attempts": 1}
        with Attended(tmp_path / "data", stash) as running:
            yield running


@pytest.fixture
def alerts(receiver: Receiver) -> Receiver:
    return receiver


@pytest.fixture
def bad(other: Receiver) -> Receiver:
    return other


def webhook(receiver: Receiver, name: str, **values: object) -> Entry:
    """A webhook connection; its id is its name."""
    return Entry(name, name, "webhook", values={"url": f"{receiver.url}hook", **values})


def listener(receiver: Receiver, name: str = "alerts", minutes: float = 10) -> Entry:
    """A webhook connection that is told of trouble."""
    return webhook(receiver, name, tell_trouble=True, trouble_minutes=minutes)


def told(receiver: Receiver) -> list[Any]:
    """The messages about trouble that a receiver got, in order."""
    bodies = [one.json() for one in receiver.received]
    return [body for body in bodies if body["type"].startswith("courier.")]


def types(receiver: Receiver) -> list[str]:
    """The types of the messages about trouble that a receiver got."""
    return [body["type"].removeprefix("courier.") for body in told(receiver)]


def refuse_messages(received: Received) -> Reply:
    """Accepts scenes and refuses messages about trouble."""
    return Reply(400 if received.json()["type"].startswith("courier.") else 200)


def refuse_even(received: Received) -> Reply:
    """Refuses scenes with even ids."""
    return Reply(200 if int(received.json()["data"]["id"]) % 2 else 400, body=b'{"error": "not even"}')


# A connection


def test_it_is_reported_after_the_minutes_that_the_owner_set(
    courier: Attended, alerts: Receiver, bad: Receiver
) -> None:
    """A connection that is held up for 25 minutes is reported to one receiver after 10, to another after 20."""
    with Receiver() as patient:
        entries = webhook(bad, "bad"), listener(alerts), listener(patient, "patient", 20)
        connections.store(courier.folder, *entries)
        bad.down()
        courier.put(1)
        courier.run(lambda: len(alerts.received) == 1)
        courier.run(seconds=9 * MINUTE)
        assert types(alerts) == []
        courier.run(seconds=2 * MINUTE)
        assert types(alerts) == ["connection_down"]
        assert types(patient) == []
        courier.run(seconds=14 * MINUTE)
        assert types(patient) == ["connection_down"]
        bad.up()
        courier.run(courier.queue.empty)
        courier.run(seconds=15 * MINUTE)
        assert types(alerts) == types(patient) == ["connection_down", "connection_up"]


def test_one_that_the_owner_stopped_is_no_trouble(courier: Attended, alerts: Receiver, bad: Receiver) -> None:
    """Pausing a connection that is down is no recovery; when it works afterwards, that is reported."""
    entry = webhook(bad, "bad")
    connections.store(courier.folder, entry, listener(alerts))
    bad.down()
    courier.put(1)
    courier.run(seconds=11 * MINUTE)
    assert types(alerts) == ["connection_down"]
    connections.store(courier.folder, replace(entry, state="paused"))
    courier.run(seconds=15 * MINUTE)
    assert types(alerts) == ["connection_down"]
    bad.up()
    connections.store(courier.folder, entry)
    courier.run(courier.queue.empty)
    courier.run(seconds=MINUTE)
    assert types(alerts) == ["connection_down", "connection_up"]


def test_new_settings_are_no_recovery(courier: Attended, alerts: Receiver, bad: Receiver) -> None:
    """A held connection whose settings were changed is reported as working when something has arrived."""
    connections.store(courier.folder, webhook(bad, "bad"), listener(alerts))
    bad.answer = Reply(401)
    courier.put(1)
    courier.run(seconds=11 * MINUTE)
    assert types(alerts) == ["connection_down"]
    control.put(courier.queue.connection, control.PAUSED, courier.wall)
    connections.store(courier.folder, webhook(bad, "bad", headers="Authorization: Bearer abc"))
    courier.run(seconds=MINUTE)
    control.put(courier.queue.connection, control.PAUSED, None)
    courier.run(seconds=MINUTE)
    assert types(alerts) == ["connection_down"]
    bad.answer = Reply()
    courier.run(courier.queue.empty)
    courier.run(seconds=MINUTE)
    assert types(alerts) == ["connection_down", "connection_up"]


def test_two_that_are_told_of_each_other_end_quietly(courier: Attended, alerts: Receiver, bad: Receiver) -> None:
    """If both are down, each gets one message about the other when it is back, and no more."""
    connections.store(courier.folder, listener(bad, "bad"), listener(alerts))
    bad.down()
    alerts.down()
    courier.put(1)
    courier.run(seconds=20 * MINUTE)
    alerts.up()
    courier.run(lambda: bool(types(alerts)))
    bad.up()
    courier.run(courier.queue.empty)
    courier.run(seconds=2 * HOUR)
    assert types(alerts) == ["connection_down", "connection_up"]
    assert types(bad) == ["connection_up"]
    assert courier.dlq.get_count() == 0


# Dead letters


def test_dead_letters_of_one_minute_are_one_message(courier: Attended, alerts: Receiver, bad: Receiver) -> None:
    """15 scenes that are refused within a minute, among others that are accepted, make one message."""
    connections.store(courier.folder, webhook(bad, "bad", concurrency=1), listener(alerts))
    bad.answer = refuse_even
    for scene_id in range(1, 31):
        courier.put(scene_id)
        if scene_id % 6 == 0:
            courier.run(seconds=5.0)
    assert courier.dlq.get_count() == 15
    assert told(alerts) == []
    courier.run(seconds=15 * MINUTE)
    (message,) = told(alerts)
    assert message["data"]["count"] == 15
    (group,) = message["data"]["groups"]
    assert (group["connection_id"], group["cause"], group["count"]) == ("bad", "400: not even", 15)
    courier.put(102)
    courier.run(seconds=15 * MINUTE)
    assert [one["data"]["count"] for one in told(alerts)] == [15, 1]


def test_a_receiver_is_not_told_of_its_own_dead_letters(
    courier: Attended, alerts: Receiver, bad: Receiver
) -> None:
    """Of two receivers with dead letters each gets a message about the other's alone."""
    connections.store(courier.folder, listener(bad, "bad"), listener(alerts))
    bad.answer = alerts.answer = lambda r: Reply(400) if r.json()["data"].get("id") in {"2", "4"} else Reply()
    for scene_id in (1, 2, 3, 4, 5):
        courier.put(scene_id)
        courier.run(seconds=1.0)
    courier.run(seconds=15 * MINUTE)
    assert [(one["data"]["connection_id"], one["data"]["count"]) for one in told(bad)] == [("alerts", 2)]
    assert [(one["data"]["connection_id"], one["data"]["count"]) for one in told(alerts)] == [("bad", 2)]


def test_a_message_that_fails_makes_no_message(courier: Attended, alerts: Receiver, bad: Receiver) -> None:
    """However many messages are refused, each is one dead letter, and nobody is told of it."""
    with Receiver() as other:
        watched = [listener(alerts), listener(other, "other"), *(webhook(bad, f"bad{n}") for n in range(4))]
        connections.store(courier.folder, *watched)
        alerts.answer = refuse_messages
        bad.down()
        courier.put(1)
        courier.run(seconds=11 * MINUTE)
        assert sorted(types(alerts)) == ["connection_down"] * 4
        courier.run(seconds=20 * MINUTE)
        assert sorted(types(alerts)) == ["connection_down"] * 4
        assert sorted(types(other)) == ["connection_down"] * 4
        assert courier.dlq.get_count() == 4
        assert courier.dispatcher.registry.pools["alerts"].health.state == "well"


def test_recalled_dead_letters_are_not_reported(courier: Attended, alerts: Receiver, bad: Receiver) -> None:
    """Of scenes that are refused because their connection is at fault, only the connection is reported."""
    connections.store(courier.folder, webhook(bad, "bad"), listener(alerts))
    bad.answer = Reply(400)
    for scene_id in (1, 2, 3, 4):
        courier.put(scene_id)
        courier.run(seconds=5.0)
    courier.run(seconds=15 * MINUTE)
    assert courier.dlq.get_count() == 0
    assert types(alerts) == ["connection_down"]


def test_nothing_is_forgotten_while_the_receivers_are_unknown(
    courier: Attended, alerts: Receiver, bad: Receiver
) -> None:
    """While connections.json can't be read, dead letters stay to be reported."""
    connections.store(courier.folder, webhook(bad, "bad"), listener(alerts))
    bad.answer = refuse_even
    courier.put(1)
    courier.put(2)
    courier.run(seconds=10.0)
    assert courier.dlq.get_count() == 1
    registry = courier.dispatcher.registry
    registry._loaded = replace(registry.loaded, unsure=True, told={})
    courier.troubles.update()
    courier.jump(HOUR)
    courier.troubles.update()
    registry._loaded = replace(registry.loaded, unsure=False, told={"alerts": 600.0})
    courier.run(seconds=15 * MINUTE)
    assert types(alerts) == ["dead_letters"]


# Messages and scenes


def test_messages_leave_no_trace_of_a_scene(courier: Attended, alerts: Receiver, bad: Receiver) -> None:
    """A message is in no ledger, asks Stash for no scene, passes filters, and is no last delivery."""
    quiet = replace(listener(alerts), values={**listener(alerts).values, "folders": ["/nowhere"]})
    connections.store(courier.folder, webhook(bad, "bad"), quiet)
    bad.down()
    courier.put(1)
    courier.run(seconds=11 * MINUTE)
    assert types(alerts) == ["connection_down"]
    conn = courier.queue.connection
    assert conn.execute("SELECT count(*) FROM sent WHERE scene_id < 0").fetchone()[0] == 0
    assert control.get(conn, control.LAST_SUCCESS) is None
