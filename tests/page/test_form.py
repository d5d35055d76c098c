"""The form of a connection: errors, secrets, conflicts, and that nothing typed is lost."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Dialog, expect

from stash_courier.worker.connections.model import Entry
from tests.standin.jellyfin import KEY, StandInJellyfin
from tests.support.harness import SECRET, Courier, wait_until
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


def test_a_stored_secret_never_reaches_the_browser(courier: Courier, tab: Visit) -> None:
    """The form says that a key is set; it is in no answer and not in the document, and a save keeps it."""
    courier.connect(JELLYFIN)
    answers = Answers(tab.page)
    tab.open(f"{PATH}?edit=living")
    expect(field(tab, "API key")).to_have_attribute("placeholder", "Set. Leave it empty to keep it.")
    expect(field(tab, "API key")).to_have_value("")
    field(tab, "Name").fill("Bedroom")
    press(tab, "Save")
    expect(card(tab, "Bedroom")).to_be_visible()
    assert KEY not in tab.page.content()
    assert not answers.contain(KEY)
    assert stored(courier)[0]["values"]["key"] == KEY


def test_a_typed_secret_is_neither_in_the_document_nor_kept(tab: Visit) -> None:
    """What is typed as a key stays in the input: not in an attribute, nor in the tab's storage."""
    new(tab, "jellyfin")
    field(tab, "Address").fill("http://user:password1@127.0.0.1:1")
    field(tab, "API key").fill("typed-key")
    field(tab, "Name").fill("Kept")
    kept = tab.page.evaluate("JSON.stringify(sessionStorage)")
    assert "Kept" in kept
    assert "typed-key" not in kept + tab.page.content()
    assert "password1" not in kept


def test_an_address_that_is_a_secret_is_not_kept(tab: Visit) -> None:
    """Who knows the address of a Discord webhook can write to the channel."""
    new(tab, "webhook", "discord")
    field(tab, "Address").fill("https://127.0.0.1/api/webhooks/1/discord-token")
    field(tab, "Name").fill("Kept")
    kept = tab.page.evaluate("JSON.stringify(sessionStorage)")
    assert "Kept" in kept
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


def test_a_change_of_another_connection_is_no_conflict(courier: Courier, tab: Visit) -> None:
    """If only another connection was saved meanwhile, the save goes through."""
    courier.connect(JELLYFIN, Entry("w", "Hook", "webhook", values={"url": "http://127.0.0.1:1/a"}))
    tab.open(f"{PATH}?edit=w")
    field(tab, "Name").fill("Other hook")
    change(courier, name="Kitchen")
    press(tab, "Save")
    expect(card(tab, "Other hook")).to_be_visible()
    assert [one["name"] for one in stored(courier)] == ["Kitchen", "Other hook"]


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
    tab.errors.clear()  # the browser reports each 401


def test_a_form_that_was_opened_while_stash_is_down_is_shown_later(courier: Courier, tab: Visit) -> None:
    """It says why it isn't shown, and continues by itself when Stash is back."""
    courier.connect(JELLYFIN)
    tab.open()
    expect(card(tab, "Living room")).to_be_visible()
    port = int(courier.stash.url.rpartition(":")[2])
    courier.stash.stop()
    press(tab, "Edit: Living room")
    expect(tab.page.get_by_role("alert")).to_contain_text("Stash doesn't answer.")
    courier.stash.start(port)
    expect(field(tab, "Name")).to_have_value("Living room")
    expect(tab.page.get_by_role("alert")).to_have_count(0)
    tab.errors.clear()  # the browser reports each call


def test_a_saved_edit_is_confirmed(courier: Courier, tab: Visit) -> None:
    """The cards say that it is saved, for a moment."""
    courier.connect(JELLYFIN)
    tab.open(f"{PATH}?edit=living")
    field(tab, "Name").fill("Kitchen")
    press(tab, "Save")
    said = tab.page.get_by_role("status").filter(has_text=re.compile(r"^Saved\.$"))
    expect(said).to_be_visible()
    expect(card(tab, "Kitchen")).to_be_visible()
    expect(said).to_have_count(0)


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
    assert [one["id"] for one in stored(courier)] == ["jellyfin-1"]


