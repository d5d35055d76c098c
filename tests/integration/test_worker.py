"""The worker as a process: started by hooks, one per data folder, killed, stopped, replaced, delivering."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook

from stash_courier.queue import control
from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.jobs import CorruptRow
from tests import ROOT
from tests.standin.receivers import Received, Receiver, Reply
from tests.support.harness import SECRET, Courier, wait_until


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
def courier(tmp_path: Path, receiver: Receiver) -> Iterator[Courier]:
    settings = {"webhook_url": f"{receiver.url}/hook", "webhook_secret": SECRET, "worker_schedule": "1s"}
    with Courier(tmp_path, settings) as running:
        yield running


def scene(received: Received) -> str:
    return str(received.json()["data"]["id"])


def test_an_edit_reaches_the_webhook_signed(courier: Courier, receiver: Receiver) -> None:
    """The first edit after the installation starts the worker and arrives, signed, with the current scene."""
    courier.stash.edit(7, title="A new title")
    (received,) = receiver.wait_for(1)
    Webhook(SECRET).verify(received.body, dict(received.headers))
    body = received.json()
    assert body["type"] == "scene.updated"
    assert body["data"]["title"] == "A new title"
    assert body["data"]["changed"] == ["title"]


def test_a_scan_arrives_as_created_and_a_deletion_as_destroyed(courier: Courier, receiver: Receiver) -> None:
    """A scene that Stash finds and a scene that it deletes both arrive."""
    courier.stash.queue_scan("/media/new film.mp4")
    courier.stash.scan()
    created = receiver.wait_for(1)[0].json()
    courier.stash.destroy(int(created["data"]["id"]))
    destroyed = receiver.wait_for(2)[1].json()
    assert (created["type"], destroyed["type"]) == ("scene.created", "scene.destroyed")
    assert created["data"]["path"] == destroyed["data"]["path"] == "/media/new film.mp4"
    assert destroyed["data"]["sequence"] > created["data"]["sequence"]


def test_an_edit_during_a_delivery_is_delivered_afterwards(courier: Courier, receiver: Receiver) -> None:
    """A slow receiver ends with the newest state and never gets two requests for a scene at once."""
    running = Counter[str]()
    most = Counter[str]()

    def slow(received: Received) -> Reply:
        running[scene(received)] += 1
        most[scene(received)] = max(most[scene(received)], running[scene(received)])
        time.sleep(0.2)
        running[scene(received)] -= 1
        return Reply()

    receiver.answer = slow
    for number in range(8):
        courier.stash.edit(1, title=f"Title {number}")
        time.sleep(0.05)
    courier.drained()
    assert receiver.received[-1].json()["data"]["title"] == "Title 7"
    assert most["1"] == 1


def test_two_webhooks_are_two_destinations(courier: Courier, receiver: Receiver) -> None:
    """A receiver that is down doesn't delay the other."""
    with Receiver() as other:
        other.down()
        courier.configure(webhook_url=f"{other.url} {receiver.url}/hook")
        courier.stash.edit(1, title="First")
        for scene_id in range(2, 12):
            courier.stash.edit(scene_id, title="Next")
        receiver.wait_for(11)  # while the other is down
        assert not other.received
        other.up()
        assert {scene(r) for r in other.wait_for(11, timeout=40)} == {str(n) for n in range(1, 12)}


def test_many_hooks_at_once_start_one_worker(courier: Courier, receiver: Receiver) -> None:
    """Twenty hooks that find no worker start exactly one."""
    request = {
        "server_connection": {
            "Scheme": "http",
            "Host": "127.0.0.1",
            "Port": courier.stash.config.port,
            "SessionCookie": None,
            "Dir": str(courier.data.parent),
            "PluginDir": str(ROOT),
        },
        "args": {"mode": "hook", "hookContext": {"id": 1, "type": "Scene.Update.Post", "input": None}},
    }
    command = [sys.executable, "-S", "-E", str(ROOT / "plugin" / "main.py")]
    hooks = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(20)]
    for number, hook in enumerate(hooks, 1):
        request["args"]["hookContext"]["id"] = number  # type: ignore[index]
        assert hook.stdin is not None
        hook.stdin.write(json.dumps(request).encode())
        hook.stdin.close()
    for hook in hooks:
        assert hook.stdout is not None
        assert json.loads(hook.stdout.read()) == {"output": "queued"}
        hook.stdout.close()
        assert hook.wait() == 0
    assert {scene(r) for r in receiver.wait_for(20)} == {str(n) for n in range(1, 21)}
    assert courier.log().count(" starts, pid ") == 1


