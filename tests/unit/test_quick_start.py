"""worker/connections/quick_start.py: connections from Stash's page, and how they become real ones."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stash_courier.worker import fields
from stash_courier.worker.connections import quick_start
from stash_courier.worker.connections.model import Entry
from stash_courier.worker.connections.quick_start import Implicit, converted
from stash_courier.worker.connections.store import Stored
from stash_courier.worker.destinations import configured
from stash_courier.worker.settings import QuickStart, Settings, parse

QUICK = [one.key for one in fields.of(QuickStart)]
EMPTY = Stored()
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
# As commit 928a598 had it.
FORMER: dict[str, object] = {
    **RAW,
    "emby_url": "http://emby:8096",
    "emby_api_key": "key3",
    "filter_only_organized": True,
    "filter_paths": "/data/films",
    "filter_skip_events": "Update; destroy",
    "filter_skip_tags": "private",
    "jellyfin_add_only": True,
    "jellyfin_images": True,
    "jellyfin_refresh_only": True,
    "jellyfin_skip_fields": "title",
    "plex_add_only": True,
    "plex_images": True,
    "plex_libraries": "Films",
    "plex_skip_fields": "tags",
    "webhook_headers": "X-Gate: open",
    "delivery_concurrency": 7,
    "delivery_max_attempts": 3,
    "delivery_retry_schedule": "10s 1m",
    "delivery_settle_seconds": 20,
    "delivery_timeout_seconds": 25,
    "dead_letter_retention_days": 90,
    "sweep_minutes": 5,
    "sweep_off": True,
}


def read(raw: Mapping[str, object], stored: Stored = EMPTY) -> Implicit:
    """What the settings say, of which nothing depends on the order of keys."""
    found = quick_start.read(raw, stored)
    assert quick_start.read({key: raw[key] for key in reversed(list(raw))}, stored) == found
    return found


def ids(raw: Mapping[str, object], stored: Stored = EMPTY) -> list[str]:
    """The ids of the implicit connections."""
    return [entry.id for entry in read(raw, stored).entries]


def values(entries: tuple[Entry, ...], name: str) -> Mapping[str, object]:
    """The values of the connection with this id."""
    (found,) = (entry for entry in entries if entry.id == name)
    return found.values


def convert(raw: Mapping[str, object], stored: Stored = EMPTY, kind: str = "") -> tuple[Stored, dict[str, object]]:
    """Converts, and saves as the mode does."""
    made, left = converted(raw, stored, kind)
    return replace(made, revision=stored.revision + 1), left


# Implicit connections


def test_each_set_of_settings_is_a_connection() -> None:
    """The ids are those of earlier versions, and every connection has the common path map."""
    implicit = read(RAW)
    assert [(entry.id, entry.kind, entry.state) for entry in implicit.entries] == [
        ("jellyfin", "jellyfin", "on"),
        ("plex", "plex", "on"),
        ("webhook:a.example", "webhook", "on"),
        ("webhook:b.example:9000", "webhook", "on"),
    ]
    assert all(entry.implicit for entry in implicit.entries)
    assert values(implicit.entries, "jellyfin") == {
        "url": "http://jf:8096",
        "key": "key1",
        "path_map": "/data => /media",
    }
    assert values(implicit.entries, "webhook:b.example:9000") == {
        "url": "http://b.example:9000/x",
        "secret": SECRET,
        "path_map": "/data => /media",
    }
    assert implicit.problems == []
    for entry in implicit.entries:
        assert configured(entry, Settings())[1] == []


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"webhook_url": " ", "jellyfin_url": "", "plex_url": None, "path_map": "/a => /b"},
        {"webhook_secret": "x", "jellyfin_api_key": "x", "plex_token": "x"},
        {"of_another_version": "x"},
        {
            "filter_only_organized": False,
            "filter_skip_tags": "",
            "delivery_settle_seconds": 0,
            "sweep_off": "false",
        },
    ],
)
def test_without_an_address_there_is_no_connection(raw: dict[str, object]) -> None:
    """A key, a secret or a path map alone makes no connection and is no problem."""
    assert read(raw) == Implicit()
    assert convert(raw)[0].entries == ()


@pytest.mark.parametrize("raw", [{"jellyfin_url": "jf:8096"}, {"plex_url": 5}])
def test_a_server_with_a_bad_address_is_known(raw: dict[str, object]) -> None:
    """A mistyped address of a media server makes a connection that waits for its correction, under the same id."""
    (entry,) = read(raw).entries
    assert entry.id == entry.kind
    connection, problems = configured(entry, Settings())
    assert connection is None
    assert [problem.field for problem in problems] == ["url", "key"]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://Example.org/hook?key=abc", "webhook:example.org"),
        ("http://bob:pw@10.0.0.1:9000/x", "webhook:10.0.0.1:9000"),
        ("http://[::1]:8080/", "webhook:[::1]:8080"),
        ("http://münchen.example/", "webhook:xn--mnchen-3ya.example"),
    ],
)
def test_a_webhook_is_named_by_its_host(url: str, expected: str) -> None:
    """A webhook's id is its host and port, never the URL, which may contain a token."""
    assert ids({"webhook_url": url}) == [expected]


