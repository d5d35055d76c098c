"""What holds for every mode: it answers one JSON object, shows no secret, and only tasks write to Stash's log."""

from __future__ import annotations

import re
from typing import Any

import pytest

from stash_courier.plugin import tasks
from stash_courier.plugin.errors import BadInputError
from stash_courier.queue.failures import Failure
from stash_courier.queue.inbox import files
from tests.standin.receivers import Receiver
from tests.standin.stash import StandInStash
from tests.support.buttons import COOKIE, SECRET, Buttons, webhook
from tests.support.press import bury, press, refusal

TOKEN = "secrettokenofareceiver1234567890"
NONSENSE = {
    "worker_concurrency": "many",
    "worker_schedule": "soon, later",
    "worker_dead_letter_days": -3,
    "path_map": 5,
    "worker_sweep_off": "perhaps",
    "webhook_secret": SECRET,
}
STOPPED = {"deliver_now"}  # where no worker may be started


def in_process(buttons: Buttons) -> None:
    """Tells modes in this process where Stash is."""
    buttons.call("wake")


@pytest.mark.parametrize("mode", sorted(tasks.MODES.keys() - tasks.TASKS.keys()))
def test_a_mode_for_programs_answers_or_says_what_is_missing(
    mode: str, stash: StandInStash, buttons: Buttons, receiver: Receiver, capfd: pytest.CaptureFixture[str]
) -> None:
    """With any settings it answers without a secret, or names the argument that it needs. It logs nothing."""
    stash.configure("stash_plugin", {**NONSENSE, "webhook_url": f"{receiver.url}{TOKEN}?key={TOKEN}"})
    in_process(buttons)
    capfd.readouterr()
    try:
        said = str(press(buttons.folder, mode, log="yes"))
    except BadInputError as error:
        said = str(error)
        assert re.search("needs|missing", said)
    assert SECRET not in said
    assert TOKEN not in said
    assert re.fullmatch("(\x01p\x02[0-9.]+\n)*", capfd.readouterr().err)  # only how far it is


@pytest.mark.parametrize("mode", sorted(tasks.TASKS))
def test_a_task_answers_what_it_logs_and_a_program_that_calls_it_logs_nothing(
    mode: str, stash: StandInStash, buttons: Buttons, receiver: Receiver
) -> None:
    """Each task, as Stash starts it, does its work with any settings, answers its lines, and shows no secret.

    Stash's page of logs, latest line first, shows them from top to bottom. A program's call leaves nothing there.
    """
    stash.configure("stash_plugin", {**NONSENSE, "webhook_url": f"{receiver.url}{TOKEN}?key={TOKEN}"})
    bury(buttons.folder, 7, Failure.BUG, "two\nlines", destination=webhook(receiver))
    pressed, called = buttons.press(mode), buttons.call(mode)
    if mode in STOPPED:
        assert pressed.logged[0] == ("error", pressed.error)
    else:
        assert pressed.output["lines"] == [text for _, text in pressed.logged]
        assert {level for level, _ in pressed.logged} <= {"info", "warning"}
        assert called.output["lines"]
    assert pressed.logged
    assert called.logged == []
    for secret in (COOKIE, SECRET, TOKEN):
        assert secret not in pressed.text


@pytest.mark.parametrize("args", [{"mode": "nonsense"}, {"mode": "status", "limit": 3}])
def test_a_bad_call_is_one_sentence(buttons: Buttons, args: dict[str, Any]) -> None:
    """A bad argument ends with exit code 1 and one JSON error; of a task, with the same line in the log."""
    pressed = buttons.press(**args)
    assert pressed.logged == [("error", pressed.error)]


def test_without_stash_the_modes_say_so(stash: StandInStash, buttons: Buttons) -> None:
    """While Stash answers with errors, status, review and retry still work and the others say why they can't."""
    bury(buttons.folder, 7, Failure.BUG, destination="plex")
    in_process(buttons)
    stash.faults.status = 503
    assert "answered" in press(buttons.folder, "status")["stash"]
    assert press(buttons.folder, "review_dead_letters")["total"] == 1
    assert press(buttons.folder, "retry_dead_letters")["retried"] == 1
    for mode in ("test_destinations", "enqueue_all", "enqueue_recent", "purge_dead_letters"):
        assert "503" in refusal(buttons.folder, mode)


def test_no_mode_deletes_by_a_retention_that_cannot_be_read(stash: StandInStash, buttons: Buttons) -> None:
    """While the retention setting is invalid, nothing is deleted."""
    bury(buttons.folder, 7, Failure.BUG, destination="plex", age_days=400)
    in_process(buttons)
    stash.configure("stash_plugin", {"webhook_url": "http://127.0.0.1:9", "worker_dead_letter_days": 36500})
    assert press(buttons.folder, "purge_dead_letters") == {"purged": 0, "days": None, "left": 1}


def test_a_new_user_first_reads_what_to_fill_in(stash: StandInStash, buttons: Buttons) -> None:
    """Without a connection the first line says where to add one, and nothing is queued."""
    stash.configure("stash_plugin", {})
    in_process(buttons)
    first = press(buttons.folder, "status")["lines"][0]
    assert "Open Stash Courier in Stash's top bar and add one" in first
    assert first in refusal(buttons.folder, "enqueue_all")
    assert not (buttons.folder / files.QUEUE_DB).exists()
