"""Receivers that drop repeated webhook-ids, as Standard Webhooks advises: they never keep an older state."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import ROOT
from tests.standin.receivers import Received, Receiver, Reply
from tests.standin.stash.server import StandInStash
from tests.support.fast_forward import FastForward
from tests.support.harness import PLUGIN


class Deduplicating:
    """The application behind a receiver: it takes each id once, and what it took is its state."""

    def __init__(self) -> None:
        self.seen: dict[str, bytes] = {}  # the first body of each id
        self.dropped: list[str] = []  # ids that came again
        self.mixed: set[str] = set()  # ids that came with two contents
        self.state: dict[str, dict[str, Any]] = {}  # by scene
        self.answers: list[Reply] = []  # the next ones

    def __call__(self, received: Received) -> Reply:
        """Takes a request."""
        name = received.headers["webhook-id"]
        if name in self.seen:
            self.dropped.append(name)
            if self.seen[name] != received.body:
                self.mixed.add(name)
        else:
            self.seen[name] = received.body
            self.state[received.json()["data"]["id"]] = received.json()["data"]
        return self.answers.pop(0) if self.answers else Reply()


@pytest.fixture
def app() -> Iterator[Deduplicating]:
    made = Deduplicating()
    yield made
    assert not made.mixed  # one id, one content


@pytest.fixture
def stash(tmp_path: Path, app: Deduplicating) -> Iterator[StandInStash]:
    with StandInStash(3, config_dir=tmp_path / "config") as running, Receiver(app) as receiver:
        running.install_plugin(ROOT)
        running.config.plugins[PLUGIN] = {"webhook_url": receiver.url, "worker_sweep_off": True}
        yield running


def test_a_retry_with_other_content_is_not_dropped(
    tmp_path: Path, stash: StandInStash, app: Deduplicating
) -> None:
    """A tag is renamed after a try that was taken but not confirmed: the retry has a new id and is taken."""
    stash.change_without_hook(1, tags=["Old name"])
    app.answers = [Reply(500)]
    with FastForward(tmp_path / "data", stash) as courier:
        courier.put(1)
        courier.run(lambda: len(app.seen) == 1)
        stash.library.rename("tag", "Old name", "New name")
        courier.run(courier.queue.empty)
    assert [tag["name"] for tag in app.state["1"]["tags"]] == ["New name"]


def test_a_retry_with_the_same_content_is_dropped(tmp_path: Path, stash: StandInStash, app: Deduplicating) -> None:
    """A try that was taken but not confirmed is repeated with the same id, however often."""
    app.answers = [Reply(500), Reply(503), Reply(500)]
    with FastForward(tmp_path / "data", stash) as courier:
        courier.put(1)
        courier.run(courier.queue.empty)
    assert len(app.seen) == 1
    assert app.dropped == [next(iter(app.seen))] * 3


def test_a_value_that_returns_to_an_older_one_is_taken(
    tmp_path: Path, stash: StandInStash, app: Deduplicating
) -> None:
    """A title is changed and changed back, so the scene is as it was: its id is new, because its event is."""
    with FastForward(tmp_path / "data", stash) as courier:
        for title in ("First", "Second", "First"):
            stash.change_without_hook(1, title=title)
            app.answers = [Reply(500)]
            courier.put(1)
            courier.run(courier.queue.empty)
            assert app.state["1"]["title"] == title
    assert len(app.seen) == 3
