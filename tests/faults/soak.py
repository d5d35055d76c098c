"""A week in fast-forward: events, outages, restarts and changes of settings; nothing is lost, nothing grows.

Files, queue, dead letters, dispatcher, recorder and lanes are the worker's own, in a process of their own
whose memory is looked at. Stash and the destinations stand in that process too, without HTTP, and time jumps
to what is due next: else a week would last a week. Single edits are put by the hook's own function; those of
bulk edits by its statement alone, on a connection that stays open. With real processes and sockets, but for
minutes, the rows ``kills`` and ``fire`` do the same.
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
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from stash_courier.queue import files, schema, store
from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.jobs import Delivery, Scene, SceneFile
from stash_courier.worker import destinations, main
from stash_courier.worker.destinations import CheckReport, Unusable
from stash_courier.worker.runtime import Runtime
from stash_courier.worker.settings import Problem, Settings
from stash_courier.worker.stash.client import (
    FetchedScenes,
    PluginState,
    Stash,
    StashUnavailable,
    SweepPage,
    SweepQuestion,
)
from tests import ROOT
from tests.faults.field import ALL, fast_folder
from tests.faults.row import Mutation, Report, Row
from tests.support.fast_forward import FastForward

DAY = 86_400.0
HOUR = 3600.0
NIGHT = 12 * HOUR
BULKS, SINGLES = 3, 12  # bulk edits and single ones in an hour
IN_THE_MIDDLE = 150  # edits just before a change of settings: more than are fetched at once
DESTROYED = 0.005  # of the events
HICCUPS = 0.01  # of the deliveries are answered with 500 once
DESTROY = 1 << 40  # the number of an edit after which there is no other
GROWN = 2.0  # a file's size over its live size, at the end
MEMORY_MIB = 6.0  # that the process may grow by, after a first third of warm-up
LONGEST_SECONDS = 1500.0


@dataclasses.dataclass(frozen=True)
class Trouble:
    """Something that goes on for a while: who is hit, and how."""

    begins: float  # share of the whole time
    ends: float
    who: str  # a destination, or "stash"
    failure: Failure | None = None
    share: float = 1.0  # of the deliveries
    retry_after: float | None = None


TROUBLES = (
    Trouble(0.04, 0.10, "near:a", Failure.UNREACHABLE),
    Trouble(0.12, 0.20, "stash"),
    Trouble(0.22, 0.27, "near:b", Failure.BUSY, retry_after=900.0),
    Trouble(0.23, 0.32, "near:a", Failure.ITEM_REFUSED, 0.9),
    Trouble(0.34, 0.42, "near:a", Failure.REFUSED),
    Trouble(0.36, 0.44, "near:b", Failure.DESTINATION),
    Trouble(0.47, 0.55, "stash"),
    Trouble(0.50, 0.58, "near:a", Failure.UNREACHABLE),
    Trouble(0.50, 0.60, "near:b", Failure.BUSY),
    Trouble(0.62, 0.66, "near:c", Failure.FORBIDDEN),
    Trouble(0.68, 0.72, "near:b", Failure.GONE),
    Trouble(0.76, 0.80, "near:a", Failure.NOT_THERE_YET, 0.3),
    Trouble(0.82, 0.88, "stash"),
    Trouble(0.86, 0.90, "near:a", Failure.BUSY),
    Trouble(0.93, 0.98, "near:b", Failure.ITEM_REFUSED, 0.05),
)
A, B, C = "near:a", "near:b", "near:c"
COMMON = {"near_a": "1", "near_b": "1", "dead_letter_retention_days": 1, "sweep_off": True}
# What the owner does on the page, and when: each replaces the settings before.
CHANGES: Sequence[tuple[float, Mapping[str, object]]] = (
    (0.00, COMMON),
    (0.06, {**COMMON, "delivery_concurrency": 8}),
    (0.15, {**COMMON, "near_c": "1", "delivery_settle_seconds": 30}),  # while Stash is away
    (0.29, {}),  # as after a page that was saved empty
    (0.30, {**COMMON, "near_c": "1"}),
    (0.38, {**COMMON, "near_a": "2", "near_c": "1", "delivery_max_attempts": 3}),
    (0.46, {**COMMON, "near_b": "broken", "near_a": "broken", "near_c": "broken"}),
    (0.57, {**COMMON, "near_c": "1", "delivery_retry_schedule": "1m 10m"}),
    (0.64, {**COMMON, "near_c": "2", "delivery_concurrency": "many"}),
    (0.68, COMMON),  # c is removed, with what waits for it
    (0.73, {**COMMON, "near_b": "2", "near_c": "2"}),  # c is back, and b, which had said that it is gone
    (0.85, {**COMMON, "near_b": "2", "near_c": "2", "delivery_settle_seconds": 5}),
    (0.97, {**COMMON, "near_b": "2", "near_c": "2"}),
)
RESTARTS = 20  # every other one is a crash
RETRIES = (0.33, 0.45)  # the owner presses «Retry dead letters»


class Near:
    """A destination in this process, with the books on what it took."""

    def __init__(self, name: str, scenes: int) -> None:
        self.id = name
        self.fingerprint = ""
        self.newest = array("q", bytes(8 * (scenes + 1)))  # by scene: the number of the newest edit it took
        self.trouble: Trouble | None = None
        self.took = 0
        self._tried = bytearray(scenes + 1)
        self._lock = threading.Lock()

    def deliver(self, delivery: Delivery, scene: Scene | None, cover: bytes = b"") -> bytes:
        """Takes it, or has the trouble of now."""
        trouble, lot = self.trouble, random.Random(delivery.seq).random()
        if trouble is not None and trouble.failure is not None and lot < trouble.share:
            raise DeliveryFailed(trouble.failure, "It is in trouble.", retry_after=trouble.retry_after)
        with self._lock:
            if lot > 1 - HICCUPS and not self._tried[delivery.scene_id]:
                self._tried[delivery.scene_id] = 1
                raise DeliveryFailed(Failure.REFUSED, "It has the hiccups.", status=500)
            self._tried[delivery.scene_id] = 0
            number = DESTROY if scene is None else int(scene.title)
            self.newest[delivery.scene_id] = max(self.newest[delivery.scene_id], number)
            self.took += 1
        return b""

    def check(self, scene: Scene | None) -> CheckReport:
        """Never asked."""
        return CheckReport(True, ())

    def close(self) -> None:
        """Has no connections."""


class NearStash(Stash):
    """Stash in this process: scenes by the numbers of their edits."""

    def __init__(self, folder: Path, scenes: int) -> None:
        super().__init__(folder)
        self.edits = array("q", bytes(8 * (scenes + 1)))
        self.settings: Mapping[str, object] = {}
        self.away = False

    def scenes(self, ids: Collection[int]) -> FetchedScenes:
        """The scenes as they are now."""
        return FetchedScenes({scene: self._scene(scene) for scene in ids}, {}, self.plugin_state())

    def plugin_state(self) -> PluginState:
        """The settings as they are now."""
        if self.away:
            raise StashUnavailable("it is away")
        return PluginState(self.settings, True)

    def sweep_page(self, question: SweepQuestion) -> SweepPage:
        """Nothing has changed: what the sweep finds is shown elsewhere."""
        return SweepPage((), True, None, self.plugin_state(), self._clock())

    def keep_alive_in(self) -> float | None:
        """There is no session."""
        return None

    def close(self) -> None:
        """Has no connection."""

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


class Week(FastForward):
    """The worker, its chores, its owner and its troubles; a context manager.

    Args:
        folder: empty.
        events: how many in all.
        scenes: how many Stash has.
        hours: how long, in its own time.
    """

    def __init__(self, folder: Path, events: int, scenes: int, hours: int) -> None:
        self.stash = NearStash(folder / "data", scenes)
        super().__init__(folder / "data", self.stash)
        self.near = {name: Near(name, scenes) for name in (A, B, C)}
        self.expected = {name: array("q", bytes(8 * (scenes + 1))) for name in self.near}
        self.last_seq = array("q", bytes(8 * (scenes + 1)))  # by scene
        self.purged: dict[tuple[str, int], int] = {}  # (destination, scene) → seq: dead letters past retention
        self.memory: list[float] = []  # MiB, again and again
        self.highest = dict.fromkeys((files.QUEUE_DB, files.DLQ_DB), 0)  # bytes of the files at most
        self.crashes = self.restarts = self.put_events = self.stranded = 0
        self._events, self._scenes, self._hours = events, scenes, hours
        self._rng = random.Random(20260107)
        self._next = {"tidy": 0.0, "purge": 0.0}  # by its own clock
        destinations.modules = lambda: [cast(Any, SimpleNamespace(KIND="near", configure=self._configure))]

    def _configure(
        self, raw: Mapping[str, object], _settings: Settings, _cover: object
    ) -> tuple[list[Near | Unusable], list[Problem]]:
        made: list[Near | Unusable] = []
        wrong = []
        for name, near in self.near.items():
            key = _key(name)
            if raw.get(key) == "broken":
                made.append(Unusable(name))
                wrong.append(Problem(key, "It can't be used."))
            elif raw.get(key):
                near.fingerprint = f"{key} {raw[key]}"
                made.append(near)
        return made, wrong

    # The worker

    def step(self) -> float:
        """One round of the worker's loop, with its chores."""
        wait = super().step()
        if self.ran >= self._next["tidy"]:
            self._next["tidy"] = self.ran + main.TIDY_SECONDS
            for name in self.highest:
                if (file := self.folder / name).exists():
                    self.highest[name] = max(self.highest[name], file.stat().st_size)
            self.queue.tidy()
        if self.dispatcher.poller.knows_settings and self.ran >= self._next["purge"]:
            self._next["purge"] = self.ran + main.PURGE_SECONDS
            self._purge()
        return wait

    def _purge(self) -> None:
        days = self.dispatcher.registry.settings.dead_letter_retention_days
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
        """Ends the worker, as it ends or as a kill does, and after ``off`` seconds starts another on its files."""
        self.memory.append(_memory_mib())
        if not crash:
            Runtime.finish(cast(Runtime, self), main.GRACE_SECONDS)
        self.__exit__()
        self.restarts += 1
        self.crashes += crash
        self._next["purge"] = 0.0
        self.jump(off)
        self.__enter__()

    # The week

    def live(self) -> None:
        """All of it; at the end nothing waits any more."""
        hours = self._hours
        each = self._events // hours
        happenings = self._happenings()
        for hour in range(hours):
            while happenings and happenings[0][0] <= hour / hours:
                happenings.pop(0)[1]()
            events = each if hour + 1 < hours else self._events - each * (hours - 1)
            self._hour(events, (hour + 1) * HOUR)
        while happenings:
            happenings.pop(0)[1]()
        self.run(lambda: self.queue.empty() and not self.dispatcher.busy(), seconds=DAY)
        self.stranded = self.queue.size
        self.restart(crash=False, off=NIGHT)
        self.run(seconds=HOUR)
        self.memory.append(_memory_mib())

    def _happenings(self) -> list[tuple[float, Callable[[], object]]]:
        found: list[tuple[float, Callable[[], object]]] = []
        for trouble in TROUBLES:
            found.append((trouble.begins, partial(self._trouble, trouble.who, trouble)))
            found.append((trouble.ends, partial(self._trouble, trouble.who, None)))
        found += [(at, partial(self._change, settings)) for at, settings in CHANGES]
        found += [(n / (RESTARTS + 1), partial(self.restart, crash=n % 2 == 1)) for n in range(1, RESTARTS)]
        found += [(at, self._retry_dead_letters) for at in RETRIES]
        return sorted(found, key=lambda one: one[0])

    def _retry_dead_letters(self) -> None:
        self.dlq.ask()

    def _trouble(self, who: str, trouble: Trouble | None) -> None:
        if who == "stash":
            self.stash.away = trouble is not None
        else:
            self.near[who].trouble = trouble

    def _change(self, settings: Mapping[str, object]) -> None:
        """Changes the settings in the middle of deliveries.

        Where a destination comes or goes the worker takes in before what there is, so that it is certain which
        events are its concern.
        """
        changed = (self.stash.settings, settings)
        before, now = ({name for name in self.near if given.get(_key(name))} for given in changed)
        comes_or_goes = bool(before) and bool(now) and before != now and not self.stash.away
        if comes_or_goes:
            self.run(self.queue.inbox_empty)
        else:
            self._edit(IN_THE_MIDDLE)
            self.run(self.dispatcher.busy, seconds=1.0)
        self.stash.settings = settings
        if comes_or_goes:
            self.run(lambda: set(self.dispatcher.registry.targets) == now)

    def _hour(self, events: int, ends: float) -> None:
        bulk = max(0, events - SINGLES) // BULKS
        sizes = [bulk] * BULKS + [1] * min(events, SINGLES)
        sizes[0] += events - sum(sizes)
        self._rng.shuffle(sizes)
        for number, size in enumerate(sizes):
            until = ends - HOUR * (len(sizes) - number - 1) / len(sizes)
            self._edit(size)
            if self._rng.random() < 0.5:
                for _ in range(self._rng.randrange(20)):  # and something may happen in the middle
                    self.step()
            self.run(seconds=until - self.ran)

    def _edit(self, events: int) -> None:
        if events == 1:
            self._note(lambda data: store.put(str(self.folder), data, self.wall))
            return
        conn, gate = store.open_queue(str(self.folder), 1.0)
        statement = schema.INSERT.format(table_name=schema.INBOX)
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

    # The books

    def judge(self) -> dict[str, object]:
        """What became of all of it."""
        dead = {(one.destination, one.scene_id): one.id for one in self.dlq.get_recent(ALL)}
        promised = delivered = buried = 0
        lost = []
        for name, expected in self.expected.items():
            for scene, number in enumerate(expected):
                promised += number > 0
                if number == 0:
                    continue
                if self.near[name].newest[scene] >= number:
                    delivered += 1
                elif (name, scene) in dead or self.purged.get((name, scene), 0) >= self.last_seq[scene]:
                    buried += 1
                else:
                    lost.append(f"{name} {scene}: {self.near[name].newest[scene]} of {number}")
        return {
            "promised": promised,
            "delivered": delivered,
            "dead": buried,
            "lost": lost[:5],
            "took": sum(near.took for near in self.near.values()),
            "events": self.put_events,
            "waiting": self.stranded + self.queue.size,
            "memory": self.memory,
            "restarts": self.restarts,
            "crashes": self.crashes,
            "highest": self.highest,
            "files": {name: (_size(self.folder / name), _live(self.folder / name)) for name in self.highest},
            "problems": [_sound(self.folder / name) for name in self.highest],
        }


