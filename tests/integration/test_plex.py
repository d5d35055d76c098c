"""Edits reach Plex: over real sockets, against a stand-in that plexapi drives as well.

Nothing here was run against a real Plex Media Server.
"""

from __future__ import annotations

import json
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from plexapi.exceptions import BadRequest, Unauthorized
from plexapi.server import PlexServer

from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.jobs import Delivery, Scene, SceneFile
from stash_courier.worker.delivery.breaker import Health
from stash_courier.worker.delivery.pool import Job, Outcome, open_pool
from stash_courier.worker.destinations.plex.destination import Plex, configure
from stash_courier.worker.http.client import Client
from stash_courier.worker.settings import parse
from stash_courier.worker.stash.client import Stash
from stash_courier.worker.stash.covers import Cover, covers_of, no_cover
from tests.standin.plex import TOKEN, Library
from tests.standin.plex import Plex as Server
from tests.standin.receivers import RawReceiver, Received, Receiver, Reply, say
from tests.support.media_samples import delivery, named, scene

pytestmark = pytest.mark.timeout(60)

JPEG = b"\xff\xd8\xff\xe0 a picture"
SCENE = scene(
    "/data/a/one.mkv",
    title="A day",
    details="What happens:\nnot much.",
    director="Dana",
    performers=["Anna", "Zoë", "Bo, Jr.", "Cy"],
    tags=["outside", "rain & wind", "50%"],
)
UPDATE = delivery("plex", SCENE)
DESTROY = delivery("plex", event="destroy", changed=(), path="/data/a/one.mkv")
PATH = "/media/a/one.mkv"


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    """Every thread that a test started has ended when it ends."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive(), thread


@pytest.fixture
def films() -> Library:
    return Library("3", "Films", ("/media",))


@pytest.fixture
def server(films: Library) -> Iterator[Server]:
    """Plex with a library of films and one of shows."""
    with Server(films, Library("4", "Shows", ("/tv",), "show")) as running:
        yield running


Make = Callable[..., Plex]


@pytest.fixture
def plex(server: Server) -> Iterator[Make]:
    """Makes destinations for the server, with path_map /data => /media and any settings."""
    made: list[Plex] = []

    def make(
        *, url: str | None = None, cover: Cover = no_cover, clock: Callable[[], float] | None = None, **raw: object
    ) -> Plex:
        settings, _ = parse({"path_map": "/data => /media", "delivery_timeout_seconds": 5, **raw})
        ((one,), problems) = configure(
            {"plex_url": url or server.url, "plex_token": TOKEN, **raw}, settings, cover
        )
        assert problems == []
        if clock is not None:
            one._clock = one._libraries._known._clock = one._finder._clock = clock
        made.append(one)
        return one

    yield make
    for one in made:
        one.close()


def failure(destination: Plex, of: Scene | None = SCENE, job: Delivery = UPDATE) -> DeliveryFailed:
    """How a delivery fails."""
    with pytest.raises(DeliveryFailed) as caught:
        destination.deliver(job, of)
    assert TOKEN not in str(caught.value) + caught.value.answer
    return caught.value


def sent(request: Received) -> dict[str, str]:
    """The parameters of a request."""
    return {k: v[-1] for k, v in parse_qs(urlsplit(request.path).query, keep_blank_values=True).items()}


# The stand-in


def test_the_stand_in_is_a_plex_for_plexapi(server: Server, films: Library) -> None:
    """A client that we didn't write connects, finds, edits, adds and removes tags, rates and scans there."""
    item = server.add(films, PATH)
    item.tags["genre"] = ["Drama", "a, b", "c/d é%"]
    client = PlexServer(server.url, TOKEN)
    assert (client.friendlyName, client.version) == (server.name, server.version)
    assert [s.title for s in client.library.sections()] == ["Films", "Shows"]
    section = client.library.section("Films")
    assert section.locations == ["/media"]
    (movie,) = client.fetchItems("/library/sections/3/all?type=1&file=ONE")
    assert movie.locations == [PATH]
    assert [g.tag for g in movie.genres] == ["Drama", "a, b"]  # cut, as listings are
    movie.reload()
    assert len(movie.genres) == 3
    movie.editTitle('New & "é"').addGenre("More").removeGenre(["a, b", "c/d é%"]).editUserRating(7.5).reload()
    assert movie.title == 'New & "é"'
    assert [g.tag for g in movie.genres] == ["Drama", "More"]
    assert movie.userRating == 7.5
    assert movie.isLocked("genre")
    section.update("/media/a")
    assert server.scans == [("3", "/media/a")]
    other = server.add(films, "/media/two.mkv")
    assert [m.ratingKey for m in client.fetchItems([item.key, other.key])] == [item.key, other.key]
    client._session.close()


def test_the_stand_in_refuses_as_plex_does(server: Server, films: Library) -> None:
    """A wrong token is a 401, a filter without type a 500, both as pages of HTML."""
    with pytest.raises(Unauthorized, match="<h1>401"):
        PlexServer(server.url, "wrong")
    client = PlexServer(server.url, TOKEN)
    with pytest.raises(BadRequest, match="500"):
        client.fetchItems("/library/sections/3/all?file=one")
    client._session.close()


def test_the_stand_in_notices_a_token_in_a_url() -> None:
    """A token in a URL fails any test that uses the stand-in."""
    running = Server()
    running.__enter__()
    client = Client(timeout=5)
    client.request("GET", f"{running.url}/identity?X-Plex-Token={TOKEN}")
    client.close()
    with pytest.raises(AssertionError, match="token was in a URL"):
        running.__exit__(None, None, None)


# An edit shows


