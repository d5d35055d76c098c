"""The stand-in for Jellyfin: what becomes of files, notices, .nfo files, artwork, people and collections.

The recordings (test_recordings.py) show much of it; this is what they don't. No client of ours is involved.
"""

from __future__ import annotations

import base64
from typing import Any

import pytest
import requests

from tests.standin.jellyfin import KEY, LibraryOptions, StandInJellyfin
from tests.support.jellyfin import JPEG, PNG

pytestmark = pytest.mark.timeout(60)

VERSIONS = ["10.10.7", "10.11.11", "12.0.0"]
FIELDS = "Path,ParentId,MediaSourceCount,Settings,People,Tags,Overview,DateCreated"


def ask(server: StandInJellyfin, route: str, **values: Any) -> Any:
    """The JSON of an answer, None if there is none."""
    method, path = route.split(" ", 1)
    headers = {"Authorization": f'MediaBrowser Token="{KEY}"', **values.pop("headers", {})}
    answer = requests.request(method, f"{server.url}{path}", headers=headers, timeout=5, **values)
    answer.raise_for_status()
    return answer.json() if answer.content else None


def listed(server: StandInJellyfin) -> list[dict[str, Any]]:
    """All items, in the order of their paths."""
    query = "recursive=true&includeItemTypes=Movie,Video&collapseBoxSetItems=false"
    items = ask(server, f"GET /Items?{query}&fields={FIELDS}")["Items"]
    return sorted(items, key=lambda item: (item["Path"], item.get("ExtraType", "")))


def update(server: StandInJellyfin, item_id: str, **values: Any) -> None:
    """Updates an item."""
    lists: dict[str, Any] = {"Tags": [], "Genres": [], "ProviderIds": {}}
    ask(server, f"POST /Items/{item_id}", json={"Name": "New", **lists, **values})


def send_image(server: StandInJellyfin, item_id: str, image: bytes = JPEG) -> None:
    """Uploads a primary image."""
    kind = {"Content-Type": "image/jpeg"}
    ask(server, f"POST /Items/{item_id}/Images/Primary", data=base64.b64encode(image), headers=kind)


def notify(server: StandInJellyfin, path: str) -> None:
    """Sends a notice."""
    updates = [{"Path": path, "UpdateType": "Created"}]
    ask(server, "POST /Library/Media/Updated", json={"Updates": updates})


@pytest.mark.parametrize("name", ["x scene", "x.scene", "x_clip", "resample", "trailer1", "z part1"])
def test_names_that_are_items(server: StandInJellyfin, name: str) -> None:
    """A file that is alone in its folder takes the folder's name, others their own."""
    server.put(f"/media/movies/{name}.mp4", f"/media/movies/Folder/{name}.mp4")
    server.scan()
    assert [item["Name"] for item in listed(server)] == ["Folder", name]


@pytest.mark.parametrize("collection", ["movies", "homevideos", None])
@pytest.mark.parametrize(
    "name", ["a-scene", "a-Clip", "a-short", "a-other", "a-trailer", "a.sample", "sample", ".a"]
)
def test_names_that_are_never_items(server: StandInJellyfin, collection: str | None, name: str) -> None:
    """Some names are no items, in any type of library."""
    server.options["Movies"] = LibraryOptions(collection)
    server.put(f"/media/movies/{name}.mp4", f"/media/movies/F/{name}.mp4", "/media/movies/@eaDir/a.mp4")
    server.scan()
    assert listed(server) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_a_trailer_after_a_space(server: StandInJellyfin, version: str) -> None:
    """From 10.11 on, "x trailer" is an item."""
    server.version = version
    server.put("/media/movies/x trailer.mp4")
    server.scan()
    assert len(listed(server)) == (0 if version.startswith("10.10") else 1)


@pytest.mark.parametrize("version", VERSIONS)
def test_extras_folders(server: StandInJellyfin, version: str) -> None:
    """Directly below a library two items have the path from 10.11 on; below another folder there is none."""
    server.version = version
    server.put("/media/movies/clips/a.mp4", "/media/movies/Performer/clips/b.mp4")
    server.scan()
    found = [(item["Path"], item.get("ExtraType"), "ParentId" in item) for item in listed(server)]
    path = "/media/movies/clips/a.mp4"
    assert found == ([] if version.startswith("10.10") else [(path, None, True), (path, "Clip", False)])


