"""What media servers share: fields, paths, the wanted state, comparisons, answers and failures."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.worker.connections.model import Shared
from stash_courier.worker.destinations.media.api import check_write, read_json, still_there
from stash_courier.worker.destinations.media.libraries import Cached, Library, none_holds
from stash_courier.worker.destinations.media.places import (
    Place,
    ambiguous,
    file_name,
    is_named,
    places,
    rules_between,
    same_path,
)
from stash_courier.worker.destinations.media.settings import (
    ALL_FIELDS,
    Selection,
    Server,
)
from stash_courier.worker.destinations.media.state import (
    Change,
    State,
    list_change,
    names,
    same_name,
    same_text,
    wanted_state,
)
from stash_courier.worker.fields import parse
from stash_courier.worker.http.addresses import Target
from stash_courier.worker.http.client import Answer
from stash_courier.worker.paths import PathMap
from tests.support.connections import connection, problems
from tests.support.media_samples import delivery, scene

MAP = PathMap((("/data", "/media"),))
KEY = "0123456789abcdef"
SERVER = Server("Jellyfin", Target("http://host:8096"), KEY)


def address_of(url: object, kind: str = "emby") -> Target:
    """The parsed address of a media server."""
    target: Target = connection(kind, {"url": url, "key": KEY}).options.url
    return target


# Fields


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("http://host:8096", "http://host:8096"),
        ("http://host:8096/", "http://host:8096"),
        ("  HTTP://Host:8096//  ", "http://host:8096"),
        ("https://host/media/jellyfin/", "https://host/media/jellyfin"),
        ("http://bücher.example/", "http://xn--bcher-kva.example"),
        ("http://[::1]:8096", "http://[::1]:8096"),
    ],
)
def test_addresses_that_work(url: str, sent: str) -> None:
    """An address works with a trailing slash, below a proxy's path, and in any case and script."""
    assert address_of(url).url == sent


@pytest.mark.parametrize("kind", ["emby", "jellyfin", "plex"])
@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("", "is empty"),
        (5, "must be text"),
        ("host:8096", "http://"),
        ("ftp://host", "neither"),
        ("http://", "not a valid URL"),
        ("http://host:99999", "not a valid URL"),
        ("http://host:8096/web/", "/web"),
        ("http://host:8096/web/index.html#/home.html", "/web"),
        ("http://host:8096/?api_key=hunter22", "key in it"),
        ("http://host:8096/?a=b", "page"),
    ],
)
def test_addresses_that_cannot_work(kind: str, url: object, word: str) -> None:
    """An invalid address is a problem with a message that shows no secret, and nothing is sent."""
    (problem,) = problems(kind, {"url": url, "key": KEY})
    assert (problem.field, problem.connection) == ("url", kind)
    assert problem.message.startswith('"Address" ')
    assert word in problem.message
    assert "nothing is sent" in problem.message
    assert "hunter22" not in problem.message


@pytest.mark.parametrize("key", ["", "   ", "two words", 'a"b', "schlüssel", "a,b", "a\nb"])
def test_an_invalid_key(key: str) -> None:
    """A missing or damaged key is reported without showing it."""
    (problem,) = problems("emby", {"url": "http://host", "key": key})
    assert problem.field == "key"
    assert not key.strip() or key not in problem.message


def test_no_secret_is_shown() -> None:
    """Key and login don't appear in the repr of a connection or a server."""
    made = connection("emby", {"url": "http://user:hunter22@host/", "key": KEY})
    server = Server("Emby", made.options.url, made.options.key)
    for shown in (repr(made), repr(server), made.fingerprint):
        assert "hunter22" not in shown
        assert KEY not in shown
    assert {KEY, "hunter22"} < set(server.hidden)
    assert server.url == "http://host"


def selection_of(skip: object = "") -> Selection:
    """What Plex is sent, which has all fields but the ids."""
    selection: Selection = connection(
        "plex", {"url": "http://h", "key": KEY, "skip_fields": skip}
    ).options.skip_fields
    return selection


PLEX_FIELDS = frozenset(ALL_FIELDS) - {"ids"}


@pytest.mark.parametrize("unset", ["", " , ", None, False, 0, [], [" "]])
def test_every_field_but_the_rating_is_on(unset: object) -> None:
    """An unset field sends all fields except the rating, and empties nothing."""
    assert selection_of(unset) == Selection(PLEX_FIELDS - {"rating"}, clear=False)


