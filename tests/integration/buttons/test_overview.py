"""The page's view of all connections with real processes: a worker, receivers, and a Stash that goes away."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stash_courier.queue.inbox import files
from tests.standin.receivers import Receiver, Reply
from tests.support.durable import run_hook
from tests.support.harness import Courier, wait_until

SECRET = "whsec_c3Rhc2gtY291cmllci1kZW1vLXNlY3JldC0wMDE="


class Page:
    """What the page of a plugin asks, whose worker and hooks run."""

    def __init__(self, courier: Courier) -> None:
        self.stash = courier.stash
        self.folder = courier.data

    def call(self, mode: str, **args: object) -> dict[str, Any]:
        """Runs a mode; returns its output."""
        output: dict[str, Any] = self.stash.operation({"mode": mode, **args})
        return output

    def saved(self, **draft: Any) -> dict[str, Any]:
        """Saves a connection with the present revision."""
        return self.call("save_connection", revision=self.call("overview")["revision"], **draft)

    def cards(self) -> dict[str, dict[str, Any]]:
        """The cards, by the connection's name."""
        return {one["name"]: one for one in self.call("overview")["connections"]}


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with Courier(tmp_path, {}, scenes=60) as courier:
        yield Page(courier)


def test_a_card_follows_its_connection(page: Page, receiver: Receiver) -> None:
    """From nothing sent, through an outage with its reason and next try, to deliveries that are counted."""
    page.saved(kind="webhook", name="Hook", values={"url": receiver.url, "secret": SECRET})
    assert page.cards()["Hook"]["health"] == "nothing_sent"
    receiver.down()
    page.stash.edit(3, title="Three")
    held = wait_until(lambda: (one := page.cards()["Hook"])["health"] == "waiting" and one, 15.0)
    assert held["waiting"] == 1
    assert held["since"]
    assert held["next_try"]
    assert "refuses connections" in held["reason"]
    assert page.call("badge")["down"] == ["Hook"]
    receiver.up()
    assert set(page.call("expedite", connection=held["id"])) == {"version"}
    receiver.wait_for(1)
    done = wait_until(lambda: (one := page.cards()["Hook"])["delivered_hour"] and one, 10.0)
    assert (done["health"], done["delivered_day"], done["waiting"], done["action"]) == ("delivering", 1, 0, None)
    assert page.call("badge")["count"] == 0


def test_a_refused_key_asks_for_a_new_one(page: Page, receiver: Receiver) -> None:
    """A 401 leads to the field with the key; no answer contains the stored one."""
    receiver.answer_next(*[Reply(401)] * 50)
    page.saved(
        kind="webhook", name="Hook", values={"url": receiver.url, "headers": "Authorization: Bearer abcd1234"}
    )
    page.stash.edit(3, title="Three")
    held = wait_until(lambda: (one := page.cards()["Hook"])["health"] == "waiting" and one, 15.0)
    assert held["action"] == {"do": "edit", "field": "headers", "label": "Enter a new key"}
    assert "abcd1234" not in str(page.call("overview"))


def test_deliver_now_tries_a_connection_that_was_gone(page: Page, receiver: Receiver) -> None:
    """After a 410 nothing is sent until a person says so, and then at once."""
    receiver.answer_next(Reply(410))
    page.saved(kind="webhook", name="Hook", values={"url": receiver.url})
    page.stash.edit(3, title="Three")
    gone = wait_until(lambda: (one := page.cards()["Hook"])["health"] == "gone" and one, 15.0)
    assert gone["action"]["do"] == "deliver_now"
    page.call("expedite", connection=gone["id"])
    assert len(receiver.wait_for(2)) == 2
    wait_until(lambda: page.cards()["Hook"]["health"] == "delivering", 10.0)


def test_while_stash_is_away_the_page_shows_what_was_known(tmp_path: Path, receiver: Receiver) -> None:
    """Connections stay, those of Stash's settings too, with a banner that says why."""
    with Courier(tmp_path, {"webhook_url": receiver.url}) as courier:
        page = Page(courier)
        page.saved(kind="jellyfin", name="Living room", values={"url": "http://127.0.0.1:9", "key": "abc"})
        page.stash.edit(3, title="Three")
        receiver.wait_for(1)
        implicit = next(name for name in page.cards() if name.startswith("webhook:"))
        assert page.call("overview")["banners"] == []
        place = json.loads((courier.data / files.STASH).read_text())
        courier.stash.stop()
        found = run_away(courier.data, place)
        assert {one["name"] for one in found["connections"]} == {"Living room", implicit}
        (banner,) = [one for one in found["banners"] if one["text"].startswith("Stash: not available.")]
        assert "as the worker last knew them" in banner["text"]


def run_away(folder: Path, place: dict[str, Any]) -> dict[str, Any]:
    """The overview, asked by a Stash that then answers nothing."""
    names = {"scheme": "Scheme", "host": "Host", "port": "Port", "dir": "Dir", "plugin_dir": "PluginDir"}
    server = {name: place[key] for key, name in names.items()}
    ran = run_hook(folder, json.dumps({"server_connection": server, "args": {"mode": "overview"}}).encode())
    output: dict[str, Any] = json.loads(ran.stdout)["output"]
    return output


def test_a_copy_has_the_secrets_and_sends_them_nowhere_else(page: Page, receiver: Receiver) -> None:
    """The copy signs as the original does; no answer contains the secret. Elsewhere it must be entered again."""
    first = page.saved(kind="webhook", name="One", values={"url": receiver.url, "secret": SECRET})["id"]
    elsewhere = {"url": "http://127.0.0.1:9/hook"}
    refused = page.saved(copy_of=first, name="Two", values=elsewhere)
    assert [one["field"] for one in refused["problems"]] == ["secret"]
    assert [one["field"] for one in page.saved(copy_of=first, name="One")["problems"]] == ["name"]
    with pytest.raises(Exception, match="either id or copy_of"):
        page.saved(copy_of=first, id=first, name="Two")
    tested = page.call("test_connection", copy_of=first)
    assert tested["ok"], tested
    copied = page.saved(copy_of=first, name="Two", state="paused")
    assert copied["saved"]
    assert copied["id"] != first
    assert SECRET not in str([tested, copied, page.call("connections"), page.call("overview")])
    page.saved(id=first, state="off")
    page.saved(id=copied["id"], state="on")
    before = len(receiver.received)
    page.stash.edit(3, title="Three")
    *_, got = receiver.wait_for(before + 1)
    assert "webhook-signature" in got.headers


def test_people_get_one_digest_of_existing_scenes(page: Page, receiver: Receiver) -> None:
    """Of sixty scenes a chat gets one message, as the count says before; others are told how long it takes."""
    values = {"preset": "ntfy", "url": receiver.url, "topic": "stash"}
    chat = page.saved(kind="webhook", name="Chat", values=values)
    assert chat["saved"], chat
    count = page.call("send_existing", connection=chat["id"], all=True, count=True)
    assert (count["scenes"], count["digest"]) == (60, True)
    assert "one digest of the newest 10" in count["text"]
    page.call("send_existing", connection=chat["id"], all=True)
    (got,) = receiver.wait_for(1)
    assert b"Film 60" in got.body
    assert b"Film 50" not in got.body
    wait_until(lambda: (one := page.cards()["Chat"])["waiting"] + one["in_flight"] == 0, 10.0)
    assert len(receiver.received) == 1
    hook = page.saved(kind="webhook", name="Hook", values={"url": receiver.url})
    count = page.call("send_existing", connection=hook["id"], all=True, count=True)
    assert (count["scenes"], count["digest"]) == (60, False)
    assert 0 < count["seconds"] < 60
