"""What an owner reads in the status of scenes that were left alone in Jellyfin."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.standin.jellyfin import LibraryOptions, StandInJellyfin
from tests.standin.stash.server import StandInStash
from tests.support.buttons import Buttons
from tests.support.connections import store
from tests.support.fast_forward import FastForward
from tests.support.jellyfin import connected

pytestmark = pytest.mark.timeout(60)


def deliver(courier: FastForward, server: StandInJellyfin, *scenes: int) -> None:
    """Delivers scenes, within a minute."""
    store(courier.folder, connected(server.url))
    for scene_id in scenes:
        courier.put(scene_id)
    assert courier.run(lambda: courier.queue.empty() and courier.queue.inbox_empty()) < 60.0
    assert courier.dlq.get_count() == 0


def test_what_was_left_alone(tmp_path: Path, stash: StandInStash, server: StandInJellyfin) -> None:
    """Locks are counted with the switch that ignores them, hidden people with a reason, .nfo with the library."""
    server.libraries = {"Films": ["/films"]}
    server.options = {"Films": LibraryOptions(metadata_savers=["Nfo"])}
    scenes = [stash.add_scene(f"/media/films/{name}.mp4") for name in ("field", "whole", "hidden")]
    anna = stash.named("performer", "Anna")
    stash.edit(scenes[2], performer_ids=[anna])
    server.add("/films/field.mp4", Name="Mine", LockedFields=["Name"])
    server.add("/films/whole.mp4", LockData=True)
    server.add("/films/hidden.mp4", People=[{"Name": "Before", "Type": "Actor", "Role": ""}])
    server.rename_person("Before", "After")
    buttons = Buttons(tmp_path, stash.config.port)
    with FastForward(buttons.folder, stash) as courier:
        deliver(courier, server, *scenes)
        said = " ".join(buttons.press("status").output["lines"])
    unlock = 'To have what is locked overwritten, switch "Leave locked fields alone" off.'
    assert f"Scenes with locked fields, which were left alone: 1 ({scenes[0]}). {unlock}" in said
    assert f"Scenes whose whole item is locked, which was left alone: 1 ({scenes[1]}). {unlock}" in said
    assert f"Scenes whose people were left alone: 1 ({scenes[2]}). The server hides somebody of their cast" in said
    assert "Scenes in the library Films, where each update makes the server rewrite the .nfo" in said