@pytest.mark.parametrize("words", ["title, tags", "title tags", " Title;TAGS,,title", ["tags", "Title"]])
def test_fields_are_skipped(words: object) -> None:
    """Fields named in any case, separated by spaces or commas or as a list, are left alone."""
    assert selection_of(words).fields == PLEX_FIELDS - {"rating", "title", "tags"}


def test_the_rating_and_emptying_can_be_switched_on() -> None:
    """+rating sends the rating, +empty sends empty values."""
    assert selection_of("+rating +empty") == Selection(PLEX_FIELDS, clear=True)


@pytest.mark.parametrize("text", ["title tag", "+title", "hunter22", "title groups"])
def test_an_unknown_field_is_a_problem(text: str) -> None:
    """A misspelled name stops the destination; the problem gives its position without quoting it."""
    (problem,) = problems("jellyfin", {"url": "http://host", "key": KEY, "skip_fields": text})
    assert problem.field == "skip_fields"
    assert f"entry {len(text.split())} must be one of title, details" in problem.message
    assert "nothing is sent" in problem.message
    assert "hunter22" not in problem.message


@pytest.mark.parametrize("kind", ["emby", "jellyfin", "plex"])
def test_a_missing_scene_is_waited_for_by_default(kind: str) -> None:
    """Without a choice every scene that the server doesn't have is waited for."""
    assert connection(kind, {"url": "http://host", "key": KEY}).policy.absent == "wait"


# Paths


def test_places_are_the_files_the_primary_first() -> None:
    """Each file of a scene has a place on the server, by the rule that fits its path."""
    where = places(None, scene("/data/a.mkv", "/other/b.mkv"), MAP)
    assert where == (
        Place("/data/a.mkv", "/media/a.mkv", ("/data", "/media")),
        Place("/other/b.mkv", "/other/b.mkv", None),
    )
    assert places(None, scene(files=()), MAP) == ()


def test_a_deleted_scene_is_at_its_last_path() -> None:
    """A deleted scene is looked up at its last path; without one it has no place."""
    assert places(delivery("x", path="/data/a.mkv"), None, MAP)[0].server == "/media/a.mkv"
    assert places(delivery("x"), None, MAP) == ()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("/a/b", "/a/b", True),
        ("/a/b", "/a/B", False),
        ("/a/b", "/a/b/", False),
        ("D:\\a\\b", "d:/A/B", True),
        ("\\\\nas\\v\\a", "\\\\NAS/v/a", True),
        ("/a/b\\c", "/a/b/c", False),
    ],
)
def test_paths_are_compared_exactly(one: str, other: str, same: bool) -> None:
    """Paths are compared exactly, except Windows paths, where case and separators don't matter."""
    assert same_path(one, other) is same


@pytest.mark.parametrize(
    ("stash", "server"),
    [
        ("/data/x/a.mkv", "/mnt/x/a.mkv"),
        ("/movies/a.mkv", "/mnt/movies/a.mkv"),
        ("/mnt/movies/a.mkv", "/movies/a.mkv"),
        ("D:\\clips\\x\\a.mkv", "/clips/x/a.mkv"),
        ("/data/x/a.mkv", "E:\\v\\x\\a.mkv"),
        ("\\\\nas\\v\\x\\a.mkv", "/v/x/a.mkv"),
        ("/data/a.mkv", "/data/b.mkv"),
        ("/data/x/one.mkv", "D:\\v\\X\\One.mkv"),
        ("/data/movies/one.mkv", "D:\\Movies\\One.mkv"),
    ],
)
def test_the_suggested_rule_leads_there(stash: str, server: str) -> None:
    """A suggested rule, pasted into path_map, maps Stash's path to the server's."""
    shared, wrong = parse(Shared, {"path_map": " => ".join(rules_between(stash, server)[0])})
    assert wrong == []
    assert same_path(shared.path_map.apply(stash), server)


@pytest.mark.parametrize(
    ("path", "name", "same"),
    [
        ("/a/one.mkv", "one.mkv", True),
        ("/a/One.mkv", "one.mkv", False),
        ("/a/x\\one.mkv", "one.mkv", False),
        ("D:\\a\\One.mkv", "one.mkv", True),
        ("D:/a/one.mkv", "one.mkv", True),
        ("/a/one.mkv/two.mkv", "one.mkv", False),
    ],
)
def test_files_of_the_same_name(path: str, name: str, same: bool) -> None:
    """File names are compared by the rules of the server's system."""
    assert is_named(path, name) is same
    assert (file_name(path) == name) is (same and "One" not in path)


