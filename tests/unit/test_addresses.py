"""Addresses that are read without requests are sent as requests would send them."""

from __future__ import annotations

import re

import pytest
import requests
from hypothesis import example, given
from hypothesis import strategies as st

from stash_courier.worker.http import addresses

CHARACTERS = "aZ09-_.~!$&'()*+,;=:@/%é [\\]"
URLS = st.builds(
    "{}://{}{}{}{}".format,
    st.sampled_from(["http", "https"]),
    st.text("aZ09-_.", min_size=1, max_size=8),
    st.sampled_from(["", ":1", ":80", ":443", ":8096", ":32400", ":59999", ":65535", ":65536", ":007"]),
    st.text(CHARACTERS, max_size=12).map(lambda path: f"/{path}" if path else ""),
    st.text(CHARACTERS, max_size=8).map(lambda query: f"?{query}" if query else ""),
)


@given(URLS)
@example("http://nas")
@example("http://nas?a=b")
@example("http://nas/")
@example("http://nas//x")
@example("http://nas/a/../b")
@example("http://nas/a/.")
@example("http://nas/a.b/c;d")
@example("https://plex.example.org:32400/media?x=/y")
def test_plain_addresses_are_what_requests_sends(url: str) -> None:
    """What the pattern accepts, requests accepts, and it changes nothing but an empty path."""
    if addresses._PLAIN.fullmatch(url):
        assert addresses._prepared(url) == requests.Request("POST", url).prepare().url


@pytest.mark.parametrize(
    "url",
    [
        "http://192.168.1.5:8096",
        "https://jellyfin.example.org/tv",
        "http://home_assistant:8123/api/webhook/-AbC_1",
        "https://discord.com/api/webhooks/123/a-b_c?wait=true",
        "https://ntfy.sh/topic",
    ],
)
def test_usual_addresses_need_no_requests(url: str) -> None:
    """Otherwise each view of the page would import it."""
    assert re.fullmatch(addresses._PLAIN, url)
