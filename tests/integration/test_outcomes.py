"""What happened to a scene: every outcome as the page gets it, after the worker's loop has delivered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stash_courier.queue import troubles
from stash_courier.queue.deliveries import backlog
from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.history import receipts
from stash_courier.queue.jobs import Delivery, Scene
from stash_courier.worker import VERSION
from stash_courier.worker.connections.model import Entry
from stash_courier.worker.destinations import Change, Delivered
from stash_courier.worker.destinations.webhook.destination import Webhook
from tests import ROOT
from tests.standin.stash.server import StandInStash
from tests.support import connections
from tests.support.fast_forward import FastForward
from tests.support.press import press

NAME, OTHER = "hook", "other"
URL = "http://127.0.0.1:1/"
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
    values = {"url": URL, **values}
    connections.store(courier.folder, Entry(NAME, "My hook", "webhook", values=values))


def send(courier: FastForward, scene_id: int = 1, event: str = "update") -> None:
    """One event, until nothing waits."""
    courier.put(scene_id, event)
    courier.run(courier.queue.empty)


def ask(courier: FastForward, mode: str = "outcomes", **args: object) -> dict[str, Any]:
    """What the page gets."""
    return press(courier.folder, mode, **args)


def only(courier: FastForward) -> dict[str, Any]:
    """The one outcome there is."""
    (row,) = ask(courier)["rows"]
    return dict(row)


def failed(courier: FastForward) -> bool:
    """Whether a delivery waits after a failed attempt."""
    return any(one.error for one in backlog.some(courier.queue.connection, [NAME], courier.wall, 9))


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


NAMED = "Jellyfin never shows a file of that name."
ENDED: dict[str, tuple[str, Answer, str]] = {
    "delivered": ("delivered", lambda _: Delivered(), "Delivered."),
    "same": ("same", lambda _: Delivered(compared=True), "Not sent, because nothing differs there."),
    "locked item": (
        "locked",
        lambda _: Delivered(compared=True, notes=frozenset({"locked_item"})),
        "Not changed, because what differs is locked there.",
    ),
    "locked fields": (
        "locked",
        lambda _: Delivered(notes=frozenset({"locked_fields"}), left=("Left alone: title.",)),
        "Not changed, because what differs is locked there.",
    ),
    "version": (
        "version",
        lambda _: Delivered(notes=frozenset({"shared_item"}), outcome="filtered"),
        "Not sent, because the server shows its file as a version or part of another item.",
    ),
    "absent": (
        "absent",
        fails(Failure.NEVER_THERE, NAMED),
        f"Not sent, because the server doesn't have it. {NAMED}",
    ),
}


@pytest.mark.parametrize("case", ENDED)
def test_what_a_destination_did(courier: FastForward, there: Answering, case: str) -> None:
    """Each way in which a destination can be done with a scene has its own sentence."""
    code, there.answer, said = ENDED[case]
    courier.run(lambda: NAME in courier.dispatcher.registry.pools)
    object.__setattr__(courier.dispatcher.registry.pools[NAME].connection.policy, "absent", "skip")
    send(courier)
    counted = receipts.delivered(courier.queue.connection, courier.wall)
    assert counted == ({NAME: (1, 1)} if code == "delivered" else {})
    row = only(courier)
    assert (row["outcome"], row["text"]) == (code, said)


def test_a_deletion(courier: FastForward, there: Answering) -> None:
    """A deleted scene keeps the title that it had; one that was never sent says so."""
    send(courier)
    before = only(courier)
    send(courier, event="destroy")
    row = only(courier)
    assert (row["outcome"], row["text"]) == ("deleted", "Its deletion was sent.")
    assert (row["title"], row["path"], row["event"]) == (before["title"], before["path"], "destroy")
    send(courier, 77)  # an edit of a scene that was gone before it could be sent
    said = "Not sent. Stash has this scene no more, and it was never sent here."
    assert [(row["outcome"], row["text"]) for row in ask(courier, text="77")["rows"]] == [("deleted", said)]


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("folders", "/elsewhere", 'It is in none of the folders of "Only these folders".'),
        ("events", "create", '"Events to send" doesn\'t include update.'),
    ],
)
def test_which_filter_excluded_it(courier: FastForward, key: str, value: str, why: str) -> None:
    """The filter is named by the label of its field. The sentences of all filters: unit/test_filters.py."""
    set_up(courier, **{key: value})
    send(courier)
    row = only(courier)
    assert (row["outcome"], row["text"]) == ("filtered", f"Not sent, because it is excluded. {why}")


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
    got: list[str] = []

    def answer(delivery: Delivery) -> Delivered:
        got.append(delivery.event)
        return Delivered()

    there.answer = answer
    send(courier)
    message = troubles.connection_up(troubles.about(OTHER, "Other", "webhook"), courier.wall, courier.wall - 60.0)
    with courier.queue.transaction():
        courier.queue.notify(NAME, troubles.slot(OTHER), message, courier.wall)
    courier.run(courier.queue.empty)
    assert got == ["update", "notice"]
    assert [row["scene_id"] for row in ask(courier)["rows"]] == [1]
    assert receipts.delivered(courier.queue.connection, courier.wall) == {NAME: (1, 1)}


# On its way


@pytest.mark.parametrize(
    ("failure", "code", "said"),
    [
        (Failure.REFUSED, "retrying", "Not sent yet. It is tried again. It said so."),
        (Failure.NOT_THERE_YET, "not_there_yet", "the server doesn't have it yet. It said so."),
    ],
)
def test_what_waits_after_a_failure(
    courier: FastForward, there: Answering, failure: Failure, code: str, said: str
) -> None:
    """A delivery that is tried again comes first, with its last error, and keeps the receipt of the last one."""
    send(courier)
    there.answer = fails(failure, "It said so.", status=500)
    courier.put(1)
    courier.run(lambda: failed(courier))
    row = only(courier)
    assert (row["outcome"], row["live"], row["has_receipt"]) == (code, True, True)
    assert row["text"].endswith(said)
    assert ask(courier, "receipt", scene=1, connection=NAME)["outcome"] == code
    assert ask(courier, text="1")["rows"][0] == row


def test_what_settles_and_what_waits(courier: FastForward) -> None:
    """An edit that waits for others says so; one that waits for its connection says why."""
    set_up(courier, settle_seconds=30.0)
    courier.put(1)
    courier.run(courier.queue.inbox_empty)
    assert only(courier)["outcome"] == "settling"
    assert ask(courier, text="1")["rows"][0]["text"] == "Not sent yet, because it waits for more edits."
    connections.store(courier.folder, Entry(NAME, "My hook", "webhook", "paused", values={"url": URL}))
    courier.queue.make_due(courier.wall)
    (row,) = ask(courier, text="1")["rows"]
    assert (row["outcome"], row["text"]) == ("waiting", "Not sent yet. This connection is paused.")


def test_what_is_due_and_waits_is_listed(courier: FastForward, there: Answering) -> None:
    """What waits for a held or paused connection comes first although nothing is searched, at most 20 of it."""

    def put(scene_ids: range) -> None:
        for scene_id in scene_ids:
            at = courier.wall - 60.0 + scene_id
            courier.queue.put({"scene": scene_id, "event": "update", "changed": [], "at": at})
        courier.run(courier.queue.inbox_empty)

    there.answer = fails(Failure.UNREACHABLE, "It refuses connections.")
    put(range(1, 5))
    courier.run(lambda: failed(courier))
    courier.queue.make_due(courier.wall)
    found = ask(courier)
    rows = found["rows"]
    assert {row["scene_id"] for row in rows} == {1, 2, 3, 4}
    assert found["waiting"] == 4
    assert all(row["live"] and "It refuses connections." in row["text"] for row in rows)
    connections.store(courier.folder, Entry(NAME, "My hook", "webhook", "paused", values={"url": URL}))
    courier.step()
    put(range(5, 30))
    found = ask(courier)
    assert (found["waiting"], len(found["rows"])) == (29, 20)
    assert ask(courier, connection=OTHER)["waiting"] == 0
    assert ask(courier, text="film")["waiting"] is None
    tried, *others = [row["scene_id"] for row in found["rows"]]
    assert tried < 5
    assert others == [*range(29, 10, -1)]


def test_a_delivery_that_is_being_sent(courier: FastForward, there: Answering) -> None:
    """While the request runs, the page says so."""
    started, end = threading.Event(), threading.Event()

    def answer(_: Delivery) -> Delivered:
        started.set()
        end.wait(30.0)
        return Delivered()

    there.answer = answer
    courier.put(1)
    courier.run(started.is_set)
    try:
        assert only(courier)["outcome"] == "sending"
        assert ask(courier, "first_delivery", connection=NAME, since=courier.wall - 5.0)["state"] == "sending"
    finally:
        end.set()
    courier.run(courier.queue.empty)
    assert only(courier)["outcome"] == "delivered"


# Search


def test_a_scene_is_found_by_its_id(courier: FastForward) -> None:
    """All connections come first that have anything of it: a receipt, or only a row in the ledger."""
    connections.store(courier.folder, Entry(OTHER, "Other", "webhook", values={"url": URL}))
    for scene in (3, 1):
        send(courier, scene)
    conn = courier.queue.connection
    with courier.queue.transaction():
        conn.execute("DELETE FROM receipts WHERE destination = ? AND scene_id = 3", (OTHER,))
        conn.execute("UPDATE sent SET fetched_at = fetched_at - 8 * 86400 WHERE destination = ?", (OTHER,))
    rows = {row["destination"]: row for row in ask(courier, text="3")["rows"] if row["scene_id"] == 3}
    assert rows.keys() == {NAME, OTHER}
    assert (rows[OTHER]["has_receipt"], rows[OTHER]["outcome"]) == (False, "delivered")
    assert rows[OTHER]["text"] == "Delivered more than seven days ago. What it changed is no longer recorded."
    assert rows[OTHER]["path"] == rows[NAME]["path"]
    (row,) = ask(courier, text="3", connection=OTHER)["rows"]
    assert row == rows[OTHER]
    assert ask(courier, text="Scene 3", connection=OTHER)["rows"] == [row]
    assert ask(courier, text="7") == {"page": 1, "more": False, "waiting": None, "rows": [], "version": VERSION}
    assert ask(courier, text="scene x")["rows"] == []
    assert "Nothing is recorded" in ask(courier, "receipt", scene=7, connection=NAME)["problem"]


def test_what_waits_is_found_by_its_title(courier: FastForward, there: Answering) -> None:
    """A connection that hasn't got a scene yet is listed beside those that have, under the scene's title."""
    connections.store(courier.folder, Entry(OTHER, "Other", "webhook", values={"url": URL}))
    send(courier, 3)
    title = next(row["title"] for row in ask(courier, text="3")["rows"])
    connections.store(courier.folder, Entry("third", "Third", "webhook", "paused", values={"url": URL}))
    courier.step()
    courier.put(3)
    courier.run(courier.queue.inbox_empty)
    courier.run(lambda: courier.queue.size == 1)
    rows = {row["destination"]: row for row in ask(courier, text=title)["rows"] if row["scene_id"] == 3}
    assert rows.keys() == {NAME, OTHER, "third"}
    assert (rows["third"]["outcome"], rows["third"]["title"]) == ("waiting", title)
    assert rows["third"]["text"] == "Not sent yet. This connection is paused."


def test_pages(courier: FastForward) -> None:
    """Newest first, fifty a page, each scene once."""
    with courier.queue.transaction():
        for scene in range(1, 121):
            job = Delivery(scene, NAME, scene, "update", (), scene, courier.wall)
            receipts.write(courier.queue.connection, receipts.of(job, "same", courier.wall, (f"Film {scene}", "")))
    pages = [ask(courier, page=number) for number in (1, 2, 3, 4)]
    assert [row["scene_id"] for page in pages for row in page["rows"]] == [*range(120, 0, -1)]
    assert [page["more"] for page in pages] == [True, True, False, False]
    courier.queue.connection.execute("UPDATE receipts SET detail = '{' WHERE scene_id = 119")
    first = ask(courier)
    assert (len(first["rows"]), first["more"]) == (49, True)  # what can't be decoded is left out


# Sending one scene again, and the first delivery


def test_a_scene_is_sent_again(courier: FastForward, there: Answering) -> None:
    """To this connection only, before what is queued in bulk."""
    got: list[tuple[str, int]] = []

    def answer(delivery: Delivery) -> Delivered:
        got.append((delivery.destination, delivery.priority))
        return Delivered()

    there.answer = answer
    connections.store(courier.folder, Entry(OTHER, "Other", "webhook", values={"url": URL}))
    courier.run(lambda: OTHER in courier.dispatcher.registry.pools)
    assert ask(courier, "send_scene", scene=4, connection=OTHER)["queued"] is True
    courier.run(lambda: bool(got) and courier.queue.empty())
    assert got == [(OTHER, 0)]


@pytest.mark.parametrize(
    ("scene", "name", "problem"),
    [
        (4, "nobody", "There is no connection 'nobody'."),
        (4000, NAME, "Stash has no scene 4000."),
        (4, OTHER, "Other is switched off"),
    ],
)
def test_what_can_not_be_sent_again(courier: FastForward, scene: int, name: str, problem: str) -> None:
    """An unknown scene or connection is a sentence, and nothing is queued."""
    connections.store(courier.folder, Entry(OTHER, "Other", "webhook", "off", values={"url": URL}))
    courier.run(lambda: NAME in courier.dispatcher.registry.pools)
    assert problem in ask(courier, "send_scene", scene=scene, connection=name)["problem"]
    assert courier.queue.inbox_empty()


def test_the_first_delivery(courier: FastForward, there: Answering) -> None:
    """The page sees an edit arrive, and then how it ended."""
    since = courier.wall
    asked: dict[str, object] = {"connection": NAME, "since": since}
    send(courier, 1)  # an edit from just before doesn't count
    since = asked["since"] = courier.wall + 1.0
    courier.jump(2.0)
    nothing = ask(courier, "first_delivery", **asked)
    assert nothing == {**nothing, "state": "nothing", "scene": None, "outcome": None, "text": ""}
    courier.put(5)
    assert ask(courier, "first_delivery", **asked)["state"] == "arrived"
    there.answer = lambda _: Delivered(changes=(Change("title", None, "New"),), link="http://plex/5")
    courier.jump(0.5)
    courier.run(courier.queue.empty)
    done = ask(courier, "first_delivery", **asked)
    title = ask(courier, text="5")["rows"][0]["title"]
    assert (done["state"], done["scene"]) == ("done", {"id": 5, "title": title})
    assert (done["outcome"], done["text"], done["link"]) == ("delivered", "Delivered.", "http://plex/5")
    assert 0.5 <= done["seconds"] < 60.0


def test_without_a_queue(tmp_path: Path) -> None:
    """Where nothing was ever sent, nothing is shown, and no file is made."""
    assert press(tmp_path, "outcomes")["rows"] == []
    assert press(tmp_path, "first_delivery", connection=NAME, since=1.0)["state"] == "nothing"
    assert "Nothing is recorded" in press(tmp_path, "receipt", scene=1, connection=NAME)["problem"]
    assert not (tmp_path / "queue.db").exists()
