"""Puts the third-party packages on the path. The hook needs none and never calls this.

``python3 -S`` starts without site-packages, because the ``.pth`` files there would slow down every hook.
"""

from __future__ import annotations

import os
import site
import sys


def add(root: str) -> None:
    """Puts ``lib/`` of the plugin's folder first on the path, or adds site-packages in a checkout.

    ``lib/`` comes first because the official image ships another package that also imports as ``stashapi``.
    """
    lib = os.path.join(root, "lib")
    if os.path.isdir(lib):
        sys.path.insert(0, lib)
    elif sys.flags.no_site:
        site.main()
