"""The task buttons as Stash presses them: the real process, a Stash on a socket, real files, a real receiver."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from stash_courier.plugin import tasks
from stash_courier.queue import control, files, store
from stash_courier.queue.dlq import DeadLetterQueue
from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.jobs import Delivery
from stash_courier.queue.scene_queue import SceneQueue
from stash_courier.worker import process
from tests import ROOT
from tests.standin.receivers import Receiver, Reply
from tests.standin.stash import StandInStash

COMMAND = [sys.executable, "-S", "-E", str(ROOT / "plugin" / "main.py")]
LEVELS = {"i": "info", "w": "warning", "e": "error", "p": "progress"}
DAY = 86_400.0
COOKIE = "COOKIE-THAT-NOBODY-MAY-SEE"
TOKEN = "tokenthatnobodymaysee1234567890"
SECRET = "whsec_" + "c2VjcmV0" * 4
NONSENSE = {
    "delivery_concurrency": "many",
    "delivery_retry_schedule": "soon, later",
    "dead_letter_retention_days": -3,
    "filter_skip_events": ["create"],
    "path_map": 5,
    "sweep_off": "perhaps",
}


@dataclass(frozen=True, slots=True)
class Pressed:
    """What a button did."""

    code: int
    stdout: str
    logged: list[tuple[str, str]]  # (level, text), without progress
    progress: list[float]

    @property
    def output(self) -> dict[str, Any]:
        """The answer's ``output``, after a run without an error."""
        assert self.code == 0, self.stdout
        found: dict[str, Any] = json.loads(self.stdout)["output"]
        return found

    @property
    def error(self) -> str:
        """The answer's ``error``, after a run that ended with one."""
        assert self.code == 1, self.stdout
        return str(json.loads(self.stdout)["error"])

    @property
    def text(self) -> str:
        """Everything that it let out."""
        return "\n".join([self.stdout, *(text for _, text in self.logged)])


