"""What holds for every button: bad settings, bad calls, Stash not available, and the first start."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from stash_courier.plugin import tasks
from stash_courier.queue.failures import Failure
from stash_courier.queue.inbox import files
from tests import ROOT
from tests.standin.receivers import Receiver
from tests.standin.stash import StandInStash
from tests.support.buttons import COOKIE, SECRET, Buttons, webhook

TOKEN = "secrettokenofareceiver1234567890"
NONSENSE = {
    "worker_concurrency": "many",
    "worker_schedule": "soon, later",
    "worker_dead_letter_days": -3,
    "path_map": 5,
    "worker_sweep_off": "perhaps",
}


MANIFEST = yaml.safe_load((ROOT / "stash_plugin.yml").read_text("utf-8"))
BUTTONS = sorted(task["defaultArgs"]["mode"] for task in MANIFEST["tasks"])  # the others are for programs


@pytest.mark.parametrize("mode", sorted(tasks.MODES.keys() - {*BUTTONS}))
def test_a_mode_for_programs_answers_or_says_what_is_missing(
    mode: str, stash: StandInStash, buttons: Buttons, receiver: Receiver
) -> None:
    """With any settings it answers without a secret, or names the argument that it needs. It logs nothing."""
    stash.configure(
        "stash_plugin", {**NONSENSE, "webhook_url": f"{receiver.url}{TOKEN}?key={TOKEN}", "webhook_secret": SECRET}
    )
    called = buttons.call(mode)
    assert called.logged == []
    assert called.code == 0 or re.search("needs|missing", called.error)
    assert SECRET not in called.text
    assert TOKEN not in called.text


@pytest.mark.parametrize("mode", BUTTONS)
def test_each_button_works_with_nonsense_settings_and_answers_what_it_logs(
    mode: str, stash: StandInStash, buttons: Buttons, receiver: Receiver
) -> None:
    """With any settings each button does its work, answers with the lines it logged, and shows no secret.

    Stash's page of logs, latest line first, shows them from top to bottom.
    """
    stash.configure(
        "stash_plugin", {**NONSENSE, "webhook_url": f"{receiver.url}{TOKEN}?key={TOKEN}", "webhook_secret": SECRET}
    )
    buttons.seed(7, webhook(receiver), Failure.BUG, "two\nlines")
    pressed = buttons.press(mode)
    assert pressed.output["lines"] == [text for level, text in pressed.logged]
    assert pressed.output["lines"]
    levels = {"info", "warning", "error"} if mode == "test_destinations" else {"info", "warning"}
    assert {level for level, _ in pressed.logged} <= levels
    assert COOKIE not in pressed.text
    assert SECRET not in pressed.text
    assert TOKEN not in pressed.text


@pytest.mark.parametrize("mode", BUTTONS)
def test_a_program_that_calls_a_mode_leaves_nothing_in_the_log(
    mode: str, stash: StandInStash, buttons: Buttons, receiver: Receiver
) -> None:
    """``runPluginOperation`` gets the lines in its answer, and nothing of them is in Stash's log."""
    called = buttons.call(mode)
    assert called.output["lines"]
    assert called.logged == []
    assert buttons.call(mode, unknown=1).logged == []  # Stash itself logs the error of an operation


@pytest.mark.parametrize("args", [{"mode": "nonsense"}, {"mode": "status", "limit": 3}])
def test_a_bad_call_is_one_sentence(buttons: Buttons, args: dict[str, Any]) -> None:
    """A bad argument ends with exit code 1, one JSON error, and the same line in the log."""
    pressed = buttons.press(**args)
    assert pressed.logged == [("error", pressed.error)]


def test_no_button_deletes_by_a_retention_that_cannot_be_read(stash: StandInStash, buttons: Buttons) -> None:
    """While the retention setting is invalid, nothing is deleted."""
    buttons.seed(7, "plex", Failure.BUG, age_days=400)
    stash.configure("stash_plugin", {"webhook_url": "http://127.0.0.1:9", "worker_dead_letter_days": 36500})
    pressed = buttons.press("purge_dead_letters")
    assert (pressed.output["purged"], pressed.output["left"]) == (0, 1)
    assert "Dead letters, days to keep" in pressed.output["lines"][0]


def test_buttons_say_that_stash_is_not_available(stash: StandInStash, buttons: Buttons) -> None:
    """While Stash answers with errors, status and review still work and the other buttons say why they can't."""
    buttons.seed(7, "plex", Failure.BUG)
    stash.faults.status = 503
    assert "answered" in buttons.press("status").output["stash"]
    assert buttons.press("review_dead_letters").output["total"] == 1
    assert buttons.press("retry_dead_letters").output["retried"] == 1
    for mode in ("test_destinations", "enqueue_all", "enqueue_recent", "purge_dead_letters"):
        assert "503" in buttons.press(mode).error


def test_a_new_user_first_reads_what_to_fill_in(stash: StandInStash, buttons: Buttons) -> None:
    """Without a destination the first line says where to add one, and nothing is queued."""
    stash.configure("stash_plugin", {})
    first = buttons.press("status").output["lines"][0]
    assert "Open Stash Courier in Stash's top bar and add one" in first
    assert buttons.press("test_destinations").output["lines"] == [first]
    assert first in buttons.press("enqueue_all").error
    assert not (buttons.folder / files.QUEUE_DB).exists()
