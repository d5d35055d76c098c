"""The tasks with a real worker: "Deliver now", "Restart", and what they do about damage and bad settings."""

from __future__ import annotations

import time

import pytest

from stash_courier.queue.inbox import files, store
from stash_courier.worker import process
from tests.standin.receivers import Receiver, Reply
from tests.standin.stash import StandInStash
from tests.support.buttons import Buttons, webhook
from tests.support.harness import wait_until


def start(stash: StandInStash) -> Buttons:
    """A plugin that may start a worker, which doesn't run yet."""
    buttons = Buttons(stash.config.config_dir, stash.config.port, worker=True)
    buttons.folder.mkdir(parents=True)
    return buttons


def queue_change(buttons: Buttons) -> None:
    """Queues an edit of scene 3, as a hook does."""
    event = store.encode({"scene": 3, "event": "update", "changed": [], "at": time.time()})
    store.put(str(buttons.folder), event, time.time())


def states(buttons: Buttons) -> dict[str, str]:
    """The states of the connections."""
    return {one["id"]: one["state"] for one in buttons.call("status").output["destinations"]}


def test_deliver_now_starts_the_worker_and_follows_it(stash: StandInStash, receiver: Receiver) -> None:
    """Without a worker it starts one, shows the progress, ends when all is delivered, and the worker goes on."""
    buttons = start(stash)
    queue_change(buttons)
    try:
        pressed = buttons.press("deliver_now")
        assert (pressed.output["done"], pressed.output["waiting"], pressed.output["dead_letters"]) == (1, 0, 0)
        assert pressed.logged == [("info", "Delivered: 1. Waiting: 0.")]
        assert pressed.progress[-1] == 1.0
        assert process.running(str(buttons.folder))
        buttons.press("enqueue_all")
        receiver.wait_for(1 + 50)
    finally:
        buttons.call("stop_worker")


@pytest.mark.check
def test_deliver_now_tries_what_waits(live: Buttons, receiver: Receiver) -> None:
    """What was asked to wait for an hour is tried at once; what a receiver refuses is a dead letter to review."""
    receiver.answer = Reply(503, headers={"Retry-After": "3600"})
    live.press("enqueue_all")
    # One answer makes it wait, or a few that were in flight hold it.
    wait_until(lambda: {*states(live).values()} <= {"waiting", "held"}, 30.0)
    receiver.answer = Reply()
    receiver.answer_next(*[Reply()] * 5, Reply(422))
    pressed = live.press("deliver_now")
    assert (pressed.output["done"], pressed.output["waiting"], pressed.output["dead_letters"]) == (49, 0, 1)
    (letter,) = live.call("review_dead_letters").output["dead_letters"]
    assert (letter["title"], letter["error_type"]) == (f"Film {letter['scene_id']}", "rejected")
    arrived = len(receiver.received)
    live.press("retry_dead_letters")
    receiver.wait_for(arrived + 1)
    wait_until(lambda: live.call("status").output["dead_letters"]["total"] == 0, 20.0)


def test_deliver_now_says_why_something_still_waits(live: Buttons, receiver: Receiver) -> None:
    """It doesn't wait for a receiver that is down, nor for the end of a pause, and says so."""
    receiver.down()
    live.press("enqueue_all")
    pressed = live.press("deliver_now")
    assert (pressed.output["done"], pressed.output["waiting"]) == (0, 50)
    lines = [text for level, text in pressed.logged if level == "warning" and "Next try: in" in text]
    assert len(lines) == 1
    assert lines[0].startswith(webhook(receiver))
    assert "refuses connections" in lines[0]
    live.call("pause")
    receiver.up()
    pressed = live.press("deliver_now")
    assert pressed.output["waiting"] == 50
    assert any(text.startswith("Deliveries: paused since") for _, text in pressed.logged)
    assert receiver.received == ()
    live.call("resume")
    receiver.wait_for(50)


def test_restart_and_stop(live: Buttons) -> None:
    """Restart starts another process, stop ends it, and each says so."""
    first = live.call("status").output["worker"]["pid"]
    again = live.press("restart_worker").output
    assert (again["started"], again["pid"] != first) == (True, True)
    assert again["lines"][0].startswith(
        f"Worker: stopped, with its requests in flight finished. Process: {first}."
    )
    assert live.call("stop_worker").output == {"stopped": True, "running": False}
    (line,) = live.press("restart_worker").output["lines"]
    assert line.startswith("Worker: started (it was not running). Version: ")


@pytest.mark.check
@pytest.mark.parametrize("name", [files.QUEUE_DB, files.DLQ_DB])
def test_a_damaged_file_is_repaired_by_a_restart(name: str, stash: StandInStash, receiver: Receiver) -> None:
    """Status says what to press, and pressing it gives a working queue and a notice of what happened."""
    buttons = start(stash)
    (buttons.folder / name).write_bytes(b"no database at all" * 100)
    before = buttons.press("status").output["lines"]
    assert any(line.startswith(f"{name} is damaged") and '"Restart"' in line for line in before)
    try:
        assert buttons.press("restart_worker").output["started"] is True
        status = buttons.press("status").output
        assert (status["queue"], status["dead_letters"]["total"]) == ("", 0)
        assert any(f"{name} was damaged" in notice for notice in status["notices"])
        buttons.press("enqueue_all")
        receiver.wait_for(50)
    finally:
        buttons.call("stop_worker")


@pytest.mark.check
@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ({"webhook_secret": "rubbish"}, '{id}: unusable. To correct: "Signing secret". Waiting: 1.'),
        ({"webhook_url": "127.0.0.1/hook"}, 'Waiting for a connection: 1. To correct: "Webhook, URL".'),
    ],
)
def test_a_connection_that_was_never_usable_keeps_its_changes(
    broken: dict[str, object], says: str, stash: StandInStash, receiver: Receiver
) -> None:
    """With a mistake at first set-up changes wait, a line says so, and they arrive once it is corrected."""
    stash.configure("stash_plugin", {"webhook_url": receiver.url, **broken})
    buttons = start(stash)
    queue_change(buttons)
    says = says.format(id=webhook(receiver))
    try:
        buttons.press("restart_worker")
        wait_until(lambda: any(line.startswith(says) for line in buttons.call("status").output["lines"]), 30.0)
        assert any(text.startswith(says) for _, text in buttons.press("deliver_now").logged)
        assert receiver.received == ()
        stash.configure("stash_plugin", {"webhook_url": receiver.url})
        buttons.press("restart_worker")
        receiver.wait_for(1)
    finally:
        buttons.call("stop_worker")


def test_a_connection_whose_settings_broke_still_gets_scenes_queued(
    stash: StandInStash, buttons: Buttons, receiver: Receiver
) -> None:
    """What is queued for a known connection with invalid settings waits; status and test name the field."""
    bad = "whsec_" + "c2VjcmV0" * 4 + "!!"
    stash.configure("stash_plugin", {"webhook_url": receiver.url, "webhook_secret": bad})
    for mode in ("status", "test_destinations"):
        answer = buttons.call(mode)
        (problem,) = answer.output["problems"]
        assert (problem["connection"], problem["field"]) == (webhook(receiver), "secret")
        assert bad not in answer.text
    queued = buttons.press("enqueue_all").output
    assert (queued["queued"], queued["destinations"]) == (50, [webhook(receiver)])
    assert problem["message"] in queued["lines"][0]