@pytest.mark.parametrize("replaces", [False, True])
def test_an_edit_shows_in_plex(server: Server, films: Library, plex: Make, replaces: bool) -> None:
    """All fields of a scene reach its item with one edit, locked, whichever way the server takes lists."""
    server.replaces_tags = replaces
    item = server.add(films, PATH)
    item.tags = {"genre": ["old", "outside", "older"], "actor": ["Anna"], "collection": ["Hand"]}
    server.add(films, "/media/a/one.mkv.bak.mkv")
    plex().deliver(UPDATE, SCENE)
    assert item.values == {
        "title": "A day",
        "summary": "What happens:\nnot much.",
        "studio": "Studio",
        "originallyAvailableAt": "2024-05-06",
    }
    assert item.tags == {
        "genre": ["outside", "rain & wind", "50%"],
        "actor": ["Anna", "Zoë", "Bo, Jr.", "Cy"],
        "director": ["Dana"],
        "collection": ["Hand", "Group"],
    }
    fields = {"title", "summary", "studio", "originallyAvailableAt", "genre", "actor", "director", "collection"}
    assert item.locked == fields
    assert films.items[1].values == {"title": "one.mkv.bak"}
    assert [sent(edit)["id"] for edit in server.edits] == [str(item.key)]


def test_one_lookup_one_edit(server: Server, films: Library, plex: Make) -> None:
    """A scene costs one lookup, one read where its lists may be cut, and one edit where something differs."""
    item = server.add(films, PATH)
    destination = plex()
    destination.deliver(UPDATE, SCENE)
    assert (len(server.lookups), len(server.reads), len(server.edits)) == (1, 0, 1)
    for _ in range(3):
        destination.deliver(UPDATE, SCENE)
    assert (len(server.lookups), len(server.reads), len(server.edits)) == (4, 3, 1)
    assert len(server.requests("GET", "/library/sections")) == 1
    item.values["title"] = "changed there"
    destination.deliver(UPDATE, SCENE)
    assert {k: v for k, v in sent(server.edits[1]).items() if k not in {"type", "id"}} == {
        "title.value": "A day",
        "title.locked": "1",
    }
    assert server.receiver.connections <= 2


def test_what_survives_an_update(server: Server, films: Library, plex: Make) -> None:
    """A field that isn't selected, a lock that isn't ours and a tag added by hand in add-only mode survive."""
    item = server.add(films, PATH, summary="by hand", titleSort="by hand", userRating="3.0")
    item.tags = {"genre": ["by hand", "too", "three"], "director": ["by hand"]}
    item.locked = {"titleSort", "summary", "rating"}
    plex(plex_skip_fields="details, director", plex_add_only=True).deliver(UPDATE, SCENE)
    assert item.values["title"] == "A day"
    assert (item.values["summary"], item.values["titleSort"], item.values["userRating"]) == (
        *["by hand"] * 2,
        "3.0",
    )
    assert item.tags["genre"] == ["by hand", "too", "three", "outside", "rain & wind", "50%"]
    assert item.tags["director"] == ["by hand"]
    assert item.locked >= {"titleSort", "summary", "rating"}
    assert "director" not in item.locked


@pytest.mark.parametrize("replaces", [False, True])
def test_tags_that_a_listing_cut_survive_in_add_only_mode(
    server: Server, films: Library, plex: Make, replaces: bool
) -> None:
    """An item's tags beyond those that a listing shows are neither lost nor sent for nothing."""
    server.replaces_tags = replaces
    item = server.add(films, PATH)
    item.tags["genre"] = [f"hand {n}" for n in range(6)]
    destination = plex(plex_add_only=True)
    destination.deliver(UPDATE, SCENE)
    assert item.tags["genre"] == [*(f"hand {n}" for n in range(6)), "outside", "rain & wind", "50%"]
    destination.deliver(UPDATE, SCENE)
    assert len(server.edits) == 1


def test_removals_are_repeated_where_only_one_is_honoured(server: Server, films: Library, plex: Make) -> None:
    """On a server that honours one removal a request all surplus tags go all the same, and no edit is in vain."""
    server.one_removal = True
    item = server.add(films, PATH)
    item.tags = {"genre": ["x", "y", "outside", "z"], "actor": ["Nobody"]}
    plex().deliver(UPDATE, SCENE)
    assert item.tags["genre"] == ["outside", "rain & wind", "50%"]
    assert "Nobody" not in item.tags["actor"]
    assert len(server.edits) == 3  # x and Nobody, y, z


def test_a_server_that_removes_nothing_is_told_of(server: Server, films: Library, plex: Make) -> None:
    """A server that takes an edit and removes nothing is neither asked for ever nor believed."""
    item = server.add(films, PATH)
    item.tags["genre"] = ["x", "y"]
    real = server.receiver.answer
    assert callable(real)

    def ignores_edits(request: Received) -> Reply:
        return Reply(200) if request.method == "PUT" else real(request)

    server.receiver.answer = ignores_edits
    failed = failure(plex())
    assert failed.failure is Failure.REFUSED
    assert "still has x, y" in failed.message
    assert len(server.edits) == 1


def test_empty_values_are_left_alone_unless_asked(server: Server, films: Library, plex: Make) -> None:
    """What is empty in Stash leaves Plex's value alone; with +empty it is emptied there; the title never."""
    item = server.add(films, PATH, summary="s", studio="t", originallyAvailableAt="2020-01-01", userRating="9.0")
    item.tags = {"genre": ["x", "y"], "actor": ["z"], "collection": ["Hand"], "director": ["d"]}
    bare = replace(
        SCENE,
        title="",
        details="",
        date="",
        studio=None,
        performers=(),
        tags=(),
        groups=(),
        director="",
        rating100=None,
    )
    plex().deliver(UPDATE, bare)
    assert server.edits == []
    plex(plex_skip_fields="+empty").deliver(UPDATE, bare)
    assert item.values == {
        "title": "one",
        "summary": "",
        "studio": "",
        "originallyAvailableAt": "",
        "userRating": "9.0",
    }
    assert item.tags == {"genre": [], "actor": [], "collection": ["Hand"], "director": []}


