"""The Jellyfin destination through real sockets: against the stand-in, in a lane, and in the worker."""

from __future__ import annotations

import base64
import contextlib
import copy
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.files import CONNECTION
from stash_courier.queue.jobs import Scene
from stash_courier.worker.delivery.breaker import Health
from stash_courier.worker.delivery.pool import Job, Outcome, open_pool
from stash_courier.worker.destinations.jellyfin.destination import Jellyfin, configure
from stash_courier.worker.settings import PathMap, Settings
from stash_courier.worker.stash.client import Stash
from stash_courier.worker.stash.covers import Cover, covers_of, image_type, no_cover
from tests import ROOT
from tests.standin.jellyfin import KEY, StandInJellyfin
from tests.standin.receivers import Received, Receiver, Reply
from tests.standin.stash.server import StandInStash
from tests.support.fast_forward import FastForward
from tests.support.harness import PLUGIN, Courier, wait_until
from tests.support.media_samples import DISTINCT, delivery, scene

pytestmark = pytest.mark.timeout(60)

HOUR = 3600.0
VERSIONS = ["10.8.13", "10.11.2", "12.0.0"]
PATHS = Settings(path_map=PathMap((("/data", "/media"),)), delivery_timeout_seconds=5.0)
JPEG = b"\xff\xd8\xff\xe0 a picture"
PNG = b"\x89PNG\r\n\x1a\n another picture"
LOGIN = Reply(200, {"Content-Type": "text/html"}, b"<!DOCTYPE html><form>Password</form>")


@pytest.fixture
def server() -> Iterator[StandInJellyfin]:
    with StandInJellyfin() as running:
        yield running


@contextlib.contextmanager
def jellyfin(
    server: StandInJellyfin | str, settings: Settings = PATHS, cover: Cover = no_cover, **raw: object
) -> Iterator[Jellyfin]:
    """Our destination for a server or an address."""
    url = server if isinstance(server, str) else server.url
    made, problems = configure({"jellyfin_url": url, "jellyfin_api_key": KEY, **raw}, settings, cover)
    assert problems == []
    try:
        yield made[0]
    finally:
        made[0].close()


def refused(ours: Jellyfin, one: Scene, **values: Any) -> DeliveryFailed:
    """How a delivery fails."""
    with pytest.raises(DeliveryFailed) as caught:
        ours.deliver(delivery("jellyfin", one, **values), one)
    assert KEY not in caught.value.message + caught.value.answer
    return caught.value


def answers_writes(server: StandInJellyfin, reply: Reply, path: str = "") -> None:
    """Has the server, or what stands before it, answer so to all requests that change something there."""
    inner = server.receiver.answer
    assert not isinstance(inner, Reply)

    def answer(received: Received) -> Reply:
        return reply if received.method == "POST" and path in received.path else inner(received)

    server.receiver.answer = answer


def ids_asked(server: StandInJellyfin) -> list[int]:
    """For how many ids each request by ids asked."""
    asked = [r.path for r in server.receiver.received if "ids=" in r.path]
    return [path.partition("ids=")[2].partition("&")[0].count(",") + 1 for path in asked]


# An update


@pytest.mark.parametrize("version", VERSIONS)
def test_an_update_changes_its_fields_and_loses_nothing(server: StandInJellyfin, version: str) -> None:
    """Fields that weren't selected, locks that aren't ours and all else in an item survive an update."""
    server.version = version
    item_id = server.add("/media/movies/one.mkv", "Episode", **DISTINCT)
    before = copy.deepcopy(server.items[item_id])
    one = scene()
    with jellyfin(server, jellyfin_skip_fields="details, date") as ours:
        ours.deliver(delivery("jellyfin", one), one)
    item = server.items[item_id]
    changed = {"Name", "Tags", "Studios", "People", "ProviderIds", "LockedFields"}
    assert {k: v for k, v in item.items() if k not in changed} == {
        k: v for k, v in before.items() if k not in changed
    }
    assert item["Name"] == "A Title"
    assert item["Tags"] == ["calm", "loud"]
    assert [s["Name"] for s in item["Studios"]] == ["Studio"]
    assert server.people(item_id, "Actor") == ["Anna", "Zoë"]
    assert server.people(item_id, "Writer") == ["Walter Writer"]
    assert server.people(item_id, "Director") == ["Dora Director"]
    assert item["ProviderIds"] == {"Imdb": "tt1", "Stash": "17"}
    assert item["LockedFields"] == ["Genres", "Runtime", "Name", "Studios", "Cast", "Tags"]
    assert item["LockData"] is True


def test_one_lookup_and_one_edit(server: StandInJellyfin) -> None:
    """An update costs two requests, on one connection."""
    server.add("/media/movies/one.mkv")
    one = scene()
    with jellyfin(server) as ours:
        ours.deliver(delivery("jellyfin", one), one)
        assert server.receiver.connections == 1
    assert server.counts == {"GET /Items?ids": 1, "POST /Items/{id}": 1}


def test_where_nothing_differs_nothing_is_sent(server: StandInJellyfin) -> None:
    """An item that is right already gets no edit."""
    server.add("/media/movies/one.mkv")
    one = scene()
    with jellyfin(server) as ours:
        ours.deliver(delivery("jellyfin", one), one)
        ours.deliver(delivery("jellyfin", one), one)
    assert server.counts == {"GET /Items?ids": 2, "POST /Items/{id}": 1}


