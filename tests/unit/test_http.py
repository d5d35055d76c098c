"""worker/http: what is sent, what an answer or an error means, and that no text shows a secret."""

from __future__ import annotations

import errno
import logging
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.worker.http.addresses import host_of
from stash_courier.worker.http.client import KEPT, Client, classify, parse_retry_after, stated_wait
from tests.standin.receivers import RawReceiver, Receiver, Reply, Script, read_request, reset, say

pytestmark = pytest.mark.timeout(30)

NOW = 1_767_225_600.0  # 2026-01-01T00:00:00Z


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    """Every thread that a test started ends with the test."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive(), thread


@pytest.fixture
def client() -> Iterator[Client]:
    made = Client(timeout=5)
    yield made
    made.close()


@pytest.fixture
def in_tokyo() -> Iterator[None]:
    """A machine whose local time isn't UTC."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


def failure(client: Client, url: str, **options: object) -> DeliveryFailed:
    """The failure of a request."""
    with pytest.raises(DeliveryFailed) as caught:
        client.request("POST", url, body=b"{}", fixed_url=True, **options)  # type: ignore[arg-type]
    return caught.value


# What is sent


def test_a_request_arrives_as_it_was_given(client: Client) -> None:
    """Method, path, query, headers and body arrive unchanged, and no compressed answer is requested."""
    with Receiver() as receiver:
        answer = client.request("PUT", receiver.url + "a/b?c=d", headers={"X-One": "1"}, body=b"\x00\xff")
    (got,) = receiver.received
    assert (answer.status, got.method, got.path, got.body) == (200, "PUT", "/a/b?c=d", b"\x00\xff")
    assert got.headers["x-one"] == "1"
    assert got.headers["accept-encoding"] == "identity"
    assert got.headers["user-agent"] == "Stash-Courier"


