"""The client for Stash with servers that answer oddly, late or never."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stash_servers import COOKIE, KEY, Library, Reply, StashBench, refused


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[StashBench]:
    with StashBench(tmp_path) as made:
        yield made


LOGIN_PAGE = b"<!DOCTYPE html><html><title>Login</title></html>"
HTML = (("Content-Type", "text/html"),)
ODD = {
    "a page": (Reply(LOGIN_PAGE, headers=HTML), "web page"),
    "a redirect to the login": (Reply(status=302, headers=(("Location", "/login?returnURL=x"),)), "another page"),
    "a permanent redirect": (Reply(status=308, headers=(("Location", "https://example.org/"),)), "another page"),
    "500 with a page": (Reply(LOGIN_PAGE, 500, HTML), "status 500"),
    "500 with JSON": (Reply.of({"data": {"version": {}}}, status=500), "status 500"),
    "502": (Reply(b"Bad Gateway", 502, HTML), "status 502"),
    "403": (Reply(b"exposed to the public internet", 403, HTML), "status 403"),
    "404": (Reply(b"404 page not found", 404, HTML), "status 404"),
    "an older schema": (
        Reply.of({"errors": [{"message": 'Cannot query field "groups"'}], "data": None}, status=422),
        'Cannot query field "groups"',
    ),
    "nothing": (Reply(b""), "not JSON"),
    "cut JSON": (Reply(b'{"data": {"version": {"vers'), "cut off"),
    "a cut answer": (Reply(b'{"data": {"version": {"vers', missing=100), "before the end of its answer"),
    "endless nesting": (Reply(b"[" * 200_000), "not JSON"),
    "not UTF-8": (Reply(b'{"data": "\xff\xfe"}'), "not JSON|no data"),
    "a list": (Reply.of([]), "not an object"),
    "null": (Reply.of(None), "not an object"),
    "no data": (Reply.of({}), "no data"),
    "null data": (Reply.of({"data": None}), "no data"),
    "empty data": (Reply.of({"data": {}}), "no data"),
    "data as a list": (Reply.of({"data": []}), "no data"),
    "errors as a text": (Reply.of({"errors": "no", "data": {}}), "errors is of type str"),
    "errors as null": (Reply.of({"errors": None, "data": {"version": None}}), "errors is null"),
    "an error without message": (Reply.of({"errors": [{}]}), "errors: message is missing"),
    "an error": (Reply.of({"errors": [{"message": "boom\nat line 5"}], "data": None}), "boom at line 5"),
    "partial data": (Reply.of({"errors": [{"message": "boom"}], "data": {"version": {}}}), "boom"),
    "other data": (Reply.of({"data": {"something": 1}}), "missing"),
}


class TestOddAnswers:
    @pytest.mark.parametrize("what", ODD)
    @pytest.mark.parametrize("ask", ["plugin_state", "scenes"])
    def test_an_odd_answer_is_an_outage(self, bench: StashBench, what: str, ask: str) -> None:
        """An answer that isn't complete and valid is never used: it is an outage, and the message says why."""
        reply, reason = ODD[what]
        server = bench.serve(lambda _: reply)
        stash = bench.stash()
        sentence = refused(stash.plugin_state if ask == "plugin_state" else lambda: stash.scenes([1, 2]))
        assert re.search(reason, sentence)
        assert "deliveries wait" in sentence
        assert {asked.path for asked in server.asked} == {"/graphql"}, "a redirect was followed"

    def test_stash_is_not_running(self, bench: StashBench) -> None:
        """If Stash isn't running, the message says so and names its address."""
        server = bench.serve(Library())
        bench.end()
        sentence = refused(bench.stash().plugin_state)
        assert f"http://127.0.0.1:{server.server_port} can't be reached" in sentence

    @pytest.mark.parametrize("drip", [False, True], ids=["never", "byte by byte"])
    def test_a_late_answer(self, bench: StashBench, drip: bool) -> None:
        """A Stash that never answers, or without end, delays the worker only until the time limit."""
        server = bench.serve(Library())
        server.reply = lambda _: Reply(b"{", drip=True) if drip else (server.released.wait(30), Reply())[1]
        assert "did not answer within 0.1 s" in refused(bench.stash(timeout=0.1).plugin_state)

    def test_an_echoed_secret(self, bench: StashBench) -> None:
        """An error text from Stash is quoted without our cookie and API key."""
        library = Library(api_key=KEY)
        server = bench.serve(library)
        stash = bench.stash()
        stash.plugin_state()
        echo = f"bad session={COOKIE} ApiKey: {KEY} http://me:pw@h/?apikey={KEY} " + "x" * 5000
        server.reply = lambda _: Reply.of({"errors": [{"message": echo}], "data": None})
        assert len(refused(stash.plugin_state)) < 600
        server.reply = lambda _: Reply.of({"errors": [{"message": echo}], "data": None}, status=422)
        assert len(refused(stash.plugin_state)) < 600
