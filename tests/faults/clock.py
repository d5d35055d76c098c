"""The wall clock that jumps, in fast-forward: real files and HTTP, and time that is moved here."""

from __future__ import annotations

from pathlib import Path

from tests import ROOT
from tests.faults.row import Mutation, Report, Row
from tests.standin.receivers import Received, Receiver, Reply
from tests.standin.stash.server import StandInStash
from tests.support.fast_forward import FastForward
from tests.support.harness import PLUGIN

HOUR = 3600.0
BACK_OFF = 300.0  # seconds between tries, by the settings
JITTER = 0.2


def run_clock(folder: Path, full: bool) -> Report:
    """The clock is set by an hour, forward and back, while scenes back off; also between two workers."""
    scenes = 100 if full else 8
    report = Report()
    with StandInStash(scenes, config_dir=folder / "config") as stash, Receiver() as receiver:
        stash.install_plugin(ROOT)
        # One destination that answers each scene's first try with 409, which counts for that scene alone.
        settings = {"webhook_url": receiver.url, "delivery_retry_schedule": f"{BACK_OFF:.0f}s", "sweep_off": True}
        stash.config.plugins[PLUGIN] = settings
        jumps = (HOUR, -HOUR, HOUR, -HOUR)
        for number, (jump, restart) in enumerate((jump, restart) for restart in (False, True) for jump in jumps):
            _one_jump(folder / f"data{number}", stash, receiver, report, scenes, jump=jump, restart=restart)
    report.done = f"clock set by ±1 h 8 times while {scenes} scenes backed off, 4 times between two workers"
    report.nothing_lost()
    return report


def _one_jump(
    data: Path,
    stash: StandInStash,
    receiver: Receiver,
    report: Report,
    scenes: int,
    *,
    jump: float,
    restart: bool,
) -> None:
    tries: dict[str, list[float]] = {}
    courier = FastForward(data, stash)

    def answer(received: Received) -> Reply:
        seen = tries.setdefault(received.json()["data"]["id"], [])
        seen.append(courier.ran)
        # In turn with one that succeeds, so that the destination isn't taken for ill.
        return Reply(409 if len(seen) == 1 and int(received.json()["data"]["id"]) % 2 else 200)

    receiver.answer = answer
    refused = {str(scene) for scene in range(1, scenes + 1, 2)}
    with courier:
        for scene in range(1, scenes + 1):
            courier.put(scene)
            courier.run(lambda: len(tries) == scene and not courier.dispatcher.busy())  # noqa: B023  # it runs here
        courier.run(seconds=10.0)
        if not restart:
            courier.wall += jump
            courier.run(seconds=2 * BACK_OFF)
    if restart:
        courier.wall += jump
        with courier:
            # Without a process nobody sees the step: what is due may be early or late by it, and no more.
            courier.run(seconds=2 * BACK_OFF + abs(jump))
    step = abs(jump) if restart else 0.0
    report.promised += scenes
    soonest = BACK_OFF * (1 - JITTER) - step
    for name, tried in tries.items():
        report.delivered += len(tried) == (2 if name in refused else 1)
        if name in refused and len(tried) > 1:
            waited = tried[1] - tried[0]
            report.expect(
                waited >= soonest, f"scene {name} was tried again after {waited:.0f} s at a jump of {jump}"
            )


ROWS = [
    Row(
        "clock",
        run_clock,
        [[Mutation("worker/delivery/dispatcher.py", "if abs(jump) < CLOCK_JUMP_SECONDS:", "if abs(jump) < 1e9:")]],
        cheap=True,
    ),
]
