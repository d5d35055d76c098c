"""Makes ``stash_courier`` importable before any test module is."""

import tests  # noqa: F401