def test_urls_on_one_host_have_different_ids() -> None:
    """Several URLs on one host are separate connections, whose ids don't depend on their order."""
    urls = ["http://a.example/1", "http://a.example/2?token=abc", "http://b.example/"]
    made = ids({"webhook_url": " ".join(urls)})
    again = ids({"webhook_url": "  ".join([*reversed(urls), urls[0]])})
    assert sorted(made) == sorted(again)
    assert made[2] == "webhook:b.example"
    assert all(re.fullmatch(r"webhook:a\.example-[0-9a-f]{8}", name) for name in made[:2])
    assert made[0] == "webhook:a.example-6f09fce0"  # as earlier versions called it
    assert len(set(made)) == 3


def test_a_bad_url_does_not_stop_the_good_ones() -> None:
    """Good URLs are connections while the bad ones are reported, by their position and without being shown."""
    implicit = read({"webhook_url": "http://a.example/ b.example/hunter2 ftp://x:hunter2@c"})
    assert [entry.id for entry in implicit.entries] == ["webhook:a.example"]
    assert [problem.message[:6] for problem in implicit.bad_urls] == ["URL 2 ", "URL 3 "]
    for problem in implicit.bad_urls:
        assert problem.field == "webhook_url"
        assert not problem.minor
        assert 'in "Webhook, URL" ' in problem.message
        assert problem.message.endswith("Nothing is sent there until it is corrected.")
        assert "hunter2" not in problem.message


def test_one_url_with_two_logins_is_a_problem() -> None:
    """If the same URL is entered with two logins, the first is used and the second is reported."""
    implicit = read({"webhook_url": "http://a:b@a.example/ http://a:c@a.example/"})
    assert [entry.id for entry in implicit.entries] == ["webhook:a.example"]
    assert "is entered twice with different logins" in implicit.bad_urls[0].message


# Conversion


def test_connections_keep_their_ids_and_the_settings_are_emptied() -> None:
    """After the conversion the page is empty, and the same connections are in the file."""
    stored, left = convert(RAW)
    assert left == {}
    before = read(RAW).entries
    assert stored.entries == tuple(replace(entry, implicit=False) for entry in before)
    assert read(left, stored) == Implicit()
    assert not any("key1" in digest or SECRET in digest for digest in stored.converted)


def test_settings_of_earlier_versions_stop_everything() -> None:
    """While one of them is set, one message names all, and what to press."""
    for key in (*quick_start.FORMER, *quick_start.RENAMED):
        implicit = read({**RAW, key: FORMER[key]})
        assert implicit.former == (key,)
        (problem,) = implicit.problems
        assert problem.message == (
            f"These settings are of an earlier version: {key}. Nothing is sent until they are converted. "
            'Press "Convert settings".'
        )
        assert not problem.minor
    assert set(read(FORMER).former) == FORMER.keys() - RAW.keys()


