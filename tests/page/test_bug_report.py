""" "Copy for a bug report": what the clipboard gets."""

from __future__ import annotations

from playwright.sync_api import expect

from stash_courier.worker.connections.model import Entry
from tests.support.harness import Courier
from tests.support.letters import bury
from tests.support.page import PATH, Visit


def test_the_report_is_shown_and_copied(courier: Courier, tab: Visit) -> None:
    """One click from any view: the text is in a dialog and on the clipboard."""
    tab.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    courier.connect(Entry("hook", "Anna's phone", "webhook", values={"url": "http://127.0.0.1:9/hook"}))
    bury(courier, range(1, 4), "hook", title="Holiday {}", path="/media/anna/holiday {}.mp4")
    tab.open(f"{PATH}/scenes")
    tab.page.get_by_role("button", name="Copy for a bug report").click()
    dialog = tab.page.get_by_role("dialog")
    field = dialog.get_by_role("textbox")
    expect(dialog.get_by_text("Copied.")).to_be_visible()
    text = field.input_value()
    assert tab.page.evaluate("navigator.clipboard.readText()") == text
    assert "3 of connection 1" in text
    assert tab.serious(".modal") == []
    tab.page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