def test_that_no_library_holds_a_folder() -> None:
    """The hint appears only if all libraries list their folders and none contains the path."""
    where = places(None, scene("/data/a.mkv"), MAP)
    assert none_holds(where, [Library("A", ("/x",)), Library("B", ())]).endswith("folder: A (/x); B (no folder).")
    assert none_holds(where, [Library("A", ("/x",)), Library("B", ("/media",))]) == ""
    assert none_holds(where, [Library("A", ("/x",)), Library("B", None)]) == ""


def test_an_item_that_vanished_is_looked_up_again() -> None:
    """A 404 for an item that was found makes no dead letter; other failures are unchanged."""
    with (
        pytest.raises(DeliveryFailed, match="no longer has that item") as caught,
        still_there(SERVER, "that item"),
    ):
        raise DeliveryFailed(Failure.ITEM_REFUSED, "x", status=404, answer="gone")
    assert (caught.value.failure, caught.value.status, caught.value.answer) == (Failure.REFUSED, 404, "gone")
    for failure, status in ((Failure.ITEM_REFUSED, 400), (Failure.DESTINATION, 404)):
        with pytest.raises(DeliveryFailed, match="x"), still_there(SERVER, "that item"):
            raise DeliveryFailed(failure, "x", status=status)


def test_an_answer_is_cached() -> None:
    """An answer is requested again when it expires, sooner after a miss, and at once when it was wrong."""
    now, asked = [100.0], [0]

    def ask() -> int:
        asked[0] += 1
        return asked[0]

    cached = Cached(ask, 300.0, lambda: now[0])
    assert [cached.get(), cached.get()] == [1, 1]
    now[0] += 299.0
    assert cached.get() == 1
    now[0] += 1.0
    assert cached.get() == 2
    cached.expire_soon()
    now[0] += 19.0
    assert cached.get() == 2
    now[0] += 1.0
    assert cached.get() == 3
    cached.forget()
    assert cached.get() == 4


def test_ambiguous_names_both() -> None:
    """Two items with one path refuse the scene, and the failure names both items."""
    failed = ambiguous("Plex", 17, Place("/data/a", "/media/a", None), ['"A" (id 1)', '"B" (id 2)'])
    assert failed.failure is Failure.ITEM_REFUSED
    assert '2 items with the path /media/a: "A" (id 1); "B" (id 2)' in failed.message


# The wanted state


def test_the_state_of_a_scene() -> None:
    """The selected fields have the scene's values, the others are None."""
    selection = Selection(frozenset(ALL_FIELDS) - {"details"})
    assert wanted_state(scene(), selection) == State(
        title="A Title",
        details=None,
        date="2024-05-06",
        studio="Studio",
        performers=("Anna", "Zoë"),
        tags=("calm", "loud"),
        director="Dora Director",
        rating=8.0,
        ids="17",
    )


def test_without_a_title_the_stem_is_the_title() -> None:
    """A scene without a title gets its file name without the extension."""
    selection = Selection(frozenset(ALL_FIELDS))
    assert wanted_state(scene("/data/My film.v2.mkv", title=""), selection).title == "My film.v2"


EMPTY = scene(
    title="", details=" \n", date="", studio=None, performers=(), tags=(), groups=(), director="", rating100=None
)


def test_what_is_empty_in_stash_leaves_the_server_alone() -> None:
    """A value that is empty in Stash changes nothing on the server."""
    selection = Selection(frozenset(ALL_FIELDS))
    assert wanted_state(EMPTY, selection) == State(title="one", ids="17")


def test_what_is_empty_in_stash_empties_the_server_when_asked_to() -> None:
    """With +empty a value that is empty in Stash is emptied on the server, except the title."""
    selection = Selection(frozenset(ALL_FIELDS), clear=True)
    assert wanted_state(EMPTY, selection) == State("one", "", "", "", (), (), "", 0.0, "17")


@pytest.mark.parametrize(
    ("date", "year", "day"),
    [("2024-05-06", 2024, "2024-05-06"), ("2024-05", 2024, None), ("2024", 2024, None), ("", None, None)],
)
def test_a_date_without_a_day_is_a_year(date: str, year: int | None, day: str | None) -> None:
    """A date that Stash knows only to the month or year has no day."""
    state = State(date=date)
    assert (state.year, state.day) == (year, day)


# Comparisons


def test_names_are_compared_as_people_do() -> None:
    """Spaces around a name, its case and its Unicode composition don't make another name."""
    assert names([" Anna ", "ANNA", "", "  ", "Zoe\u0308", "Zo\u00eb"]) == ("Anna", "Zoe\u0308")
    assert same_name("Zoe\u0308", " zo\u00eb")
    assert not same_name("Anna", "Anne")


