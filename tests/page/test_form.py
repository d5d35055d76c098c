"""The form of a connection: errors, secrets, conflicts, and that nothing typed is lost."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Dialog, expect

from stash_courier.worker.connections.model import Entry
from tests.standin.jellyfin import KEY
from tests.support.harness import SECRET, Courier
from tests.support.page import PATH, Visit
from tests.support.page_forms import Answers, card, field, new, press, stored

pytestmark = pytest.mark.timeout(90)

JELLYFIN = Entry("living", "Living room", "jellyfin", values={"url": "http://127.0.0.1:1", "key": KEY})


def test_an_error_is_at_its_field_and_its_fix_is_one_click(courier: Courier, tab: Visit) -> None:
    """A bad address gets the focus and says what is wrong; the fix changes it, and then it is saved."""
    new(tab, "webhook", "standard")
    field(tab, "Address").fill("127.0.0.1:1/hook")
    press(tab, "Save")
    wrong = field(tab, "Address")
    expect(wrong).to_be_focused()
    expect(wrong).to_have_attribute("aria-invalid", "true")
    expect(wrong).to_have_accessible_description(re.compile("has no http:// or https:// in front"))
    assert stored(courier) == []
    press(tab, "Put http:// in front")
    expect(wrong).to_have_value("http://127.0.0.1:1/hook")
    press(tab, "Save")
    expect(card(tab, "Standard webhook")).to_be_visible()
    assert stored(courier)[0]["values"]["url"] == "http://127.0.0.1:1/hook"


def test_an_error_below_advanced_is_shown(tab: Visit) -> None:
    """A bad value in the folded part opens it and gets the focus, with what was typed."""
    new(tab, "jellyfin")
    field(tab, "Address").fill("http://127.0.0.1:1")
    field(tab, "API key").fill(KEY)
    tab.page.get_by_text("Advanced", exact=True).click()
    field(tab, "Attempts").fill("many")
    tab.page.get_by_text("Advanced (1 set)").click()
    expect(field(tab, "Attempts")).to_have_count(0)
    press(tab, "Save")
    expect(field(tab, "Attempts")).to_be_focused()
    expect(field(tab, "Attempts")).to_have_value("many")
    expect(field(tab, "Attempts")).to_have_accessible_description(
        re.compile("must be a whole number from 1 to 100")
    )


def test_a_typed_secret_is_neither_in_the_document_nor_kept(tab: Visit) -> None:
    """A typed key stays in the input: not in an attribute, nor in the tab's storage. So does a secret address."""
    new(tab, "jellyfin")
    field(tab, "Address").fill("http://user:password1@127.0.0.1:1")
    field(tab, "API key").fill("typed-key")
    field(tab, "Name").fill("Kept")
    kept = tab.page.evaluate("JSON.stringify(sessionStorage)")
    assert "Kept" in kept
    assert "typed-key" not in kept + tab.page.content()
    assert "password1" not in kept
    new(tab, "webhook", "discord")
    field(tab, "Address").fill("https://127.0.0.1/api/webhooks/1/discord-token")
    field(tab, "Name").fill("Also kept")
    kept = tab.page.evaluate("JSON.stringify(sessionStorage)")
    assert "Also kept" in kept
    assert "discord-token" not in kept


def test_a_secret_can_be_removed(courier: Courier, tab: Visit) -> None:
    """Remove and Save: the signing secret is gone, the rest stays."""
    courier.connect(Entry("w", "Hook", "webhook", values={"url": "http://127.0.0.1:1/a", "secret": SECRET}))
    tab.open(f"{PATH}?edit=w")
    press(tab, "Remove: Signing secret")
    expect(field(tab, "Signing secret")).to_have_attribute("placeholder", "It is removed when you save.")
    press(tab, "Save")
    expect(card(tab, "Hook")).to_be_visible()
    values = stored(courier)[0]["values"]
    assert not values.get("secret")
    assert values["url"] == "http://127.0.0.1:1/a"


