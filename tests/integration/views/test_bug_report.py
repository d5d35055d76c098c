"""The mode "bug_report" in a process: what a helper needs is in it, and nothing is in Stash's log."""

from __future__ import annotations

from pathlib import Path

import pytest

from stash_courier.queue.failures import Failure
from stash_courier.worker import VERSION
from stash_courier.worker.connections.model import Entry
from tests.support.buttons import Buttons
from tests.support.harness import Courier
from tests.support.press import bury

pytestmark = pytest.mark.timeout(60)


def test_a_report_of_two_connections(tmp_path: Path) -> None:
    """It has versions, kinds, presets, states, counts, and the names of fields that are set."""
    with Courier(tmp_path, {}, scenes=3) as courier:
        values = {"url": "http://zarah.example.org:8123/hook", "preset": "gotify", "token": "abcdefgh"}
        courier.connect(
            Entry("quix", "Zarah's phone", "webhook", values=values),
            Entry("nas", "Cellar", "jellyfin", "paused", values={"url": "http://cellar:8096", "key": "0" * 32}),
        )
        buttons = Buttons(courier.stash.config.config_dir, courier.stash.config.port)
        bury(buttons.folder, 7, Failure.REFUSED, "A title of Zarah", destination="quix")
        called = buttons.call("bug_report")
    assert called.logged == []
    text = called.output["text"]
    assert f"- Plugin: {VERSION}. Worker: not running" in text
    assert "- Stash: v0.30.1" in text
    assert "| 1 | jellyfin | paused | paused | 0 | 0 | 0 | none | url, key |" in text
    assert "| 2 | webhook (gotify) | on | delivering | 0 | 0 | 1 | none | preset, url, token |" in text
    assert "- 1 of connection 2: server error" in text


def test_stash_is_away_and_nothing_is_there(tmp_path: Path) -> None:
    """There is a report whatever is broken."""
    (tmp_path / "stash_courier").mkdir()
    text = Buttons(tmp_path, 9).call("bug_report").output["text"]
    assert "- Stash: unknown" in text
    assert "- Can't be read: Stash" in text
    assert text.endswith("None.")