def test_an_edit_made_since_the_lookup_survives(server: StandInJellyfin) -> None:
    """What a hand changes in Jellyfin between the lookup in advance and the update is not undone."""
    item_id = server.add("/media/movies/one.mkv")
    one = scene()
    job = (delivery("jellyfin", one), one)
    with jellyfin(server, jellyfin_skip_fields="details performers") as ours:
        ours.prepare([job, job])
        by_hand = {
            "Overview": "Typed by hand just now.",
            "LockData": True,
            "LockedFields": ["OfficialRating"],
            "Taglines": ["By hand"],
        }
        server.items[item_id].update(by_hand)
        ours.deliver(*job)
    item = server.items[item_id]
    assert (item["Name"], item["Tags"]) == ("A Title", ["calm", "loud"])
    assert {key: item[key] for key in by_hand if key != "LockedFields"} == {
        key: value for key, value in by_hand.items() if key != "LockedFields"
    }
    assert "OfficialRating" in item["LockedFields"]


def test_what_a_hand_made_right_since_the_lookup_is_not_sent(server: StandInJellyfin) -> None:
    """If a hand has made the item as the scene is in the meantime, nothing is sent."""
    item_id = server.add("/media/movies/one.mkv")
    one = scene()
    job = (delivery("jellyfin", one), one)
    with jellyfin(server, jellyfin_skip_fields="date studio performers tags director ids details") as ours:
        ours.prepare([job, job])
        server.items[item_id]["Name"] = "A Title"
        ours.deliver(*job)
    assert server.posted == []
    assert ids_asked(server) == [4, 1]


def test_a_tag_added_by_hand_survives_in_add_only_mode(server: StandInJellyfin) -> None:
    """With jellyfin_add_only what was added in Jellyfin stays, without it what isn't in Stash goes."""
    item_id = server.add("/media/movies/one.mkv", Tags=["by hand"])
    one = scene()
    with jellyfin(server, jellyfin_add_only=True) as ours:
        ours.deliver(delivery("jellyfin", one), one)
    assert server.items[item_id]["Tags"] == ["by hand", "calm", "loud"]
    with jellyfin(server) as ours:
        ours.deliver(delivery("jellyfin", one), one)
    assert server.items[item_id]["Tags"] == ["calm", "loud"]


@pytest.mark.parametrize(
    "title",
    [
        "ünïcödé 標題 🎬",
        "quotes \" ' ` and \\ backslashes",
        "<b>&amp;</b> % %20 + ? # ; , | =",
        "\u202eright to left\u202c",
        "tabs\tand  blanks",
        "nul \x00 and bell \x07",
        "x" * 5000,
    ],
)
def test_titles_with_every_kind_of_character(server: StandInJellyfin, title: str) -> None:
    """Titles and names arrive to the letter, and no second edit follows."""
    item_id = server.add("/media/movies/one.mkv")
    one = scene(title=title, details=title, tags=[title], performers=[title])
    with jellyfin(server) as ours:
        ours.deliver(delivery("jellyfin", one), one)
        ours.deliver(delivery("jellyfin", one), one)
    item = server.items[item_id]
    assert item["Name"] == title
    assert item["Overview"] == title
    assert item["Tags"] == server.people(item_id, "Actor") == [" ".join(title.split())]
    assert len(server.posted) == 1


@pytest.mark.parametrize("name", ["a & b #1 100%.mkv", "été 🎬.mkv", "a,b;c|d.mkv", "quote\"'.mkv", "no ending"])
def test_paths_with_every_kind_of_character(server: StandInJellyfin, name: str) -> None:
    """A file is found whatever its name."""
    item_id = server.add(f"/media/movies/{name}")
    one = scene(f"/data/movies/{name}")
    with jellyfin(server) as ours:
        ours.deliver(delivery("jellyfin", one), one)
    assert server.items[item_id]["Name"] == "A Title"


@pytest.mark.parametrize("kind", ["Movie", "Video", "MusicVideo", "Episode"])
@pytest.mark.parametrize("computed_ids", [True, False])
def test_every_kind_of_item_is_found(server: StandInJellyfin, kind: str, computed_ids: bool) -> None:
    """Whatever kind of library holds it, and also where ids can't be computed."""
    server.computed_ids = computed_ids
    item_id = server.add("/media/movies/one.mkv", kind)
    one = scene()
    with jellyfin(server) as ours:
        ours.deliver(delivery("jellyfin", one), one)
    assert server.items[item_id]["Name"] == "A Title"
    assert server.counts["GET /Items"] == (0 if computed_ids else 1)


def test_a_listing_of_many_pages(server: StandInJellyfin) -> None:
    """The listing is read to its end, a thousand items a request."""
    server.computed_ids = False
    for n in range(2001):
        server.add(f"/media/movies/{n}.mkv")
    one = scene("/data/movies/2000.mkv")
    with jellyfin(server) as ours:
        ours.deliver(delivery("jellyfin", one), one)
    assert server.counts == {"GET /Items?ids": 2, "GET /Items": 3, "POST /Items/{id}": 1}


def test_of_several_files_the_first_that_is_known(server: StandInJellyfin) -> None:
    """A scene with several files updates the item of the first that Jellyfin has, and no other."""
    first = server.add("/media/movies/b.mkv")
    second = server.add("/media/movies/c.mkv")
    one = scene("/data/movies/a.mkv", "/data/movies/b.mkv", "/data/movies/c.mkv")
    with jellyfin(server) as ours:
        ours.deliver(delivery("jellyfin", one), one)
    assert (server.items[first]["Name"], server.items[second]["Name"]) == ("A Title", "c")