def test_leaving_asks_first(tab: Visit) -> None:
    """With unsaved changes a link asks; staying keeps the form. Without changes nothing asks."""
    asked: list[str] = []

    def stay(dialog: object) -> None:
        asked.append(dialog.message)  # type: ignore[attr-defined]
        dialog.dismiss()  # type: ignore[attr-defined]

    tab.page.on("dialog", stay)
    new(tab, "webhook", "ntfy")
    field(tab, "Topic").fill("films")
    tab.page.get_by_role("link", name="Scenes").click()
    expect(field(tab, "Topic")).to_have_value("films")
    assert asked == ["You have changes that aren't saved. Leave anyway?"]
    field(tab, "Topic").fill("")
    tab.page.get_by_role("link", name="Scenes").click()
    expect(field(tab, "Topic")).to_have_count(0)
    assert len(asked) == 1


@pytest.mark.parametrize("way", ["Connections", "Back"])
def test_leaving_for_the_cards_asks_first(courier: Courier, tab: Visit, way: str) -> None:
    """The tab of the same view and the browser's Back ask too, and staying keeps the form and its address."""
    courier.connect(JELLYFIN)
    tab.open()
    press(tab, "Edit: Living room")
    field(tab, "Name").fill("Typed")
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.message)
        dialog.dismiss()

    tab.page.on("dialog", stay)
    if way == "Back":
        tab.page.evaluate("history.back()")
    else:
        tab.page.get_by_role("link", name="Connections").click()
    wait_until_asked(tab, asked)
    expect(field(tab, "Name")).to_have_value("Typed")
    expect(tab.page).to_have_url(f"{tab.base}{PATH}?edit=living")
    assert asked == ["You have changes that aren't saved. Leave anyway?"]


def test_cancel_asks_before_it_discards(courier: Courier, tab: Visit) -> None:
    """Cancel with changes asks once. Staying keeps them; leaving forgets them. Without changes nothing asks."""
    courier.connect(JELLYFIN)
    asked: list[str] = []
    stays = [True, False]

    def answer(dialog: Dialog) -> None:
        asked.append(dialog.message)
        if stays.pop(0):
            dialog.dismiss()
        else:
            dialog.accept()

    tab.page.on("dialog", answer)
    tab.open(f"{PATH}?edit=living")
    press(tab, "Cancel")
    expect(card(tab, "Living room")).to_be_visible()
    assert asked == []
    press(tab, "Edit: Living room")
    field(tab, "Name").fill("Typed")
    press(tab, "Cancel")
    expect(field(tab, "Name")).to_have_value("Typed")
    press(tab, "Cancel")
    expect(card(tab, "Living room")).to_be_visible()
    assert asked == ["You have changes that aren't saved. Discard them?"] * 2
    press(tab, "Edit: Living room")
    expect(field(tab, "Name")).to_have_value("Living room")
    expect(tab.page.get_by_text("What you typed before")).to_have_count(0)


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


def wait_until_asked(tab: Visit, asked: list[str]) -> None:
    """Waits for the browser's question."""
    for _ in range(100):
        if asked:
            return
        tab.page.wait_for_timeout(50)


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


def test_a_connection_from_the_settings_is_edited_too(courier: Courier, tab: Visit) -> None:
    """What is set on Stash's page is saved as a connection of its own, with its key."""
    with StandInJellyfin(libraries={"Films": ["/films"]}) as server:
        courier.configure(jellyfin_url=server.url, jellyfin_api_key=KEY, path_map="/a => /b; /c => /d")
        tab.open(f"{PATH}?edit=jellyfin&field=path_map")
        expect(field(tab, "Path map")).to_have_value("/a => /b\n/c => /d")
        field(tab, "Name").fill("Saved")
        press(tab, "Save")
        expect(card(tab, "Saved")).to_be_visible()
        (one,) = wait_until(lambda: stored(courier), 5.0)
        assert one["id"] == "jellyfin"
        assert one["values"]["key"] == KEY


def change(courier: Courier, **changes: object) -> None:
    """Somebody else changes the first connection."""
    revision = courier.stash.operation({"mode": "connections"})["revision"]
    saved = courier.stash.operation({"mode": "save_connection", "id": "living", "revision": revision, **changes})
    assert saved["saved"], saved
