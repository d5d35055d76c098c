"""Stash's log protocol on standard error: one call, one line in Stash's log.

A line is SOH, the level's letter, STX, the text and a newline; a progress line holds a number from 0
to 1 (Stash's ``pkg/logger/plugin.go``). Imported on the hook's path when something goes wrong, hence
without ``logging`` and ``re``. Log files are none of its business, nor is removing secrets.
"""

from __future__ import annotations

import os

# Bytes of text in a line. With its frame it stays below PIPE_BUF of Linux (4096), so that lines of
# several threads and processes don't mix; Stash stops reading for good at a line of 64 KiB.
LONGEST = 4000
CUT = "…".encode()

# Would end the line, act on a terminal or turn the text around. Joiners stay: emoji need them.
UNSAFE = (
    *range(0x20),
    *range(0x7F, 0xA0),
    0x061C,  # Arabic letter mark
    *range(0x200E, 0x2010),  # left-to-right and right-to-left mark
    *range(0x2028, 0x202F),  # line and paragraph separator, embeddings, overrides
    *range(0x2066, 0x206A),  # isolates
)
ESCAPES = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in UNSAFE}
ESCAPES.update({ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t"})


def info(text: str) -> None:
    """Logs what the owner may want to know; where the buttons' answers go."""
    _write(b"i", text)


def warning(text: str) -> None:
    """Logs what the owner should look at."""
    _write(b"w", text)


def error(text: str) -> None:
    """Logs what failed."""
    _write(b"e", text)


def progress(fraction: float) -> None:
    """Moves the task's bar in Stash.

    Args:
        fraction: how much is done, 0 to 1; what lies outside counts as the nearer end.
    """
    _write(b"p", f"{max(0.0, min(fraction, 1.0)):.4f}")


def _write(level: bytes, text: str) -> None:
    try:
        os.write(2, b"\x01" + level + b"\x02" + _line(text) + b"\n")
    except OSError:
        return  # Stash closed its end, or the disk is full: there is nowhere left to say so


def _line(text: str) -> bytes:
    """The text as UTF-8 without anything that would end the line or be trimmed by Stash."""
    text = text[: LONGEST + 1]  # before the costly steps: a title can be a megabyte
    bare = text.lstrip(" ")
    # Stash trims white space, the no-break space included, so an indent must be made of something else.
    text = "·" * (len(text) - len(bare)) + bare
    # The error handler writes lone surrogates (names that aren't UTF-8) as \udc80.
    line = text.translate(ESCAPES).encode("utf-8", "backslashreplace")
    if len(line) > LONGEST:
        line = line[: LONGEST - len(CUT)].decode("utf-8", "ignore").encode() + CUT
    return line or b" "  # Stash takes a line without any text for one without a level
