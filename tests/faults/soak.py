"""A week in fast-forward with events, outages, restarts and changes of settings: no event is lost, nothing grows.

Files, queue, dead letters, dispatcher, completer and pools are the real ones, in a separate process whose memory
is measured. Stash and the destinations are fakes in that process, without HTTP, and the clock jumps to whatever is
due next. Single edits go through the hook's function; bulk edits use its statement on a connection that stays
open. The rows ``kills`` and ``fire`` do the same for minutes, with real processes and sockets.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import sqlite3
import subprocess
import sys
import threading
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from stash_courier.queue.deliveries.scene_queue import LOG_BYTES
from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.history import receipts
from stash_courier.queue.inbox import files, schema, store
from stash_courier.queue.jobs import Delivery, Scene, SceneFile
from stash_courier.worker import destinations, fields, main
from stash_courier.worker.connections.model import Connection, Entry
from stash_courier.worker.connections.store import Store
from stash_courier.worker.destinations import NO_RECORDS, Delivered, Step
from stash_courier.worker.fields import BadSetting, Value
from stash_courier.worker.runtime import Runtime
from stash_courier.worker.stash.client import FetchedScenes, PluginState, Stash, StashUnavailable, SweepPage
from stash_courier.worker.stash.queries import SweepQuestion
from tests import ROOT
from tests.faults.row import Mutation, Report, Row
from tests.faults.testbed import ALL, fast_folder
from tests.support.fast_forward import FastForward

DAY = 86_400.0
HOUR = 3600.0
RECEIPTS_GONE = 7.5 * DAY  # seconds after which no receipt is left, so that the files are small again
BULK_EDITS, SINGLE_EDITS = 3, 12  # per hour
EDITS_BEFORE_CHANGE = 150  # just before a change of settings; more than one request fetches
DESTROYED = 0.005  # share of the events
FAILED_ONCE = 0.01  # share of the deliveries that fail once with 500
DESTROY = 1 << 40  # the edit number of a delete, higher than any other
GROWTH = 2.0  # at most, at the end: size of a file ÷ size of its used pages
MEMORY_MIB = 6.0  # growth of the process at most, after a warm-up of one third
LONGEST_SECONDS = 1500.0


@dataclasses.dataclass(frozen=True)
class Outage:
    """An outage of a destination or of Stash."""

    begins: float  # as a share of the whole time
    ends: float
    target: str  # a destination's id, or "stash"
    failure: Failure | None = None
    share: float = 1.0  # of the deliveries that fail
    retry_after: float | None = None


OUTAGES = (
    Outage(0.04, 0.10, "fake:a", Failure.UNREACHABLE),
    Outage(0.12, 0.20, "stash"),
    Outage(0.22, 0.27, "fake:b", Failure.BUSY, retry_after=900.0),
    Outage(0.23, 0.32, "fake:a", Failure.ITEM_REFUSED, 0.9),
    Outage(0.34, 0.42, "fake:a", Failure.REFUSED),
    Outage(0.36, 0.44, "fake:b", Failure.DESTINATION),
    Outage(0.47, 0.55, "stash"),
    Outage(0.50, 0.58, "fake:a", Failure.UNREACHABLE),
    Outage(0.50, 0.60, "fake:b", Failure.BUSY),
    Outage(0.62, 0.66, "fake:c", Failure.FORBIDDEN),
    Outage(0.68, 0.72, "fake:b", Failure.GONE),
    Outage(0.76, 0.80, "fake:a", Failure.NOT_THERE_YET, 0.3),
    Outage(0.82, 0.88, "stash"),
    Outage(0.86, 0.90, "fake:a", Failure.BUSY),
    Outage(0.93, 0.98, "fake:b", Failure.ITEM_REFUSED, 0.05),
)
A, B, C = "fake:a", "fake:b", "fake:c"
# The connections' values, by id, and the settings on Stash's page.
COMMON = {A: "1", B: "1", "worker_dead_letter_days": 1, "worker_sweep_off": True}
# When the owner saves which of them; each entry replaces the previous one.
CHANGES: Sequence[tuple[float, Mapping[str, object]]] = (
    (0.00, COMMON),
    (0.06, {**COMMON, "worker_concurrency": 8}),
    (0.15, {**COMMON, C: "1", "worker_settle_seconds": 30}),  # while Stash is down
    (0.29, {}),  # the page was saved empty; the connections stay
    (0.30, {**COMMON, C: "1"}),
    (0.38, {**COMMON, A: "2", C: "1", "worker_attempts": 3}),
    (0.46, {**COMMON, B: "broken", A: "broken", C: "broken"}),
    (0.57, {**COMMON, C: "1", "worker_schedule": "1m 10m"}),
    (0.64, {**COMMON, C: "2", "worker_concurrency": "many"}),
    (0.68, COMMON),  # c is removed while deliveries wait for it
    (0.73, {**COMMON, B: "2", C: "2"}),  # c is back, and so is b, which had answered 410
    (0.85, {**COMMON, B: "2", C: "2", "worker_settle_seconds": 5}),
    (0.97, {**COMMON, B: "2", C: "2"}),
)
RESTARTS = 20  # every other restart follows a crash
EVER_DEAD = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'dead_letters'"
REDRIVES = (0.33, 0.45)  # when the owner presses "Retry dead letters"


def _read_version(value: Value) -> str:
    if value.text() == "broken":
        raise BadSetting("is broken")
    return value.text()


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """The fields of a fake destination."""

    version: str = fields.text("Version", "A text that changes.", _read_version, required=True)


class FakeDestination:
    """A destination in this process that records what it accepted."""

    def __init__(self, name: str, scenes: int) -> None:
        self.id = name
        self.fingerprint = ""
        self.newest = array("q", bytes(8 * (scenes + 1)))  # by scene: the newest edit that it accepted
        self.outage: Outage | None = None
        self.accepted = 0
        self._tried = bytearray(scenes + 1)
        self._lock = threading.Lock()

    def deliver(self, delivery: Delivery, scene: Scene | None, record: bytes = b"") -> Delivered:
        """Accepts a delivery, or fails as the current outage says."""
        outage, lot = self.outage, random.Random(delivery.seq).random()
        if outage is not None and outage.failure is not None and lot < outage.share:
            raise DeliveryFailed(outage.failure, "It has an outage.", retry_after=outage.retry_after)
        with self._lock:
            if lot > 1 - FAILED_ONCE and not self._tried[delivery.scene_id]:
                self._tried[delivery.scene_id] = 1
                raise DeliveryFailed(Failure.REFUSED, "It fails once.", status=500)
            self._tried[delivery.scene_id] = 0
            number = DESTROY if scene is None else int(scene.title)
            self.newest[delivery.scene_id] = max(self.newest[delivery.scene_id], number)
            self.accepted += 1
        return Delivered()

    def preview(self, delivery: Delivery, scene: Scene | None) -> str:
        return ""

    def test(
        self,
        scenes: Sequence[Scene],
        *,
        show_scene: bool = False,
        records: Mapping[int, bytes] = NO_RECORDS,
    ) -> Iterator[Step]:
        """Is never called."""
        return iter(())

    def close(self) -> None:
        """Does nothing: there are no connections."""


class FakeStash(Stash):
    """A Stash in this process whose scenes are numbers of edits."""

    def __init__(self, folder: Path, scenes: int) -> None:
        super().__init__(folder)
        self.edits = array("q", bytes(8 * (scenes + 1)))
        self.settings: Mapping[str, object] = {}
        self.down = False

    def scenes(self, ids: Collection[int]) -> FetchedScenes:
        """The current state of scenes."""
        self.pace.answered(tuple(ids), 0.0)
        return FetchedScenes({scene: self._scene(scene) for scene in ids}, {}, self.plugin_state())

    def plugin_state(self) -> PluginState:
        """The current settings."""
        if self.down:
            raise StashUnavailable("it is down")
        return PluginState(self.settings, True)

    def sweep_page(self, question: SweepQuestion) -> SweepPage:
        """Finds no changes: other tests cover the sweep."""
        return SweepPage((), True, None, self.plugin_state(), self._clock())

    def keep_alive_in(self) -> float | None:
        """Returns None: there is no session."""
        return None

    def close(self) -> None:
        """Does nothing: there is no connection."""

    def _scene(self, scene: int) -> Scene | None:
        number = self.edits[scene]
        if number == DESTROY:
            return None
        file = SceneFile(f"/media/library/{scene % 100}/scene {scene}.mp4", 1, 1.0, 1, 1)
        at = "2026-01-05T10:00:00Z"
        texts = ("", "", "", "")
        return Scene(
            scene, str(number), *texts, None, True, (), at, at, (file,), (), (), None, (), (), "", 0.0
        )  # fmt: skip


class Soak(FastForward):
    """Worker, owner, edits and outages of the whole time; a context manager.

    Args:
        folder: empty.
        events: total number.
        scenes: how many Stash has.
        hours: duration in simulated time.
    """

    def __init__(self, folder: Path, events: int, scenes: int, hours: int) -> None:
        self.stash = FakeStash(folder / "data", scenes)
        super().__init__(folder / "data", self.stash)
        self.destinations = {name: FakeDestination(name, scenes) for name in (A, B, C)}
        self.expected = {name: array("q", bytes(8 * (scenes + 1))) for name in self.destinations}
        self.last_seq = array("q", bytes(8 * (scenes + 1)))  # by scene
        self.purged: dict[tuple[str, int], int] = {}  # (destination, scene) → seq of purged dead letters
        self.memory: list[float] = []  # MiB, measured at each restart
        self.highest = dict.fromkeys((files.QUEUE_DB, files.DLQ_DB), 0)  # peak size of each file in bytes
        self.crashes = self.restarts = self.put_events = self.stranded = 0
        self._events, self._scenes, self._hours = events, scenes, hours
        self._rng = random.Random(20260107)
        self._next = {"tidy": 0.0, "purge": 0.0}  # in simulated time
        self._saved: Mapping[str, object] = {}  # of CHANGES
        fake = SimpleNamespace(NAME="Fake", HELP="", Options=Options)
        cast(Any, destinations)._folders = lambda: ["fake"]
        cast(Any, destinations)._settings = lambda _: fake
        cast(Any, destinations).make = self._make

    def _make(self, connection: Connection, _cover: object, _clock: object) -> FakeDestination:
        made = self.destinations[connection.id]
        made.fingerprint = connection.fingerprint
        return made

    def _save(self, saved: Mapping[str, object]) -> None:
        """Saves connections and the page; without any connection only the page."""
        self._saved = saved
        self.stash.settings = {key: value for key, value in saved.items() if key not in self.destinations}
        entries = tuple(
            Entry(name, name, "fake", values={"version": saved[name]})
            for name in self.destinations
            if name in saved
        )
        if entries:
            file = Store(self.folder)
            file.change(file.read().revision, lambda stored: dataclasses.replace(stored, entries=entries))

    # The worker

    def step(self) -> float:
        """One round of the worker's loop, with its maintenance."""
        wait = super().step()
        if self.ran >= self._next["tidy"]:
            self._next["tidy"] = self.ran + main.TIDY_SECONDS
            for name in self.highest:
                if (file := self.folder / name).exists():
                    self.highest[name] = max(self.highest[name], file.stat().st_size)
            while rows := receipts.surplus(self.queue.connection, self.wall):
                with self.queue.transaction():
                    receipts.delete(self.queue.connection, rows)
            self.queue.tidy()
        if self.dispatcher.poller.knows_settings and self.ran >= self._next["purge"]:
            self._next["purge"] = self.ran + main.PURGE_SECONDS
            self._purge()
        return wait

    def _purge(self) -> None:
        days = self.dispatcher.registry.settings.worker_dead_letter_days
        if not (self.folder / files.DLQ_DB).exists():
            return
        with closing(sqlite3.connect(self.folder / files.DLQ_DB)) as conn:
            old = conn.execute(
                "SELECT destination, scene_id, seq FROM dead_letters WHERE state = 'dead' AND failed_at < ?",
                (self.wall - days * DAY,),
            )
            self.purged |= {(destination, scene): seq for destination, scene, seq in old}
        self.dlq.delete_older_than(days)

    def restart(self, *, crash: bool, off: float = 0.0) -> None:
        """Stops or crashes the worker, and starts another on the same files after ``off`` seconds."""
        self.memory.append(_memory_mib())
        if not crash:
            Runtime.finish(cast(Runtime, self), lambda: main.GRACE_SECONDS)
        self.__exit__()
        self.restarts += 1
        self.crashes += crash
        self._next["purge"] = 0.0
        self.jump(off)
        self.__enter__()

    # The timeline

    def run_all(self) -> None:
        """Runs the whole time, then waits until the queue is empty."""
        hours = self._hours
        each = self._events // hours
        schedule = self._schedule()
        for hour in range(hours):
            while schedule and schedule[0][0] <= hour / hours:
                schedule.pop(0)[1]()
            events = each if hour + 1 < hours else self._events - each * (hours - 1)
            self._hour(events, (hour + 1) * HOUR)
        while schedule:
            schedule.pop(0)[1]()
        self.run(lambda: self.queue.empty() and not self.dispatcher.busy(), seconds=DAY)
        self.stranded = self.queue.size
        self.restart(crash=False, off=RECEIPTS_GONE)
        self.run(seconds=HOUR)
        self.memory.append(_memory_mib())

    def _schedule(self) -> list[tuple[float, Callable[[], object]]]:
        found: list[tuple[float, Callable[[], object]]] = []
        for outage in OUTAGES:
            found.append((outage.begins, partial(self._set_outage, outage.target, outage)))
            found.append((outage.ends, partial(self._set_outage, outage.target, None)))
        found += [(at, partial(self._change, settings)) for at, settings in CHANGES]
        found += [(n / (RESTARTS + 1), partial(self.restart, crash=n % 2 == 1)) for n in range(1, RESTARTS)]
        found += [(at, self._retry_dead_letters) for at in REDRIVES]
        return sorted(found, key=lambda one: one[0])

    def _retry_dead_letters(self) -> None:
        self.dlq.ask()

    def _set_outage(self, target: str, outage: Outage | None) -> None:
        if target == "stash":
            self.stash.down = outage is not None
        else:
            self.destinations[target].outage = outage

    def _change(self, settings: Mapping[str, object]) -> None:
        """Changes the settings during deliveries.

        If the set of destinations changes, the worker first routes all events, so that it is known which
        destinations each event goes to.
        """
        before, now = (self.destinations.keys() & given.keys() for given in (self._saved, settings))
        comes_or_goes = bool(before) and bool(now) and before != now and not self.stash.down
        if comes_or_goes:
            self.run(self.queue.inbox_empty)
        else:
            self._edit(EDITS_BEFORE_CHANGE)
            self.run(self.dispatcher.busy, seconds=1.0)
        self._save(settings)
        if comes_or_goes:
            self.run(lambda: set(self.dispatcher.registry.targets) == now)

    def _hour(self, events: int, ends: float) -> None:
        bulk = max(0, events - SINGLE_EDITS) // BULK_EDITS
        sizes = [bulk] * BULK_EDITS + [1] * min(events, SINGLE_EDITS)
        sizes[0] += events - sum(sizes)
        self._rng.shuffle(sizes)
        for number, size in enumerate(sizes):
            until = ends - HOUR * (len(sizes) - number - 1) / len(sizes)
            self._edit(size)
            if self._rng.random() < 0.5:
                for _ in range(self._rng.randrange(20)):  # so that the next change can come in the middle
                    self.step()
            self.run(seconds=until - self.ran)

    def _edit(self, events: int) -> None:
        if events == 1:
            self._note(lambda data: store.put(str(self.folder), data, self.wall))
            return
        conn, gate = store.open_queue(str(self.folder), 1.0)
        statement = schema.INSERT
        try:
            for _ in range(events):
                self._note(lambda data: conn.execute(statement, (data, self.wall)).lastrowid or 0)
        finally:
            conn.close()
            os.close(gate)

    def _note(self, put: Callable[[bytes], int]) -> None:
        edits = self.stash.edits
        scene = self._rng.randint(1, self._scenes)
        while edits[scene] == DESTROY:
            scene = self._rng.randint(1, self._scenes)
        kind = "update" if edits[scene] else "create"
        edits[scene] += 1
        self.put_events += 1
        if self._rng.random() < DESTROYED:
            kind, edits[scene] = "destroy", DESTROY
        event: dict[str, object] = {"scene": scene, "event": kind, "changed": ["title"], "at": self.wall}
        if kind == "destroy":
            event |= {"path": f"/media/{scene}.mp4", "oshash": "0123456789abcdef", "checksum": ""}
        self.last_seq[scene] = put(store.encode(event))
        for name in self._targets():
            self.expected[name][scene] = edits[scene]

    def _targets(self) -> Iterable[str]:
        return self.dispatcher.registry.targets

    # The outcome

    def outcome(self) -> dict[str, object]:
        """Counts and sizes of everything at the end."""
        dead = {(one.destination, one.scene_id): one.id for one in self.dlq.get_recent(ALL)}
        promised = delivered = buried = 0
        lost = []
        for name, expected in self.expected.items():
            for scene, number in enumerate(expected):
                promised += number > 0
                if number == 0:
                    continue
                if self.destinations[name].newest[scene] >= number:
                    delivered += 1
                elif (name, scene) in dead or self.purged.get((name, scene), 0) >= self.last_seq[scene]:
                    buried += 1
                else:
                    lost.append(f"{name} {scene}: {self.destinations[name].newest[scene]} of {number}")
        return {
            "promised": promised,
            "delivered": delivered,
            "dead": buried,
            "ever_dead": self.dlq.opened().execute(EVER_DEAD).fetchone()[0],
            "lost": lost[:5],
            "accepted": sum(destination.accepted for destination in self.destinations.values()),
            "events": self.put_events,
            "waiting": self.stranded + self.queue.size,
            "memory": self.memory,
            "restarts": self.restarts,
            "crashes": self.crashes,
            "highest": self.highest,
            "files": {name: (_size(self.folder / name), _used(self.folder / name)) for name in self.highest},
            "problems": [_integrity(self.folder / name) for name in self.highest],
        }


