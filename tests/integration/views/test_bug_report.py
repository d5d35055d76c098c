"""The mode "bug_report" with a real Stash stand-in: versions, states and errors, and nothing in Stash's log."""

from __future__ import annotations

from pathlib import Path

import pytest

from stash_courier.queue.failures import Failure
from stash_courier.worker import VERSION
from stash_courier.worker.connections.model import Entry
from tests.support.buttons import Buttons
from tests.support.harness import Courier

pytestmark = pytest.mark.timeout(60)


def test_a_report_of_two_connections(tmp_path: Path) -> None:
    """Versions, kinds, presets, counts and errors are in it; names, hosts, titles and paths are not."""
    with Courier(tmp_path, {}, scenes=3) as courier:
        values = {"url": "http://zarah.example.org:8123/hook", "preset": "gotify", "token": "abcdefgh"}
        courier.connect(
            Entry("quix", "Zarah's phone", "webhook", values=values),
            Entry("nas", "Cellar", "jellyfin", "paused", values={"url": "http://cellar:8096", "key": "0" * 32}),
        )
        buttons = Buttons(courier.stash.config.config_dir, courier.stash.config.port)
        buttons.seed(7, "quix", Failure.REFUSED, "A title of Zarah")
        (courier.data / "worker.log").write_text("2020-01-01 10:00:00,000 WARNING an old one\n")
        called = buttons.call("bug_report")
    assert called.logged == []
    text = called.output["text"]
    assert f"- Plugin: {VERSION}. Worker: not running" in text
    assert "- Stash: v0.30.1" in text
    assert "| connection-1 | jellyfin | paused | paused | 0 | 0 | 0 | none |" in text
    assert "| connection-2 | webhook (gotify) | on | delivering | 0 | 0 | 1 | none |" in text
    assert "- scene-1 to connection-2, 3 attempts: just now, refused: refused it was." in text
    assert "an old one" not in text
    for private in ("arah", "ellar", "8123", "8096", "title of", "quix", str(tmp_path)):
        assert private not in text


def test_stash_is_away_and_nothing_is_there(tmp_path: Path) -> None:
    """There is a report whatever is broken."""
    (tmp_path / "stash_courier").mkdir()
    text = Buttons(tmp_path, 9).call("bug_report").output["text"]
    assert "- Stash: not known" in text
    assert "- Stash: not available." in text
    assert "#### Dead letters\nNone." in text
