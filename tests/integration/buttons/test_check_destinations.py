"""The mode that tests every connection, with webhooks, and what a passed test means for what waits."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from stash_courier.queue import control
from stash_courier.worker.delivery.breaker import Health
from tests.standin.receivers import Received, Receiver, Reply
from tests.standin.stash import StandInStash
from tests.support.buttons import webhook
from tests.support.fast_forward import FastForward
from tests.support.harness import PLUGIN
from tests.support.press import press, reach, refusal


@pytest.fixture
def loop(tmp_path: Path, stash: StandInStash) -> Iterator[FastForward]:
    """The worker's loop, with the settings' one webhook."""
    with FastForward(tmp_path / "data", stash) as running:
        yield running


def test_connections_are_tested_with_a_real_scene(
    stash: StandInStash, loop: FastForward, receiver: Receiver
) -> None:
    """The newest scene is sent as a test event and each connection's result is answered; nothing is queued."""
    newest = stash.add_scene("/media/last.mp4", title="Last\nof \x1b[31mall")
    with Receiver(Reply(404)) as other:
        stash.configure(PLUGIN, {"webhook_url": f"{receiver.url} {other.url}"})
        answer = press(loop.folder, "test_destinations")
    by_id = {one["id"]: one for one in answer["destinations"]}
    assert (answer["ok"], by_id[webhook(receiver)]["ok"], by_id[webhook(other)]["ok"]) == (False, True, False)
    assert [step["field"] for step in by_id[webhook(other)]["steps"] if step["status"] == "fail"] == ["url"]
    assert by_id[webhook(receiver)]["scene"] == {"id": newest, "title": "Last\nof \x1b[31mall"}
    (event,) = receiver.received
    assert event.json()["data"]["id"] == str(newest)
    assert loop.queue.empty()


def test_one_connection_can_be_tested_alone_and_only_it_is_tried(
    stash: StandInStash, loop: FastForward, receiver: Receiver
) -> None:
    """Only what waits for a connection that passed its test becomes due; an unknown one is refused."""
    with Receiver() as other:
        stash.configure(PLUGIN, {"webhook_url": f"{receiver.url} {other.url}"})
        for up in (receiver, other):
            control.put_state(loop.queue.connection, webhook(up), asdict(Health("ill", until=time.time() + 900)))
        answer = press(loop.folder, "test_destinations", destination=webhook(receiver))
        assert [one["id"] for one in answer["destinations"]] == [webhook(receiver)]
        assert control.get(loop.queue.connection, control.EXPEDITE) == [webhook(receiver)]
        assert webhook(receiver) in refusal(loop.folder, "test_destinations", destination="plex")
        assert (len(receiver.received), len(other.received)) == (1, 0)


@pytest.mark.parametrize("status", [400, 500])
def test_a_passed_test_shows_nothing_while_scenes_are_refused(
    loop: FastForward, receiver: Receiver, status: int
) -> None:
    """It takes test events and no scene: the test says so, which scene was refused, and what it answered."""

    def answer(received: Received) -> Reply:
        test = received.json()["type"] == "stash_courier.test"
        return Reply() if test else Reply(status, body=b"no studio")

    receiver.answer = answer
    press(loop.folder, "enqueue_all")
    loop.run(lambda: press(loop.folder, "badge")["down"] != [])
    (tested,) = press(loop.folder, "test_destinations")["destinations"]
    assert tested["ok"]
    last = tested["steps"][-1]
    assert (last["name"], last["status"]) == ("refused", "warn")
    assert re.search(rf"Scene \d+: .* answered {status} .* It answered: no studio\.", last["text"])


def test_an_empty_library_can_be_tested_too(tmp_path: Path, receiver: Receiver) -> None:
    """Before the first scan a test shows whether the connection can be reached."""
    with StandInStash(0, config_dir=tmp_path / "empty") as server:
        server.configure(PLUGIN, {"webhook_url": receiver.url})
        reach(tmp_path / "data", server.config.port)
        (one,) = press(tmp_path / "data", "test_destinations")["destinations"]
    assert (one["scene"], one["ok"]) == (None, True)
