"""When Stash is asked, for what, and what is known from its answers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stash_courier.worker.stash.poller import (
    NEVER,
    RETRY_SECONDS,
    STATE_IDLE_SECONDS,
    STATE_TROUBLED_SECONDS,
    Facts,
    Poller,
    Topic,
)

IDLE = Facts(newest_seq=0, scenes_wanted=False, troubled=False, sweep_in=NEVER, renewal_in=None)


class Clock:
    """Monotonic seconds that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Asking:
    """A poller with its clock, asked and answered as the dispatcher does it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.poller = Poller(self.clock)
        self.seq = 0  # of the newest event

    def due(self, facts: Facts = IDLE) -> Topic | None:
        """What is asked now, if anything."""
        pending = self.poller.pending(replace(facts, newest_seq=self.seq))
        return next((question.topic for question in pending if question.wait <= 0), None)

    def wait(self, facts: Facts = IDLE) -> float:
        """Seconds until something is asked."""
        return min(question.wait for question in self.poller.pending(replace(facts, newest_seq=self.seq)))

    def answer(self, *, enabled: bool = True) -> None:
        """Asks, and Stash answers."""
        self.poller.asked(self.seq)
        self.poller.ended()
        self.poller.answered(enabled=enabled)

    def fail(self) -> None:
        """Asks, and Stash doesn't answer."""
        self.poller.asked(self.seq)
        self.poller.ended()
        self.poller.failed()


@pytest.fixture
def new() -> Asking:
    return Asking()


@pytest.fixture
def asking() -> Asking:
    """Stash has just answered that the plugin is enabled."""
    asking = Asking()
    asking.answer()
    return asking


def test_a_new_worker_asks_for_the_settings_first(new: Asking) -> None:
    """Nothing is swept or delivered before Stash has said that the plugin is enabled."""
    assert not new.poller.ready
    assert not new.poller.knows_settings
    assert new.due(replace(IDLE, sweep_in=0.0)) == "state"
    new.answer()
    assert new.poller.ready
    assert new.poller.knows_settings
    assert new.due(replace(IDLE, sweep_in=0.0)) == "sweep"


def test_one_question_is_on_its_way_at_a_time(asking: Asking) -> None:
    """While an answer is awaited, nothing else is asked, however urgent."""
    asking.seq = 1
    asking.poller.asked(1)
    assert asking.poller.awaiting
    assert asking.poller.pending(replace(IDLE, newest_seq=2, scenes_wanted=True)) == []
    asking.poller.ended()
    assert asking.due() == "state"


def test_scenes_come_before_a_sweep_and_a_sweep_before_the_settings(asking: Asking) -> None:
    """Deliveries wait for nothing less important; the answer to each question contains the settings."""
    asking.clock.now += STATE_IDLE_SECONDS
    wanted = replace(IDLE, scenes_wanted=True, sweep_in=0.0)
    pending = asking.poller.pending(wanted)
    assert [question.topic for question in pending] == ["scenes", "sweep", "state"]
    assert all(question.wait <= 0 for question in pending)


@pytest.mark.parametrize(
    ("troubled", "enabled", "seconds"),
    [
        (False, True, STATE_IDLE_SECONDS),
        (True, True, STATE_TROUBLED_SECONDS),
        (False, False, STATE_TROUBLED_SECONDS),
    ],
)
def test_settings_are_read_again_by_themselves(
    asking: Asking, troubled: bool, enabled: bool, seconds: float
) -> None:
    """A corrected setting is noticed within a minute, and within 15 s while something is wrong."""
    asking.answer(enabled=enabled)
    facts = replace(IDLE, troubled=troubled)
    assert asking.wait(facts) == seconds
    asking.clock.now += seconds - 1
    assert asking.due(facts) is None
    asking.clock.now += 1
    assert asking.due(facts) == "state"


def test_an_event_has_the_settings_read_before_it_is_routed(asking: Asking) -> None:
    """Events up to ``known_seq`` are older than the settings; one that comes during the question is not."""
    asking.seq = 5
    assert asking.due(replace(IDLE, sweep_in=0.0)) == "state"
    asking.poller.asked(5)
    asking.seq = 6
    asking.poller.ended()
    asking.poller.answered(enabled=True)
    assert asking.poller.known_seq == 5
    assert asking.due() == "state"
    asking.answer()
    assert asking.poller.known_seq == 6
    assert asking.due() is None


def test_a_stash_that_is_away_is_asked_less_and_less_often(asking: Asking) -> None:
    """While Stash is away it is asked every 30 s at last, whatever waits, and the worker sleeps in between."""
    urgent = replace(IDLE, scenes_wanted=True, sweep_in=0.0, renewal_in=0.0)
    for seconds in (*RETRY_SECONDS, RETRY_SECONDS[-1]):
        asking.fail()
        assert not asking.poller.ready
        assert asking.due(urgent) is None
        assert asking.wait(urgent) == seconds
        asking.clock.now += seconds
        assert asking.due() == "state"
    assert asking.poller.gone_seconds == sum((*RETRY_SECONDS, RETRY_SECONDS[-1]))
    asking.answer()
    assert asking.poller.ready
    assert asking.poller.gone_seconds == 0.0
    asking.fail()
    assert asking.wait() == RETRY_SECONDS[0]


def test_an_event_shows_that_stash_is_back(asking: Asking) -> None:
    """An edit after a long outage is not kept waiting for the next attempt: its hook shows that Stash runs."""
    for _ in range(5):
        asking.fail()
    asking.seq = 1
    assert asking.wait() == RETRY_SECONDS[0]
    asking.clock.now += RETRY_SECONDS[0]
    assert asking.due() == "state"
    asking.fail()
    assert asking.wait() == RETRY_SECONDS[-1]  # that event has been used up


def test_a_call_of_the_page_shows_that_stash_is_back(asking: Asking) -> None:
    """It brings a fresh session, so the next attempt comes at once, but not more often than every second."""
    for _ in range(5):
        asking.fail()
    assert asking.wait() == RETRY_SECONDS[-1]
    assert asking.wait(replace(IDLE, new_address=True)) == RETRY_SECONDS[0]


def test_a_person_who_presses_a_button_gets_current_settings(asking: Asking) -> None:
    """Requested settings were asked for after the request; an answer that was on its way doesn't count."""
    asking.clock.now += 1.0
    asking.poller.asked(0)
    asking.clock.now += 1.0
    assert not asking.poller.request_state()
    asking.poller.ended()
    asking.poller.answered(enabled=True)
    assert not asking.poller.request_state()
    assert asking.due() == "state"
    asking.answer()
    assert asking.poller.request_state()
    assert asking.due() is None


def test_a_person_who_presses_a_button_ends_the_wait_for_stash(asking: Asking) -> None:
    """After "Deliver now" Stash is asked at once, even in the middle of a pause."""
    for _ in range(5):
        asking.fail()
    asking.clock.now += 1.0
    assert asking.due() is None
    assert not asking.poller.request_state()
    assert asking.due() == "state"


def test_a_disabled_plugin_sweeps_and_sends_nothing(asking: Asking) -> None:
    """While the plugin is disabled in Stash, only the settings are asked for."""
    asking.answer(enabled=False)
    assert not asking.poller.ready
    assert asking.due(replace(IDLE, sweep_in=0.0)) is None
    assert asking.poller.knows_settings
