"""All rows of the fault suite, in the order they run."""

from __future__ import annotations

from tests.faults import (
    bad_receivers,
    clock,
    delegated,
    hostile,
    jobs,
    kills,
    openings,
    package_updates,
    power,
    replaced,
    soak,
    starving,
    stash_outages,
    storage,
    upgrades,
)

_MODULES = (
    kills,
    delegated,
    power,
    replaced,
    openings,
    package_updates,
    storage,
    clock,
    jobs,
    stash_outages,
    upgrades,
    bad_receivers,
    hostile,
    starving,
    soak,
)

ROWS = {row.name: row for module in _MODULES for row in module.ROWS}
