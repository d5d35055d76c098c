"""The stand-in answers what real servers answered: every recorded request, in its order, for each version.

The recordings in tests/samples/jellyfin are as they were made. The stand-in starts with the same files and
libraries; what happened between the requests is a step here.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pytest
import requests

from tests import ROOT
from tests.standin.jellyfin import KEY, LibraryOptions, StandInJellyfin

pytestmark = pytest.mark.timeout(60)

RECORDINGS = sorted((ROOT / "tests" / "samples" / "jellyfin").glob("*.json"))
# SHA-256 of the recordings as they were made.
MADE = {
    "10.10.7": "9af4ab0693061b88531e952bda2dea3f3cdf6d1d704089aaa1e0231427ef85c5",
    "10.11.11": "444e27440190b3185777fadeeea1c7b41a43bc37fad5feab008fc5634b007963",
    "12.0-rc5": "fa0f1b8069d6e08770e8e9093b0bce2a6f1d36f9c989197eade75d287047ba62",
}
JPEG = b"\xff\xd8\xff\xe0".ljust(7531, b"x")  # as long as the recorded one
LOGINS = {
    "": {"Authorization": f'MediaBrowser Token="{KEY}"'},
    "user": {"Authorization": f'MediaBrowser Token="{KEY}"'},
    "wrong": {"Authorization": 'MediaBrowser Token="wrong"'},
    "none": {},
}
# Before each of these the recorder set the item back to what it was: its first update, with another overview.
RESET_BEFORE = {
    "an update without Genres",
    "an update without ProviderIds",
    "an update without LockedFields",
    "an update without LockData",
    "an update without Name",
    "a user's view of an item: played, position, favourite, rating",
}
# What our client reads, or may come to read. A null is the same as nothing.
FIELDS = (
    *("Id", "Name", "Type", "Path", "ParentId", "ExtraType", "MediaSourceCount", "PartCount"),
    *("Tags", "Genres", "Taglines", "ProductionLocations", "ProviderIds", "LockedFields", "LockData"),
    *("Overview", "OriginalTitle", "CustomRating", "OfficialRating", "CommunityRating"),
    *("PremiereDate", "ProductionYear", "ForcedSortName", "PreferredMetadataLanguage"),
)
NFO = """<?xml version="1.0"?>
<movie>
  <title>From NFO</title><plot>NFO plot</plot><mpaa>XXX</mpaa><premiered>2001-02-03</premiered>
  <tagline>The tagline</tagline><genre>Drama</genre><country>France</country><tag>nfotag</tag>
  <studio>NFO Studio</studio><director>Nina Director</director><credits>Walt Writer</credits>
  <actor><name>Cast One</name><role>Hero</role></actor>
  <actor><name>Cast Two</name><role>Villain</role><type>GuestStar</type></actor>
  <actor><name>Cast One</name><role>Twin</role></actor>
</movie>
"""


def set_up(server: StandInJellyfin) -> None:
    """The libraries and files of the recorded servers."""
    server.libraries = {
        "Movies": ["/media/movies"],
        "Mixed": ["/media/mixed"],
        "Home": ["/media/home videos"],
    }
    server.options = {"Mixed": LibraryOptions(None), "Home": LibraryOptions("homevideos")}
    movies = (
        "First Film (2010)/First Film (2010)",
        "plain scene",
        "Performer One/Performer One - Beach",
        "Performer One/Performer One - City",
        "Long/Long part1",
        "Long/Long part2",
        "scenes/on its own",
        "beach-scene",
        "with cast",
        "İstanbul ΣΑΣ é 100% & #1+2",
    )
    server.put(*(f"/media/movies/{name}.mp4" for name in movies))
    for name in ("Performer One/Performer One - Beach", "Performer One/Performer One - City", "summer"):
        server.put(f"/media/home videos/{name}.mp4")
    server.put("/media/mixed/scene 1.mp4")
    server.nfo["/media/movies/with cast.nfo"] = NFO
    server.scan()


class Replay:
    """Sends recorded requests to a stand-in."""

    def __init__(self, server: StandInJellyfin, rows: list[dict[str, Any]]) -> None:
        self.server = server
        self.first_update = next(row["request"] for row in rows if row["what"] == "an update")
        newer = server.number >= (10, 11)
        self.phases = ["setup", "loading", "ready"] if newer else ["loading", "ready"]
        self.read: dict[str, dict[str, Any]] = {}  # items by id, as they were last read

    def send(self, what: str, request: Mapping[str, Any]) -> requests.Response:
        """Takes the steps that came before a request, and sends it."""
        if what.startswith("while the server starts"):
            phase = self.phases.pop(0)
            self.server.starting = phase != "ready"
            self.server.retry_after = "005" if phase == "setup" else None
        if what in RESET_BEFORE:
            self._send({**self.first_update, "body": {**self.first_update["body"], "Overview": "reset"}})
        answer = self._send(request)
        if answer.headers.get("Content-Type", "").startswith("application/json") and "ids=" in request["path"]:
            self.read.update({item["Id"]: item for item in answer.json().get("Items", ())})
        return answer

    def _send(self, request: Mapping[str, Any]) -> requests.Response:
        headers = dict(LOGINS[request.get("login", "")])
        if kind := request.get("content_type"):
            headers["Content-Type"] = kind
        url = f"{self.server.url}{request['path']}"
        body = self._body(request["path"], request.get("body"))
        return requests.request(request["method"], url, data=body, headers=headers, timeout=5)

    def _body(self, path: str, body: object) -> bytes:
        """A recorded body. Pictures are recorded as their length, long items with "..." for what they had."""
        if isinstance(body, str):
            pictures = [JPEG, base64.b64encode(JPEG)]
            return next((one for one in pictures if body == f"{len(one)} bytes"), body.encode())
        if not isinstance(body, dict):
            return b""
        sent = dict(body)
        if sent.pop("...", None):
            sent = {**self.read.get(path.removeprefix("/Items/"), {}), **sent}
        return json.dumps(sent).encode()


def content(answer: Any) -> Any:
    """The parts of an answer's JSON that are compared."""
    if isinstance(answer, list):
        return [content(one) for one in answer]
    if not isinstance(answer, dict):
        return answer
    if "Items" in answer:
        items = {one["Id"]: item(one) for one in answer["Items"]}
        return {"Items": items, "TotalRecordCount": answer["TotalRecordCount"]}
    if "Version" in answer:
        return {key: answer.get(key) for key in ("Version", "ProductName")}
    if "Locations" in answer:
        options = answer["LibraryOptions"]
        read = {key: options.get(key) for key in ("MetadataSavers", "SaveLocalMetadata", "PathInfos")}
        return {"options": read, **{key: answer.get(key) for key in ("Name", "Locations", "CollectionType")}}
    if "ImageType" in answer:
        return {key: answer[key] for key in ("ImageType", "Path")}
    if "PlaySessionId" in answer:
        return sources(answer)
    if "status" in answer:  # a problem
        return {key: answer[key] for key in ("status", "title")}
    return item(answer)


