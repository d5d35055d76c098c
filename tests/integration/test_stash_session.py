"""The client for Stash: its address, login, covers and the session's renewal."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stash_courier.worker.stash.address import StashAddress
from tests.support.stash_servers import COOKIE, KEY, RENEWED, Asked, Library, Reply, StashBench, refused

COVER = "/scene/1/screenshot?t=5"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[StashBench]:
    with StashBench(tmp_path) as made:
        yield made


class Hanging:
    """Replies that hang until the block ends: those to the requests that ``hangs`` names."""

    def __init__(self, reply: Callable[[Asked], Reply], hangs: Callable[[Asked], bool]) -> None:
        self.arrived = threading.Semaphore(0)
        self.go_on = threading.Event()
        self._reply, self._hangs = reply, hangs

    def __call__(self, asked: Asked) -> Reply:
        if self._hangs(asked):
            self.arrived.release()
            self.go_on.wait(30)
        return self._reply(asked)

    @contextmanager
    def asking(self, ask: Callable[[], object], times: int = 1) -> Iterator[None]:
        """Asks in threads; within the block they hang."""
        threads = [threading.Thread(target=ask) for _ in range(times)]
        for thread in threads:
            thread.start()
        for _ in threads:
            assert self.arrived.acquire(timeout=10)
        yield
        self.go_on.set()
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive()


def guarded(library: Library, accepted: Callable[[], set[str]]) -> Callable[[Asked], Reply]:
    """The library behind a login that accepts these credentials. Like Stash, it checks a key first."""

    def reply(asked: Asked) -> Reply:
        key, cookie = asked.header("ApiKey"), asked.header("Cookie")
        given = f"key {key[0]}" if key else f"cookie {cookie[0].removeprefix('session=')}" if cookie else ""
        return library(asked) if given in accepted() else Reply(status=401)

    return reply


class TestAddress:
    def test_the_newest_address_that_can_be_read_is_used(self, bench: StashBench) -> None:
        """Without an address the message says how to get one. A new one is used; a damaged or lost file is not."""
        assert "edit any scene" in refused(bench.stash().plugin_state)
        old, stash = bench.serve(Library()), bench.stash()
        stash.plugin_state()
        new = bench.serve(Library())
        stash.plugin_state()
        (bench.folder / "stash.json").write_text("{")
        stash.plugin_state()
        (bench.folder / "stash.json").unlink()
        stash.plugin_state()
        assert (len(old.asked), len(new.asked)) == (1, 3)

    @pytest.mark.parametrize("ours", [True, False])
    def test_a_self_signed_certificate(
        self,
        bench: StashBench,
        tmp_path_factory: pytest.TempPathFactory,
        monkeypatch: pytest.MonkeyPatch,
        ours: bool,
    ) -> None:
        """A self-signed certificate is accepted on this machine, without a warning, and nowhere else."""
        if shutil.which("openssl") is None:
            pytest.skip("openssl isn't installed: no certificate can be made")
        folder = tmp_path_factory.mktemp("tls")
        subject = ["-subj", "/CN=stash", "-keyout", f"{folder}/key", "-out", f"{folder}/cert", "-days", "2"]
        new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        subprocess.run([*new, *subject], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "cert", folder / "key")
        bench.serve(Library(), tls=context)
        if ours:
            assert bench.stash().plugin_state().enabled
        else:
            monkeypatch.setattr(StashAddress, "trusted_by_place", False)
            assert "certificate isn't valid" in refused(bench.stash().plugin_state)


class TestLogin:
    def test_one_cookie_is_replaced_by_each_answer(self, bench: StashBench) -> None:
        """Each request carries exactly one session cookie, the newest, so that the session stays valid."""
        library = Library(cookie=RENEWED)
        server = bench.serve(library)
        stash = bench.stash()
        for cookie in (RENEWED, RENEWED, "third", ""):
            library.cookie = cookie
            stash.plugin_state()
        sent = [asked.header("Cookie") for asked in server.asked]
        assert sent == [[f"session={c}"] for c in (COOKIE, RENEWED, RENEWED, "third")]
        assert all(asked.header("ApiKey") == [] for asked in server.asked)

    def test_an_api_key_is_preferred_until_it_is_deleted(self, bench: StashBench) -> None:
        """Stash's API key is preferred and kept in memory only. Once it is deleted, the hook's session is used."""
        library, accepted = Library(api_key=KEY, cookie=RENEWED), {f"cookie {COOKIE}", f"key {KEY}"}
        server = bench.serve(guarded(library, lambda: accepted))
        stash = bench.stash()
        stash.plugin_state()
        stash.scenes([1])
        assert server.asked[0].header("ApiKey") == []
        assert (server.asked[1].header("ApiKey"), server.asked[1].header("Cookie")) == ([KEY], [])
        assert not any(KEY in path.read_text() for path in bench.folder.rglob("*") if path.is_file())
        library.api_key, accepted = "", {f"cookie {RENEWED}"}
        bench.write_address(server.server_port, cookie=RENEWED)
        assert stash.plugin_state().enabled
        assert server.asked[-1].header("ApiKey") == []

    def test_a_newer_session_from_a_hook(self, bench: StashBench) -> None:
        """When the session has ended, a newer one from a hook is used at once, also for a cover."""
        accepted = COOKIE
        server = bench.serve(guarded(Library(), lambda: {f"cookie {accepted}"}))
        for what in ("state", "cover"):
            accepted = COOKIE
            bench.write_address(server.server_port)
            stash = bench.stash()
            stash.plugin_state()
            accepted = RENEWED
            bench.write_address(server.server_port, cookie=RENEWED)
            before = len(server.asked)
            if what == "cover":
                stash.cover(COVER)
            else:
                assert stash.plugin_state().enabled
            sent = [asked.header("Cookie") for asked in server.asked[before:]]
            assert sent == [[f"session={c}"] for c in (COOKIE, RENEWED)], what

    def test_no_credentials_are_accepted(self, bench: StashBench) -> None:
        """Without a valid session the message says what helps, and requests aren't repeated in a loop."""
        server = bench.serve(lambda _: Reply(status=401, headers=(("WWW-Authenticate", "FormBased"),)))
        stash = bench.stash()
        sentence = refused(lambda: stash.scenes([1, 2]))
        assert "401" in sentence
        assert "API key" in sentence
        assert len(server.asked) == 1
        bench.write_address(server.server_port, cookie=RENEWED)
        refused(stash.plugin_state)
        assert len(server.asked) == 3


