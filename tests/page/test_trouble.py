"""When something is wrong: what badge and page show, that calls end, and that nothing goes on after leaving."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Browser, expect

from stash_courier.worker.connections.model import Entry
from tests.standin.receivers import Receiver
from tests.standin.stash.site import Reply
from tests.support.harness import PLUGIN, SECRET, Courier, wait_until
from tests.support.letters import bury
from tests.support.page import PATH, Visit, visit
from tests.support.page_forms import Answers, card, press

TOKEN = "token-of-the-channel-0123456789"
NOWHERE = "http://127.0.0.1:9/hook"
CHANNEL = Entry(
    "chat",
    "Chat",
    "webhook",
    values={
        "url": f"http://127.0.0.1:9/api/webhooks/1/{TOKEN}",
        "preset": "discord",
        "headers": f"Authorization: Bearer {TOKEN}",
        "secret": SECRET,
    },
)

HOOK = Entry(
    "hook",
    "Hook",
    "webhook",
    values={"url": f"{NOWHERE}?key={TOKEN}", "headers": f"Authorization: Bearer {TOKEN}", "secret": SECRET},
)


def link(tab: Visit) -> Any:
    """The link in the navigation bar that is shown."""
    return tab.page.locator(".courier-nav:visible")


def test_a_connection_that_is_often_off_has_no_badge(courier: Courier, tab: Visit) -> None:
    """Neither connection can be reached: the badge counts only the one that should always be there."""
    phone = Entry("phone", "Phone", "webhook", values={"url": NOWHERE, "often_off": True})
    courier.connect(phone)
    courier.stash.edit(1, title="One")
    tab.open()
    expect(card(tab, "Phone").locator(".courier-state")).to_contain_text("Waiting")
    with tab.page.expect_response(lambda one: '"badge"' in (one.request.post_data or "")):
        tab.open("/scenes/1")
    expect(link(tab)).to_have_text("")
    courier.connect(phone, Entry("archive", "Archive", "webhook", values={"url": NOWHERE}))
    courier.stash.edit(1, title="Two")
    tab.open()
    expect(card(tab, "Archive").locator(".courier-state")).to_contain_text("Waiting")
    expect(link(tab)).to_have_text("1")
    expect(link(tab)).to_have_attribute("title", "Stash Courier: Held up: Archive.")


def test_the_badge_says_why_the_plugin_does_not_answer(courier: Courier, tab: Visit) -> None:
    """A disabled plugin: on any page of Stash the badge shows that something is wrong, and its tooltip what."""
    courier.stash.faults.operations["badge"] = Reply(
        200, {"errors": [{"message": f"plugin {PLUGIN} is disabled"}], "data": None}
    )
    tab.open("/scenes/1")
    expect(link(tab)).to_have_text("!")
    expect(link(tab)).to_have_attribute(
        "title", "Stash Courier: The plugin is disabled. Enable it in Settings → Plugins."
    )


def test_while_stash_is_down_the_page_keeps_what_it_shows(courier: Courier, tab: Visit) -> None:
    """It says that Stash doesn't answer, the badge too, and goes on by itself when Stash is back."""
    courier.connect(Entry("hook", "Hook", "webhook", values={"url": NOWHERE}))
    tab.open()
    expect(card(tab, "Hook")).to_be_visible()
    port = int(courier.stash.url.rpartition(":")[2])
    courier.stash.stop()
    alert = tab.page.get_by_role("alert").filter(has_text="Stash doesn't answer.")
    expect(alert).to_be_visible()
    expect(link(tab)).to_have_text("!")
    expect(card(tab, "Hook")).to_be_visible()
    courier.stash.start(port)
    expect(alert).to_have_count(0)
    expect(link(tab)).to_have_text("")
    tab.forgive()  # the browser reports each call


def test_an_action_that_failed_is_forgotten_when_stash_is_back(courier: Courier, tab: Visit) -> None:
    """Pressed while Stash is down: the card says so, the page why, once, until it goes on by itself."""
    courier.connect(Entry("hook", "Hook", "webhook", values={"url": NOWHERE}))
    tab.open()
    expect(card(tab, "Hook")).to_be_visible()
    port = int(courier.stash.url.rpartition(":")[2])
    courier.stash.stop()
    press(tab, "Pause: Hook")
    alert = card(tab, "Hook").get_by_role("alert")
    expect(alert).to_have_text("This failed. The reason is at the top of the page.")
    expect(tab.page.get_by_text("Stash doesn't answer.")).to_have_count(1)
    courier.stash.start(port)
    expect(tab.page.get_by_role("alert")).to_have_count(0)
    tab.forgive()  # the browser reports each call


def test_that_stash_is_away_is_said_once(courier: Courier, tab: Visit) -> None:
    """A view that is opened while Stash is down: one sentence, one button; it is shown when Stash is back."""
    courier.connect(Entry("hook", "Hook", "webhook", values={"url": NOWHERE}))
    tab.open()
    expect(card(tab, "Hook")).to_be_visible()
    port = int(courier.stash.url.rpartition(":")[2])
    courier.stash.stop()
    tab.page.locator(".courier-page").get_by_text("Scenes", exact=True).click()
    expect(tab.page.locator(".courier-page > div").get_by_role("alert")).to_be_visible()  # the page's own banner
    tab.until(lambda: "outcomes" in tab.modes)
    expect(tab.page.get_by_text("Stash doesn't answer.")).to_have_count(1)
    expect(tab.page.get_by_role("button", name="Try again")).to_have_count(1)
    courier.stash.start(port)
    press(tab, "Try again")
    expect(tab.page.get_by_text("Nothing sent yet.")).to_be_visible()
    expect(tab.page.get_by_role("alert")).to_have_count(0)
    tab.forgive()  # the browser reports each call


