"""A connection as the page shows it: the facts of its standing, in the page's words."""

from __future__ import annotations

from dataclasses import asdict

from stash_courier.plugin.snapshot import Snapshot
from stash_courier.plugin.text import actions
from stash_courier.plugin.text.standings import Standing
from stash_courier.plugin.text.words import sentence
from stash_courier.worker import destinations
from stash_courier.worker.connections import drafts
from stash_courier.worker.connections.model import Connection
from stash_courier.worker.delivery.breaker import Health
from stash_courier.worker.destinations import Loaded

LEAVING = "What waits is sent first, then the connection is deleted."
OWN_PAGES = "/web/index.html"  # of all media servers

HEALTHS = {
    "well": "delivering",
    "waiting": "waiting",
    "held": "waiting",
    "gone": "gone",
    "paused": "paused",
    "off": "off",
    "deleting": "deleting",
    "broken": "unusable",
    "removed": "removed",
}


def card(one: Standing, snapshot: Snapshot, loaded: Loaded, dead_letters: int, stopped: str) -> dict[str, object]:
    """The connection's card. ``stopped``: why nothing at all is delivered, a sentence; "" if deliveries run."""
    entry = one.entry
    connection = loaded.connections.get(one.destination)
    # Stash can't be asked, so all that is known of a connection on its page is the id, which begins with the kind.
    kind = entry.kind if entry else one.destination.partition(":")[0]
    module = destinations.find_kind(kind)
    health, since, reason = _health(one, snapshot)
    if stopped and one.backlog.total and health in {"delivering", "nothing_sent"}:
        health, reason = "waiting", stopped
    if entry is not None and entry.state == "leaving":
        health, reason = "deleting", f"{LEAVING} {sentence(reason)}"
    hour, day = snapshot.delivered.get(one.destination, (0, 0))
    action = actions.called_for(one, dead_letters)
    return {
        **one.shared_facts(),
        "kind": kind,
        "kind_name": kind if module is None else module.NAME,
        "from_settings": entry is None or entry.from_settings,
        "host": drafts.host(entry) if entry else "",
        "often_off": connection is not None and connection.shared.often_off,
        "is_message": entry is not None and destinations.is_message(entry),
        "link": link(connection) if connection else "",
        "state": entry.state if entry else "on",
        "health": health,
        "since": since,
        "reason": sentence(reason),
        "next_try": None if snapshot.paused_since is not None else one.next_try,
        "delivered_hour": hour,
        "delivered_day": day,
        "dead_letters": dead_letters,
        "remarks": [asdict(remark) for remark in one.remarks],
        "action": None if action is None else action.facts(),
    }


def _health(one: Standing, snapshot: Snapshot) -> tuple[str, float | None, str]:
    """The state in the page's words, the wall time since which it lasts, and its reason."""
    if one.state in {"well", "waiting", "held"} and snapshot.paused_since is not None:
        return "paused", snapshot.paused_since, "All deliveries are paused."
    if one.state == "well":
        return "delivering" if one.last_success is not None else "nothing_sent", None, _of_scenes(one, snapshot)
    reason = one.problem.message if one.problem is not None else one.reason
    return HEALTHS[one.state], one.since, reason


def _of_scenes(one: Standing, snapshot: Snapshot) -> str:
    """What is wrong with single scenes, while others are delivered; "" if nothing is."""
    retrying, failed = one.backlog.retrying, snapshot.failed.get(one.destination)
    if retrying and failed is not None:
        return f"{_scenes(retrying)} tried again: {failed[1].message}"
    refused = {scene for _, scene in snapshot.healths.get(one.destination, Health()).streak if scene >= 0}
    return f"{_scenes(len(refused))} not accepted: {one.reason}" if refused and one.reason else ""


def _scenes(count: int) -> str:
    return "1 scene is" if count == 1 else f"{count:,} scenes are"


def link(connection: Connection) -> str:
    """The address of a media server's own pages, without its login; "" for a webhook."""
    options = connection.options
    return f"{options.url.url}{OWN_PAGES}" if hasattr(options, "absent") else ""