def test_a_file_with_another_name_prevents_versions(server: StandInJellyfin) -> None:
    """Files are grouped only if all names begin with the folder's, and a later scan groups or parts them."""
    server.put("/media/movies/Anna/Anna - a.mp4", "/media/movies/Anna/Anna - b.mp4")
    server.scan()
    assert [item.get("MediaSourceCount") for item in listed(server)] == [2, None]
    assert ["ParentId" in item for item in listed(server)] == [True, False]
    server.put("/media/movies/Anna/other.mp4")
    server.scan("/media/movies/Anna")
    assert [item.get("MediaSourceCount") for item in listed(server)] == [None] * 3
    assert all("ParentId" in item for item in listed(server))
    server.remove("/media/movies/Anna/other.mp4")
    server.scan()
    assert [item.get("MediaSourceCount") for item in listed(server)] == [2, None]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_primarys_update_changes_its_versions(server: StandInJellyfin, version: str) -> None:
    """An update of the primary overwrites overview and ids of the other version, and leaves its name and tags."""
    server.version = version
    server.put("/media/movies/Anna/Anna - a.mp4", "/media/movies/Anna/Anna - b.mp4")
    server.scan()
    first, other = sorted(server.items.values(), key=lambda item: str(item["Path"]))
    update(server, other["Id"], Name="B", Overview="about b", ProviderIds={"Stash": "2"}, Tags=["b"])
    update(server, first["Id"], Name="A", Overview="about a", ProviderIds={"Stash": "1"})
    assert (other["Overview"], other["ProviderIds"]) == ("about a", {"Stash": "1"})
    assert (other["Name"], other["Tags"]) == ("B", ["b"])
    asked = ask(server, f"GET /Items?ids={other['Id']}")["Items"]
    assert len(asked) == (0 if version.startswith("12") else 1)


def test_a_notice_starts_the_time_anew(server: StandInJellyfin) -> None:
    """A folder is scanned 60 s after the last notice for it; notices for another folder don't matter."""
    now = [0.0]
    server.clock = lambda: now[0]
    server.put("/media/movies/a/one.mp4", "/media/movies/a/two.mp4", "/media/movies/b/three.mp4")
    for seconds in (0.0, 20.0, 40.0):
        now[0] = seconds
        notify(server, "/media/movies/a/one.mp4" if seconds else "/media/movies/a/two.mp4")
        if not seconds:
            notify(server, "/media/movies/b/three.mp4")
    now[0] = 61.0
    assert [item["Name"] for item in listed(server)] == ["b"]
    now[0] = 99.0
    assert len(listed(server)) == 1
    now[0] = 100.0
    assert [item["Name"] for item in listed(server)] == ["one", "two", "b"]
    assert server.scans == ["/media/movies/b/three.mp4", "/media/movies/a"]


def test_the_nfo_saver(server: StandInJellyfin) -> None:
    """With the saver on an update rewrites the .nfo: another tool's cast is gone, unknown elements stay."""
    server.put("/media/movies/one.mp4")
    server.scan()
    path = "/media/movies/one.nfo"
    theirs = "<movie><!-- theirs --><title>T</title><actor><name>X</name></actor><theirs>1</theirs></movie>"
    server.nfo[path] = theirs
    (item_id,) = server.items
    update(server, item_id)
    assert server.nfo[path] == theirs
    server.options["Movies"] = LibraryOptions(metadata_savers=["Nfo"])
    update(server, item_id, Overview="about it")
    assert server.nfo[path] == (
        "<movie><title>New</title><plot>about it</plot><lockdata>false</lockdata><theirs>1</theirs></movie>"
    )


def test_a_full_refresh_restores_dates(server: StandInJellyfin) -> None:
    """A full refresh takes the date from the .nfo, since dates have no lock; the locked title stays."""
    server.nfo["/media/movies/one.nfo"] = "<movie><title>T</title><premiered>2001-02-03</premiered></movie>"
    server.put("/media/movies/one.mp4")
    server.scan()
    (item_id,) = server.items
    assert server.items[item_id]["Name"] == "T"
    update(server, item_id, PremiereDate="2020-01-01T00:00:00Z", LockedFields=["Name"])
    ask(server, f"POST /Items/{item_id}/Refresh?metadataRefreshMode=FullRefresh&replaceAllMetadata=true")
    item = server.items[item_id]
    assert (item["Name"], item["PremiereDate"][:10], item["ProductionYear"]) == ("New", "2001-02-03", 2001)


