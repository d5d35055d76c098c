"""The plugin's page in a headless Chromium: what the tests of the page need, and what they are skipped without."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, Request, ViewportSize, expect, sync_playwright

from tests import ROOT
from tests.support.harness import PLUGIN, Courier

INSTALLED = ROOT / ".build" / "page" / ".installed"  # empty, or the reason why the libraries are missing
MODULES = ROOT / ".build" / "page" / "node_modules"
HOST = ROOT / "tests" / "page" / "host"
PATH = f"/plugins/{PLUGIN}"  # of the page, inside Stash
SERIOUS = ("serious", "critical")  # impacts of axe-core that fail a test


def missing() -> str:
    """Why the tests of the page can't run here, "" if they can."""
    if shutil.which("chromium") is None:
        return "Chromium is not on this machine (Debian: apt-get install chromium)"
    if not INSTALLED.is_file():
        return "the libraries of Stash's page are not installed: run make .build/page/.installed"
    return INSTALLED.read_text("utf-8").strip()


def build_host(folder: Path) -> Path:
    """Builds the host page into a folder and returns it."""
    subprocess.run(
        [
            MODULES / ".bin" / "esbuild",
            HOST / "host.js",
            HOST / "host.css",
            "--bundle",
            "--format=esm",
            "--log-level=warning",
            '--define:process.env.NODE_ENV="production"',
            f"--outdir={folder}",
        ],
        env={**os.environ, "NODE_PATH": str(MODULES)},
        check=True,
        timeout=120,
    )
    return folder


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium without a window. Ends with the block."""
    program = shutil.which("chromium")
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-quic", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        expect.set_options(timeout=20_000)  # a call of the plugin is a process, and the machine may be busy
        yield browser
        browser.close()


class Visit:
    """One tab, with what went wrong in it.

    Args:
        base: where Stash is, without a slash at its end.
    """

    def __init__(self, page: Page, base: str) -> None:
        self.page = page
        self.base = base
        self.errors: list[str] = []  # exceptions that were not caught, and error lines of the console
        self.modes: list[str] = []  # of the calls of the plugin, in their order
        self.ended: list[str] = []  # those of them whose answer has arrived
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda line: self.errors.append(line.text) if line.type == "error" else None)
        self.astray: list[str] = []  # addresses that were asked for outside of the base
        page.on("request", self._on_request)
        page.on("requestfinished", lambda request: self.ended.extend(_modes(request)))

    def open(self, path: str = PATH) -> None:
        """Opens a path inside Stash and waits until our script has added its link."""
        self.page.goto(self.base + path)
        self.page.locator(".courier-nav").first.wait_for(state="attached")

    def forgive(self) -> None:
        """Leaves the page and forgets the errors that a test expected: the browser may report them late."""
        self.page.goto("about:blank")
        self.errors.clear()

    def hide(self, *, hidden: bool = True) -> None:
        """Makes the page believe that its tab is in the background, or in front again."""
        self.page.evaluate(
            """(hidden) => {
                Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
                document.dispatchEvent(new Event("visibilitychange"));
            }""",
            hidden,
        )

    def until(self, condition: Callable[[], bool]) -> None:
        """Waits for something that the tab's requests and answers bring about; at most 20 s."""
        give_up = time.monotonic() + 20.0
        while not condition():
            assert time.monotonic() < give_up
            self.page.wait_for_timeout(20)  # only meanwhile Playwright takes events

    def serious(self, within: str = ".courier-page") -> list[str]:
        """What axe-core finds that keeps people out, in one part of the page."""
        self.page.add_script_tag(path=MODULES / "axe-core" / "axe.min.js")
        found: dict[str, Any] = self.page.evaluate("(within) => axe.run(within)", within)
        return [
            f"{one['id']}: {node['html'][:200]} {node['failureSummary']}"
            for one in found["violations"]
            if one["impact"] in SERIOUS
            for node in one["nodes"]
        ]

    def _on_request(self, request: Request) -> None:
        self.modes.extend(_modes(request))
        if not request.url.startswith((f"{self.base}/", "data:", "blob:")):
            self.astray.append(request.url)


def _modes(request: Request) -> list[str]:
    """The mode of the plugin that a request runs, if it does."""
    if not request.url.endswith("/graphql"):
        return []
    variables = (request.post_data_json or {}).get("variables") or {}
    arguments = variables.get("args") or {}
    return [arguments["mode"]] if "mode" in arguments else []


@contextmanager
def visit(browser: Browser, courier: Courier, *, prefix: str = "", width: int = 1280) -> Iterator[Visit]:
    """A tab of its own session. Fails at its end if an exception reached the page, or a request left Stash's path.

    Args:
        prefix: the path of a proxy that Stash is behind.
        width: of the window, in pixels.
    """
    size: ViewportSize = {"width": width, "height": 900}
    context = browser.new_context(viewport=size, locale="en-US", reduced_motion="reduce")
    context.set_default_timeout(20_000)
    tab = Visit(context.new_page(), courier.stash.url + prefix)
    yield tab
    context.close()
    assert tab.errors == []
    assert tab.astray == []