def test_the_conversion_keeps_filters_path_map_and_all_else() -> None:
    """A connection gets what it had before: the filters, the path map, and its kind's own settings."""
    stored, left = convert(FORMER)
    assert read(left, stored).former == ()
    shared = {
        "path_map": "/data => /media",
        "only_organized": True,
        "folders": "/data/films",
        "skip_tags": "private",
        "events": ["create"],
    }
    written = {"add_only": True, "images": True}
    assert [entry.id for entry in stored.entries] == [
        "emby",
        "jellyfin",
        "plex",
        "webhook:a.example",
        "webhook:b.example:9000",
    ]
    assert values(stored.entries, "emby") == {**shared, "url": "http://emby:8096", "key": "key3"}
    assert values(stored.entries, "jellyfin") == {
        **shared,
        **written,
        "url": "http://jf:8096",
        "key": "key1",
        "refresh_only": True,
        "skip_fields": "title",
    }
    assert values(stored.entries, "plex") == {
        **shared,
        **written,
        "url": "http://plex:32400",
        "key": "key2",
        "libraries": "Films",
        "skip_fields": "tags",
    }
    assert values(stored.entries, "webhook:a.example") == {
        **shared,
        "url": "http://a.example/hook",
        "secret": SECRET,
        "headers": "X-Gate: open",
    }
    for entry in stored.entries:
        connection, problems = configured(entry, Settings())
        assert problems == []
        assert connection is not None
        assert connection.shared.events == {"create"}
        assert connection.shared.skip_tags == {"private"}


def test_common_settings_get_their_new_keys() -> None:
    """Common settings stay on the page under their new keys, with the same values."""
    _, left = convert(FORMER)
    assert left == {
        "worker_concurrency": 7,
        "worker_attempts": 3,
        "worker_schedule": "10s 1m",
        "worker_settle_seconds": 20,
        "worker_timeout_seconds": 25,
        "worker_dead_letter_days": 90,
        "worker_sweep_minutes": 5,
        "worker_sweep_off": True,
    }
    settings, problems = parse(left)
    assert problems == []
    assert (settings.worker_attempts, settings.worker_schedule) == (3, (10.0, 60.0))
    _, left = convert({"sweep_minutes": 5, "worker_sweep_minutes": 9, "else": "x"})
    assert left == {"worker_sweep_minutes": 9, "else": "x"}


@pytest.mark.parametrize(
    ("skipped", "events", "state"),
    [
        ("update", ["create", "destroy"], "on"),
        ("Create; DESTROY", ["update"], "on"),
        ("updates", ["create", "update", "destroy", "updates"], "on"),
        ("create update destroy", [], "off"),
    ],
)
def test_events_to_skip_become_events_to_send(skipped: str, events: list[str], state: str) -> None:
    """Skipped events become the others. If all were skipped, the connection is off: no events would mean all."""
    stored, _ = convert({"webhook_url": "http://a.example/", "filter_skip_events": skipped})
    (entry,) = stored.entries
    assert (entry.values["events"], entry.state) == (events, state)


def test_a_filter_that_cannot_be_read_stops_its_connection() -> None:
    """A mistyped filter is kept as it is, and its connection sends nothing until it is corrected."""
    stored, _ = convert({"webhook_url": "http://a.example/", "filter_paths": "data/films"})
    connection, problems = configured(stored.entries[0], Settings())
    assert connection is None
    assert [problem.field for problem in problems] == ["folders"]


def test_one_kind_can_be_converted_alone() -> None:
    """The others stay on the page with the path map, which goes with the last of them."""
    stored, left = convert(RAW, kind="plex")
    assert [entry.id for entry in stored.entries] == ["plex"]
    assert stored.entries[0].values["path_map"] == "/data => /media"
    assert left == {key: value for key, value in RAW.items() if not key.startswith("plex")}
    assert ids(left, stored) == ["jellyfin", "webhook:a.example", "webhook:b.example:9000"]
    stored, left = convert(left, stored, kind="webhook")
    assert left == {"jellyfin_url": "http://jf:8096", "jellyfin_api_key": "key1", "path_map": "/data => /media"}
    stored, left = convert(left, stored, kind="jellyfin")
    assert left == {}
    assert {entry.id for entry in stored.entries} == set(ids(RAW))


# Values that come back


