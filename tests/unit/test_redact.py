"""worker/http/redact.py: which secrets are removed from a text."""

from __future__ import annotations

import pytest

from stash_courier.worker.http.redact import redact


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("at https://bob:p@ss@host:8/x?a=b&c#f", "at https://[removed]@host:8/x?[removed]"),
        ('<a href="https://host/?TOKEN">', '<a href="https://host/?[removed]">'),
        ("https://host/x?TOKEN", "https://host/x?[removed]"),
        ("exceeded with url: /hook?token=abc (Caused by", "exceeded with url: /hook?[removed] (Caused by"),
        ("Authorization: Bearer abc def\nnext", "Authorization: [removed]\nnext"),
        ("{'Cookie': 'session=abc', 'A': 1}", "{'Cookie': [removed], 'A': 1}"),
        ("X-Plex-Token: abc", "X-Plex-Token: [removed]"),
        ('{"api_key": "abc", "n": 1}', '{"api_key": [removed], "n": 1}'),
        ("apikey=abc&x=1 password=hunter2", "apikey=[removed]&x=1 password=[removed]"),
        ("key eyJhbGciOiJIUzI1NiJ9.eyJ1aWQiOiJ4In0.abc-_", "key [removed]"),
        ("Is it? Yes, token refused: see https://host/x.", "Is it? Yes, token refused: see https://host/x."),
        ("webhook_secret is not whsec_", "webhook_secret is not whsec_"),
    ],
)
def test_secrets_are_known_by_their_form(text: str, expected: str) -> None:
    """Logins, queries, credentials and tokens are removed by their form; ordinary text stays."""
    assert redact(text) == expected


@pytest.mark.parametrize(
    "piece",
    [
        "a://",
        "x-",
        "eyJ-",
        "eyJaaaaaaaa.",
        "?",
        "a?",
        "cookie ",
        "cookie\t",
        "token",
        "'cookie' ",
        "a",
        "@",
        "://",
    ],
)
@pytest.mark.timeout(60)
def test_no_text_makes_redaction_slow(piece: str) -> None:
    """Text that is built to be slow to search is searched in linear time: otherwise this would take minutes."""
    redact(piece * (200_000 // len(piece)), ("some-secret",))


def test_known_secrets_are_removed_everywhere() -> None:
    """Known secrets are removed, the longest first; those that are too short to be one are ignored."""
    text = "key=longer-secret-2 longer-secret abc pass passing"
    assert redact(text, ("longer-secret", "longer-secret-2", "abc", "pass", "")) == (
        "key=[removed] [removed] abc [removed] passing"
    )