def test_nothing_but_the_request_is_sent(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy of the environment is used, and no cookie, even an invalid one, is sent back to the receiver."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("all_proxy", "http://127.0.0.1:9")
    with Receiver(Reply(headers={"Set-Cookie": "a=b; Expires=Thu, 01 Foo 2030 00:00:00 GMT"})) as receiver:
        client.request("GET", receiver.url)
        assert client.request("GET", receiver.url).headers["Set-Cookie"].startswith("a=b")
    assert "cookie" not in receiver.received[1].headers


@pytest.mark.parametrize("status", [200, 201, 202, 204, 207])
def test_2xx_is_success_and_the_connection_is_kept(client: Client, status: int) -> None:
    """Every 2xx is a success, and ten requests in a row use one connection."""
    with RawReceiver(_serve_keeping(status)) as receiver:
        for _ in range(10):
            assert client.request("POST", receiver.url, body=b"{}").status == status
        assert receiver.accepted == 1


def _serve_keeping(status: int) -> Script:
    length = b"" if status == 204 else b"Content-Length: 2\r\n"
    body = b"" if status == 204 else b"ok"

    def script(connection: socket.socket, ended: threading.Event) -> None:
        while read_request(connection):
            connection.sendall(b"HTTP/1.1 %d Fine\r\n%s\r\n%s" % (status, length, body))

    return script


# Kept connections


def test_dead_kept_connections_are_no_failure(client: Client) -> None:
    """If a receiver closes idle connections as they are reused, it gets the request once, on a new connection."""
    together = threading.Barrier(3)
    bodies: list[bytes] = []

    def script(connection: socket.socket, ended: threading.Event) -> None:
        first = read_request(connection)
        bodies.append(first[-1:])
        if first.endswith(b"1"):
            together.wait(10)  # so that three connections are kept
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        read_request(connection)  # the second request comes, and the connection closes without an answer

    with RawReceiver(script) as receiver:
        threads = [
            threading.Thread(target=client.request, args=("POST", receiver.url), kwargs={"body": b"1"})
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert client.request("POST", receiver.url, body=b"2").status == 200
        assert receiver.accepted == 4
    assert bodies == [b"1", b"1", b"1", b"2"]


@pytest.mark.parametrize("script", [say(), reset], ids=["closed", "reset"])
def test_a_new_connection_that_breaks_is_a_failure(client: Client, script: object) -> None:
    """A receiver that closes or resets a new connection is busy, and doesn't get the request again at once."""
    with RawReceiver(script) as receiver:  # type: ignore[arg-type]
        failed = failure(client, receiver.url)
        assert receiver.accepted == 1
    assert failed.failure is Failure.BUSY
    assert "closed the connection" in failed.message


# What an answer means


@pytest.mark.parametrize(
    ("status", "fixed", "item"),
    [
        (101, Failure.DESTINATION, Failure.DESTINATION),
        (301, Failure.DESTINATION, Failure.DESTINATION),
        (304, Failure.DESTINATION, Failure.DESTINATION),
        (308, Failure.DESTINATION, Failure.DESTINATION),
        (400, Failure.ITEM_REFUSED, Failure.ITEM_REFUSED),
        (401, Failure.DESTINATION, Failure.DESTINATION),
        (402, Failure.ITEM_REFUSED, Failure.ITEM_REFUSED),
        (403, Failure.FORBIDDEN, Failure.FORBIDDEN),
        (404, Failure.DESTINATION, Failure.ITEM_REFUSED),
        (405, Failure.DESTINATION, Failure.ITEM_REFUSED),
        (407, Failure.DESTINATION, Failure.DESTINATION),
        (408, Failure.REFUSED, Failure.REFUSED),
        (409, Failure.REFUSED, Failure.REFUSED),
        (410, Failure.GONE, Failure.GONE),
        (413, Failure.ITEM_REFUSED, Failure.ITEM_REFUSED),
        (422, Failure.ITEM_REFUSED, Failure.ITEM_REFUSED),
        (425, Failure.REFUSED, Failure.REFUSED),
        (429, Failure.BUSY, Failure.BUSY),
        (500, Failure.REFUSED, Failure.REFUSED),
        (501, Failure.DESTINATION, Failure.DESTINATION),
        (502, Failure.BUSY, Failure.BUSY),
        (503, Failure.BUSY, Failure.BUSY),
        (504, Failure.BUSY, Failure.BUSY),
        (507, Failure.REFUSED, Failure.REFUSED),
        (522, Failure.BUSY, Failure.BUSY),
        (599, Failure.BUSY, Failure.BUSY),
        (999, Failure.DESTINATION, Failure.DESTINATION),
    ],
)
def test_each_status_has_its_class(status: int, fixed: Failure, item: Failure) -> None:
    """Each status has its class. 404 and 405 depend on whether the owner entered the URL, others on the kind."""
    assert (classify(status, fixed_url=True), classify(status, fixed_url=False)) == (fixed, item)
    of_webhook = Failure.REJECTED if fixed is Failure.ITEM_REFUSED else fixed
    assert classify(status, fixed_url=True, refused=Failure.REJECTED) is of_webhook


def test_a_refusal_says_what_and_what_to_do(client: Client) -> None:
    """A failure contains host, status and what to do, and the receiver's answer."""
    with Receiver(Reply(401, body=b"who are\x1b[31m you?")) as receiver:
        failed = failure(client, receiver.url + "path?token=abcdefgh")
    assert failed.failure is Failure.DESTINATION
    assert failed.status == 401
    assert failed.answer == "who are [31m you?"
    assert failed.message == (
        f"127.0.0.1:{receiver.port} answered 401 Unauthorized: "
        "check the credentials in this destination's settings."
    )


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "location", ["{other}", "/elsewhere", "https://u:pw@new.example/secret-path?k=v", "//[", ""]
)
def test_a_redirect_is_a_failure_and_leads_nowhere(client: Client, status: int, location: str) -> None:
    """No redirect is followed and its body is not read. Its path and query, perhaps a token, are not shown."""
    with Receiver() as other, Receiver() as receiver:
        target = location.format(other=other.url)
        receiver.answer = Reply(status, {"Location": target}, b"x" * 1_000_000)
        failed = failure(client, receiver.url)
    assert (len(receiver.received), len(other.received)) == (1, 0)
    assert (failed.failure, failed.status) == (Failure.DESTINATION, status)
    assert len(failed.answer) <= KEPT
    assert "redirects are not followed" in failed.message
    assert ("https://new.example" in failed.message) is ("new.example" in location)
    assert "secret-path" not in failed.message
    assert "pw" not in failed.message


def test_plain_http_on_a_tls_port_is_the_settings_fault(client: Client) -> None:
    """A 400 that says "this is an HTTPS port" is the destination's fault, so no scene becomes a dead letter."""
    said = b"<h1>400 Bad Request</h1>The plain HTTP request was sent to HTTPS port"
    with Receiver(Reply(400, body=said)) as receiver:
        failed = failure(client, receiver.url)
    assert failed.failure is Failure.DESTINATION
    assert "https://" in failed.message


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 5 ", 5.0),
        ("Thu, 01 Jan 2026 00:02:00 GMT", 120.0),
        ("Thursday, 01-Jan-26 00:02:00 GMT", 120.0),
        ("Thu, 01 Jan 2026 00:02:00", 120.0),
        ("999999", 86400.0),
        ("9" * 5000, 86400.0),
        ("Fri, 01 Jan 2038 00:00:00 GMT", 86400.0),
        ("0", None),
        ("-5", None),
        ("1.5", None),
        ("²", None),
        ("", None),
        ("soon", None),
        ("Mon, 99 Foo 2026 99:99:99 GMT", None),
        ("Wed, 31 Dec 2025 00:00:00 GMT", None),
    ],
)
@pytest.mark.usefixtures("in_tokyo")
def test_retry_after_is_parsed_by_the_rfc(value: str, seconds: float | None) -> None:
    """Retry-After is seconds or a date, at most a day ahead; 0 and the past are ignored."""
    assert parse_retry_after(value, NOW) == seconds


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        (b'{"message": "You are being rate limited.", "retry_after": 0.65, "global": false}', 0.65),
        (b'{"retry_after": 30}', 30.0),
        (b'{"ok": false, "error_code": 429, "parameters": {"retry_after": 35}}', 35.0),
        (b'{"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 2500}', 2.5),
        (b'{"retry_after": 999999}', 86400.0),
        (b'{"retry_after_ms": 1e300}', 86400.0),
        (b'{"retry_after": 1e999}', 86400.0),
        (b'{"retry_after": %s}' % (b"9" * 1000), 86400.0),
        (b'{"retry_after": "soon", "retry_after_ms": 1000}', 1.0),
        (b'{"retry_after": 0}', None),
        (b'{"retry_after": -5}', None),
        (b'{"retry_after": NaN}', None),
        (b'{"retry_after": true}', None),
        (b'{"parameters": [5]}', None),
        (b'{"retry_after": 30', None),
        (b"[30]", None),
        (b"\xff", None),
        (b"[" * 2000, None),
        (b"", None),
    ],
)
def test_a_429_may_state_the_wait_in_its_body(body: bytes, seconds: float | None) -> None:
    """Discord, Telegram and Matrix state the wait in JSON: at most a day; 0 and what is no number are ignored."""
    assert stated_wait(body) == seconds


