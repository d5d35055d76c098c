"""What a quick view imports. The page asks for one every five seconds, and imports take longer than its work."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.failures import Failure
from stash_courier.queue.history import receipts
from stash_courier.queue.inbox import files
from stash_courier.queue.jobs import Delivery
from stash_courier.worker.connections.model import Entry
from tests.integration.test_hook import imports
from tests.support.durable import HOOK
from tests.support.harness import Courier
from tests.support.press import bury

QUICK = ("overview", "badge", "dead_letters", "outcomes")
# Each costs a view 3 ms or more, and most of them bring others along.
EXPENSIVE = {
    "apprise",
    "asyncio",
    "certifi",
    "concurrent.futures",
    "persistqueue",
    "pickletools",
    "requests",
    "stash_courier.queue.dead_letters.dlq",
    "stash_courier.queue.repair",
    "stash_courier.queue.deliveries.scene_queue",
    "stash_courier.worker.http.client",
    "stash_courier.worker.stash.client",
    "stash_courier.worker.stash.queries",
    "stashapi",
    "subprocess",
    "tempfile",
    "urllib3",
}
BADGE_ONLY = {"http.client", "socket", "ssl"}  # it makes no request
ENTRIES = (
    Entry("jellyfin-1", "A", "jellyfin", values={"url": "http://nas:8096", "key": "abc"}),
    Entry("plex-2", "B", "plex", values={"url": "https://plex.example.org:32400/media", "key": "abc"}),
    Entry("emby-3", "C", "emby", values={"url": "http://nas:8097", "key": "abc"}),
    Entry("webhook-4", "D", "webhook", values={"url": "http://nas:5678/hook/1?a=b", "preset": "standard"}),
)


def run_view(courier: Courier, mode: str) -> tuple[set[str], dict[str, Any]]:
    """The modules that a view's process imports, and its output."""
    place = json.loads((courier.data / files.STASH).read_text())
    names = {"scheme": "Scheme", "host": "Host", "port": "Port", "dir": "Dir", "plugin_dir": "PluginDir"}
    server = {name: place[key] for key, name in names.items()}
    server["SessionCookie"] = {"Value": place["cookie"]}
    stdin = json.dumps({"server_connection": server, "args": {"mode": mode}}).encode()
    command = [HOOK[0], "-X", "importtime", *HOOK[1:]]
    environment = {**os.environ, "STASH_COURIER_WORKER": "off"}
    ran = subprocess.run(command, input=stdin, capture_output=True, env=environment, check=True, timeout=60)
    output: dict[str, Any] = json.loads(ran.stdout)["output"]
    return imports(ran.stderr), output


@pytest.mark.parametrize("mode", QUICK)
def test_a_quick_view_imports_nothing_expensive(mode: str, tmp_path: Path) -> None:
    """With connections of every kind, a queue, dead letters, and settings that Stash is asked for."""
    with Courier(tmp_path, {"webhook_url": "http://127.0.0.1:9/hook"}) as courier:
        courier.connect(*ENTRIES)
        courier.stash.edit(3, title="Three")
        bury(courier.data, 5, Failure.BUG, destination="plex-2")
        with closing(SceneQueue(courier.data)) as queue:
            job = Delivery(1, "plex-2", 5, "update", (), 1, 1.0)
            receipts.write_dead(queue.connection, job, 2.0, "It is a bug.", names=("Five", ""))
        found, output = run_view(courier, mode)
    assert found & EXPENSIVE == set()
    if mode == "badge":
        assert found & BADGE_ONLY == set()
    elif mode == "outcomes":
        (row,) = output["rows"]
        assert row["name"] == "B"
        output["dead_letters"] = row["dead_letter"]
    elif mode == "dead_letters":
        assert [row["scene_id"] for row in output["rows"]] == [5]
        output["dead_letters"] = output["total"]
    else:
        assert {"jellyfin-1", "webhook:127.0.0.1:9"} <= {one["id"] for one in output["connections"]}
    assert output["dead_letters"] == 1
