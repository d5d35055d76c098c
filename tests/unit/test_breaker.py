"""A destination's health: when it is held, how it is probed, and when it is well again."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.jobs import Attempt, Delivery
from stash_courier.worker.delivery import breaker
from stash_courier.worker.delivery.breaker import Health

NOW = 1_000_000.0


def after(
    health: Health,
    failure: Failure,
    scene_id: int = 1,
    *,
    now: float = NOW,
    probe: bool = False,
    retry_after: float | None = None,
    first: float | None = None,
) -> tuple[Health, tuple[int, ...]]:
    error = DeliveryFailed(failure, f"{failure} for scene {scene_id}", retry_after=retry_after)
    history = () if first is None else (Attempt(first, failure.value, ""),)
    delivery = Delivery(scene_id, "webhook:a", scene_id, "update", (), 1, NOW, history=history)
    return breaker.after_failure(health, error, delivery, now, probe=probe, rng=lambda: 0.5)


def ill(failure: Failure = Failure.UNREACHABLE) -> Health:
    health = Health()
    for scene_id in range(5):
        if health.state == "well":
            health, _ = after(health, failure, scene_id)
    assert health.state == "ill"
    return health


R, B, F = Failure.REFUSED, Failure.BUSY, Failure.FORBIDDEN
U, D, J = Failure.UNREACHABLE, Failure.DESTINATION, Failure.REJECTED
OK = None  # a delivery of another scene is accepted


@pytest.mark.parametrize(
    ("happens", "taken_back"),
    [
        ([(U, 1)], []),  # only the destination can be at fault
        ([(D, 1)], []),
        ([(B, 7), (B, 7), (B, 7)], []),  # overloaded: also if it is always the same scene
        ([(R, 1), (R, 1), (R, 2), (R, 3)], [1, 1, 2]),  # three scenes; the last was not counted
        ([(F, 1), (F, 2)], [1]),
        ([(J, 1), (J, 1), (J, 2), (J, 2), (J, 3)], [1, 1, 2, 2]),
        ([(J, 1), (R, 2), (U, 3)], [2]),  # the refused scene was looked at, so its dead letter stays
    ],
)
def test_the_failure_that_shows_a_fault_of_the_destination_holds_it(
    happens: list[tuple[Failure, int]], taken_back: list[int]
) -> None:
    """The last of these failures holds it, and what counted against scenes before is taken back."""
    health = Health()
    for failure, scene_id in happens[:-1]:
        health, took = after(health, failure, scene_id)
        assert (health.state, took) == ("well", ())
    health, took = after(health, *happens[-1])
    assert (health.state, health.since, sorted(took)) == ("ill", NOW, taken_back)
    assert breaker.may_send(health, NOW + 1) == "nothing"
    assert after(health, happens[-1][0], 9)[0] == health  # what was on its way already postpones no probe
    well = breaker.after_success(health, NOW + 60)
    assert (breaker.may_send(well, NOW + 60), well.last_success) == ("all", NOW + 60)


ITEM = (Failure.ITEM_REFUSED, Failure.NOT_THERE_YET, Failure.BUG, Failure.STASH)


@pytest.mark.parametrize("happens", [[R, OK], [J, J, OK], [B, B, OK], *([failure] for failure in ITEM)])
def test_a_fault_of_scenes_holds_no_others(happens: list[Failure | None]) -> None:
    """While other scenes are accepted, or if it says nothing about the destination, however many fail."""
    health = Health()
    for scene_id, failure in enumerate(happens * 30):
        health = after(health, failure, scene_id)[0] if failure else breaker.after_success(health, NOW)
        assert health.state == "well"


def test_messages_about_trouble_are_no_evidence_about_scenes() -> None:
    """Whether a receiver takes messages about trouble (negative ids) doesn't say whether it takes scenes."""
    health = Health()
    for slot in (-1, -2, -3, -4):
        health, took = after(health, Failure.REJECTED, slot)
        assert (health.state, took) == ("well", ())
    for scene_id in (1, 2):
        health, _ = after(health, Failure.REJECTED, scene_id)
        health = breaker.after_success(health, NOW, notice=True)
    assert (health.state, health.last_success) == ("well", 0.0)
    health, took = after(health, Failure.REJECTED, 3)
    assert (health.state, set(took)) == ("ill", {-1, -2, -3, -4, 1, 2})
    assert breaker.after_success(health, NOW, probe=True, notice=True).state == "ill"
    assert breaker.after_success(health, NOW, probe=True).state == "well"


