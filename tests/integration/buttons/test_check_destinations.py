"""The mode that tests every connection, with webhooks."""

from __future__ import annotations

import re
import time
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import pytest

from stash_courier.queue import control
from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.inbox import files
from stash_courier.worker.delivery.breaker import Health
from tests.standin.receivers import Received, Receiver, Reply
from tests.standin.stash import StandInStash
from tests.support.buttons import Buttons, webhook
from tests.support.harness import wait_until


def test_connections_are_tested_with_a_real_scene(
    stash: StandInStash, buttons: Buttons, receiver: Receiver
) -> None:
    """The newest scene is sent as a test event and each connection's result is answered; nothing is queued."""
    newest = stash.add_scene("/media/last.mp4", title="Last\nof \x1b[31mall")
    with Receiver(Reply(404)) as other:
        stash.configure("stash_plugin", {"webhook_url": f"{receiver.url} {other.url}"})
        answer = buttons.call("test_destinations").output
    by_id = {one["id"]: one for one in answer["destinations"]}
    assert (answer["ok"], by_id[webhook(receiver)]["ok"], by_id[webhook(other)]["ok"]) == (False, True, False)
    assert [step["field"] for step in by_id[webhook(other)]["steps"] if step["status"] == "fail"] == ["url"]
    assert by_id[webhook(receiver)]["scene"] == {"id": newest, "title": "Last\nof \x1b[31mall"}
    (event,) = receiver.received
    assert event.json()["data"]["id"] == str(newest)
    assert not (buttons.folder / files.QUEUE_DB).exists()


def test_one_connection_can_be_tested_alone_and_only_it_is_tried(
    stash: StandInStash, buttons: Buttons, receiver: Receiver
) -> None:
    """Only what waits for a connection that passed its test becomes due; an unknown one is refused."""
    with Receiver() as other:
        stash.configure("stash_plugin", {"webhook_url": f"{receiver.url} {other.url}"})
        with closing(SceneQueue(buttons.folder)) as queue:
            for up in (receiver, other):
                control.put_state(queue.connection, webhook(up), asdict(Health("ill", until=time.time() + 900)))
            answer = buttons.call("test_destinations", destination=webhook(receiver)).output
            assert [one["id"] for one in answer["destinations"]] == [webhook(receiver)]
            assert control.get(queue.connection, control.EXPEDITE) == [webhook(receiver)]
    assert webhook(receiver) in buttons.call("test_destinations", destination="plex").error
    assert (len(receiver.received), len(other.received)) == (1, 0)


def test_a_passed_test_ends_the_wait(live: Buttons, receiver: Receiver) -> None:
    """A connection that was held gets its deliveries as soon as its test passes."""
    receiver.answer = Reply(401)
    live.press("enqueue_all")
    wait_until(lambda: "held" in [one["state"] for one in live.call("status").output["destinations"]], 30.0)
    receiver.answer = Reply()
    before = len(receiver.received)
    assert live.call("test_destinations").output["ok"]
    receiver.wait_for(before + 1 + 50)


@pytest.mark.parametrize("status", [400, 500])
def test_a_passed_test_shows_nothing_while_scenes_are_refused(
    live: Buttons, receiver: Receiver, status: int
) -> None:
    """It takes test events and no scene: the test says so, which scene was refused, and what it answered."""

    def answer(received: Received) -> Reply:
        test = received.json()["type"] == "stash_courier.test"
        return Reply() if test else Reply(status, body=b"no studio")

    receiver.answer = answer
    live.press("enqueue_all")
    wait_until(lambda: "held" in [one["state"] for one in live.call("status").output["destinations"]], 30.0)
    (tested,) = live.call("test_destinations").output["destinations"]
    assert tested["ok"]
    last = tested["steps"][-1]
    assert (last["name"], last["status"]) == ("refused", "warn")
    assert re.search(rf"Scene \d+: .* answered {status} .* It answered: no studio\.", last["text"])
    (state,) = live.call("status").output["destinations"]
    assert state["state"] == "held"
    assert "It answered: no studio." in state["reason"]


def test_an_empty_library_can_be_tested_too(tmp_path: Path, receiver: Receiver) -> None:
    """Before the first scan a test shows whether the connection can be reached."""
    with StandInStash(0, config_dir=tmp_path / "empty") as server:
        server.configure("stash_plugin", {"webhook_url": receiver.url})
        answer = Buttons(server.config.config_dir, server.config.port).call("test_destinations").output
    (one,) = answer["destinations"]
    assert (one["scene"], one["ok"]) == (None, True)
