"""Which destinations are usable, waiting or removed, by what the settings say."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from stash_courier.worker.delivery.breaker import Health
from stash_courier.worker.delivery.registry import classify
from stash_courier.worker.destinations import Loaded

NOW = 1_000_000.0
ILL = Health(state="ill", fingerprint="same", since=NOW - 60)


@dataclass(frozen=True)
class Named:
    """A destination as far as classification needs it."""

    id: str
    fingerprint: str = "same"


def sort(
    stored: dict[str, Health],
    *named: Named,
    unusable: tuple[str, ...] = (),
    broken: tuple[str, ...] = (),
    empty: bool = False,
) -> dict[str, Health]:
    loaded = Loaded({one.id: one for one in named}, (), frozenset(broken), unusable)  # type: ignore[misc]
    return classify(stored, loaded, empty=empty, now=NOW)


def test_a_destination_keeps_its_health_until_its_settings_change() -> None:
    """A restart doesn't reset a destination that is held; a corrected setting does."""
    assert sort({"plex": ILL}, Named("plex")) == {"plex": ILL}
    assert sort({"plex": ILL}, Named("plex", "other"))["plex"].state == "well"
    assert sort({}, Named("plex"))["plex"].state == "well"


def test_a_destination_that_is_not_named_any_more_is_removed_since_now() -> None:
    """The 30 days for its deliveries begin when it is removed, and don't begin again later."""
    known = sort({"plex": ILL}, Named("webhook:a"))
    assert known["plex"].removed_at == NOW
    assert known["webhook:a"].removed_at == 0.0
    earlier = sort({"plex": Health(removed_at=5.0)}, Named("webhook:a"))
    assert earlier["plex"].removed_at == 5.0


def test_a_destination_that_is_named_again_is_not_removed() -> None:
    """A destination that is set up again gets its deliveries."""
    known = sort({"plex": Health(removed_at=5.0, fingerprint="same")}, Named("plex"))
    assert known == {"plex": Health(fingerprint="same")}


def test_empty_settings_remove_nothing() -> None:
    """After Stash lost its configuration, deliveries wait for the destinations that were set up."""
    known = sort({"plex": ILL, "webhook:a": Health(removed_at=5.0)}, empty=True)
    assert known["plex"] == ILL
    assert known["webhook:a"].removed_at == 5.0  # its owner had removed it before


def test_an_invalid_setting_removes_no_destination_of_its_kind() -> None:
    """With a typo in one webhook's URL, all webhooks that were set up keep getting deliveries."""
    stored = {"webhook:a": Health(fingerprint="same"), "webhook:b": Health(), "plex": Health()}
    known = sort(stored, Named("webhook:a"), broken=("webhook",))
    assert set(known) == {"webhook:a", "webhook:b", "plex"}
    assert [name for name, health in known.items() if health.removed_at] == ["plex"]


@pytest.mark.parametrize("stored", [{}, {"webhook:b": Health(removed_at=5.0)}], ids=["new", "removed before"])
def test_a_destination_that_waits_for_a_correction_gets_deliveries(stored: dict[str, Health]) -> None:
    """A destination with an invalid setting is set up: its deliveries wait for the correction."""
    known = sort(stored, unusable=("webhook:b",), broken=("webhook",))
    assert known == {"webhook:b": Health()}
