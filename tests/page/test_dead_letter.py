"""One dead letter, opened: what it shows, what can be done with it, and what it never shows."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, expect

from stash_courier.worker.connections.model import Entry
from tests.standin.receivers import Receiver, Reply
from tests.support.harness import SECRET, Courier, wait_until
from tests.support.letters import bury
from tests.support.page import PATH, Visit, visit

LETTERS = f"{PATH}/dead_letters"
TOKEN = "token-of-the-bot-0123456789"
MARKUP = '<img src=x onerror="window.hacked=1"><b>bold</b>'


@pytest.fixture
def hook(courier: Courier) -> Iterator[Receiver]:
    """A receiver with secrets in address, header and signature, which refuses the first two scenes."""
    receiver = Receiver(Reply(422, body=f"no item {MARKUP} for {TOKEN}".encode()))
    with receiver:
        values = {
            "url": f"{receiver.url}hook/{TOKEN}?key={TOKEN}",
            "secret": SECRET,
            "headers": f"Authorization: Bearer {TOKEN}",
        }
        courier.connect(Entry("hook", f"Hook {MARKUP}", "webhook", values=values))
        courier.stash.edit(1, title=f"First {MARKUP}")
        courier.stash.edit(2, title="Second")
        wait_until(lambda: courier.dead() == 2, 20.0)
        yield receiver


def opened(tab: Visit, title: str) -> Locator:
    """Opens a dead letter of the list."""
    tab.page.get_by_role("button", name=title, exact=True).click()
    dialog = tab.page.get_by_role("dialog")
    expect(dialog).to_contain_text("What would be sent now")
    return dialog


def test_everything_about_it_is_shown(courier: Courier, hook: Receiver, tab: Visit) -> None:
    """The scene as a link, the attempts with the receiver's answer, and the body that would be sent now."""
    tab.open(LETTERS)
    dialog = opened(tab, "Second")
    attempt = dialog.get_by_role("listitem")
    expect(attempt).to_have_count(1)
    expect(attempt).to_contain_text("refused (HTTP 422)")
    expect(attempt).to_contain_text("no item <img")
    expect(dialog.get_by_role("region", name="What would be sent now")).to_contain_text('"title": "Second"')
    expect(dialog).to_contain_text("/media/films/2/Film 2.mp4")
    tab.page.reload()
    expect(dialog).to_contain_text("refused (HTTP 422)")  # it is in the address
    dialog.get_by_role("link", name="Second").click()
    expect(tab.page).to_have_url(f"{tab.base}/scenes/2")
    assert len(hook.received) == 2  # the receiver was asked nothing


def test_titles_paths_names_and_answers_are_text(courier: Courier, hook: Receiver, tab: Visit) -> None:
    """Markup of others is shown as it is written, and never becomes part of the page."""
    bury(courier, [3], "hook", title=MARKUP, path=f"/media/{MARKUP}.mp4", answer=MARKUP)
    tab.open(LETTERS)
    expect(tab.page.locator(".courier-letters tbody tr")).to_have_count(3)
    for title in (MARKUP, f"First {MARKUP}"):
        dialog = opened(tab, title)
        expect(dialog.locator("pre").first).to_contain_text(MARKUP)
        assert tab.page.locator("main img, main b, .modal img, .modal b").count() == 0
        dialog.get_by_role("button", name="Close").last.click()
        expect(dialog).to_have_count(0)
    assert tab.page.evaluate("window.hacked") is None


def test_no_secret_reaches_the_browser(courier: Courier, hook: Receiver, tab: Visit) -> None:
    """Neither the page nor an answer has the token that is in the address, a header and the receiver's answer."""
    answers: list[str] = []
    tab.page.on("response", lambda one: answers.append(one.text()) if one.url.endswith("/graphql") else None)
    tab.open(LETTERS)
    dialog = opened(tab, "Second")
    dialog.get_by_text("Stack trace").click()
    expect(dialog.get_by_role("region", name="What would be sent now")).to_contain_text("Authorization: …")
    shown = tab.page.content() + "".join(answers)
    assert "dead_letter" in "".join(tab.modes)
    assert TOKEN not in shown
    assert SECRET not in shown


def test_copy_without_a_clipboard_takes_the_older_way(courier: Courier, hook: Receiver, tab: Visit) -> None:
    """On plain http a browser has no clipboard: the text is selected and copied, or shown to copy by hand."""
    tab.page.add_init_script(
        "Object.defineProperty(navigator, 'clipboard', { value: undefined });"
        "document.addEventListener('copy', () => { window.copied = document.activeElement.value; });"
    )
    tab.open(LETTERS)
    dialog = opened(tab, "Second")
    dialog.get_by_role("button", name="Copy").click()
    expect(dialog.get_by_text("Copied.")).to_be_visible()
    assert "422" in tab.page.evaluate("window.copied")
    tab.page.evaluate("document.execCommand = () => false")
    dialog.get_by_role("button", name="Copy").click()
    expect(dialog.get_by_text("Press Ctrl+C")).to_be_visible()
    field = dialog.get_by_role("textbox")
    expect(field).to_have_value(re.compile("422"))
    assert tab.page.evaluate("getSelection().toString()") == field.input_value()


def test_retry_and_discard_close_it(courier: Courier, hook: Receiver, tab: Visit) -> None:
    """Retry sends this one; Discard takes this one away and can be undone."""
    hook.answer = Reply()
    tab.open(LETTERS)
    opened(tab, "Second").get_by_role("button", name="Retry", exact=True).click()
    expect(tab.page.get_by_role("dialog")).to_have_count(0)
    expect(tab.page.get_by_text("Queued again: 1.")).to_be_visible()
    hook.wait_for(3)
    courier.drained()
    assert hook.received[-1].json()["data"]["title"] == "Second"
    opened(tab, f"First {MARKUP}").get_by_role("button", name="Discard").click()
    expect(tab.page.get_by_role("status").filter(has_text="discarded.")).to_contain_text("1 discarded.")
    assert len(hook.received) == 3


def test_one_that_is_gone_says_so(courier: Courier, hook: Receiver, browser: Browser) -> None:
    """A link to a dead letter that doesn't exist any more explains itself, and the list is there."""
    with visit(browser, courier) as tab:
        tab.open(f"{LETTERS}?open=999")
        dialog = tab.page.get_by_role("dialog")
        expect(dialog.get_by_role("alert")).to_contain_text("doesn't exist any more")
        tab.page.keyboard.press("Escape")
        expect(tab.page).to_have_url(f"{tab.base}{LETTERS}")
        expect(tab.page.locator(".courier-letters tbody tr")).to_have_count(2)