@pytest.mark.parametrize(("accepted", "found"), [({}, NOW), ({"gone": True}, 5.0), ({"notice": True}, 5.0)])
def test_only_a_scene_that_stash_has_was_found(accepted: dict[str, bool], found: float) -> None:
    """A deletion and a message about trouble are accepted without finding the file of a scene."""
    assert breaker.after_success(Health(last_found=5.0), NOW, **accepted).last_found == found


def test_an_outage_is_probed_at_least_every_minute() -> None:
    """However long an outage lasts, it is probed at least once a minute."""
    health, now, waits = ill(), NOW, []
    for _ in range(1000):
        waits.append(health.until - now)
        now = health.until
        assert breaker.may_send(health, now) == "probe"
        health, _ = after(health, Failure.UNREACHABLE, now=now, probe=True)
    assert waits[:4] == pytest.approx([5.0, 10.0, 20.0, 30.0])
    assert max(waits) * 1.2 < 60.0


def test_a_fault_is_probed_more_and_more_rarely() -> None:
    """A wrong key isn't tried every few seconds, since that may lock the account."""
    health, now, waits = ill(Failure.DESTINATION), NOW, []
    for _ in range(10):
        waits.append(health.until - now)
        now = health.until
        health, _ = after(health, Failure.DESTINATION, now=now, probe=True)
    assert waits == sorted(waits)
    assert waits[-1] == pytest.approx(900.0)


@pytest.mark.parametrize("failure", [Failure.ITEM_REFUSED, Failure.NOT_THERE_YET])
def test_a_probe_that_is_answered_about_its_item_makes_it_well(failure: Failure) -> None:
    """A server that answers about the item works, whatever the answer is."""
    assert after(ill(), failure, probe=True)[0].state == "well"


def test_an_answer_about_one_item_is_neither_success_nor_failure() -> None:
    """It shows that the server works, but not that it accepts scenes."""
    assert breaker.after_answer(ill(), probe=True).state == "well"
    health, _ = after(Health(last_success=5.0), Failure.REFUSED, 1)
    health, _ = after(health, Failure.REFUSED, 2)
    health = breaker.after_answer(health, probe=False)
    assert (health.state, health.last_success) == ("well", 5.0)
    health, took = after(health, Failure.REFUSED, 3)
    assert (health.state, took) == ("ill", (1, 2))  # the last was not counted
    gone, _ = after(Health(), Failure.GONE)
    assert breaker.after_answer(gone, probe=False).state == "gone"
    waits, _ = after(Health(), Failure.BUSY, retry_after=100.0)
    assert breaker.may_send(breaker.after_answer(waits, probe=False), NOW + 1) == "nothing"


def test_retry_after_holds_the_whole_destination() -> None:
    """A 429 with Retry-After holds the whole destination, since it is about the receiver's load."""
    health, _ = after(Health(), Failure.BUSY, retry_after=120.0)
    assert health.state == "well"
    assert breaker.may_send(health, NOW + 119) == "nothing"
    assert breaker.may_send(health, NOW + 121) == "all"


def test_gone_waits_for_new_settings() -> None:
    """A destination that answered 410 gets nothing until its settings change."""
    health, _ = after(replace(Health(), fingerprint="old"), Failure.GONE)
    assert breaker.may_send(health, NOW + 1e9) == "nothing"
    assert breaker.configured(health, "old").state == "gone"
    assert breaker.may_send(breaker.configured(health, "new"), NOW) == "all"


def test_a_person_can_have_a_gone_destination_tried() -> None:
    """ "Deliver now" probes a destination that answered 410; the others follow only if the probe is accepted."""
    health, _ = after(Health(), Failure.GONE)
    assert breaker.may_send(breaker.expedited(health, NOW), NOW) == "probe"
    assert after(breaker.expedited(health, NOW), Failure.GONE, probe=True)[0].state == "gone"


def test_new_settings_are_a_new_start() -> None:
    """A person who corrects a key doesn't wait for the next probe."""
    health = replace(ill(Failure.DESTINATION), fingerprint="old")
    assert breaker.configured(health, "old") == health
    assert breaker.may_send(breaker.configured(health, "new"), NOW) == "all"


def test_health_survives_a_restart() -> None:
    """A destination's health is the same after a restart of the worker."""
    health, _ = after(Health(), Failure.REFUSED, 3)
    assert breaker.from_json(asdict(health)) == health


@pytest.mark.parametrize("between", [None, Failure.ITEM_REFUSED, Failure.NOT_THERE_YET])
def test_a_wait_that_was_asked_for_outlasts_what_ran_beside(between: Failure | None) -> None:
    """A Retry-After stays in force, whatever happens to deliveries that started before it."""
    health, _ = after(Health(), Failure.BUSY, retry_after=600.0)
    if between is None:
        health = breaker.after_success(health, NOW + 1)
    else:
        health, _ = after(health, between, 2, now=NOW + 1)
    assert breaker.may_send(health, NOW + 599) == "nothing"
    assert "scene 1" in health.reason
    assert breaker.may_send(health, NOW + 600) == "all"
    assert breaker.after_success(health, NOW + 601).retry_at == 0.0