def test_the_rating_is_off_unless_asked_for(server: Server, films: Library, plex: Make) -> None:
    """The household's rating stays its own; with +rating the scene's is sent, of ten."""
    item = server.add(films, PATH)
    plex().deliver(UPDATE, SCENE)
    assert "userRating" not in item.values
    rated = plex(plex_skip_fields="+rating")
    rated.deliver(UPDATE, SCENE)
    rated.deliver(UPDATE, SCENE)
    assert item.values["userRating"] == "8"
    assert len(server.edits) == 2


def folded(name: str) -> str:
    """What makes two names the same: case, blanks and the way to compose a letter don't count."""
    return unicodedata.normalize("NFC", " ".join(name.split()).casefold())


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    title=NAMES,
    details=NAMES,
    before=st.lists(NAMES, max_size=5),
    after=st.lists(NAMES, max_size=5),
    replaces=st.booleans(),
    one_removal=st.booleans(),
)
def test_every_kind_of_character(
    *,
    server: Server,
    films: Library,
    plex: Make,
    title: str,
    details: str,
    before: list[str],
    after: list[str],
    replaces: bool,
    one_removal: bool,
) -> None:
    """Titles and names arrive as they are, whatever characters they hold, and a second try changes nothing."""
    server.replaces_tags, server.one_removal = replaces, one_removal
    films.items.clear()
    item = server.add(films, PATH)
    item.tags["genre"] = list(dict.fromkeys(" ".join(n.split()) for n in before if n.split()))
    one = replace(SCENE, title=title, details=details, tags=named(after))
    destination = plex(plex_skip_fields="+empty")
    destination.deliver(UPDATE, one)
    assert item.values["title"] == title or item.values["title"].strip() == title.strip()
    assert sorted(map(folded, item.tags["genre"])) == sorted({folded(n) for n in after if n.split()})
    edits = len(server.edits)
    destination.deliver(UPDATE, one)
    assert len(server.edits) == edits
    destination.close()


# Finding


@pytest.mark.parametrize(
    "name",
    [
        "one.mkv",
        "a, b & c; d.mkv",
        "100% #1? [x] 'é' \"ü\" +=&type=2.mkv",
        "日本語 🎬.mkv",
        "a\\b.mkv",
        "tab\tnew\nline.mkv",
        ",,.mkv",
    ],
)
def test_an_item_is_found_by_its_exact_path(server: Server, films: Library, plex: Make, name: str) -> None:
    """Of many items with like names the one with exactly the mapped path is edited, whatever its name holds."""
    for folder in ("/media", "/media/A", "/media/a/b", "/elsewhere/media/a"):
        server.add(films, f"{folder}/{name}")
    server.add(films, f"/media/a/x{name}")
    item = server.add(films, f"/media/a/{name}")
    plex().deliver(UPDATE, replace(SCENE, files=(SceneFile(f"/data/a/{name}", 1, 1.0, 1, 1),)))
    assert [i for i in films.items if i.values["title"] == "A day"] == [item]


def test_a_windows_server_is_served(plex: Make, films: Library, server: Server) -> None:
    """A Plex on Windows is found by its own kind of path, whatever the case in which it spells it."""
    films.locations = (r"D:\Media",)
    item = server.add(films, r"D:\Media\a\One.mkv")
    plex(path_map=r"/data => d:\media").deliver(UPDATE, SCENE)
    assert item.values["title"] == "A day"


def test_a_common_name_is_found_among_thousands(server: Server, films: Library, plex: Make) -> None:
    """A file called 1.mkv is found although hundreds of others hold that in their names: page by page."""
    for n in range(250):
        server.add(films, f"/media/a/{n}1.mkv")
    item = server.add(films, "/media/a/1.mkv")
    plex().deliver(UPDATE, replace(SCENE, files=(SceneFile("/data/a/1.mkv", 1, 1.0, 1, 1),)))
    assert item.values["title"] == "A day"
    assert len(server.lookups) == 2


def test_a_name_that_every_file_has_costs_two_lookups(server: Server, films: Library, plex: Make) -> None:
    """Where a thousand files have the same name, the second page holds all that the first one left."""
    for n in range(1000):
        server.add(films, f"/media/{n}/video.mp4")
    plex().deliver(UPDATE, replace(SCENE, files=(SceneFile("/data/999/video.mp4", 1, 1.0, 1, 1),)))
    assert films.items[999].values["title"] == "A day"
    assert len(server.lookups) == 2


def test_a_comma_in_a_name_does_not_list_the_library(server: Server, films: Library, plex: Make) -> None:
    """A comma parts alternatives in Plex's filters; a file with one in its name is still found with one lookup."""
    for n in range(150):
        server.add(films, f"/media/a/{n:03} by me.mkv")
    item = server.add(films, "/media/a/me, a film.mkv")
    plex().deliver(UPDATE, replace(SCENE, files=(SceneFile("/data/a/me, a film.mkv", 1, 1.0, 1, 1),)))
    assert item.values["title"] == "A day"
    assert len(server.lookups) == 1


def test_only_the_library_that_has_the_folder_is_asked(server: Server, films: Library, plex: Make) -> None:
    """With several libraries there is still one lookup a scene: in the one in whose folder the path is."""
    clips = Library("5", "Clips", ("/clips", "/media/a"))
    server.libraries.append(clips)
    films.locations = ("/media/other",)
    item = server.add(clips, PATH)
    plex().deliver(UPDATE, SCENE)
    assert item.values["title"] == "A day"
    assert [urlsplit(r.path).path for r in server.lookups] == ["/library/sections/5/all"]


def test_a_library_that_tells_no_folders_is_asked_too(server: Server, films: Library, plex: Make) -> None:
    """A token that isn't shown the libraries' folders still finds items."""
    films.locations = ()
    item = server.add(films, PATH)
    plex().deliver(UPDATE, SCENE)
    assert item.values["title"] == "A day"


