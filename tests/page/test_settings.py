"""Settings → Plugins: the state in words above Stash's own form, and the connections that are entered there."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

from stash_courier.worker.connections.model import Entry
from tests.support.harness import PLUGIN, Courier, wait_until
from tests.support.page import Visit
from tests.support.page_forms import card

SETTINGS = "/settings?tab=plugins"
ATTEMPTS = "Delivery, attempts"


def stored(courier: Courier) -> dict[str, Any]:
    """The plugin's settings, as Stash has them."""
    found = courier.stash.graphql("{ configuration { plugins } }")["configuration"]["plugins"]
    return dict(found.get(PLUGIN, {}))


def test_the_state_is_told_in_words(courier: Courier, tab: Visit) -> None:
    """The line above the settings says what the page would show, with a link to it."""
    tab.open(SETTINGS)
    line = tab.page.locator(".courier-settings-line")
    expect(line).to_contain_text("No connection yet, so nothing is sent.")
    courier.connect(Entry("hook", "Hook", "webhook", values={"url": "http://127.0.0.1:9/"}))
    tab.page.reload()
    expect(line).to_contain_text("Connections: 1 nothing sent yet.")
    tab.page.get_by_role("link", name="Open Stash Courier").click()
    expect(tab.page.get_by_role("heading", name="Stash Courier")).to_be_visible()


def test_a_connection_of_stash_settings_is_edited_there(courier: Courier, tab: Visit) -> None:
    """Its card says where it is from, leads there, and offers no change that only a stored connection can have."""
    courier.configure(webhook_url="http://127.0.0.1:9/")
    tab.open()
    shown = card(tab, "webhook:127.0.0.1:9")
    expect(shown).to_contain_text("from Stash's settings")
    expect(shown.get_by_role("button", name="Pause")).to_have_count(0)
    shown.get_by_role("button", name="More").click()
    expect(shown.get_by_role("button", name="Duplicate")).to_be_visible()
    expect(shown.get_by_role("button", name="Delete")).to_have_count(0)
    shown.get_by_role("button", name="Edit in Stash's settings").click()
    expect(tab.page.get_by_label("Webhook, URL")).to_have_value("http://127.0.0.1:9/")


@pytest.mark.parametrize(
    "module",
    [
        "export default () => { throw new Error('thrown by a test'); };",
        "export default (",
        None,
    ],
)
def test_without_our_part_the_form_of_stash_is_there(tab: Visit, courier: Courier, module: str | None) -> None:
    """Whatever is wrong with our code, the settings can be changed in Stash's own form."""
    answer = {"status": 404} if module is None else {"body": module, "content_type": "text/javascript"}
    tab.page.route("**/assets/*/connections/settings.js", lambda route: route.fulfill(**answer))
    tab.open(SETTINGS)
    number = tab.page.get_by_label(ATTEMPTS, exact=True)
    expect(number).to_have_value("0")
    number.fill("8")
    number.press("Tab")
    wait_until(lambda: str(stored(courier).get("worker_attempts")) == "8", 10.0)
    tab.forgive()  # React and the browser report the module
