"""The buttons that queue scenes which Stash has anyway: the whole library, or what changed lately.

Ids come from Stash page by page and go into the inbox page by page, marked as bulk, so that they wait
behind every edit. Nothing is fetched or filtered here: the worker does that when it delivers.
"""

from __future__ import annotations

import time

from stash_courier.plugin import log
from stash_courier.plugin.arguments import Arguments
from stash_courier.plugin.context import NONE_SET_UP, Context
from stash_courier.plugin.errors import BadInputError
from stash_courier.plugin.text.report import count, flat, span
from stash_courier.queue import control, store
from stash_courier.worker.stash.client import StashUnavailable

PAGE_SCENES = 2500  # ids in one request to Stash and one transaction: 40 requests for 100,000 scenes
RECENT_DAYS = 7  # stash_plugin.yml says so to the owner
DAY = 86_400.0


def enqueue_all(context: Context, _: Arguments) -> dict[str, object]:
    """Queues every scene of the library."""
    return _enqueue(context, None, "")


def enqueue_recent(context: Context, arguments: Arguments) -> dict[str, object]:
    """Queues the scenes that changed in the last days."""
    days = arguments.days or RECENT_DAYS
    since = time.time() - days * DAY
    return {**_enqueue(context, since, f" that changed in the last {count(days, 'day')}"), "days": days}


def _enqueue(context: Context, changed_since: float | None, which: str) -> dict[str, object]:
    report = context.report
    targets = _targets(context)
    began = time.monotonic()
    queued = examined = total = 0
    try:
        for page in context.stash.scene_ids(changed_since=changed_since, page_size=PAGE_SCENES):
            _put(context, page.ids)
            if page.ids and not queued:
                context.rouse()
            queued += len(page.ids)
            examined, total = page.examined, page.total
            log.progress(examined / total if total else 1.0)
    except StashUnavailable as error:
        raise BadInputError(
            f"{count(queued, 'scene')} queued, then Stash could not be asked any more ({flat(str(error))}). They "
            "go out; press the button again for the rest, a scene that still waits isn't sent twice"
        ) from error
    if queued:
        are, they_go = ("is", "it goes") if queued == 1 else ("are", "they go")
        report.say(
            f"{count(queued, 'scene')}{which} {are} queued for {', '.join(targets)} in "
            f"{span(time.monotonic() - began)}; {they_go} out behind all edits."
        )
        context.set_to_work()
    else:
        report.say(f"There is no scene{which}: nothing was queued.")
    return {"queued": queued, "examined": examined, "destinations": targets}


def _targets(context: Context) -> list[str]:
    """The destinations that the scenes will go to; without any they would go nowhere.

    Raises:
        BadInputError: there is none.
        StashUnavailable: the settings can't be had.
    """
    with context.setup() as setup:
        targets = set(setup.destinations)
        for problem in setup.problems:
            context.report.warn(problem.message)
        if setup.named.faults:
            with context.queue() as queue:
                known = control.states(queue.connection)
            targets.update(name for name in known if name.split(":", 1)[0] in setup.named.faults)
        if not targets:
            if setup.named.nobody:
                raise BadInputError(f"{NONE_SET_UP} Nothing was queued")
            raise BadInputError(
                f"There is no destination to queue for, since {setup.named.fault}. Nothing was queued"
            )
    return sorted(targets)


def _put(context: Context, scene_ids: tuple[int, ...]) -> None:
    if not scene_ids:
        return
    at = time.time()
    with context.queue() as queue:
        queue.put_many(
            store.encode({"scene": scene_id, "event": "update", "changed": [], "at": at, "bulk": True})
            for scene_id in scene_ids
        )
