"""What ends a request to a badly behaved receiver, over real sockets and TLS."""

from __future__ import annotations

import contextlib
import gc
import gzip
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.worker.http.client import KEPT, Client
from tests.standin.receivers import (
    RawReceiver,
    Receiver,
    Reply,
    Script,
    drip,
    flood,
    never_answer,
    read_request,
    say,
)
from tests.support import certificate

pytestmark = pytest.mark.timeout(60)  # a deadline that isn't kept

DEADLINE = 0.2  # seconds
OK = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    """Every thread that a test started has ended when it ends."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive(), thread


@pytest.fixture(scope="session")
def pem(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A self-signed certificate for 127.0.0.1 with its key, in one file."""
    if not certificate.can_make():
        pytest.skip(certificate.MISSING)
    return certificate.make(tmp_path_factory.mktemp("tls") / "self-signed.pem")


def outcome(
    url: str, *, ca_file: str | None = None, timeout: float = DEADLINE, body: bytes = b"{}"
) -> DeliveryFailed:
    """The failure that a request ends with."""
    client = Client(timeout=timeout, ca_file=ca_file)
    try:
        with pytest.raises(DeliveryFailed) as caught:
            client.request("POST", url, body=body, fixed_url=True)
    finally:
        client.close()
    return caught.value


# TLS


def test_a_certificate_that_is_trusted_is_enough(pem: str) -> None:
    """With a trusted certificate, events go over TLS on one kept connection."""
    client = Client(timeout=10, ca_file=pem)
    with Receiver(tls=pem) as receiver:
        for _ in range(3):
            assert client.request("POST", receiver.url, body=b"{}").status == 200
        assert receiver.connections == 1
    client.close()


def test_a_self_signed_certificate_is_refused_with_advice(pem: str) -> None:
    """A self-signed certificate holds the destination: nothing is sent, and the failure says what to do."""
    with Receiver(tls=pem) as receiver:
        failed = outcome(receiver.url, timeout=10)
        assert receiver.received == ()
    assert failed.failure is Failure.DESTINATION
    assert "self-signed certificate" in failed.message
    assert "SSL_CERT_FILE" in failed.message


def test_a_certificate_of_another_host_is_refused(pem: str) -> None:
    """A trusted certificate of another host is refused too."""
    with Receiver(tls=pem) as receiver:
        failed = outcome(receiver.url.replace("127.0.0.1", "localhost"), ca_file=pem, timeout=10)
    assert failed.failure is Failure.DESTINATION
    assert "localhost" in failed.message


def test_https_to_a_plain_port_holds_the_destination() -> None:
    """https:// to an http port holds the destination, and the failure suggests http://."""
    with Receiver() as receiver:
        failed = outcome(receiver.url.replace("http://", "https://"), timeout=10)
    assert failed.failure is Failure.DESTINATION
    assert "http://" in failed.message


def test_tls_that_is_cut_off_is_retried() -> None:
    """A server that closes the connection during the TLS handshake counts as busy."""

    def hang_up(connection: socket.socket, ended: threading.Event) -> None:
        connection.recv(65536)

    with RawReceiver(hang_up) as receiver:
        failed = outcome(receiver.url.replace("http://", "https://"), timeout=10)
    assert failed.failure is Failure.BUSY


# Time


def _continue(connection: socket.socket, ended: threading.Event) -> None:
    read_request(connection)
    while not ended.wait(0.05):
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")


def _handshake(connection: socket.socket, ended: threading.Event) -> None:
    connection.recv(65536)
    connection.sendall(b"\x16\x03\x03\x40\x00")  # a handshake record of 16 KB follows
    while not ended.wait(0.05):
        connection.sendall(b"\x00")


HEAD = OK + b"Content-Type: text/plain\r\n"
SLOW: dict[str, Script] = {
    "accepts and never answers": never_answer,
    "drips its status line": drip(b"", 0.05),
    "drips its headers": drip(HEAD, 0.05),
    "drips its body": drip(HEAD + b"Content-Length: 100000\r\n\r\n", 0.05),
    "drips a body without an end": drip(HEAD + b"Connection: close\r\n\r\n", 0.05),
    "drips a chunk": drip(HEAD + b"Transfer-Encoding: chunked\r\n\r\nfffff\r\n", 0.05),
    "drips refusals": drip(b"HTTP/1.1 401 No\r\nContent-Length: 100000\r\n\r\n", 0.05),
    "says 100 Continue forever": _continue,
    "drips its TLS handshake": _handshake,
}


@pytest.mark.parametrize("name", SLOW)
def test_a_slow_answer_ends_at_the_deadline(name: str) -> None:
    """However a receiver stretches its answer, the request times out at its deadline."""
    with RawReceiver(SLOW[name]) as receiver:
        url = receiver.url.replace("http:", "https:") if "TLS" in name else receiver.url
        failed = outcome(url)
    assert failed.failure is Failure.BUSY
    assert f"did not answer within {DEADLINE:g} s" in failed.message


@pytest.mark.parametrize("size", [2, 50_000_000], ids=["small", "large"])
def test_a_receiver_that_reads_nothing_over_tls_ends_at_the_deadline(pem: str, size: int) -> None:
    """Below TLS, a request is cut off at its deadline while it is sent, and while its answer is awaited."""
    with RawReceiver(never_answer, tls=pem) as receiver:
        assert outcome(receiver.url, ca_file=pem, body=bytes(size)).failure is Failure.BUSY


@pytest.fixture
def deaf_port() -> Iterator[int]:
    """A port that never accepts connections."""
    with contextlib.ExitStack() as stack:
        deaf = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):  # fill its queue, so that the next SYN is dropped
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(deaf.getsockname())
        yield deaf.getsockname()[1]