def test_a_conflict_keeps_what_was_typed(courier: Courier, tab: Visit) -> None:
    """Somebody else saves the same connection: nothing is overwritten unseen, and nothing typed is lost."""
    courier.connect(JELLYFIN)
    tab.open(f"{PATH}?edit=living")
    tab.page.get_by_text("Advanced", exact=True).click()
    field(tab, "Never scenes with a tag").fill("private")
    change(courier, name="Kitchen", values={"attempts": 3})
    press(tab, "Save")
    expect(tab.page.get_by_text("Somebody else changed this connection: Name, Attempts.")).to_be_visible()
    expect(field(tab, "Name")).to_have_value("Kitchen")
    expect(field(tab, "Attempts")).to_have_value("3")
    expect(field(tab, "Never scenes with a tag")).to_have_value("private")
    press(tab, "Save")
    expect(card(tab, "Kitchen")).to_be_visible()
    assert stored(courier)[0]["values"] == {**JELLYFIN.values, "attempts": 3, "skip_tags": ["private"]}


def test_typing_survives_the_end_of_the_session(courier: Courier, tab: Visit) -> None:
    """The session ends while somebody types: the save says so, and after the login everything typed is there."""
    new(tab, "jellyfin")
    field(tab, "Address").fill("http://127.0.0.1:1")
    field(tab, "API key").fill(KEY)
    courier.stash.faults.status = 401
    press(tab, "Save")
    expect(tab.page.get_by_text("Your session in Stash has ended").first).to_be_visible()
    expect(tab.page.get_by_text("What you typed is kept.")).to_be_visible()
    expect(field(tab, "API key")).to_have_value(KEY)
    expect(tab.page.get_by_role("link", name="Log in")).to_have_count(1)
    courier.stash.faults.status = 0
    expect(tab.page.get_by_text("Saving failed. What you typed is kept. Press Save again.")).to_be_visible()
    expect(tab.page.get_by_text("Your session in Stash has ended")).to_have_count(0)
    press(tab, "Save")
    expect(card(tab, "Jellyfin")).to_be_visible()
    assert stored(courier)[0]["values"] == {"url": "http://127.0.0.1:1", "key": KEY}
    tab.forgive()  # the browser reports each 401


def test_a_reload_keeps_what_was_typed_but_no_secret(tab: Visit) -> None:
    """After a reload, as by a login, the form is as it was, without the key."""
    tab.page.on("dialog", lambda dialog: dialog.accept())
    new(tab, "jellyfin")
    field(tab, "Address").fill("http://127.0.0.1:1")
    field(tab, "API key").fill(KEY)
    tab.page.reload()
    expect(
        tab.page.get_by_text("What you typed before is still here, without keys and passwords.")
    ).to_be_visible()
    expect(field(tab, "Address")).to_have_value("http://127.0.0.1:1")
    expect(field(tab, "API key")).to_have_value("")
    press(tab, "Discard it")
    expect(field(tab, "Address")).to_have_value("")


def test_saving_needs_no_test(courier: Courier, tab: Visit) -> None:
    """A test that fails says that the connection can be saved anyway, and it can."""
    new(tab, "jellyfin")
    field(tab, "Address").fill("http://127.0.0.1:1")
    field(tab, "API key").fill(KEY)
    press(tab, "Test")
    expect(tab.page.get_by_text("The test failed. You can save the connection anyway.")).to_be_visible()
    press(tab, "Save")
    expect(card(tab, "Jellyfin")).to_be_visible()
    assert [one["kind"] for one in stored(courier)] == ["jellyfin"]


def test_leaving_asks_first(courier: Courier, tab: Visit) -> None:
    """With changes a link, Back and Cancel ask, and staying keeps the form; without changes nothing asks."""
    courier.connect(JELLYFIN)
    asked: list[str] = []
    staying = [True]

    def answer(dialog: Dialog) -> None:
        asked.append(dialog.message)
        dialog.dismiss() if staying else dialog.accept()

    tab.page.on("dialog", answer)
    tab.open()
    press(tab, "Edit: Living room")
    press(tab, "Cancel")
    press(tab, "Edit: Living room")
    assert asked == []
    field(tab, "Name").fill("Typed")
    tab.page.get_by_role("link", name="Scenes").click()
    tab.page.evaluate("history.back()")
    tab.until(lambda: len(asked) == 2)
    press(tab, "Cancel")
    expect(field(tab, "Name")).to_have_value("Typed")
    expect(tab.page).to_have_url(f"{tab.base}{PATH}?edit=living")
    staying.clear()
    press(tab, "Cancel")
    expect(card(tab, "Living room")).to_be_visible()
    changes = "You have changes that aren't saved."
    leave, discard = f"{changes} Leave anyway?", f"{changes} Discard them?"
    assert asked == [leave, leave, discard, discard]


