"""queue/dead_letters/statements.py: the totals that triggers keep are what counting the rows gives."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.dead_letters.listing import Selection
from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.jobs import Delivery
from tests.support.durable import DEST, START, Clock


class Totals(RuleBasedStateMachine):
    """Whatever is done, the totals are what counting gives."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = Clock()
        self.dlq = DeadLetterQueue(self.folder, clock=self.clock)

    def teardown(self) -> None:
        self.dlq.close()
        shutil.rmtree(self.folder)

    @rule(scene=st.integers(1, 4), where=st.sampled_from([DEST, "plex"]), known=st.booleans())
    def bury(self, scene: int, where: str, known: bool) -> None:
        job = Delivery(1, where, scene, "update", (), 1, START)
        error = DeliveryFailed(Failure.REFUSED, "It answered 500.") if known else KeyError("x")
        self.dlq.add(job, error, 1)

    @rule(ids=st.none() | st.lists(st.integers(1, 8)), error=st.sampled_from([None, "refused", "KeyError"]))
    def ask(self, ids: list[int] | None, error: str | None) -> None:
        self.dlq.ask(Selection(ids, error))

    @rule(ids=st.none() | st.lists(st.integers(1, 8)), where=st.sampled_from([None, DEST, "plex"]))
    def discard(self, ids: list[int] | None, where: str | None) -> None:
        self.dlq.discard(Selection(ids, destination=where))

    @rule(ids=st.none() | st.lists(st.integers(1, 8)))
    def ask_carefully(self, ids: list[int] | None) -> None:
        self.dlq.ask_carefully(Selection(ids))

    @rule()
    def restore(self) -> None:
        if batch := self.dlq.discarded():
            assert self.dlq.restore(batch.at) == batch.count

    @rule(seconds=st.sampled_from([1, 700]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(dead_letter=st.integers(1, 8), state=st.sampled_from(["dead", "asked", "back", "resolved"]))
    def move(self, dead_letter: int, state: str) -> None:
        self.dlq.set_state(dead_letter, state)

    @rule(scene=st.integers(1, 4))
    def resolve(self, scene: int) -> None:
        self.dlq.resolve(DEST, scene, delivered=bool(scene % 2))

    @rule(days=st.sampled_from([-1, 1]))
    def purge(self, days: int) -> None:
        self.dlq.delete_older_than(days)

    @invariant()
    def none_waits_in_vain(self) -> None:
        """What waits, waits for one that is on its way."""
        if self.dlq.path.exists():
            with closing(sqlite3.connect(self.dlq.path)) as conn:
                assert not conn.execute(
                    "SELECT 1 FROM waiting w LEFT JOIN dead_letters f ON f.id = w.first "
                    "LEFT JOIN dead_letters d ON d.id = w.id WHERE coalesce(d.state, '') != 'dead' "
                    "OR w.first != 0 AND coalesce(f.state, '') NOT IN ('asked', 'back')"
                ).fetchall()

    @invariant()
    def one_for_each_scene(self) -> None:
        """A scene has one dead letter per destination, or a redrive and its end would find different ones."""
        if not self.dlq.path.exists():
            return
        with closing(sqlite3.connect(self.dlq.path)) as conn:
            rows = conn.execute("SELECT destination, scene_id FROM dead_letters").fetchall()
        assert len(rows) == len(set(rows))

    @invariant()
    def counted(self) -> None:
        if not self.dlq.path.exists():
            return
        with closing(sqlite3.connect(self.dlq.path)) as conn:
            counted = conn.execute(
                "SELECT error_type, destination, count(*) FROM dead_letters WHERE state IN ('dead', 'asked') "
                "GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2"
            ).fetchall()
            groups = conn.execute(
                "SELECT group_key, destination, error_type, group_text, count(*) FROM dead_letters "
                "WHERE state IN ('dead', 'asked') GROUP BY 1, 2, 3 ORDER BY 5 DESC, 2, 1"
            ).fetchall()
        assert [
            (one.key, one.destination, one.error_type, one.text, one.count) for one in self.dlq.groups()
        ] == groups
        assert self.dlq.count_by_error() == counted
        assert self.dlq.get_count() == sum(row[2] for row in counted) == len(self.dlq.get_recent(limit=99))


TestTotals = Totals.TestCase
TestTotals.settings = settings(max_examples=40, stateful_step_count=20)
