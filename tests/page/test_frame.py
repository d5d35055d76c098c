"""The frame of the page: link, badge, routes, polling, and that nothing of it can break Stash's own page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from stash_courier.worker import VERSION
from stash_courier.worker.connections.model import Entry
from tests.standin.receivers import Receiver
from tests.standin.receivers import Reply as Refusal
from tests.standin.stash.site import Reply
from tests.support.harness import Courier, wait_until
from tests.support.letters import bury
from tests.support.page import PATH, Visit, visit

VIEWS = {"": "Connections", "/dead_letters": "Dead letters", "/scenes": "Scenes"}  # route → its tab
WELL = {"count": 0, "dead_letters": 0, "down": [], "text": "", "version": VERSION}


@pytest.fixture
def two_dead(courier: Courier) -> Iterator[None]:
    """Two dead letters, which a webhook refused."""
    with Receiver(Refusal(422)) as receiver:
        courier.configure(webhook_url=receiver.url)
        courier.stash.edit(1, title="one")
        courier.stash.edit(2, title="two")
        wait_until(lambda: courier.dead() == 2, 20.0)
        yield


def answered(**output: object) -> Reply:
    """A mode's answer."""
    return Reply(200, {"data": {"runPluginOperation": output}})


def link(tab: Visit) -> Any:
    """The link in the navigation bar that is shown."""
    return tab.page.locator(".courier-nav:visible")


def in_scene(page: Page) -> Any:
    return page.get_by_role("heading", name="Scene 1")


@pytest.mark.usefixtures("two_dead")
def test_the_link_has_a_badge_with_the_dead_letters_and_opens_the_page(tab: Visit) -> None:
    """Two dead letters: the link says 2 on any page of Stash, why in its tooltip, and leads to the page."""
    tab.open("/scenes/1")
    expect(link(tab)).to_have_text("2")
    expect(link(tab)).to_have_attribute("title", "Stash Courier: Dead letters: 2.")
    link(tab).click()
    expect(tab.page.get_by_role("heading", name="Stash Courier")).to_be_visible()
    expect(tab.page.get_by_role("link", name="Dead letters 2", exact=True)).to_be_visible()


def test_the_badge_keeps_up_with_the_page(courier: Courier, tab: Visit) -> None:
    """What the page shows, the badge shows too, not only a minute later."""
    courier.connect(Entry("hook", "Hook", "webhook", values={"url": "http://127.0.0.1:9/"}))
    bury(courier, [1], "hook")
    tab.open()
    expect(tab.page.get_by_role("link", name="Dead letters 1", exact=True)).to_be_visible()
    expect(link(tab)).to_have_text("1")
    bury(courier, [2], "hook")
    expect(tab.page.get_by_role("link", name="Dead letters 2", exact=True)).to_be_visible()
    expect(link(tab)).to_have_text("2")


def test_no_badge_while_all_is_well(tab: Visit) -> None:
    """With nothing to do for a person the link has no badge."""
    with tab.page.expect_response(lambda one: '"badge"' in (one.request.post_data or "")):
        tab.open("/")
    expect(link(tab)).to_have_text("")
    expect(link(tab)).to_have_accessible_name("Stash Courier")


def test_each_view_survives_a_reload(browser: Browser, courier: Courier) -> None:
    """Each view has its own address, which can be reloaded, also behind a proxy's path."""
    with visit(browser, courier, prefix="/stash") as tab:
        for route, label in VIEWS.items():
            tab.open(f"{PATH}{route}?text=a%20b")
            tab.page.reload()
            shown = tab.page.locator(".courier-tabs [aria-current=page]")
            expect(shown).to_have_text(label)
            assert tab.page.url == f"{tab.base}{PATH}{route}?text=a%20b"
        tab.page.locator(".courier-tabs").get_by_role("link", name="Connections").click()
        expect(shown).to_have_text("Connections")


@pytest.mark.usefixtures("two_dead")
def test_a_phone_shows_badge_and_page(browser: Browser, courier: Courier) -> None:
    """At 375 pixels the badge shows outside of Stash's menu, nothing is cut off, and axe-core accepts the link."""
    with visit(browser, courier, width=375) as tab:
        tab.open("/scenes/1")
        expect(link(tab)).to_have_text("2")
        link(tab).click()
        expect(tab.page.get_by_role("heading", name="Stash Courier")).to_be_visible()
        assert tab.page.evaluate("document.documentElement.scrollWidth") == 375
        assert tab.serious(".top-nav") == []


def test_what_passes_by_itself_is_looked_at_again_soon(courier: Courier, tab: Visit) -> None:
    """A badge that tells of an upgrade goes within seconds, not after the minute until the next look."""
    courier.stash.faults.operations["badge"] = answered(**WELL | {"text": "It is upgraded.", "passes": True})
    tab.open("/scenes/1")
    expect(link(tab)).to_have_text("!")
    courier.stash.faults.operations["badge"] = answered(**WELL)
    expect(link(tab)).to_have_text("")


