"""The button "Test connections" with webhooks."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from stash_courier.queue import control
from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.inbox import files
from tests.standin.receivers import Received, Receiver, Reply
from tests.standin.stash import StandInStash
from tests.support.buttons import Buttons, webhook
from tests.support.harness import wait_until


def test_destinations_are_tested_with_a_real_scene(
    stash: StandInStash, buttons: Buttons, receiver: Receiver
) -> None:
    """The newest scene is sent as a test event and each destination's result is reported; nothing is queued."""
    newest = stash.add_scene("/media/last.mp4", title="Last\nof \x1b[31mall")
    with Receiver(Reply(404)) as other:
        stash.configure("stash_plugin", {"webhook_url": f"{receiver.url} {other.url}"})
        pressed = buttons.press("test_destinations")
    by_id = {found["id"]: found for found in pressed.output["destinations"]}
    assert by_id[webhook(receiver)]["ok"] is True
    assert by_id[webhook(other)]["ok"] is False
    assert any('"Address"' in line for line in by_id[webhook(other)]["lines"])
    path = [
        (level, text)
        for level, text in pressed.logged
        if text.startswith(f"{webhook(other)}: ") and "/media/last.mp4" in text
    ]
    assert [level for level, _ in path] == ["info"]  # a fact, though the test failed
    assert by_id[webhook(receiver)]["scene"] == {"id": newest, "title": "Last\nof \x1b[31mall"}
    assert any(f'Tested with scene {newest} "Last of \\x1b[31mall".' in text for _, text in pressed.logged)
    assert pressed.logged[0] == ("error", "Connections tested: 2. Failed: 1 of 2.")
    assert [level for level, _ in pressed.logged].count("error") == 1
    assert pressed.output["ok"] is False
    (event,) = receiver.received
    assert event.json()["data"]["id"] == str(newest)
    assert not (buttons.folder / files.QUEUE_DB).exists()


def test_one_destination_can_be_tested_alone(stash: StandInStash, buttons: Buttons, receiver: Receiver) -> None:
    """A caller may name a destination; an unknown one is answered with the known ones."""
    assert len(buttons.press("test_destinations", destination=webhook(receiver)).output["destinations"]) == 1
    assert webhook(receiver) in buttons.press("test_destinations", destination="plex").error
    assert len(receiver.received) == 1


def test_a_test_expedites_only_its_destination(stash: StandInStash, buttons: Buttons, receiver: Receiver) -> None:
    """Only what waits for a destination that passed its test becomes due."""
    with Receiver() as other:
        stash.configure("stash_plugin", {"webhook_url": f"{receiver.url} {other.url}"})
        queue = SceneQueue(buttons.folder)
        try:
            for up in (receiver, other):
                control.put_state(queue.connection, webhook(up), {"state": "ill", "until": time.time() + 900})
            buttons.press("test_destinations", destination=webhook(receiver))
            assert control.get(queue.connection, control.EXPEDITE) == [webhook(receiver)]
            buttons.press("test_destinations", destination=webhook(other))
            assert control.get(queue.connection, control.EXPEDITE) == sorted([webhook(receiver), webhook(other)])
        finally:
            queue.close()


def test_a_passed_test_ends_the_wait(live: Buttons, receiver: Receiver) -> None:
    """A destination that was held gets its deliveries as soon as its test passes."""
    receiver.answer = Reply(401)
    live.press("enqueue_all")
    wait_until(lambda: "held" in [one["state"] for one in live.press("status").output["destinations"]], 30.0)
    receiver.answer = Reply()
    before = len(receiver.received)
    pressed = live.press("test_destinations")
    assert any(": deliveries resumed." in text for _, text in pressed.logged)
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
    wait_until(lambda: "held" in [one["state"] for one in live.press("status").output["destinations"]], 30.0)
    pressed = live.press("test_destinations")
    (tested,) = pressed.output["destinations"]
    assert tested["ok"]
    last = tested["steps"][-1]
    assert (last["name"], last["status"]) == ("refused", "warn")
    assert re.search(rf"Scene \d+: .* answered {status} .* It answered: no studio\.", last["text"])
    assert not any("deliveries resumed" in text for _, text in pressed.logged)
    (state,) = live.press("status").output["destinations"]
    assert state["state"] == "held"
    assert "It answered: no studio." in state["reason"]
    assert state["next_try"] - time.time() < 75.0  # soon again, as a person may have changed something


def test_an_empty_library_can_be_tested_too(tmp_path: Path, receiver: Receiver) -> None:
    """Before the first scan a test shows whether the destination can be reached."""
    with StandInStash(0, config_dir=tmp_path / "empty") as server:
        server.configure("stash_plugin", {"webhook_url": receiver.url})
        pressed = Buttons(server.config.config_dir, server.config.port).press("test_destinations")
    (found,) = pressed.output["destinations"]
    assert (found["scene"], found["ok"]) == (None, True)
