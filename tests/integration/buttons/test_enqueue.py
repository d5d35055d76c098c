"""The task "Send all scenes", and the mode that sends recently changed scenes."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.jobs import BULK
from tests.standin.receivers import Receiver
from tests.standin.stash import StandInStash
from tests.support.buttons import Buttons, Pressed
from tests.support.press import press, reach

DAY = 86_400.0


def test_recent_scenes_are_queued_and_older_ones_not(tmp_path: Path, receiver: Receiver) -> None:
    """Without days it is a week."""
    with StandInStash(10, config_dir=tmp_path / "stash", clock=lambda: time.time() - 30 * DAY) as server:
        server.configure("stash_plugin", {"webhook_url": receiver.url})
        server.clock = lambda: time.time() - 10 * DAY
        server.add_scene("/media/older.mp4")
        server.clock = time.time
        server.add_scene("/media/newer.mp4")
        reach(tmp_path / "data", server.config.port)
        week = press(tmp_path / "data", "enqueue_recent")
        assert (week["queued"], week["days"]) == (1, 7)
        assert press(tmp_path / "data", "enqueue_recent", days="20")["queued"] == 2
        assert press(tmp_path / "data", "enqueue_recent", days=1)["queued"] == 1


class ManyScenes(ThreadingHTTPServer):
    """A Stash with this many scenes that answers what "Send all scenes" asks.

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
                "plugins": [{"id": "stash_plugin", "name": "Stash Courier", "enabled": True}],
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
    """Presses "Send all scenes" for a library of that size; also the memory at each request to Stash, in KiB."""
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
    """The largest resident memory of a process so far, in KiB; 0 if the system doesn't report it."""
    try:
        status = Path(f"/proc/{pid}/status").read_text("ascii")
    except OSError:
        return 0
    return int(re.findall(r"VmHWM:\s*(\d+) kB", status)[0])


@pytest.mark.check
def test_a_hundred_thousand_scenes_are_queued_at_once(tmp_path: Path, receiver: Receiver) -> None:
    """All ids arrive in pages, with a progress bar, marked as bulk; memory and requests stay few."""
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
    assert (first.scene_id, getattr(first, "priority", 0)) == (1, BULK)


def test_stash_that_stops_answering_is_reported(
    stash: StandInStash, buttons: Buttons, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was queued stays queued, and the button reports how many and how to queue the rest."""
    whole = ManyScenes.answer

    def broken(self: ManyScenes, query: str, variables: dict[str, Any]) -> dict[str, object]:
        if "findScenes" in query and variables["where"]["id"]["value"] >= 5000:
            return {"findScenes": None}
        return whole(self, query, variables)

    monkeypatch.setattr(ManyScenes, "answer", broken)
    pressed, there, _ = send_all(9_000, buttons.folder.parent, receiver)
    assert pressed.error.startswith("Scenes queued: 5,000. Then Stash was not available any more: ")
    assert there.counts()[0] == 5000