def test_a_server_below_a_path(server: StandInJellyfin) -> None:
    """Jellyfin below a reverse proxy's path works, with and without a slash at the end of the address."""
    server.prefix = "/jellyfin"
    item_id = server.add("/media/movies/one.mkv")
    one = scene()
    with jellyfin(f"{server.url}/") as ours:
        ours.deliver(delivery("jellyfin", one), one)
    assert server.items[item_id]["Name"] == "A Title"


def test_the_key_travels_in_a_header_only(server: StandInJellyfin) -> None:
    """The key is in no URL, and only in the header that 12 takes."""
    server.add("/media/movies/one.mkv")
    one = scene()
    with jellyfin(server) as ours:
        ours.deliver(delivery("jellyfin", one), one)
        ours.test(one)
    for received in server.receiver.received:
        assert KEY not in received.path
        holding = [name for name, value in received.headers.items() if KEY in value]
        assert holding == ["authorization"]


# What else is delivered


def test_a_deleted_scene_is_told_and_never_deleted(server: StandInJellyfin) -> None:
    """Of a deleted scene Jellyfin is told the path; its item is touched by nobody."""
    item_id = server.add("/media/movies/one.mkv")
    before = copy.deepcopy(server.items[item_id])
    with jellyfin(server) as ours:
        ours.deliver(delivery("jellyfin", event="destroy", path="/data/movies/one.mkv"), None)
        ours.deliver(delivery("jellyfin", event="destroy"), None)  # nobody knows where it was
    assert server.notified == [{"Path": "/media/movies/one.mkv", "UpdateType": "Deleted"}]
    assert server.items[item_id] == before
    assert server.counts == {"POST /Library/Media/Updated": 1}


def test_refresh_only_tells_paths_and_writes_nothing(server: StandInJellyfin) -> None:
    """With jellyfin_refresh_only Jellyfin is told the mapped path, and nothing is looked up or written."""
    server.add("/media/movies/one.mkv")
    one = scene()
    with jellyfin(server, jellyfin_refresh_only=True) as ours:
        ours.prepare([(delivery("jellyfin", one), one)] * 2)
        ours.deliver(delivery("jellyfin", one), one)
        ours.deliver(delivery("jellyfin", one, event="create"), one)
    assert [n["UpdateType"] for n in server.notified] == ["Modified", "Created"]
    assert {n["Path"] for n in server.notified} == {"/media/movies/one.mkv"}
    assert server.counts == {"POST /Library/Media/Updated": 2}


def test_every_file_of_a_missing_scene_is_told(server: StandInJellyfin) -> None:
    """Jellyfin is asked to look at each file of a scene that it doesn't know."""
    with jellyfin(server) as ours:
        refused(ours, scene("/data/movies/a.mkv", "/data/movies/b.mkv"))
    assert server.notified == [
        {"Path": "/media/movies/a.mkv", "UpdateType": "Created"},
        {"Path": "/media/movies/b.mkv", "UpdateType": "Created"},
    ]


def test_a_server_on_windows(server: StandInJellyfin) -> None:
    """A Jellyfin on Windows is found by its own kind of path, whatever the case in which it spells it."""
    item_id = server.add("D:\\Media\\Movies\\One.mkv")
    windows = Settings(path_map=PathMap((("/data", "d:\\media"),)), delivery_timeout_seconds=5.0)
    one = scene()
    with jellyfin(server, windows) as ours:
        ours.deliver(delivery("jellyfin", one), one)
    assert server.items[item_id]["Name"] == "A Title"


# Failures


@pytest.mark.parametrize(
    ("refresh_only", "values", "there"),
    [
        (False, {}, True),  # an update of the item
        (False, {}, False),  # a notice of a file that isn't known
        (True, {}, True),
        (True, {"event": "create"}, True),
        (False, {"event": "destroy", "path": "/data/movies/one.mkv"}, True),
        (True, {"event": "destroy", "path": "/data/movies/one.mkv"}, True),
    ],
)
def test_a_login_page_takes_no_change(
    server: StandInJellyfin, refresh_only: bool, values: dict[str, Any], there: bool
) -> None:
    """A proxy's login page that answers a write with 200 stops Jellyfin, and nothing counts as delivered."""
    if there:
        server.add("/media/movies/one.mkv")
    answers_writes(server, LOGIN)
    one = scene()
    with jellyfin(server, jellyfin_refresh_only=refresh_only) as ours, pytest.raises(DeliveryFailed) as caught:
        ours.deliver(delivery("jellyfin", one, **values), None if values.get("path") else one)
    assert caught.value.failure is Failure.DESTINATION
    assert "login page" in caught.value.message


def test_a_login_page_takes_no_cover(server: StandInJellyfin) -> None:
    """A cover that a login page answered is sent again at the next attempt."""
    item_id = server.add("/media/movies/one.mkv")
    inner = server.receiver.answer
    answers_writes(server, LOGIN, "/Images/")
    one = scene()
    with jellyfin(server, cover=Covers(), jellyfin_images=True) as ours:
        failed = refused(ours, one, changed=())
        assert (failed.failure, server.images) == (Failure.DESTINATION, {})
        server.receiver.answer = inner
        ours.deliver(delivery("jellyfin", one, changed=()), one)
    assert server.images == {item_id: JPEG}


