"""What Jellyfin writes into the media folders when we change an item: .nfo files and artwork."""

from __future__ import annotations

import pytest

from tests.standin.jellyfin import LibraryOptions, StandInJellyfin
from tests.support.jellyfin import JPEG, jellyfin
from tests.support.media_samples import delivery, scene
from tests.support.steps import tried

pytestmark = pytest.mark.timeout(60)

PATH = "/media/movies/one/one.mkv"
SCENE = scene("/data/movies/one/one.mkv")
SWITCH = '"Send covers also into media folders"'


@pytest.mark.parametrize("savers", [["Nfo"], None])
def test_nfo_files_are_rewritten(server: StandInJellyfin, savers: list[str] | None) -> None:
    """In a library that saves .nfo files, each scene gets a note and the test warns. None: the default."""
    server.libraries = {"Movies": ["/media/movies"], "Home": ["/media/home"]}
    server.options["Movies"] = LibraryOptions(metadata_savers=savers)
    server.add(PATH)
    server.add("/media/home/two.mkv")
    other = scene("/data/home/two.mkv", id=18)
    with jellyfin(server) as ours:
        step = tried(ours, SCENE)["libraries"]
        first = ours.deliver(delivery("jellyfin", SCENE), SCENE)
        second = ours.deliver(delivery("jellyfin", SCENE), SCENE, first.record or b"")
        assert ours.deliver(delivery("jellyfin", other), other).notes == frozenset()
    assert step.status == "warn"
    assert "In Movies each update makes Jellyfin rewrite the .nfo file beside the video" in step.text
    assert first.notes == second.notes == {"nfo:Movies"}
    assert len(server.posted) == 2
    if savers:
        assert list(server.nfo) == ["/media/movies/one/one.nfo"]


def test_artwork_beside_the_media_is_not_replaced(server: StandInJellyfin) -> None:
    """Where artwork lies beside the media, covers need the second switch; the test says where they would go."""
    server.options["Movies"] = LibraryOptions(save_local_metadata=True)
    item_id = server.add(PATH)
    server.artwork["/media/movies/one/folder.jpg"] = b"the owner's"
    with jellyfin(server, lambda _: JPEG, images=True) as ours:
        found = tried(ours, SCENE)
        done = ours.deliver(delivery("jellyfin", SCENE, event="create"), SCENE)
    assert server.artwork == {"/media/movies/one/folder.jpg": b"the owner's"}
    assert server.images == {}
    assert server.items[item_id]["Name"] == "A Title"
    assert done.notes == {"cover_beside"}
    assert any(said.startswith("Its cover isn't sent") for said in done.left)
    assert found["libraries"].status == "warn"
    assert "In Movies artwork is stored in the media folders: no cover is sent there" in found["libraries"].text
    assert "it would go to /media/movies/one/folder.jpg" in found["example"].text
    assert SWITCH in found["example"].text


def test_the_second_switch_sends_covers_beside_the_media(server: StandInJellyfin) -> None:
    """With both switches on the cover is sent, and the test says which file it replaces."""
    server.options["Movies"] = LibraryOptions(save_local_metadata=True)
    item_id = server.add(PATH)
    with jellyfin(server, lambda _: JPEG, images=True, images_beside_media=True) as ours:
        found = tried(ours, SCENE)
        done = ours.deliver(delivery("jellyfin", SCENE, event="create"), SCENE)
    assert server.images == {item_id: JPEG}
    assert server.artwork == {"/media/movies/one/folder.jpg": JPEG}
    assert done.notes == frozenset()
    assert "Its cover goes to /media/movies/one/folder.jpg" in found["example"].text
    assert "covers replace yours there" in found["libraries"].text
