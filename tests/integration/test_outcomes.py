"""What happened to a scene: every outcome as the page gets it, after the worker's loop has delivered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stash_courier.queue import receipts
from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.jobs import Delivery, Scene
from stash_courier.worker.connections.model import Entry
from stash_courier.worker.destinations import Change, Delivered
from stash_courier.worker.destinations.webhook.destination import Webhook
from tests import ROOT
from tests.standin.stash.server import StandInStash
from tests.support import connections
from tests.support.fast_forward import FastForward
from tests.support.press import press

NAME, OTHER = "hook", "other"
Answer = Callable[[Delivery], Delivered]


class Answering:
    """Destinations whose answers the test decides."""

    def __init__(self) -> None:
        self.answer: Answer = lambda _: Delivered()

    def deliver(self, delivery: Delivery, scene: Scene | None, record: bytes = b"") -> Delivered:
        """As ``Destination.deliver``."""
        return self.answer(delivery)


def fails(failure: Failure, message: str, **more: Any) -> Answer:
    """An answer that is a failure."""

    def answer(_: Delivery) -> Delivered:
        raise DeliveryFailed(failure, message, **more)

    return answer


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Answering:
    """What the destinations answer."""
    answering = Answering()
    monkeypatch.setattr(Webhook, "deliver", lambda _, *job: answering.deliver(*job))
    return answering


@pytest.fixture
def stash(tmp_path: Path) -> Iterator[StandInStash]:
    """A Stash with nine scenes."""
    with StandInStash(9, config_dir=tmp_path / "config") as running:
        running.install_plugin(ROOT)
        yield running


@pytest.fixture
def courier(tmp_path: Path, stash: StandInStash, there: Answering) -> Iterator[FastForward]:
    """The worker's loop."""
    with FastForward(tmp_path / "data", stash) as running:
        set_up(running)
        yield running


def set_up(courier: FastForward, **values: object) -> None:
    """One connection with these values."""
    values = {"url": "http://127.0.0.1:1/", **values}
    connections.store(courier.folder, Entry(NAME, "My hook", "webhook", values=values))


def send(courier: FastForward, scene_id: int = 1, event: str = "update") -> None:
    """One event, until nothing waits."""
    courier.put(scene_id, event)
    courier.run(courier.queue.empty)


def ask(courier: FastForward, mode: str = "outcomes", **args: object) -> dict[str, Any]:
    """What the page gets."""
    return press(courier.folder, mode, **args)


def only(courier: FastForward, **args: object) -> dict[str, Any]:
    """The one outcome there is."""
    (row,) = ask(courier, **args)["rows"]
    return dict(row)


def test_a_receipt_says_what_was_changed(courier: FastForward, there: Answering, stash: StandInStash) -> None:
    """Fields before and after, what was left alone, a link, and how long it took."""
    there.answer = lambda _: Delivered(
        changes=(Change("title", "Old", "New"), Change("date", None, "2026-01-02")),
        compared=True,
        left=("The studio is locked there.",),
        link="http://plex/1",
    )
    courier.put(2)
    edited = courier.wall
    courier.jump(0.25)
    courier.run(courier.queue.empty)
    row = only(courier)
    assert row == {
        "scene_id": 2,
        "title": row["title"],
        "path": row["path"],
        "destination": NAME,
        "name": "My hook",
        "at": row["at"],
        "event": "update",
        "event_at": edited,
        "outcome": "delivered",
        "text": "Delivered.",
        "live": False,
        "has_receipt": True,
        "dead_letter": None,
    }
    scene = courier.dispatcher._stash.available([2])[0]
    assert (row["title"], row["path"]) == (scene.title_or_stem(), scene.path)
    told = ask(courier, "receipt", scene=2, connection=NAME)
    assert told["changes"] == [
        {"field": "title", "before": "Old", "after": "New"},
        {"field": "date", "before": None, "after": "2026-01-02"},
    ]
    assert told["left"] == ["The studio is locked there."]
    assert (told["link"], told["changed"]) == ("http://plex/1", ["title"])
    assert 0.25 <= told["seconds"] == pytest.approx(row["at"] - edited)
    assert told["text"] == "Delivered."


LOCKED, SHARED = frozenset({"locked_item"}), frozenset({"shared_item"})
DONE = {
    "delivered": Delivered(),
    "same": Delivered(compared=True),
    "locked": Delivered(compared=True, notes=LOCKED),
    "version": Delivered(notes=SHARED, outcome="filtered"),
}
SAID = {
    "delivered": "Delivered.",
    "same": "Not sent, because nothing differs there.",
    "locked": "Not changed, because the whole item is locked there.",
    "version": "Not sent, because the server shows its file as a version or part of another item.",
}