@pytest.mark.parametrize("status", [404, 405])
@pytest.mark.parametrize("path", ["", "/data/movies/one.mkv"])
def test_a_wrong_address_is_no_scenes_fault(status: int, path: str) -> None:
    """An address that takes no notices stops Jellyfin; no scene becomes a dead letter for it."""
    one = scene()
    values: dict[str, Any] = {"event": "destroy", "path": path} if path else {}
    with (
        Receiver(Reply(status, {}, b"page not found")) as receiver,
        jellyfin(receiver.url, jellyfin_refresh_only=True) as ours,
        pytest.raises(DeliveryFailed) as caught,
    ):
        ours.deliver(delivery("jellyfin", one, **values), None if path else one)
    assert caught.value.failure is Failure.DESTINATION
    assert "jellyfin_url" in caught.value.message


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        ({"People": [None]}, "People"),
        ({"Studios": ["a"]}, "Studios"),
        ({"Tags": [None]}, "Tags"),
        ({"Genres": [{}]}, "Genres"),
        ({"LockedFields": [None]}, "LockedFields"),
        ({"CommunityRating": "8"}, "CommunityRating"),
        ({"Name": 5}, "Name"),
        ({"Overview": ["x"]}, "Overview"),
    ],
)
def test_an_item_of_nonsense_is_not_sent_back(server: StandInJellyfin, values: dict[str, Any], wrong: str) -> None:
    """An item that isn't as Jellyfin has them is another program's: nothing is sent back, and nothing breaks."""
    server.add("/media/movies/one.mkv", **values)
    with jellyfin(server, jellyfin_skip_fields="+rating") as ours:
        failed = refused(ours, scene())
        report = ours.test(scene())
    assert failed.failure is Failure.DESTINATION
    assert f"as Jellyfin never does (an item with unknown {wrong}" in failed.message
    assert server.posted == []
    assert not report.ok
    assert failed.message in report.lines


def test_an_item_without_what_may_be_missing(server: StandInJellyfin) -> None:
    """Values that are null in Jellyfin are no nonsense."""
    item_id = server.add("/media/movies/one.mkv", Name=None, Overview=None, CommunityRating=None)
    one = scene()
    with jellyfin(server, jellyfin_skip_fields="+rating") as ours:
        ours.deliver(delivery("jellyfin", one), one)
    assert server.items[item_id]["CommunityRating"] == 8.0


@pytest.mark.parametrize("body", [b'[{"Name":"x","Locations":5}]', b"[5]", b"{}"])
def test_libraries_of_nonsense(server: StandInJellyfin, body: bytes) -> None:
    """Libraries that aren't as Jellyfin has them fail the test in a sentence, and no delivery."""
    inner = server.receiver.answer
    assert not isinstance(inner, Reply)

    def answer(received: Received) -> Reply:
        return Reply(200, {}, body) if "VirtualFolders" in received.path else inner(received)

    server.receiver.answer = answer
    with jellyfin(server) as ours:
        report = ours.test(scene())
        assert refused(ours, scene()).failure is Failure.NOT_THERE_YET
    assert not report.ok
    assert "as Jellyfin never does (no libraries" in report.lines[1]


def test_an_unknown_item_is_asked_for_and_not_there_yet(server: StandInJellyfin) -> None:
    """Jellyfin is asked to look at the path, and the failure shows both paths and the rule."""
    with jellyfin(server) as ours:
        failed = refused(ours, scene())
    assert failed.failure is Failure.NOT_THERE_YET
    assert "/media/movies/one.mkv" in failed.message
    assert "/data/movies/one.mkv" in failed.message
    assert "/data => /media" in failed.message
    assert "None of the libraries" not in failed.message
    assert server.notified == [{"Path": "/media/movies/one.mkv", "UpdateType": "Created"}]
    assert server.posted == []


def test_a_folder_in_no_library_is_said_to_be_so(server: StandInJellyfin) -> None:
    """The failure of a file outside all libraries' folders shows these beside its path."""
    with jellyfin(server, Settings()) as ours:
        failed = refused(ours, scene("/elsewhere/a.mkv"))
    assert failed.failure is Failure.NOT_THERE_YET
    assert "None of the libraries it is looked for in holds that folder: Movies (/media/movies)." in failed.message


def test_an_item_that_came_meanwhile_is_found(server: StandInJellyfin) -> None:
    """The next try finds what was scanned since the last."""
    one = scene()
    with jellyfin(server) as ours:
        refused(ours, one)
        item_id = server.add("/media/movies/one.mkv")
        ours.deliver(delivery("jellyfin", one), one)
    assert server.items[item_id]["Name"] == "A Title"


@pytest.mark.parametrize("computed_ids", [True, False])
def test_two_items_with_the_path_change_neither(server: StandInJellyfin, computed_ids: bool) -> None:
    """An ambiguous match names both items and changes none, also where only the listing shows it."""
    server.computed_ids = computed_ids
    ids = [server.add("/media/movies/one.mkv", kind, Name=kind) for kind in ("Movie", "Video")]
    with jellyfin(server) as ours:
        failed = refused(ours, scene())
    assert failed.failure is Failure.ITEM_REFUSED
    assert all(item_id in failed.message for item_id in ids)
    assert server.posted == []


