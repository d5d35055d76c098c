"""plugin/ui/page/shared/poll.js: which answer is shown when several are on their way."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from stash_courier.worker import VERSION
from tests.support.harness import PLUGIN
from tests.support.page import Visit

# A component that shows what usePolling returns. `window.pending` has the functions that end its calls.
SHOW = """async (poll) => {
    const { React, ReactDOM } = window.PluginApi;
    const { usePolling } = await import(poll);
    window.pending = [];
    const load = () => new Promise((resolve, reject) => window.pending.push({ resolve, reject }));
    const Shown = ({ name }) => {
        const polled = usePolling(load, 0, name);
        window.refresh = polled.refresh;
        return React.createElement("output", null, JSON.stringify(
            [polled.data ?? null, polled.failure?.message ?? null, polled.loading]));
    };
    const place = document.body.appendChild(document.createElement("div"));
    window.show = (name) => ReactDOM.render(React.createElement(Shown, { name }), place);
    window.show("first");
}"""


@pytest.fixture
def shown(tab: Visit) -> Page:
    """A page that shows the component."""
    tab.open("/scenes/1")
    tab.page.evaluate(SHOW, f"/plugin/{PLUGIN}/assets/{VERSION}/shared/poll.js")
    return tab.page


def settle(page: Page) -> None:
    """Waits until React has shown what came so far."""
    page.evaluate("() => new Promise((done) => setTimeout(() => requestAnimationFrame(done)))")


def end(page: Page, call: int, how: str) -> None:
    """Ends one of the calls, by "resolve('answer')" or "reject({message: 'why'})"."""
    page.wait_for_function(f"window.pending.length > {call}")
    page.evaluate(f"window.pending[{call}].{how}")


def test_data_stay_when_a_later_call_fails(shown: Page) -> None:
    """First nothing, then the answer; a failure is shown beside it, and goes with the next answer."""
    output = shown.locator("output")
    expect(output).to_have_text("[null,null,true]")
    end(shown, 0, "resolve('one')")
    expect(output).to_have_text('["one",null,false]')
    shown.evaluate("void window.refresh()")
    end(shown, 1, "reject({kind: 'problem', message: 'away'})")
    expect(output).to_have_text('["one","away",false]')
    shown.evaluate("void window.refresh()")
    end(shown, 2, "resolve('two')")
    expect(output).to_have_text('["two",null,false]')


def test_what_is_asked_once_is_asked_when_the_tab_is_first_seen(tab: Visit) -> None:
    """A tab that was opened in the background asks nothing; in front it asks, once."""
    tab.open("/scenes/1")
    tab.hide()
    tab.page.evaluate(SHOW, f"/plugin/{PLUGIN}/assets/{VERSION}/shared/poll.js")
    assert tab.page.evaluate("window.pending.length") == 0
    tab.hide(hidden=False)
    end(tab.page, 0, "resolve('one')")
    expect(tab.page.locator("output")).to_have_text('["one",null,false]')
    tab.hide()
    tab.hide(hidden=False)
    settle(tab.page)
    assert tab.page.evaluate("window.pending.length") == 1


def test_an_older_answer_never_replaces_a_newer_one(shown: Page) -> None:
    """What was asked for before a refresh is ignored, however late it comes."""
    output = shown.locator("output")
    shown.evaluate("void window.refresh()")
    end(shown, 1, "resolve('new')")
    expect(output).to_have_text('["new",null,false]')
    end(shown, 0, "resolve('old')")
    settle(shown)
    expect(output).to_have_text('["new",null,false]')


def test_an_answer_to_other_filters_is_never_shown(shown: Page) -> None:
    """When the key changes, what the old one answered is gone at once, and a late answer to it is ignored."""
    output = shown.locator("output")
    end(shown, 0, "resolve('one')")
    expect(output).to_have_text('["one",null,false]')
    shown.evaluate("void window.refresh()")
    shown.evaluate("window.show('second')")
    expect(output).to_have_text("[null,null,true]")
    end(shown, 1, "resolve('late')")
    settle(shown)
    expect(output).to_have_text("[null,null,true]")
    end(shown, 2, "resolve('two')")
    expect(output).to_have_text('["two",null,false]')


def test_a_refresh_ends_when_its_answer_is_shown(shown: Page) -> None:
    """Who waits for a refresh sees its answer afterwards, also a failure."""
    end(shown, 0, "resolve('one')")
    for call, (how, text) in enumerate(
        (("resolve('two')", '["two",null,false]'), ("reject({message: 'no'})", '["two","no",false]')), start=1
    ):
        shown.evaluate(
            "void (window.done = window.refresh().then(() => document.querySelector('output').textContent))"
        )
        end(shown, call, how)
        assert shown.evaluate("window.done") == text
