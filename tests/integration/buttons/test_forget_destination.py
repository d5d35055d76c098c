"""The mode "forget_destination": what is left of a removed destination is dropped, and of no other."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import asdict

import pytest

from stash_courier.queue import control
from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.history import ledger
from stash_courier.queue.history.ledger import Sent
from stash_courier.queue.jobs import SceneEvent
from stash_courier.worker.delivery.breaker import Health
from tests.standin.receivers import Receiver
from tests.standin.stash import StandInStash
from tests.support.buttons import Buttons, webhook
from tests.support.harness import wait_until


def removed(stash: StandInStash, buttons: Buttons, receiver: Receiver, other: Receiver) -> str:
    """A destination that is removed from the settings while 50 deliveries wait for it; its id."""
    name = webhook(receiver)
    stash.configure("stash_plugin", {"webhook_url": other.url})
    with closing(SceneQueue(buttons.folder)) as queue:
        for known in (name, webhook(other)):
            control.put_state(queue.connection, known, asdict(Health(last_success=1.0)))
            ledger.write(queue.connection, Sent(known, 50, 1, "", 1.0, "/a", "sent", None))
        for scene in range(1, 51):
            queue.route([SceneEvent(queue.next_seq(), scene, "update", (), 1.0)], {name: time.time() + 9e6})
    return name


def left(buttons: Buttons, name: str) -> tuple[int, bool, int]:
    """Deliveries to a destination, whether its state is known, and the highest scene in its ledger."""
    with closing(SceneQueue(buttons.folder)) as queue:
        waits = queue.backlog().get(name)
        known = name in control.states(queue.connection)
        return waits.total if waits else 0, known, ledger.highest(queue.connection, name)


@pytest.mark.parametrize("waiting", ["dead_letter", "discard"])
def test_a_removed_destination_is_forgotten(
    waiting: str, stash: StandInStash, buttons: Buttons, receiver: Receiver
) -> None:
    """The worker drops its deliveries, ledger and state; the dead letters have what waited."""
    dead = 50 if waiting == "dead_letter" else 0
    with Receiver() as other:
        name = removed(stash, buttons, receiver, other)
        live = Buttons(stash.config.config_dir, stash.config.port, worker=True)
        try:
            assert live.call("forget_destination", destination=name, waiting=waiting).output["waiting"] == 50
            wait_until(lambda: left(buttons, name) == (0, False, 0), 30.0)
            assert left(buttons, webhook(other)) == (0, True, 50)
            with closing(DeadLetterQueue(buttons.folder)) as dlq:
                assert dlq.get_count() == dead
                assert {one.destination for one in dlq.groups()} == ({name} if dead else set())
        finally:
            live.press("stop_worker")


def test_what_can_not_be_forgotten_is_refused(stash: StandInStash, buttons: Buttons, receiver: Receiver) -> None:
    """A destination in the settings or of an unknown name, or without saying what becomes of what waits."""
    with Receiver() as other:
        name = removed(stash, buttons, receiver, other)
        assert "is set up" in buttons.call("forget_destination", destination=webhook(other)).error
        assert f"Removed: {name}." in buttons.call("forget_destination", destination="plex").error
        assert "waiting must be" in buttons.call("forget_destination", destination=name).error
        assert "waiting must be" in buttons.call("forget_destination", destination=name, waiting="x").error
        assert "needs the argument destination" in buttons.call("forget_destination").error
        stash.configure("stash_plugin", {"webhook_url": "nonsense"})  # it may hide any webhook
        assert (
            "is set up" in buttons.call("forget_destination", destination=webhook(other), waiting="discard").error
        )
        assert left(buttons, name) == (50, True, 50)


def test_a_destination_that_came_back_is_not_forgotten(
    stash: StandInStash, buttons: Buttons, receiver: Receiver
) -> None:
    """If the settings name it again before the wish is carried out, it keeps everything."""
    with Receiver() as other:
        name = removed(stash, buttons, receiver, other)
        with closing(SceneQueue(buttons.folder)) as queue:
            control.put(queue.connection, control.FORGET, {name: "discard"})
        stash.configure("stash_plugin", {"webhook_url": f"{receiver.url} {other.url}"})
        live = Buttons(stash.config.config_dir, stash.config.port, worker=True)
        try:
            live.press("restart_worker")
            with closing(SceneQueue(buttons.folder)) as queue:
                wait_until(lambda: control.get(queue.connection, control.FORGET) is None, 30.0)
            assert left(buttons, name)[1:] == (True, 50)
        finally:
            live.press("stop_worker")
