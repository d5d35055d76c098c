"""From no connection to the first delivery, as a new user goes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from tests.standin.jellyfin import KEY, StandInJellyfin
from tests.support.harness import Courier
from tests.support.page import PATH, Visit
from tests.support.page_forms import card, field, press, stored

pytestmark = pytest.mark.timeout(120)

FILMS = ("/data/films/One.mp4", "/data/films/Two.mp4", "/data/clips/Three.mp4")


@pytest.fixture
def courier(host: Path, tmp_path: Path) -> Iterator[Courier]:
    """A Stash whose scenes are in /data."""
    with Courier(tmp_path, {}, scenes=0, page=host) as running:
        for path in FILMS:
            running.stash.add_scene(path, title=Path(path).stem)
        yield running


@pytest.fixture
def server() -> Iterator[StandInJellyfin]:
    """A Jellyfin that has the same files in /media."""
    with StandInJellyfin(libraries={"Films": ["/media/films"], "Clips": ["/media/clips"]}) as running:
        for path in FILMS:
            running.add(path.replace("/data", "/media"))
        yield running


def titles(server: StandInJellyfin) -> set[str]:
    return {str(item["Name"]) for item in server.items.values()}


def test_from_nothing_to_the_new_title_in_jellyfin(courier: Courier, server: StandInJellyfin, tab: Visit) -> None:
    """Address and key are typed, the path is fixed by one click of Test, and the page shows the delivery."""
    tab.open()
    expect(tab.page.get_by_role("heading", name="Where should changes go?")).to_be_visible()
    press(tab, "Jellyfin Writes", exact=False)
    field(tab, "Address").fill(server.url)
    field(tab, "API key").fill(KEY)
    press(tab, "Test")
    expect(tab.page.get_by_text("0 of 3 scenes found.")).to_be_visible()
    press(tab, "Use this path: /data => /media")
    expect(tab.page.get_by_text("3 of 3 scenes found.")).to_be_visible()
    expect(tab.page.get_by_text("The test passed", exact=False)).to_be_visible()
    press(tab, "Save")
    expect(tab.page.get_by_text("Edit any scene in Stash now.")).to_be_visible()

    courier.stash.edit(2, title="A new title")
    expect(tab.page.get_by_text("after your edit.")).to_have_text(
        re.compile(r"^Delivered \d+(\.\d)? s after your edit\.$")
    )
    expect(tab.page.get_by_role("link", name="A new title")).to_have_attribute("href", "/scenes/2")
    link = tab.page.get_by_role("link", name="Open it at Jellyfin")
    assert (link.get_attribute("href") or "").startswith(f"{server.url}/web/#/details?id=")
    assert "A new title" in titles(server)
    expect(card(tab, "Jellyfin").get_by_text("Delivering.")).to_be_visible()
    press(tab, "Done")
    expect(tab.page.get_by_text("after your edit.")).to_have_count(0)


def test_the_first_edit_says_why_it_was_not_sent(courier: Courier, server: StandInJellyfin, tab: Visit) -> None:
    """With a filter that the first scene doesn't pass, the page says so and goes on waiting."""
    tab.open(f"{PATH}?new=jellyfin&field=only_organized")
    field(tab, "Only organized scenes").check()
    field(tab, "Path map").fill("/data => /media")
    field(tab, "Address").fill(server.url)
    field(tab, "API key").fill(KEY)
    press(tab, "Save")
    expect(tab.page.get_by_text("Edit any scene in Stash now.")).to_be_visible()
    courier.stash.edit(1, title="Not organized")
    expect(tab.page.get_by_text("Not sent, because it is excluded.")).to_be_visible()
    courier.stash.edit(1, title="Organized", organized=True)
    expect(tab.page.get_by_text("after your edit.")).to_be_visible()
    assert "Organized" in titles(server)


def test_by_keyboard_alone(courier: Courier, server: StandInJellyfin, tab: Visit) -> None:
    """The whole way to a saved connection with Tab, Enter and what is typed."""
    tab.open()
    go_to(tab, tab.page.get_by_role("button", name="Jellyfin Writes"))
    tab.page.keyboard.press("Enter")
    expect(tab.page.get_by_role("heading", name="New connection: Jellyfin")).to_be_focused()
    go_to(tab, field(tab, "Address"))
    tab.page.keyboard.type(f"{server.url}/web/index.html")
    go_to(tab, field(tab, "API key"))
    tab.page.keyboard.type(KEY)
    tab.page.keyboard.press("Enter")
    expect(field(tab, "Address")).to_be_focused()  # where the error is
    go_to(tab, tab.page.get_by_role("button", name="Use http", exact=False))
    tab.page.keyboard.press("Enter")
    go_to(tab, tab.page.get_by_role("button", name="Test", exact=True))
    tab.page.keyboard.press("Enter")
    fix = tab.page.get_by_role("button", name="Use this path: /data => /media")
    expect(fix).to_be_visible()
    go_to(tab, fix)
    tab.page.keyboard.press("Enter")
    expect(tab.page.get_by_text("3 of 3 scenes found.")).to_be_visible()
    go_to(tab, field(tab, "Name"))
    tab.page.keyboard.press("Enter")
    expect(tab.page.get_by_role("heading", name="Jellyfin is saved")).to_be_focused()
    assert stored(courier)[0]["values"]["path_map"] == ["/data => /media"]


def go_to(tab: Visit, wanted: Locator) -> None:
    """Presses Tab until an element has the focus."""
    for _ in range(60):
        if wanted.evaluate("(element) => element === document.activeElement"):
            return
        tab.page.keyboard.press("Tab")
    raise AssertionError(f"Tab doesn't reach {wanted}")