def test_only_named_libraries_are_touched(server: Server, films: Library, plex: Make) -> None:
    """Items of a library that isn't named stay as they are, even with that path."""
    wide = Library("6", "Films, HD", ("/media",))
    server.libraries.append(wide)
    server.add(films, PATH)
    item = server.add(wide, PATH)
    plex(plex_libraries="films, hd").deliver(UPDATE, SCENE)
    assert item.values["title"] == "A day"
    assert films.items[0].values["title"] == "one"


@pytest.mark.parametrize("name", ["Filme", "Shows"])
def test_a_library_that_does_not_exist(server: Server, films: Library, plex: Make, name: str) -> None:
    """A name that no fitting library has pauses Plex, and the sentence lists those that there are."""
    server.add(films, PATH)
    destination = plex(plex_libraries=f"Films; {name}")
    failed = failure(destination)
    assert failed.failure is Failure.DESTINATION
    assert f'"{name}"' in failed.message
    assert "it has Films: correct plex_libraries" in failed.message
    server.libraries.append(Library("9", name, ("/x",)))
    destination.deliver(UPDATE, SCENE)  # the next probe sees it
    assert films.items[0].values["title"] == "A day"


def test_a_server_without_fitting_libraries(server: Server, plex: Make) -> None:
    """A Plex with shows and music only pauses, and says what it lacks."""
    del server.libraries[0]
    failed = failure(plex())
    assert failed.failure is Failure.DESTINATION
    assert "no library of movies or other videos" in failed.message


def test_two_items_with_that_path(server: Server, films: Library, plex: Make) -> None:
    """Of two items with the path neither is edited: a dead letter names both."""
    other = Library("7", "Copies", ("/media/a",))
    server.libraries.append(other)
    items = server.add(films, PATH), server.add(other, PATH)
    failed = failure(plex())
    assert failed.failure is Failure.ITEM_REFUSED
    for item, library in zip(items, ("Films", "Copies"), strict=True):
        assert f'"one" in {library} (id {item.key})' in failed.message
    assert server.edits == []


def test_a_scene_without_a_file(server: Server, plex: Make) -> None:
    """A scene without files is refused in a sentence, and Plex isn't asked."""
    failed = failure(plex(), replace(SCENE, files=()))
    assert failed.failure is Failure.ITEM_REFUSED
    assert "has no file" in failed.message
    assert server.requests() == []


def test_a_scene_with_several_files(server: Server, films: Library, plex: Make) -> None:
    """The primary file's item is meant; only where Plex doesn't know that, the next file's."""
    both = replace(SCENE, files=(*SCENE.files, SceneFile("/data/b/two.mkv", 1, 1.0, 1, 1)))
    second = server.add(films, "/media/b/two.mkv")
    plex().deliver(UPDATE, both)
    assert second.values["title"] == "A day"
    assert "found under /media/b/two.mkv" in plex().test(both).lines[2]
    first = server.add(films, PATH)
    second.values["title"] = "by hand"
    plex().deliver(UPDATE, both)
    assert (first.values["title"], second.values["title"]) == ("A day", "by hand")


def test_an_item_of_several_files(server: Server, films: Library, plex: Make) -> None:
    """An item that Plex made of several files is found by each of them."""
    item = server.add(films, "/media/a/0.mkv", PATH)
    plex().deliver(UPDATE, SCENE)
    assert item.values["title"] == "A day"


# Not there yet, and gone


def test_a_new_file_is_scanned_and_then_found(server: Server, films: Library, plex: Make) -> None:
    """An item that isn't there yet gets its folder scanned; the next attempt looks again and finds it."""
    destination = plex()
    failed = failure(destination)
    assert failed.failure is Failure.NOT_THERE_YET
    assert PATH in failed.message
    assert "/data/a/one.mkv" in failed.message
    assert "/data => /media" in failed.message
    assert "it was asked to look for it" in failed.message
    assert server.scans == [("3", "/media/a")]
    assert server.edits == []
    item = server.add(films, PATH)
    destination.deliver(UPDATE, SCENE)
    assert item.values["title"] == "A day"


def test_a_new_library_is_noticed_at_the_next_attempt(server: Server, films: Library, plex: Make) -> None:
    """That nothing was found is never told from memory: a library made meanwhile is looked into."""
    films.locations = ("/other",)
    now = [1000.0]
    destination = plex(clock=lambda: now[0])
    assert failure(destination).failure is Failure.NOT_THERE_YET
    films.locations = ("/other", "/media")
    item = server.add(films, PATH)
    now[0] += 24.0  # the shortest retry
    destination.deliver(UPDATE, SCENE)
    assert item.values["title"] == "A day"


def test_many_missing_scenes_ask_for_the_libraries_once(server: Server, plex: Make) -> None:
    """A batch of scenes that Plex doesn't know costs no request for the libraries each."""
    now = [1000.0]
    destination = plex(clock=lambda: now[0])
    for n in range(10):
        missing = replace(SCENE, files=(SceneFile(f"/data/a/{n}.mkv", 1, 1.0, 1, 1),))
        assert failure(destination, missing).failure is Failure.NOT_THERE_YET
    assert len(server.requests("GET", "/library/sections")) == 1
    now[0] += 24.0
    failure(destination)
    assert len(server.requests("GET", "/library/sections")) == 2


def test_the_libraries_are_asked_for_anew_now_and_then(server: Server, films: Library, plex: Make) -> None:
    """A library that is made while everything is found is looked into within minutes."""
    now = [1000.0]
    destination = plex(clock=lambda: now[0])
    server.add(films, PATH)
    destination.deliver(UPDATE, SCENE)
    server.libraries.append(Library("7", "Copies", ("/media/a",)))
    server.add(server.libraries[-1], PATH)
    now[0] += 299.0
    destination.deliver(UPDATE, SCENE)
    now[0] += 1.0
    assert failure(destination).failure is Failure.ITEM_REFUSED  # two items have the path now


