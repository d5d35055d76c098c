"""What an update changes in a Jellyfin item, what it leaves alone, and how the item is found."""

from __future__ import annotations

import copy

import pytest

from tests.standin.jellyfin import KEY, StandInJellyfin
from tests.support.jellyfin import VERSIONS, ids_asked, jellyfin
from tests.support.media_samples import DISTINCT, delivery, scene

pytestmark = pytest.mark.timeout(60)

ONCE = dict.fromkeys(["POST /Items/{id}", "GET /Persons", "GET /Library/VirtualFolders"], 1)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_update_changes_its_fields_and_loses_nothing(server: StandInJellyfin, version: str) -> None:
    """An update keeps unselected fields, foreign locks and everything else in the item."""
    server.version = version
    item_id = server.add("/media/movies/one.mkv", "Episode", **DISTINCT)
    before = copy.deepcopy(server.items[item_id])
    one = scene()
    with jellyfin(server, skip_fields="details, date", respect_locks=False) as ours:
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
    assert set(item["LockedFields"]) == {"Genres", "Runtime", "Name", "Studios", "Cast", "Tags"}
    assert item["LockData"] is True


def test_one_lookup_and_one_edit(server: StandInJellyfin) -> None:
    """An update costs two requests on one connection, one more if people change, and one for the libraries."""
    server.add("/media/movies/one.mkv")
    one = scene()
    with jellyfin(server) as ours:
        ours.deliver(delivery("jellyfin", one), one)
        assert server.receiver.connections == 1
    assert server.counts == {**ONCE, "GET /Items?ids": 1}


def test_an_edit_made_since_the_lookup_survives(server: StandInJellyfin) -> None:
    """An edit that is made in Jellyfin between the lookup in advance and the update isn't undone."""
    item_id = server.add("/media/movies/one.mkv")
    one = scene()
    job = (delivery("jellyfin", one), one)
    with jellyfin(server, skip_fields="details performers") as ours:
        ours.prepare([job, job])
        by_hand = {
            "Overview": "Typed by hand just now.",
            "ForcedSortName": "0001",
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


def test_an_item_that_became_right_since_the_lookup_is_not_sent(server: StandInJellyfin) -> None:
    """Nothing is sent if an edit in Jellyfin after the lookup in advance already made the change."""
    item_id = server.add("/media/movies/one.mkv")
    one = scene()
    job = (delivery("jellyfin", one), one)
    with jellyfin(server, skip_fields="date studio performers tags director ids details") as ours:
        ours.prepare([job, job])
        server.items[item_id]["Name"] = "A Title"
        ours.deliver(*job)
    assert server.posted == []
    assert ids_asked(server) == [4, 1]


def test_titles_with_every_kind_of_character(server: StandInJellyfin) -> None:
    """Titles and names arrive unchanged with any characters, and no second edit follows."""
    title = (
        "ünï 標題 🎬 \" ' ` \\ <b>&amp;</b> % %20 + ? # ; , | = \u202eleft\u202c tab\tand  blanks \x00 \x07"
        + "x" * 5000
    )
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
    """A file is found with any characters in its name."""
    item_id = server.add(f"/media/movies/{name}")
    one = scene(f"/data/movies/{name}")
    with jellyfin(server) as ours:
        ours.deliver(delivery("jellyfin", one), one)
    assert server.items[item_id]["Name"] == "A Title"


def test_a_server_below_a_path(server: StandInJellyfin) -> None:
    """Jellyfin below a reverse proxy's path works, even with a trailing slash in the address."""
    server.prefix = "/jellyfin"
    item_id = server.add("/media/movies/one.mkv")
    one = scene()
    with jellyfin(f"{server.url}/") as ours:
        ours.deliver(delivery("jellyfin", one), one)
    assert server.items[item_id]["Name"] == "A Title"


def test_the_key_is_only_in_its_header(server: StandInJellyfin) -> None:
    """The key is in no URL, and only in the header that version 12 accepts."""
    server.add("/media/movies/one.mkv")
    one = scene()
    with jellyfin(server) as ours:
        ours.deliver(delivery("jellyfin", one), one)
        assert list(ours.test([one]))
    for received in server.receiver.received:
        assert KEY not in received.path
        holding = [name for name, value in received.headers.items() if KEY in value]
        assert holding == ["authorization"]