def test_only_a_busy_receiver_is_asked_how_long_to_wait(client: Client) -> None:
    """The wait in the header, the standard, comes before that in the body; a 500 states none."""
    with Receiver(Reply(429, body=b'{"retry_after": 30}')) as receiver:
        waits = [failure(client, receiver.url).retry_after]
        for status in (429, 500):
            receiver.answer = Reply(status, {"Retry-After": "120"}, b'{"retry_after": 30}')
            waits.append(failure(client, receiver.url).retry_after)
    assert waits == [30.0, 120.0, None]


def test_an_answer_is_kept_up_to_the_limit(client: Client) -> None:
    """2 KB of an answer are kept, or as much as the caller asks for, and it is known whether there was more."""
    with Receiver(Reply(body=b"x" * 100_000)) as receiver:
        short = client.request("GET", receiver.url)
        exact = client.request("GET", receiver.url, limit=100_000)
        receiver.answer = Reply(500, body="ü".encode() * 100_000)
        failed = failure(client, receiver.url)
    assert (len(short.body), short.whole) == (KEPT, False)
    assert (len(exact.body), exact.whole) == (100_000, True)
    assert 1000 < len(failed.answer.encode()) <= KEPT


# No answer


def test_a_refused_connection_is_unreachable(client: Client) -> None:
    """A receiver that is down is unreachable, which doesn't count as an attempt."""
    with Receiver() as receiver:
        url = receiver.url
    failed = failure(client, url)
    assert failed.failure is Failure.UNREACHABLE
    assert failed.message == f"{host_of(url)} refuses connections: check that it runs, and the port."