def test_a_scene_without_files_is_refused(server: StandInJellyfin) -> None:
    """A scene without a file can't be found, and says so without asking anybody."""
    with jellyfin(server) as ours:
        failed = refused(ours, scene(files=()))
    assert failed.failure is Failure.ITEM_REFUSED
    assert "no file" in failed.message
    assert server.counts == {}


def test_an_item_that_vanished_before_its_edit(server: StandInJellyfin) -> None:
    """An item that goes between lookup and edit is looked for again, and no dead letter at once."""
    server.add("/media/movies/one.mkv")
    one = scene()
    with jellyfin(server) as ours:
        ours.prepare([(delivery("jellyfin", one), one), (delivery("jellyfin", one), one)])
        server.items.clear()
        failed = refused(ours, one)
        assert failed.failure is Failure.REFUSED
        assert "look again" in failed.message
        assert refused(ours, one).failure is Failure.NOT_THERE_YET


@pytest.mark.parametrize("path", ["/Items/", "/Images/"])
def test_an_item_that_vanished_at_its_edit(server: StandInJellyfin, path: str) -> None:
    """A 404 to the edit or the cover of an item that was found is no dead letter at once."""
    server.add("/media/movies/one.mkv")
    answers_writes(server, Reply(404), path)
    with jellyfin(server, cover=Covers(), jellyfin_images=True) as ours:
        failed = refused(ours, scene(), changed=())
    assert (failed.failure, failed.status) == (Failure.REFUSED, 404)
    assert '"one" (id ' in failed.message


def test_a_wrong_key_names_its_setting(server: StandInJellyfin) -> None:
    """A 401 stops the destination and names jellyfin_api_key."""
    with jellyfin(server, jellyfin_api_key="f" * 32) as ours:
        failed = refused(ours, scene())
    assert (failed.failure, failed.status) == (Failure.DESTINATION, 401)
    assert "jellyfin_api_key" in failed.message


def test_a_server_that_starts_is_waited_for(server: StandInJellyfin) -> None:
    """503 is busy, as long as Jellyfin asks if it says so."""
    server.starting = True
    with jellyfin(server) as ours:
        failed = refused(ours, scene())
        assert (failed.failure, failed.retry_after) == (Failure.BUSY, None)
        server.retry_after = 7
        assert refused(ours, scene()).retry_after == 7.0


@pytest.mark.parametrize(
    ("reply", "failure", "word"),
    [
        (Reply(200, {}, b"<!DOCTYPE html><title>Log in</title>"), Failure.DESTINATION, "web page"),
        (Reply(200, {}, b'{"Items": [{"Id": "00'), Failure.BUSY, "broke off"),
        (Reply(200, {}, b'{"MediaContainer": {"size": 0}}'), Failure.DESTINATION, "as Jellyfin never does"),
        (Reply(200, {}, b"[]"), Failure.DESTINATION, "as Jellyfin never does"),
        (Reply(200, {}, b'{"Items": [{"Id": "../../Users"}]}'), Failure.DESTINATION, "as Jellyfin never does"),
        (Reply(302, {"Location": "https://login.example/?to=/"}), Failure.DESTINATION, "login.example"),
        (Reply(404, {}, b"404 page not found"), Failure.DESTINATION, "jellyfin_url"),
        (Reply(403, {}, b"Forbidden"), Failure.FORBIDDEN, "jellyfin_api_key"),
        (Reply(500, {}, b"Error processing request."), Failure.REFUSED, "log"),
        (Reply(500, {}, f"unknown {KEY}".encode()), Failure.REFUSED, "log"),
        (Reply(502, {}, b"<html>Bad Gateway</html>"), Failure.BUSY, "wait"),
    ],
)
def test_answers_of_others(reply: Reply, failure: Failure, word: str) -> None:
    """A login page, another program, a broken answer: each is told as what it is, and nothing is written."""
    with Receiver(reply) as receiver, jellyfin(receiver.url) as ours:
        failed = refused(ours, scene())
        assert {r.method for r in receiver.received} == {"GET"}
    assert failed.failure is failure
    assert word in failed.message


@pytest.mark.parametrize(
    "missing", ["Path", "LockData", "LockedFields", "Tags", "Genres", "Studios", "People", "ProviderIds"]
)
def test_an_item_that_is_not_whole_is_not_sent_back(server: StandInJellyfin, missing: str) -> None:
    """If a server leaves out what an update would lose, nothing is updated."""
    item_id = server.add("/media/movies/one.mkv", **DISTINCT)
    del server.items[item_id][missing]
    with jellyfin(server) as ours:
        failed = refused(ours, scene())
    assert failed.failure is Failure.DESTINATION
    assert missing in failed.message
    assert server.posted == []


def test_a_refused_edit_is_a_refused_item(server: StandInJellyfin) -> None:
    """A 400 to one edit is that scene's dead letter, with what Jellyfin said."""
    server.add("/media/movies/one.mkv")
    answers_writes(server, Reply(400, {}, b"Error processing request."))
    with jellyfin(server) as ours:
        failed = refused(ours, scene())
    assert (failed.failure, failed.status) == (Failure.ITEM_REFUSED, 400)
    assert failed.answer == "Error processing request."


# Covers


class Covers:
    """Gives a cover, and counts how often it was asked."""

    def __init__(self, image: bytes = JPEG) -> None:
        self.image = image
        self.asked = 0

    def __call__(self, url: str) -> bytes:
        assert url.startswith("http://127.0.0.1:9999/scene/17/screenshot")
        self.asked += 1
        return self.image


