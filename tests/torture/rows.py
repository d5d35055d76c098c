"""All rows of the fault suite, in the order in which they run."""

from __future__ import annotations

from tests.torture import kills, power

_MODULES = (kills, power)

ROWS = {row.name: row for module in _MODULES for row in module.ROWS}
