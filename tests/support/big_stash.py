"""A Stash with many scenes that answers fast: only the plugin's state and pages of files, from a template."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from tests.standin.receivers import Received, Receiver, Reply

STATE = {
    "configuration": {"general": {"apiKey": "", "username": ""}, "plugins": {}},
    "plugins": [{"id": "stash_plugin", "name": "Stash Courier", "enabled": True}],
}


def big_stash(scenes: int, path: Callable[[int], str]) -> Receiver:
    """A Stash whose scenes have the ids from 1 to ``scenes`` and one file each.

    Args:
        path: the path of a scene's file, by its id.
    """

    def answer(request: Received) -> Reply:
        asked = request.json()
        if "findScenes" not in asked["query"]:
            return _data(STATE)
        after, most = asked["variables"]["where"]["id"]["value"], asked["variables"]["how"]["per_page"]
        page = [
            {
                "id": str(scene_id),
                "organized": False,
                "files": [{"path": path(scene_id)}],
                "tags": [{"id": "1", "name": "a tag"}],
                "studio": None,
            }
            for scene_id in range(after + 1, min(after + most, scenes) + 1)
        ]
        return _data({"findScenes": {"count": scenes, "scenes": page}})

    return Receiver(answer)


def _data(data: Mapping[str, Any]) -> Reply:
    return Reply(200, {"Content-Type": "application/json"}, json.dumps({"data": data}).encode())