class Buttons:
    """The buttons of a plugin in a Stash at a port.

    Args:
        config: Stash's configuration folder.
        port: where Stash listens.
        worker: whether the plugin may start a worker.
    """

    def __init__(self, config: Path, port: int, *, worker: bool = False) -> None:
        self.folder = config / "stash_courier"
        self._config = config
        self.port = port
        self._worker = worker
        self.pid = 0  # of the process that a button started last

    def press(self, mode: str, **args: object) -> Pressed:
        """Presses one and waits for its end."""
        given = {
            "server_connection": {
                "Scheme": "http",
                "Host": "0.0.0.0",
                "Port": self.port,
                "SessionCookie": {"Name": "session", "Value": COOKIE},
                "Dir": str(self._config),
                "PluginDir": str(ROOT),
            },
            "args": {"mode": mode, **args},
        }
        env = {name: value for name, value in os.environ.items() if not name.startswith("STASH_COURIER")}
        if not self._worker:
            env["STASH_COURIER_WORKER"] = "off"
        with subprocess.Popen(
            COMMAND,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as child:
            self.pid = child.pid
            out, err = child.communicate(json.dumps(given).encode(), timeout=60)
        logged, progress = [], []
        for line in err.decode().split("\n")[:-1]:
            match = re.fullmatch("\x01(.)\x02(.*)", line)
            assert match, f"not a line of Stash's log protocol: {line!r}"
            if match[1] == "p":
                progress.append(float(match[2]))
            else:
                logged.append((LEVELS[match[1]], match[2]))
        return Pressed(child.returncode, out.decode(), logged, progress)

    def seed(
        self, scene_id: int, destination: str, failure: Failure, title: str = "", *, age_days: float = 0.0
    ) -> int:
        """Makes a dead letter; its id."""
        dlq = DeadLetterQueue(self.folder, clock=lambda: time.time() - age_days * 86_400)
        try:
            job = Delivery(1, destination, scene_id, "update", (), 1_700_000_000_000 + scene_id, time.time())
            return dlq.add(job, DeliveryFailed(failure, f"{failure} it was."), 3, title=title)
        finally:
            dlq.close()

    def counts(self) -> tuple[int, dict[str, int]]:
        """Events in the inbox, and deliveries by destination."""
        queue = SceneQueue(self.folder)
        try:
            return queue.inbox_count(), {name: waits.total for name, waits in queue.backlog().items()}
        finally:
            queue.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as up:
        yield up


@pytest.fixture
def stash(tmp_path: Path, receiver: Receiver) -> Iterator[StandInStash]:
    """A Stash with 50 scenes and the plugin, whose webhook is the receiver."""
    with StandInStash(50, config_dir=tmp_path / "stash config") as server:
        plugin = tmp_path / "plugins" / "stash_courier"
        plugin.mkdir(parents=True)
        (plugin / "stash_plugin.yml").write_bytes((ROOT / "stash_plugin.yml").read_bytes())
        server.install_plugin(plugin)
        server.configure("stash_plugin", {"webhook_url": receiver.url})
        yield server


@pytest.fixture
def buttons(stash: StandInStash) -> Buttons:
    """The buttons where no worker may be started."""
    made = Buttons(stash.config.config_dir, stash.config.port)
    made.folder.mkdir(parents=True)
    return made


@pytest.fixture
def live(stash: StandInStash) -> Iterator[Buttons]:
    """The buttons of a plugin whose worker runs."""
    made = Buttons(stash.config.config_dir, stash.config.port, worker=True)
    try:
        assert made.press("restart_worker").output["started"] is True
        yield made
    finally:
        made.press("stop_worker")
        until(lambda: not process.running(str(made.folder)))


def until(true: Callable[[], object], seconds: float = 30.0) -> None:
    """Waits for something another process brings about."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


def webhook(receiver: Receiver) -> str:
    """The receiver's id as a destination."""
    return f"webhook:127.0.0.1:{receiver.port}"


# all of them -----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", tasks.MODES)
def test_each_button_works_with_nonsense_settings_and_answers_what_it_logs(
    mode: str, stash: StandInStash, buttons: Buttons, receiver: Receiver
) -> None:
    """Whatever the settings hold, each button does its work, answers the lines it logged, and shows no secret."""
    stash.configure(
        "stash_plugin", {**NONSENSE, "webhook_url": f"{receiver.url}{TOKEN}?key={TOKEN}", "webhook_secret": SECRET}
    )
    buttons.seed(7, webhook(receiver), Failure.BUG, "two\nlines")
    pressed = buttons.press(mode)
    assert pressed.output["lines"] == [text for level, text in pressed.logged]
    assert pressed.output["lines"]
    assert {level for level, _ in pressed.logged} <= {"info", "warning"}
    assert COOKIE not in pressed.text
    assert SECRET not in pressed.text
    assert TOKEN not in pressed.text


def test_settings_that_stop_everything_are_said(stash: StandInStash, buttons: Buttons, receiver: Receiver) -> None:
    """A secret that can't be used stops the webhook: status and test name the setting, and nothing is queued."""
    stash.configure("stash_plugin", {"webhook_url": receiver.url, "webhook_secret": SECRET + "!!"})
    for mode in ("status", "test_destinations"):
        found = buttons.press(mode)
        (message,) = [text for level, text in found.logged if text.startswith('"Webhook, signing secret"')]
        assert [problem["message"] for problem in found.output["problems"]] == [message]
        assert [problem["setting"] for problem in found.output["problems"]] == ["webhook_secret"]
        assert not any("webhook_secret" in text for _, text in found.logged)
        assert SECRET not in found.text
        offered = [re.findall(r"whsec_[A-Za-z0-9+/]+=*", text) for _, text in found.logged]
        assert [len(secrets) for secrets in offered if secrets] == [1]  # a fresh one, said once
    untested = 'No destination can be tested, since "Webhook, signing secret" can\'t be used as it stands.'
    assert untested in found.output["lines"]
    buttons.press("deliver_now")
    refused = buttons.press("enqueue_all").error
    assert 'since "Webhook, signing secret" can\'t be used as it stands. Nothing was queued' in refused
    assert receiver.received == ()


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (
            {"webhook_secret": "rubbish"},
            '{id} gets nothing, since "Webhook, signing secret" can\'t be used as it stands; '
            "1 change waits for it",
        ),
        (
            {"webhook_url": "127.0.0.1/hook"},
            '1 change waits, since "Webhook, URL" can\'t be used as it stands: it goes out once that is mended.',
        ),
        (
            {"webhook_url": "127.0.0.1/hook", "webhook_secret": "rubbish"},
            '1 change waits, since "Webhook, URL" and "Webhook, signing secret" can\'t be used as they stand',
        ),
    ],
)
def test_a_destination_that_was_never_usable_keeps_its_changes(
    broken: dict[str, object], says: str, stash: StandInStash, receiver: Receiver
) -> None:
    """With a mistake at first set-up changes wait, the buttons say so in one line, and they arrive later."""
    stash.configure("stash_plugin", {"webhook_url": receiver.url, **broken})
    fresh = Buttons(stash.config.config_dir, stash.config.port, worker=True)
    fresh.folder.mkdir(parents=True)
    event = store.encode({"scene": 3, "event": "update", "changed": [], "at": time.time()})
    store.put(str(fresh.folder), event, time.time())
    says = says.format(id=webhook(receiver))
    try:
        fresh.press("restart_worker")
        until(lambda: any(line.startswith(says) for line in fresh.press("status").output["lines"]))
        delivering = fresh.press("deliver_now").output["lines"]
        assert any(line.startswith(says) for line in delivering)
        assert "0 deliveries done, 1 still waits." in delivering
        assert receiver.received == ()
        stash.configure("stash_plugin", {"webhook_url": receiver.url})
        fresh.press("restart_worker")
        receiver.wait_for(1)
    finally:
        fresh.press("stop_worker")
        until(lambda: not process.running(str(fresh.folder)))


