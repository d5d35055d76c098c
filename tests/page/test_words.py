"""plugin/ui/page/shared/words.js: numbers and times as a person reads them."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from tests import ROOT

NOW = 1_778_853_600  # 2026-05-15 14:00 UTC, 16:00 in Berlin

CASES = {
    "number(1234567)": "1,234,567",
    "plural(1, 'scene')": "1 scene",
    "plural(0, 'scene')": "0 scenes",
    "plural(2000, 'entry', 'entries')": "2,000 entries",
    "duration(0.31)": "0.3 s",
    "duration(9)": "9 s",
    "duration(9.96)": "10 s",
    "duration(59.4)": "59 s",
    "duration(60)": "1 minute",
    "duration(7200)": "2 hours",
    "duration(86400 * 3 + 5)": "3 days",
    f"ago({NOW - 2}, {NOW})": "just now",
    f"ago({NOW + 60}, {NOW})": "just now",  # the clocks differ
    f"ago({NOW - 300}, {NOW})": "5 minutes ago",
    f"ahead({NOW}, {NOW})": "now",
    f"ahead({NOW + 7300}, {NOW})": "in 2 hours",
    f"clock({NOW}, {NOW})": "16:00",
    f"clock({NOW - 86400}, {NOW})": "May 14, 16:00",
    f"clock({NOW - 16 * 3600 - 1}, {NOW})": "May 14, 23:59",
    f"clock({NOW - 86400 * 365}, {NOW})": "May 15, 2025, 16:00",
}


def test_words() -> None:
    """Every case reads as a person expects it, in the zone of the browser."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not on this machine, so the page's words can't be checked")
    file = (ROOT / "plugin" / "ui" / "page" / "shared" / "words.js").as_uri()
    names = "number, plural, duration, ago, ahead, clock"
    script = f"import {{ {names} }} from '{file}'; console.log(JSON.stringify([{', '.join(CASES)}]));"
    command = [node, "--no-warnings", "--input-type=module", "--eval", script]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, check=True, timeout=60, env={"TZ": "Europe/Berlin", "PATH": ""}
    )
    assert dict(zip(CASES, json.loads(done.stdout), strict=True)) == CASES
