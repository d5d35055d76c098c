"""Which dead letters a click selects, and when a list may move its rows: functions, as the browser loads them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from stash_courier.worker import VERSION
from tests.support.harness import PLUGIN, Courier
from tests.support.page import Visit, visit

ASSETS = f"plugin/{PLUGIN}/assets/{VERSION}/"
PAGE = [11, 12, 13, 14, 15]  # ids of the rows that are shown


class Selection:
    """Clicks on a list, played with the functions of selection.js."""

    def __init__(self, tab: Visit) -> None:
        self._tab = tab

    def after(self, *clicks: list[Any]) -> dict[str, Any]:
        """What is selected after clicks; each is the name of a function and its arguments after the selection."""
        found: dict[str, Any] = self._tab.page.evaluate(
            """async ([base, clicks, page]) => {
                const s = await import(new URL(`${base}dead_letters/selection.js`, document.baseURI));
                let now = s.NOTHING;
                for (const [name, ...args] of clicks) {
                    now = name === "everything" ? s.everything(...args) : s[name](now, ...args);
                }
                return {
                    ids: [...now.ids],
                    count: s.countOf(now),
                    page: s.pageState(now, page),
                    shown: page.filter((id) => s.isSelected(now, id)),
                    args: s.argumentsFor(now, { text: "film" }),
                    nothing: [...s.NOTHING.ids],
                };
            }""",
            [ASSETS, list(clicks), PAGE],
        )
        assert found.pop("nothing") == []  # no function changes what it was given
        return found


@pytest.fixture(scope="module")
def tab(browser: Browser, host: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    """One tab for all tests of functions, which change nothing."""
    with Courier(tmp_path_factory.mktemp("stash"), {}, page=host) as courier, visit(browser, courier) as opened:
        opened.open("/")
        yield opened


@pytest.fixture
def selection(tab: Visit) -> Selection:
    return Selection(tab)


def test_a_click_on_a_box_selects_one_and_a_second_one_ends_it(selection: Selection) -> None:
    """Rows are selected one by one, and the mode gets their ids, not the filters."""
    two = selection.after(["toggled", 12, PAGE], ["toggled", 14, PAGE])
    assert (two["count"], two["page"], two["args"]) == (2, "some", {"ids": [12, 14]})
    assert selection.after(["toggled", 12, PAGE], ["toggled", 12, PAGE])["count"] == 0


def test_the_box_above_the_rows_selects_the_page(selection: Selection) -> None:
    """The first click selects every row, also those that were not selected yet; the second one none."""
    page = selection.after(["toggled", 12, PAGE], ["pageToggled", PAGE])
    assert (page["ids"], page["page"]) == (PAGE, "all")
    none = selection.after(["pageToggled", PAGE], ["pageToggled", PAGE])
    assert (none["count"], none["page"]) == (0, "none")


@pytest.mark.parametrize(("first", "last"), [(12, 14), (14, 12)])
def test_shift_selects_what_is_between_two_rows(selection: Selection, first: int, last: int) -> None:
    """From the row that was clicked before to this one, in either direction."""
    found = selection.after(["toggled", first, PAGE], ["stretched", first, last, PAGE])
    assert sorted(found["ids"]) == [12, 13, 14]


def test_shift_takes_rows_out_if_the_first_click_did(selection: Selection) -> None:
    """A row that was deselected, then one with Shift: all between them are deselected."""
    found = selection.after(["pageToggled", PAGE], ["toggled", 12, PAGE], ["stretched", 12, 14, PAGE])
    assert found["ids"] == [11, 15]


def test_shift_after_the_first_row_has_left_the_page_selects_one(selection: Selection) -> None:
    """The row that was clicked before isn't shown any more, so there is nothing to stretch from."""
    assert selection.after(["stretched", 99, 13, PAGE])["ids"] == [13]


def test_all_that_match_means_those_that_were_counted(selection: Selection) -> None:
    """The mode gets the filters and the moment of the count; every row shows as selected."""
    found = selection.after(["everything", 1700000000.25, 480])
    assert (found["count"], found["page"], found["shown"]) == (480, "all", PAGE)
    assert found["args"] == {"text": "film", "as_of": 1700000000.25}


def test_one_row_taken_out_of_all_leaves_the_rest_of_the_page(selection: Selection) -> None:
    """What can't be seen is not selected any more, so that nothing unseen is discarded."""
    found = selection.after(["everything", 1.0, 480], ["toggled", 13, PAGE])
    assert (found["ids"], found["args"]) == ([11, 12, 14, 15], {"ids": [11, 12, 14, 15]})


def test_rows_that_left_the_list_are_not_selected(selection: Selection) -> None:
    """After a reload only selected rows that are still shown stay selected, and "all" ends."""
    assert selection.after(["toggled", 12, PAGE], ["toggled", 14, PAGE], ["kept", [14, 15]])["ids"] == [14]
    assert selection.after(["everything", 1.0, 480], ["kept", PAGE])["count"] == 0


WANTED = {"filters": "{}", "page": 1}
OTHER = {"filters": '{"text":"film"}', "page": 1}


@pytest.fixture
def moved(tab: Visit) -> Any:
    """Whether an answer replaces the rows, and how many are said to be new then."""

    def run(asked: dict[str, Any], now: dict[str, Any]) -> Any:
        return tab.page.evaluate(
            """async ([base, shownView, asked, now]) => {
                const file = new URL(`${base}dead_letters/letters_state.js`, document.baseURI);
                const { momentFor, received } = await import(file);
                const shown = { answer: { as_of: 5, rows: ["old"] }, view: shownView, newer: 0, discarded: null };
                const answer = { as_of: 9, rows: ["new"], newer: 7, discarded: null };
                const moment = asked.fresh ? null : momentFor(shown, asked.view, asked.held);
                const next = received(shown, answer, { ...asked, moment }, now);
                return [next.answer.rows[0], next.newer, moment];
            }""",
            [ASSETS, WANTED, asked, now],
        )

    return run


def test_a_poll_moves_rows_only_while_nothing_is_selected(moved: Any) -> None:
    """With a selection the poll asks for the moment of the rows that are shown, and only counts what is newer."""
    free = {"view": WANTED, "held": False}
    held = {"view": WANTED, "held": True}
    assert moved({**free, "fresh": False}, free) == ["new", 7, None]
    assert moved({**held, "fresh": False}, held) == ["old", 7, 5]


def test_an_answer_that_was_asked_for_before_the_first_click_moves_nothing(moved: Any) -> None:
    """A row was selected while a poll was on its way: its answer comes too late."""
    assert moved({"view": WANTED, "held": False, "fresh": False}, {"view": WANTED, "held": True}) == [
        "old",
        0,
        None,
    ]


def test_a_person_who_asks_for_the_new_rows_gets_them(moved: Any) -> None:
    """After a click on "7 new" the rows are replaced, also while some are selected."""
    held = {"view": WANTED, "held": True}
    assert moved({**held, "fresh": True}, held) == ["new", 7, None]


def test_an_answer_for_other_filters_is_dropped(moved: Any) -> None:
    """The filters were changed while the call was on its way."""
    assert moved({"view": WANTED, "held": False, "fresh": False}, {"view": OTHER, "held": False})[0] == "old"


def test_further_pages_belong_to_the_first_one(moved: Any) -> None:
    """The second page is asked for as of the first, so no row is shown twice or left out."""
    second = {"view": {**WANTED, "page": 2}, "held": False}
    assert moved({**second, "fresh": False}, second) == ["new", 7, 5]
    assert moved({"view": {**OTHER, "page": 2}, "held": False, "fresh": False}, second)[2] is None