def images_sent(server: StandInJellyfin) -> int:
    """How many images came in."""
    return server.counts["POST /Items/{id}/Images/Primary"]


def test_images_are_off_by_default(server: StandInJellyfin) -> None:
    """Without jellyfin_images no cover is fetched or sent."""
    server.add("/media/movies/one.mkv")
    one, covers = scene(), Covers()
    with jellyfin(server, cover=covers) as ours:
        ours.deliver(delivery("jellyfin", one, event="create"), one)
    assert (covers.asked, server.images) == (0, {})


@pytest.mark.parametrize("values", [{"event": "create"}, {"changed": ("cover_image", "title")}, {"changed": ()}])
def test_a_cover_is_sent_where_it_may_have_changed(server: StandInJellyfin, values: dict[str, Any]) -> None:
    """A new scene's cover is sent, a changed one, and one of which nobody knows; as it is, once."""
    item_id = server.add("/media/movies/one.mkv")
    one, covers = scene(), Covers()
    with jellyfin(server, cover=covers, jellyfin_images=True) as ours:
        known = ours.deliver(delivery("jellyfin", one, **values), one)
        assert ours.deliver(delivery("jellyfin", one, **values), one, known) == known
        assert server.images == {item_id: JPEG}
        assert images_sent(server) == 1
        assert server.counts["GET /Items/{id}/Images/Primary"] == 0
        covers.image = PNG
        assert ours.deliver(delivery("jellyfin", one, **values), one, known) != known
    assert server.images == {item_id: PNG}


def test_another_edit_leaves_the_image_alone(server: StandInJellyfin) -> None:
    """An image chosen in Jellyfin stays while only other fields are edited."""
    item_id = server.add("/media/movies/one.mkv")
    server.images[item_id] = PNG
    one, covers = scene(), Covers()
    with jellyfin(server, cover=covers, jellyfin_images=True) as ours:
        ours.deliver(delivery("jellyfin", one, changed=("title", "tag_ids")), one)
    assert (covers.asked, server.images) == (0, {item_id: PNG})


def test_another_worker_compares_no_cover_anew(server: StandInJellyfin) -> None:
    """After a restart, or another setting, a cover that was sent is neither sent nor held against Jellyfin's."""
    server.add("/media/movies/one.mkv")
    one, known = scene(), b""
    for _ in range(2):
        with jellyfin(server, cover=Covers(), jellyfin_images=True) as ours:
            known = ours.deliver(delivery("jellyfin", one, changed=()), one, known)
    assert images_sent(server) == 1
    assert server.counts["GET /Items/{id}/Images/Primary"] == 0


def test_a_cover_that_is_there_already_is_not_sent(server: StandInJellyfin) -> None:
    """After a restart the cover is held against what Jellyfin has, and sent only if it differs."""
    item_id = server.add("/media/movies/one.mkv")
    server.images[item_id] = JPEG
    one = scene()
    with jellyfin(server, cover=Covers(), jellyfin_images=True) as ours:
        ours.deliver(delivery("jellyfin", one, changed=()), one)
    assert images_sent(server) == 0


@pytest.mark.parametrize("image", [b"", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"<html>"])
def test_what_is_no_picture_is_not_sent(server: StandInJellyfin, image: bytes) -> None:
    """Stash's drawing for a scene without a cover replaces no image."""
    server.add("/media/movies/one.mkv")
    one = scene()
    with jellyfin(server, cover=Covers(image), jellyfin_images=True) as ours:
        ours.deliver(delivery("jellyfin", one, event="create"), one)
    assert images_sent(server) == 0


def test_a_cover_that_stash_cannot_give_is_stashs_fault(server: StandInJellyfin) -> None:
    """The fields are written, and the delivery comes back for the cover without blaming Jellyfin."""
    item_id = server.add("/media/movies/one.mkv")
    with jellyfin(server, jellyfin_images=True) as ours:
        failed = refused(ours, scene(), event="create")
    assert failed.failure is Failure.STASH
    assert server.items[item_id]["Name"] == "A Title"


def test_covers_come_from_stash_alone(tmp_path: Path, stash: StandInStash) -> None:
    """A cover is asked of Stash whatever its URL says, since our login goes with it."""
    stash.edit(2, cover_image=f"data:image/jpeg;base64,{base64.b64encode(JPEG).decode()}")
    place = {"scheme": "http", "host": "127.0.0.1", "port": stash.config.port, "cookie": "", "at": 0.0}
    (tmp_path / CONNECTION).write_text(json.dumps(place))
    client = Stash(tmp_path)
    try:
        cover = covers_of(client)
        assert cover("http://elsewhere.example/scene/2/screenshot?t=1") == JPEG
        assert cover("http://elsewhere.example/scene/999/screenshot") == b""
        assert image_type(cover("http://elsewhere.example/scene/3/screenshot")) is None
        stash.stop()
        with pytest.raises(DeliveryFailed) as caught:
            cover("http://elsewhere.example/scene/2/screenshot?t=1")
        assert caught.value.failure is Failure.STASH
        assert "cover can't be fetched" in caught.value.message
    finally:
        client.close()


# The test of the settings


