"""The button "Test connections": tests each connection with real scenes, and reports a line for each step.

What a test does and reports is the destination's own.
"""

from __future__ import annotations

from collections.abc import Sequence

from stash_courier.plugin import log
from stash_courier.plugin.arguments import Arguments
from stash_courier.plugin.context import Context, Setup
from stash_courier.plugin.errors import BadInputError
from stash_courier.plugin.samples import Samples
from stash_courier.plugin.text.standings import NONE_SET_UP, refusal
from stash_courier.plugin.text.words import LONGEST, flat, joined, lines, scene, sentence, to_correct
from stash_courier.queue import control
from stash_courier.queue.deliveries import backlog
from stash_courier.queue.inbox import files
from stash_courier.queue.jobs import Scene
from stash_courier.worker.delivery import breaker
from stash_courier.worker.delivery.breaker import Health
from stash_courier.worker.destinations import Step

NO_PROOF = (
    "Deliveries still wait, because it refused several scenes in a row. This test doesn't show that it takes them."
)
ONE_MORE = "One of them is tried again now: if it is taken, the others follow."


def test_destinations(context: Context, arguments: Arguments) -> dict[str, object]:
    """Tests every connection that can be used, or the one that the caller names."""
    report = context.report
    with context.setup() as setup:
        problems = context.warn_of_settings(setup.problems)
        names = _names(setup, arguments.destination)
        samples = Samples(context.stash, report)
        results = [_test(context, setup, name, samples, place / len(names)) for place, name in enumerate(names)]
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
    """``Connections tested: 3. Failed: 2 of 3.``, and which settings keep others from being tested."""
    outcome = f"Failed: {tested - passed:,} of {tested:,}." if passed < tested else f"Passed: {passed:,}."
    return joined(
        f"Connections tested: {tested:,}.", outcome if tested else "", to_correct(faulty) if faulty else ""
    )


def _names(setup: Setup, wanted: str | None) -> list[str]:
    names = sorted(setup.loaded.destinations)
    if wanted is None:
        return names
    if wanted not in names:
        known = ", ".join(names) or "none"
        raise BadInputError(f"There is no connection {flat(wanted)!r}. Connections: {known}.")
    return [wanted]


def _test(context: Context, setup: Setup, name: str, samples: Samples, progress: float) -> dict[str, object]:
    log.progress(progress)
    scenes = samples.of(setup.loaded.connections[name])
    steps = list(setup.loaded.destinations[name].test(scenes, records=context.records(name, scenes)))
    ok = all(step.status != "fail" for step in steps)
    report, shown = context.report, setup.loaded.entries[name].name
    begin = len(report.lines)
    if ok:
        steps += resume(context, name, shown)
    (report.say if ok else report.warn)(f"{shown}: test {'passed' if ok else 'failed'}. Tested {_with(scenes)}.")
    for step in steps:
        for part in lines(" ".join([step.text, *step.examples]), LONGEST - len(shown)):
            (report.say if step.status == "ok" else report.warn)(f"{shown}: {part}")
    return {
        "id": name,
        "ok": ok,
        "scene": {"id": scenes[0].id, "title": scenes[0].title_or_stem()} if scenes else None,
        "scenes": len(scenes),
        "steps": [_facts(step) for step in steps],
        "lines": report.lines[begin:],
    }


def _with(scenes: Sequence[Scene]) -> str:
    if not scenes:
        return "without a scene, because Stash has none"
    one = scenes[0]
    return f"with {scene(one.id, one.title_or_stem())}" if len(scenes) == 1 else f"with {len(scenes)} scenes"


def _facts(step: Step) -> dict[str, object]:
    """A step in the button's answer, without the values of a fix, which may be secret."""
    told = {"name": step.name, "status": step.status, "text": step.text, "field": step.field}
    return {**told, "examples": list(step.examples)}


def resume(context: Context, name: str, shown: str) -> list[Step]:
    """Makes everything that waits for a destination due, since its test passed. ``shown``: its name.

    Returns a step more if it takes no scenes: then the test is no reason to think that it does now.
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
        context.report.warn(
            f"{shown}: still switched off, because it once answered that it is gone for good (410). "
            'Press "Deliver now" to switch it on.'
        )
        return []
    context.start_work()
    if health.refuses_scenes:
        text = joined(NO_PROOF, sentence(refusal(health, failed)), ONE_MORE)
        return [Step("refused", "warn", text)]
    if health.state == "ill":
        context.report.say(f"{shown}: deliveries resumed.")
    return []
