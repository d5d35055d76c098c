"""Trouble is told in Stash's log, by the next page load or button, once, and never by a hook."""

from __future__ import annotations

import json
import os
import signal
import subprocess

import pytest

from stash_courier.queue.inbox import files
from tests.integration.test_hook import EXPENSIVE, OURS, imports
from tests.standin.receivers import Receiver, Reply
from tests.standin.stash import StandInStash
from tests.support.buttons import Buttons, webhook
from tests.support.durable import HOOK
from tests.support.harness import wait_until


@pytest.mark.check
def test_a_refused_key_is_told_once_and_so_is_its_end(
    stash: StandInStash, live: Buttons, receiver: Receiver
) -> None:
    """A page load after a destination began to fail leaves a line, the next one none; then its end."""
    name = webhook(receiver)
    notices = live.folder / files.NOTICES

    def told(word: str) -> int:
        logged = live.call("wake").logged
        return sum(level == "warning" and text.startswith(f"{name}: {word}") for level, text in logged)

    receiver.answer = Reply(401)
    live.press("enqueue_all")
    wait_until(notices.exists, 30.0)
    assert told("held up since") == 1
    wait_until(lambda: not (live.folder / files.NOTICES_SHOWN).exists(), 30.0)
    assert told("held up since") == 0
    os.kill(live.call("status").output["worker"]["pid"], signal.SIGKILL)
    live.press("restart_worker")
    assert told("held up since") == 0
    receiver.answer = Reply()
    live.call("test_destinations")
    wait_until(notices.exists, 30.0)
    assert told("takes deliveries again. It had been held up since") == 1
    assert not notices.exists()


def test_a_hook_tells_nothing(stash: StandInStash, live: Buttons, receiver: Receiver) -> None:
    """Edits go on without a line in Stash's log, and calls by programs take no notice away."""
    receiver.answer = lambda received: Reply(422 if received.json()["data"]["id"] == "3" else 200)
    live.press("enqueue_all")
    wait_until((live.folder / files.NOTICES).exists, 30.0)
    context = {"id": 3, "type": "Scene.Update.Post", "inputFields": ["id", "title"]}
    for _ in range(3):
        assert live.call("hook", hookContext=context).logged == []
        assert live.call("status").logged == []
    assert [text for _, text in live.call("wake").logged if text.startswith("Dead letters: ")] != []


def test_a_page_load_stays_cheap(live: Buttons) -> None:
    """Without a notice a page load imports what a hook imports, and nothing else of ours."""
    command = [*HOOK[:3], "-X", "importtime", *HOOK[3:]]
    request = live.request("wake")
    ran = subprocess.run(command, input=json.dumps(request).encode(), capture_output=True, check=True, timeout=60)
    found = imports(ran.stderr)
    assert {name for name in found if name.startswith("stash_courier.")} <= OURS
    assert found & EXPENSIVE == set()
