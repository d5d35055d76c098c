"""Removes secrets from text that ends up in logs, errors and dead letters (invariant 11).

Callers pass the secrets they know. What is secret by its form (logins and queries in URLs, credentials in headers,
keys in JSON) is removed in any case. When in doubt, it removes too much.
"""

from __future__ import annotations

import functools
import html
import json
import re
from collections.abc import Iterable
from urllib.parse import quote

REMOVED = "[removed]"
SHORTEST = 4  # characters; anything shorter is indistinguishable from ordinary text
WORD_ONLY = 8  # characters; anything shorter is removed only as a whole word, so that "pass" leaves "passed"

_QUOTED = r"""\"[^"\n]*"|'[^'\n]*'"""
_HEADER = r"(?:proxy-)?authorization|(?:set-)?cookie|x-[\w-]{0,40}(?:token|key)"
_KEY = r"\w*(?:api[_-]?key|token|secret|passw(?:or)?d)|session(?:_?id)?"

# Each is linear in the length of any text: an unbounded repetition can match only from the start of its run.
_QUERY = re.compile(r"""(?<![^\s"'<>?])([^\s"'<>?]+)\?([^\s"'<>]+)""")
_BY_FORM: tuple[tuple[re.Pattern[str], str], ...] = (
    # user:pass@ in a URL, up to the last @, since a password may contain one
    (re.compile(r"""(?<=://)[^\s/?#"'<>]*@"""), f"{REMOVED}@"),
    # a header with its value, as a line or in a dict
    (re.compile(rf"(?i)\b({_HEADER})(['\"]?\s*[:=]\s*)(?:{_QUOTED}|[^\n]+)"), rf"\1\2{REMOVED}"),
    # key=value, and "key": "value"
    (re.compile(rf"(?i)\b({_KEY})(=|['\"]\s*:\s*)(?:{_QUOTED}|[^\s&;,'\"<>]+)"), rf"\1\2{REMOVED}"),
    # a webhook's secret
    (re.compile(r"(?<!\w)whsec_[\w+/=-]{8,}"), REMOVED),
    # a JSON Web Token: Stash's API key is one
    (re.compile(r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]+\.[\w-]*"), REMOVED),
)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """The text (a log line, an answer, a traceback …) with ``[removed]`` in place of every secret.

    ``secrets`` are removed also where they are percent-encoded, JSON-escaped or HTML-escaped. Those shorter than 4
    characters are ignored; those shorter than 8 are removed only as whole words.
    """
    named = _pattern(tuple(secrets))
    if named is not None:
        text = named.sub(REMOVED, text)
    text = _QUERY.sub(_without_query, text)
    for pattern, replacement in _BY_FORM:
        text = pattern.sub(replacement, text)
    return text


def _without_query(found: re.Match[str]) -> str:
    """Removes any query of a URL with a scheme; after a bare path, as in "/hook?token=…", only a key=value."""
    address, query = found.groups()
    return f"{address}?{REMOVED}" if "://" in address or "=" in query else found[0]


def longest_spelling(secrets: Iterable[str]) -> int:
    """Length of the longest form in which one of these secrets may appear in a text, in characters."""
    return max(map(len, _spellings(secrets)), default=0)


@functools.lru_cache(maxsize=64)
def _pattern(secrets: tuple[str, ...]) -> re.Pattern[str] | None:
    longest_first = sorted(_spellings(secrets), key=lambda s: (-len(s), s))
    return re.compile("|".join(map(_expression, longest_first))) if longest_first else None


def _spellings(secrets: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for secret in secrets:
        if len(secret) >= SHORTEST:
            found |= {secret, html.escape(secret), json.dumps(secret)[1:-1]}
            found |= {quote(secret, errors="replace"), quote(secret, safe="", errors="replace")}
    return found


def _expression(spelling: str) -> str:
    literal = re.escape(spelling)
    return literal if len(spelling) >= WORD_ONLY else rf"(?<!\w){literal}(?!\w)"
