"""What the tests of the page's connections share: to fill its form, and to watch what the browser gets."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, Request

from tests.support.harness import Courier
from tests.support.page import PATH, Visit


def field(tab: Visit, label: str) -> Locator:
    """The input with this label, in the form of a connection."""
    exactly = re.compile(rf"^{re.escape(label)}( \(required\))?$")
    return tab.page.locator("input, textarea, select").and_(
        tab.page.locator(".courier-form").get_by_label(exactly)
    )


def press(tab: Visit, name: str, *, exact: bool = True) -> None:
    """Clicks a button by its name."""
    tab.page.get_by_role("button", name=name, exact=exact).click()


def card(tab: Visit, name: str) -> Locator:
    """The card of a connection."""
    return tab.page.get_by_role("article", name=name)


def new(tab: Visit, kind: str, preset: str = "") -> None:
    """Opens the form for a new connection."""
    tab.open(f"{PATH}?new={kind}&preset={preset}" if preset else f"{PATH}?new={kind}")
    field(tab, "Name").wait_for()


def stored(courier: Courier) -> list[dict[str, Any]]:
    """The connections as they are in connections.json, secrets included."""
    file = Path(courier.data) / "connections.json"
    if not file.exists():
        return []
    found: list[dict[str, Any]] = json.loads(file.read_text("utf-8"))["connections"]
    return found


class Answers:
    """Everything that the browser got from Stash's API since this was made."""

    def __init__(self, page: Page) -> None:
        self._requests: list[Request] = []
        page.on(
            "requestfinished", lambda one: self._requests.append(one) if one.url.endswith("/graphql") else None
        )

    def contain(self, secret: str) -> bool:
        """Whether one of them contains a secret."""
        answers = [one.response() for one in self._requests]
        assert any(answers)
        return any(secret in answer.text() for answer in answers if answer)
