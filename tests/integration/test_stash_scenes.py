"""The client for Stash: settings, scenes and listings."""

from __future__ import annotations

import datetime
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.standin.stash import StandInStash
from tests.support.stash_servers import Asked, Library, Reply, StashBench, refused, scene


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[StashBench]:
    with StashBench(tmp_path) as made:
        yield made


class TestAsking:
    def test_a_batch_is_one_request(self, bench: StashBench) -> None:
        """Forty scenes with the plugin's settings and state cost one request, and a deleted one fails no other."""
        library = Library({i: scene(i) for i in range(1, 41)}, settings={"a": 1})
        del library.scenes[7]
        server = bench.serve(library)
        batch = bench.stash().scenes([*range(1, 41), 3])
        assert [(asked.name, asked.path) for asked in server.asked] == [("Scenes", "/graphql")]
        assert sorted(batch.scenes) == list(range(1, 41))
        assert batch.scenes[7] is None
        assert all(found is None or found.id == i for i, found in batch.scenes.items())
        first = batch.scenes[1]
        assert first is not None
        assert (first.title, first.fetched_at) == ("Scene 1", bench.now)
        assert (batch.broken, batch.state.settings, batch.state.enabled) == ({}, {"a": 1}, True)

    def test_newest_scene_and_titles(self, bench: StashBench) -> None:
        """Buttons get the newest scene and titles for people; scenes that are gone or broken are left out."""
        library = Library()
        stem = {
            "path": "C:\\media\\a.b.mp4",
            "size": 1,
            "duration": 1,
            "width": 1,
            "height": 1,
            "fingerprints": [],
        }
        library.scenes[2] = scene(2, title="", files=[stem])
        library.broken = {4}
        bench.serve(library)
        stash = bench.stash()
        assert next(stash.newest_scenes(page_size=1)).id == 10
        assert stash.titles([1, 2, 4, 99]) == {1: "Scene 1", 2: "a.b"}

    def test_requests_go_one_at_a_time(self, bench: StashBench) -> None:
        """Stash gets one request at a time, however many threads ask."""
        library, inside, alone = Library(), threading.Semaphore(1), []

        def reply(asked: Asked) -> Reply:
            alone.append(inside.acquire(blocking=False))
            answer = library(asked)
            if alone[-1]:
                inside.release()
            return answer

        bench.serve(reply)
        stash = bench.stash()
        threads = [threading.Thread(target=stash.plugin_state) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert alone == [True] * 6

    def test_a_proxy_in_the_environment_is_ignored(
        self, bench: StashBench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Requests to Stash don't go to a proxy that is set in the environment."""
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        bench.serve(Library())
        assert bench.stash().plugin_state().enabled


class TestBrokenScenes:
    def test_one_broken_scene_stops_no_other(self, bench: StashBench) -> None:
        """If one scene of ten can't be read, nine are delivered and the tenth is reported with the reason."""
        library = Library(broken={6})
        server = bench.serve(library)
        batch = bench.stash().scenes(range(1, 11))
        assert sorted(batch.scenes) == [1, 2, 3, 4, 5, 7, 8, 9, 10]
        assert all(batch.scenes.values())
        assert list(batch.broken) == [6]
        assert "scene 6" in batch.broken[6]
        assert "malformed" in batch.broken[6]
        assert batch.state.enabled
        assert len(server.asked) <= 10

    @pytest.mark.parametrize(
        ("library", "ids"),
        [
            (Library(broken={5, 6}), [5, 6]),  # two neighbors: a third scene is asked for
            (Library(broken={5, 6}), [6]),
            (Library({3: scene(3)}, broken={3}), [3]),  # the only scene there is
        ],
    )
    def test_a_broken_neighbor_proves_nothing(self, bench: StashBench, library: Library, ids: list[int]) -> None:
        """Scenes that can't be read are at fault while there is no sign that no scene can be."""
        bench.serve(library)
        assert sorted(bench.stash().scenes(ids).broken) == ids

    @pytest.mark.parametrize(
        ("ids", "most"), [([1], 3), ([4], 3), ([1, 2, 3], 3), (list(range(1, 11)), 25)], ids=str
    )
    def test_errors_for_every_scene_are_an_outage(self, bench: StashBench, ids: list[int], most: int) -> None:
        """If Stash can read no scene at all, or none as we know it, that is an outage and no scene's fault."""
        server = bench.serve(Library(broken=set(range(1, 11))))
        assert "none of its scenes" in refused(lambda: bench.stash().scenes(ids))
        assert len(server.asked) <= most
        bench.serve(Library({i: scene(i, tags=None) for i in range(1, 11)}))
        assert "none of its scenes" in refused(lambda: bench.stash().scenes(ids))

    def test_a_scene_of_the_wrong_shape(self, bench: StashBench) -> None:
        """A scene that doesn't match the schema is broken; the others are delivered."""
        library = Library()
        library.scenes[2] = scene(2, files="none")
        library.scenes[3] = [scene(3)]
        library.scenes[4] = scene(5)
        bench.serve(library)
        batch = bench.stash().scenes([1, 2, 3, 4])
        assert list(batch.scenes) == [1]
        assert "files is of type str" in batch.broken[2]
        assert sorted(batch.broken) == [2, 3, 4]

    def test_a_missing_scene_is_not_a_deleted_one(self, bench: StashBench) -> None:
        """A scene that is missing in the answer never counts as deleted."""
        library = Library()

        def reply(asked: Asked) -> Reply:
            answer = json.loads(library(asked).body)
            answer["data"].pop("s1", None)
            return Reply.of(answer)

        bench.serve(reply)
        batch = bench.stash().scenes([1, 2, 3])
        assert list(batch.scenes) == [1, 3]
        assert "missing" in batch.broken[2]

    def test_a_locked_database_is_an_outage(self, bench: StashBench) -> None:
        """While Stash's database is locked, deliveries wait, and Stash isn't asked scene by scene."""
        server = bench.serve(
            lambda _: Reply.of({"errors": [{"message": "finding: database is locked"}], "data": None})
        )
        assert "database is locked" in refused(lambda: bench.stash().scenes([1, 2, 3]))
        assert len(server.asked) == 1


class TestListing:
    def test_all_scenes_in_pages(self, bench: StashBench) -> None:
        """Each id is listed once, ascending, page by page, with the total for a progress bar from the start."""
        server = bench.serve(Library({i: scene(i) for i in range(1, 26)}))
        pages = bench.stash().scene_ids(page_size=10)
        first = next(pages)
        assert (first.items, first.examined, first.total) == (tuple(range(1, 11)), 10, 25)
        assert len(server.asked) == 1
        rest = [(page.items, page.examined, page.total) for page in pages]
        assert rest == [(tuple(range(11, 21)), 20, 25), (tuple(range(21, 26)), 25, 25)]
        assert ["count" in asked.query for asked in server.asked] == [True, False, False]

    def test_changes_meanwhile_skip_nothing(self, bench: StashBench) -> None:
        """Scenes that are deleted or added between two pages don't make others be skipped or listed twice."""
        library = Library({i: scene(i) for i in range(1, 26)})
        bench.serve(library)
        pages = bench.stash().scene_ids(page_size=10)
        found = list(next(pages).items)
        for gone in (1, 2, 3, 12):
            del library.scenes[gone]
        library.scenes[26] = scene(26)
        found += [i for page in pages for i in page.items]
        assert found == [i for i in range(1, 27) if i != 12]

    @pytest.mark.parametrize("hours", [0, 12, -12, 14])
    def test_changed_since_in_every_zone(self, bench: StashBench, hours: int) -> None:
        """Scenes changed since a moment are found to the second, whatever the server's time zone."""
        since = 1_767_607_200.75  # Stash stores whole seconds
        zone = datetime.timezone(datetime.timedelta(hours=hours))
        texts = [datetime.datetime.fromtimestamp(int(since) - n, zone).isoformat() for n in (1, 0)]
        bench.serve(Library({n: scene(n, updated_at=text) for n, text in enumerate(texts, 1)}))
        (page,) = bench.stash().scene_ids(changed_since=since)
        assert page.items == (2,)
        assert page.examined == page.total

    @pytest.mark.parametrize("ids", [["3", "2"], ["2", "2"], ["0"]])
    def test_a_server_that_ignores_the_order(self, bench: StashBench, ids: list[str]) -> None:
        """A listing that doesn't ascend ends with an error instead of never ending."""
        listed = [{"id": i, "updated_at": "2026-01-01T00:00:00Z"} for i in ids]
        bench.serve(lambda _: Reply.of({"data": {"findScenes": {"count": 9, "scenes": listed}}}))
        assert "ascending" in refused(lambda: list(bench.stash().scene_ids(page_size=1)))


class TestTheStandIn:
    """The client with the stand-in, whose sessions and errors are like Stash's."""

    @pytest.fixture
    def standin(self, bench: StashBench, tmp_path: Path) -> Iterator[StandInStash]:
        """A stand-in with a login, whose sessions last a minute by the bench's clock."""
        with StandInStash(
            30,
            config_dir=tmp_path / "stash",
            credentials=("me", "secret"),
            max_session_age=60,
            clock=lambda: bench.now,
        ) as standin:
            bench.write_address(standin.config.port, cookie=standin.sessions.make("me"))
            yield standin
            bench.close_clients()

    def test_pings_keep_a_session_alive(self, bench: StashBench, standin: StandInStash) -> None:
        """Without an API key, pings keep the worker logged in far longer than a session lasts."""
        stash = bench.stash()
        stash.plugin_state()
        for _ in range(30):
            wait = stash.keep_alive_in()
            assert wait == 20.0
            bench.now += wait
            assert stash.keep_alive_in() == 0.0
            stash.plugin_state()
        assert standin.requests.total == 31
        bench.now += 61
        assert "401" in refused(stash.plugin_state)

    def test_stash_restarts(self, bench: StashBench, standin: StandInStash) -> None:
        """After a restart of Stash the next request works: the dead connection is noticed."""
        stash = bench.stash()
        stash.plugin_state()
        standin.restart()
        stash.plugin_state()
