"""Scenes that a destination itself leaves out, and what it wants to know at the next delivery."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stash_courier.queue import control
from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.history import ledger
from stash_courier.queue.history.ledger import Noted
from stash_courier.queue.jobs import Delivery, Scene
from stash_courier.worker.connections.model import Entry
from stash_courier.worker.destinations import Delivered
from stash_courier.worker.destinations.webhook.destination import Webhook
from tests import ROOT
from tests.standin.stash.server import StandInStash
from tests.support import connections
from tests.support.fast_forward import FastForward

NAME = "hook"
SHARED = Delivered(notes=frozenset({"shared_item"}), outcome="filtered")
Answer = Callable[[Delivery], Delivered]


class Answering:
    """A destination whose answers the test decides."""

    def __init__(self) -> None:
        self.answer: Answer = lambda _: Delivered()
        self.got: list[tuple[int, bytes]] = []  # scene and record of each delivery

    def deliver(self, delivery: Delivery, scene: Scene | None, record: bytes = b"") -> Delivered:
        """As ``Destination.deliver``."""
        self.got.append((delivery.scene_id, record))
        return self.answer(delivery)


def unreachable(_: Delivery) -> Delivered:
    """An outage."""
    raise DeliveryFailed(Failure.UNREACHABLE, "It can't be reached.")


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Answering:
    """What the only destination answers."""
    answering = Answering()
    monkeypatch.setattr(Webhook, "deliver", lambda _, *job: answering.deliver(*job))
    return answering


@pytest.fixture
def courier(tmp_path: Path, there: Answering) -> Iterator[FastForward]:
    """The worker's loop with one destination."""
    with StandInStash(9, config_dir=tmp_path / "config") as stash:
        stash.install_plugin(ROOT)
        with FastForward(tmp_path / "data", stash) as running:
            connections.store(
                running.folder, Entry(NAME, "Hook", "webhook", values={"url": "http://127.0.0.1:1/"})
            )
            yield running


def test_it_ends_at_once_and_is_counted(courier: FastForward, there: Answering) -> None:
    """It isn't tried again, is no success and no dead letter, and its note is counted until it is written."""
    there.answer = lambda _: SHARED
    courier.put(1)
    assert courier.run(courier.queue.empty) < 60.0
    conn = courier.queue.connection
    row = ledger.find(conn, NAME, 1)
    assert row is not None
    assert (row.outcome, row.notes) == ("filtered", frozenset({"shared_item"}))
    assert ledger.noted(conn, 5) == {NAME: {"shared_item": Noted(1, (1,))}}
    assert control.get(conn, control.LAST_SUCCESS) is None
    assert courier.dispatcher.registry.pools[NAME].health.last_success == 0.0
    assert courier.dlq.get_count() == 0
    assert len(there.got) == 1
    there.answer = lambda _: Delivered()
    courier.put(1)
    courier.run(courier.queue.empty)
    assert ledger.noted(conn, 5) == {}
    assert control.get(conn, control.LAST_SUCCESS)["scene_id"] == 1


def test_it_shows_that_the_server_answers_again(courier: FastForward, there: Answering) -> None:
    """After an outage, a probe that is left out lets the others go."""
    there.answer = unreachable
    courier.put(1)
    courier.run(lambda: bool(there.got))
    courier.run(seconds=300.0)
    assert courier.dispatcher.registry.pools[NAME].health.state == "ill"
    there.answer = lambda delivery: SHARED if delivery.scene_id == 1 else Delivered()
    there.got.clear()
    courier.put(2)
    courier.run(courier.queue.empty)
    assert {scene for scene, _ in there.got} == {1, 2}
    assert courier.dispatcher.registry.pools[NAME].health.state == "well"


def test_a_record_comes_back(courier: FastForward, there: Answering) -> None:
    """What a delivery returns is handed in at the scene's next, also by another worker; None keeps it."""
    records = iter([b"one", None, b"two", None])
    there.answer = lambda _: Delivered(next(records))
    for _ in range(4):
        courier.put(1)
        courier.run(courier.queue.empty)
    assert [record for _, record in there.got] == [b"", b"one", b"one", b"two"]