def test_a_value_from_an_old_tab_is_ignored_and_reported() -> None:
    """An old tab writes all old values back: none is used, and the owner reads what to do."""
    stored, _ = convert(FORMER)
    implicit = read(FORMER, stored)
    assert implicit.entries == ()
    assert implicit.former == ()
    addresses = {"jellyfin_url", "plex_url", "webhook_url"}
    assert set(implicit.returned) == addresses | (FORMER.keys() - RAW.keys())
    assert all(problem.minor for problem in implicit.problems)
    messages = {problem.field: problem.message for problem in implicit.problems}
    assert messages["jellyfin_url"] == (
        '"Jellyfin, address" contains a value that was converted before, so it is not used. An old browser tab '
        'may have written it back. Press "Convert settings" to remove it, and reload Stash\'s pages.'
    )
    again, left = convert(FORMER, stored)
    assert not left.keys() & FORMER.keys()
    assert again.entries == stored.entries


def test_a_value_that_comes_back_does_not_override_a_new_one() -> None:
    """A common setting that was changed since the conversion keeps its value."""
    stored, left = convert(FORMER)
    changed = {**FORMER, **left, "worker_attempts": 50}
    assert convert(changed, stored)[1] == {**left, "worker_attempts": 50}


def test_a_different_value_is_a_new_connection() -> None:
    """Another address in the quick start is another connection, with an id that no connection has or had."""
    stored, _ = convert(RAW)
    other = {
        **RAW,
        "jellyfin_url": "http://other:8096",
        "webhook_url": "http://a.example/hook http://a.example/other http://c.example/",
    }
    implicit = read(other, stored)
    assert implicit.returned == ("plex_url", "webhook_url")
    names = [entry.id for entry in implicit.entries]
    assert names[0] == "jellyfin#2"
    assert re.fullmatch(r"webhook:a\.example-[0-9a-f]{8}", names[1])
    assert names[2:] == ["webhook:c.example"]
    # Correcting the address keeps what waits for it.
    assert ids({**other, "jellyfin_url": "other:8096"}, stored)[0] == "jellyfin#2"


def test_the_id_of_a_deleted_connection_is_not_used_again() -> None:
    """A new connection never gets the deliveries, ledger and dead letters of a deleted one."""
    deleted = replace(EMPTY, retired=frozenset({"jellyfin", "jellyfin#2", "webhook:a.example"}))
    raw = {"jellyfin_url": "http://jf", "webhook_url": "http://a.example/1", "plex_url": "http://p"}
    assert ids(raw, deleted) == ["jellyfin#3", "plex", "webhook:a.example#2"]


def test_a_deleted_connection_does_not_come_back_with_an_old_tab() -> None:
    """The values of a connection that was converted and deleted are ignored too."""
    stored, _ = convert(RAW)
    deleted = replace(stored, entries=(), retired=frozenset(entry.id for entry in stored.entries))
    assert read(RAW, deleted).entries == ()


@given(
    st.dictionaries(
        st.sampled_from([*QUICK, *quick_start.FORMER, *quick_start.RENAMED]),
        st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=20) | st.lists(st.text(), max_size=2),
    )
)
def test_any_settings_are_converted_once(raw: dict[str, object]) -> None:
    """Whatever is in the settings, after the conversion nothing blocks, and nothing becomes a connection twice."""
    implicit = quick_start.read(raw, EMPTY)
    stored, left = convert(raw)
    assert [entry.id for entry in stored.entries] == [entry.id for entry in implicit.entries]
    again = quick_start.read(left, stored)
    if stored.entries:
        assert again == Implicit()
        assert quick_start.read(raw, stored).former == ()
    else:  # filters are kept for the first connection
        assert replace(again, former=()) == Implicit()
        assert all(quick_start.FORMER[key][0] == "" for key in again.former)
    assert quick_start.read(raw, stored).entries == ()
    assert all(problem.message.endswith(".") for problem in implicit.problems)


@pytest.mark.parametrize("tag", ["0", "false", "private"])
def test_a_tag_to_skip_may_have_any_name(tag: str) -> None:
    """A filter is a filter, also if its value looks like a switch that is off."""
    stored, _ = convert({"webhook_url": "http://hook/", "filter_skip_tags": tag})
    assert [entry.values["skip_tags"] for entry in stored.entries] == [tag]
