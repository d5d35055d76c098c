"""What Jellyfin writes into the media folders when we change an item: .nfo files and artwork."""

from __future__ import annotations

import pytest

from stash_courier.worker.stash.covers import no_cover
from tests.standin.jellyfin import LibraryOptions, StandInJellyfin
from tests.standin.receivers import Reply
from tests.support.intercept import intercept
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


def test_without_the_saver_nothing_is_said(server: StandInJellyfin) -> None:
    """Without the saver there is no note, no warning and no file."""
    server.add(PATH)
    with jellyfin(server) as ours:
        assert tried(ours, SCENE)["libraries"].status == "ok"
        assert ours.deliver(delivery("jellyfin", SCENE), SCENE).notes == frozenset()
    assert server.nfo == {}


def test_the_libraries_are_asked_for_once(server: StandInJellyfin) -> None:
    """Many deliveries share one request for the libraries' options, and none fails if it does."""
    scenes = [scene(f"/data/movies/{n}.mkv", id=n) for n in range(20)]
    for one in scenes:
        server.add(one.files[0].path.replace("/data", "/media"))
    with jellyfin(server) as ours:
        for one in scenes:
            ours.deliver(delivery("jellyfin", one), one)
    assert server.counts["GET /Library/VirtualFolders"] == 1
    intercept(server.receiver, Reply(500), "/Library/VirtualFolders")
    with jellyfin(server) as ours:
        assert ours.deliver(delivery("jellyfin"), scene("/data/movies/0.mkv", title="B")).notes
    assert server.posted[-1]["Name"] != "B"  # its title was locked by the first delivery, whose record is lost


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


def test_covers_in_jellyfins_own_folder(server: StandInJellyfin) -> None:
    """Where Jellyfin keeps artwork to itself, one switch is enough, and no file of the owner's is touched."""
    server.add(PATH)
    with jellyfin(server, lambda _: JPEG, images=True) as ours:
        assert "own folder" in tried(ours, SCENE)["example"].text
        ours.deliver(delivery("jellyfin", SCENE, event="create"), SCENE)
    assert list(server.images.values()) == [JPEG]
    assert server.artwork == {}


def test_the_second_switch_alone_sends_nothing(server: StandInJellyfin) -> None:
    """The switch for media folders sends no cover while covers are off."""
    server.add(PATH)
    with jellyfin(server, no_cover, images_beside_media=True) as ours:
        ours.deliver(delivery("jellyfin", SCENE, event="create"), SCENE)
    assert server.images == {}


def test_without_libraries_no_cover_is_sent(server: StandInJellyfin) -> None:
    """If Jellyfin names no library, it isn't known where a cover would go, so none is sent."""
    server.libraries = {}
    server.add(PATH)
    with jellyfin(server, lambda _: JPEG, images=True) as ours:
        done = ours.deliver(delivery("jellyfin", SCENE, event="create"), SCENE)
    assert server.images == {}
    assert done.notes == {"cover_beside"}