def test_the_test_shows_what_a_delivery_would_change(server: StandInJellyfin) -> None:
    """The test names server, version, libraries and item, and what would change; it changes nothing."""
    item_id = server.add("/media/movies/one.mkv", **DISTINCT)
    before = copy.deepcopy(server.items)
    with jellyfin(server) as ours:
        report = ours.test(scene())
    said = "\n".join(report.lines)
    assert report.ok
    for part in (
        "Jellyfin Server 10.10.7",
        "stand-in",
        "Movies (/media/movies)",
        item_id,
        "/media/movies/one.mkv",
    ):
        assert part in said
    assert 'title: "one" would become "A Title"' in said
    assert 'tags: "by hand" would become "calm, loud"' in said
    assert "locked there as a whole" in said
    assert server.items == before
    assert all(route.startswith("GET") for route in server.counts)


def test_the_test_says_that_nothing_would_change(server: StandInJellyfin) -> None:
    """Where all is right already the test says so."""
    server.add("/media/movies/one.mkv")
    one = scene()
    with jellyfin(server) as ours:
        ours.deliver(delivery("jellyfin", one), one)
        assert ours.test(one).lines[-1] == "Nothing would change."


@pytest.mark.parametrize(
    ("there", "words"),
    [
        (["/media/movies/one.mkv"], ["/media/movies/one.mkv", "the rule /data => /media"]),
        ([], ["Movies has a folder of that name at /media/movies", "the rule /data => /media"]),
    ],
)
def test_the_test_shows_the_missing_rule(server: StandInJellyfin, there: list[str], words: list[str]) -> None:
    """A path map that maps nothing shows in both paths, and the rule that would help is spelt out."""
    for path in there:
        server.add(path)
    with jellyfin(server, Settings()) as ours:
        report = ours.test(scene())
    said = "\n".join(report.lines)
    assert not report.ok
    assert "/data/movies/one.mkv; no rule of path_map fits it" in said
    for part in words:
        assert part in said
    assert server.notified == []


def test_the_test_tells_a_pending_scan_from_a_wrong_path(server: StandInJellyfin) -> None:
    """A path inside a library that isn't known yet is a scan that is pending."""
    with jellyfin(server) as ours:
        report = ours.test(scene())
    assert not report.ok
    assert "which has not scanned it yet" in report.lines[-1]


def test_the_test_shows_a_rule_that_leads_astray(server: StandInJellyfin) -> None:
    """A file that Jellyfin has elsewhere below the same library's folder is a wrong rule, not a pending scan."""
    server.libraries = {"All": ["/media"]}
    server.add("/media/films/movies/one.mkv")
    with jellyfin(server) as ours:
        report = ours.test(scene())
    assert not report.ok
    assert report.lines[-1] == (
        "It has a file of that name at /media/films/movies/one.mkv: the rule /data => /media/films in path_map, "
        "in place of /data => /media, would make the two meet."
    )
    assert "not scanned" not in "\n".join(report.lines)


def test_the_test_shows_namesakes_as_windows_spells_them(server: StandInJellyfin) -> None:
    """The server's own path is shown as the server spells it."""
    server.add("D:\\Movies\\One.mkv")
    with jellyfin(server, Settings()) as ours:
        report = ours.test(scene())
    assert "at D:\\Movies\\One.mkv: the rule /data => D: in path_map" in report.lines[-1]


def test_the_test_names_a_wrong_key(server: StandInJellyfin) -> None:
    """With a wrong key the test names the setting; without a scene or a file it says that."""
    with jellyfin(server, jellyfin_api_key="f" * 32) as ours:
        report = ours.test(scene())
    assert not report.ok
    assert "jellyfin_api_key" in report.lines[0]
    with jellyfin(server) as ours:
        assert ours.test(None).ok
        assert "no file" in ours.test(scene(files=())).lines[-1]


# Many at once, and in the worker


def test_many_updates_cost_few_requests(server: StandInJellyfin) -> None:
    """Of 400 updates a tenth of which change something: a lookup for 50, an edit for each that differs."""
    scenes = [scene(f"/data/movies/{n}.mkv", id=n, details="", date="") for n in range(400)]
    with jellyfin(server, jellyfin_skip_fields="studio performers tags director ids") as ours:
        for one in scenes:
            server.add(f"/media/movies/{one.id}.mkv", Name="A Title" if one.id % 10 else "Old")
        run_lane(ours, scenes, at_once=50)
    assert server.counts["POST /Items/{id}"] == 40
    assert set(server.counts) == {"GET /Items?ids", "POST /Items/{id}"}
    assert sorted(ids_asked(server)) == [1] * 40 + [200] * 8  # what is to be sent back is read once more
    assert {item["Name"] for item in server.items.values()} == {"A Title"}


def run_lane(ours: Jellyfin, scenes: list[Scene], *, at_once: int) -> None:
    """Delivers as the dispatcher does: so many scenes become ready together."""
    pool = open_pool(ours, Health(), 4)
    came: list[Outcome] = []
    done = threading.Condition()

    def finished(outcome: Outcome) -> None:
        with done:
            came.append(outcome)
            done.notify()

    for start in range(0, len(scenes), at_once):
        batch = scenes[start : start + at_once]
        pool.ready.extend(Job(delivery("jellyfin", s, row_id=s.id, scene_id=s.id), s) for s in batch)
        while pool.ready or pool.running:
            pool.start_ready(finished)
            with done:
                assert done.wait_for(lambda: came, 20.0)
                for outcome in came:
                    assert outcome.error is None
                    del pool.running[outcome.delivery.row_id]
                came.clear()
    pool.threads.shutdown()


