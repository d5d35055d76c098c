"""Makes ``stash_courier`` importable before pytest imports any test module."""

import tests  # noqa: F401
