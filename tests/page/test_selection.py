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


ONE, OTHER_ONE = ["toggled", 12, PAGE], ["toggled", 14, PAGE]
WHOLE_PAGE, ALL = ["pageToggled", PAGE], ["everything", 1.25, 480]


@pytest.mark.parametrize(
    ("clicks", "ids", "box"),
    [
        ([ONE, OTHER_ONE], [12, 14], "some"),
        ([ONE, ONE], [], "none"),
        ([ONE, WHOLE_PAGE], PAGE, "all"),  # also those that were not selected yet
        ([WHOLE_PAGE, WHOLE_PAGE], [], "none"),
        ([ONE, ["stretched", 12, 14, PAGE]], [12, 13, 14], "some"),
        ([OTHER_ONE, ["stretched", 14, 12, PAGE]], [12, 13, 14], "some"),
        ([WHOLE_PAGE, ONE, ["stretched", 12, 14, PAGE]], [11, 15], "some"),  # the first click took one out
        ([["stretched", 99, 13, PAGE]], [13], "some"),  # the row that was clicked before has left the page
        ([ALL, ["toggled", 13, PAGE]], [11, 12, 14, 15], "some"),  # what can't be seen isn't selected any more
        ([ONE, OTHER_ONE, ["kept", [14, 15]]], [14], "some"),  # after a reload: what is still shown
        ([ALL, ["kept", PAGE]], [], "none"),
    ],
)
def test_clicks_select_rows(selection: Selection, clicks: list[list[Any]], ids: list[int], box: str) -> None:
    """Clicks on rows, with Shift, and on the box above them; the mode gets the ids, not the filters."""
    found = selection.after(*clicks)
    assert (sorted(found["ids"]), found["count"], found["page"]) == (ids, len(ids), box)
    assert sorted(found["args"]["ids"]) == ids


def test_all_that_match_means_those_that_were_counted(selection: Selection) -> None:
    """The mode gets the filters and the moment of the count; every row shows as selected."""
    found = selection.after(ALL)
    assert (found["count"], found["page"], found["shown"]) == (480, "all", PAGE)
    assert found["args"] == {"text": "film", "as_of": 1.25}


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


FREE, HELD = {"view": WANTED, "held": False}, {"view": WANTED, "held": True}  # whether a row is selected
SECOND = {"view": {**WANTED, "page": 2}, "held": False}


@pytest.mark.parametrize(
    ("asked", "now", "expected"),
    [
        ({**FREE, "fresh": False}, FREE, ["new", 7, None]),
        ({**HELD, "fresh": False}, HELD, ["old", 7, 5]),
        ({**FREE, "fresh": False}, HELD, ["old", 0, None]),  # asked for before the first click
        ({**HELD, "fresh": True}, HELD, ["new", 7, None]),  # a person clicked "7 new"
        (
            {**FREE, "fresh": False},
            {**FREE, "view": OTHER},
            ["old", 0, None],
        ),  # the filters changed
        ({**SECOND, "fresh": False}, SECOND, ["new", 7, 5]),  # so no row is shown twice or left out
    ],
)
def test_rows_move_only_while_nothing_is_selected(
    moved: Any, asked: dict[str, Any], now: dict[str, Any], expected: list[Any]
) -> None:
    """Which rows are shown after an answer, how many are said to be new, and the moment that was asked for."""
    assert moved(asked, now) == expected
