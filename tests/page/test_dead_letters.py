"""The view of dead letters: filters, selection, retry, discard and undo, with a real worker and real receivers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, expect

from stash_courier.queue.failures import Failure
from stash_courier.worker.connections.model import Entry
from tests.standin.receivers import Receiver, Reply
from tests.support.harness import Courier, wait_until
from tests.support.letters import bury
from tests.support.page import PATH, Visit, visit

LETTERS = f"{PATH}/dead_letters"
SCENES = 520
PADDING = "(cell) => getComputedStyle(cell).paddingLeft"
TRIGGERED = re.compile(r"^(Retry|Discard)( \d|$)")


@pytest.fixture
def courier(host: Path, tmp_path: Path) -> Iterator[Courier]:
    """A Stash with many scenes; nothing but what a test retries is sent."""
    with Courier(tmp_path, {"worker_sweep_off": True}, scenes=SCENES, page=host) as running:
        yield running


@pytest.fixture
def chat(courier: Courier) -> Iterator[Receiver]:
    """A receiver that accepts everything, connected as "Chat"; and "Archive", which is not there."""
    with Receiver() as receiver:
        courier.connect(
            Entry("chat", "Chat", "webhook", values={"url": receiver.url}),
            Entry("archive", "Archive", "webhook", values={"url": "http://127.0.0.1:9/"}),
        )
        yield receiver


def rows(tab: Visit) -> Locator:
    return tab.page.locator(".courier-letters tbody tr")


def titles(tab: Visit) -> list[str]:
    """The titles of the rows, in their order."""
    return tab.page.locator(".courier-letters .courier-open").all_inner_texts()


def select(tab: Visit, *names: str) -> None:
    for name in names:
        tab.page.get_by_role("checkbox", name=f"Select {name}", exact=True).check()


def press(tab: Visit, name: str) -> None:
    tab.page.get_by_role("button", name=name, exact=True).click()


def sent(receiver: Receiver) -> list[int]:
    """The scenes that a receiver got, sorted."""
    return sorted(int(one.json()["data"]["id"]) for one in receiver.received)


def open_list(tab: Visit, query: str = "") -> None:
    tab.open(LETTERS + query)
    expect(rows(tab).first).to_be_visible()


def test_three_of_500_are_filtered_selected_and_retried(courier: Courier, chat: Receiver, tab: Visit) -> None:
    """500 dead letters: filters by connection, error and text find 11; three are retried; exactly 3 arrive.

    The filters are in the address: they survive the action and a reload.
    """
    bury(courier, range(1, 401), "chat")
    bury(courier, range(401, 421), "chat", failure=Failure.FORBIDDEN, status=403, answer="no")
    bury(courier, range(421, 501), "archive")
    open_list(tab)
    expect(tab.page.locator(".courier-found")).to_have_text("500 dead letters.")
    tab.page.get_by_label("Connection").select_option(label="Chat (420)")
    tab.page.get_by_label("Error").select_option("rejected")
    tab.page.get_by_label("Title, path or scene id").press_sequentially("FILM 12")
    expect(tab.page.locator(".courier-found")).to_contain_text("11 of 500 dead letters match.")
    expect(rows(tab)).to_have_count(11)
    address = f"{tab.base}{LETTERS}?connection=chat&error=rejected&text=FILM+12"
    expect(tab.page).to_have_url(address)

    select(tab, "Film 120", "Film 12", "Film 125")
    press(tab, "Retry 3")
    expect(tab.page.get_by_text("Queued again: 3.")).to_be_visible()
    chat.wait_for(3)
    courier.drained()
    wait_until(lambda: courier.dead() == 497, 10.0)
    assert sent(chat) == [12, 120, 125]

    expect(tab.page.get_by_role("button", name="Retry", exact=True)).to_be_disabled()
    expect(rows(tab)).to_have_count(8)
    expect(tab.page).to_have_url(address)
    tab.page.reload()
    expect(tab.page.locator(".courier-found")).to_contain_text("8 of 497 dead letters match.")
    expect(tab.page.get_by_label("Title, path or scene id")).to_have_value("FILM 12")
    expect(tab.page.get_by_label("Connection")).to_have_value("chat")
    press(tab, "Clear the filters")
    expect(tab.page).to_have_url(f"{tab.base}{LETTERS}")
    expect(rows(tab)).to_have_count(50)


def test_thirteen_become_three_retried_and_ten_discarded_in_eight_clicks(
    courier: Courier, chat: Receiver, tab: Visit
) -> None:
    """From the connections: "13 dead letters" to "3 retried, 10 discarded", without a dialog."""
    bury(courier, range(1, 4), "chat")
    bury(courier, range(4, 14), "archive", answer="unknown item")
    tab.page.add_init_script("let n = 0; addEventListener('pointerdown', () => { window.clicks = ++n; }, true);")
    tab.open(PATH)
    tab.page.get_by_role("link", name="Dead letters 13").click()
    tab.page.get_by_role("button", name="3 Chat: refused").click()
    tab.page.get_by_label("Select the page (3)").click()
    press(tab, "Retry 3")
    chat.wait_for(3)
    expect(tab.page.get_by_text("Queued again: 3.")).to_be_visible()
    tab.page.get_by_role("button", name="10 Archive: refused").click()
    tab.page.get_by_label("Select the page (10)").click()
    press(tab, "Discard 10")
    expect(tab.page.get_by_text("10 discarded.")).to_be_visible()
    clicks = tab.page.evaluate("window.clicks")
    courier.drained()
    wait_until(lambda: courier.dead() == 0, 10.0)
    assert sent(chat) == [1, 2, 3]
    assert clicks <= 8
    expect(tab.page.get_by_text("No dead letters.")).to_be_visible()


def test_rows_stay_where_they_are_while_one_is_selected(courier: Courier, chat: Receiver, tab: Visit) -> None:
    """Seven more fail and one is discarded in another tab: nothing moves, and "7 new" shows it all on a click."""
    ids = bury(courier, range(1, 21), "chat")
    tab.page.clock.install()
    open_list(tab)
    select(tab, "Film 20")
    before = titles(tab)
    bury(courier, range(21, 28), "chat")
    tab.page.clock.run_for(5_100)
    expect(tab.page.get_by_role("button", name="7 new")).to_be_visible()
    courier.stash.operation({"mode": "discard_dead_letters", "ids": ids[10:11]})
    tab.page.clock.run_for(5_100)
    expect(
        tab.page.get_by_role("status").filter(has_text="discarded.")
    ).to_be_visible()  # so the poll has been answered
    assert titles(tab) == before
    expect(tab.page.get_by_role("checkbox", name="Select Film 20")).to_be_checked()

    press(tab, "7 new")
    expect(rows(tab)).to_have_count(26)
    assert titles(tab)[:8] == [f"Film {number}" for number in range(27, 19, -1)]
    expect(tab.page.get_by_role("button", name="7 new")).to_have_count(0)
    expect(tab.page.get_by_role("button", name=TRIGGERED)).to_have_text(["Retry 1", "Discard 1"])
    tab.page.get_by_role("checkbox", name="Select Film 20").uncheck()
    bury(courier, range(28, 30), "chat")
    tab.page.clock.run_for(5_100)
    expect(rows(tab)).to_have_count(28)  # nothing is selected any more


def test_a_discard_is_undone_also_after_a_reload(courier: Courier, chat: Receiver, tab: Visit) -> None:
    """ "2 discarded. Undo": both are back, and nothing was asked first."""
    bury(courier, range(1, 6), "chat")
    open_list(tab)
    select(tab, "Film 2", "Film 4")
    press(tab, "Discard 2")
    bar = tab.page.get_by_role("status").filter(has_text="discarded.")
    expect(bar).to_contain_text("2 discarded.")
    expect(rows(tab)).to_have_count(3)
    assert courier.dead() == 3
    tab.page.reload()
    bar.get_by_role("button", name="Undo").click()
    expect(tab.page.get_by_text("Restored: 2.")).to_be_visible()
    assert titles(tab) == [f"Film {number}" for number in range(5, 0, -1)]
    expect(bar).to_have_count(0)
    assert courier.dead() == 5


def test_all_that_match_are_those_that_were_counted(courier: Courier, chat: Receiver, tab: Visit) -> None:
    """All 60 of a connection are discarded after a question. Three that failed meanwhile stay."""
    bury(courier, range(1, 61), "chat")
    bury(courier, range(61, 66), "archive")
    open_list(tab, "?connection=chat")
    press(tab, "Select all 60 that match")
    bury(courier, range(101, 104), "chat", title="Late {}")
    press(tab, "Discard 60")
    dialog = tab.page.get_by_role("dialog")
    expect(dialog).to_contain_text("All 60 that match")
    dialog.get_by_role("button", name="Cancel").click()
    assert courier.dead() == 68
    press(tab, "Discard 60")
    dialog.get_by_role("button", name="Discard 60").click()
    expect(tab.page.get_by_role("status").filter(has_text="discarded.")).to_contain_text("60 discarded.")
    expect(rows(tab)).to_have_count(3)
    assert titles(tab) == ["Late 103", "Late 102", "Late 101"]
    assert courier.dead() == 8


def test_one_goes_first_and_the_rest_follow(courier: Courier, chat: Receiver, tab: Visit) -> None:
    """A careful retry: while the receiver refuses, only one arrives. When it accepts, all do."""
    bury(courier, range(1, 6), "chat")
    chat.answer = Reply(422, body=b"still longer than 99")
    open_list(tab)
    tab.page.get_by_label("Select the page (5)").check()
    press(tab, "Retry one first, then the rest (5)")
    expect(tab.page.get_by_text("Queued again: 1. Sent when that one is delivered: 4.")).to_be_visible()
    chat.wait_for(1)
    courier.drained()
    wait_until(lambda: courier.dead() == 5, 10.0)
    assert len(chat.received) == 1
    expect(rows(tab).first).to_contain_text("422: still longer than 99")  # what was answered, with its numbers

    chat.answer = Reply()
    tab.page.reload()
    tab.page.get_by_label("Select the page (5)").check()
    press(tab, "Retry one first, then the rest (5)")
    chat.wait_for(6)
    courier.drained()
    assert sorted(set(sent(chat))) == [1, 2, 3, 4, 5]


def test_the_second_page_is_that_of_the_first_one(courier: Courier, chat: Receiver, tab: Visit) -> None:
    """Turning pages shows every row once, though more fail meanwhile; a selection ends with the page."""
    bury(courier, range(1, 121), "chat")
    open_list(tab)
    seen = titles(tab)
    tab.page.get_by_label("Select the page (50)").check()
    bury(courier, range(121, 124), "chat")
    for place in ("Page 2 of 3", "Page 3 of 3"):
        press(tab, "Next")
        expect(tab.page.get_by_text(place)).to_be_visible()
        expect(tab.page.get_by_role("button", name="Retry", exact=True)).to_be_disabled()
        expect(tab.page.get_by_text(seen[-1], exact=True)).to_have_count(0)
        seen += titles(tab)
    assert seen == [f"Film {number}" for number in range(120, 0, -1)]
    expect(tab.page).to_have_url(f"{tab.base}{LETTERS}?page=3")
    press(tab, "3 new")
    expect(tab.page.get_by_role("button", name="Film 123")).to_be_visible()


def test_a_phone_shows_all_of_it(browser: Browser, courier: Courier, chat: Receiver) -> None:
    """At 375 pixels nothing is cut off at the side, and axe-core finds nothing serious, also with a selection."""
    bury(courier, range(1, 60), "chat", answer="x" * 300, path=f"/media/{'long' * 40}/{{}}.mp4")
    for width in (375, 1280):
        with visit(browser, courier, width=width) as tab:
            open_list(tab)
            tab.page.get_by_label("Select the page (50)").check()
            assert tab.page.evaluate("document.documentElement.scrollWidth") == width
            assert tab.serious() == []
            if width == 1280:  # a column's name stands above its text
                assert len({cell.evaluate(PADDING) for cell in tab.page.locator("th, td").all()[:12]}) == 1
            tab.page.get_by_role("button", name="Film 59").click()
            expect(tab.page.get_by_role("dialog")).to_contain_text("What would be sent now")
            assert tab.page.evaluate("document.querySelector('.modal-body').scrollWidth") <= width
            assert tab.serious(".modal") == []


def test_a_failed_action_keeps_the_list_and_says_why(courier: Courier, chat: Receiver, tab: Visit) -> None:
    """Stash can't be reached when a retry is asked for: the page says so and shows the list as it is."""
    bury(courier, range(1, 4), "chat")
    open_list(tab)
    select(tab, "Film 1")
    tab.page.route("**/graphql", lambda route: route.abort())
    press(tab, "Retry 1")
    expect(tab.page.get_by_role("alert").first).to_contain_text("Stash doesn't answer")
    expect(rows(tab)).to_have_count(3)
    tab.forgive()  # the browser reports the request
