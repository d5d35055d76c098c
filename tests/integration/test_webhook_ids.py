"""Receivers that drop repeated webhook-ids, as Standard Webhooks advises: they never keep an older state."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import ROOT
from tests.standin.receivers import Received, Receiver, Reply
from tests.standin.stash.server import StandInStash
from tests.support.fast_forward import FastForward
from tests.support.harness import PLUGIN, Courier, wait_until


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


def test_after_a_crash_the_same_content_has_the_same_id(tmp_path: Path, app: Deduplicating) -> None:
    """The worker is killed while a receiver takes a message, then the scene is edited: all ids tell the truth."""
    taken, released = threading.Event(), threading.Event()

    def answer(received: Received) -> Reply:
        reply = app(received)
        if not taken.is_set():
            taken.set()
            released.wait(30)  # the worker dies before the answer
        return reply

    with Receiver(answer) as receiver, Courier(tmp_path, {"webhook_url": receiver.url}) as courier:
        courier.stash.edit(1, title="Before the crash")
        assert taken.wait(20)
        os.kill(courier.worker_pid(), signal.SIGKILL)
        wait_until(lambda: not courier.worker_runs, 10.0)
        released.set()
        courier.stash.edit(2, title="Another")  # starts a worker
        courier.drained()
        assert app.dropped == [next(iter(app.seen))]
        courier.stash.edit(1, title="After the crash")
        courier.drained()
    assert {scene: data["title"] for scene, data in app.state.items()} == {
        "1": "After the crash",
        "2": "Another",
    }
    assert len(app.seen) == 3
