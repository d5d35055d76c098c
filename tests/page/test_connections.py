"""The cards of connections: state, actions, tests, and scenes that Stash has already."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from stash_courier.worker.connections.model import Entry
from tests.standin.jellyfin import KEY, StandInJellyfin
from tests.standin.receivers import Receiver, Reply
from tests.support.harness import Courier, wait_until
from tests.support.jellyfin import connected
from tests.support.page import PATH, Visit, visit
from tests.support.page_forms import card, field, new, press, stored

pytestmark = pytest.mark.timeout(120)

MARKUP = "<img src=x onerror=\"document.title='hacked'\"><b>bold</b>"

SHOWN = {  # part of the view → what it shows when it is ready
    "": ".courier-counts",
    "?new=": "text=Home Assistant",
    "?new=jellyfin": "#courier-field-name",
    "?edit=hook&field=path_map": "#courier-field-path_map",
}


def hook(url: str, **values: object) -> Entry:
    """A webhook connection."""
    return Entry("hook", "Hook", "webhook", values={"url": url, **values})


def test_a_refused_key_leads_to_its_field(courier: Courier, tab: Visit) -> None:
    """The card says why nothing is sent; its first button opens the form at the key; the new key delivers."""
    with StandInJellyfin(libraries={"Films": ["/films"]}) as server:
        for one in courier.stash.library.all():
            server.add(one.path.replace("/media/films", "/films"))
        courier.connect(connected(server.url, key="wrong"))
        courier.stash.edit(1, title="Waits")
        tab.open()
        state = card(tab, "Jellyfin").locator(".courier-state")
        expect(state).to_contain_text("Waiting since")
        expect(state).to_contain_text("401")
        expect(card(tab, "Jellyfin").get_by_role("button").first).to_have_text("Enter a new key")
        press(tab, "Enter a new key: Jellyfin")
        expect(field(tab, "API key")).to_be_focused()
        field(tab, "API key").fill(KEY)
        press(tab, "Save")
        expect(card(tab, "Jellyfin").get_by_text("Delivering.")).to_be_visible()
        assert "Waits" in {item["Name"] for item in server.items.values()}


def test_pause_and_resume(courier: Courier, tab: Visit) -> None:
    """A paused connection keeps what changes; after Resume it is sent."""
    with Receiver() as receiver:
        courier.connect(hook(receiver.url))
        tab.open()
        press(tab, "Pause: Hook")
        expect(card(tab, "Hook").locator(".courier-state")).to_contain_text("Paused")
        courier.stash.edit(1, title="Later")
        expect(card(tab, "Hook").get_by_text("Waiting1")).to_be_visible()
        assert receiver.received == ()
        press(tab, "Resume: Hook")
        (got,) = receiver.wait_for(1, 20.0)
        assert got.json()["data"]["title"] == "Later"
        expect(card(tab, "Hook").get_by_text("Delivering.")).to_be_visible()


def test_deliver_now_does_not_wait_for_the_next_try(courier: Courier, tab: Visit) -> None:
    """A delivery that would be tried again in an hour is sent at once."""
    with Receiver() as receiver:
        receiver.answer_next(Reply(429, headers={"Retry-After": "3600"}))
        courier.connect(hook(receiver.url))
        courier.stash.edit(1, title="Now")
        tab.open()
        expect(card(tab, "Hook").locator(".courier-state")).to_contain_text("Next try: in")
        press(tab, "Deliver now: Hook")
        said = tab.page.get_by_text("What waits is being sent now.")
        expect(said).to_be_visible()
        receiver.wait_for(2, 20.0)
        expect(said).to_have_count(0)
        press(tab, "Deliver now: Hook")
        expect(tab.page.get_by_text("Nothing waits.")).to_be_visible()


def test_existing_scenes_are_counted_before_they_are_sent(courier: Courier, tab: Visit) -> None:
    """The button says how many; Escape sends nothing; only this connection gets them."""
    with Receiver() as receiver, Receiver() as other:
        courier.connect(hook(receiver.url), Entry("other", "Other", "webhook", values={"url": other.url}))
        tab.open()
        press(tab, "More: Hook")
        press(tab, "Send existing scenes")
        expect(tab.page.get_by_role("button", name="Send 20 scenes")).to_be_enabled()
        tab.page.get_by_label("Changed since a date").check()
        expect(tab.page.get_by_text("Choose a date.")).to_be_visible()
        tab.page.get_by_label("Date", exact=True).fill("2099-01-01")
        expect(tab.page.get_by_text("There are no such scenes.")).to_be_visible()
        tab.page.keyboard.press("Escape")
        expect(tab.page.get_by_role("dialog")).to_have_count(0)
        press(tab, "More: Hook")
        press(tab, "Send existing scenes")
        tab.page.get_by_label("All scenes").check()
        press(tab, "Send 20 scenes")
        expect(tab.page.get_by_text("Queued: 20 scenes.")).to_be_visible()
        receiver.wait_for(20, 30.0)
        assert other.received == ()


def test_deleting_asks_what_becomes_of_what_waits(courier: Courier, tab: Visit) -> None:
    """Two deliveries wait; they become dead letters, as was chosen, and the card goes away."""
    with Receiver(Reply(503)) as receiver:
        courier.connect(hook(receiver.url))
        for number in (1, 2):
            courier.stash.edit(number, title="Stuck")
        tab.open()
        expect(card(tab, "Hook").get_by_text("Waiting2")).to_be_visible()
        press(tab, "More: Hook")
        press(tab, "Delete")
        expect(tab.page.get_by_text("What should happen to what waits (2 deliveries)?")).to_be_visible()
        tab.page.get_by_label("Make them dead letters.").check()
        tab.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        expect(card(tab, "Hook")).to_have_count(0)
        wait_until(lambda: courier.dead() == 2, 20.0)
        assert stored(courier) == []


def test_a_connection_that_is_being_deleted_can_be_kept(courier: Courier, tab: Visit) -> None:
    """The card says what it waits for, and has a button that keeps the connection."""
    with Receiver(Reply(503)) as receiver:
        courier.connect(hook(receiver.url))
        courier.stash.edit(1, title="Stuck")
        tab.open()
        expect(card(tab, "Hook").get_by_text("Waiting1")).to_be_visible()
        press(tab, "More: Hook")
        press(tab, "Delete")
        tab.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        state = card(tab, "Hook").locator(".courier-state")
        expect(state).to_contain_text("Being deleted. What waits is sent first, then the connection is deleted.")
        press(tab, "Keep the connection: Hook")
        expect(state).not_to_contain_text("Being deleted")


def test_existing_scenes_are_offered_once_after_the_first_save(courier: Courier, tab: Visit) -> None:
    """The panel after the first save has the offer; when its dialog was closed, the offer is gone."""
    new(tab, "webhook", "standard")
    field(tab, "Address").fill("http://127.0.0.1:1/a")
    press(tab, "Save")
    panel = tab.page.get_by_role("region", name="Standard webhook is saved")
    panel.get_by_role("button", name="Send existing scenes").click()
    expect(tab.page.get_by_role("button", name="Send 20 scenes")).to_be_enabled()
    tab.page.keyboard.press("Escape")
    expect(panel.get_by_role("button", name="Send existing scenes")).to_have_count(0)
    tab.page.reload()
    expect(panel).to_be_visible()
    expect(panel.get_by_role("button", name="Send existing scenes")).to_have_count(0)
    press(tab, "Done")
    expect(tab.page.get_by_role("heading", name="Connections")).to_be_focused()
    press(tab, "Edit: Standard webhook")
    field(tab, "Name").fill("Renamed")
    press(tab, "Save")
    expect(card(tab, "Renamed")).to_be_visible()
    expect(tab.page.get_by_text("is saved")).to_have_count(0)
    assert len(stored(courier)) == 1


def test_a_webhook_is_tested_only_after_its_preview(courier: Courier, tab: Visit) -> None:
    """First the body is shown and nothing is sent; Send test sends, and shows what was sent."""
    with Receiver() as receiver:
        new(tab, "webhook", "standard")
        field(tab, "Address").fill(receiver.url)
        press(tab, "Test")
        expect(tab.page.get_by_role("region", name="Preview")).to_contain_text("scene.updated")
        assert receiver.received == ()
        press(tab, "Send test")
        expect(tab.page.get_by_text("The test passed.")).to_be_visible()
        (got,) = receiver.wait_for(1, 20.0)
        tab.page.get_by_text("What was sent").click()
        expect(tab.page.locator(".courier-steps pre")).to_have_text(got.body.decode())
    assert stored(courier) == []


def test_people_get_a_title_only_when_asked(courier: Courier, tab: Visit) -> None:
    """A chat's test is a neutral sentence, unless the box is ticked."""
    for one in courier.stash.library.all():
        courier.stash.change_without_hook(one.id, title="Secret title")
    with Receiver() as receiver:
        new(tab, "webhook", "ntfy")
        field(tab, "Address").fill(receiver.url.removesuffix("/hook"))
        field(tab, "Topic").fill("films")
        for asked in (False, True):
            press(tab, "Test")
            tab.page.get_by_label("Send the scene's title in the test").set_checked(asked)
            press(tab, "Send test")
            expect(tab.page.get_by_text("The test passed.")).to_be_visible()
            assert ("Secret title" in receiver.received[-1].body.decode()) == asked