def test_one_folder_is_not_scanned_over_and_over(server: Server, plex: Make) -> None:
    """Many new files of a folder get it scanned once, and again when the first of them comes back."""
    now = [1000.0]
    destination = plex(clock=lambda: now[0])
    for n in range(5):
        files = (SceneFile(f"/data/a/{n}.mkv", 1, 1.0, 1, 1),)
        assert failure(destination, replace(SCENE, files=files)).failure is Failure.NOT_THERE_YET
    assert len(server.scans) == 1
    now[0] += 24.0  # the shortest retry
    failure(destination)
    assert len(server.scans) == 2


def test_a_path_that_nothing_maps(server: Server, plex: Make) -> None:
    """A path outside all libraries' folders is said to be so, with their folders beside it; nothing is scanned."""
    failed = failure(plex(path_map="/nowhere => /media"))
    assert failed.failure is Failure.NOT_THERE_YET
    assert "no rule of path_map fits it" in failed.message
    assert "asked to look" not in failed.message
    assert "None of the libraries it is looked for in holds that folder: Films (/media)" in failed.message
    assert server.scans == []
    assert server.lookups == []


def test_a_destroyed_scene_only_has_its_folder_scanned(server: Server, films: Library, plex: Make) -> None:
    """A scene that is gone leads to a scan of its folder each time, and nothing in Plex is deleted or edited."""
    item = server.add(films, PATH)
    before = replace(item)
    destination = plex()
    destination.deliver(DESTROY, None)
    destination.deliver(DESTROY, None)
    assert server.scans == [("3", "/media/a")] * 2
    assert films.items == [before]
    assert {r.method for r in server.requests()} == {"GET"}


@pytest.mark.parametrize("path", ["", "/elsewhere/x.mkv"])
def test_a_destroyed_scene_that_plex_never_had(server: Server, plex: Make, path: str) -> None:
    """Where nothing is to be scanned, a destroyed scene is simply done."""
    plex().deliver(replace(DESTROY, path=path), None)
    assert server.scans == []


# Many at once


def run_lane(destination: Plex, jobs: list[tuple[Delivery, Scene | None]], threads: int = 4) -> list[Outcome]:
    """Delivers as the worker does: in batches of 50, in the lane's threads."""
    pool = open_pool(destination, Health(), threads)
    outcomes: list[Outcome] = []
    changed = threading.Condition()

    def finished(outcome: Outcome) -> None:
        with changed:
            outcomes.append(outcome)
            changed.notify()

    done = 0
    while done < len(jobs):
        if not pool.ready and not pool.running:
            pool.ready.extend(Job(*job) for job in jobs[done : done + 50])
        pool.start_ready(finished)
        with changed:
            while len(outcomes) == done:
                assert changed.wait(30)
            for outcome in outcomes[done:]:
                del pool.running[outcome.delivery.row_id]
            done = len(outcomes)
    pool.threads.shutdown()
    return outcomes


def crowd(server: Server, films: Library, count: int) -> list[tuple[Delivery, Scene | None]]:
    """Updates of scenes, of which every tenth differs from its item in Plex."""
    jobs: list[tuple[Delivery, Scene | None]] = []
    for n in range(count):
        files = (SceneFile(f"/data/a/scene-{n:05}.mkv", 1, 1.0, 1, 1),)
        one = replace(SCENE, id=n + 1, title=f"Scene {n}" if n % 10 == 0 else "", files=files)
        item = server.add(films, f"/media/a/scene-{n:05}.mkv")
        item.values |= {"summary": SCENE.details, "studio": "Studio", "originallyAvailableAt": "2024-05-06"}
        item.tags = {
            "genre": [t.name for t in SCENE.tags],
            "actor": [p.name for p in SCENE.performers],
            "director": ["Dana"],
            "collection": ["Group"],
        }
        jobs.append((replace(UPDATE, row_id=n + 1, scene_id=n + 1), one))
    return jobs


def test_a_backlog_costs_one_lookup_a_scene(server: Server, films: Library, plex: Make) -> None:
    """Of 200 waiting updates 90 % change nothing: one lookup each, shared reads, an edit for those that differ."""
    jobs = crowd(server, films, 200)
    outcomes = run_lane(plex(), jobs)
    assert [o.error for o in outcomes] == [None] * 200
    assert len(server.lookups) == 200
    assert len(server.reads) <= 200 / 40
    assert len(server.edits) == 20
    assert len(server.requests()) <= 200 + 200 / 40 + 20 + 1
    assert [i.values["title"] for i in films.items[::10]] == [f"Scene {n}" for n in range(0, 200, 10)]
    assert server.receiver.connections <= 4


def test_a_batch_keeps_every_outcome_apart(server: Server, films: Library, plex: Make) -> None:
    """In a batch the missing, the ambiguous and the file-less fail for themselves, their neighbours never."""
    jobs = crowd(server, films, 5)
    films.items[1].files = ("/media/moved.mkv",)
    server.add(films, "/media/a/scene-00002.mkv")
    jobs[3] = (jobs[3][0], replace(SCENE, id=4, files=()))
    jobs.append((replace(DESTROY, row_id=9), None))
    failures = {o.delivery.row_id: o.error and o.error.failure for o in run_lane(plex(), jobs)}
    assert failures == {
        1: None,
        2: Failure.NOT_THERE_YET,
        3: Failure.ITEM_REFUSED,
        4: Failure.ITEM_REFUSED,
        5: None,
        9: None,
    }
    # The file-less needs none, the ambiguous a second one.
    assert len(server.lookups) == 5


def test_a_lookup_in_advance_is_soon_forgotten(server: Server, films: Library, plex: Make) -> None:
    """What was looked up for a delivery that came late is looked up again: the item may have changed meanwhile."""
    now = [1000.0]
    destination = plex(clock=lambda: now[0])
    jobs = crowd(server, films, 2)
    destination.prepare(jobs)
    films.items[1].values["title"] = "by hand"
    now[0] += 10.0
    destination.deliver(*jobs[1])
    assert films.items[1].values["title"] == "scene-00001"
    assert len(server.lookups) == 3


