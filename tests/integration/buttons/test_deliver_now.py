"""The button "Deliver now", and the buttons that pause, resume, stop and restart."""

from __future__ import annotations

import threading
import time
from contextlib import closing

import pytest

from stash_courier.queue import control
from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.inbox import files, store
from stash_courier.worker import process
from tests.standin.receivers import Receiver, Reply
from tests.standin.stash import StandInStash
from tests.support.buttons import Buttons, webhook
from tests.support.harness import wait_until


def test_deliver_now_is_the_worker_where_none_runs(buttons: Buttons, receiver: Receiver) -> None:
    """Without a worker the button delivers everything itself, with a progress bar, and releases the lock."""
    buttons.press("enqueue_all")
    pressed = buttons.press("deliver_now")
    assert len(receiver.received) == 50
    assert pressed.output["worker"] == "foreground"
    assert (pressed.output["done"], pressed.output["waiting"], pressed.output["dead_letters"]) == (50, 0, 0)
    assert pressed.logged == [("info", "Delivered: 50. Waiting: 0.")]
    assert pressed.progress[-1] == 1.0
    assert not process.running(str(buttons.folder))
    status = buttons.press("status").output
    assert status["last_delivery"]["destination"] == webhook(receiver)
    assert any(f'"Film {status["last_delivery"]["scene_id"]}"' in line for line in status["lines"])


def test_a_worker_continues_where_the_foreground_ended(stash: StandInStash, receiver: Receiver) -> None:
    """After delivering in the foreground a worker takes over, for what is due later and what comes next."""
    buttons = Buttons(stash.config.config_dir, stash.config.port, worker=True)
    buttons.folder.mkdir(parents=True)
    store.put(
        str(buttons.folder),
        store.encode({"scene": 3, "event": "update", "changed": [], "at": time.time()}),
        time.time(),
    )
    try:
        assert buttons.press("deliver_now").output["worker"] == "foreground"
        assert process.running(str(buttons.folder))
        buttons.press("enqueue_all")
        receiver.wait_for(1 + 50)
    finally:
        buttons.press("stop_worker")


def test_stop_ends_deliver_now_and_no_worker_follows(
    stash: StandInStash, buttons: Buttons, receiver: Receiver
) -> None:
    """Where the button is the worker, stopping the worker ends it, and it starts none in the background."""
    buttons.press("enqueue_all")
    receiver.answer = Reply(delay=2.0)
    live = Buttons(stash.config.config_dir, stash.config.port, worker=True)
    delivering = threading.Thread(target=live.press, args=("deliver_now",))
    delivering.start()
    try:
        receiver.wait_for(1)
        stopped = buttons.press("stop_worker").output
        assert (stopped["stopped"], stopped["running"]) == (True, False)
        delivering.join()
        assert not process.running(str(buttons.folder))
    finally:
        delivering.join()
        buttons.press("stop_worker")


def test_deliver_now_ends_when_a_destination_is_down(buttons: Buttons, receiver: Receiver) -> None:
    """The button doesn't wait for a destination that is down, and reports which it is, why and the next try."""
    buttons.press("enqueue_all")
    receiver.down()
    pressed = buttons.press("deliver_now")
    assert (pressed.output["done"], pressed.output["waiting"]) == (0, 50)
    (held,) = pressed.output["destinations"]
    assert (held["state"], held["id"]) == ("held", webhook(receiver))
    level, sentence = pressed.logged[-1]
    assert level == "warning"
    assert "refuses connections" in sentence
    assert "Next try: in" in sentence
    receiver.up()
    assert buttons.press("deliver_now").output["done"] == 50


def test_deliver_now_counts_what_became_a_dead_letter(buttons: Buttons, receiver: Receiver) -> None:
    """A refused scene becomes a dead letter, review shows it with its title, and retry sends it again."""
    buttons.press("enqueue_all")
    receiver.answer_next(Reply(422))
    pressed = buttons.press("deliver_now")
    assert (pressed.output["done"], pressed.output["dead_letters"]) == (49, 1)
    (dead_letter,) = buttons.press("review_dead_letters").output["dead_letters"]
    assert dead_letter["title"] == f"Film {dead_letter['scene_id']}"
    assert dead_letter["error_type"] == "rejected"
    assert buttons.press("retry_dead_letters", ids=[dead_letter["id"]]).output["retried"] == 1
    assert buttons.press("deliver_now").output["done"] == 1
    assert receiver.received[-1].json()["data"]["id"] == str(dead_letter["scene_id"])
    assert buttons.press("status").output["dead_letters"]["total"] == 0


def test_pause_holds_everything_until_resume(buttons: Buttons, receiver: Receiver) -> None:
    """During a pause nothing is sent, and the buttons say so; after resume everything is sent."""
    buttons.press("pause")
    buttons.press("enqueue_all")
    pressed = buttons.press("deliver_now")
    assert pressed.output["waiting"] == 50
    for said in (pressed, buttons.press("status")):
        assert any(text.startswith("Deliveries: paused since") for _, text in said.logged)
        mine = [text for _, text in said.logged if text.startswith(webhook(receiver))]
        assert [text.partition(". Waiting")[0] for text in mine] == [
            f'{webhook(receiver)}: paused. Press "Resume deliveries"'
        ]
    assert receiver.received == ()
    buttons.press("resume")
    assert buttons.press("deliver_now").output["done"] == 50


