"""What concerns all deliveries: each in sentences, with what to do. For the status button and the page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from stash_courier.plugin.snapshot import Snapshot
from stash_courier.plugin.text.actions import RESUME, Action
from stash_courier.plugin.text.words import flat, joined, sentence, since, to_correct
from stash_courier.queue.inbox import files
from stash_courier.worker import package
from stash_courier.worker.destinations import Loaded
from stash_courier.worker.stash.answers import PluginState

PLUGINS = "Settings → Plugins"


@dataclass(frozen=True, slots=True)
class Banner:
    """Something that concerns all deliveries."""

    text: str  # a sentence without times
    rest: str = ""  # more sentences
    since: float | None = None  # wall time
    press: str = ""  # which button to press, for readers without the page
    action: Action | None = None
    status: Literal["warn", "fail"] = "warn"

    def line(self, now: float) -> str:
        """This in a button's report. ``now`` is wall time."""
        began = "" if self.since is None else f" {since(self.since, now)}."
        return joined(f"{self.text.removesuffix('.')}{began}" if began else self.text, self.rest, self.press)

    def facts(self) -> dict[str, object]:
        """This in an answer for the page."""
        return {
            "status": self.status,
            "text": joined(self.text, self.rest),
            "since": self.since,
            "action": None if self.action is None else self.action.facts(),
        }


def blocked(snapshot: Snapshot, *, running: bool = True) -> Banner | None:
    """Why the worker begins no delivery at all, and what to do; None if it does.

    A worker that isn't ``running`` says nothing about whether Stash can be reached now.
    """
    if snapshot.paused_since is not None:
        press = 'Press "Resume deliveries".'
        return Banner("Deliveries: paused.", since=snapshot.paused_since, press=press, action=RESUME)
    if snapshot.disabled:
        what = f"Enable it in Stash's {PLUGINS}."
        return Banner("Stash Courier is disabled, so nothing is delivered.", what, status="fail")
    if running and snapshot.stash_away is not None:
        began, reason = float(snapshot.stash_away["since"]), flat(str(snapshot.stash_away["reason"]))
        return Banner("Stash: not reached by the worker.", sentence(reason), began, status="fail")
    return None


def copies(state: PluginState) -> Iterator[Banner]:
    """That the plugin is installed more than once, and what to remove."""
    if not state.copies:
        return
    delivers = package.delivering(state.copies, enabled=state.enabled)
    ids = sorted({package.ID, *state.copies})
    remove = []
    for plugin in ids:
        if plugin != delivers:
            path = package.find(plugin)
            # Where the package was unzipped over a copy by hand, only a manifest is left of that.
            where = path if path is None or (path.parent / f"{delivers}.yml").exists() else path.parent
            remove.append(plugin if where is None else f"{plugin} ({where})")
    yield Banner(
        f"Stash Courier is installed more than once: {' and '.join(ids)}.",
        f"Only {delivers} delivers, and changes may arrive twice. Remove {', '.join(remove)}. Then press "
        f'"Reload plugins" in Stash\'s {PLUGINS}.',
    )


def stash_unknown(reason: str) -> Banner:
    """Stash can't be asked, for this reason."""
    known = "Connections and settings are shown as the worker last knew them."
    return Banner("Stash: not available.", f"{sentence(reason)} {known}")


def undecided(snapshot: Snapshot, loaded: Loaded | None) -> Banner | None:
    """Changes that wait because settings that can't be read hide where they go; None if none do."""
    if loaded is None or not loaded.unsure or loaded.entries or not loaded.to_correct or not snapshot.inbox:
        return None
    what = f"{to_correct(loaded.to_correct)} What waits is delivered afterwards."
    return Banner(f"Waiting for a connection: {snapshot.inbox:,}.", what)


def slow(seconds: float) -> Banner:
    """Stash takes this long for each scene."""
    return Banner(
        f"Stash: slow. It last took {seconds:.1f} s for each scene, so deliveries take longer.",
        "Check whether a task runs in Stash, and the disk of its database.",
    )


def outside_the_queue(count: int) -> Banner:
    """This many changes are in the spool folder."""
    return Banner(
        f"Changes outside the queue: {count:,}. They could not be written to the queue and are kept in "
        f"{files.SPOOL}/.",
        "The worker adds them to the queue when it runs.",
    )
