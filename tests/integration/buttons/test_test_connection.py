"""The mode that tests a draft of a connection, and the fixes in its answer, applied as the page does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.history import ledger
from stash_courier.queue.history.ledger import Sent
from stash_courier.worker.connections.model import Entry
from stash_courier.worker.destinations.media.record import Record, digest
from tests import ROOT
from tests.standin import plex
from tests.standin.jellyfin import KEY, StandInJellyfin
from tests.standin.receivers import Receiver
from tests.standin.stash import StandInStash
from tests.support.connections import store
from tests.support.press import press, reach


@pytest.fixture
def stash(tmp_path: Path) -> Iterator[StandInStash]:
    """A Stash with 30 scenes and the plugin."""
    with StandInStash(30, config_dir=tmp_path / "config") as running:
        running.install_plugin(ROOT)
        yield running


@pytest.fixture
def folder(tmp_path: Path, stash: StandInStash) -> Path:
    """The data folder of a plugin that knows where Stash is."""
    reach(tmp_path / "data", stash.config.port)
    return tmp_path / "data"


def outcome(folder: Path, kind: str, values: dict[str, Any]) -> tuple[bool, dict[str, dict[str, Any]]]:
    """Whether the test of a draft passed, and its steps by name, or by field for values that are invalid."""
    found = press(folder, "test_connection", kind=kind, name="x", values=values)
    return found["ok"], {
        step["field"] if step["step"] == "fields" else step["step"]: step for step in found["steps"]
    }


def test_two_fixes_lead_from_a_pasted_link_to_twenty_scenes(folder: Path, stash: StandInStash) -> None:
    """The address and token of a pasted Plex link, and then the missing rule: after both everything is found."""
    films = plex.Library("3", "Films", ("/films",))
    with plex.Plex(films) as server:
        for scene in stash.library.all():
            server.add(films, scene.path.replace("/media/films", "/films"))
        values: dict[str, Any] = {"url": f"{server.url}/library/metadata/9?X-Plex-Token={plex.TOKEN}"}
        ok, steps = outcome(folder, "plex", values)
        assert not ok
        assert {step["status"] for step in steps.values()} == {"fail"}
        assert plex.TOKEN not in steps["url"]["text"]
        values |= steps["url"]["fix"]["values"]
        ok, steps = outcome(folder, "plex", values)
        assert not ok
        assert steps["key"]["status"] == "ok"
        assert steps["scenes"]["text"].startswith("0 of 20 scenes found. At another path there: 20. The rule ")
        (example,) = steps["scenes"]["examples"]
        assert "but a file of that name is at /films/" in example
        assert steps["scenes"]["fix"]["label"] == "Use this path: /media => /"
        values |= steps["scenes"]["fix"]["values"]
        ok, steps = outcome(folder, "plex", values)
        assert ok
        assert steps["scenes"]["text"].startswith("20 of 20 scenes found.")
        assert server.scans == []
    assert press(folder, "connections")["connections"] == []


def test_a_test_changes_nothing_on_the_server(folder: Path, stash: StandInStash) -> None:
    """Only reads are sent, whatever is missing. The step about scenes leads to the report."""
    with StandInJellyfin(libraries={"Films": ["/films"]}) as server:
        server.add("/films/1/Film 1.mp4")
        values = {"url": server.url, "key": KEY, "path_map": "/media/films => /films"}
        _, steps = outcome(folder, "jellyfin", values)
        actions = {name: step["action"] for name, step in steps.items() if step["action"]}
        assert actions == {"scenes": {"do": "library_report", "label": "Library report"}}
        assert all(route.startswith("GET") for route in server.counts)
        assert server.notified == []


def test_a_test_knows_what_was_sent(folder: Path, stash: StandInStash) -> None:
    """A locked title is named as left alone, unless the ledger says that it is the one that was last sent."""

    def example() -> str:
        steps = press(folder, "test_connection", id="jellyfin")["steps"]
        return str(next(step["text"] for step in steps if step["step"] == "example"))

    with StandInJellyfin(libraries={"Films": ["/films"]}) as server:
        film = stash.library.all()[0]
        server.add(film.path.replace("/media/films", "/films"), Name="Old", LockedFields=["Name"])
        values = {"url": server.url, "key": KEY, "path_map": "/media/films => /films"}
        store(folder, Entry("jellyfin", "Jellyfin", "jellyfin", values=values))
        assert "because they are locked in Jellyfin: title." in example()
        record = Record(fields={"title": digest("Old")}).encode()
        with closing(SceneQueue(folder)) as queue, queue.transaction():
            ledger.write(queue.connection, Sent("jellyfin", film.id, 1, "", 1.0, film.path, "sent", record))
        assert 'title: "Old" would become' in example()


def test_a_webhooks_body_is_shown(folder: Path, stash: StandInStash) -> None:
    """The answer has the body that the receiver got."""
    with Receiver() as receiver:
        ok, steps = outcome(folder, "webhook", {"url": receiver.url})
        (got,) = receiver.received
    assert ok
    assert steps["accepted"]["body"] == got.body.decode()
    assert steps["accepted"]["fix"] is None


def test_people_get_a_neutral_sentence(folder: Path, stash: StandInStash) -> None:
    """A message preset's test has no title unless it is asked for; only the preview shows it before."""
    title = stash.library.all()[-1].title
    with Receiver() as receiver:
        draft: dict[str, Any] = {
            "kind": "webhook",
            "name": "x",
            "values": {"preset": "gotify", "url": receiver.url, "token": "abcd"},
        }
        shown = press(folder, "preview", **draft)
        assert not receiver.received
        press(folder, "test_connection", **draft)
        press(folder, "test_connection", show_scene=True, **draft)
        neutral, asked = (got.body.decode() for got in receiver.received)
    assert shown["scene"]["title"] == title
    assert title in shown["text"]
    assert title not in neutral
    assert title in asked
