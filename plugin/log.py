"""Stash's log protocol on standard error: each call writes one line to Stash's log.

A line is SOH, the level's letter, STX, the text and a newline. The text of a progress line is a number from 0
to 1 (Stash's ``pkg/logger/plugin.go``). A hook imports this module when something goes wrong, so it does without
``logging`` and ``re``. It doesn't remove secrets.
"""

from __future__ import annotations

import os

# Bytes of text in a line. With its frame a line stays below Linux's PIPE_BUF (4096), so lines of several
# threads and processes don't mix. Stash stops reading the log for good at a line of 64 KiB.
LONGEST = 4000
CUT = "…".encode()

# Characters that end the line, control a terminal or reverse the text. Joiners stay, because emoji need them.
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
    """Logs something the owner may want to know."""
    _write(b"i", text)


def warning(text: str) -> None:
    """Logs something the owner should look at."""
    _write(b"w", text)


def error(text: str) -> None:
    """Logs a failure."""
    _write(b"e", text)


def progress(fraction: float) -> None:
    """Moves the task's progress bar in Stash to this fraction; values outside 0 to 1 count as the nearer limit."""
    _write(b"p", f"{max(0.0, min(fraction, 1.0)):.4f}")


def _write(level: bytes, text: str) -> None:
    try:
        os.write(2, b"\x01" + level + b"\x02" + _line(text) + b"\n")
    except OSError:
        return  # Stash closed its end, or the disk is full: there is no other place to report it


def _line(text: str) -> bytes:
    """The text as UTF-8, without characters that end the line or that Stash trims."""
    text = text[: LONGEST + 1]  # before the expensive steps: a title can be a megabyte
    bare = text.lstrip(" ")
    # Stash trims white space, including the no-break space, so an indent needs another character.
    text = "·" * (len(text) - len(bare)) + bare
    # The error handler writes lone surrogates (from names that aren't UTF-8) as \udc80.
    line = text.translate(ESCAPES).encode("utf-8", "backslashreplace")
    if len(line) > LONGEST:
        line = line[: LONGEST - len(CUT)].decode("utf-8", "ignore").encode() + CUT
    return line or b" "  # Stash would read a line without text as one without a level