@pytest.mark.parametrize("error", [ConnectionResetError, BrokenPipeError])
def test_a_reset_while_connecting_is_no_bug(
    client: Client, monkeypatch: pytest.MonkeyPatch, error: type[OSError]
) -> None:
    """A server that dies while a connection is made is busy: the scene waits, however often that happens."""

    def connect(*_: object) -> None:
        raise error(errno.ECONNRESET, "reset")

    monkeypatch.setattr(socket.socket, "connect", connect)
    with pytest.raises(DeliveryFailed) as caught:
        client.request("GET", "http://127.0.0.1:9/")
    assert caught.value.failure is Failure.BUSY


def test_a_name_that_does_not_exist_is_unreachable(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host name that can't be resolved is unreachable, and the message contains the resolver's error."""

    def getaddrinfo(*args: object, **kwargs: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    failed = failure(client, "http://nowhere.example:81/")
    assert failed.failure is Failure.UNREACHABLE
    assert failed.message.startswith("nowhere.example:81 can't be found (Name or service not known): check")


def test_a_resolver_that_hangs_does_not_hold_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lookup that hangs ends at the deadline, and five tries of the same host use one thread."""
    real, hanging = socket.getaddrinfo, threading.Event()

    def getaddrinfo(host: str, port: int, *, type: int, flags: int = 0) -> object:  # noqa: A002
        if flags & socket.AI_NUMERICHOST:
            return real(host, port, type=type, flags=flags)
        hanging.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    client = Client(timeout=0.1)
    before = threading.active_count()
    try:
        for _ in range(5):
            failed = failure(client, "http://slow.example/")
            assert failed.failure is Failure.BUSY
            assert "slow.example did not answer within 0.1 s" in failed.message
        assert threading.active_count() - before == 2  # one lookup and the watchdog
    finally:
        hanging.set()
        client.close()


# Link-local


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "2852039166",
        "0xA9FEA9FE",
        "0251.0376.0251.0376",
        "[::ffff:169.254.169.254]",
        "[fe80::1]",
    ],
)
def test_link_local_is_refused_in_every_spelling(client: Client, host: str) -> None:
    """Nothing is sent to a link-local address, however the URL spells it."""
    failed = failure(client, f"http://{host}/latest/meta-data")
    assert failed.failure is Failure.DESTINATION
    assert "link-local" in failed.message


