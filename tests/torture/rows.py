"""All rows of the fault suite, in the order in which they run."""

from __future__ import annotations

from tests.torture import away, clock, delegated, hell, hostile, jobs, kills, old, openings, power, storage, week

_MODULES = (kills, delegated, power, openings, storage, clock, jobs, away, old, hell, hostile, week)

ROWS = {row.name: row for module in _MODULES for row in module.ROWS}
