"""Messages about trouble with a real worker: one comes, and one that is refused becomes a dead letter."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.jobs import Delivery
from stash_courier.worker.connections.model import Entry
from tests.standin.receivers import Received, Receiver, Reply
from tests.support.harness import Courier, wait_until
from tests.support.press import press

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def courier(tmp_path: Path) -> Iterator[Courier]:
    """A Stash with nothing set up on its page."""
    with Courier(tmp_path, {"worker_schedule": "1s", "worker_sweep_off": True}) as running:
        yield running


@pytest.fixture
def alerts(receiver: Receiver) -> Receiver:
    return receiver


@pytest.fixture
def broken(other: Receiver) -> Receiver:
    return other


def webhook(receiver: Receiver, name: str, **values: object) -> Entry:
    """A webhook connection; its id is its name in lower case."""
    return Entry(name.lower(), name, "webhook", values={"url": f"{receiver.url}hook", **values})


def told(receiver: Receiver, kind: str = "") -> list[Any]:
    """The messages about trouble that a receiver got, in order."""
    bodies = [one.json() for one in receiver.received]
    return [body for body in bodies if body["type"].startswith(f"courier.{kind}")]


def bury(folder: Path, count: int, destination: str, *, ago: float = 61.0) -> None:
    """Makes dead letters that failed some seconds ago."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    at = time.time() - ago
    with closing(DeadLetterQueue(folder, clock=lambda: at)) as dlq:
        for scene in range(101, 101 + count):
            error = DeliveryFailed(Failure.ITEM_REFUSED, f"nas answered 400: cause {'abcdefghijklm'[scene % 13]}.")
            dlq.add(Delivery(scene, destination, scene, "update", (), 1000 + scene, at), error, 1)


def test_a_refused_message_is_a_dead_letter_that_a_person_can_read_and_retry(
    courier: Courier, alerts: Receiver, broken: Receiver
) -> None:
    """It is shown as a message about trouble, makes no message, and is sent as it was by "Retry dead letters"."""

    def refuse(received: Received) -> Reply:
        return Reply(400, body=b"unknown type") if received.json()["type"].startswith("courier.") else Reply()

    with Receiver() as third:
        bury(courier.data, 3, "broken")
        courier.connect(
            webhook(broken, "Broken"),
            webhook(alerts, "Alerts", tell_trouble=True),
            webhook(third, "Third", tell_trouble=True, trouble_minutes=0),
        )
        alerts.answer = refuse
        courier.stash.edit(1, title="New")
        wait_until(lambda: courier.dead() == 4, 20.0)
        answer = press(courier.data, "review_dead_letters")
        (shown,) = (one for one in answer["dead_letters"] if one["destination"] == "alerts")
        (line,) = (line for line in answer["lines"] if line.startswith(f"Dead letter #{shown['id']}"))
        assert 'a message about trouble "New dead letters: 3. Most frequent cause (Broken): nas answered' in line
        assert "scene" not in line.partition("Attempts")[0]
        alerts.answer = Reply()
        assert press(courier.data, "retry_dead_letters", ids=[shown["id"]])["retried"] == 1
        courier.stash.edit(2, title="Newer")
        wait_until(lambda: len(told(alerts)) == 2, 20.0)
        wait_until(lambda: courier.dead() == 3, 20.0)
        assert told(alerts)[0]["data"] == told(alerts)[1]["data"]
        courier.drained()
        assert len(told(third)) == 1  # about the three, and not about the refused message
