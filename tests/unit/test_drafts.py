"""worker/connections/drafts.py: what a person entered together with what is stored."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stash_courier.plugin.arguments import Arguments
from stash_courier.worker.connections import drafts
from stash_courier.worker.connections.drafts import Draft
from stash_courier.worker.connections.model import Entry, State
from stash_courier.worker.connections.store import Stored
from stash_courier.worker.destinations import field_keys, secret_fields

NOW = 1_700_000_000.0
PLEX = Entry("plex", "Plex", "plex", values={"url": "http://plex:32400", "key": "hunter2", "libraries": "Films"})
STORED = Stored((PLEX, Entry("webhook-1", "Hook", "webhook", values={"url": "http://a/"})), 5, next_number=2)


def merged(draft: Draft, before: Entry | None = PLEX) -> tuple[Entry, list[str]]:
    """The connection, and the fields that must be entered again."""
    entry, problems = drafts.merged(draft, before, field_keys, secret_fields, NOW)
    assert not any("hunter2" in problem.message for problem in problems)
    return entry, [problem.field for problem in problems]


def test_a_draft_without_anything_is_what_is_stored() -> None:
    """What isn't given stays."""
    assert merged(Draft("plex")) == (PLEX, [])
    assert merged(Draft("plex", name=" Living room "))[0] == replace(PLEX, name="Living room")


def test_what_is_not_given_stays() -> None:
    """A filter must not vanish because a program changed another field. "" unsets a field, a secret too."""
    assert merged(Draft(values={}))[0].values == PLEX.values
    assert merged(Draft(values={"key": None, "libraries": None}))[0].values == PLEX.values
    assert merged(Draft(values={"skip_tags": ["a"]}))[0].values == {**PLEX.values, "skip_tags": ["a"]}
    assert merged(Draft(values={"key": "", "libraries": ""}))[0].values == {
        **PLEX.values,
        "key": "",
        "libraries": "",
    }
    assert merged(Draft(values={"key": "new"}))[0].values == {**PLEX.values, "key": "new"}


@pytest.mark.parametrize(
    "url",
    [
        "https://plex:32400",
        "http://plex:32401",
        "http://plex",
        "http://plex.evil:32400",
        "http://plex:32400@evil/",
        "http://plex:32400%2f@evil",
        "plex:32400",
        "",
        5,
    ],
)
def test_a_stored_secret_is_sent_to_no_other_address(url: object) -> None:
    """With another scheme, host or port the secret must be entered again, also for a test."""
    entry, again = merged(Draft(values={"url": url}))
    assert again == ["key"]
    assert "key" not in entry.values
    entry, again = merged(Draft(values={"url": url, "key": "mine"}))
    assert (again, entry.values["key"]) == ([], "mine")


@pytest.mark.parametrize("url", ["http://plex:32400/", "HTTP://PLEX:32400", "http://plex:32400/below/a/proxy"])
def test_another_path_keeps_the_secret(url: str) -> None:
    """The same server under another path gets the stored secret."""
    entry, again = merged(Draft(values={"url": url}))
    assert (again, entry.values) == ([], {**PLEX.values, "url": url})


DISCORD = "https://discord.example/api/webhooks/1/hunter2"
TOKEN = {"url": "http://gotify/", "token": "hunter2"}


@pytest.mark.parametrize("preset", ["standard", "custom", "home-assistant", "nonsense", ""])
def test_an_address_that_is_a_secret_is_not_shown_by_another_preset(preset: str) -> None:
    """A draft that changes only the preset must not make a stored address readable."""
    before = Entry("webhook-1", "Chat", "webhook", values={"preset": "discord", "url": DISCORD})
    entry, again = merged(Draft(values={"preset": preset}), before)
    shown = entry.values.keys() - secret_fields("webhook", entry.values)
    assert "hunter2" not in str([entry.values[key] for key in shown])
    assert (again == ["url"]) is (preset != "nonsense")
    assert merged(Draft(values={"preset": "slack"}), before)[0].values == {"preset": "slack", "url": DISCORD}


def test_a_secret_of_a_former_preset_goes_with_it() -> None:
    """A token that only the former preset has is neither kept nor a reason to refuse the save."""
    before = Entry("webhook-1", "Phone", "webhook", values={"preset": "gotify", **TOKEN})
    entry, again = merged(Draft(values={"preset": "standard", "url": "http://gotify/"}), before)
    assert (again, entry.values) == ([], {"preset": "standard", "url": "http://gotify/"})
    entry, _ = merged(Draft(values={"preset": "ntfy", "url": "http://gotify/", "topic": "a"}), before)
    assert entry.values["token"] == "hunter2"


