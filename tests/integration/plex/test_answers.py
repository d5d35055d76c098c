"""What Plex's answers mean: errors, login pages, invalid data."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from stash_courier.queue.failures import Failure
from stash_courier.queue.jobs import Delivery
from tests.standin.plex import TOKEN, Library
from tests.standin.plex import Plex as Server
from tests.standin.receivers import Received, Receiver, Reply
from tests.support.intercept import HTML, LOGIN, intercept
from tests.support.plex import DESTROY, JPEG, PATH, SCENE, UPDATE, Make, failure

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize(
    ("reply", "expected", "said"),
    [
        (Reply(401, HTML, b"<html><h1>401 Unauthorized</h1></html>"), Failure.DESTINATION, '"Token"'),
        (Reply(404, HTML, b"<html>"), Failure.DESTINATION, '"Address"'),
        (LOGIN, Failure.DESTINATION, "login page"),
        (Reply(200, {}, b'{"Items": []}'), Failure.DESTINATION, "as Plex never does"),
        (Reply(200, {}, b'{"MediaContainer": []}'), Failure.DESTINATION, "as Plex never does"),
        (Reply(200, {}, b'{"MediaContainer": {"Directory": 5}}'), Failure.DESTINATION, "no library of movies"),
        (Reply(500, HTML, b"<html>"), Failure.REFUSED, "500"),
    ],
)
def test_what_plex_answers(server: Server, plex: Make, reply: Reply, expected: Failure, said: str) -> None:
    """Each unexpected answer has its failure class and a message with advice, and shows no token."""
    server.receiver.answer = replace(reply, body=reply.body + (TOKEN.encode() if reply.status > 400 else b""))
    failed = failure(plex())
    assert failed.failure is expected
    assert said in failed.message


def test_invalid_rows_of_a_listing_are_skipped(server: Server, plex: Make) -> None:
    """Invalid rows in a listing are skipped, never taken for an item, and never crash the delivery."""
    rows: list[Any] = [
        5,
        None,
        {},
        {"ratingKey": "1", "Media": "x"},
        {"ratingKey": "2", "Media": [{"Part": [{"file": 7}, 3]}], "Genre": {"tag": "x"}},
    ]
    body = json.dumps({"MediaContainer": {"size": 5, "totalSize": 5, "Metadata": rows}}).encode()
    intercept(server.receiver, Reply(200, {}, body), "/all")
    assert failure(plex()).failure is Failure.NOT_THERE_YET


def test_a_library_that_was_recreated(server: Server, films: Library, plex: Make) -> None:
    """A library that was recreated with another id is found at the next attempt."""
    item = server.add(films, PATH)
    destination = plex(respect_locks=False)
    destination.deliver(UPDATE, SCENE)
    films.key = "12"
    item.values["title"] = "old"
    failed = failure(destination)
    assert failed.failure is Failure.REFUSED
    assert "look again" in failed.message
    destination.deliver(UPDATE, SCENE)
    assert item.values["title"] == "A day"


@pytest.mark.parametrize(
    ("part", "job"), [("PUT ", UPDATE), ("/posters", UPDATE), ("/refresh", UPDATE), ("/refresh", DESTROY)]
)
def test_a_login_page_takes_no_change(
    server: Server, films: Library, plex: Make, part: str, job: Delivery
) -> None:
    """An edit, poster or scan that a login page answered with 200 counts as failed, and holds Plex."""
    if part != "/refresh":
        server.add(films, PATH)
    intercept(server.receiver, LOGIN, part)
    destination = plex(cover=lambda _: JPEG, images=True)
    failed = failure(destination, None if job is DESTROY else SCENE, replace(job, changed=()))
    assert failed.failure is Failure.DESTINATION
    assert "login page" in failed.message


def test_closing_ends_a_request_that_hangs(plex: Make) -> None:
    """A connection that is closed waits for no server that hangs."""
    asked, answer = threading.Event(), threading.Event()

    def hang(_: Received) -> Reply:
        asked.set()
        answer.wait(30)
        return Reply()

    with Receiver(hang) as receiver, ThreadPoolExecutor(1) as thread:
        destination = plex(url=receiver.url, timeout_seconds=60)
        failed = thread.submit(failure, destination)
        assert asked.wait(10)
        destination.close()
        try:
            assert failed.result(10).failure is Failure.BUSY
        finally:
            answer.set()