@pytest.fixture
def stash(tmp_path: Path) -> Iterator[StandInStash]:
    quiet = {"STASH_COURIER_WORKER": "off"}  # an edit's hook starts none
    with StandInStash(120, config_dir=tmp_path / "config", env=quiet) as running:
        running.install_plugin(ROOT)
        yield running


def set_up(stash: StandInStash, server: StandInJellyfin, **raw: object) -> None:
    """The plugin's settings, for this server alone."""
    setup = {"jellyfin_url": server.url, "jellyfin_api_key": KEY, "path_map": "/media/films => /films"}
    stash.config.plugins[PLUGIN] = {**setup, **raw}


def film_path(stash: StandInStash, scene_id: int) -> str:
    """Where Jellyfin has a scene's file."""
    found = stash.library.find(scene_id)
    assert found is not None
    return found.files[0].path.replace("/media/films", "/films")


def test_through_the_worker_lookups_are_batched(
    tmp_path: Path, stash: StandInStash, server: StandInJellyfin
) -> None:
    """What waits for Jellyfin is looked up in batches, also by the dispatcher."""
    for scene_id in range(1, 121):
        server.add(film_path(stash, scene_id))
    set_up(stash, server)
    with FastForward(tmp_path / "data", stash) as courier:
        for scene_id in range(1, 121):
            courier.put(scene_id)
        courier.run(courier.queue.empty)
        assert courier.dlq.get_count() == 0
    assert server.counts["POST /Items/{id}"] == 120
    assert sum(count > 1 for count in ids_asked(server)) <= 120 // 40 + 1
    assert all(item["Name"].startswith("Film ") for item in server.items.values())


def test_what_never_comes_ends_as_a_dead_letter_after_two_hours(
    tmp_path: Path, stash: StandInStash, server: StandInJellyfin
) -> None:
    """An item that never appears is asked for again and again, holds nobody up and ends with both paths shown."""
    server.add(film_path(stash, 2))
    set_up(stash, server)
    with FastForward(tmp_path / "data", stash) as courier:
        courier.put(1)
        courier.put(2)
        waited = courier.run(lambda: courier.dlq.get_count() == 1 and courier.queue.empty())
        (dead_letter,) = courier.dlq.get_recent(10)
        health = courier.dispatcher.registry.pools["jellyfin"].health
    assert 1.5 * HOUR < waited < 2.5 * HOUR
    assert health.state == "well"
    assert dead_letter.scene_id == 1
    assert film_path(stash, 1) in dead_letter.error_message
    assert "/media/films => /films" in dead_letter.error_message
    assert len(server.notified) == 9
    assert server.counts["POST /Items/{id}"] == 1


def test_a_wrong_address_buries_nothing(tmp_path: Path, stash: StandInStash, server: StandInJellyfin) -> None:
    """An address that answers 404 to notices pauses Jellyfin; once it is right everything arrives."""
    with Receiver(Reply(404, {}, b"404 page not found")) as wrong:
        set_up(stash, server, jellyfin_url=wrong.url, jellyfin_refresh_only=True)
        with FastForward(tmp_path / "data", stash) as courier:
            for scene_id in range(1, 21):
                courier.put(scene_id)
            courier.run(seconds=3 * HOUR)
            assert courier.dispatcher.registry.pools["jellyfin"].health.state == "ill"
            assert courier.dlq.get_count() == 0
            set_up(stash, server, jellyfin_refresh_only=True)
            courier.run(courier.queue.empty)
            assert courier.dlq.get_count() == 0
    assert len({notice["Path"] for notice in server.notified}) == 20


def test_a_wrong_key_pauses_jellyfin_alone(tmp_path: Path, stash: StandInStash, server: StandInJellyfin) -> None:
    """A refused key buries nothing and pauses that destination; with the right one everything arrives."""
    server.add(film_path(stash, 1))
    with Receiver() as receiver, FastForward(tmp_path / "data", stash) as courier:
        set_up(stash, server, jellyfin_api_key="f" * 32, webhook_url=receiver.url)
        courier.put(1)
        courier.run(seconds=3 * HOUR)
        health = courier.dispatcher.registry.pools["jellyfin"].health
        assert (health.state, courier.dlq.get_count()) == ("ill", 0)
        assert "jellyfin_api_key" in health.reason
        assert len(receiver.received) == 1
        set_up(stash, server, webhook_url=receiver.url)
        courier.run(courier.queue.empty)
    assert server.counts["POST /Items/{id}"] == 1


def test_an_edit_in_stash_shows_in_jellyfin(tmp_path: Path, server: StandInJellyfin) -> None:
    """From the edit in a Stash with a login to the item and its image in Jellyfin, by itself."""
    settings = {
        "jellyfin_url": server.url,
        "jellyfin_api_key": KEY,
        "jellyfin_images": True,
        "path_map": "/media/films => /films",
    }
    with Courier(tmp_path, settings, scenes=3, credentials=("me", "secret")) as courier:
        item_id = server.add(film_path(courier.stash, 2))
        cover = f"data:image/jpeg;base64,{base64.b64encode(JPEG).decode()}"
        courier.stash.edit(2, title="Shown", cover_image=cover)
        wait_until(lambda: item_id in server.images, 15.0)
        courier.drained()
        assert "cover" not in courier.log()
    assert server.items[item_id]["Name"] == "Shown"
    assert server.images[item_id] == JPEG
