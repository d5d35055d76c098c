"""The view "What happened to this scene?": outcomes, receipts and "Send again", with real deliveries."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Locator, expect

from stash_courier.worker.connections.model import Entry
from tests.standin.jellyfin import StandInJellyfin
from tests.standin.receivers import Receiver, Reply
from tests.support.harness import Courier, wait_until
from tests.support.jellyfin import connected
from tests.support.page import PATH, Visit, visit

SCENES = f"{PATH}/scenes"
MARKUP = '<img src=x onerror="window.hacked=1">'


@pytest.fixture
def jellyfin() -> Iterator[StandInJellyfin]:
    """A Jellyfin server with one of Stash's scenes, whose title its owner locked, in a folder of another name."""
    with StandInJellyfin() as server:
        server.add("/films/1/Film 1.mp4", Name="Owner's", Overview="Old", LockedFields=["Name"])
        server.add("/films/2/Film 2.mp4", Name="Before")
        yield server


@pytest.fixture
def hook(courier: Courier, jellyfin: StandInJellyfin) -> Iterator[Receiver]:
    """Two connections: Jellyfin, and a receiver "Hook" for scenes with the tag "send" only."""
    with Receiver() as receiver:
        filtered = Entry("hook", "Hook", "webhook", values={"url": receiver.url, "include_tags": "send"})
        courier.connect(connected(jellyfin.url), filtered)
        yield receiver


def wanted(courier: Courier) -> list[str]:
    """The tag with which a scene is sent to the receiver, as an edit gives it."""
    return [str(courier.stash.named("tag", "send"))]


def rows(tab: Visit) -> Locator:
    return tab.page.locator(".courier-outcomes tbody tr")


def row(tab: Visit, title: str, connection: str) -> Locator:
    """The row of a scene and a connection."""
    return rows(tab).filter(has_text=title).filter(has=tab.page.get_by_text(connection, exact=True))


def opened(tab: Visit, title: str, connection: str) -> Locator:
    """Opens a receipt."""
    row(tab, title, connection).get_by_role("button", name=title, exact=True).click()
    return tab.page.get_by_role("dialog")


def test_each_scene_says_what_happened_at_each_connection(courier: Courier, hook: Receiver, tab: Visit) -> None:
    """Delivered to one, excluded by the other one's filter; a search by title, path or id finds the scene."""
    courier.stash.edit(1, title="One", details="New")
    courier.stash.edit(2, title="After", tag_ids=wanted(courier))
    hook.wait_for(1)
    courier.drained()
    tab.open(SCENES)
    expect(row(tab, "After", "Jellyfin")).to_contain_text("Delivered.")
    expect(row(tab, "One", "Hook")).to_contain_text("Not sent, because it is excluded.")
    dialog = opened(tab, "One", "Hook")
    expect(dialog.get_by_role("button", name="Send", exact=True)).to_be_enabled()
    dialog.get_by_role("button", name="Close").last.click()
    expect(rows(tab)).to_have_count(4)
    search = tab.page.get_by_label("Title, path or scene id")
    for text in ("AFTER", "films/2", "2"):
        search.fill(text)
        expect(tab.page).to_have_url(f"{tab.base}{SCENES}?text={quote(text, safe='')}")
        expect(rows(tab)).to_have_count(2)
        expect(rows(tab).first).to_contain_text("After")
    tab.page.reload()
    expect(search).to_have_value("2")
    expect(rows(tab)).to_have_count(2)
    tab.page.get_by_label("Connection").select_option(label="Hook")
    expect(rows(tab)).to_have_count(1)
    search.fill("nobody")
    expect(tab.page.get_by_text("Nothing is known about such a scene.")).to_be_visible()


