"""What Plex's answers mean: errors, login pages, invalid data."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from stash_courier.queue.failures import Failure
from stash_courier.queue.jobs import Delivery
from tests.standin.plex import TOKEN, Library
from tests.standin.plex import Plex as Server
from tests.standin.receivers import RawReceiver, Receiver, Reply, say
from tests.support.intercept import HTML, LOGIN, intercept
from tests.support.plex import DESTROY, PATH, SCENE, UPDATE, Make, failure

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize(
    ("reply", "expected", "said"),
    [
        (Reply(401, HTML, b"<html><h1>401 Unauthorized</h1></html>"), Failure.DESTINATION, '"Token"'),
        (Reply(403, HTML, b"<html><h1>403 Forbidden</h1></html>"), Failure.FORBIDDEN, '"Token"'),
        (Reply(404, HTML, b"<html>"), Failure.DESTINATION, '"Address"'),
        (Reply(302, {"Location": "http://sso/login?rd=x"}), Failure.DESTINATION, "redirects are not followed"),
        (LOGIN, Failure.DESTINATION, "login page"),
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
    """Each unexpected answer has its failure class and a message with advice, and shows no token."""
    server.receiver.answer = replace(reply, body=reply.body + (TOKEN.encode() if reply.status > 400 else b""))
    failed = failure(plex())
    assert failed.failure is expected
    assert said in failed.message
    assert failed.retry_after == (120.0 if reply.status == 429 else None)


def test_a_login_page_takes_no_edit(server: Server, films: Library, plex: Make) -> None:
    """An edit that a login page answered stops Plex, and is repeated when the page is gone."""
    item = server.add(films, PATH)
    real = intercept(server.receiver, LOGIN, "PUT ")
    destination = plex()
    failed = failure(destination)
    assert failed.failure is Failure.DESTINATION
    assert "login page" in failed.message
    server.receiver.answer = real
    destination.deliver(UPDATE, SCENE)
    assert item.values["title"] == "A day"


@pytest.mark.parametrize("job", [UPDATE, DESTROY])
def test_a_login_page_scans_nothing(server: Server, plex: Make, job: Delivery) -> None:
    """A scan that a login page answered fails the delivery of a new and of a deleted scene."""
    intercept(server.receiver, LOGIN, "/refresh")
    failed = failure(plex(), SCENE if job is UPDATE else None, job)
    assert failed.failure is Failure.DESTINATION
    assert "login page" in failed.message


@pytest.mark.parametrize("status", [401, 500, 503])
def test_an_edit_that_fails(server: Server, films: Library, plex: Make, status: int) -> None:
    """An edit that Plex refuses fails with the class of the answer, and is repeated at the next attempt."""
    item = server.add(films, PATH)
    real = intercept(server.receiver, Reply(status, HTML, b"<html>"), "PUT ")
    destination = plex()
    expected = {401: Failure.DESTINATION, 500: Failure.REFUSED, 503: Failure.BUSY}
    assert failure(destination).failure is expected[status]
    server.receiver.answer = real
    destination.deliver(UPDATE, SCENE)
    assert item.values["title"] == "A day"


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


def test_an_item_that_is_removed_meanwhile(server: Server, films: Library, plex: Make) -> None:
    """An item that vanishes between lookup and read is looked up again and makes no dead letter."""
    item = server.add(films, PATH)
    item.tags["genre"] = ["a", "b", "c"]
    intercept(server.receiver, Reply(200, {}, b'{"MediaContainer": {"size": 0}}'), "/metadata/")
    failed = failure(plex())
    assert failed.failure is Failure.REFUSED
    assert f"(id {item.key})" in failed.message


def test_a_server_that_is_down(server: Server, plex: Make) -> None:
    """A Plex server that is down is an outage, and deliveries work when it is back."""
    destination = plex()
    server.receiver.down()
    assert failure(destination).failure is Failure.UNREACHABLE
    server.receiver.up()
    assert failure(destination).failure is Failure.NOT_THERE_YET


def test_something_that_is_not_http(plex: Make) -> None:
    """Another program on Plex's port pauses Plex."""
    with RawReceiver(say(b"SSH-2.0-OpenSSH_9.6\r\n")) as other:
        failed = failure(plex(url=other.url))
    assert failed.failure is Failure.DESTINATION


def test_below_a_path_of_a_reverse_proxy(plex: Make) -> None:
    """An address with a path and a login is used as it is."""
    with Receiver(Reply(200, {}, b'{"MediaContainer": {"Directory": []}}')) as receiver:
        failure(plex(url=receiver.url.replace("http://", "http://me:pass-word@") + "plex/"))
        (request,) = receiver.received
    assert request.path == "/plex/library/sections"
    assert request.headers["x-plex-token"] == TOKEN
    assert request.headers["authorization"].startswith("Basic ")
    assert request.headers["accept"] == "application/json"


def test_closing_ends_requests(films: Library, plex: Make) -> None:
    """A request that hangs ends when the destination is closed."""
    with Receiver(Reply(delay=30)) as receiver:
        destination = plex(url=receiver.url)
        threading.Timer(0.2, destination.close).start()
        started = time.monotonic()
        assert failure(destination).failure is Failure.BUSY
        assert time.monotonic() - started < 4