def test_what_the_test_of_a_receiver_finds_wrong_is_at_its_field(tab: Visit) -> None:
    """An address that is no webhook of Discord: Test leads to the field, and there is nothing to send."""
    new(tab, "webhook", "discord")
    field(tab, "Address").fill("https://127.0.0.1:1/channels/1")
    press(tab, "Test")
    expect(field(tab, "Address")).to_be_focused()
    expect(field(tab, "Address")).to_have_accessible_description(
        re.compile("must be the whole address of a webhook")
    )
    expect(tab.page.get_by_text("Some values can't be used, so nothing was tested.")).to_be_visible()
    expect(tab.page.get_by_role("alert")).to_have_count(0)
    expect(tab.page.get_by_role("button", name="Send test")).to_have_count(0)


def test_what_is_unset_says_which_common_setting_applies(courier: Courier, tab: Visit) -> None:
    """The field shows the value, and where it is set; also for a duration."""
    courier.configure(worker_attempts=7, worker_schedule="90s 2h")
    courier.connect(JELLYFIN)
    tab.open(f"{PATH}?edit=living&field=attempts")
    expect(field(tab, "Attempts")).to_have_attribute("placeholder", "7, from Settings → Plugins")
    for label, value in (("Attempts", "7"), ("Waits between attempts", "90s 2h"), ("Requests at once", "4")):
        said = re.compile(f"If it is empty: {value}, from Settings → Plugins")
        expect(field(tab, label)).to_have_accessible_description(said)


def test_a_list_has_one_entry_a_line(courier: Courier, tab: Visit) -> None:
    """Tags with a comma stay whole; durations may also stand in one line."""
    courier.connect(JELLYFIN)
    tab.open(f"{PATH}?edit=living&field=skip_tags")
    expect(field(tab, "Never scenes with a tag")).to_be_focused()
    field(tab, "Never scenes with a tag").fill("Smith, John\n\n private ")
    field(tab, "Waits between attempts").fill("10s 1m\n1h")
    press(tab, "Save")
    expect(card(tab, "Living room")).to_be_visible()
    values = stored(courier)[0]["values"]
    assert values["skip_tags"] == ["Smith, John", "private"]
    assert values["schedule"] == ["10s", "1m", "1h"]


def test_a_duplicate_keeps_the_secret_on_the_server(courier: Courier, tab: Visit) -> None:
    """A copy has the key of the first, which the browser never gets; its name is another one."""
    courier.connect(JELLYFIN)
    answers = Answers(tab.page)
    tab.open()
    press(tab, "More: Living room")
    press(tab, "Duplicate")
    expect(field(tab, "Name")).to_have_value("Living room copy")
    press(tab, "Save")
    expect(card(tab, "Living room copy")).to_be_visible()
    first, second = stored(courier)
    assert second["values"] == first["values"] == dict(JELLYFIN.values)
    assert not answers.contain(KEY)


def test_a_copy_to_another_address_asks_for_the_secret_again(courier: Courier, tab: Visit) -> None:
    """The key would be sent elsewhere unnoticed, so the field says that it must be entered again."""
    courier.connect(JELLYFIN)
    tab.open(f"{PATH}?copy=living")
    field(tab, "Address").fill("http://127.0.0.1:2")
    press(tab, "Save")
    expect(field(tab, "API key")).to_be_focused()
    expect(field(tab, "API key")).to_have_accessible_description(re.compile("Enter this again"))
    assert len(stored(courier)) == 1


def change(courier: Courier, **changes: object) -> None:
    """Somebody else changes the first connection."""
    revision = courier.stash.operation({"mode": "connections"})["revision"]
    saved = courier.stash.operation({"mode": "save_connection", "id": "living", "revision": revision, **changes})
    assert saved["saved"], saved
