"""The mode that tests each connection with real scenes, and what all tests share: the scenes, and what follows.

What a test does and reports is the destination's own.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from stash_courier.plugin.arguments import Arguments
from stash_courier.plugin.context import Context, Setup
from stash_courier.plugin.errors import BadInputError
from stash_courier.plugin.text.standings import refusal
from stash_courier.plugin.text.words import flat, joined, sentence
from stash_courier.queue import control
from stash_courier.queue.deliveries import backlog
from stash_courier.queue.inbox import files
from stash_courier.queue.jobs import Scene
from stash_courier.worker.connections.model import Connection, Shared
from stash_courier.worker.delivery import breaker
from stash_courier.worker.delivery.breaker import Health
from stash_courier.worker.destinations import Step
from stash_courier.worker.fields import label
from stash_courier.worker.filters import FILTERS, passes
from stash_courier.worker.stash.client import Stash, StashUnavailable
from stash_courier.worker.stash.scene_files import sample

LOOKED_AT = 500  # of the newest scenes, for some that would be sent
TRIED = 20  # scenes that are looked up in a media server
NO_PROOF = (
    "Deliveries still wait, because it refused several scenes in a row. This test doesn't show that it takes them."
)
ONE_MORE = "One of them is tried again now: if it is taken, the others follow."
GONE = 'Still switched off, because it once answered that it is gone for good (410). "Deliver now" switches it on.'


def test_destinations(context: Context, arguments: Arguments) -> dict[str, object]:
    """Tests every connection that can be used, or the one that the caller names."""
    with context.setup() as setup:
        samples = Samples(context.stash)
        results = [_test(context, setup, name, samples) for name in _names(setup, arguments.destination)]
        faulty = bool(setup.loaded.to_correct) and arguments.destination is None
        problems = [
            {"connection": one.connection, "field": one.field, "message": one.message} for one in setup.problems
        ]
    ok = bool(results) and all(result["ok"] for result in results) and not faulty
    return {"ok": ok, "destinations": results, "problems": problems}


def _names(setup: Setup, wanted: str | None) -> list[str]:
    names = sorted(setup.loaded.destinations)
    if wanted is None:
        return names
    if wanted not in names:
        known = ", ".join(names) or "none"
        raise BadInputError(f"There is no connection {flat(wanted)!r}. Connections: {known}.")
    return [wanted]


def _test(context: Context, setup: Setup, name: str, samples: Samples) -> dict[str, object]:
    scenes, remarks = samples.of(setup.loaded.connections[name])
    steps = [*remarks, *setup.loaded.destinations[name].test(scenes, records=context.records(name, scenes))]
    ok = all(step.status != "fail" for step in steps)
    if ok:
        steps += resume(context, name)
    return {
        "id": name,
        "ok": ok,
        "scene": {"id": scenes[0].id, "title": scenes[0].title_or_stem()} if scenes else None,
        "scenes": len(scenes),
        "steps": [_facts(step) for step in steps],
    }


def _facts(step: Step) -> dict[str, object]:
    """A step in the answer, without the values of a fix, which may be secret."""
    told = {"name": step.name, "status": step.status, "text": step.text, "field": step.field}
    return {**told, "examples": list(step.examples)}


class Samples:
    """Scenes for the tests of one request. What was read once is kept for the next connection."""

    def __init__(self, stash: Stash) -> None:
        self._stash = stash
        self._newest: Iterator[Scene] = itertools.islice(stash.newest_scenes(), LOOKED_AT)
        # By the folders that were asked for; without what only deliveries need.
        self._spread: dict[tuple[str, ...], Sequence[Scene]] = {}
        self._whole: dict[tuple[int, ...], Sequence[Scene]] = {}  # by their ids

    def of(self, connection: Connection) -> tuple[list[Scene], list[Step]]:
        """The scenes to test a connection with: one for a webhook, up to TRIED for a media server.

        They have a file and pass its filters. If there are none of those, the best there are, with a warning.

        Raises:
            StashUnavailable: Stash can't be asked.
        """
        if connection.entry.kind == "webhook":
            return self._among_newest(connection, 1)
        folders = connection.shared.folders
        try:
            if folders not in self._spread:
                self._spread[folders] = sample(self._stash, folders)
            chosen = tuple(one.id for one in self._spread[folders] if passes(one, connection.shared))[:TRIED]
            if chosen not in self._whole:
                self._whole[chosen] = self._stash.available(chosen)
        except StashUnavailable:  # one scene that it can't give is enough
            return self._among_newest(connection, TRIED)
        scenes = list(self._whole[chosen])
        return (scenes, []) if scenes else self._among_newest(connection, TRIED)

    def _among_newest(self, connection: Connection, count: int) -> tuple[list[Scene], list[Step]]:
        """The newest scenes, newest first."""
        self._newest, newest = itertools.tee(self._newest)
        fitting: list[Scene] = []
        first = with_file = None
        for one in newest:
            first = first or one
            if one.files:
                with_file = with_file or one
                if passes(one, connection.shared):
                    fitting.append(one)
                    if len(fitting) == count:
                        break
        if fitting or first is None:
            return fitting, []
        none = f"None of Stash's newest {LOOKED_AT} scenes"
        if with_file is None:
            return [first], [Step("sample", "warn", f"{none} has a file, so the test uses the newest scene.")]
        filters = ", ".join(label(Shared, key) for key in FILTERS)
        text = f"{none} passes the filters, so the test uses one that is not sent. Check {filters}."
        return [with_file], [Step("sample", "warn", text)]


def resume(context: Context, name: str) -> list[Step]:
    """Makes everything that waits for a connection due, since its test passed.

    Returns a step more if it still gets nothing: then the test is no reason to think that it takes scenes now.
    """
    if not (context.folder / files.QUEUE_DB).exists():
        return []
    with context.queue() as queue:
        state = control.states(queue.connection).get(name)
        health = Health() if state is None else breaker.from_json(state)
        failed = backlog.failed(queue.connection, name) if health.refuses_scenes else None
        if health.state != "gone":
            with queue.transaction():
                control.expedite(queue.connection, name)
    if health.state == "gone":
        return [Step("refused", "warn", GONE)]
    context.start_work()
    if health.refuses_scenes:
        return [Step("refused", "warn", joined(NO_PROOF, sentence(refusal(health, failed)), ONE_MORE))]
    return []
