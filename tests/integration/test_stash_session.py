"""The client for Stash: its address, login, covers and the session's renewal."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stash_courier.worker.stash.address import StashAddress
from tests.support.stash_servers import COOKIE, KEY, RENEWED, Asked, Library, Reply, StashBench, refused


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[StashBench]:
    with StashBench(tmp_path) as made:
        yield made


class TestAddress:
    def test_no_address_yet(self, bench: StashBench) -> None:
        """Before the first hook the message says how to get the address."""
        assert "edit any scene" in refused(bench.stash().plugin_state)

    def test_stash_moves(self, bench: StashBench) -> None:
        """When a hook writes another port, the next request goes there."""
        old, stash = bench.serve(Library()), bench.stash()
        stash.plugin_state()
        new = bench.serve(Library())
        stash.plugin_state()
        assert (len(old.asked), len(new.asked)) == (1, 1)

    def test_the_file_goes_away_or_is_damaged(self, bench: StashBench) -> None:
        """A client that has read the address keeps working when the file is lost or damaged."""
        bench.serve(Library())
        stash = bench.stash()
        stash.plugin_state()
        (bench.folder / "stash.json").write_text("{")
        assert stash.plugin_state().enabled
        (bench.folder / "stash.json").unlink()
        assert stash.plugin_state().enabled

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
        stash.plugin_state()
        stash.plugin_state()
        library.cookie = "third"
        stash.plugin_state()
        library.cookie = ""
        stash.plugin_state()
        sent = [asked.header("Cookie") for asked in server.asked]
        assert sent == [[f"session={c}"] for c in (COOKIE, RENEWED, RENEWED, "third")]
        assert all(asked.header("ApiKey") == [] for asked in server.asked)

    def test_an_api_key_is_preferred(self, bench: StashBench) -> None:
        """Once Stash gives its API key, that is used instead of the session, and is kept in memory only."""
        server = bench.serve(Library(api_key=KEY, cookie=RENEWED))
        stash = bench.stash()
        stash.plugin_state()
        stash.scenes([1])
        assert server.asked[0].header("ApiKey") == []
        assert (server.asked[1].header("ApiKey"), server.asked[1].header("Cookie")) == ([KEY], [])
        assert not any(KEY in path.read_text() for path in bench.folder.rglob("*") if path.is_file())

    def test_a_key_that_was_deleted(self, bench: StashBench) -> None:
        """When the API key is deleted, the session from the last hook is used, without any action of the owner."""
        library, accepted = Library(api_key=KEY), {f"cookie {COOKIE}", f"key {KEY}"}
        server = bench.serve(guarded(library, lambda: accepted))
        stash = bench.stash()
        stash.plugin_state()
        library.api_key, accepted = "", {f"cookie {RENEWED}"}
        bench.write_address(server.server_port, cookie=RENEWED)
        assert stash.plugin_state().enabled
        assert server.asked[-1].header("ApiKey") == []

    def test_a_newer_session_from_a_hook(self, bench: StashBench) -> None:
        """When the session has ended, a newer one from a hook is used at once."""
        accepted = COOKIE
        server = bench.serve(guarded(Library(), lambda: {f"cookie {accepted}"}))
        stash = bench.stash()
        stash.plugin_state()
        accepted = RENEWED
        bench.write_address(server.server_port, cookie=RENEWED)
        assert stash.plugin_state().enabled
        sent = [asked.header("Cookie") for asked in server.asked]
        assert sent == [[f"session={c}"] for c in (COOKIE, COOKIE, RENEWED)]

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


def guarded(library: Library, accepted: Callable[[], set[str]]) -> Callable[[Asked], Reply]:
    """The library behind a login that accepts these credentials. Like Stash, it checks a key first."""

    def reply(asked: Asked) -> Reply:
        key, cookie = asked.header("ApiKey"), asked.header("Cookie")
        given = f"key {key[0]}" if key else f"cookie {cookie[0].removeprefix('session=')}" if cookie else ""
        return library(asked) if given in accepted() else Reply(status=401)

    return reply


class TestCover:
    PATH = "/scene/1/screenshot?t=5"

    def test_no_picture(self, bench: StashBench) -> None:
        """A missing cover is empty, not an outage."""
        bench.serve(lambda _: Reply(status=404))
        assert bench.stash().cover(self.PATH) == b""

    def test_a_newer_session(self, bench: StashBench) -> None:
        """When the session has ended, a cover is requested again with a newer one from a hook."""
        accepted = COOKIE
        server = bench.serve(guarded(Library(), lambda: {f"cookie {accepted}"}))
        stash = bench.stash()
        stash.plugin_state()
        accepted = RENEWED
        bench.write_address(server.server_port, cookie=RENEWED)
        stash.cover(self.PATH)
        assert [asked.header("Cookie") for asked in server.asked[1:]] == [
            [f"session={c}"] for c in (COOKIE, RENEWED)
        ]

    @pytest.mark.parametrize("status", [302, 401, 403, 500, 503])
    def test_an_outage(self, bench: StashBench, status: int) -> None:
        """Any other status than 200 and 404 is an outage."""
        bench.serve(lambda _: Reply(b"<html>Login</html>", status, (("Location", "/login"),)))
        refused(lambda: bench.stash().cover(self.PATH))

    @pytest.mark.parametrize("library", [Library(cookie=RENEWED), Library(api_key=KEY)], ids=["session", "key"])
    def test_covers_that_hang_delay_nothing_else(self, bench: StashBench, library: Library) -> None:
        """While covers hang, scenes and another cover arrive, with the credentials that are in use."""
        arrived, go_on = threading.Semaphore(0), threading.Event()

        def reply(asked: Asked) -> Reply:
            if asked.path == "/hangs":
                arrived.release()
                go_on.wait(30)
            return library(asked) if asked.query else Reply(b"picture", headers=())

        server = bench.serve(reply)
        stash = bench.stash()
        stash.plugin_state()
        threads = [threading.Thread(target=stash.cover, args=("/hangs",)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for _ in threads:
            assert arrived.acquire(timeout=10)
        assert list(stash.scenes([1, 2]).scenes) == [1, 2]
        assert stash.cover(self.PATH) == b"picture"
        go_on.set()
        for thread in threads:
            thread.join()
        key, session = ([KEY], []) if library.api_key else ([], [f"session={RENEWED}"])
        for asked in server.asked[1:]:
            assert (asked.header("ApiKey"), asked.header("Cookie")) == (key, session)

    def test_a_cover_that_is_on_its_way_ends_when_the_client_closes(self, bench: StashBench) -> None:
        """The worker can end while a cover hangs."""
        arrived, go_on = threading.Event(), threading.Event()

        def reply(asked: Asked) -> Reply:
            arrived.set()
            go_on.wait(30)
            return Reply(b"picture", headers=())

        bench.serve(reply)
        stash = bench.stash()
        found: list[str] = []
        thread = threading.Thread(target=lambda: found.append(refused(lambda: stash.cover(self.PATH))))
        thread.start()
        assert arrived.wait(10)
        stash.close()
        thread.join(10)
        go_on.set()
        assert len(found) == 1

    @pytest.mark.parametrize("path", ["@127.0.0.1:{port}/x", ".example.org/x", "", "http://127.0.0.1:{port}/x"])
    def test_the_key_stays_with_stash(self, bench: StashBench, path: str) -> None:
        """A cover's path can't redirect a request, which carries the API key, to another host."""
        elsewhere = bench.serve(lambda _: Reply(b"x"))
        bench.serve(Library())
        assert bench.stash().cover(path.format(port=elsewhere.server_port)) == b""
        assert elsewhere.asked == []


class TestKeepAlive:
    def test_a_third_of_the_session(self, bench: StashBench) -> None:
        """A session of 30 s is due for renewal 10 s after each answer, and any request renews it."""
        server = bench.serve(Library(cookie=RENEWED, max_age=30))
        stash = bench.stash()
        assert stash.keep_alive_in() is None
        stash.plugin_state()
        assert stash.keep_alive_in() == 10.0
        bench.now += 4
        assert stash.keep_alive_in() == 6.0
        bench.now += 60
        assert stash.keep_alive_in() == 0.0
        stash.plugin_state()
        assert stash.keep_alive_in() == 10.0
        bench.now += 3
        stash.scenes([1])
        assert stash.keep_alive_in() == 10.0
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

    def test_a_failed_ping_is_not_repeated_at_once(self, bench: StashBench) -> None:
        """While Stash is down, pings stay a third of the session apart."""
        server = bench.serve(Library(cookie=RENEWED, max_age=30))
        stash = bench.stash()
        stash.plugin_state()
        bench.now += 10
        server.reply = lambda _: Reply(status=503)
        refused(stash.plugin_state)
        assert stash.keep_alive_in() == 10.0

    def test_a_clock_that_was_set_back(self, bench: StashBench) -> None:
        """After the clock was set back the session is renewed at once."""
        bench.serve(Library(cookie=RENEWED, max_age=30))
        stash = bench.stash()
        stash.plugin_state()
        bench.now -= 3600
        assert stash.keep_alive_in() == 0.0

    def test_it_does_not_wait_for_a_request(self, bench: StashBench) -> None:
        """The worker's loop can see when a ping is due while another thread waits for Stash."""
        library = Library(cookie=RENEWED, max_age=30)
        server = bench.serve(library)
        stash = bench.stash()
        stash.plugin_state()
        arrived, go_on = threading.Event(), threading.Event()

        def late(asked: Asked) -> Reply:
            arrived.set()
            go_on.wait(30)
            return library(asked)

        server.reply = late
        thread = threading.Thread(target=stash.plugin_state)
        thread.start()
        assert arrived.wait(10)
        assert stash.keep_alive_in() == 10.0
        go_on.set()
        thread.join()
