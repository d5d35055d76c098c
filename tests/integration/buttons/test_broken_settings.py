"""A destination whose settings are invalid or were removed: its changes wait, and the buttons say why."""

from __future__ import annotations

import re
import time

import pytest

from stash_courier.queue.inbox import files, store
from stash_courier.worker import process
from tests.standin.receivers import Receiver
from tests.standin.stash import StandInStash
from tests.support.buttons import SECRET, Buttons, webhook
from tests.support.harness import wait_until


def test_an_invalid_secret_stops_the_webhook_and_is_reported(
    stash: StandInStash, buttons: Buttons, receiver: Receiver
) -> None:
    """An invalid secret stops the webhook; status and test name the field, and what is queued waits."""
    stash.configure("stash_plugin", {"webhook_url": receiver.url, "webhook_secret": SECRET + "!!"})
    for mode in ("status", "test_destinations"):
        found = buttons.press(mode)
        (problem,) = found.output["problems"]
        assert (problem["connection"], problem["field"]) == (webhook(receiver), "secret")
        assert problem["message"].startswith('"Signing secret" is not whsec_')
        assert f"{webhook(receiver)}: {problem['message']}" in [text for _, text in found.logged]
        assert SECRET not in found.text
        offered = [re.findall(r"whsec_[A-Za-z0-9+/]+=*", text) for _, text in found.logged]
        assert [len(secrets) for secrets in offered if secrets] == [1]  # a new one, offered once
    invalid = 'To correct: "Signing secret".'
    assert f"Connections tested: 0. {invalid}" in found.output["lines"]
    buttons.press("deliver_now")
    queued = buttons.press("enqueue_all").output
    assert (queued["queued"], queued["destinations"]) == (50, [webhook(receiver)])
    assert problem["message"] in queued["lines"][0]
    assert receiver.received == ()


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (
            {"webhook_secret": "rubbish"},
            '{id}: unusable. To correct: "Signing secret". Waiting: 1.',
        ),
        (
            {"webhook_url": "127.0.0.1/hook"},
            'Waiting for a connection: 1. To correct: "Webhook, URL".',
        ),
        (
            {"webhook_url": "127.0.0.1/hook", "webhook_secret": "rubbish"},
            'Waiting for a connection: 1. To correct: "Webhook, URL".',
        ),
    ],
)
def test_a_destination_that_was_never_usable_keeps_its_changes(
    broken: dict[str, object], says: str, stash: StandInStash, receiver: Receiver
) -> None:
    """With a mistake at first set-up changes wait, a line says so, and they arrive once it is corrected."""
    stash.configure("stash_plugin", {"webhook_url": receiver.url, **broken})
    fresh = Buttons(stash.config.config_dir, stash.config.port, worker=True)
    fresh.folder.mkdir(parents=True)
    event = store.encode({"scene": 3, "event": "update", "changed": [], "at": time.time()})
    store.put(str(fresh.folder), event, time.time())
    says = says.format(id=webhook(receiver))
    try:
        fresh.press("restart_worker")
        wait_until(lambda: any(line.startswith(says) for line in fresh.press("status").output["lines"]), 30.0)
        delivering = fresh.press("deliver_now").output["lines"]
        assert any(line.startswith(says) for line in delivering)
        assert "Delivered: 0. Waiting: 1." in delivering
        assert receiver.received == ()
        stash.configure("stash_plugin", {"webhook_url": receiver.url})
        fresh.press("restart_worker")
        receiver.wait_for(1)
    finally:
        fresh.press("stop_worker")
        wait_until(lambda: not process.running(str(fresh.folder)), 30.0)


def test_a_destination_whose_url_was_deleted_is_not_shown(
    stash: StandInStash, buttons: Buttons, receiver: Receiver
) -> None:
    """Right after its URL was deleted, status says that no destination is set up and shows none."""
    buttons.press("enqueue_all")
    buttons.press("deliver_now")
    stash.configure("stash_plugin", {})
    status = buttons.press("status").output
    assert status["lines"][0].startswith("There is no connection")
    assert status["destinations"] == []
    assert not any(": working." in line for line in status["lines"])


def test_an_offered_secret_works_and_is_stored_nowhere(
    stash: StandInStash, live: Buttons, receiver: Receiver
) -> None:
    """The secret that is offered in place of an invalid one works, and is in none of the plugin's files."""
    bad = {"webhook_url": receiver.url, "webhook_secret": "rubbish"}
    stash.configure("stash_plugin", bad)
    live.press("restart_worker")
    log = live.folder / files.WORKER_LOG
    wait_until(lambda: re.search('"Signing secret" is not', log.read_text()), 30.0)
    (offered,) = re.findall(r"whsec_[A-Za-z0-9+/=]{20,}", "\n".join(live.press("status").output["lines"]))
    live.press("stop_worker")
    kept = [file for file in live.folder.rglob("*") if file.is_file()]
    assert [file.name for file in kept if re.search(rb"whsec_[A-Za-z0-9+/=]{8,}", file.read_bytes())] == []
    stash.configure("stash_plugin", {**bad, "webhook_secret": offered})
    assert live.press("test_destinations").output["destinations"][0]["ok"] is True


def test_a_destination_whose_settings_broke_still_gets_scenes_queued(
    stash: StandInStash, buttons: Buttons, receiver: Receiver
) -> None:
    """What is queued for a known destination with invalid settings waits until they are corrected."""
    buttons.press("enqueue_all")
    buttons.press("deliver_now")
    stash.configure("stash_plugin", {"webhook_url": receiver.url, "webhook_secret": "rubbish"})
    assert buttons.press("enqueue_all").output["destinations"] == [webhook(receiver)]
    assert buttons.press("deliver_now").output["done"] == 0
    stash.configure("stash_plugin", {"webhook_url": receiver.url, "webhook_secret": SECRET})
    assert buttons.press("deliver_now").output["done"] == 50


def test_status_knows_a_destination_that_left_the_settings(
    stash: StandInStash, buttons: Buttons, receiver: Receiver
) -> None:
    """Deliveries for a removed destination are shown as such."""
    receiver.down()
    buttons.press("enqueue_all")
    buttons.press("deliver_now")
    with Receiver() as other:
        stash.configure("stash_plugin", {"webhook_url": other.url})
        buttons.press("deliver_now")
        found = {one["id"]: one for one in buttons.press("status").output["destinations"]}
    receiver.up()
    assert found[webhook(receiver)]["state"] == "removed"
    assert found[webhook(receiver)]["waiting"] == 50
    assert found[webhook(other)]["state"] == "well"
