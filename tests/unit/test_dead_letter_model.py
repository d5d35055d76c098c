"""The dead letter queue against a model: whatever is done, each dead letter is where it should be, and counted.

COURIER_FULL=1 runs many more.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from stash_courier.queue.dead_letters import listing
from stash_courier.queue.dead_letters.dlq import DAY, DeadLetterQueue
from stash_courier.queue.dead_letters.listing import UNDO_SECONDS, Selection
from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.jobs import CorruptRow, Delivery
from tests.support.durable import START, Clock

FULL = bool(os.environ.get("COURIER_FULL"))
ERRORS = {"refused": DeliveryFailed(Failure.REFUSED, "It answered 500."), "KeyError": KeyError("x")}
PLACES = ("plex", "hook", "")  # the last one is of rows that can't be decoded


@dataclass
class Letter:
    """What is known of a dead letter."""

    id: int
    destination: str
    scene: int
    error: str
    failed_at: float
    state: str = "dead"
    waits_for: int | None = None
    reviewed: bool = False
    batch: float | None = None

    @property
    def open(self) -> bool:
        return self.state in {"dead", "asked"}

    def fits(self, one: Selection) -> bool:
        """Whether a selection means it."""
        return (
            self.open
            and (one.ids is None or self.id in one.ids)
            and one.error_type in {None, self.error}
            and one.destination in {None, self.destination}
            and (one.text is None or one.text in f"film {self.scene}" or one.text == str(self.scene))
            and (one.as_of is None or self.failed_at <= one.as_of)
        )

    def can_be_asked(self, one: Selection) -> bool:
        """Whether a selection has it sent again."""
        known = self.destination != "" and self.destination not in one.deleted
        return self.fits(one) and self.state == "dead" and known


selections = st.one_of(
    st.just(Selection()),
    st.just(Selection(deleted=("plex",))),
    st.lists(st.integers(1, 9), min_size=1, max_size=5, unique=True).map(lambda ids: Selection(tuple(ids))),
    st.sampled_from(PLACES).map(lambda place: Selection(destination=place)),
    st.sampled_from([*ERRORS]).map(lambda error: Selection(error_type=error)),
    st.sampled_from(["film 2", "film", "2"]).map(lambda text: Selection(text=text)),
    st.integers(0, 100).map(lambda ago: Selection(as_of=START + ago)),
    st.builds(Selection, st.just((1, 2, 5)), st.sampled_from([*ERRORS]), st.sampled_from(PLACES)),
)


LOOKS = (Selection(), Selection(destination="plex", text="film 1"), Selection(as_of=START + 50))


class DeadLetters(RuleBasedStateMachine):
    """The queue and the model, side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = Clock()
        self.letters: dict[int, Letter] = {}
        self.open()
        for place in PLACES:
            self.fail(place, {1, 2, 3}, "refused")
            self.clock.now += 1

    def open(self) -> None:
        self.dlq = DeadLetterQueue(self.folder, clock=self.clock)
        self.dlq.opened().execute("PRAGMA synchronous = OFF")  # no power cut here

    def teardown(self) -> None:
        self.dlq.close()
        shutil.rmtree(self.folder)

    def move(self, letter: Letter, state: str, *, delivered: bool = False) -> None:
        """Changes a state. Those that wait for one that ends are released by its delivery, and by nothing else."""
        letter.state = state
        if state not in {"asked", "back"}:
            for other in self.letters.values():
                if other.waits_for == letter.id:
                    other.waits_for = 0 if delivered else None
        if state != "dead":
            letter.waits_for = None

    def meant(self, fits: Callable[[Letter], bool]) -> list[Letter]:
        """The dead letters that fit, newest first."""
        found = [letter for letter in self.letters.values() if fits(letter)]
        return sorted(found, key=lambda letter: (-letter.failed_at, -letter.id))

    def fitting(self, selection: Selection) -> list[Letter]:
        return self.meant(lambda one: one.fits(selection))

    # What happens

    @rule(
        place=st.sampled_from(PLACES),
        scenes=st.sets(st.integers(1, 3), min_size=1),
        error=st.sampled_from([*ERRORS]),
    )
    def fail(self, place: str, scenes: set[int], error: str) -> None:
        for scene in sorted(scenes):
            self.add(place, scene, error)

    def add(self, place: str, scene: int, error: str) -> None:
        row = CorruptRow(scene, place, 0, b"{", "why")
        job = Delivery(1, place, scene, "update", (), 1, START) if place else row
        dead_letter = self.dlq.add(job, ERRORS[error], 1, title=f"Film {scene}")
        known = self.letters.get(dead_letter)
        same = [one for one in self.letters.values() if (one.destination, one.scene) == (place, scene)]
        assert same == ([known] if known else [])
        letter = Letter(dead_letter, place, scene, error, self.clock.now)
        if known:
            letter = replace(letter, waits_for=known.waits_for)
            self.move(known, "dead")
        self.letters[dead_letter] = letter

    @rule(
        selection=selections, what=st.sampled_from(["ask", "ask_carefully", "ask_carefully", "discard", "review"])
    )
    def person(self, selection: Selection, what: str) -> None:
        getattr(self, what)(selection)

    def ask(self, selection: Selection) -> None:
        letters = self.meant(lambda one: one.can_be_asked(selection))
        assert self.dlq.ask(selection) == len(letters)
        for letter in letters:
            self.move(letter, "asked")

    def ask_carefully(self, selection: Selection) -> None:
        letters = self.meant(lambda one: one.can_be_asked(selection))
        if selection.ids is not None:
            order = [*selection.ids]
            letters.sort(key=lambda one: order.index(one.id))
        asked, waiting = self.dlq.ask_carefully(selection)
        assert (asked, waiting) == ((letters[0].id, len(letters) - 1) if letters else (None, 0))
        for letter in letters[1:]:
            letter.waits_for = letters[0].id
        if letters:
            self.move(letters[0], "asked")

    def discard(self, selection: Selection) -> None:
        self.delete_discarded()
        letters = self.fitting(selection)
        batch = self.dlq.discard(selection)
        assert batch.count == len(letters)
        assert batch.at not in {one.batch for one in self.letters.values() if one.state == "discarded"}
        for letter in letters:
            self.move(letter, "discarded")
            letter.batch = batch.at

    @precondition(lambda self: any(one.state == "discarded" for one in self.letters.values()))
    @rule(data=st.data())
    def undo(self, data: st.DataObject) -> None:
        found = {one.batch for one in self.letters.values() if one.state == "discarded" and one.batch}
        batch = data.draw(st.sampled_from(sorted(found)))
        letters = self.meant(lambda one: one.state == "discarded" and one.batch == batch)
        assert self.dlq.restore(batch) == len(letters)
        for letter in letters:
            self.move(letter, "dead")

    @rule()
    def redrive(self) -> None:
        for letter in self.letters.values():
            if letter.waits_for == 0:
                self.move(letter, "asked")
        asked = self.dlq.asked()
        assert [one.id for one in asked] == sorted(i for i, one in self.letters.items() if one.state == "asked")
        for dead_letter in asked[:2]:
            with self.dlq.redriving(dead_letter.id) as is_asked:
                assert is_asked
            self.move(self.letters[dead_letter.id], "back")

    @rule(data=st.data(), delivered=st.booleans())
    def end(self, data: st.DataObject, delivered: bool) -> None:
        """The worker ends a delivery: that of one that was sent again, or of any other."""
        known = [one for one in self.letters.values() if one.destination]
        awaited = {one.waits_for for one in known}
        sent = [one for one in known if one.id in awaited or one.state == "back"] or known
        if sent:
            one = data.draw(st.sampled_from(sent))
            self.resolve(one.destination, one.scene, delivered)

    def resolve(self, place: str, scene: int, delivered: bool) -> None:
        self.dlq.resolve(place, scene, delivered=delivered)
        for letter in self.letters.values():
            if (letter.destination, letter.scene) == (place, scene) and letter.state != "resolved":
                self.move(letter, "resolved", delivered=delivered)

    @rule(data=st.data(), what=st.sampled_from(["recall", "delete_connection", "restart"]))
    def other(self, data: st.DataObject, what: str) -> None:
        place = data.draw(st.sampled_from(PLACES[:2]))
        if what == "recall":
            self.recall(place, data.draw(st.sets(st.integers(1, 3))))
        elif what == "delete_connection":
            self.delete_connection(place)
        else:
            self.restart()

    def recall(self, place: str, scenes: set[int]) -> None:
        since = self.clock.now - 100
        letters = self.meant(
            lambda one: (
                one.destination == place and one.scene in scenes and one.state == "dead" and one.failed_at >= since
            )
        )
        assert self.dlq.recall(place, scenes, since) == len(letters)
        for letter in letters:
            self.move(letter, "asked")

    def delete_connection(self, place: str) -> None:
        """Those of a deleted connection wait for none, and none waits for them."""
        self.dlq.end_waiting(place)
        for letter in self.letters.values():
            first = self.letters.get(letter.waits_for or 0)
            if letter.destination == place or (first is not None and first.destination == place):
                letter.waits_for = None

    @rule(seconds=st.sampled_from([1, 50, 400, 700]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    def delete_discarded(self) -> None:
        over = self.meant(
            lambda one: one.state == "discarded" and (one.batch or 0) <= self.clock.now - UNDO_SECONDS
        )
        assert self.dlq.delete_discarded() == len(over)
        for letter in over:
            del self.letters[letter.id]

    def review(self, selection: Selection) -> None:
        letters = self.fitting(selection)
        self.dlq.mark_reviewed([one.id for one in letters])
        for letter in letters:
            letter.reviewed = True

    @rule(seconds=st.sampled_from([0, 60, 700]), unseen=st.sampled_from([None, 0, 300]))
    def purge(self, seconds: float, unseen: float | None) -> None:
        self.delete_discarded()
        before = self.clock.now - seconds
        unseen_before = before if unseen is None else self.clock.now - unseen
        gone = self.meant(
            lambda one: (
                one.failed_at < before
                and (
                    one.state == "resolved"
                    or (one.state == "dead" and (one.reviewed or one.failed_at < unseen_before))
                )
            )
        )
        assert self.dlq.delete_older_than(seconds / DAY, unseen_before=unseen_before) == len(gone)
        for letter in gone:
            self.move(letter, "resolved")
            del self.letters[letter.id]

    def restart(self) -> None:
        self.dlq.close()
        self.open()
        self.dlq.end_waiting()  # as heal does; what waits, waits for one that is on its way

    # What is there

    @invariant()
    def each_is_where_it_should_be(self) -> None:
        found = {i: one for i in range(1, max(self.letters, default=0) + 1) if (one := self.dlq.get_by_id(i))}
        assert {
            i: (one.destination, one.error_type, one.failed_at, one.state, one.waits_for)
            for i, one in found.items()
        } == {
            i: (one.destination, one.error, one.failed_at, one.state, one.waits_for)
            for i, one in self.letters.items()
        }

    @invariant()
    def all_are_counted(self) -> None:
        counts = Counter((one.destination, one.error) for one in self.letters.values() if one.open)
        assert self.dlq.get_count() == counts.total()
        assert {(one.destination, one.error_type): one.count for one in self.dlq.groups()} == counts
        newest = [one for one in self.letters.values() if one.open and one.failed_at >= self.clock.now - 50]
        assert self.dlq.count_since(self.clock.now - 50) == len(newest)
        unseen = [one for one in self.letters.values() if one.state == "dead" and not one.reviewed]
        assert self.dlq.count_unseen(-1) == len(unseen)

    @invariant()
    def a_page_lists_what_there_was_at_its_time(self) -> None:
        """It counts what failed later, and says what can be undone."""
        for number, selection in enumerate(LOOKS, 1):
            page = listing.page(self.dlq.opened(), selection, self.clock.now, number, 2)
            fitting = self.fitting(replace(selection, as_of=page.as_of))
            all_fitting = self.fitting(replace(selection, as_of=None))
            assert (page.matching, page.newer) == (len(fitting), len(all_fitting) - len(fitting))
            start = (page.number - 1) * 2
            assert [row.id for row in page.rows] == [one.id for one in fitting[start : start + 2]]
        dead = self.meant(lambda one: one.state == "dead")
        assert self.dlq.count_unsendable() == len([one for one in dead if not one.can_be_asked(Selection())])
        last = max((one.batch or 0 for one in self.letters.values() if one.state == "discarded"), default=0)
        discarded = listing.discarded(self.dlq.opened(), self.clock.now)
        assert (discarded.at if discarded else 0) == (last if last > self.clock.now - UNDO_SECONDS else 0)


TestDeadLetters = DeadLetters.TestCase
TestDeadLetters.settings = settings(max_examples=200 if FULL else 10, stateful_step_count=50 if FULL else 25)