def item(one: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of an item that are compared."""
    if one.get("Type") == "BoxSet":
        return {key: one[key] for key in ("Id", "Name", "Type", "IsFolder")}
    found = {key: one[key] for key in FIELDS if one.get(key) is not None}
    if "People" in one:
        found["People"] = [
            {**{key: p.get(key) for key in ("Name", "Id", "Role", "Type")}, "image": "PrimaryImageTag" in p}
            for p in one["People"]
        ]
        found["Studios"] = [(s["Name"], s["Id"]) for s in one["Studios"]]
    if "ImageTags" in one:
        found["ImageTags"] = sorted(one["ImageTags"])
    if "MediaSources" in one:
        found["MediaSources"] = sources(one)
    return {**found, "DateCreated": "DateCreated" in one}


def sources(one: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The media sources of an answer."""
    return [(s["Id"], s["Path"], s["Name"]) for s in one["MediaSources"]]


def compare_database(server: StandInJellyfin, rows: list[dict[str, str]]) -> None:
    """What the server's database held."""
    for row in rows:
        (found,) = [one for one in server.items.values() if one["Path"] == row["path"]]
        assert (found["Name"], found["Overview"]) == (row["name"], row["overview"])
        assert found["PremiereDate"][:10] == row["premiere"][:10]
        assert "|".join(found["Tags"]) == (row["tags"] or "")
        assert "|".join(f"{key}={value}" for key, value in found["ProviderIds"].items()) == row["provider_ids"]


def test_the_recordings_are_as_they_were_made() -> None:
    """Whoever changes one to suit the stand-in is told so."""
    found = {file.stem.removeprefix("jellyfin-"): hashlib.sha256(file.read_bytes()) for file in RECORDINGS}
    assert {version: digest.hexdigest() for version, digest in found.items()} == MADE


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda path: path.stem)
def test_a_recording_is_answered_alike(server: StandInJellyfin, recording: Any) -> None:
    """Every recorded request gets the recorded status, and the recorded values of the fields that we read."""
    rows = json.loads(recording.read_text())
    server.version = next(row["answer"]["json"]["Version"] for row in rows if row["what"].startswith("who"))
    server.user = next(
        row["request"]["path"].split("/")[2] for row in rows if "/Users/" in str(row.get("request"))
    )
    set_up(server)
    replay = Replay(server, rows)
    for row in rows:
        if "database" in row:
            compare_database(server, row["database"])
            continue
        recorded, answer = row["answer"], replay.send(row["what"], row["request"])
        assert answer.status_code == recorded["status"], row["what"]
        if "json" in recorded:
            assert content(answer.json()) == content(recorded["json"]), row["what"]
        if "retry_after" in recorded:
            assert answer.headers.get("Retry-After") == recorded["retry_after"]
        if recorded.get("same_bytes"):
            assert answer.content == JPEG
    assert sum(server.counts.values()) == sum("request" in row for row in rows) + len(RESET_BEFORE)
