"""plugin/log.py: what it writes, read as Stash reads it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stash_courier.plugin import log
from tests import ROOT

LEVELS = {"i": log.info, "w": log.warning, "e": log.error}
STASH_LINE_LIMIT = 64 * 1024  # bytes; Go's bufio.Scanner gives up at this, and Stash with it
IMPORT_LOG = f"""
import sys, types
package = types.ModuleType("stash_courier")
package.__path__ = [{str(ROOT)!r}]
sys.modules["stash_courier"] = package
from stash_courier.plugin import log
"""


def read_as_stash(written: bytes) -> list[tuple[str, str]]:
    """Level and message of each line, as Stash's pkg/logger/plugin.go reads them.

    A line without a level, which Stash logs at ``errLog`` with its control characters, fails.
    """
    lines = []
    for line in written.removesuffix(b"\n").split(b"\n"):
        assert len(line) < STASH_LINE_LIMIT
        assert len(line) >= 4
        assert (line[0], line[2]) == (1, 2)
        lines.append((chr(line[1]), line[3:].decode("utf-8").strip()))
    return lines


@pytest.mark.parametrize("level", LEVELS)
def test_levels(level: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Each message appears in Stash's log once, at its own level."""
    LEVELS[level]("scene 5 was delivered")
    assert read_as_stash(capfd.readouterr().err.encode()) == [(level, "scene 5 was delivered")]


@pytest.mark.parametrize(
    ("fraction", "shown"),
    [(0, 0), (0.25, 0.25), (1, 1), (-3, 0), (7.5, 1), (1e-9, 0), (float("inf"), 1), (float("nan"), 0)],
)
def test_progress(fraction: float, shown: float, capfd: pytest.CaptureFixture[str]) -> None:
    """A task's progress bar in Stash shows how much is done, always from 0 to 1."""
    log.progress(fraction)
    ((level, text),) = read_as_stash(capfd.readouterr().err.encode())
    assert (level, float(text)) == ("p", shown)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two\nlines", r"two\nlines"),
        ("back\r over\tit", r"back\r over\tit"),
        ("\x01e\x02forged", r"\x01e\x02forged"),
        ("bell\x07 \x1b[31mred\x7f\x85", r"bell\x07 \x1b[31mred\x7f\x85"),
        ("caf\udce9", r"caf\udce9"),
        ("a\u2028b\u2029c", r"a\u2028b\u2029c"),
        ("gpj.\u202etxt\u202c \u2066x\u2069 \u200f\u061c", r"gpj.\u202etxt\u202c \u2066x\u2069 \u200f\u061c"),
        ("👩\u200d👩\u200d👧 🏴 é", "👩\u200d👩\u200d👧 🏴 é"),
        ("שלום עולם مرحبا", "שלום עולם مرحبا"),
        (r"C:\Videos\new", r"C:\Videos\new"),
        ("  indented  text", "··indented  text"),
        ("", ""),
    ],
)
def test_one_call_is_one_readable_line(text: str, shown: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A title can't break, forge or reverse a line of the log; ordinary text in any language is unchanged."""
    log.info(text)
    assert read_as_stash(capfd.readouterr().err.encode()) == [("i", shown)]


@pytest.mark.parametrize("character", ["x", "é", "…", "🎬", "\x00", "\udce9", " "])
def test_long_text_is_cut(character: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A title of a megabyte is cut visibly, so that Stash keeps reading the log."""
    log.info(character * 1_000_000)
    written = capfd.readouterr().err.encode()
    ((_, text),) = read_as_stash(written)
    assert text.endswith("…")
    assert 3900 < len(written) <= 4096  # PIPE_BUF: lines of two processes don't mix


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(write=st.sampled_from(list(LEVELS.values())), text=st.text(st.characters()))
def test_any_text(write: Callable[[str], None], text: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Any text is one line of Stash's log."""
    write(text)
    assert len(read_as_stash(capfd.readouterr().err.encode())) == 1


def test_utf8_whatever_the_locale() -> None:
    """A title in any script reaches the log from a container whose locale is C."""
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-X", "utf8=0", "-c", IMPORT_LOG + r"log.info('\u65e5 \U0001f3ac')"],
        env={**os.environ, "LC_ALL": "C"},
        stderr=subprocess.PIPE,
        check=True,
    )
    assert read_as_stash(done.stderr) == [("i", "日 🎬")]


def test_a_closed_log_stops_nothing() -> None:
    """The plugin continues after Stash has ended and closed the log."""
    script = IMPORT_LOG + "log.error('lost')\nimport os\nos.close(2)\nlog.error('lost too')\nprint('went on')"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=writer, check=True)
    os.close(writer)
    assert done.stdout.strip() == b"went on"