def test_a_destination_that_was_emptied_is_not_said_to_take_anything(
    stash: StandInStash, buttons: Buttons, receiver: Receiver
) -> None:
    """Right after the URL was emptied status says that no destination is set up, and nothing against it."""
    buttons.press("enqueue_all")
    buttons.press("deliver_now")
    stash.configure("stash_plugin", {})
    status = buttons.press("status").output
    assert status["lines"][0].startswith("No destination is set up")
    assert status["destinations"] == []
    assert not any("takes deliveries" in line for line in status["lines"])


def test_a_fresh_secret_is_offered_and_kept_nowhere(
    stash: StandInStash, live: Buttons, receiver: Receiver
) -> None:
    """The secret that is offered in a bad one's place works, and stands in no file of the plugin."""
    bad = {"webhook_url": receiver.url, "webhook_secret": "rubbish"}
    stash.configure("stash_plugin", bad)
    live.press("restart_worker")
    until(lambda: '"Webhook, signing secret" is not' in (live.folder / files.WORKER_LOG).read_text())
    (offered,) = re.findall(r"whsec_[A-Za-z0-9+/=]{20,}", "\n".join(live.press("status").output["lines"]))
    live.press("stop_worker")
    kept = [file for file in live.folder.rglob("*") if file.is_file()]
    assert [file.name for file in kept if re.search(rb"whsec_[A-Za-z0-9+/=]{8,}", file.read_bytes())] == []
    stash.configure("stash_plugin", {**bad, "webhook_secret": offered})
    assert live.press("test_destinations").output["destinations"][0]["ok"] is True


def test_a_destination_whose_settings_broke_still_gets_scenes_queued(
    stash: StandInStash, buttons: Buttons, receiver: Receiver
) -> None:
    """What is queued for a known destination whose settings can't be used waits until they are mended."""
    buttons.press("enqueue_all")
    buttons.press("deliver_now")
    stash.configure("stash_plugin", {"webhook_url": receiver.url, "webhook_secret": "rubbish"})
    assert buttons.press("enqueue_all").output["destinations"] == [webhook(receiver)]
    assert buttons.press("deliver_now").output["done"] == 0
    stash.configure("stash_plugin", {"webhook_url": receiver.url, "webhook_secret": SECRET})
    assert buttons.press("deliver_now").output["done"] == 50


