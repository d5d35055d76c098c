"""Messages about trouble with a real worker: held-up connections, dead letters, kills, the buttons."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.jobs import Attempt, Delivery
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
def alerts() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
def broken() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


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


def test_a_held_up_connection_and_its_recovery_are_reported(
    courier: Courier, alerts: Receiver, broken: Receiver
) -> None:
    """Others get courier.connection_down with reason and advice, and later courier.connection_up."""
    mine = {"tell_trouble": True, "trouble_minutes": 0}
    courier.connect(webhook(broken, "Broken", **mine), webhook(alerts, "Alerts", **mine))
    broken.down()
    courier.stash.edit(1, title="New")
    (down,) = wait_until(lambda: told(alerts, "connection_down"), 20.0)
    about = down["data"]
    assert (about["connection_id"], about["connection"], about["kind"]) == ("broken", "Broken", "webhook")
    assert "refuses connections" in about["reason"]
    assert about["advice"].startswith("It is tried again automatically.")
    assert about["since"] <= down["timestamp"]
    assert about["summary"].startswith("Broken: held up since ")
    assert (about["count"], about["groups"]) == (None, [])
    assert told(alerts, "connection_up") == []
    broken.up()
    (up,) = wait_until(lambda: told(alerts, "connection_up"), 40.0)
    assert (up["data"]["connection_id"], up["data"]["since"]) == ("broken", about["since"])
    assert up["data"]["summary"].startswith("Broken: takes deliveries again.")
    courier.drained()
    time.sleep(2.5)
    assert [one["type"] for one in told(alerts)] == ["courier.connection_down", "courier.connection_up"]
    assert told(broken) == []  # never about itself, though it wants to be told
    assert [one.json()["type"] for one in broken.received] == ["scene.updated"]


def test_fifty_dead_letters_are_one_message(courier: Courier, alerts: Receiver, broken: Receiver) -> None:
    """50 new dead letters make one courier.dead_letters with their number and at most ten causes."""
    bury(courier.data, 50, "broken")
    courier.connect(
        webhook(broken, "Broken", tell_trouble=True),
        webhook(alerts, "Alerts", tell_trouble=True),
        webhook(broken, "Other"),
    )
    courier.stash.edit(1, title="New")
    (message,) = wait_until(lambda: told(alerts, "dead_letters"), 20.0)
    about = message["data"]
    assert (about["connection_id"], about["connection"], about["kind"]) == ("broken", "Broken", "webhook")
    assert about["count"] == 50
    assert len(about["groups"]) == 10
    first = about["groups"][0]
    assert (first["connection"], first["error_type"], first["count"]) == ("Broken", "item_refused", 4)
    assert about["reason"] == first["cause"]
    assert "retry the dead letters" in about["advice"]
    assert about["summary"] == f"New dead letters: 50. Most frequent cause (Broken): {first['cause']}"
    courier.drained()
    courier.kill_worker()
    courier.stash.edit(2, title="Newer")
    wait_until(lambda: len(alerts.received) >= 3, 20.0)
    time.sleep(2.5)
    assert len(told(alerts)) == 1
    assert told(broken) == []  # dead letters of its own


def test_a_message_says_what_the_receiver_said(tmp_path: Path) -> None:
    """The text of one dead letter of each cause: with its numbers, without its path, addresses and title."""
    answer = 'Film 7: too long (max 5 of "title") for /films/7/Film 7.mp4, see http://nas/7'
    attempt = Attempt(5.0, "item_refused", "nas answered 400.", 400, answer)
    with closing(DeadLetterQueue(tmp_path)) as dlq:
        error = DeliveryFailed(Failure.ITEM_REFUSED, "nas answered 400.")
        job = Delivery(1, "broken", 7, "update", (), 1, 5.0, history=(attempt,))
        dlq.add(job, error, 1, title="Film 7")
        (group,) = dlq.unreported()
    assert group.text == '400: "": too long (max 5 of "title") for <path>, see <url>'


def test_a_message_survives_a_kill_of_the_worker(courier: Courier, alerts: Receiver, broken: Receiver) -> None:
    """A SIGKILL while a message is sent loses nothing: it is sent again, with the same id and content."""
    bury(courier.data, 3, "broken")
    courier.connect(webhook(broken, "Broken"), webhook(alerts, "Alerts", tell_trouble=True, events=["destroy"]))
    alerts.answer_next(Reply(200, delay=30.0))
    courier.stash.edit(1, title="New")
    (first,) = alerts.wait_for(1, 20.0)
    courier.kill_worker()
    courier.stash.edit(2, title="Newer")
    courier.drained(30.0)
    _, *again = alerts.received
    assert [one.headers["webhook-id"] for one in again] == [first.headers["webhook-id"]]
    assert [one.body for one in again] == [first.body]


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


def test_a_refused_message_can_be_discarded(courier: Courier, alerts: Receiver, broken: Receiver) -> None:
    """A dead letter of a message is deleted like any other."""
    bury(courier.data, 1, "broken")
    courier.connect(webhook(broken, "Broken"), webhook(alerts, "Alerts", tell_trouble=True, events=["destroy"]))
    alerts.answer = Reply(400)
    courier.stash.edit(1, title="New")
    wait_until(lambda: courier.dead() == 2, 20.0)
    assert press(courier.data, "discard_dead_letters", destination="alerts")["discarded"] == 1
    assert courier.dead() == 1
