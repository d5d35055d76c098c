"""Deliveries over real sockets and TLS: to receivers that we didn't write, and to badly behaved ones.

Debian's ``webhook`` checks signatures, ``nginx`` is the usual proxy. If one is missing, its tests are
skipped with that reason.
"""

from __future__ import annotations

import base64
import contextlib
import gc
import gzip
import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.jobs import Delivery
from stash_courier.worker.destinations.webhook.destination import Webhook
from stash_courier.worker.http.client import KEPT, Client
from tests.standin.ports import free_port
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
from tests.support.connections import connection
from tests.support.programs import running

pytestmark = pytest.mark.timeout(60)

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
DELIVERY = Delivery(1, "webhook:x", 17, "destroy", (), 5, 1_767_225_600.0, path="/data/a.mkv")
DEADLINE = 0.3  # seconds
ROOMY = 1.0  # seconds; a deadline within which a slow machine gets a good answer
PATIENCE = 5.0  # seconds; far from the deadline on a slow machine, and from never
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


def webhook_to(url: str, secret: str = SECRET, timeout: float = 10) -> Webhook:
    """A webhook destination with a secret."""
    return Webhook(connection("webhook", {"url": url, "secret": secret, "timeout_seconds": timeout}))


def failure(url: str, secret: str = SECRET, timeout: float = 10) -> DeliveryFailed:
    """The failure that a delivery ends with."""
    destination = webhook_to(url, secret, timeout)
    try:
        with pytest.raises(DeliveryFailed) as caught:
            destination.deliver(DELIVERY, None)
    finally:
        destination.close()
    return caught.value


def outcome(url: str, *, ca_file: str | None = None, timeout: float = DEADLINE) -> tuple[DeliveryFailed, float]:
    """The failure that a request ends with, and after how many seconds."""
    client = Client(timeout=timeout, ca_file=ca_file)
    started = time.monotonic()
    try:
        with pytest.raises(DeliveryFailed) as caught:
            client.request("POST", url, body=b"{}", fixed_url=True)
    finally:
        took = time.monotonic() - started
        client.close()
    return caught.value, took


# Receivers that we didn't write


@pytest.fixture
def debian_webhook(tmp_path: Path) -> Iterator[str]:
    """Debian's webhook: accepts a valid X-Hub-Signature-256 and touches a file named after the scene."""
    if shutil.which("webhook") is None:
        pytest.skip("webhook is not installed (apt-get install webhook)")
    signed = {"source": "header", "name": "X-Hub-Signature-256"}
    hook = {
        "id": "stash",
        "execute-command": shutil.which("touch"),
        "command-working-directory": str(tmp_path),
        "pass-arguments-to-command": [{"source": "payload", "name": "data.id"}],
        "include-command-output-in-response": True,
        "trigger-rule": {"match": {"type": "payload-hmac-sha256", "secret": SECRET, "parameter": signed}},
    }
    (tmp_path / "hooks.json").write_text(json.dumps([hook]))
    port = free_port()
    command = ["webhook", "-hooks", str(tmp_path / "hooks.json"), "-ip", "127.0.0.1", "-port", str(port)]
    with running(command, port):
        yield f"http://127.0.0.1:{port}/hooks/stash"


def test_debians_webhook_accepts_our_signature(debian_webhook: str, tmp_path: Path) -> None:
    """With our secret, Debian's webhook runs its command for each event."""
    destination = webhook_to(debian_webhook)
    destination.deliver(DELIVERY, None)
    destination.close()
    assert (tmp_path / "17").exists()


def test_debians_webhook_refuses_another_secret(debian_webhook: str, tmp_path: Path) -> None:
    """With another secret no command runs, and the failure says where to look."""
    other = "whsec_" + base64.b64encode(bytes(32)).decode()
    failed = failure(debian_webhook, other)
    assert (failed.failure, failed.status) == (Failure.REFUSED, 500)
    assert "see its own log" in failed.message
    assert not (tmp_path / "17").exists()


def test_debians_webhook_without_that_hook(debian_webhook: str) -> None:
    """A path that the receiver doesn't know holds the destination: every event would fail the same way."""
    failed = failure(debian_webhook + "-not")
    assert (failed.failure, failed.status) == (Failure.DESTINATION, 404)