@pytest.mark.parametrize("args", [{"mode": "nonsense"}, {"mode": "status", "limit": 3}])
def test_a_bad_call_is_one_sentence(buttons: Buttons, args: dict[str, Any]) -> None:
    """A bad argument ends with exit code 1, one JSON error and the same line in the log."""
    pressed = buttons.press(**args)
    assert pressed.logged == [("error", pressed.error)]


def test_no_button_deletes_by_a_retention_that_cannot_be_read(stash: StandInStash, buttons: Buttons) -> None:
    """With a typo in the days to keep, which were perhaps meant as years, nothing is deleted."""
    buttons.seed(7, "plex", Failure.BUG, age_days=400)
    stash.configure("stash_plugin", {"webhook_url": "http://127.0.0.1:9", "dead_letter_retention_days": 36500})
    pressed = buttons.press("purge_dead_letters")
    assert (pressed.output["purged"], pressed.output["left"]) == (0, 1)
    assert "no dead letter is deleted for its age" in pressed.output["lines"][0]


def test_stash_away_is_said_and_nothing_breaks(stash: StandInStash, buttons: Buttons) -> None:
    """While Stash answers nothing of use, status and review still work and the others say why they can't."""
    buttons.seed(7, "plex", Failure.BUG)
    stash.faults.status = 503
    assert "answered" in buttons.press("status").output["stash"]
    assert buttons.press("review_dead_letters").output["total"] == 1
    assert buttons.press("retry_dead_letters").output["retried"] == 1
    for mode in ("test_destinations", "enqueue_all", "enqueue_recent", "purge_dead_letters"):
        assert "503" in buttons.press(mode).error


def test_a_new_user_first_reads_what_to_fill_in(stash: StandInStash, buttons: Buttons) -> None:
    """Without any destination the first line says where to enter one, and no button queues into nothing."""
    stash.configure("stash_plugin", {})
    first = buttons.press("status").output["lines"][0]
    assert "fill in a URL in Stash's Settings → Plugins" in first
    assert buttons.press("test_destinations").output["lines"] == [first]
    assert first in buttons.press("enqueue_all").error
    assert not (buttons.folder / files.QUEUE_DB).exists()


# delivering ------------------------------------------------------------------------------------


def test_deliver_now_is_the_worker_where_none_runs(buttons: Buttons, receiver: Receiver) -> None:
    """Without a worker the button delivers everything itself, with a bar, and hands the lock back."""
    buttons.press("enqueue_all")
    pressed = buttons.press("deliver_now")
    assert len(receiver.received) == 50
    assert pressed.output["worker"] == "foreground"
    assert (pressed.output["done"], pressed.output["waiting"], pressed.output["dead_letters"]) == (50, 0, 0)
    assert pressed.logged == [("info", "50 deliveries done, 0 still wait.")]
    assert pressed.progress[-1] == 1.0
    assert not process.running(str(buttons.folder))
    status = buttons.press("status").output
    assert status["last_delivery"]["destination"] == webhook(receiver)
    assert any(f"«Film {status['last_delivery']['scene_id']}»" in line for line in status["lines"])


def test_a_worker_goes_on_where_the_foreground_ended(stash: StandInStash, receiver: Receiver) -> None:
    """After delivering in the foreground a worker takes over, for what is due later and for what comes next."""
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


def test_deliver_now_ends_when_a_destination_is_down(buttons: Buttons, receiver: Receiver) -> None:
    """What can't go is not waited for: the button says which destination holds it up, why and until when."""
    buttons.press("enqueue_all")
    receiver.down()
    pressed = buttons.press("deliver_now")
    assert (pressed.output["done"], pressed.output["waiting"]) == (0, 50)
    (held,) = pressed.output["destinations"]
    assert (held["state"], held["id"]) == ("held", webhook(receiver))
    level, sentence = pressed.logged[-1]
    assert level == "warning"
    assert "refuses connections" in sentence
    assert "Next try in" in sentence
    receiver.up()
    assert buttons.press("deliver_now").output["done"] == 50