def test_a_server_that_is_down_is_not_looked_up_for_each(server: Server, films: Library, plex: Make) -> None:
    """A lookup in advance of a server that is down gives up at once and is no failure by itself."""
    jobs = crowd(server, films, 50)
    destination = plex()
    destination.deliver(*jobs[0])
    before = len(server.requests())
    server.receiver.answer = Reply(503)
    destination.prepare(jobs)
    assert len(server.requests()) - before <= 4
    assert failure(destination, jobs[1][1], jobs[1][0]).failure is Failure.BUSY


# Answers


HTML = {"Content-Type": "text/html"}
LOGIN = b"<!DOCTYPE html><html><body><form action='/login'>Password</form></body></html>"


@pytest.mark.parametrize(
    ("reply", "expected", "said"),
    [
        (Reply(401, HTML, b"<html><h1>401 Unauthorized</h1></html>"), Failure.DESTINATION, "plex_token"),
        (Reply(403, HTML, b"<html><h1>403 Forbidden</h1></html>"), Failure.FORBIDDEN, "plex_token"),
        (Reply(404, HTML, b"<html>"), Failure.DESTINATION, "plex_url"),
        (Reply(302, {"Location": "http://sso/login?rd=x"}), Failure.DESTINATION, "redirects are not followed"),
        (Reply(200, HTML, LOGIN), Failure.DESTINATION, "login page"),
        (Reply(200, {}, b""), Failure.DESTINATION, "another program"),
        (Reply(200, {}, b"OK"), Failure.DESTINATION, "another program"),
        (Reply(200, {}, b'{"MediaContainer": {"Directory": [{"key"'), Failure.BUSY, "broke off"),
        (Reply(200, {}, b'{"Items": []}'), Failure.DESTINATION, "as Plex never does"),
        (Reply(200, {}, b"[1, 2]"), Failure.DESTINATION, "as Plex never does"),
        (Reply(200, {}, b'{"MediaContainer": []}'), Failure.DESTINATION, "as Plex never does"),
        (Reply(200, {}, b'{"MediaContainer": {"Directory": 5}}'), Failure.DESTINATION, "no library of movies"),
        (Reply(400, HTML, b"<html>"), Failure.ITEM_REFUSED, "400"),
        (Reply(500, HTML, b"<html>"), Failure.REFUSED, "500"),
        (Reply(502), Failure.BUSY, "502"),
        (Reply(503, HTML, b"<html>Maintenance"), Failure.BUSY, "starting"),
        (Reply(429, {"Retry-After": "120"}), Failure.BUSY, "120 s"),
    ],
)
def test_what_plex_answers(server: Server, plex: Make, reply: Reply, expected: Failure, said: str) -> None:
    """Each wrong answer has its class and a sentence with what to do, and shows no token."""
    server.receiver.answer = replace(reply, body=reply.body + (TOKEN.encode() if reply.status > 400 else b""))
    failed = failure(plex())
    assert failed.failure is expected
    assert said in failed.message
    assert failed.retry_after == (120.0 if reply.status == 429 else None)


def login_page(server: Server, part: str) -> None:
    """Has a proxy's login page answer, with 200, all requests with this in method and path."""
    real = server.receiver.answer
    assert callable(real)

    def answer(request: Received) -> Reply:
        return Reply(200, HTML, LOGIN) if part in f"{request.method} {request.path}" else real(request)

    server.receiver.answer = answer


def test_a_login_page_takes_no_edit(server: Server, films: Library, plex: Make) -> None:
    """An edit that a login page answered with 200 stops Plex, and is made when the page is gone."""
    item = server.add(films, PATH)
    real = server.receiver.answer
    login_page(server, "PUT ")
    destination = plex()
    failed = failure(destination)
    assert failed.failure is Failure.DESTINATION
    assert "login page" in failed.message
    server.receiver.answer = real
    destination.deliver(UPDATE, SCENE)
    assert item.values["title"] == "A day"


@pytest.mark.parametrize("job", [UPDATE, DESTROY])
def test_a_login_page_scans_nothing(server: Server, plex: Make, job: Delivery) -> None:
    """A scan that a login page answered, of a new file or of one that is gone, counts as not asked for."""
    login_page(server, "/refresh")
    failed = failure(plex(), SCENE if job is UPDATE else None, job)
    assert failed.failure is Failure.DESTINATION
    assert "login page" in failed.message


def test_a_login_page_takes_no_poster(server: Server, films: Library, plex: Make) -> None:
    """A poster that a login page answered is not taken for sent: the next attempt sends it."""
    item = server.add(films, PATH)
    real = server.receiver.answer
    login_page(server, "POST ")
    destination, _ = posters(plex, {SCENE.cover_url: JPEG})
    change = replace(UPDATE, changed=("cover_image",))
    assert failure(destination, SCENE, change).failure is Failure.DESTINATION
    server.receiver.answer = real
    destination.deliver(change, SCENE)
    assert item.posters == [JPEG]


@pytest.mark.parametrize("status", [401, 500, 503])
def test_an_edit_that_fails(server: Server, films: Library, plex: Make, status: int) -> None:
    """An edit that Plex doesn't take fails with the answer's class, and is made at the next attempt."""
    item = server.add(films, PATH)
    real = server.receiver.answer
    assert callable(real)

    def fails_edits(request: Received) -> Reply:
        return Reply(status, HTML, b"<html>") if request.method == "PUT" else real(request)

    server.receiver.answer = fails_edits
    destination = plex()
    expected = {401: Failure.DESTINATION, 500: Failure.REFUSED, 503: Failure.BUSY}
    assert failure(destination).failure is expected[status]
    server.receiver.answer = real
    destination.deliver(UPDATE, SCENE)
    assert item.values["title"] == "A day"