@given(st.text())
def test_a_text_is_the_same_however_a_server_stores_it(text: str) -> None:
    """A server's changes to line ends, outer white space and Unicode composition cause no edit."""
    assert same_text(text, unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\n", "\r\n")))
    assert same_text(f"  {text}\n", text)
    assert not same_text(f"{text}x", text)


def test_lists_are_mirrored() -> None:
    """Missing names are added, names that Stash doesn't have are removed, and the order doesn't matter."""
    assert list_change(["B", "a"], ["A", "b"], add_only=False) == Change()
    assert list_change(["A", "hand"], ["b", "a"], add_only=False) == Change(("b",), ("hand",))


def test_a_changed_case_reaches_a_server_that_takes_it_over() -> None:
    """In a list that takes over our spelling, another case is another name."""
    assert list_change(["a"], ["A"], add_only=False, cased=True) == Change(("A",), ("a",))
    assert not list_change(["Zoe\u0308"], ["Zo\u00eb"], add_only=False, cased=True)


@given(st.lists(st.text()), st.lists(st.text()), st.booleans(), st.booleans())
def test_a_list_that_was_changed_needs_no_change(
    current: list[str], wanted: list[str], add_only: bool, cased: bool
) -> None:
    """After a change was carried out there is nothing left to change."""
    change = list_change(current, names(wanted), add_only=add_only, cased=cased)
    after = [name for name in current if name not in change.removed] + list(change.added)
    assert not list_change(after, names(wanted), add_only=add_only, cased=cased)


# Answers


@pytest.mark.parametrize(
    ("body", "failure", "word"),
    [
        (b"<html>Log in</html>", Failure.DESTINATION, "web page"),
        (b"", Failure.DESTINATION, "JSON"),
        (b"OK", Failure.DESTINATION, "JSON"),
        (b'{"Items": [{"Id"', Failure.BUSY, "broke off"),
        (b"\xff\xfe", Failure.DESTINATION, "JSON"),
        (b"[" * 100_000, Failure.BUSY, "broke off"),
    ],
)
def test_answers_that_are_not_json(body: bytes, failure: Failure, word: str) -> None:
    """A web page means wrong settings, an answer that broke off is retried."""
    with pytest.raises(DeliveryFailed) as caught:
        read_json(Answer(200, {}, body, whole=True), SERVER)
    assert caught.value.failure is failure
    assert word in caught.value.message


def test_an_answer_that_was_cut_is_not_read() -> None:
    """An answer that is longer than the limit is never taken for a whole one."""
    with pytest.raises(DeliveryFailed, match="broke off"):
        read_json(Answer(200, {}, b"[]", whole=False), SERVER)
    assert read_json(Answer(200, {}, b"[]", whole=True), SERVER) == []


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content-Type": "text/html; charset=utf-8"}, b"Please log in"),
        ({}, b"<!DOCTYPE html><form>Password</form>"),
        ({}, b"\xef\xbb\xbf \r\n<HTML><form>Password</form>"),
        ({"Content-Type": "text/plain"}, b"<!doctype html>"),
    ],
)
def test_a_page_takes_no_change(headers: dict[str, str], body: bytes) -> None:
    """A login page that answers a write with 200 means wrong settings, and nothing counts as delivered."""
    with pytest.raises(DeliveryFailed) as caught:
        check_write(Answer(200, headers, body, whole=True), SERVER)
    assert caught.value.failure is Failure.DESTINATION
    assert "login page is at this address. Enter the address of Jellyfin itself" in caught.value.message


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, b""),
        ({"Content-Type": "text/html"}, b""),
        ({"Content-Type": "text/xml"}, b'<?xml version="1.0"?><MediaContainer size="0"/>'),
        ({"Content-Type": "application/json"}, b'"text/html"'),
        ({"Content-Type": "text/plain"}, b"OK"),
    ],
)
def test_what_servers_answer_to_a_write_counts(headers: dict[str, str], body: bytes) -> None:
    """The servers' own answers to a write, empty or XML or JSON or text, are accepted."""
    check_write(Answer(200, headers, body, whole=True), SERVER)


def test_a_file_name_that_is_not_utf_8() -> None:
    """An answer with a file name that isn't UTF-8 is read, and the same file is found by it."""
    found = read_json(Answer(200, {}, b'{"file": "/a\xff.mkv"}', whole=True), SERVER)
    assert isinstance(found, dict)
    assert same_path(found["file"], "/a\udcff.mkv")
    assert same_path("/a\udcff.mkv", "/a\ufffd.mkv")
