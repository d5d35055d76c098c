"""How people know what the code calls by keys: settings by the names on Stash's page, failures by words.

Stash's page shows no keys, so whatever a button says goes through ``spoken``. Worker, log file and JSON keep
the keys, which programs and a search in the settings need.
"""

from __future__ import annotations

import re

from stash_courier.worker.settings import LABELS

# What stands between « and » is a title or a name already; a key in a path or an assignment is part of that.
_KEY = re.compile(rf"«[^»]*»|(?<![\w/\\.-])({'|'.join(LABELS)})(?![\w/\\=-]|\.\w)")


def spoken(text: str) -> str:
    """The text with each setting's key, where it is a word of its own, replaced by the «name» on Stash's page."""
    return _KEY.sub(lambda found: f"«{LABELS[found[1]]}»" if found[1] else found[0], text)