def test_a_fix_of_a_stored_connection_is_put_into_the_form(courier: Courier, tab: Visit) -> None:
    """Test on the card finds the path; its fix opens the form with the rule, and Save applies it."""
    with StandInJellyfin(libraries={"Films": ["/films"]}) as server:
        for one in courier.stash.library.all():
            server.add(one.path.replace("/media/films", "/films"))
        courier.connect(connected(server.url, path_map=""))
        tab.open()
        press(tab, "Test: Jellyfin")
        press(tab, "Use this path", exact=False)
        expect(tab.page.get_by_text("The change is in the form. Save it to apply it.")).to_be_visible()
        tab.page.locator("summary").click()
        field(tab, "Path map").fill("/media => /else")
        tab.page.on("dialog", lambda dialog: dialog.accept())
        tab.page.reload()
        tab.page.locator("summary").click()
        expect(field(tab, "Path map")).to_have_value("/media => /else")  # the fix isn't put in again
        field(tab, "Path map").fill("/media => /")
        press(tab, "Save")
        expect(card(tab, "Jellyfin")).to_be_visible()
        assert stored(courier)[0]["values"]["path_map"] == ["/media => /"]


def test_the_library_report_is_a_table(courier: Courier, tab: Visit) -> None:
    """One click below the test: how many scenes the server has as items of their own, with examples."""
    with StandInJellyfin(libraries={"Films": ["/films"]}) as server:
        for one in courier.stash.library.all()[:15]:
            server.add(one.path.replace("/media/films", "/films"))
        courier.connect(connected(server.url))
        tab.open()
        press(tab, "Test: Jellyfin")
        press(tab, "Library report")
        report = tab.page.get_by_role("region", name="Library report")
        expect(report.get_by_text("Compared: 20 scenes.")).to_be_visible()
        expect(report.get_by_role("row").nth(1)).to_contain_text("15")
        expect(report.get_by_text("Examples: ").first).to_be_visible()


