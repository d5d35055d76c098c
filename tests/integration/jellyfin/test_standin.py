"""The stand-in for Jellyfin, driven by jellyfin-apiclient-python, which knows nothing of our client."""

from __future__ import annotations

import base64
import copy
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from jellyfin_apiclient_python import JellyfinClient
from jellyfin_apiclient_python.exceptions import HTTPException

from tests.standin.jellyfin import KEY, USER, StandInJellyfin
from tests.support.jellyfin import JPEG, VERSIONS
from tests.support.media_samples import DISTINCT

pytestmark = pytest.mark.timeout(60)

AUTHORIZED = {"Authorization": f'MediaBrowser Token="{KEY}"'}


@pytest.fixture
def other(server: StandInJellyfin) -> Iterator[Any]:
    """jellyfin-apiclient-python with the user's token."""
    client = JellyfinClient()
    client.config.app("Other", "1", "device", "device-id")
    client.config.data.update(
        {"auth.server": server.url, "auth.token": KEY, "auth.user_id": USER, "auth.ssl": False, "http.timeout": 5}
    )
    client.http.start_session()
    client.http.keep_alive = True
    yield client.jellyfin
    client.http.stop_session()


def test_another_client_updates_an_item(server: StandInJellyfin, other: Any) -> None:
    """A client that sends an item back whole changes only what it means to."""
    item_id = server.add("/media/movies/one.mkv", "Episode", **DISTINCT)
    before = copy.deepcopy(server.items[item_id])
    other.update_item(item_id, {"Overview": "New."})
    after = server.items[item_id]
    assert after.pop("Overview") == "New."
    assert {k: v for k, v in after.items() if k != "Studios"} == {
        k: v for k, v in before.items() if k not in {"Overview", "Studios"}
    }
    assert [s["Name"] for s in after["Studios"]] == ["Old Studio"]


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_not_sent_is_lost(server: StandInJellyfin, other: Any, version: str) -> None:
    """Like Jellyfin, the stand-in nulls and unlocks some fields that an update leaves out, and keeps others."""
    server.version = version
    item_id = server.add("/media/movies/one.mkv", **DISTINCT)
    lists = {"Tags": [], "Genres": ["Drama"], "ProviderIds": {}}
    other.items(f"/{item_id}", action="POST", json={"Id": item_id, "Name": "New", **lists})
    item = server.items[item_id]
    gone = {"Overview", "OriginalTitle", "ForcedSortName", "PremiereDate", "ProductionYear", "CommunityRating"}
    assert {item[key] for key in gone | {"CustomRating", "OfficialRating", "PreferredMetadataLanguage"}} == {None}
    assert item["LockData"] is False
    kept = ("People", "Studios", "Taglines", "DateCreated", "ProductionLocations", "LockedFields")
    assert all(item[key] for key in kept)


@pytest.mark.parametrize("missing", ["Tags", "Genres", "ProviderIds"])
def test_a_missing_list_fails_halfway(server: StandInJellyfin, other: Any, missing: str) -> None:
    """Before version 12 an update without a list is refused, and a part of it appears with the next image."""
    item_id = server.add("/media/movies/one.mkv", **DISTINCT)
    lists: dict[str, Any] = {"Tags": ["t"], "Genres": ["g"], "ProviderIds": {"a": "b"}}
    del lists[missing]
    cast = [{"Name": "Somebody", "Role": "", "Type": "Actor"}]
    half = {"Id": item_id, "Name": "Half", "People": cast, **lists}
    refused = requests.post(f"{server.url}/Items/{item_id}", json=half, headers=AUTHORIZED, timeout=5)
    assert refused.status_code == (500 if missing == "Genres" else 400)
    assert server.people(item_id, "Actor") == ["Somebody"]
    assert server.items[item_id]["Name"] == "one"
    picture = {"data": base64.b64encode(JPEG).decode(), "headers": {"Content-type": "image/jpeg"}}
    other.items(f"/{item_id}/Images/Primary", action="POST", **picture)
    assert server.items[item_id]["Name"] == "Half"
    server.version = "12.0.0"
    other.items(f"/{item_id}", action="POST", json={"Id": item_id, "Name": "Whole", **lists})
    assert server.items[item_id]["Name"] == "Whole"
    assert server.items[item_id][missing] == DISTINCT[missing]