def test_deliver_now_counts_what_became_a_dead_letter(buttons: Buttons, receiver: Receiver) -> None:
    """A refused scene is a dead letter; review shows it with its title, retry sends it when it is mended."""
    buttons.press("enqueue_all")
    receiver.answer_next(Reply(422))
    pressed = buttons.press("deliver_now")
    assert (pressed.output["done"], pressed.output["dead_letters"]) == (49, 1)
    (dead_letter,) = buttons.press("review_dead_letters").output["dead_letters"]
    assert dead_letter["title"] == f"Film {dead_letter['scene_id']}"
    assert dead_letter["error_type"] == "item_refused"
    assert buttons.press("retry_dead_letters", ids=[dead_letter["id"]]).output["retried"] == 1
    assert buttons.press("deliver_now").output["done"] == 1
    assert receiver.received[-1].json()["data"]["id"] == str(dead_letter["scene_id"])
    assert buttons.press("status").output["dead_letters"]["total"] == 0


def test_pause_holds_everything_until_resume(buttons: Buttons, receiver: Receiver) -> None:
    """While paused nothing is sent and the button says so; after resume all goes out."""
    buttons.press("pause")
    buttons.press("enqueue_all")
    pressed = buttons.press("deliver_now")
    assert pressed.output["waiting"] == 50
    for said in (pressed, buttons.press("status")):
        assert any(text.startswith("Deliveries have been paused for") for _, text in said.logged)
        mine = [text for _, text in said.logged if text.startswith(webhook(receiver))]
        assert [text.partition(". ")[0] for text in mine] == [
            f"{webhook(receiver)} gets nothing until you press «Resume deliveries»"
        ]
    assert receiver.received == ()
    buttons.press("resume")
    assert buttons.press("deliver_now").output["done"] == 50


def test_deliver_now_watches_a_live_worker(live: Buttons, receiver: Receiver) -> None:
    """With a worker the button makes everything due, watches it go and tells how many went."""
    receiver.answer = Reply(503, headers={"Retry-After": "3600"})
    live.press("enqueue_all")
    until(lambda: live.press("status").output["destinations"][0]["state"] == "held")
    receiver.answer = Reply()
    pressed = live.press("deliver_now")
    assert pressed.output["worker"] == "background"
    assert (pressed.output["done"], pressed.output["waiting"]) == (50, 0)
    assert pressed.progress[-1] == 1.0


def test_a_test_that_succeeds_ends_the_wait(live: Buttons, receiver: Receiver) -> None:
    """A destination that was held takes its deliveries at once when its test succeeds."""
    receiver.answer = Reply(401)
    live.press("enqueue_all")
    until(lambda: live.press("status").output["destinations"][0]["state"] == "held")
    receiver.answer = Reply()
    before = len(receiver.received)
    pressed = live.press("test_destinations")
    assert any("what was held up for it is sent now" in text for _, text in pressed.logged)
    receiver.wait_for(before + 1 + 50)


def test_a_worker_can_be_stopped_and_restarted(live: Buttons) -> None:
    """Restart gives another process, stop ends it, and status knows which of them is so."""
    first = live.press("status").output["worker"]
    again = live.press("restart_worker").output
    assert again["started"] is True
    assert again["pid"] != first["pid"]
    assert live.press("stop_worker").output == {
        "stopped": True,
        "running": False,
        "lines": [
            f"The worker (process {again['pid']}) has finished what it was sending and ended.",
            "The worker starts again with the next change of a scene or the next page of Stash; to keep it from "
            "delivering, press «Pause deliveries».",
        ],
    }
    assert live.press("status").output["worker"]["running"] is False
    fresh = live.press("restart_worker").output
    (line,) = fresh["lines"]
    assert line.startswith("No worker ran; one runs now: version ")
    assert line.endswith(f", process {fresh['pid']}.")


@pytest.mark.parametrize("name", [files.QUEUE_DB, files.DLQ_DB])
def test_a_damaged_file_is_mended_by_a_restart(name: str, stash: StandInStash, receiver: Receiver) -> None:
    """Status says what to press, and pressing it gives a queue that works, with a notice of what happened."""
    buttons = Buttons(stash.config.config_dir, stash.config.port, worker=True)
    buttons.folder.mkdir(parents=True)
    (buttons.folder / name).write_bytes(b"no database at all" * 100)
    before = buttons.press("status").output["lines"]
    assert any(line.startswith(f"{name} is damaged") and "«Restart the worker»" in line for line in before)
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