def _key(name: str) -> str:
    return name.replace(":", "_")


def _size(path: Path) -> int:
    """Bytes of a database with its log."""
    files = (path, path.with_name(f"{path.name}-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


def _live(path: Path) -> int:
    """Bytes of the pages that hold something."""
    with closing(sqlite3.connect(path)) as conn:
        pages, free, size = (
            int(conn.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count", "page_size")
        )
    return (pages - free) * size


def _sound(path: Path) -> str:
    with closing(sqlite3.connect(path)) as conn:
        return str(conn.execute("PRAGMA integrity_check").fetchone()[0])


def _memory_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def run_week(folder: Path, full: bool) -> Report:
    """The whole week in a process of its own; a shorter one in the reduced size."""
    events, scenes, hours = (200_000, 10_000, 7 * 24) if full else (4_000, 400, 26)
    report = Report()
    with fast_folder(folder) as place:
        command = [sys.executable, "-m", "tests.faults.soak", str(place), *map(str, (events, scenes, hours))]
        ran = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=LONGEST_SECONDS
        )
    if ran.returncode != 0:
        report.failures.append(f"it ended in the middle: {ran.stderr[-3000:]}")
        return report
    saw = json.loads(ran.stdout)
    report.promised, report.delivered, report.dead = (saw[name] for name in ("promised", "delivered", "dead"))
    sizes = ", ".join(
        f"{name} {saw['highest'][name] / 1e6:.1f} MB at most, {size / 1e6:.1f} at the end, {live / 1e6:.1f} live"
        for name, (size, live) in saw["files"].items()
    )
    memory = saw["memory"]
    warm = max(memory[: len(memory) // 3 + 1])
    report.done = (
        f"{hours} h, {saw['events']} events of {scenes} scenes, {saw['took']} deliveries; "
        f"{len(TROUBLES)} outages, {len(CHANGES)} changes of settings, {saw['restarts']} restarts of which "
        f"{saw['crashes']} crashes; "
        f"{sizes}; memory {warm:.0f} MiB after a third, {max(memory):.0f} at most, {memory[-1]:.0f} at the end"
    )
    report.nothing_lost()
    report.expect(not saw["lost"], f"lost, for example: {'; '.join(saw['lost'])}")
    report.expect(saw["waiting"] == 0, f"{saw['waiting']} deliveries wait for ever")
    report.expect(saw["problems"] == ["ok", "ok"], f"a database is damaged: {saw['problems']}")
    report.expect(report.dead > 0, "nothing was buried, so nothing was shown about dead letters")
    for name, (size, live) in saw["files"].items():
        report.expect(size <= GROWN * live, f"{name} has {size} bytes of which {live} are live")
        peak = saw["highest"][name]
        report.expect(peak > GROWN * live, f"{name} never had more than {peak} bytes, so nothing was shown")
    report.expect(max(memory) <= warm + MEMORY_MIB, f"memory grows: {[round(mib, 1) for mib in memory]}")
    return report


ROWS = [
    Row(
        "week",
        run_week,
        [
            [Mutation("queue/scene_queue.py", "        transactions.shrink(self._conn, FREE_PAGES)\n", "")],
            [
                Mutation(
                    "queue/dlq.py",
                    "        if deleted:\n            self._shrink()\n        log.info",
                    "        log.info",
                )
            ],
            [
                Mutation(
                    "worker/delivery/dispatcher.py",
                    "        for pool in self.registry.configure(state.settings):\n"
                    "            self._put_back(pool.take_back())\n",
                    "        for pool in self.registry.configure(state.settings):\n            pool.take_back()\n",
                )
            ],
            [  # of each delivery as much as an answer is kept
                Mutation("worker/delivery/pool.py", "SUBMITTED = 2\n", "SUBMITTED = 2\nKEPT: list[object] = []\n"),
                Mutation(
                    "worker/delivery/pool.py",
                    '    cover = b""\n    try:\n',
                    '    cover = b""\n    KEPT.append((job, bytes(2048)))\n    try:\n',
                ),
            ],
        ],
    ),
]


if __name__ == "__main__":
    with Week(Path(sys.argv[1]), *map(int, sys.argv[2:])) as week:
        week.live()
        sys.stdout.write(json.dumps(week.judge()))
