"""Failed deliveries to Jellyfin: unexpected answers, invalid items, missing items."""

from __future__ import annotations

from typing import Any

import pytest

from stash_courier.queue.failures import DeliveryFailed, Failure
from tests.standin.jellyfin import KEY, StandInJellyfin
from tests.standin.receivers import Receiver, Reply
from tests.support.connections import problems
from tests.support.intercept import LOGIN, intercept
from tests.support.jellyfin import JPEG, jellyfin, refused
from tests.support.media_samples import DISTINCT, delivery, scene
from tests.support.steps import tried

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize("status", [404, 405])
@pytest.mark.parametrize("path", ["", "/data/movies/one.mkv"])
def test_a_wrong_address_is_no_scenes_fault(status: int, path: str) -> None:
    """An address that accepts no notices stops Jellyfin, and no scene becomes a dead letter."""
    one = scene()
    values: dict[str, Any] = {"event": "destroy", "path": path} if path else {}
    with (
        Receiver(Reply(status, {}, b"page not found")) as receiver,
        jellyfin(receiver.url, refresh_only=True) as ours,
        pytest.raises(DeliveryFailed) as caught,
    ):
        ours.deliver(delivery("jellyfin", one, **values), None if path else one)
    assert caught.value.failure is Failure.DESTINATION
    assert '"Address"' in caught.value.message


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
def test_an_invalid_item_is_not_sent_back(server: StandInJellyfin, values: dict[str, Any], wrong: str) -> None:
    """An item with invalid fields is from another program: nothing is sent back, and nothing crashes."""
    server.add("/media/movies/one.mkv", **values)
    with jellyfin(server, skip_fields="+rating") as ours:
        failed = refused(ours, scene())
        found = tried(ours, scene())
    assert failed.failure is Failure.DESTINATION
    assert f"as Jellyfin never does (an item with invalid {wrong}" in failed.message
    assert server.posted == []
    assert not found.ok
    assert failed.message in found["scenes"].text


def test_an_unknown_item_is_scanned_and_not_there_yet(server: StandInJellyfin) -> None:
    """Jellyfin is asked to scan an unknown path, and the failure shows both paths and the rule."""
    with jellyfin(server) as ours:
        failed = refused(ours, scene())
    assert failed.failure is Failure.NOT_THERE_YET
    assert "/media/movies/one.mkv" in failed.message
    assert "/data/movies/one.mkv" in failed.message
    assert "/data => /media" in failed.message
    assert "None of the searched libraries" not in failed.message
    assert server.notified == [{"Path": "/media/movies/one.mkv", "UpdateType": "Created"}]
    assert server.posted == []


@pytest.mark.parametrize("computed_ids", [True, False])
def test_two_items_with_the_path_change_neither(server: StandInJellyfin, computed_ids: bool) -> None:
    """If two items have the scene's path, neither is changed and the failure names both."""
    server.computed_ids = computed_ids
    ids = [server.add("/media/movies/one.mkv", kind, Name=kind) for kind in ("Movie", "Video")]
    with jellyfin(server) as ours:
        failed = refused(ours, scene())
    assert failed.failure is Failure.ITEM_REFUSED
    assert all(item_id in failed.message for item_id in ids)
    assert server.posted == []


def test_an_item_that_vanished_before_its_edit(server: StandInJellyfin) -> None:
    """An item that vanishes between lookup and edit is looked up again and makes no dead letter."""
    server.add("/media/movies/one.mkv")
    one = scene()
    with jellyfin(server) as ours:
        ours.prepare([(delivery("jellyfin", one), one), (delivery("jellyfin", one), one)])
        server.items.clear()
        failed = refused(ours, one)
        assert failed.failure is Failure.REFUSED
        assert "look again" in failed.message
        assert refused(ours, one).failure is Failure.NOT_THERE_YET


def test_a_server_that_starts_is_waited_for(server: StandInJellyfin) -> None:
    """503 means busy, for as long as Retry-After says."""
    server.starting = True
    with jellyfin(server) as ours:
        failed = refused(ours, scene())
        assert (failed.failure, failed.retry_after) == (Failure.BUSY, None)
        server.retry_after = 7
        assert refused(ours, scene()).retry_after == 7.0