def test_what_an_action_was_refused_for_stays(courier: Courier, tab: Visit) -> None:
    """A sentence about the action itself is still there after the next poll."""
    courier.connect(Entry("hook", "Hook", "webhook", values={"url": NOWHERE}))
    problem = {"problem": "It can't be paused now."}
    courier.stash.faults.operations["save_connection"] = Reply(200, {"data": {"runPluginOperation": problem}})
    tab.open()
    press(tab, "Pause: Hook")
    alert = card(tab, "Hook").get_by_role("alert")
    expect(alert).to_contain_text("It can't be paused now.")
    polled = tab.ended.count("overview")
    tab.until(lambda: tab.ended.count("overview") > polled + 1)
    expect(alert).to_be_visible()


def test_a_plugin_that_is_enabled_again_is_noticed_soon(courier: Courier, tab: Visit) -> None:
    """While it is disabled the page doesn't call it, as each call is a line in Stash's log, and goes on soon."""
    courier.connect(Entry("hook", "Hook", "webhook", values={"url": NOWHERE}))
    tab.page.clock.install()
    tab.open()
    expect(card(tab, "Hook")).to_be_visible()
    enable(courier, enabled=False)
    tab.page.clock.run_for(5_100)
    alert = tab.page.get_by_role("alert").filter(has_text="The plugin is disabled.")
    expect(alert).to_be_visible()
    expect(link(tab)).to_have_text("!")
    called = len(tab.modes)
    tab.page.clock.run_for(11_000)
    tab.page.evaluate("1")  # what was called until now is known then
    assert len(tab.modes) == called
    enable(courier, enabled=True)
    expect(alert).to_have_count(0)
    expect(link(tab)).to_have_text("")


def enable(courier: Courier, *, enabled: bool) -> None:
    """Switches the plugin on or off, as in Settings → Plugins."""
    query = "mutation($map: BoolMap!) { setPluginsEnabled(enabledMap: $map) }"
    courier.stash.graphql(query, {"map": {PLUGIN: enabled}})


def test_a_worker_that_is_down_is_started_by_one_click(courier: Courier, tab: Visit) -> None:
    """Something waits and no worker runs: the page says so, and its button starts one."""
    with Receiver() as receiver:
        receiver.down()
        courier.connect(Entry("hook", "Hook", "webhook", values={"url": receiver.url}))
        courier.stash.edit(1, title="Waits")
        wait_until(lambda: courier.waiting() == 1, 20.0)
        courier.kill_worker()
        receiver.up()
        courier.stash.faults.operations["wake"] = Reply(200, {"data": {"runPluginOperation": {}}})
        tab.open()
        expect(tab.page.get_by_text("Worker: not running, but deliveries wait.").first).to_be_visible()
        press(tab, "Start the worker")
        receiver.wait_for(1, 30.0)
        expect(tab.page.get_by_text("Worker: running.")).to_be_visible()


def test_nothing_is_done_with_rows_that_are_about_to_change(courier: Courier, tab: Visit) -> None:
    """Another filter was chosen and its rows haven't come yet: "all that match" would be others than shown."""
    courier.connect(
        Entry("a", "First", "webhook", values={"url": NOWHERE}),
        Entry("b", "Second", "webhook", values={"url": NOWHERE}),
    )
    bury(courier, range(1, 61), "a")
    bury(courier, range(61, 63), "b")
    tab.open(f"{PATH}/dead_letters?connection=a")
    every = tab.page.get_by_role("button", name="Select all 60 that match")
    expect(every).to_be_enabled()
    courier.stash.faults.operations["dead_letters"] = Reply(503, "")
    tab.page.get_by_label("Connection").select_option("b")
    expect(every).to_be_disabled()
    expect(tab.page.get_by_role("alert")).to_contain_text("Stash doesn't answer")
    expect(every).to_be_disabled()
    courier.stash.faults.clear()  # the next poll goes on by itself
    expect(tab.page.get_by_label("Select the page (2)")).to_be_enabled(timeout=30_000)
    tab.forgive()  # the browser reports the 503


def test_no_view_gets_a_secret(courier: Courier, browser: Browser) -> None:
    """The token in address and header and the signing secret: in no answer, not on the page, not in storage."""
    courier.connect(CHANNEL, HOOK)
    bury(courier, [1], "hook")
    courier.stash.edit(2, title="Two")
    for route in ("", "/dead_letters", "/scenes?text=2", "?edit=hook", "?copy=chat"):
        with visit(browser, courier) as tab:
            answers = Answers(tab.page)
            tab.open(PATH + route)
            expect(tab.page.locator(".courier-counts, tbody tr, #courier-field-url").first).to_be_visible()
            kept = tab.page.evaluate(
                "JSON.stringify([sessionStorage, localStorage, location.href, history.state])"
            )
            for secret in (TOKEN, SECRET):
                assert secret not in tab.page.content() + kept
                assert not answers.contain(secret)