def test_an_item_by_its_id_needs_a_user(server: StandInJellyfin, other: Any) -> None:
    """GET /Items/{id} answers 400 to an API key, and with the item to a user."""
    item_id = server.add("/media/movies/one.mkv")
    with pytest.raises(HTTPException) as caught:
        other.items(f"/{item_id}")
    assert caught.value.status == 400
    assert other.get_item(item_id)["Path"] == "/media/movies/one.mkv"


def test_fields_are_given_when_asked_for(server: StandInJellyfin, other: Any) -> None:
    """Path, lists and locks are only sent on request."""
    item_id = server.add("/media/movies/one.mkv", **DISTINCT)
    (bare,) = other.items(params={"ids": item_id})["Items"]
    assert bare["Name"] == "one"
    assert not {"Path", "Tags", "LockData", "Overview", "People"} & set(bare)
    (asked,) = other.get_items([item_id], fields="Path,Settings")["Items"]
    assert asked["LockData"] is True
    assert asked["LockedFields"] == ["Genres", "Runtime"]


def test_the_listing_comes_in_pages(server: StandInJellyfin, other: Any) -> None:
    """The listing has pages and can be limited to a kind; an empty list of ids gives the libraries."""
    for n in range(5):
        server.add(f"/media/movies/{n}.mkv")
    server.add("/media/clips/a.mkv", "MusicVideo")
    query = {"recursive": "true", "includeItemTypes": "Movie", "sortBy": "DateCreated"}
    page = other.items(params={**query, "startIndex": 3, "limit": 10})
    assert [item["Name"] for item in page["Items"]] == ["3", "4"]
    assert page["TotalRecordCount"] == 5
    assert [folder["Type"] for folder in other.items(params={"ids": ""})["Items"]] == ["CollectionFolder"]


def test_images_are_base64(server: StandInJellyfin, other: Any) -> None:
    """An image is uploaded in base64 under its own type, and returned as it was."""
    item_id = server.add("/media/movies/one.mkv")
    picture = {"data": base64.b64encode(JPEG).decode(), "headers": {"Content-type": "image/jpeg"}}
    other.items(f"/{item_id}/Images/Primary", action="POST", **picture)
    assert server.images[item_id] == JPEG
    (item,) = other.get_items([item_id])["Items"]
    assert item["ImageTags"]["Primary"]
    place = f"{server.url}/Items/{item_id}/Images/Primary"
    assert requests.get(place, headers=AUTHORIZED, timeout=5).content == JPEG
    raw = requests.post(place, JPEG, headers={**AUTHORIZED, "Content-Type": "image/jpeg"}, timeout=5)
    assert raw.status_code == 500


def test_authentication(server: StandInJellyfin, other: Any) -> None:
    """Version 12 rejects the old headers, a wrong or missing key is a 401, public information needs no key."""
    (library,) = other.virtual_folders()
    assert (library["Name"], library["Locations"]) == ("Movies", ["/media/movies"])

    def status(**headers: str) -> int:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return requests.get(f"{server.url}/System/Info", headers=named, timeout=5).status_code

    assert status() == status(Authorization='MediaBrowser Token="wrong"') == 401
    assert status(X_Emby_Token=KEY) == status(X_MediaBrowser_Token=KEY) == 200
    server.version = "12.0.0"
    assert status(X_Emby_Token=KEY) == status(X_MediaBrowser_Token=KEY) == 401
    assert status(Authorization=f'MediaBrowser Token="{KEY}"') == 200
    assert requests.get(f"{server.url}/System/Info/Public", timeout=5).json()["Version"] == "12.0.0"
