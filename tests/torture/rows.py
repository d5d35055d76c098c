"""All rows of the fault suite, in the order in which they run."""

from __future__ import annotations

from tests.torture import away, clock, delegated, jobs, kills, openings, power, storage

_MODULES = (kills, delegated, power, openings, storage, clock, jobs, away)

ROWS = {row.name: row for module in _MODULES for row in module.ROWS}
