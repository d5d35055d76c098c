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
    soak,
    starving,
    stash_outages,
    storage,
)

_MODULES = (
    kills,
    delegated,
    power,
    openings,
    package_updates,
    storage,
    clock,
    jobs,
    stash_outages,
    bad_receivers,
    hostile,
    starving,
    soak,
)

ROWS = {row.name: row for module in _MODULES for row in module.ROWS}