def test_the_kind_stays() -> None:
    """A connection never becomes one of another kind."""
    assert merged(Draft("plex", kind="jellyfin"))[1] == ["kind"]
    assert merged(Draft("plex", kind="plex"))[1] == []


@pytest.mark.parametrize(
    "values",
    [
        {"url": "http://host/web/index.html?X-Plex-Token=hunter2"},
        {"url": "me:hunter2@host:8096"},
        {"url": "http://me:hunter2@host"},
        {"url": "http://host", "stash_url": "http://me:hunter2@stash"},
        {"preset": "from a newer version", "url": "http://host/hunter2"},
        {"preset": "standard", "url": "http://host", "token": "hunter2"},
        {"preset": 7, "url": "http://host/hunter2"},
    ],
)
def test_what_may_be_a_secret_is_never_shown(values: dict[str, object]) -> None:
    """A login or parameters in an address, and whatever this version doesn't know."""
    hidden = secret_fields("webhook", values)
    assert "hunter2" not in str({key: value for key, value in values.items() if key not in hidden})


def test_no_secret_in_a_repr() -> None:
    """What a person entered is in no exception or log that contains the draft."""
    assert "hunter2" not in repr(Draft(values=TOKEN))
    assert "hunter2" not in repr(Arguments(values=TOKEN))


@pytest.mark.parametrize(
    ("before", "draft", "since"),
    [
        ("on", "off", NOW),
        ("off", "off", 5.0),
        ("off", None, 5.0),
        ("off", "on", 0.0),
        ("on", "paused", 0.0),
        ("leaving", None, 5.0),
    ],
)
def test_it_is_known_since_when_it_is_off(before: State, draft: State | None, since: float) -> None:
    """The time since which a connection is off is kept until it is switched on."""
    stored = replace(PLEX, state=before, off_since=0.0 if before == "on" else 5.0)
    assert merged(Draft(state=draft), stored)[0].off_since == since


def test_a_new_connection_has_an_id_that_was_never_used() -> None:
    """Ids are numbered, whatever was deleted since, also after a person restored or deleted the file."""
    entry, again = merged(Draft(kind="webhook", name="New", values={"url": "http://a/"}), None)
    assert (entry.id, entry.kind, entry.state, again) == ("", "webhook", "on", [])
    stored, saved = drafts.saved(STORED, entry, NOW)
    assert saved.id == "webhook-1700000000"
    deleted = drafts.deleted(stored, saved.id)
    assert deleted.find(saved.id) is None
    assert deleted.retired == {saved.id}
    assert drafts.saved(deleted, entry, NOW)[1].id == "webhook-1700000001"
    for content in (STORED, Stored()):
        assert drafts.saved(content, entry, NOW + 9.0)[1].id not in {entry.id for entry in stored.entries}


def test_a_changed_connection_keeps_its_id_and_place() -> None:
    """Saving a connection changes no other."""
    stored, _ = drafts.saved(STORED, replace(PLEX, name="Other"), NOW)
    assert [(entry.id, entry.name) for entry in stored.entries] == [("plex", "Other"), ("webhook-1", "Hook")]
    assert stored.next_number == STORED.next_number


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("Other", ""),
        ("Plex", ""),  # its own
        ("", "Enter a name"),
        ("HOOK", "Another connection has this name"),
        ("two\nlines", "one line"),
        ("x" * 101, "at most 100"),
    ],
)
def test_a_name_is_one_line_and_given_once(name: str, wrong: str) -> None:
    """Two connections never have the same name, in any case."""
    found = drafts.wrong_name(name, "plex", STORED)
    assert [problem.field for problem in found] == (["name"] if wrong else [])
    assert all(wrong in problem.message for problem in found)


def test_a_changed_address_and_a_time_off_offer_to_send() -> None:
    """A new server is offered everything, one that was off what changed meanwhile, any other change nothing."""
    all_of_it = [{"connection": "plex", "all": True}]
    assert drafts.offers(None, PLEX) == all_of_it
    assert drafts.offers(PLEX, replace(PLEX, values={**PLEX.values, "url": "http://other"})) == all_of_it
    assert drafts.offers(PLEX, replace(PLEX, name="Other", values={**PLEX.values, "key": "x"})) == []
    off = replace(PLEX, state="off", off_since=5.0)
    assert drafts.offers(off, PLEX) == [{"connection": "plex", "since": 5.0}]
    assert drafts.offers(off, off) == []