def test_a_part_that_throws_takes_only_itself_away(courier: Courier, tab: Visit) -> None:
    """An answer that breaks the link, then the page, leaves Stash's own page and says what to do."""
    broken = {"no": "text"}
    courier.stash.faults.operations["badge"] = answered(**WELL | {"count": broken, "text": "x"})
    tab.open("/scenes/1")
    expect(tab.page.locator(".courier-nav")).to_have_count(0)
    expect(in_scene(tab.page)).to_be_visible()
    courier.stash.faults.operations["badge"] = answered(**WELL)
    courier.stash.faults.operations["overview"] = answered(worker={"text": broken}, version=VERSION)
    tab.open(PATH)
    expect(tab.page.get_by_role("alert")).to_contain_text("This page failed. Nothing in the queue is lost")
    expect(tab.page.get_by_role("button", name="Reload")).to_be_visible()
    tab.page.get_by_role("link", name="Stash", exact=True).click()
    expect(tab.page.get_by_role("heading", name="Start")).to_be_visible()
    tab.forgive()  # React reports what was thrown


def test_without_its_files_the_page_says_so(tab: Visit) -> None:
    """If the page's modules can't be loaded, Stash's page goes on, and badge and page say what to do."""
    tab.page.route("**/assets/*/**/*.js", lambda route: route.abort())
    tab.open(PATH)
    expect(tab.page.get_by_role("button", name="Reload")).to_be_visible()
    expect(link(tab)).to_have_attribute("title", "Stash Courier: The page can't be loaded. Reload this tab.")
    tab.forgive()  # the browser reports the files


def test_an_old_stash_is_told_what_the_page_needs(tab: Visit) -> None:
    """Before 0.27 Stash lacks what the page needs: it says so, and which way remains."""
    tab.page.add_init_script(
        """Object.defineProperty(window, "PluginApi", {
            set(api) { this.given = { ...api, hooks: undefined }; },
            get() { return this.given; },
        });"""
    )
    tab.open()
    expect(tab.page.get_by_text("This page needs Stash 0.27 or newer.")).to_be_visible()


def test_a_hidden_tab_asks_nothing(tab: Visit) -> None:
    """The page asks every 5 seconds, the badge every minute; in the background neither, and at once when back."""
    open_and_stop_the_clock(tab)
    tab.page.clock.run_for(5_100)  # from the answer to this look on, no time passes by itself
    overview, badge = all_answered(tab, "overview", "badge")
    tab.page.clock.run_for(4_900)
    still(tab, overview=overview, badge=badge)
    tab.page.clock.run_for(200)
    wait_for_calls(tab, overview=overview + 1, badge=badge)
    for more, badges in ((2, badge), (3, badge + 1)):
        tab.page.clock.run_for(29_000)  # less than the limit of a call
        wait_for_calls(tab, overview=overview + more, badge=badges)

    tab.hide()
    tab.page.clock.run_for(300_000)
    still(tab, overview=overview + 3, badge=badge + 1)
    tab.hide(hidden=False)
    tab.page.clock.run_for(10)
    wait_for_calls(tab, overview=overview + 4, badge=badge + 2)


def test_a_slow_answer_is_waited_for_but_not_forever(courier: Courier, tab: Visit) -> None:
    """While an answer is on its way the page asks for no other one; after 30 s it says so and tries later."""
    courier.stash.faults.operations["overview"] = Reply(200, "{}", delay=60.0)
    open_and_stop_the_clock(tab)
    tab.page.clock.run_for(25_000)
    still(tab, overview=1)
    tab.page.clock.run_for(6_000)
    expect(tab.page.get_by_role("alert")).to_contain_text("There was no answer within 30 s.")
    still(tab, overview=1)
    tab.page.clock.run_for(60_000)
    still(tab, overview=2)
    tab.forgive()  # the browser may report the calls that were ended


def test_a_page_of_another_version_asks_for_a_reload(courier: Courier, tab: Visit) -> None:
    """After an update of the plugin an open page says that it is older, and offers a reload."""
    courier.stash.faults.operations["overview"] = answered(version="9.9.9")
    tab.open(PATH)
    notice = tab.page.get_by_role("status").filter(has_text="version 9.9.9 of the plugin is installed")
    expect(notice.get_by_role("button", name="Reload")).to_be_visible()


def test_the_title_is_held_while_the_page_is_shown(tab: Visit) -> None:
    """Stash writes its own title again and again; the tab says Stash Courier until the page is left."""
    tab.open(PATH)
    expect(tab.page).to_have_title("Stash Courier")
    tab.page.evaluate("document.title = 'Stash'")
    expect(tab.page).to_have_title("Stash Courier")
    tab.page.get_by_role("link", name="Stash", exact=True).click()
    expect(tab.page).to_have_title("Stash")


def open_and_stop_the_clock(tab: Visit) -> None:
    """Opens the page; soon after, its time goes on only by ``run_for``."""
    tab.page.clock.install()
    tab.open()
    expect(tab.page.get_by_role("heading", name="Stash Courier")).to_be_visible()
    tab.page.clock.pause_at(tab.page.evaluate("Date.now()") / 1000 + 1.5)


def all_answered(tab: Visit, *modes: str) -> list[int]:
    """Waits until all calls of these modes have been answered, each at least once; how many of each there were."""
    tab.until(lambda: all(0 < tab.modes.count(mode) == tab.ended.count(mode) for mode in modes))
    return [tab.modes.count(mode) for mode in modes]


def wait_for_calls(tab: Visit, **counts: int) -> None:
    """Waits until each mode has been called and answered so often, and not more often."""
    tab.until(lambda: all(tab.ended.count(mode) >= count for mode, count in counts.items()))
    still(tab, **counts)


def still(tab: Visit, **counts: int) -> None:
    """No mode has been called more often than so."""
    tab.page.evaluate("1")  # what was called until now is known then
    assert {mode: tab.modes.count(mode) for mode in counts} == counts