def test_a_listing_of_nonsense_finds_nothing(server: Server, plex: Make) -> None:
    """Rows that aren't what Plex sends are skipped, never taken for an item and never a bug."""
    rows: list[Any] = [
        5,
        None,
        {},
        {"ratingKey": "1", "Media": "x"},
        {"ratingKey": "2", "Media": [{"Part": [{"file": 7}, 3]}], "Genre": {"tag": "x"}},
    ]
    body = json.dumps({"MediaContainer": {"size": 5, "totalSize": 5, "Metadata": rows}}).encode()
    real = server.receiver.answer
    assert callable(real)

    def nonsense(request: Received) -> Reply:
        return Reply(200, {}, body) if "/all" in request.path else real(request)

    server.receiver.answer = nonsense
    assert failure(plex()).failure is Failure.NOT_THERE_YET


def test_a_library_that_is_removed_meanwhile(server: Server, films: Library, plex: Make) -> None:
    """A library that was remade under another id is found again at the next attempt, and nothing is buried."""
    item = server.add(films, PATH)
    destination = plex()
    destination.deliver(UPDATE, SCENE)
    films.key = "12"
    item.values["title"] = "old"
    failed = failure(destination)
    assert failed.failure is Failure.REFUSED
    assert "look again" in failed.message
    destination.deliver(UPDATE, SCENE)
    assert item.values["title"] == "A day"


def test_an_item_that_is_removed_meanwhile(server: Server, films: Library, plex: Make) -> None:
    """An item that vanishes between lookup and read is looked for again, not buried."""
    item = server.add(films, PATH)
    item.tags["genre"] = ["a", "b", "c"]
    real = server.receiver.answer
    assert callable(real)

    def vanishes(request: Received) -> Reply:
        if "/metadata/" in request.path:
            return Reply(200, {}, b'{"MediaContainer": {"size": 0}}')
        return real(request)

    server.receiver.answer = vanishes
    failed = failure(plex())
    assert failed.failure is Failure.REFUSED
    assert f"(id {item.key})" in failed.message


def test_a_server_that_is_not_there(server: Server, plex: Make) -> None:
    """A Plex that is down is an outage, in which nothing is buried, and works again when it is back."""
    destination = plex()
    server.receiver.down()
    assert failure(destination).failure is Failure.UNREACHABLE
    server.receiver.up()
    assert failure(destination).failure is Failure.NOT_THERE_YET


def test_something_that_is_not_http(plex: Make) -> None:
    """Another program on that port pauses Plex with advice."""
    with RawReceiver(say(b"SSH-2.0-OpenSSH_9.6\r\n")) as other:
        failed = failure(plex(url=other.url))
    assert failed.failure is Failure.DESTINATION


def test_below_a_path_of_a_reverse_proxy(plex: Make) -> None:
    """An address with a path is used as it is, with the login in it, and no page's path is added."""
    with Receiver(Reply(200, {}, b'{"MediaContainer": {"Directory": []}}')) as receiver:
        failure(plex(url=receiver.url.replace("http://", "http://me:pass-word@") + "plex/"))
        (request,) = receiver.received
    assert request.path == "/plex/library/sections"
    assert request.headers["x-plex-token"] == TOKEN
    assert request.headers["authorization"].startswith("Basic ")
    assert request.headers["accept"] == "application/json"


# Posters


def posters(plex: Make, images: Mapping[str, bytes], **raw: object) -> tuple[Plex, list[str]]:
    """A destination that sends covers, and which were fetched."""
    fetched: list[str] = []

    def cover(url: str) -> bytes:
        fetched.append(url)
        return images[url]

    return plex(cover=cover, plex_images=True, **raw), fetched


def test_covers_are_off_unless_asked_for(server: Server, films: Library, plex: Make) -> None:
    """Without plex_images no cover is fetched and no poster is sent."""
    item = server.add(films, PATH)
    plex().deliver(replace(UPDATE, event="create", changed=()), SCENE)
    assert item.posters == []


def test_a_cover_becomes_the_poster_when_it_changed(server: Server, films: Library, plex: Make) -> None:
    """A new scene's cover and a changed one become the poster; an edit of another field sends none."""
    item = server.add(films, PATH)
    images = {SCENE.cover_url: JPEG}
    destination, fetched = posters(plex, images)
    known = destination.deliver(replace(UPDATE, event="create", changed=()), SCENE)
    assert item.posters == [JPEG]
    assert destination.deliver(replace(UPDATE, changed=("title", "tags")), SCENE, known) == b""
    assert len(fetched) == 1
    assert destination.deliver(replace(UPDATE, changed=("cover_image",)), SCENE, known) == known
    assert item.posters == [JPEG]  # it is the same
    images[SCENE.cover_url] = JPEG + b" changed"
    assert destination.deliver(replace(UPDATE, changed=("cover_image",)), SCENE, known) != known
    assert item.posters == [JPEG, JPEG + b" changed"]