def test_scenes_that_were_left_alone_are_linked(courier: Courier, browser: Browser) -> None:
    """The card names the scenes with a locked item; each leads to the scene in Stash, also behind a proxy."""
    with StandInJellyfin(libraries={"Films": ["/films"]}) as server:
        for one in courier.stash.library.all()[:2]:
            server.add(one.path.replace("/media/films", "/films"), LockData=True)
        courier.connect(connected(server.url))
        for number in (1, 2):
            courier.stash.edit(number, title="Edited")
        with visit(browser, courier, prefix="/stash") as tab:
            tab.open()
            said = card(tab, "Jellyfin").get_by_text("Scenes whose whole item is locked")
            expect(said).to_contain_text("left alone: 2 (Scene 1, Scene 2). To have what is locked overwritten")
            assert tab.serious() == []
            said.get_by_role("link", name="Scene 2").click()
            expect(tab.page).to_have_url(f"{tab.base}/scenes/2")


def test_a_bad_setting_leads_to_the_settings(courier: Courier, tab: Visit) -> None:
    """What is wrong on Stash's own settings page: the banner has the click that leads there."""
    courier.configure(worker_attempts=700)
    tab.open()
    banner = tab.page.get_by_role("alert").filter(
        has_text='"Delivery, attempts" must be a whole number from 1 to 100'
    )
    banner.get_by_role("link", name="Open Settings → Plugins").click()
    expect(tab.page).to_have_url(f"{tab.base}/settings?tab=plugins")


def test_a_connection_from_the_settings_is_edited_there(courier: Courier, tab: Visit) -> None:
    """Its card says where it is from, and leads there instead of to a form."""
    courier.configure(webhook_url="http://127.0.0.1:9/hook")
    tab.open()
    one = tab.page.get_by_role("article")
    expect(one).to_contain_text("from Stash's settings")
    expect(one.get_by_role("button", name="Edit: ")).to_have_count(0)
    one.get_by_role("button", name="Edit in Stash's settings").click()
    expect(tab.page).to_have_url(f"{tab.base}/settings?tab=plugins")


def test_markup_in_names_is_text(courier: Courier, tab: Visit) -> None:
    """Names and titles with markup are shown as they are, in cards, forms and previews."""
    courier.stash.change_without_hook(20, title=MARKUP)
    for one in courier.stash.library.all():
        courier.stash.change_without_hook(one.id, title=MARKUP)
    courier.connect(Entry("bad", MARKUP, "webhook", values={"url": "http://127.0.0.1:1/a"}))
    tab.open()
    expect(tab.page.get_by_role("heading", name=MARKUP)).to_be_visible()
    press(tab, f"Test: {MARKUP}")
    expect(tab.page.get_by_text(f'What the scene "{MARKUP}" would send now:')).to_be_visible()
    press(tab, f"Edit: {MARKUP}")
    expect(field(tab, "Name")).to_have_value(MARKUP)
    assert tab.page.locator("img").count() == 0
    assert tab.page.title() != "hacked"


def test_nothing_keeps_people_out(courier: Courier, browser: Browser) -> None:
    """At 375 pixels nothing is cut off; axe-core finds nothing serious in cards, kinds, form and dialog."""
    courier.connect(hook("http://127.0.0.1:1/a"))
    with visit(browser, courier, width=375) as tab:
        for query, shown in SHOWN.items():
            tab.open(f"{PATH}{query}")
            expect(tab.page.locator(shown)).to_be_visible()
            assert tab.serious() == []
            assert tab.page.evaluate("document.documentElement.scrollWidth") == 375
        tab.open()
        press(tab, "More: Hook")
        press(tab, "Delete")
        expect(tab.page.get_by_role("dialog")).to_be_visible()
        assert tab.serious(".courier-modal") == []