def test_a_receipt_says_what_changed_and_what_was_left_alone(
    courier: Courier, hook: Receiver, jellyfin: StandInJellyfin, tab: Visit
) -> None:
    """Fields from what to what, the title that its owner locked, a link to the item, seconds after the edit."""
    courier.stash.edit(1, title="One", details="New")
    wait_until(lambda: bool(jellyfin.receiver.received), 20.0)
    courier.drained()
    tab.open(SCENES)
    dialog = opened(tab, "One", "Jellyfin")
    expect(dialog.get_by_role("row", name="details Old New")).to_be_visible()
    expect(dialog.get_by_role("listitem").filter(has_text="locked in Jellyfin: title")).to_be_visible()
    expect(dialog).to_contain_text(re.compile(r"Delivered \d+(\.\d)? s after the edit\."))
    link = dialog.get_by_role("link", name="Open it at Jellyfin")
    expect(link).to_have_attribute("href", re.compile(re.escape(f"{jellyfin.url}/web/#/details?id=")))
    expect(link).to_have_attribute("rel", re.compile("noopener"))
    tab.page.reload()
    expect(dialog.get_by_role("row", name="details Old New")).to_be_visible()  # it is in the address
    dialog.get_by_role("link", name="One", exact=True).click()
    expect(tab.page).to_have_url(f"{tab.base}/scenes/1")


def test_one_scene_is_sent_again(courier: Courier, hook: Receiver, tab: Visit) -> None:
    """ "Send again" sends this scene to this connection, and nothing else."""
    courier.stash.edit(2, title="After", tag_ids=wanted(courier))
    courier.stash.edit(1, title="One", tag_ids=wanted(courier))
    hook.wait_for(2)
    courier.drained()
    tab.open(SCENES)
    dialog = opened(tab, "After", "Hook")
    expect(dialog).to_contain_text("Delivered.")
    dialog.get_by_role("button", name="Send again").click()
    expect(dialog.get_by_text("Queued. It is sent like an edit.")).to_be_visible()
    hook.wait_for(3)
    courier.drained()
    assert [int(one.json()["data"]["id"]) for one in hook.received][2:] == [2]


def test_a_failed_one_leads_to_its_dead_letter(courier: Courier, hook: Receiver, tab: Visit) -> None:
    """The receiver refused it: the receipt says why and has a link to the dead letter."""
    hook.answer = Reply(422, body=b"too long")
    courier.stash.edit(2, title="After", tag_ids=wanted(courier))
    wait_until(lambda: courier.dead() == 1, 20.0)
    tab.open(SCENES)
    dialog = opened(tab, "After", "Hook")
    expect(dialog).to_contain_text("Failed, and is a dead letter.")
    dialog.get_by_role("link", name="Open the dead letter").click()
    expect(tab.page).to_have_url(re.compile(r"/dead_letters\?open=\d+$"))
    expect(tab.page.get_by_role("dialog")).to_contain_text("too long")


def test_what_waits_is_shown_and_changes_by_itself(courier: Courier, hook: Receiver, tab: Visit) -> None:
    """While the receiver is down the row says that it waits and why; then that it was delivered."""
    hook.down()
    courier.stash.edit(2, title="After", tag_ids=wanted(courier))
    wait_until(lambda: courier.waiting() == 1, 20.0)
    tab.open(f"{SCENES}?text=2")
    expect(rows(tab).filter(has_text="Hook")).to_contain_text("Not sent yet.")
    expect(rows(tab).filter(has_text="Hook").get_by_text("waiting", exact=True)).to_be_visible()
    hook.up()
    courier.stash.operation({"mode": "deliver_now"})
    expect(rows(tab).filter(has_text="Hook")).to_contain_text("Delivered.")


def test_titles_are_text_and_axe_finds_nothing(browser: Browser, courier: Courier, hook: Receiver) -> None:
    """Markup in a title is shown as it is written, on a phone too; axe finds nothing serious."""
    courier.stash.edit(1, title=MARKUP, details="New")
    courier.stash.edit(2, title=f"{MARKUP} {'long' * 40}", tag_ids=wanted(courier))
    hook.wait_for(1)
    courier.drained()
    for width in (375, 1280):
        with visit(browser, courier, width=width) as tab:
            tab.open(SCENES)
            expect(rows(tab)).to_have_count(4)
            assert tab.page.evaluate("document.documentElement.scrollWidth") == width
            assert tab.serious() == []
            dialog = opened(tab, MARKUP, "Jellyfin")
            expect(dialog.get_by_role("row").filter(has_text="details")).to_contain_text("New")
            assert tab.page.locator("main img, .modal img").count() == 0
            assert tab.page.evaluate("window.hacked") is None
            assert tab.serious(".modal") == []