@pytest.mark.parametrize("code", DONE)
def test_what_a_destination_did(courier: FastForward, there: Answering, code: str) -> None:
    """Each way in which a destination can be done with a scene has its own sentence."""
    there.answer = lambda _: DONE[code]
    send(courier)
    row = only(courier)
    assert (row["outcome"], row["text"]) == (code, SAID[code])


def test_a_deletion(courier: FastForward, there: Answering) -> None:
    """A deleted scene keeps the title that it had, and says that its deletion was sent."""
    send(courier)
    before = only(courier)
    send(courier, event="destroy")
    row = only(courier)
    assert (row["outcome"], row["text"]) == ("deleted", "Its deletion was sent.")
    assert (row["title"], row["path"], row["event"]) == (before["title"], before["path"], "destroy")


def test_a_scene_that_stash_has_no_more(courier: FastForward, stash: StandInStash) -> None:
    """An edit of a scene that was gone before it could be sent."""
    courier.put(77)
    courier.run(courier.queue.empty)
    row = only(courier)
    assert (row["outcome"], row["text"]) == (
        "deleted",
        "Not sent. Stash has this scene no more, and it was never sent here.",
    )


FILTERED = {
    "only_organized": (True, '"Only organized scenes" is on, and this scene isn\'t organized.'),
    "folders": ("/elsewhere", 'It is in none of the folders of "Only these folders".'),
    "include_tags": ("no such tag", 'It has none of the tags of "Only scenes with a tag".'),
    "studios": ("no such studio", '"Only scenes of a studio"'),
    "events": ("create", '"Events to send" doesn\'t include update.'),
}


@pytest.mark.parametrize("key", FILTERED)
def test_which_filter_excluded_it(courier: FastForward, stash: StandInStash, key: str) -> None:
    """The filter is named by the label of its field."""
    value, why = FILTERED[key]
    set_up(courier, **{key: value})
    stash.change_without_hook(1, organized=False)
    send(courier)
    row = only(courier)
    assert row["outcome"] == "filtered"
    assert row["text"].startswith("Not sent, because it is excluded. ")
    assert why in row["text"]


def test_not_on_the_server(courier: FastForward, there: Answering, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scene that is skipped because the server doesn't have it says what was looked for."""
    there.answer = fails(Failure.NEVER_THERE, "Jellyfin never shows a file of that name.")
    courier.run(lambda: NAME in courier.dispatcher.registry.pools)
    pool = courier.dispatcher.registry.pools[NAME]
    object.__setattr__(pool.connection.policy, "absent", "skip")
    send(courier)
    row = only(courier)
    why = "Jellyfin never shows a file of that name."
    assert (row["outcome"], row["text"]) == ("absent", f"Not sent, because the server doesn't have it. {why}")


def test_a_dead_letter(courier: FastForward, there: Answering) -> None:
    """It has the dead letter's id until that is discarded, and what a later delivery did replaces it."""
    there.answer = fails(Failure.ITEM_REFUSED, "It refuses this.", status=400)
    courier.put(1)
    courier.run(lambda: courier.dlq.get_count() == 1)
    (letter,) = courier.dlq.get_recent()
    row = only(courier)
    assert (row["outcome"], row["dead_letter"]) == ("dead", letter.id)
    assert row["text"] == "Failed, and is a dead letter. It refuses this."
    assert row["title"] == letter.title
    assert row["path"].endswith(".mp4")
    press(courier.folder, "discard_dead_letters", ids=[letter.id])
    row = only(courier)
    assert (row["dead_letter"], row["text"]) == (None, "Failed. Its dead letter was deleted. It refuses this.")
    there.answer = lambda _: Delivered()
    send(courier)
    assert only(courier)["outcome"] == "delivered"


def test_a_digest(courier: FastForward, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenes that were sent as one message say so."""
    monkeypatch.setattr(Webhook, "digest_above", property(lambda _: 1))
    monkeypatch.setattr(Webhook, "deliver_digest", lambda _, jobs: None)
    for scene in range(1, 6):
        courier.put(scene)
    courier.run(courier.queue.empty)
    rows = ask(courier)["rows"]
    assert {row["scene_id"]: row["outcome"] for row in rows} == dict.fromkeys(range(1, 6), "digest")
    assert rows[0]["text"] == "Sent in one message with others."


def test_a_message_about_trouble_has_no_receipt(courier: FastForward, there: Answering) -> None:
    """It is about no scene, and counts as no delivered scene."""
    send(courier)
    with courier.queue.transaction():
        courier.queue.notify(NAME, -1, '{"kind": "x"}', courier.wall)
    courier.run(courier.queue.empty)
    assert [row["scene_id"] for row in ask(courier)["rows"]] == [1]
    assert receipts.delivered(courier.queue.connection, courier.wall) == {NAME: (1, 1)}
