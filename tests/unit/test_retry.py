"""What happens to a failed delivery, for each row of the table in queue/failures.py."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.jobs import Attempt, Delivery
from stash_courier.worker.connections.model import Absent, Policy
from stash_courier.worker.delivery.retry import NOT_FOUND_SECONDS, Decision, decide
from tests.support.media_samples import scene

NOW = 1_000_000.0
SCHEDULE = (5.0, 300.0, 1800.0)
DAY = 86_400.0
POLICY = Policy(10, 1, SCHEDULE, 0.0, 15.0)


def delivery(**counts: int) -> Delivery:
    return Delivery(1, "webhook:a", 7, "update", (), 10, NOW, **counts)  # type: ignore[arg-type]


def decided(
    failure: Failure,
    job: Delivery | None = None,
    *,
    held: bool = False,
    max_attempts: int = 10,
    retry_after: float | None = None,
    again_in: float | None = None,
    rng: float = 0.5,
    now: float = NOW,
) -> Decision:
    return decide(
        job or delivery(),
        DeliveryFailed(failure, "it failed", retry_after=retry_after, again_in=again_in),
        now,
        held=held,
        policy=replace(POLICY, attempts=max_attempts),
        rng=lambda: rng,
    )


@pytest.mark.parametrize("failure", [Failure.UNREACHABLE, Failure.BUSY, Failure.STASH])
@pytest.mark.parametrize("tries", [0, 5, 5000])
def test_no_answer_burns_nothing(failure: Failure, tries: int) -> None:
    """However long there is no answer, no attempt counts and there is no dead letter."""
    decision = decided(failure, delivery(attempts=tries), max_attempts=1)
    assert not decision.bury
    assert decision.delivery.counted_attempts == 0
    assert decision.delivery.attempts == tries + 1


@pytest.mark.parametrize(("tries", "wait"), [(0, 5.0), (1, 300.0), (2, 1800.0), (3, 1800.0), (90, 1800.0)])
def test_the_schedule_is_followed_and_its_last_step_repeats(tries: int, wait: float) -> None:
    """A delivery is retried on the owner's schedule, whose last step repeats."""
    assert decided(Failure.BUSY, delivery(attempts=tries)).due == pytest.approx(NOW + wait)
    refused = decided(Failure.REFUSED, delivery(counted_attempts=tries, attempts=tries), max_attempts=100)
    assert refused.due == pytest.approx(NOW + wait)


@pytest.mark.parametrize(("rng", "factor"), [(0.0, 0.8), (0.999999, 1.2)])
def test_tries_are_spread_by_a_fifth(rng: float, factor: float) -> None:
    """Deliveries that failed together are not retried all at once."""
    assert decided(Failure.BUSY, rng=rng).due == pytest.approx(NOW + 5.0 * factor, rel=1e-3)


def test_retry_after_is_obeyed() -> None:
    """A delivery isn't retried before the time that the receiver named."""
    assert decided(Failure.BUSY, retry_after=3600.0).due == NOW + 3600.0


@pytest.mark.parametrize("failure", [Failure.REFUSED, Failure.BUG])
def test_refusals_count_and_the_last_one_buries(failure: Failure) -> None:
    """A scene that is always refused becomes a dead letter after the owner's number of attempts."""
    job = delivery()
    for attempt in range(1, 4):
        decision = decided(failure, job, max_attempts=3)
        job = decision.delivery
        assert job.counted_attempts == attempt
        assert decision.bury == (attempt == 3)


SERVER_WORKS = {Failure.ITEM_REFUSED, Failure.NOT_THERE_YET, Failure.NEVER_THERE}  # so it isn't held


@pytest.mark.parametrize("failure", [f for f in Failure if f not in SERVER_WORKS])
def test_nothing_is_buried_while_the_destination_waits_as_a_whole(failure: Failure) -> None:
    """An outage leaves no dead letters, whatever the settings; only our own bugs count."""
    decision = decided(failure, held=True, max_attempts=2)
    assert not decision.bury
    assert decision.delivery.counted_attempts == (1 if failure is Failure.BUG else 0)


@pytest.mark.parametrize("failure", [Failure.ITEM_REFUSED, Failure.FORBIDDEN, Failure.REJECTED])
def test_what_can_never_succeed_is_a_dead_letter_at_once(failure: Failure) -> None:
    """A scene that the destination will never accept is reported at once."""
    assert decided(failure).bury