@pytest.mark.parametrize("failure", [Failure.STASH, Failure.BUG])
def test_a_probe_that_says_nothing_of_the_destination_leaves_its_reason(failure: Failure) -> None:
    """The stored reason of an outage isn't replaced by a failure that says nothing about the destination."""
    before = ill()
    health, _ = after(before, failure, 99, now=before.until, probe=True)
    assert health == replace(before, until=health.until, probed_at=before.until)
    assert before.until < health.until <= before.until + 60.0


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_a_jump_of_the_clock_changes_no_wait(jump: float) -> None:
    """What is left of a hold, or of a wait that was asked for, is the same after the wall clock has jumped."""
    for health in (ill(), after(Health(), Failure.BUSY, retry_after=600.0)[0]):
        left = breaker.opens_at(health) - NOW
        assert left > 0
        assert breaker.opens_at(breaker.shifted(health, jump)) - (NOW + jump) == pytest.approx(left)


DAMAGED = [{"streak": 5}, {"until": None}, {"retry_at": "x"}, {"state": "sick"}, {"probes": 1.5}, {"forced": 1}]


@pytest.mark.parametrize("stored", [{}, {"state_of_others": "ill"}, *DAMAGED])
def test_a_damaged_state_counts_as_a_new_destination(stored: dict[str, object]) -> None:
    """A stored health that can't be read stops nothing."""
    assert breaker.from_json(stored) == Health()


def refused_often() -> Health:
    """Held by three scenes that were refused, then well again after a success."""
    return breaker.after_success(ill(Failure.REFUSED), NOW + 60)


def test_scenes_that_fail_before_and_after_a_success_hold_no_others() -> None:
    """Once another scene was accepted, scenes that failed before count for themselves."""
    health = refused_often()
    for scene_id in range(10):
        health, took = after(health, Failure.REFUSED, scene_id, now=NOW + 61, first=NOW)
        assert (health.state, took) == ("well", ())


def test_an_outage_that_returns_after_one_success_is_still_one() -> None:
    """If very many scenes that failed before fail again in a row, or a few others, it is the destination."""
    health = refused_often()
    for scene_id in range(breaker.MANY_REPEATS):
        assert health.state == "well"
        health, took = after(health, Failure.REFUSED, scene_id, now=NOW + 61, first=NOW)
    assert health.state == "ill"
    assert took == tuple(range(breaker.MANY_REPEATS - 1))
    health, _ = after(refused_often(), Failure.REFUSED, 1, now=NOW + 61, first=NOW)
    for scene_id in (2, 3, 4):
        health, took = after(health, Failure.REFUSED, scene_id, now=NOW + 62)
    assert (health.state, sorted(took)) == ("ill", [1, 2, 3])


def test_an_edit_that_never_failed_is_tried_soon() -> None:
    """While scenes are refused, a newer edit is tried 5 s after the last probe, and during an outage it isn't."""
    for failure, soon in ((Failure.REFUSED, True), (Failure.UNREACHABLE, False)):
        health = ill(failure)
        for _ in range(5):
            health, _ = after(health, failure, now=health.until, probe=True)
        regular = health.until
        assert breaker.opens_at(health) == regular
        assert breaker.opens_at(health, health.probed_at - 1) == regular
        assert breaker.opens_at(health, health.probed_at + 1) == (health.probed_at + 5 if soon else regular)


def test_only_a_person_shortens_a_wait_that_was_asked_for() -> None:
    """ "Deliver now" lets one delivery through before a Retry-After ends. Only its success ends the wait."""
    health, _ = after(Health(), Failure.BUSY, retry_after=600.0)
    health = breaker.expedited(health, NOW + 1)
    assert breaker.may_send(health, NOW + 1) == "probe"
    assert breaker.opens_at(health) == 0.0
    beside = breaker.after_success(health, NOW + 2)
    assert breaker.may_send(beside, NOW + 2) == "probe"
    failed, _ = after(health, Failure.BUSY, now=NOW + 2, probe=True)
    assert breaker.may_send(failed, NOW + 599) == "nothing"
    assert breaker.opens_at(failed) == NOW + 600
    assert breaker.may_send(breaker.after_success(health, NOW + 2, probe=True), NOW + 2) == "all"
    assert not breaker.expedited(Health(), NOW + 601).forced
