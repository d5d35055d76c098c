"""The button "Test destinations": tests each destination with a real scene.

What a test does and reports is the destination's own.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from stash_courier.plugin import log
from stash_courier.plugin.arguments import Arguments
from stash_courier.plugin.context import Context, Setup
from stash_courier.plugin.errors import BadInputError
from stash_courier.plugin.text.standings import NONE_SET_UP
from stash_courier.plugin.text.words import flat, joined, scene, to_correct
from stash_courier.queue import control, files
from stash_courier.queue.jobs import Scene
from stash_courier.worker.connections.model import Connection, Shared
from stash_courier.worker.delivery import breaker
from stash_courier.worker.delivery.breaker import Health
from stash_courier.worker.fields import label
from stash_courier.worker.filters import FILTERS, passes
from stash_courier.worker.stash.client import Stash

LOOKED_AT = 500  # of the newest scenes, for one that would be sent


def run(context: Context, arguments: Arguments) -> dict[str, object]:
    """Tests every connection that can be used, or the one that the caller names."""
    report = context.report
    with context.setup() as setup:
        problems = context.warn_of_settings(setup.problems)
        names = _names(setup, arguments.destination)
        newest = _Newest(context.stash)
        results = [_test(context, setup, name, newest, place / len(names)) for place, name in enumerate(names)]
    log.progress(1.0)
    passed = sum(bool(result["ok"]) for result in results)
    faulty = setup.loaded.to_correct if arguments.destination is None else []
    ok = 0 < passed == len(names) and not faulty
    if setup.loaded.empty:
        report.warn(NONE_SET_UP)
    else:
        report.conclude(_result(len(names), passed, faulty), failed=not ok)
    return {"ok": ok, "destinations": results, "problems": problems}


def _result(tested: int, passed: int, faulty: list[str]) -> str:
    """``Destinations tested: 3. Failed: 2 of 3.``, and which settings keep others from being tested."""
    outcome = f"Failed: {tested - passed:,} of {tested:,}." if passed < tested else f"Passed: {passed:,}."
    return joined(
        f"Destinations tested: {tested:,}.", outcome if tested else "", to_correct(faulty) if faulty else ""
    )


def _names(setup: Setup, wanted: str | None) -> list[str]:
    names = sorted(setup.loaded.destinations)
    if wanted is None:
        return names
    if wanted not in names:
        known = ", ".join(names) or "none"
        raise BadInputError(f"There is no destination {flat(wanted)!r}. Destinations: {known}.")
    return [wanted]


class _Newest:
    """Stash's newest scenes, newest first. Those that were read once are kept for the next destination."""

    def __init__(self, stash: Stash) -> None:
        self._source = itertools.islice(stash.newest_scenes(), LOOKED_AT)
        self._read: list[Scene] = []

    def __iter__(self) -> Iterator[Scene]:
        yield from self._read
        for one in self._source:
            self._read.append(one)
            yield one


def _scene(context: Context, connection: Connection, newest: _Newest) -> Scene | None:
    """The newest scene that has a file and passes the filters; else the best there is, with a warning."""
    with_file: Scene | None = None
    for one in newest:
        if one.files and passes(one, connection.shared):
            return one
        with_file = with_file or (one if one.files else None)
    first = next(iter(newest), None)
    if first is None:
        return None
    none = f"None of Stash's newest {LOOKED_AT} scenes"
    if with_file is None:
        context.report.warn(f"{none} has a file, so the test uses the newest scene.")
        return first
    filters = ", ".join(label(Shared, key) for key in FILTERS)
    context.report.warn(
        f"{connection.id}: {none[0].lower()}{none[1:]} passes the filters, so the test uses one that is not sent. "
        f"Check {filters}."
    )
    return with_file


def _test(context: Context, setup: Setup, name: str, newest: _Newest, progress: float) -> dict[str, object]:
    log.progress(progress)
    tried = _scene(context, setup.loaded.connections[name], newest)
    found = setup.loaded.destinations[name].check(tried)
    report = context.report
    begin = len(report.lines)
    say = report.say if found.ok else report.warn
    used = f"with {scene(tried.id, tried.title_or_stem())}" if tried else "without a scene, because Stash has none"
    say(f"{name}: test {'passed' if found.ok else 'failed'}. Tested {used}.")
    for line in found.lines:
        say(f"{name}: {flat(line)}")
    for line in found.notes:
        report.say(f"{name}: {flat(line)}")
    if found.ok:
        _expedite(context, name)
    shown = None if tried is None else {"id": tried.id, "title": tried.title_or_stem()}
    return {"id": name, "ok": found.ok, "scene": shown, "lines": report.lines[begin:]}


def _expedite(context: Context, name: str) -> None:
    """Makes everything that waits for a destination due, since its test passed."""
    if not (context.folder / files.QUEUE_DB).exists():
        return
    with context.queue() as queue:
        state = control.states(queue.connection).get(name)
        health = Health() if state is None else breaker.from_json(state)
        if health.state != "gone":
            with queue.transaction():
                control.expedite(queue.connection, name)
    if health.state == "gone":
        context.report.warn(
            f"{name}: still switched off, because it once answered that it is gone for good (410). "
            'Press "Deliver now" to switch it on.'
        )
        return
    if health.state == "ill":
        context.report.say(f"{name}: deliveries resumed.")
    context.start_work()