@pytest.mark.parametrize("absent", ["wait", "skip", "dead_letter"])
@pytest.mark.parametrize(("age", "young"), [(0.0, True), (DAY - 1, True), (DAY + 1, False), (-DAY, True)])
@pytest.mark.parametrize("zone", ["+00:00", "+05:30"])
def test_a_scene_that_the_server_lacks(absent: Absent, age: float, young: bool, zone: str) -> None:
    """An old scene waits, is skipped or is a dead letter at once, as its connection says; a young one waits."""
    hours, minutes = map(int, zone[1:].split(":"))
    offset = timezone(timedelta(hours=hours, minutes=minutes))
    created = datetime.fromtimestamp(NOW - age, offset).isoformat(timespec="seconds")
    policy = replace(POLICY, absent=absent)
    error = DeliveryFailed(Failure.NOT_THERE_YET, "it isn't there")

    def again(job: Delivery) -> Decision:
        one = scene(created_at=created)
        return decide(job, error, NOW, held=False, policy=policy, rng=lambda: 0.5, scene=one)

    first = again(delivery())
    last = again(delivery(not_found=sum(NOT_FOUND_SECONDS)))
    at_once = absent != "wait" and not young
    assert (first.skip, first.bury) == (at_once and absent == "skip", at_once and absent == "dead_letter")
    assert (last.skip, last.bury) == (absent == "skip", absent != "skip")


@pytest.mark.parametrize("absent", ["wait", "skip", "dead_letter"])
def test_a_scene_that_the_server_will_never_have(absent: Absent) -> None:
    """It is skipped or a dead letter at its first attempt, also if it came to Stash a moment ago."""
    young = scene(created_at=datetime.fromtimestamp(NOW, timezone(timedelta())).isoformat())
    error = DeliveryFailed(Failure.NEVER_THERE, "it never will be there")
    policy = replace(POLICY, absent=absent)
    decision = decide(delivery(), error, NOW, held=False, policy=policy, rng=lambda: 0.5, scene=young)
    assert (decision.skip, decision.bury) == (absent == "skip", absent != "skip")


def test_a_scene_whose_age_is_unknown_is_old() -> None:
    """A time that can't be read keeps nothing waiting."""
    assert not replace(POLICY, absent="skip").waits_for(scene(created_at="yesterday"), NOW)


def looked(job: Delivery, at: float, failure: Failure = Failure.NOT_THERE_YET) -> Delivery:
    """The delivery after a failed attempt was recorded."""
    return replace(job, history=(*job.history, Attempt(at, failure, "It failed.")))


@pytest.mark.parametrize("rng", [0.0, 0.999])
@pytest.mark.parametrize("again_in", [None, 20.0, 500.0])
def test_an_item_that_is_not_there_yet_has_two_hours(again_in: float | None, rng: float) -> None:
    """A media server has two hours to scan a new file, then the scene becomes a dead letter.

    If it is known when to look again, that is done then.
    """
    job, now, looks = delivery(), NOW, 0
    while not (
        decision := decided(Failure.NOT_THERE_YET, job, again_in=again_in, max_attempts=1, rng=rng, now=now)
    ).bury:
        assert again_in is None or 0 <= decision.due - now - again_in <= 1.0 or now > NOW + 6000
        job, now, looks = looked(decision.delivery, now), decision.due, looks + 1
    assert 115 * 60 < now - NOW < 132 * 60
    assert again_in is not None or looks < 15
    assert job.counted_attempts == 0


def test_a_server_that_says_at_once_is_asked_a_second_later() -> None:
    """However soon a media server wants to be asked again, there is a second in between."""
    assert decided(Failure.NOT_THERE_YET, again_in=0.0).due == NOW + 1.0


def test_buttons_do_not_shorten_the_two_hours() -> None:
    """Attempts that a person causes come early. Only the time that has passed counts."""
    job = delivery()
    for n in range(200):
        decision = decided(Failure.NOT_THERE_YET, job, now=NOW + n)
        assert not decision.bury
        job = looked(decision.delivery, NOW + n)


def test_an_outage_does_not_shorten_the_two_hours() -> None:
    """While the media server couldn't be asked, it had no chance. While no worker ran, little counts."""
    job = looked(decided(Failure.NOT_THERE_YET).delivery, NOW)
    away = looked(job, NOW + 9000, Failure.UNREACHABLE)
    assert not decided(Failure.NOT_THERE_YET, away, now=NOW + 9030).bury
    assert not decided(Failure.NOT_THERE_YET, job, now=NOW + 90_000).bury


def test_a_postponed_delivery_waits_as_long_as_it_says() -> None:
    """However often it is postponed, it is no dead letter, and nothing counts against it."""
    job = delivery()
    for n in range(500):
        decision = decided(Failure.POSTPONED, job, again_in=90.0, max_attempts=1, now=NOW + n)
        assert (decision.bury, decision.skip, decision.due) == (False, False, NOW + n + 90.0)
        job = looked(decision.delivery, NOW + n, Failure.POSTPONED)
    assert (job.counted_attempts, job.not_found) == (0, 0)