def test_a_killed_worker_loses_nothing(courier: Courier, receiver: Receiver) -> None:
    """SIGKILL in the middle of deliveries: the next hook starts another worker, and all arrive."""
    receiver.answer = Reply(delay=0.05)
    for round_ in range(4):
        for scene_id in range(1, 13):
            courier.stash.edit(scene_id, title=f"Round {round_}")
        courier.kill_worker()
    courier.stash.edit(13, title="The last")
    courier.drained()
    newest = {scene(r): r.json()["data"]["title"] for r in receiver.received}
    assert newest == {**{str(n): "Round 3" for n in range(1, 13)}, "13": "The last"}
    assert courier.dead() == 0


def test_sigterm_lets_the_delivery_end(courier: Courier, receiver: Receiver) -> None:
    """A worker that is stopped during a delivery completes it: it is delivered once and not counted as failed."""
    receiver.answer = Reply(delay=1.0)
    courier.stash.edit(1, title="Slowly")
    receiver.wait_for(1)
    courier.kill_worker(signal.SIGTERM)
    assert courier.waiting() == 0
    receiver.answer = Reply()
    courier.stash.edit(2, title="Next")
    receiver.wait_for(2)
    courier.drained()
    assert [scene(r) for r in receiver.received] == ["1", "2"]
    assert "failed" not in courier.log()


def test_sigterm_ends_within_the_grace_though_the_receiver_hangs(courier: Courier, receiver: Receiver) -> None:
    """A receiver that never answers delays the end only by the grace; its delivery doesn't count as failed."""
    courier.configure(worker_timeout_seconds=60)
    receiver.answer = Reply(delay=30.0)
    courier.stash.edit(1, title="Never")
    receiver.wait_for(1)
    began = time.monotonic()
    courier.kill_worker(signal.SIGTERM)
    assert time.monotonic() - began < 12.0
    queue = SceneQueue(courier.data)
    try:
        (delivery,) = queue.claim(f"webhook:{receiver.url.split('/')[2]}", 10, time.time(), edits=True)
    finally:
        queue.close()
    assert (delivery.counted_attempts, delivery.attempts, delivery.history) == (0, 0, ())  # type: ignore[union-attr]