def test_a_poster_is_sent_once_whatever_restarts(
    server: Server, films: Library, plex: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither other settings nor a new worker send a poster that is there; an item that was made anew gets it."""
    item = server.add(films, PATH)
    change = replace(UPDATE, changed=())
    stash = Stash(tmp_path)
    monkeypatch.setattr(stash, "cover", lambda path: JPEG)
    known = b""
    for n in range(3):
        destination = plex(cover=covers_of(stash), plex_images=True, plex_add_only=bool(n))
        known = destination.deliver(change, SCENE, known)
        destination.close()
    assert item.posters == [JPEG]
    films.items.clear()
    item = server.add(films, PATH)
    plex(cover=covers_of(stash), plex_images=True).deliver(change, SCENE, known)
    assert item.posters == [JPEG]


@pytest.mark.parametrize("image", [b"", b"<svg xmlns='http://www.w3.org/2000/svg'/>"])
def test_what_is_no_picture_is_no_poster(server: Server, films: Library, plex: Make, image: bytes) -> None:
    """Stash's drawing for a scene without a cover is not sent."""
    item = server.add(films, PATH)
    destination, _ = posters(plex, {SCENE.cover_url: image})
    destination.deliver(replace(UPDATE, changed=("cover_image",)), SCENE)
    assert item.posters == []
    assert item.values["title"] == "A day"


def test_a_cover_that_can_not_be_fetched(server: Server, films: Library, plex: Make) -> None:
    """When Stash can't give the cover the fields are there already, and the next attempt sends the cover."""
    item = server.add(films, PATH)
    down = [True]

    def cover(url: str) -> bytes:
        if down[0]:
            raise DeliveryFailed(Failure.STASH, "The cover can't be fetched.")
        return JPEG

    destination = plex(cover=cover, plex_images=True)
    change = replace(UPDATE, changed=("cover_image",))
    assert failure(destination, SCENE, change).failure is Failure.STASH
    assert item.values["title"] == "A day"
    down[0] = False
    destination.deliver(change, SCENE)
    assert item.posters == [JPEG]
    assert len(server.edits) == 1


# The test button


def test_a_test_shows_what_would_change(server: Server, films: Library, plex: Make) -> None:
    """The test names server, version, libraries, the real scene's item and each field that would change."""
    item = server.add(films, PATH, summary=SCENE.details, studio="Studio", originallyAvailableAt="2024-05-06")
    item.tags = {
        "genre": ["outside", "rain & wind", "50%"],
        "actor": ["Anna", "Zoë", "Bo, Jr.", "Cy"],
        "director": ["Dana"],
    }
    report = plex().test(SCENE)
    assert report.ok
    host = server.url.removeprefix("http://")
    assert report.lines == (
        f"Attic at {host} (Plex {server.version}) takes plex_token.",
        "Scenes are looked for in Films (/media).",
        f'Scene 17 is "one" in Films (id {item.key}), found under {PATH} (in Stash /data/a/one.mkv; by '
        "path_map's rule /data => /media).",
        'title: "one" would become "A day"',
        'groups: nothing would become "Group"',
    )
    item.values["title"] = "A day"
    item.tags["collection"] = ["Group"]
    assert plex().test(SCENE).lines[-1] == "Nothing would change."
    assert {r.method for r in server.requests()} == {"GET"}
    assert server.scans == []


def test_a_test_shows_the_missing_rule(server: Server, films: Library, plex: Make) -> None:
    """Where the path isn't found, the test shows Plex's folders and file beside ours, and the rule that lacks."""
    server.add(films, PATH)
    report = plex(path_map="").test(SCENE)
    assert not report.ok
    text = "\n".join(report.lines)
    assert "Scene 17 is not known under /data/a/one.mkv" in text
    assert "no rule of path_map fits it" in text
    assert "None of the libraries it is looked for in holds that folder: Films (/media)." in text
    assert f"a file of that name at {PATH}: the rule /data => /media in path_map" in text
    assert {r.method for r in server.requests()} == {"GET"}
    assert server.scans == []


def test_a_test_of_a_file_that_is_not_scanned(server: Server, plex: Make) -> None:
    """Where the folder is right but the file unknown, the test says so and asks for no scan."""
    report = plex().test(SCENE)
    assert not report.ok
    assert len(report.lines) == 4
    assert "by path_map's rule /data => /media" in report.lines[2]
    assert report.lines[3] == "That is in the library Films (/media), which has not scanned it yet."
    assert server.scans == []


def test_a_test_shows_a_rule_that_leads_astray(server: Server, films: Library, plex: Make) -> None:
    """A file that Plex has elsewhere below the same library's folder is a wrong rule, not a pending scan."""
    server.add(films, "/media/films/a/one.mkv")
    report = plex().test(SCENE)
    assert not report.ok
    assert report.lines[3:] == (
        "It has a file of that name at /media/films/a/one.mkv: the rule /data => /media/films in path_map, in "
        "place of /data => /media, would make the two meet.",
    )


def test_a_test_of_a_library_that_tells_no_folders(server: Server, films: Library, plex: Make) -> None:
    """Where the libraries' folders aren't shown to the token, nothing is claimed about them."""
    films.locations = ()
    report = plex().test(SCENE)
    assert not report.ok
    assert len(report.lines) == 3
    assert report.lines[1] == "Scenes are looked for in Films (folders unknown)."


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(401, HTML, b"<html><h1>401</h1>" + TOKEN.encode()), "plex_token"),
        (Reply(200, HTML, LOGIN), "login page"),
        (Reply(404, HTML, b"<html>"), "plex_url"),
    ],
)
def test_a_test_of_a_wrong_login_or_address(server: Server, plex: Make, reply: Reply, said: str) -> None:
    """A wrong token or address fails the test with the setting to look at."""
    server.receiver.answer = reply
    report = plex().test(SCENE)
    assert not report.ok
    assert said in report.lines[0]
    assert TOKEN not in "".join(report.lines)


def test_a_test_without_a_scene_or_file(server: Server, plex: Make) -> None:
    """An empty Stash passes with login and libraries; a scene without files says that it can't be looked up."""
    report = plex().test(None)
    assert report.ok
    assert "no path was looked up" in report.lines[-1]
    bare = plex().test(replace(SCENE, files=()))
    assert not bare.ok
    assert "has no file" in bare.lines[-1]


def test_a_test_of_an_unknown_library(server: Server, plex: Make) -> None:
    """A library that doesn't exist fails the test, and the existing ones are listed."""
    report = plex(plex_libraries="Filme").test(SCENE)
    assert not report.ok
    assert "it has Films: correct plex_libraries" in report.lines[-1]


def test_closing_ends_what_is_under_way(films: Library, plex: Make) -> None:
    """A request that hangs ends when the destination is closed."""
    with Receiver(Reply(delay=30)) as receiver:
        destination = plex(url=receiver.url)
        threading.Timer(0.2, destination.close).start()
        started = time.monotonic()
        assert failure(destination).failure is Failure.BUSY
        assert time.monotonic() - started < 4
