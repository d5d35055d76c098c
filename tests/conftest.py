"""Makes ``stash_courier`` importable before pytest imports any test module."""

from hypothesis import settings

import tests  # noqa: F401

# An example may take long on a busy machine; pytest-timeout ends one that hangs.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")