def _size(path: Path) -> int:
    """Size of a database in bytes, and of what its log has beyond the size that it may keep."""
    log = path.with_name(f"{path.name}-wal")
    return path.stat().st_size + max(0, (log.stat().st_size if log.exists() else 0) - LOG_BYTES)


def _used(path: Path) -> int:
    """Size of the used pages, in bytes."""
    with closing(sqlite3.connect(path)) as conn:
        pages, free, size = (
            int(conn.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count", "page_size")
        )
    return (pages - free) * size


def _integrity(path: Path) -> str:
    with closing(sqlite3.connect(path)) as conn:
        return str(conn.execute("PRAGMA integrity_check").fetchone()[0])


def _memory_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def run_soak(folder: Path, full: bool) -> Report:
    """A whole week in a separate process, or 26 hours in the reduced size."""
    events, scenes, hours = (200_000, 10_000, 7 * 24) if full else (4_000, 400, 26)
    report = Report()
    with fast_folder(folder) as place:
        command = [sys.executable, "-m", "tests.faults.soak", str(place), *map(str, (events, scenes, hours))]
        ran = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=LONGEST_SECONDS
        )
    if ran.returncode != 0:
        report.failures.append(f"the process failed: {ran.stderr[-3000:]}")
        return report
    result = json.loads(ran.stdout)
    report.promised, report.delivered, report.dead = (result[name] for name in ("promised", "delivered", "dead"))
    sizes = ", ".join(
        f"{name} peak {result['highest'][name] / 1e6:.1f} MB, {size / 1e6:.1f} at the end, {used / 1e6:.1f} used"
        for name, (size, used) in result["files"].items()
    )
    memory = result["memory"]
    warm = max(memory[: len(memory) // 3 + 1])
    report.done = (
        f"{hours} h, {result['events']} events of {scenes} scenes, {result['accepted']} deliveries; "
        f"{len(OUTAGES)} outages, {len(CHANGES)} changes of settings, {result['restarts']} restarts including "
        f"{result['crashes']} crashes; "
        f"{sizes}; memory {warm:.0f} MiB after a third, {max(memory):.0f} at most, {memory[-1]:.0f} at the end"
    )
    report.nothing_lost()
    report.expect(not result["lost"], f"lost, for example: {'; '.join(result['lost'])}")
    report.expect(result["waiting"] == 0, f"deliveries that never end: {result['waiting']}")
    report.expect(result["problems"] == ["ok", "ok"], f"a database is damaged: {result['problems']}")
    report.expect(result["ever_dead"], "there were no dead letters, so the row proved nothing about them")
    for name, (size, used) in result["files"].items():
        report.expect(size <= GROWTH * used, f"{name} has {size} bytes, of which {used} are used")
        peak = result["highest"][name]
        report.expect(peak > GROWTH * used, f"{name} had {peak} bytes at most, so the row proved nothing about it")
    report.expect(max(memory) <= warm + MEMORY_MIB, f"memory grows (MiB): {[round(mib, 1) for mib in memory]}")
    return report


ROWS = [
    Row(
        "soak",
        run_soak,
        [
            [
                Mutation(
                    "queue/deliveries/scene_queue.py",
                    "        transactions.shrink(self.connection, FREE_PAGES)\n",
                    "",
                )
            ],
            [
                Mutation(
                    "queue/dead_letters/dlq.py",
                    "        if deleted:\n            self._shrink()\n        return deleted",
                    "        return deleted",
                )
            ],
            [
                Mutation(
                    "worker/delivery/dispatcher.py",
                    "        for pool in retired:\n            self._put_back(pool.take_back())\n",
                    "        for pool in retired:\n            pool.take_back()\n",
                )
            ],
            [  # as much memory as an answer takes is kept for each delivery
                Mutation(
                    "worker/delivery/pool.py",
                    "\n\n@dataclass(frozen=True, slots=True)\nclass Job:",
                    "\n\nKEPT: list[object] = []\n\n\n@dataclass(frozen=True, slots=True)\nclass Job:",
                ),
                Mutation(
                    "worker/delivery/pool.py",
                    "        done, error = _tried(deliver)\n",
                    "        KEPT.append((job, bytes(2048)))\n        done, error = _tried(deliver)\n",
                ),
            ],
        ],
    ),
]


if __name__ == "__main__":
    with Soak(Path(sys.argv[1]), *map(int, sys.argv[2:])) as soak:
        soak.run_all()
        sys.stdout.write(json.dumps(soak.outcome()))
