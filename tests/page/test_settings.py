"""Our part of Settings → Plugins: the state in words, numbers that can be unset, saves that overwrite nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from stash_courier.worker.connections.model import Entry
from tests.support.harness import PLUGIN, Courier, wait_until
from tests.support.page import Visit

SETTINGS = "/settings?tab=plugins"
ATTEMPTS = "Delivery, attempts"
OTHER = """
name: Other
settings:
  word: {displayName: Word, type: STRING}
  flag: {displayName: Flag, type: BOOLEAN}
"""


@pytest.fixture
def other(courier: Courier, tmp_path: Path) -> str:
    """The id of another plugin, which has settings."""
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "other.yml").write_text(OTHER)
    courier.stash.install_plugin(folder)
    courier.stash.configure("other", {"word": "one"})
    return "other"


def number(tab: Visit, label: str) -> Locator:
    """A field of a number in our form."""
    return tab.page.get_by_label(label, exact=True)


def stored(courier: Courier, plugin: str = PLUGIN) -> dict[str, Any]:
    """The settings of a plugin, as Stash has them."""
    found = courier.stash.graphql("{ configuration { plugins } }")["configuration"]["plugins"]
    return dict(found.get(plugin, {}))


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


def test_a_number_that_is_not_set_is_empty(courier: Courier, tab: Visit) -> None:
    """Unset numbers show their default as a placeholder; one can be set, and unset again."""
    tab.open(SETTINGS)
    expect(number(tab, ATTEMPTS)).to_have_value("")
    expect(number(tab, ATTEMPTS)).to_have_attribute("placeholder", "10")
    number(tab, ATTEMPTS).fill("7")
    number(tab, ATTEMPTS).press("Enter")
    wait_until(lambda: stored(courier).get("worker_attempts") == 7, 10.0)
    number(tab, ATTEMPTS).fill("")
    number(tab, ATTEMPTS).press("Tab")
    wait_until(lambda: "worker_attempts" not in stored(courier), 10.0)


def test_a_number_out_of_range_is_not_saved(courier: Courier, tab: Visit) -> None:
    """The field says what is wrong and keeps what was typed."""
    tab.open(SETTINGS)
    number(tab, ATTEMPTS).fill("700")
    number(tab, ATTEMPTS).press("Tab")
    expect(tab.page.get_by_role("alert")).to_have_text(
        "Enter a whole number from 1 to 100, or nothing. It isn't saved yet."
    )
    expect(number(tab, ATTEMPTS)).to_have_value("700")
    tab.page.wait_for_timeout(1500)  # longer than Stash's page waits before it saves
    assert "worker_attempts" not in stored(courier)


def test_several_settings_in_a_row_are_all_saved(courier: Courier, tab: Visit) -> None:
    """What is entered while the one before is being saved doesn't undo it."""
    tab.open(SETTINGS)
    number(tab, ATTEMPTS).fill("7")
    number(tab, "Delivery, requests at once").fill("9")
    tab.page.get_by_label("Sweep, switch off").click()
    expected = {"worker_attempts": 7, "worker_concurrency": 9, "worker_sweep_off": True}
    wait_until(lambda: stored(courier).items() >= expected.items(), 10.0)
    tab.page.wait_for_timeout(3000)  # until everything that could still be saved is
    assert stored(courier).items() >= expected.items()


def test_a_save_in_an_old_tab_overwrites_nothing(courier: Courier, tab: Visit, other: str) -> None:
    """What was stored since the tab was opened stays, in our settings and in those of other plugins."""
    tab.open(SETTINGS)
    expect(number(tab, ATTEMPTS)).to_be_visible()
    courier.stash.configure(PLUGIN, {"path_map": "/a => /b"})
    courier.stash.configure(other, {"word": "two"})
    tab.page.get_by_label("Sweep, switch off").click()
    wait_until(lambda: bool(stored(courier).get("worker_sweep_off")), 10.0)
    tab.page.wait_for_timeout(1000)
    assert stored(courier) == {"path_map": "/a => /b", "worker_sweep_off": True}
    assert stored(courier, other) == {"word": "two"}


def test_a_save_of_another_plugin_brings_nothing_of_ours_back(courier: Courier, tab: Visit, other: str) -> None:
    """A setting that the plugin emptied while the tab was hidden isn't written again by Stash's page."""
    courier.configure(path_map="/old => /path")
    tab.open(SETTINGS)
    expect(tab.page.get_by_label("Path map")).to_have_value("/old => /path")
    tab.hide()
    courier.stash.configure(PLUGIN, {})
    tab.hide(hidden=False)
    tab.page.wait_for_timeout(1500)
    tab.page.get_by_label("Flag").click()
    wait_until(lambda: stored(courier, other).get("flag") is True, 10.0)
    assert stored(courier) == {}


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
    expect(number(tab, ATTEMPTS)).to_have_value("0")
    number(tab, ATTEMPTS).fill("8")
    number(tab, ATTEMPTS).press("Tab")
    wait_until(lambda: str(stored(courier).get("worker_attempts")) == "8", 10.0)
    tab.errors.clear()  # React and the browser report the module