# testing ---------------------------------------------------------------------------------------


def test_destinations_are_tested_with_a_real_scene(
    stash: StandInStash, buttons: Buttons, receiver: Receiver
) -> None:
    """The newest scene goes out as a test event; each destination's outcome and advice is said, nothing queued."""
    newest = stash.add_scene("/media/last.mp4", title="Last\nof \x1b[31mall")
    with Receiver(Reply(404)) as other:
        stash.configure("stash_plugin", {"webhook_url": f"{receiver.url} {other.url}"})
        pressed = buttons.press("test_destinations")
    by_id = {found["id"]: found for found in pressed.output["destinations"]}
    assert by_id[webhook(receiver)]["ok"] is True
    assert by_id[webhook(other)]["ok"] is False
    assert any('check "Webhook, URL"' in line for line in by_id[webhook(other)]["lines"])
    path = f"{webhook(other)}: Scene {newest} is sent with the path /media/last.mp4."
    assert ("info", path) in pressed.logged  # no part of what failed
    assert pressed.output["scene"] == {"id": newest, "title": "Last\nof \x1b[31mall"}
    assert any(f"tested with scene {newest} «Last of \\x1b[31mall»" in text for _, text in pressed.logged)
    assert ("warning", "1 of 2 destinations took the test.") in pressed.logged
    (event,) = receiver.received
    assert event.json()["data"]["id"] == str(newest)
    assert not (buttons.folder / files.QUEUE_DB).exists()


def test_one_destination_can_be_tested_alone(stash: StandInStash, buttons: Buttons, receiver: Receiver) -> None:
    """A caller may name a destination; an unknown one is answered with those that there are."""
    assert len(buttons.press("test_destinations", destination=webhook(receiver)).output["destinations"]) == 1
    assert webhook(receiver) in buttons.press("test_destinations", destination="plex").error
    assert len(receiver.received) == 1


def test_a_test_hurries_nobody_else(stash: StandInStash, buttons: Buttons, receiver: Receiver) -> None:
    """Only what waits for a destination that took its test goes out at once, others wait as they should."""
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


def test_an_empty_library_can_be_tested_too(tmp_path: Path, receiver: Receiver) -> None:
    """Before the first scan a test still shows whether the destination is reached."""
    with StandInStash(0, config_dir=tmp_path / "empty") as server:
        server.configure("stash_plugin", {"webhook_url": receiver.url})
        pressed = Buttons(server.config.config_dir, server.config.port).press("test_destinations")
    assert pressed.output["scene"] is None
    assert pressed.output["destinations"][0]["ok"] is True


# queueing --------------------------------------------------------------------------------------


def test_recent_scenes_are_queued_and_older_ones_not(tmp_path: Path, receiver: Receiver) -> None:
    """The button takes a week, a caller may name the days."""
    with StandInStash(10, config_dir=tmp_path / "stash", clock=lambda: time.time() - 30 * DAY) as server:
        server.configure("stash_plugin", {"webhook_url": receiver.url})
        server.clock = lambda: time.time() - 10 * DAY
        server.add_scene("/media/older.mp4")
        server.clock = time.time
        server.add_scene("/media/newer.mp4")
        buttons = Buttons(server.config.config_dir, server.config.port)
        pressed = buttons.press("enqueue_recent")
        assert (pressed.output["queued"], pressed.output["days"]) == (1, 7)
        assert pressed.logged[0][1].startswith("1 scene that changed in the last 7 days is queued for webhook:")
        assert buttons.press("enqueue_recent", days="20").output["queued"] == 2
        assert buttons.press("enqueue_recent", days=1).output["queued"] == 1
    assert buttons.counts()[0] == 4