def test_a_second_worker_refuses_to_run(courier: Courier, receiver: Receiver) -> None:
    """There is exactly one worker per data folder, however it is started."""
    courier.stash.edit(1, title="Starts one")
    receiver.wait_for(1)
    second = subprocess.run(
        [sys.executable, str(ROOT / "plugin" / "main.py"), "worker"],
        env={**os.environ, "STASH_COURIER_DATA": str(courier.data)},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert second.returncode == 1
    assert "already runs" in second.stderr


def _a_file(folder: Path) -> None:
    folder.write_text("a file in its place")


def _a_folder_as_lock(folder: Path) -> None:
    (folder / "worker.lock").mkdir(parents=True)


def _not_writable(folder: Path) -> None:
    folder.mkdir()
    (folder / "worker.lock").touch()
    (folder / "worker.log").touch()
    folder.chmod(0o500)


def _closed(folder: Path) -> None:
    folder.mkdir(mode=0o000)


def _a_log_of_others(folder: Path) -> None:
    folder.mkdir()
    (folder / "worker.log").touch(mode=0o400)


@pytest.mark.skipif(
    os.geteuid() == 0 and shutil.which("setpriv") is None,
    reason="root may write everywhere, and setpriv is missing",
)
@pytest.mark.parametrize("spoil", [_a_file, _a_folder_as_lock, _not_writable, _closed, _a_log_of_others])
def test_a_worker_by_hand_says_what_it_may_not_use(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    """Run by the wrong user, `main.py worker` exits with one sentence that says what to do."""
    spoil(folder := tmp_path / "data")
    as_others = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    ran = subprocess.run(
        [*as_others, sys.executable, str(ROOT / "plugin" / "main.py"), "worker"],
        env={**os.environ, "STASH_COURIER_DATA": str(folder)},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert re.fullmatch(rf"{re.escape(str(folder))}\S* can't be used \(.+\): run the worker as .+\n", ran.stderr)


def test_worker_off_starts_none_and_a_foreground_worker_delivers(tmp_path: Path, receiver: Receiver) -> None:
    """With STASH_COURIER_WORKER=off hooks only queue, and `main.py worker` delivers, for example under systemd."""
    settings = {"webhook_url": receiver.url}
    with Courier(tmp_path, settings, env={"STASH_COURIER_WORKER": "off"}) as courier:
        courier.stash.edit(1, title="Queued")
        assert not courier.worker_runs
        assert courier.waiting() == 1
        environment = {**os.environ, "STASH_COURIER_DATA": str(courier.data)}
        command = [sys.executable, str(ROOT / "plugin" / "main.py"), "worker"]
        with subprocess.Popen(command, env=environment) as worker:
            receiver.wait_for(1)
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(timeout=15) == 0


def test_new_code_takes_over_without_letting_go_of_the_lock(tmp_path: Path, receiver: Receiver) -> None:
    """After an update the running worker switches to the new code by itself, and nothing is lost."""
    plugin = tmp_path / "a plugin's folder"
    for part in ("plugin", "queue", "worker"):
        shutil.copytree(ROOT / part, plugin / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "stash_plugin.yml", plugin)
    with Courier(tmp_path, {"webhook_url": receiver.url}, root=plugin) as courier:
        courier.stash.edit(1, title="Before")
        receiver.wait_for(1)
        pid = courier.worker_pid()
        version = plugin / "worker" / "__init__.py"
        version.write_text(version.read_text().replace("VERSION = ", "VERSION = '9.9.9'  # "))
        wait_until(lambda: "worker 9.9.9 starts" in courier.log(), 20.0)
        assert courier.worker_pid() == pid  # the same process, another program
        courier.stash.edit(2, title="After")
        assert scene(receiver.wait_for(2)[1]) == "2"
        assert courier.log().count("starts, pid") == 2


def test_new_code_waits_for_what_is_on_its_way(tmp_path: Path) -> None:
    """An update during a slow delivery sends nothing twice."""
    plugin = tmp_path / "plugin"
    for part in ("plugin", "queue", "worker"):
        shutil.copytree(ROOT / part, plugin / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "stash_plugin.yml", plugin)
    with Receiver(Reply(delay=10.0)) as slow, Courier(tmp_path, {"webhook_url": slow.url}, root=plugin) as courier:
        courier.stash.edit(1, title="Slowly")
        slow.wait_for(1)
        version = plugin / "worker" / "__init__.py"
        version.write_text(version.read_text().replace("VERSION = ", "VERSION = '9.9.9'  # "))
        wait_until(lambda: "worker 9.9.9 starts" in courier.log(), 30.0)
        courier.drained()
        assert len(slow.received) == 1


@pytest.mark.parametrize("by", ["signal", "button"])
def test_a_stop_while_new_code_waits_ends_the_worker(tmp_path: Path, by: str) -> None:
    """An update comes during a slow delivery, then somebody stops the worker: it ends, and no new code starts."""
    plugin = tmp_path / "plugin"
    for part in ("plugin", "queue", "worker"):
        shutil.copytree(ROOT / part, plugin / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "stash_plugin.yml", plugin)
    settings = {"webhook_url": "", "worker_timeout_seconds": 60}
    with Receiver(Reply(delay=45.0)) as slow, Courier(tmp_path, settings, root=plugin) as courier:
        courier.configure(webhook_url=slow.url)
        courier.stash.edit(1, title="Slowly")
        slow.wait_for(1)
        (plugin / "worker" / "more.py").touch()
        wait_until(lambda: "ending: new code" in courier.log(), 20.0)
        if by == "signal":
            courier.kill_worker(signal.SIGTERM)
        else:
            (first, *_) = courier.stash.operation({"mode": "stop_worker"})["lines"]
            assert first.startswith("Worker: stopped, ")
        assert not courier.worker_runs
        assert courier.log().count("starts, pid") == 1


def test_new_code_does_not_wait_for_scenes_that_arrive_meanwhile(tmp_path: Path, receiver: Receiver) -> None:
    """Scenes that Stash answers with after the worker was told to end are put back, and sent by the next one."""
    settings = {"webhook_url": receiver.url, "worker_sweep_off": True}
    with Courier(tmp_path, settings) as courier:
        courier.stash.edit(1, title="Before")
        receiver.wait_for(1)
        courier.stash.faults.scene_delay = 3.0
        courier.stash.edit(2, title="Asked for, not answered yet")
        time.sleep(1.0)
        began = time.monotonic()
        os.kill(courier.worker_pid(), signal.SIGTERM)
        wait_until(lambda: not courier.worker_runs, 20.0)
        assert time.monotonic() - began < 6.0  # three seconds for Stash; before, all of the grace of eight seconds
        courier.stash.faults.clear()
        courier.stash.operation({"mode": "wake"})
        assert scene(receiver.wait_for(2)[1]) == "2"


def test_nothing_is_deleted_before_the_retention_is_known(courier: Courier) -> None:
    """A worker that starts while Stash is away doesn't delete by the default retention."""
    courier.configure(worker_dead_letter_days=365)
    courier.data.mkdir(parents=True)
    dlq = DeadLetterQueue(courier.data, clock=lambda: time.time() - 40 * 86_400)
    dlq.mark_reviewed([dlq.add(CorruptRow(1, "", 0, b"", "made up"), ValueError("made up"), 0)])
    courier.stash.stop()
    environment = {**os.environ, "STASH_COURIER_DATA": str(courier.data)}
    with subprocess.Popen([sys.executable, str(ROOT / "plugin" / "main.py"), "worker"], env=environment) as worker:
        courier.worker_pid()
        time.sleep(1.0)
        assert dlq.get_count() == 1
        courier.stash.start()
        courier.stash.edit(1, title="Wakes it")
        wait_until(lambda: "purged" in courier.log(), 40.0)
        assert dlq.get_count() == 1
        dlq.close()
        worker.send_signal(signal.SIGTERM)


def test_a_plugin_disabled_in_stash_delivers_nothing(courier: Courier, receiver: Receiver) -> None:
    """While the plugin is disabled nothing is delivered; what waits is sent when it is enabled again."""
    receiver.down()
    courier.stash.edit(1, title="Waits")
    wait_until(lambda: "gets nothing for now" in courier.log(), 10.0)
    courier.stash.enable("stash_plugin", enabled=False)
    courier.kill_worker()
    receiver.up()
    environment = {**os.environ, "STASH_COURIER_DATA": str(courier.data)}
    command = [sys.executable, str(ROOT / "plugin" / "main.py"), "worker"]
    with subprocess.Popen(command, env=environment) as worker:
        time.sleep(2.0)
        assert not receiver.received
        worker.send_signal(signal.SIGTERM)
    courier.stash.enable("stash_plugin", enabled=True)
    courier.stash.edit(2, title="Wakes it")
    assert {scene(r) for r in receiver.wait_for(2, timeout=40)} == {"1", "2"}


def test_a_pause_holds_deliveries_and_loses_none(courier: Courier, receiver: Receiver) -> None:
    """During a pause changes are queued; afterwards each scene arrives once with its newest state."""
    courier.stash.edit(1, title="Runs")
    receiver.wait_for(1)
    queue = SceneQueue(courier.data)
    try:
        control.put(queue.connection, control.PAUSED, time.time())
        for number in range(3):
            courier.stash.edit(2, title=f"Title {number}")
        time.sleep(1.0)
        assert len(receiver.received) == 1
        control.put(queue.connection, control.PAUSED, None)
    finally:
        queue.close()
    courier.stash.operation({"mode": "wake"})
    receiver.wait_for(2)
    courier.drained()
    assert [r.json()["data"]["title"] for r in receiver.received] == ["Runs", "Title 2"]


def test_a_lost_wake_is_noticed_within_a_second(courier: Courier, receiver: Receiver) -> None:
    """An event whose wake-up was lost is found within a second."""
    courier.stash.edit(1, title="Starts it")
    receiver.wait_for(1)
    queue = SceneQueue(courier.data)
    try:
        queue.put({"scene": 2, "event": "update", "changed": [], "at": time.time()})
    finally:
        queue.close()
    began = time.monotonic()
    receiver.wait_for(2)
    assert time.monotonic() - began < 3.0


def test_settings_that_change_are_followed(courier: Courier, receiver: Receiver) -> None:
    """A new URL applies from the next edit on, without a restart or a wait."""
    courier.stash.edit(1, title="Old place")
    receiver.wait_for(1)
    with Receiver() as other:
        courier.configure(webhook_url=other.url)
        courier.stash.edit(2, title="New place")
        assert scene(other.wait_for(1)[0]) == "2"
        assert len(receiver.received) == 1


def test_a_broken_url_keeps_what_is_edited_meanwhile(courier: Courier, receiver: Receiver) -> None:
    """A typo in the URL is logged, and what is edited until it is corrected still arrives."""
    courier.stash.edit(1, title="Good")
    receiver.wait_for(1)
    courier.configure(webhook_url="htp:/nonsense")
    courier.stash.edit(2, title="Meanwhile")
    wait_until(lambda: '"Webhook, URL"' in courier.log(), 10.0)
    courier.configure(webhook_url=f"{receiver.url}/hook")
    courier.stash.edit(3, title="Corrected")
    assert {scene(r) for r in receiver.wait_for(3)} == {"1", "2", "3"}
