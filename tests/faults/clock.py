"""A wall clock that jumps, in fast-forward: files and HTTP are real, the time is simulated."""

from __future__ import annotations

from pathlib import Path

from tests import ROOT
from tests.faults.row import Mutation, Report, Row
from tests.standin.receivers import Received, Receiver, Reply
from tests.standin.stash.server import StandInStash
from tests.support.fast_forward import FastForward
from tests.support.harness import PLUGIN

HOUR = 3600.0
BACK_OFF = 300.0  # seconds between attempts, by the settings
JITTER = 0.2


def run_clock(folder: Path, full: bool) -> Report:
    """The clock jumps by an hour, forward and back, while deliveries back off, also between two workers."""
    scenes = 100 if full else 8
    report = Report()
    with StandInStash(scenes, config_dir=folder / "config") as stash, Receiver() as receiver:
        stash.install_plugin(ROOT)
        # The receiver answers the first attempt of some scenes with 409, which counts for that scene only.
        settings = {"webhook_url": receiver.url, "worker_schedule": f"{BACK_OFF:.0f}s", "worker_sweep_off": True}
        stash.config.plugins[PLUGIN] = settings
        jumps = (HOUR, -HOUR, HOUR, -HOUR)
        for number, (jump, restart) in enumerate((jump, restart) for restart in (False, True) for jump in jumps):
            _one_jump(folder / f"data{number}", stash, receiver, report, scenes, jump=jump, restart=restart)
    report.done = f"8 clock jumps of ±1 h while {scenes} deliveries backed off, 4 of them between two workers"
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
    attempts: dict[str, list[float]] = {}
    courier = FastForward(data, stash)

    def answer(received: Received) -> Reply:
        seen = attempts.setdefault(received.json()["data"]["id"], [])
        seen.append(courier.ran)
        # Every other scene succeeds, so the destination counts as healthy.
        return Reply(409 if len(seen) == 1 and int(received.json()["data"]["id"]) % 2 else 200)

    receiver.answer = answer
    refused = {str(scene) for scene in range(1, scenes + 1, 2)}
    with courier:
        for scene in range(1, scenes + 1):
            courier.put(scene)
            courier.run(lambda: len(attempts) == scene and not courier.dispatcher.busy())  # noqa: B023  # it runs here
        courier.run(seconds=10.0)
        if not restart:
            courier.wall += jump
            courier.run(seconds=2 * BACK_OFF)
    if restart:
        courier.wall += jump
        with courier:
            # No process sees the jump, so a due time may be off by its size, but not by more.
            courier.run(seconds=2 * BACK_OFF + abs(jump))
    step = abs(jump) if restart else 0.0
    report.promised += scenes
    soonest = BACK_OFF * (1 - JITTER) - step
    for name, times in attempts.items():
        report.delivered += len(times) == (2 if name in refused else 1)
        if name in refused and len(times) > 1:
            waited = times[1] - times[0]
            report.expect(
                waited >= soonest,
                f"scene {name} was attempted again after {waited:.0f} s at a jump of {jump:+.0f} s",
            )


ROWS = [
    Row(
        "clock",
        run_clock,
        [[Mutation("worker/delivery/dispatcher.py", "if abs(jump) < CLOCK_JUMP_SECONDS:", "if abs(jump) < 1e9:")]],
        cheap=True,
    ),
]