@pytest.fixture
def behind_nginx(tmp_path: Path, pem: str) -> Iterator[tuple[str, str, Receiver]]:
    """nginx: its http and https addresses and the receiver behind it."""
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed (apt-get install nginx-light)")
    plain, tls = free_port(), free_port()
    with Receiver() as receiver:
        temporary = "".join(
            f"{kind}_temp_path {tmp_path}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (tmp_path / "nginx.conf").write_text(f"""
            daemon off; master_process off; pid {tmp_path}/nginx.pid;
            {"user root;" if os.geteuid() == 0 else ""}
            events {{}}
            http {{
                access_log off;
                {temporary}
                limit_req_zone $server_addr zone=calm:1m rate=1r/m;
                server {{
                    listen 127.0.0.1:{plain};
                    location /taken {{ proxy_pass {receiver.url}; }}
                    location /gone {{ return 410; }}
                    location /moved {{ return 308 $scheme://$host/elsewhere?token=abc; }}
                    location /small {{ client_max_body_size 10; proxy_pass {receiver.url}; }}
                    location /calm {{
                        limit_req zone=calm; limit_req_status 429; add_header Retry-After 120 always;
                        proxy_pass {receiver.url};
                    }}
                }}
                server {{
                    listen 127.0.0.1:{tls} ssl;
                    ssl_certificate {pem}; ssl_certificate_key {pem};
                    location / {{ proxy_pass {receiver.url}; }}
                }}
            }}""")
        command = [
            "nginx",
            "-p",
            str(tmp_path),
            "-e",
            str(tmp_path / "error.log"),
            "-c",
            str(tmp_path / "nginx.conf"),
        ]
        with running(command, plain):
            yield f"http://127.0.0.1:{plain}/", f"https://127.0.0.1:{tls}/", receiver


def test_nginx_passes_our_events_on(behind_nginx: tuple[str, str, Receiver]) -> None:
    """An event reaches a receiver behind nginx with its signature."""
    url, _, receiver = behind_nginx
    destination = webhook_to(url + "taken")
    destination.deliver(DELIVERY, None)
    destination.close()
    assert receiver.received[0].headers["webhook-signature"].startswith("v1,")


def test_nginx_refuses_in_every_way(behind_nginx: tuple[str, str, Receiver]) -> None:
    """nginx's answers are understood: gone, moved, too large, too many requests, bad gateway."""
    url, _, receiver = behind_nginx
    gone, moved, large = (failure(url + place) for place in ("gone", "moved", "small"))
    assert (gone.failure, gone.status) == (Failure.GONE, 410)
    assert (moved.failure, moved.status) == (Failure.DESTINATION, 308)
    assert "abc" not in moved.message
    assert (large.failure, large.status) == (Failure.REJECTED, 413)
    assert "client_max_body_size" in large.message

    destination = webhook_to(url + "calm")
    destination.deliver(DELIVERY, None)
    destination.close()
    many = failure(url + "calm")
    assert (many.failure, many.status, many.retry_after) == (Failure.BUSY, 429, 120.0)
    assert "120 s" in many.message

    receiver.down()
    unavailable = failure(url + "taken")
    assert (unavailable.failure, unavailable.status) == (Failure.BUSY, 502)


def test_http_to_nginx_https_port_does_not_bury_scenes(behind_nginx: tuple[str, str, Receiver]) -> None:
    """http:// to an https port holds the destination with a hint; it doesn't fail each scene."""
    _, tls, _ = behind_nginx
    failed = failure(tls.replace("https", "http"))
    assert (failed.failure, failed.status) == (Failure.DESTINATION, 400)
    assert "enter https://" in failed.message


# TLS


def test_a_certificate_that_is_trusted_is_enough(behind_nginx: tuple[str, str, Receiver], pem: str) -> None:
    """With a trusted certificate, events go over TLS on one kept connection."""
    _, tls, receiver = behind_nginx
    client = Client(timeout=10, ca_file=pem)
    for _ in range(3):
        assert client.request("POST", tls, body=b"{}").status == 200
    client.close()
    assert len(receiver.received) == 3


def test_a_self_signed_certificate_is_refused_with_advice(pem: str) -> None:
    """A self-signed certificate holds the destination: nothing is sent, and the failure says what to do."""
    with Receiver(tls=pem) as receiver:
        failed = failure(receiver.url)
        assert receiver.received == ()
    assert failed.failure is Failure.DESTINATION
    assert "self-signed certificate" in failed.message
    assert "SSL_CERT_FILE" in failed.message


def test_a_certificate_of_another_host_is_refused(pem: str) -> None:
    """A trusted certificate of another host is refused too."""
    with Receiver(tls=pem) as receiver:
        failed, _ = outcome(receiver.url.replace("127.0.0.1", "localhost"), ca_file=pem, timeout=10)
    assert failed.failure is Failure.DESTINATION
    assert "localhost" in failed.message


def test_https_to_a_plain_port_holds_the_destination() -> None:
    """https:// to an http port holds the destination, and the failure suggests http://."""
    with Receiver() as receiver:
        failed, _ = outcome(receiver.url.replace("http://", "https://"), timeout=10)
    assert failed.failure is Failure.DESTINATION
    assert "http://" in failed.message


def test_tls_that_is_cut_off_is_retried() -> None:
    """A server that closes the connection during the TLS handshake counts as busy."""

    def hang_up(connection: socket.socket, ended: threading.Event) -> None:
        connection.recv(65536)

    with RawReceiver(hang_up) as receiver:
        failed, _ = outcome(receiver.url.replace("http://", "https://"), timeout=10)
    assert failed.failure is Failure.BUSY


# Bad receivers: time


def _continue(connection: socket.socket, ended: threading.Event) -> None:
    read_request(connection)
    while not ended.wait(0.05):
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")


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
}


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("name", SLOW)
def test_a_slow_answer_ends_at_the_deadline(name: str, tls: bool, pem: str) -> None:
    """However a receiver stretches its answer, also over TLS, the request times out at the deadline."""
    with RawReceiver(SLOW[name], tls=pem if tls else None) as receiver:
        failed, took = outcome(receiver.url, ca_file=pem)
    assert failed.failure is Failure.BUSY
    assert f"did not answer within {DEADLINE:g} s" in failed.message
    assert DEADLINE * 0.9 <= took < PATIENCE


def test_a_slow_tls_handshake_ends_at_the_deadline() -> None:
    """A receiver that sends its TLS handshake byte by byte is cut off at the deadline."""

    def handshake(connection: socket.socket, ended: threading.Event) -> None:
        connection.recv(65536)
        connection.sendall(b"\x16\x03\x03\x40\x00")  # a handshake record of 16 KB follows
        while not ended.wait(0.05):
            connection.sendall(b"\x00")

    with RawReceiver(handshake) as receiver:
        failed, took = outcome(receiver.url.replace("http://", "https://"))
    assert failed.failure is Failure.BUSY
    assert DEADLINE * 0.9 <= took < PATIENCE


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_receiver_that_reads_nothing_ends_at_the_deadline(tls: bool, pem: str) -> None:
    """A large request that the receiver doesn't read is cut off at the deadline while it is being sent."""
    client = Client(timeout=DEADLINE, ca_file=pem)
    with RawReceiver(never_answer, tls=pem if tls else None) as receiver:
        started = time.monotonic()
        with pytest.raises(DeliveryFailed) as caught:
            client.request("POST", receiver.url, body=bytes(50_000_000))
        took = time.monotonic() - started
    client.close()
    assert caught.value.failure is Failure.BUSY
    assert DEADLINE * 0.9 <= took < PATIENCE


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
    failed, took = outcome(f"http://127.0.0.1:{deaf_port}/")
    assert failed.failure is Failure.BUSY
    assert DEADLINE * 0.9 <= took < PATIENCE


def test_a_deaf_address_leaves_time_for_the_next(deaf_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host whose first address drops all packets, such as broken IPv6, is reached at its second address."""
    with Receiver() as receiver:
        found = [(socket.AF_INET, 1, 6, "", ("127.0.0.1", port)) for port in (deaf_port, receiver.port)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: found)
        client = Client(timeout=ROOMY)
        assert client.request("POST", "http://two.example/", body=b"{}").status == 200
        client.close()


def test_each_request_has_a_deadline_of_its_own(pem: str) -> None:
    """Each request of a client has its own deadline: the first, the next, and one on a kept connection."""

    def once(connection: socket.socket, ended: threading.Event) -> None:
        if read_request(connection).endswith(b"good"):
            connection.sendall(OK + b"Content-Length: 0\r\n\r\n")
            read_request(connection)
        while not ended.wait(0.05):
            connection.sendall(b"x")

    client = Client(timeout=ROOMY, ca_file=pem)
    with RawReceiver(once, tls=pem) as receiver:
        for body in (b"bad", b"bad", b"good", b"bad"):
            started = time.monotonic()
            if body == b"good":
                client.request("POST", receiver.url, body=body)
                continue
            with pytest.raises(DeliveryFailed) as caught:
                client.request("POST", receiver.url, body=body)
            assert caught.value.failure is Failure.BUSY
            assert ROOMY * 0.9 <= time.monotonic() - started < PATIENCE
        assert receiver.accepted == 3  # the last one used the connection that was kept
    client.close()


def test_one_slow_receiver_leaves_the_others_of_a_client_alone() -> None:
    """While some requests of a client hang, others complete, and those that hang end at their deadline."""
    client = Client(timeout=ROOMY)
    failures: list[Failure] = []

    def hang(url: str) -> None:
        with pytest.raises(DeliveryFailed) as caught:
            client.request("POST", url, body=b"{}")
        failures.append(caught.value.failure)

    with RawReceiver(never_answer) as bad, Receiver() as good:
        started = time.monotonic()
        threads = [threading.Thread(target=hang, args=(bad.url,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for _ in range(20):
            assert client.request("POST", good.url, body=b"{}").status == 200
        for thread in threads:
            thread.join()
        took = time.monotonic() - started
    client.close()
    assert failures == [Failure.BUSY] * 8
    assert took < PATIENCE


# Bad receivers: content


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
        failed, _ = outcome(receiver.url, timeout=10)
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
        failed, _ = outcome(receiver.url, timeout=10)
    assert (failed.failure, failed.status) == (Failure.DESTINATION, 401)


def test_a_receiver_may_answer_before_it_has_read_all() -> None:
    """A receiver that refuses after reading only the headers is understood, however large the body is."""

    def refuse(connection: socket.socket, ended: threading.Event) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 413 Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        ended.wait(0.2)

    client = Client(timeout=10)
    with RawReceiver(refuse) as receiver, pytest.raises(DeliveryFailed) as caught:
        client.request("POST", receiver.url, body=bytes(10_000_000))
    client.close()
    assert caught.value.failure in {Failure.ITEM_REFUSED, Failure.BUSY}  # BUSY: the reset overtook the answer