class ManyScenes(ThreadingHTTPServer):
    """A Stash of so many scenes that answers what «Send all scenes» asks.

    Args:
        scenes: how many.
        settings: the plugin's.
        asked: called at each request.
    """

    def __init__(self, scenes: int, settings: dict[str, object], asked: Callable[[], None]) -> None:
        self.scenes = scenes
        self.settings = settings
        self.asked = asked
        super().__init__(("127.0.0.1", 0), _ManyScenes)

    def answer(self, query: str, variables: dict[str, Any]) -> dict[str, object]:
        """The data of an answer."""
        if "findScenes" not in query:
            return {
                "configuration": {
                    "general": {"apiKey": "", "username": ""},
                    "plugins": {"stash_plugin": self.settings},
                },
                "plugins": [{"id": "stash_plugin", "enabled": True}],
            }
        after, size = variables["where"]["id"]["value"], variables["how"]["per_page"]
        page = range(after + 1, min(after + size, self.scenes) + 1)
        at = "2026-01-01T00:00:00Z"
        found: dict[str, object] = {"scenes": [{"id": str(n), "updated_at": at} for n in page]}
        return {"findScenes": {"count": self.scenes, **found} if "count" in query else found}


class _ManyScenes(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ManyScenes

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked()
        body = json.dumps({"data": self.server.answer(asked["query"], asked.get("variables") or {})}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Says nothing."""


def send_all(scenes: int, config: Path, receiver: Receiver) -> tuple[Pressed, Buttons, list[int]]:
    """«Send all scenes» of a library of that size; also the memory at each request to Stash, in KiB."""
    buttons = Buttons(config, 0)
    memory: list[int] = []
    with ManyScenes(
        scenes, {"webhook_url": receiver.url}, lambda: memory.append(most_memory(buttons.pid))
    ) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            buttons.port = server.server_address[1]
            return buttons.press("enqueue_all"), buttons, memory
        finally:
            server.shutdown()
            thread.join()


def most_memory(pid: int) -> int:
    """The largest resident memory of a process so far, in KiB; 0 where the system doesn't tell."""
    try:
        status = Path(f"/proc/{pid}/status").read_text("ascii")
    except OSError:
        return 0
    return int(re.findall(r"VmHWM:\s*(\d+) kB", status)[0])


def test_a_hundred_thousand_scenes_are_queued_at_once(tmp_path: Path, receiver: Receiver) -> None:
    """All ids arrive in pages, with a bar, behind every edit; memory and requests stay small."""
    pressed, buttons, memory = send_all(100_000, tmp_path / "stash", receiver)
    assert pressed.output["queued"] == 100_000
    assert len(memory) <= 50
    assert memory[-1] - memory[5] < 8_000  # after four pages nothing grows
    assert pressed.progress == sorted(pressed.progress)
    assert len(pressed.progress) >= 40
    assert pressed.progress[-1] == 1.0
    assert buttons.counts()[0] == 100_000
    queue = SceneQueue(buttons.folder)
    (first,) = queue.inbox_rows(1)
    queue.close()
    assert (first.scene_id, getattr(first, "bulk", False)) == (1, True)


def test_stash_that_goes_away_in_the_middle_is_said(
    stash: StandInStash, buttons: Buttons, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was queued stays queued, and the button says how many and that the rest can be asked for again."""
    whole = ManyScenes.answer

    def broken(self: ManyScenes, query: str, variables: dict[str, Any]) -> dict[str, object]:
        if "findScenes" in query and variables["where"]["id"]["value"] >= 5000:
            return {"findScenes": None}
        return whole(self, query, variables)

    monkeypatch.setattr(ManyScenes, "answer", broken)
    pressed, there, _ = send_all(9_000, buttons.folder.parent, receiver)
    assert pressed.error.startswith("5,000 scenes queued, then Stash could not be asked any more")
    assert there.counts()[0] == 5000


def test_status_knows_a_destination_that_left_the_settings(
    stash: StandInStash, buttons: Buttons, receiver: Receiver
) -> None:
    """What waits for a removed destination is shown with what becomes of it."""
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


def test_a_wish_of_a_gone_worker_is_forgotten(buttons: Buttons) -> None:
    """That an earlier worker could not reach Stash is not said of the next one."""
    buttons.press("enqueue_all")
    queue = SceneQueue(buttons.folder)
    control.put(queue.connection, control.STASH, {"since": time.time() - 1000, "reason": "no answer at all"})
    queue.close()
    assert buttons.press("deliver_now").output["done"] == 50
    queue = SceneQueue(buttons.folder)
    assert control.get(queue.connection, control.STASH) is None
    queue.close()
