"""worker/connections/quick_start.py: connections in Stash's own settings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stash_courier.worker import fields
from stash_courier.worker.connections import quick_start
from stash_courier.worker.destinations import configured
from stash_courier.worker.settings import QuickStart, Settings

SECRET = "whsec_" + "c2VjcmV0" * 4
RAW: dict[str, object] = {
    "jellyfin_url": "http://jf:8096",
    "jellyfin_api_key": "key1",
    "plex_url": "http://plex:32400",
    "plex_token": "key2",
    "webhook_url": "http://a.example/hook http://b.example:9000/x",
    "webhook_secret": SECRET,
    "path_map": "/data => /media",
}
COMMON = {"path_map": "/data => /media"}


def ids(raw: dict[str, object]) -> list[str]:
    """The ids of the connections."""
    return [entry.id for entry in quick_start.read(raw)[0]]


def test_each_set_of_settings_is_a_connection() -> None:
    """Every one has its address, its key and the common path map, and can be used."""
    entries, problems = quick_start.read(RAW)
    assert problems == []
    assert {entry.id: (entry.kind, entry.values) for entry in entries} == {
        "jellyfin": ("jellyfin", {"url": "http://jf:8096", "key": "key1", **COMMON}),
        "plex": ("plex", {"url": "http://plex:32400", "key": "key2", **COMMON}),
        "webhook:a.example": ("webhook", {"url": "http://a.example/hook", "secret": SECRET, **COMMON}),
        "webhook:b.example:9000": ("webhook", {"url": "http://b.example:9000/x", "secret": SECRET, **COMMON}),
    }
    assert all(entry.from_settings and entry.state == "on" for entry in entries)
    assert [configured(entry, Settings())[1] for entry in entries] == [[], [], [], []]


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"jellyfin_url": "", "plex_url": 0, "webhook_url": "  "},
        {"jellyfin_api_key": "k", "path_map": "/a => /b"},
    ],
)
def test_without_an_address_there_is_no_connection(raw: dict[str, object]) -> None:
    """A key alone, or what Stash's page shows for unset settings, is no connection."""
    assert quick_start.read(raw) == ([], [])


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        ({"jellyfin_url": "http://jf:8096"}, "key"),
        ({"plex_url": "plex", "plex_token": "t"}, "url"),
        ({"webhook_url": "http://a", "webhook_secret": "short"}, "secret"),
        ({"webhook_url": "http://a", "path_map": "nonsense"}, "path_map"),
    ],
)
def test_a_missing_or_invalid_value_is_named(raw: dict[str, object], field: str) -> None:
    """The connection is known by its id, and says which field must be corrected."""
    (entry,) = quick_start.read(raw)[0]
    connection, problems = configured(entry, Settings())
    assert connection is None
    assert [problem.field for problem in problems] == [field]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://User:pass@Example.com/hook?token=1", "webhook:example.com"),
        ("https://example.com:443/x", "webhook:example.com"),
        ("http://[::1]:5000/", "webhook:[::1]:5000"),
    ],
)
def test_a_webhook_is_named_by_its_host(url: str, expected: str) -> None:
    """An id contains no login, path or token."""
    assert ids({"webhook_url": url}) == [expected]


def test_a_second_url_of_a_host_changes_no_id() -> None:
    """The first URL of a host has the plain id; others have a hash that depends on their URL alone."""
    assert ids({"webhook_url": "http://a/1"}) == ["webhook:a"]
    first, second, third = ids({"webhook_url": "http://a/1 http://a/2 http://a/3"})
    assert first == "webhook:a"
    assert ids({"webhook_url": "http://a/1 http://a/3"}) == [first, third]
    assert second not in {first, third}


def test_a_bad_url_does_not_stop_the_good_ones() -> None:
    """It is named by its position and never quoted: it may contain a token."""
    entries, problems = quick_start.read({"webhook_url": "http://a.example/ b.example/hunter2 ftp://x:hunter2@c"})
    assert [entry.id for entry in entries] == ["webhook:a.example"]
    assert [problem.message[:6] for problem in problems] == ["URL 2 ", "URL 3 "]
    assert "hunter2" not in str(problems)


@given(
    st.dictionaries(
        st.sampled_from([one.key for one in fields.of(QuickStart)]), st.text() | st.integers() | st.none()
    )
)
def test_any_settings_can_be_read(raw: dict[str, object]) -> None:
    """Whatever Stash stores, ids are unique and nothing is raised."""
    entries, _ = quick_start.read(raw)
    assert len({entry.id for entry in entries}) == len(entries)
