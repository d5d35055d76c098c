"""The worker as a process with real HTTP: started by hooks, one per data folder, stopped, replaced by new code."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook

from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.worker import process
from tests import ROOT
from tests.standin.receivers import Held, Receiver
from tests.support.harness import SECRET, Courier, wait_until

LONG = 60.0  # seconds that a busy machine may need
BACKGROUND = max(os.nice(0), process.NICENESS)


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A copy of the plugin that the test may change."""
    folder = tmp_path / "a plugin's folder"
    for part in ("plugin", "queue", "worker"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "stash_plugin.yml", folder)
    return folder


def scenes(receiver: Receiver) -> list[str]:
    """The scene ids that a receiver got, in order."""
    return [received.json()["data"]["id"] for received in receiver.received]


def by_hand(data: Path) -> subprocess.CompletedProcess[str]:
    """Runs ``main.py worker`` to its end, without root's right to use every file."""
    as_others = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    return subprocess.run(
        [*as_others, sys.executable, str(ROOT / "plugin" / "main.py"), "worker"],
        env={**os.environ, "STASH_COURIER_DATA": str(data)},
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
    )


def test_the_way_of_a_scene(tmp_path: Path, receiver: Receiver) -> None:
    """A scan, an edit and a deletion arrive at two webhooks, signed and current, from one worker."""
    with Receiver() as other:
        settings = {"webhook_url": f"{receiver.url} {other.url}", "webhook_secret": SECRET}
        with Courier(tmp_path, settings) as courier:
            courier.stash.queue_scan("/media/new film.mp4")
            courier.stash.scan()
            scene_id = int(receiver.wait_for(1, LONG)[0].json()["data"]["id"])
            courier.stash.edit(scene_id, title="A new title")
            receiver.wait_for(2, LONG)
            other.wait_for(2, LONG)
            courier.stash.destroy(scene_id)
            for one in (receiver, other):
                bodies = [received.json() for received in one.wait_for(3, LONG)]
                assert [body["type"] for body in bodies] == ["scene.created", "scene.updated", "scene.destroyed"]
                assert (bodies[1]["data"]["title"], bodies[1]["data"]["changed"]) == ("A new title", ["title"])
                assert {body["data"]["path"] for body in bodies} == {"/media/new film.mp4"}
                for received in one.received:
                    Webhook(SECRET).verify(received.body, dict(received.headers))
            pid = courier.worker_pid()
            assert os.getpriority(os.PRIO_PROCESS, pid) == BACKGROUND
            group = Path(f"/proc/{pid}/autogroup")
            assert not group.exists() or group.read_text().endswith(f"nice {process.NICENESS}\n")
            assert courier.log().count(" starts, pid ") == 1
            second = by_hand(courier.data)
            assert (second.returncode, second.stderr.count("\n")) == (1, 1)
            assert "already runs" in second.stderr


def test_an_event_whose_wake_up_was_lost_is_found(tmp_path: Path, receiver: Receiver) -> None:
    """The worker also looks at the inbox by itself: a hook may be killed before it wakes the worker."""
    with Courier(tmp_path, {"webhook_url": receiver.url, "worker_sweep_off": True}) as courier:
        courier.stash.edit(1, title="Starts it")
        receiver.wait_for(1, LONG)
        with closing(SceneQueue(courier.data)) as queue:
            queue.put({"scene": 2, "event": "update", "changed": [], "at": time.time()})
        receiver.wait_for(2, LONG)
        assert scenes(receiver) == ["1", "2"]


def test_new_code_takes_over_without_letting_go_of_the_lock(
    tmp_path: Path, plugin: Path, receiver: Receiver
) -> None:
    """After an update the worker ends what is on its way, once, and goes on with the new code in its process."""
    receiver.answer = held = Held()
    with Courier(tmp_path, {"webhook_url": receiver.url}, root=plugin) as courier:
        courier.stash.edit(1, title="Before")
        assert held.asked.wait(LONG)
        pid = courier.worker_pid()
        version = plugin / "worker" / "__init__.py"
        version.write_text(version.read_text().replace("VERSION = ", "VERSION = '9.9.9'  # "))
        wait_until(lambda: "ending: new code" in courier.log(), LONG)
        assert courier.worker_runs
        held.may_answer.set()
        wait_until(lambda: "worker 9.9.9 starts" in courier.log(), LONG)
        assert courier.worker_runs
        courier.stash.edit(2, title="After")
        receiver.wait_for(2, LONG)
        courier.drained(LONG)
        assert scenes(receiver) == ["1", "2"]
        assert courier.worker_pid() == pid
        assert os.getpriority(os.PRIO_PROCESS, pid) == BACKGROUND


@pytest.mark.check
def test_a_stop_while_new_code_waits_ends_the_worker(tmp_path: Path, plugin: Path, receiver: Receiver) -> None:
    """A person stops the worker while an update waits for a delivery: it ends that, and no new code starts."""
    receiver.answer = held = Held()
    with Courier(tmp_path, {"webhook_url": receiver.url}, root=plugin) as courier:
        courier.stash.edit(1, title="Slowly")
        assert held.asked.wait(LONG)
        (plugin / "worker" / "more.py").touch()
        wait_until(lambda: "ending: new code" in courier.log(), LONG)
        os.kill(courier.worker_pid(), signal.SIGTERM)
        held.may_answer.set()
        wait_until(lambda: not courier.worker_runs, LONG)
        assert courier.waiting() == 0
        assert courier.log().count("starts, pid") == 1


def _a_file(folder: Path) -> None:
    folder.write_text("a file in its place")


def _not_writable(folder: Path) -> None:
    folder.mkdir()
    (folder / "worker.lock").touch()
    (folder / "worker.log").touch()
    folder.chmod(0o500)


def _a_log_of_others(folder: Path) -> None:
    folder.mkdir()
    (folder / "worker.log").touch(mode=0o400)


@pytest.mark.skipif(
    os.geteuid() == 0 and shutil.which("setpriv") is None,
    reason="root may write everywhere, and setpriv is missing",
)
@pytest.mark.parametrize("spoil", [_a_file, _not_writable, _a_log_of_others])
def test_a_worker_by_hand_says_what_it_may_not_use(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    """Run by the wrong user, `main.py worker` exits with one sentence that says what to do."""
    spoil(folder := tmp_path / "data")
    ran = by_hand(folder)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert re.fullmatch(rf"{re.escape(str(folder))}\S* can't be used \(.+\): run the worker as .+\n", ran.stderr)
