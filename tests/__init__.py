"""Tests, benchmarks and the demo. Importing this registers the checkout as ``stash_courier``."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent

if "stash_courier" not in sys.modules:
    package = ModuleType("stash_courier")
    package.__path__ = [str(ROOT)]
    sys.modules["stash_courier"] = package