def test_link_local_is_refused_behind_a_name(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with link-local addresses only is refused. If it has another address, that one is used."""
    with Receiver() as receiver:
        link_local = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", receiver.port, 0, 2))
        loopback = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", receiver.port))
        answers: dict[str, list[object]] = {"bad.example": [link_local], "nas.local": [link_local, loopback]}

        def getaddrinfo(host: str, *args: object, flags: int = 0, **kwargs: object) -> list[object]:
            if flags & socket.AI_NUMERICHOST:
                raise socket.gaierror(socket.EAI_NONAME, "no address")
            return answers[host]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        assert failure(client, f"http://bad.example:{receiver.port}/").failure is Failure.DESTINATION
        assert client.request("GET", f"http://nas.local:{receiver.port}/").status == 200
        assert len(receiver.received) == 1


def test_the_next_address_is_tried_if_the_first_fails(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with several addresses is reached if one of them answers, as with localhost without IPv6."""
    with Receiver() as good, Receiver() as closed:
        closed.down()
        found = [(socket.AF_INET, 1, 6, "", ("127.0.0.1", port)) for port in (closed.port, good.port)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: found)
        assert client.request("GET", "http://two.example/").status == 200


# Secrets


def test_an_answer_that_echoes_secrets_shows_none(caplog: pytest.LogCaptureFixture) -> None:
    """If a receiver echoes the request, no secret gets into the history, the message or the log of a library."""
    caplog.set_level(logging.DEBUG)
    secret = "s3cr3t/with+signs=and&more"
    client = Client(timeout=5, secrets=(secret, "pass"))
    echoed = f'{secret} s3cr3t%2Fwith%2Bsigns%3Dand%26more s3cr3t/with+signs=and&amp;more "pass" passed '
    with Receiver(Reply(500, body=echoed.encode() + b"http://bob:hunter2@host/x?key=val ?q=1")) as receiver:
        failed = failure(client, receiver.url + "hook?token=s3cr3t")
    client.close()
    for part in ("s3cr3t", "hunter2", "val", '"pass"'):
        assert part not in failed.answer + failed.message + caplog.text
    assert "passed" in failed.answer


@pytest.mark.parametrize("offset", range(0, 60, 7))
def test_a_secret_at_the_cut_is_not_shown_in_part(offset: int) -> None:
    """If the 2 KB end inside a secret, its first part is not shown either."""
    secret = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    client = Client(timeout=5, secrets=(secret,))
    with Receiver(Reply(500, body=b"." * (KEPT - offset) + secret.encode() + b"." * 100)) as receiver:
        assert "a" not in failure(client, receiver.url).answer
    client.close()


def test_an_invalid_url_is_not_shown(client: Client) -> None:
    """An invalid URL fails with a message that doesn't repeat it."""
    failed = failure(client, "http://bob:hunter2@[::1/?token=abcdefgh")
    assert failed.failure is Failure.DESTINATION
    assert "hunter2" not in failed.message
    assert "abcdefgh" not in failed.message


# Closing


def test_closing_ends_requests_in_progress() -> None:
    """Closing a client ends a waiting request at once, and later requests fail."""
    client = Client(timeout=20)
    failures: list[DeliveryFailed] = []
    with Receiver(Reply(delay=20)) as receiver:
        thread = threading.Thread(target=lambda: failures.append(failure(client, receiver.url)))
        started = time.monotonic()
        thread.start()
        receiver.wait_for(1)
        client.close()
        thread.join()
        failures.append(failure(client, receiver.url))
        assert len(receiver.received) == 1
    assert time.monotonic() - started < 10
    assert [f.failure for f in failures] == [Failure.BUSY, Failure.BUSY]
    assert "canceled" in failures[0].message


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://Example.org/x?y#z", "example.org"),
        ("https://u:p@example.org:443", "example.org"),
        ("http://example.org:443/", "example.org:443"),
        ("http://[::1]:8080/", "[::1]:8080"),
    ],
)
def test_a_host_is_named_without_the_rest(url: str, host: str) -> None:
    """Messages name host and port, without login, path, query and a default port."""
    assert host_of(url) == host