def test_deliver_now_watches_a_live_worker(live: Buttons, receiver: Receiver) -> None:
    """With a running worker the button makes everything due, watches, and reports how many were delivered."""
    receiver.answer = Reply(503, headers={"Retry-After": "3600"})
    live.press("enqueue_all")
    wait_until(lambda: live.press("status").output["destinations"][0]["state"] in {"held", "waiting"}, 30.0)
    receiver.answer = Reply()
    pressed = live.press("deliver_now")
    assert pressed.output["worker"] == "background"
    assert (pressed.output["done"], pressed.output["waiting"]) == (50, 0)
    assert pressed.progress[-1] == 1.0


def test_deliver_now_ends_while_edits_go_on(live: Buttons, receiver: Receiver) -> None:
    """It ends when what waited at its start has been delivered, although edits arrive all the time."""
    receiver.answer = Reply(503, headers={"Retry-After": "3600"})
    live.press("enqueue_all")
    # One answer makes it wait, or a few that were in flight hold it.
    wait_until(lambda: live.press("status").output["destinations"][0]["state"] in {"waiting", "held"}, 30.0)
    receiver.answer = Reply(delay=0.05)
    ended = threading.Event()

    def edit() -> None:
        for number in range(40 * 15):
            if ended.wait(1 / 15):
                return
            event = {"scene": number % 50 + 1, "event": "update", "changed": [], "at": time.time()}
            with closing(SceneQueue(live.folder)) as queue:
                queue.put(event)

    editing = threading.Thread(target=edit)
    editing.start()
    try:
        began = time.monotonic()
        pressed = live.press("deliver_now")
        took = time.monotonic() - began
        assert editing.is_alive()
    finally:
        ended.set()
        editing.join()
    assert pressed.output["done"] >= 50
    assert took < 30.0


def test_what_waits_for_a_removed_destination_does_not_count(
    stash: StandInStash, live: Buttons, receiver: Receiver
) -> None:
    """What nothing can be done about is no warning, and the progress reaches 100 % without it."""
    with Receiver() as other:
        receiver.down()
        stash.configure("stash_plugin", {"webhook_url": f"{receiver.url} {other.url}"})
        live.press("enqueue_all")
        wait_until(lambda: len(other.received) == 50, 30.0)
        stash.configure("stash_plugin", {"webhook_url": other.url})
        live.press("restart_worker")
        live.press("enqueue_all")
        pressed = live.press("deliver_now")
        status = live.press("status")
    receiver.up()
    assert pressed.progress[-1] == 1.0
    assert pressed.output["waiting"] == 0
    (one,) = [one for one in status.output["destinations"] if one["id"] == webhook(receiver)]
    assert (one["state"], one["waiting"]) == ("removed", 50)
    assert {level for level, _ in status.logged} == {"info"}


def test_a_worker_can_be_stopped_and_restarted(live: Buttons) -> None:
    """Restart starts another process, stop ends it, and status shows both."""
    first = live.press("status").output["worker"]
    again = live.press("restart_worker").output
    assert again["started"] is True
    assert again["pid"] != first["pid"]
    assert live.press("stop_worker").output == {
        "stopped": True,
        "running": False,
        "lines": [
            f"Worker: stopped, with its requests in flight finished. Process: {again['pid']}.",
            "The worker starts again with the next change of a scene or the next page load in Stash. To keep it "
            'from delivering, press "Pause deliveries".',
        ],
    }
    assert live.press("status").output["worker"]["running"] is False
    fresh = live.press("restart_worker").output
    (line,) = fresh["lines"]
    assert line.startswith("Worker: started (it was not running). Version: ")
    assert line.endswith(f". Process: {fresh['pid']}.")


@pytest.mark.parametrize("name", [files.QUEUE_DB, files.DLQ_DB])
def test_a_damaged_file_is_repaired_by_a_restart(name: str, stash: StandInStash, receiver: Receiver) -> None:
    """Status says what to press, and pressing it gives a working queue and a notice of what happened."""
    buttons = Buttons(stash.config.config_dir, stash.config.port, worker=True)
    buttons.folder.mkdir(parents=True)
    (buttons.folder / name).write_bytes(b"no database at all" * 100)
    before = buttons.press("status").output["lines"]
    assert any(line.startswith(f"{name} is damaged") and '"Restart the worker"' in line for line in before)
    try:
        assert buttons.press("restart_worker").output["started"] is True
        status = buttons.press("status").output
        assert status["queue"] == ""
        assert status["dead_letters"]["total"] == 0
        assert any(f"{name} was damaged" in notice for notice in status["notices"])
        buttons.press("enqueue_all")
        receiver.wait_for(50)
    finally:
        buttons.press("stop_worker")


def test_what_an_ended_worker_knew_of_stash_is_forgotten(buttons: Buttons) -> None:
    """That an earlier worker could not reach Stash doesn't hold the next one back."""
    buttons.press("enqueue_all")
    queue = SceneQueue(buttons.folder)
    control.put(queue.connection, control.STASH, {"since": time.time() - 1000, "reason": "no answer at all"})
    queue.close()
    assert buttons.press("deliver_now").output["done"] == 50
    queue = SceneQueue(buttons.folder)
    assert control.get(queue.connection, control.STASH) is None
    queue.close()
