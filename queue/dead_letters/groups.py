"""Which dead letters have the same cause: destination, HTTP status, and the answer but for its variable parts.

A group has a text for people, such as ``400: title is longer than #``, and a short key, such as
``plex/400/5f2c09ab``, which stays the same for the same cause. A failure that we word ourselves names its cause. A
dead letter without either is grouped by its message. Pure.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence

from stash_courier.queue import codec, failures
from stash_courier.queue.troubles import shortened

LOOKED_AT = 1000  # characters of an answer
LONGEST = 160  # characters of a group's text
KEY_DIGITS = 8
SHORTEST_TITLE = 4  # characters; a shorter one may be part of a word

# In a JSON answer, the names under which the reason is usually found. Without one all texts count.
REASONS = {
    *("code", "description", "detail", "details", "error", "error_description"),
    *("errors", "message", "msg", "reason"),
}
DEEPEST = 4  # levels of a JSON answer

_DAY = r"(?:mon|tue|wed|thu|fri|sat|sun)[a-z]{0,6}"
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}"
_Part = tuple[re.Pattern[str], str]  # what is left out, and its placeholder
# In this order. A path may contain blanks if it ends with an extension.
VARIABLE: tuple[_Part, ...] = (
    (re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s\"'<>]+", re.IGNORECASE), "<url>"),
    (re.compile(r"\"[^\"]*\"|“[^”]*”|«[^»]*»|`[^`]*`|(?<!\w)'[^']*'(?!\w)"), "<text>"),
    (re.compile(r"(?<![\w<])(?:[A-Za-z]:)?[\\/](?:[^\\/:;,|<>]+[\\/])+[^\\/:;,|<>]*?\.\w{2,4}\b"), "<path>"),
    (re.compile(r"(?<![\w<])(?:[A-Za-z]:[\\/]|/|\\\\)[^\s:;,|<>]+"), "<path>"),
    (re.compile(rf"\b{_DAY},? (?={_MONTH}|\d)", re.IGNORECASE), ""),
    (re.compile(rf"\b(?:\d+[ -]{_MONTH}|{_MONTH} \d+)\b", re.IGNORECASE), "#"),
    (re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.IGNORECASE), "#"),  # a UUID
    (re.compile(r"\b\w*\d\w*"), "#"),  # numbers, ids, hashes
    (re.compile(r"#(?:[ ,.:/+-]*#)+"), "#"),  # dates, times, lists of numbers
)
# What of a text doesn't belong in a message that goes to other services.
PRIVATE = tuple((pattern, placeholder) for pattern, placeholder in VARIABLE if placeholder in {"<url>", "<path>"})
_TAGS = re.compile(r"<(script|style)\b.*?(?:</\1>|$)|<[^>]*>", re.IGNORECASE | re.DOTALL)
_TITLE = re.compile(r"<title[^>]*>([^<]*)", re.IGNORECASE)
_CUT_REASON = re.compile(rf'"(?:{"|".join(sorted(REASONS))})"\s*:\s*"((?:[^"\\]|\\.)*)', re.IGNORECASE)
_STATUS = re.compile(r"(\d{3}): ")


def text_of(
    error_type: str, message: str, history: str, title: str = "", *, variable: Sequence[_Part] = VARIABLE
) -> str:
    """A group's text: the status and the answer of the last attempt, or the message, without variable parts.

    Args:
        error_type: a dead letter's error type. Attempts of another type say nothing about its cause.
        message: its error message.
        history: its attempts as JSON.
        title: its scene's title, which may stand in the answer; "" keeps it.
        variable: the parts that are left out.
    """
    attempts = codec.history(history) or ()
    last = attempts[-1] if attempts and attempts[-1].failure == error_type else None
    status = "" if last is None or last.status is None else f"{last.status:03}: "
    answer = " ".join(said(last.answer).split()) if last is not None else ""
    answer = answer or message
    if len(title) >= SHORTEST_TITLE:
        answer = answer.replace(title, '""')
    return shortened(codec.storable(status + template(answer, variable)), LONGEST)


def is_general(text: str) -> bool:
    """Whether a group's text may differ from what its dead letters say."""
    return any(part in text for part in ("…", '""', *(placeholder for _, placeholder in VARIABLE if placeholder)))


def named(error_type: str, cause: str) -> str:
    """The text of the group of a failure that names its cause: ``never shown by the server: its name``."""
    return shortened(f"{failures.label(error_type)}: {cause}", LONGEST)


def key_of(destination: str, error_type: str, text: str) -> str:
    """A group's key, made of its destination, the status or else the error type, and a digest of its text."""
    status = _STATUS.match(text)
    digest = hashlib.sha256(f"{error_type}\n{text.casefold()}".encode("utf-8", "replace")).hexdigest()
    return f"{destination or 'none'}/{status[1] if status else error_type}/{digest[:KEY_DIGITS]}"


def template(text: str, variable: Sequence[_Part] = VARIABLE) -> str:
    """The text with a placeholder for each part that differs from scene to scene, on one line."""
    text = " ".join(text[:LOOKED_AT].split())
    for pattern, placeholder in variable:
        text = pattern.sub(placeholder, text)
    return text.strip()


def said(answer: str) -> str:
    """What an answer says to a person: the reasons in JSON, the title or the text of HTML, or all of it."""
    answer = answer[:LOOKED_AT].strip()
    if answer[:1] in {"{", "[", '"'}:
        try:
            found = json.loads(answer)
        except (ValueError, RecursionError):  # it was cut
            return "; ".join(_CUT_REASON.findall(answer)) or answer
        texts = [*_texts(found)]
        return "; ".join([text for text, reason in texts if reason] or [text for text, _ in texts]) or answer
    if answer[:1] == "<":
        title = _TITLE.search(answer)
        return (title[1].strip() if title else "") or _TAGS.sub(" ", answer)
    return answer


def _texts(value: object, *, reason: bool = False, depth: int = 0) -> Iterator[tuple[str, bool]]:
    """The texts in a JSON value, and whether each is below a name of ``REASONS``."""
    if isinstance(value, str):
        yield value, reason
    elif depth < DEEPEST and isinstance(value, dict):
        for name, item in value.items():
            yield from _texts(item, reason=reason or name.casefold() in REASONS, depth=depth + 1)
    elif depth < DEEPEST and isinstance(value, list):
        for item in value:
            yield from _texts(item, reason=reason, depth=depth + 1)