@pytest.mark.parametrize(
    ("reply", "failure", "word"),
    [
        (Reply(200, {}, b'{"MediaContainer": {"size": 0}}'), Failure.DESTINATION, "as Jellyfin never does"),
        (Reply(200, {}, b"[]"), Failure.DESTINATION, "as Jellyfin never does"),
        (Reply(200, {}, b'{"Items": [{"Id": "../../Users"}]}'), Failure.DESTINATION, "as Jellyfin never does"),
        (Reply(404, {}, b"404 page not found"), Failure.DESTINATION, '"Address"'),
        (Reply(403, {}, b"Forbidden"), Failure.FORBIDDEN, '"API key"'),
        (Reply(500, {}, f"unknown {KEY}".encode()), Failure.REFUSED, "log"),
    ],
)
def test_unexpected_answers(reply: Reply, failure: Failure, word: str) -> None:
    """Each unexpected answer has its failure class and a message, and nothing is written."""
    with Receiver(reply) as receiver, jellyfin(receiver.url) as ours:
        failed = refused(ours, scene())
        assert {r.method for r in receiver.received} == {"GET"}
    assert failed.failure is failure
    assert word in failed.message


@pytest.mark.parametrize(
    "missing", ["Path", "LockData", "LockedFields", "Tags", "Genres", "Studios", "People", "ProviderIds"]
)
def test_an_item_that_is_not_whole_is_not_sent_back(server: StandInJellyfin, missing: str) -> None:
    """An item is not updated if a field is missing that the update would lose."""
    item_id = server.add("/media/movies/one.mkv", **DISTINCT)
    del server.items[item_id][missing]
    with jellyfin(server) as ours:
        failed = refused(ours, scene())
    assert failed.failure is Failure.DESTINATION
    assert missing in failed.message
    assert server.posted == []


@pytest.mark.parametrize("part", ["POST /Items/", "/Images/", "POST /Collections", "/Library/Media/Updated"])
def test_a_login_page_takes_no_change(server: StandInJellyfin, part: str) -> None:
    """A change that a login page answered with 200 counts as failed, and holds Jellyfin."""
    if "Updated" not in part:
        server.add("/media/movies/one.mkv")
    intercept(server.receiver, LOGIN, part)
    with jellyfin(server, lambda _: JPEG, images=True, collections="both") as ours:
        failed = refused(ours, scene(), changed=())
    assert failed.failure is Failure.DESTINATION
    assert "web page" in failed.message


@pytest.mark.parametrize(
    "part", ["GET /Items?", "VirtualFolders", "/PlaybackInfo", "GET /Persons", "POST /Collections", "/Images"]
)
def test_json_of_another_program(server: StandInJellyfin, part: str) -> None:
    """JSON that Jellyfin doesn't send holds it. About a performer's image, it keeps only that from being sent."""
    server.version = "12.0.0"
    server.add("/media/movies/one.mkv", People=[{"Name": "Anna", "Type": "Actor", "Role": ""}])
    intercept(server.receiver, Reply(200, {"Content-Type": "application/json"}, b'{"a": 1}'), part)
    one = scene("/data/movies/missing.mkv") if "Playback" in part else scene()
    with jellyfin(server, lambda _: JPEG, images=True, person_images=True, collections="both") as ours:
        if part == "/Images":
            assert ours.deliver(delivery("jellyfin", one, changed=("title",)), one).outcome == "sent"
        else:
            assert refused(ours, one, changed=("title",)).failure is Failure.DESTINATION


def test_a_lookup_in_advance_that_fails(server: StandInJellyfin) -> None:
    """It raises nothing; each delivery looks its item up and reports what is wrong."""
    server.starting = True
    one = scene()
    with jellyfin(server) as ours:
        ours.prepare([(delivery("jellyfin", one), one)])
        assert refused(ours, one).failure is Failure.BUSY


def test_a_login_in_the_address() -> None:
    """It can't be sent beside Jellyfin's key, so the connection says so and sends nothing."""
    (problem,) = problems("jellyfin", {"url": "http://me:pass-word@jellyfin:8096", "key": KEY})
    assert (problem.field, "contains a login" in problem.message) == ("url", True)
    assert "pass-word" not in problem.message


def test_libraries_that_are_not_listed_now(server: StandInJellyfin) -> None:
    """If Jellyfin doesn't list its libraries, a scene is written, and one that it doesn't have is waited for."""
    server.add("/media/movies/one.mkv")
    intercept(server.receiver, Reply(503), "VirtualFolders")
    one = scene()
    with jellyfin(server) as ours:
        assert ours.deliver(delivery("jellyfin", one), one).outcome == "sent"
        assert refused(ours, scene("/data/movies/missing.mkv")).failure is Failure.NOT_THERE_YET
