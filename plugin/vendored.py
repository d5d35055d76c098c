"""Where the third-party packages are. The hook needs none and never calls this.

``python3 -S`` starts without site-packages, since other people's ``.pth`` files there would cost
every hook; whoever needs packages asks for them here.
"""

from __future__ import annotations

import os
import site
import sys


def add(root: str) -> None:
    """Puts ``lib/`` of an installed plugin first on the path, or a checkout's site-packages.

    First, because the official image ships another package that also imports as ``stashapi``.
    """
    lib = os.path.join(root, "lib")
    if os.path.isdir(lib):
        sys.path.insert(0, lib)
    elif sys.flags.no_site:
        site.main()