@pytest.mark.parametrize("beside", [True, False])
def test_artwork_beside_the_media(server: StandInJellyfin, beside: bool) -> None:
    """With artwork beside the media an image replaces the owner's folder.jpg, without it nothing there changes."""
    server.options["Movies"] = LibraryOptions(save_local_metadata=beside)
    server.put("/media/movies/One/one.mp4")
    server.artwork["/media/movies/One/folder.jpg"] = PNG
    server.scan()
    (item_id,) = server.items
    send_image(server, item_id)
    assert server.artwork == {"/media/movies/One/folder.jpg": JPEG if beside else PNG}
    (image,) = ask(server, f"GET /Items/{item_id}/Images")
    assert image["Path"].startswith("/media/") is beside
    (library,) = ask(server, "GET /Library/VirtualFolders")
    assert library["LibraryOptions"]["SaveLocalMetadata"] is beside


def test_people_that_are_not_shown(server: StandInJellyfin) -> None:
    """A renamed person, and a name that makes the same folder name, aren't shown; sent back, they are gone."""
    names = ["Ann", "A/B", "A:B"]
    item_id = server.add("/media/movies/one.mp4", People=[{"Name": n, "Role": "", "Type": "Actor"} for n in names])
    server.rename_person("Ann", "Anne")
    (item,) = listed(server)
    assert [one["Name"] for one in item["People"]] == ["A/B"]
    appearing = ask(server, f"GET /Persons?appearsInItemId={item_id}")["Items"]
    assert [one["Name"] for one in appearing] == ["Anne", "A/B", "A/B"]
    update(server, item_id)
    assert server.people(item_id, "Actor") == names
    update(server, item_id, People=item["People"])
    assert server.people(item_id, "Actor") == ["A/B"]


def test_a_persons_image(server: StandInJellyfin) -> None:
    """A person is found by name, and takes an image."""
    server.add("/media/movies/one.mp4", People=[{"Name": "Ann Actor", "Role": "", "Type": "Actor"}])
    (person,) = ask(server, "GET /Persons?searchTerm=ann")["Items"]
    assert person["ImageTags"] == {}
    send_image(server, person["Id"])
    assert ask(server, "GET /Persons/Ann%20Actor")["ImageTags"]["Primary"]
    (item,) = listed(server)
    assert item["People"][0]["PrimaryImageTag"]


def test_collections(server: StandInJellyfin) -> None:
    """A collection lists its items to a user, not to a bare key; one that is made again loses what was in it."""
    one, two = server.add("/media/movies/one.mp4"), server.add("/media/movies/two.mp4")
    box = ask(server, f"POST /Collections?name=Group&ids={one}")["Id"]
    for _ in range(2):
        ask(server, f"POST /Collections/{box}/Items?ids={two}")

    def inside() -> list[str]:
        user = ask(server, "GET /Users")[0]["Id"]
        return [item["Id"] for item in ask(server, f"GET /Items?userId={user}&parentId={box}")["Items"]]

    assert inside() == [one, two]
    assert ask(server, f"GET /Items?parentId={box}")["Items"] == []
    ask(server, f"DELETE /Collections/{box}/Items?ids={one}")
    assert inside() == [two]
    assert ask(server, f"POST /Collections?name=Group&ids={one}")["Id"] == box
    assert inside() == [one]


def test_ids_and_paths_by_the_servers_settings(server: StandInJellyfin) -> None:
    """Ids come from the real path, in lower case if the server is set so; answers show the network path."""
    server.substitutions = {"/media": "//nas/media"}
    server.put("/media/movies/One.mp4")
    server.scan()
    (item,) = listed(server)
    assert item["Path"] == "//nas/media/movies/One.mp4"
    lower = StandInJellyfin(lower_ids=True)
    lower.put("/media/movies/One.mp4")
    lower.scan()
    assert list(lower.items) == [StandInJellyfin().add("/media/movies/one.mp4")] != [item["Id"]]


def test_public_information_while_starting(server: StandInJellyfin) -> None:
    """Version 12 answers 200 with nothing to a request for public information while it starts."""
    server.starting = True
    assert requests.get(f"{server.url}/System/Info/Public", timeout=5).status_code == 503
    server.version = "12.0.0"
    answer = requests.get(f"{server.url}/System/Info/Public", timeout=5)
    assert (answer.status_code, answer.content) == (200, b"")