def test_a_connection_that_is_not_accepted_ends_at_the_deadline(deaf_port: int) -> None:
    """A host that never accepts a connection is a time-out at the deadline."""
    assert outcome(f"http://127.0.0.1:{deaf_port}/").failure is Failure.BUSY


@pytest.mark.check  # needs a deadline within which a slow machine gets a good answer
def test_a_deaf_address_leaves_time_for_the_next(deaf_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host whose first address drops all packets, such as broken IPv6, is reached at its second address."""
    with Receiver() as receiver:
        found = [(socket.AF_INET, 1, 6, "", ("127.0.0.1", port)) for port in (deaf_port, receiver.port)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: found)
        client = Client(timeout=4.0)
        assert client.request("POST", "http://two.example/", body=b"{}").status == 200
        client.close()


def test_a_slow_receiver_leaves_the_others_of_a_client_alone() -> None:
    """While requests of a client hang, others complete on their own deadlines."""
    client = Client(timeout=20)
    failures: list[Failure] = []

    def hang(url: str) -> None:
        with pytest.raises(DeliveryFailed) as caught:
            client.request("POST", url, body=b"{}")
        failures.append(caught.value.failure)

    with RawReceiver(never_answer) as bad, Receiver() as good:
        threads = [threading.Thread(target=hang, args=(bad.url,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for _ in range(20):
            assert client.request("POST", good.url, body=b"{}").status == 200
        assert not failures
        client.close()
        for thread in threads:
            thread.join()
    assert failures == [Failure.BUSY] * 8


# Content


@pytest.mark.parametrize(
    "status", [b"200 OK", b"302 Found\r\nLocation: /", b"500 No", b"200 OK\r\nContent-Encoding: gzip"]
)
def test_a_huge_answer_is_not_read(status: bytes) -> None:
    """Only the beginning of an answer of 1 GB is read, whatever its status."""
    client = Client(timeout=10)
    sent: list[int] = []
    head = b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n" % (status, 1 << 30)
    with RawReceiver(flood(head, bytes(1 << 20), 1 << 10, sent)) as receiver:
        kept = b""
        with contextlib.suppress(DeliveryFailed):
            kept = client.request("POST", receiver.url, body=b"{}").body
    client.close()
    assert len(kept) <= KEPT
    assert sent[0] < 32 << 20  # what the sockets' buffers take


def test_a_gzip_bomb_stays_packed() -> None:
    """A compressed answer is never decompressed."""
    bomb = gzip.compress(bytes(20_000_000))
    client = Client(timeout=10)
    with Receiver(Reply(200, {"Content-Encoding": "gzip"}, bomb)) as receiver:
        answer = client.request("POST", receiver.url, body=b"{}")
        receiver.answer = Reply(500, {"Content-Encoding": "gzip"}, bomb)
        with pytest.raises(DeliveryFailed) as caught:
            client.request("POST", receiver.url, body=b"{}")
    client.close()
    assert answer.body == bomb[:KEPT]
    assert len(caught.value.answer) <= KEPT


CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
GARBAGE: dict[str, tuple[bytes, Failure]] = {
    "no HTTP at all": (b"SSH-2.0-OpenSSH_9.2\r\n", Failure.DESTINATION),
    "no status": (b"HTTP/1.1 fine\r\n\r\n", Failure.DESTINATION),
    "a TLS alert": (b"\x15\x03\x01\x00\x02\x02\x16", Failure.DESTINATION),
    "a status line of 100 KB": (b"HTTP/1.1 200 " + b"x" * 100_000 + b"\r\n\r\n", Failure.DESTINATION),
    "a header of 100 KB": (OK + b"A: " + b"x" * 100_000 + b"\r\n\r\n", Failure.DESTINATION),
    "500 header lines": (OK + b"A: b\r\n" * 500 + b"\r\n", Failure.DESTINATION),
    "an invalid chunk size": (CHUNKED + b"zz\r\nhello\r\n", Failure.BUSY),
    "an endless chunk size": (CHUNKED + b"1" * 100_000 + b"\r\n", Failure.DESTINATION),
    "a negative chunk size": (CHUNKED + b"-5\r\nhello\r\n", Failure.BUSY),
    "half a chunk": (CHUNKED + b"ff\r\nhello", Failure.BUSY),
    "no last chunk": (CHUNKED + b"5\r\nhello\r\n", Failure.BUSY),
    "half a body": (OK + b"Content-Length: 100\r\n\r\nhello", Failure.BUSY),
    "nothing": (b"", Failure.BUSY),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_distinguished_from_a_truncated_answer(name: str) -> None:
    """An answer that isn't HTTP holds the destination, a truncated one is retried; neither counts as success."""
    said, expected = GARBAGE[name]
    with RawReceiver(say(said)) as receiver:
        failed = outcome(receiver.url, timeout=10)
    assert failed.failure is expected
    assert failed.message.startswith(f"127.0.0.1:{receiver.port} ")


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # urllib3 forgets to close that answer
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc to count descriptors in")
def test_garbage_leaves_no_descriptor_open() -> None:
    """However often a receiver answers with garbage, no descriptor stays open."""
    gc.collect()
    gc.disable()  # nothing may need it
    try:
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        for said in (OK + b"Content-Length: 1, 2\r\n\r\nxx", *(said for said, _ in GARBAGE.values())):
            with RawReceiver(say(said)) as receiver:
                outcome(receiver.url, timeout=10)
        assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    finally:
        gc.enable()


def test_a_refusal_that_breaks_off_is_still_that_refusal() -> None:
    """A 401 with a broken body is still a 401."""
    with RawReceiver(say(b"HTTP/1.1 401 No\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")) as receiver:
        failed = outcome(receiver.url, timeout=10)
    assert (failed.failure, failed.status) == (Failure.DESTINATION, 401)
