"""The button «Test destinations»: each destination is tried with a real scene, whatever is queued.

What a test sends and says is each destination's own; here it is asked and shown.
"""

from __future__ import annotations

import itertools

from stash_courier.plugin import log
from stash_courier.plugin.arguments import Arguments
from stash_courier.plugin.context import NONE_SET_UP, Context, Setup
from stash_courier.plugin.errors import BadInputError
from stash_courier.plugin.text.report import count, flat, one_line, scene
from stash_courier.queue import control, files
from stash_courier.queue.jobs import Scene
from stash_courier.worker.delivery import breaker
from stash_courier.worker.delivery.breaker import Health
from stash_courier.worker.filters import FILTERS, passes
from stash_courier.worker.settings import Settings, label

LOOKED_AT = 500  # scenes, from the newest back, for one that would be sent


def run(context: Context, arguments: Arguments) -> dict[str, object]:
    """Tests every destination that the settings name, or one, and says what happened and what to do."""
    report = context.report
    with context.setup() as setup:
        context.warn_of((problem.setting, problem.message) for problem in setup.problems)
        names = _names(setup, arguments.destination)
        found = _scene(context, setup.settings) if names else None
        results = [_test(context, setup, name, found, place / len(names)) for place, name in enumerate(names)]
        if setup.named.nobody:
            report.warn(NONE_SET_UP)
        elif not names:
            report.warn(f"No destination can be tested, since {setup.named.fault}.")
        problems = [{"setting": p.setting, "message": p.message} for p in setup.problems]
    if names:
        log.progress(1.0)
        working = sum(bool(result["ok"]) for result in results)
        say = report.say if working == len(names) else report.warn
        say(f"{working:,} of {count(len(names), 'destination')} took the test.")
    return {
        "scene": None if found is None else {"id": found.id, "title": found.title_or_stem()},
        "destinations": results,
        "problems": problems,
    }


def _names(setup: Setup, wanted: str | None) -> list[str]:
    names = sorted(setup.destinations)
    if wanted is None:
        return names
    if wanted not in names:
        known = f"there are {', '.join(names)}" if names else "none is set up"
        raise BadInputError(one_line(f"no destination is called {flat(wanted)!r}: {known}"))
    return [wanted]


def _scene(context: Context, settings: Settings) -> Scene | None:
    """The newest scene that would be sent and has a file to be found by; else the best there is, and a warning."""
    newest = context.stash.newest_scene()
    if newest is None or (newest.files and passes(newest, settings)):
        return newest
    filtered: Scene | None = None
    for one in itertools.islice(context.stash.newest_scenes(), LOOKED_AT):
        if one.files and passes(one, settings):
            return one
        filtered = filtered or (one if one.files else None)
    if filtered is not None:
        context.report.warn(
            f"None of Stash's newest {LOOKED_AT} scenes passes the filters, so this is tried with one that is not "
            f"sent: check {', '.join(label(one.setting) for one in FILTERS)}."
        )
        return filtered
    context.report.warn(f"None of Stash's newest {LOOKED_AT} scenes has a file: the newest is taken all the same.")
    return newest


def _test(context: Context, setup: Setup, name: str, tried: Scene | None, progress: float) -> dict[str, object]:
    log.progress(progress)
    found = setup.destinations[name].check(tried)
    with_what = (
        "without a scene, since Stash has none"
        if tried is None
        else (f"with {scene(tried.id, tried.title_or_stem())}")
    )
    report = context.report
    begin = len(report.lines)
    say = report.say if found.ok else report.warn
    say(f"{name}: tested {with_what}: {'it works' if found.ok else 'it does not work'}.")
    for line in found.lines:
        say(f"{name}: {flat(line)}")
    for line in found.notes:
        report.say(f"{name}: {flat(line)}")
    if found.ok:
        _go_on(context, name)
    return {"id": name, "ok": found.ok, "lines": report.lines[begin:]}


def _go_on(context: Context, name: str) -> None:
    """A destination that took the test gets its deliveries at once, whatever kept them from it."""
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
            f"{name}: it is off all the same, since it once answered that it is gone for good: press "
            "«Deliver now» to switch it on."
        )
        return
    if health.state == "ill":
        context.report.say(f"{name}: what was held up for it is sent now.")
    context.set_to_work()