class TestCover:
    @pytest.mark.parametrize("status", [302, 401, 403, 500, 503])
    def test_an_outage(self, bench: StashBench, status: int) -> None:
        """A missing cover (404) is empty. Any other status than 200 is an outage."""
        server = bench.serve(lambda _: Reply(status=404))
        assert bench.stash().cover(COVER) == b""
        server.reply = lambda _: Reply(b"<html>Login</html>", status, (("Location", "/login"),))
        refused(lambda: bench.stash().cover(COVER))

    @pytest.mark.parametrize("library", [Library(cookie=RENEWED), Library(api_key=KEY)], ids=["session", "key"])
    def test_covers_that_hang_delay_nothing_else(self, bench: StashBench, library: Library) -> None:
        """While covers hang, scenes and another cover arrive, with the credentials that are in use."""
        picture = Reply(b"picture", headers=())
        server = bench.serve(library)
        hanging = Hanging(lambda asked: library(asked) if asked.query else picture, lambda a: a.path == "/hangs")
        server.reply = hanging
        stash = bench.stash()
        stash.plugin_state()
        with hanging.asking(lambda: stash.cover("/hangs"), times=6):
            assert list(stash.scenes([1, 2]).scenes) == [1, 2]
            assert stash.cover(COVER) == b"picture"
        key, session = ([KEY], []) if library.api_key else ([], [f"session={RENEWED}"])
        for asked in server.asked[1:]:
            assert (asked.header("ApiKey"), asked.header("Cookie")) == (key, session)

    @pytest.mark.parametrize("path", ["@127.0.0.1:{port}/x", ".example.org/x", "", "http://127.0.0.1:{port}/x"])
    def test_the_key_stays_with_stash(self, bench: StashBench, path: str) -> None:
        """A cover's path can't redirect a request, which carries the API key, to another host."""
        elsewhere = bench.serve(lambda _: Reply(b"x"))
        bench.serve(Library())
        assert bench.stash().cover(path.format(port=elsewhere.server_port)) == b""
        assert elsewhere.asked == []


@pytest.mark.parametrize("what", ["a query", "a cover"])
def test_closing_ends_a_request(bench: StashBench, what: str) -> None:
    """The worker can end while Stash hangs: closing ends a request in progress at once."""
    hanging = Hanging(Library(), lambda _: True)
    bench.serve(hanging)
    stash, ended = bench.stash(), threading.Event()
    ask = stash.plugin_state if what == "a query" else lambda: stash.cover(COVER)

    def end() -> None:
        refused(ask)
        ended.set()

    with hanging.asking(end):
        stash.close()
        assert ended.wait(10)


class TestKeepAlive:
    def test_a_third_of_the_session(self, bench: StashBench) -> None:
        """A session of 30 s is due for renewal 10 s after each request, also after one that failed.

        After the clock was set back it is due at once.
        """
        library = Library(cookie=RENEWED, max_age=30)
        server = bench.serve(library)
        stash = bench.stash()
        assert stash.keep_alive_in() is None
        stash.plugin_state()
        assert stash.keep_alive_in() == 10.0
        bench.now += 4
        assert stash.keep_alive_in() == 6.0
        bench.now += 60
        assert stash.keep_alive_in() == 0.0
        stash.scenes([1])
        assert stash.keep_alive_in() == 10.0
        bench.now += 10
        server.reply = lambda _: Reply(status=503)
        refused(stash.plugin_state)
        assert stash.keep_alive_in() == 10.0
        bench.now -= 3600
        assert stash.keep_alive_in() == 0.0
        assert len(server.asked) == 3

    @pytest.mark.parametrize(
        "library",
        [
            Library(cookie=RENEWED, api_key=KEY),
            Library(cookie=RENEWED, username=""),
            Library(cookie=RENEWED, max_age=None),
            Library(cookie=RENEWED, max_age=0),
            Library(cookie=""),
        ],
        ids=["an API key", "no login", "sessions that do not expire", "no age", "no renewal"],
    )
    def test_nothing_to_keep_alive(self, bench: StashBench, library: Library) -> None:
        """If no session can expire, there are no pings."""
        bench.serve(library)
        stash = bench.stash()
        stash.plugin_state()
        assert stash.keep_alive_in() is None

    def test_it_does_not_wait_for_a_request(self, bench: StashBench) -> None:
        """The worker's loop can see when a ping is due while another thread waits for Stash."""
        library = Library(cookie=RENEWED, max_age=30)
        server = bench.serve(library)
        stash = bench.stash()
        stash.plugin_state()
        hanging = Hanging(library, lambda _: True)
        server.reply = hanging
        with hanging.asking(stash.plugin_state):
            assert stash.keep_alive_in() == 10.0
