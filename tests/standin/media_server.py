"""What the stand-ins for Plex and Emby share: one server on loopback that watches for its secret in URLs."""

from __future__ import annotations

import re
import threading
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit

from tests.standin.receivers import Received, Receiver, Reply


class MediaServer:
    """It listens inside its ``with`` block, which fails if a URL contained the secret.

    Args:
        secret: the token or key that it accepts.
    """

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._lock = threading.Lock()
        self.receiver = Receiver(self._take)

    @property
    def url(self) -> str:
        """Its address, without a trailing slash."""
        return self.receiver.url.rstrip("/")

    def requests(self, method: str = "", path: str = "") -> list[Received]:
        """The requests so far, filtered by method and by a regular expression for the whole path."""
        fits = re.compile(path or ".*")
        return [
            r
            for r in self.receiver.received
            if r.method == (method or r.method) and fits.fullmatch(urlsplit(r.path).path)
        ]

    def answer(self, request: Received, path: str, query: dict[str, str]) -> Reply:
        """Answers a request. One is answered at a time."""
        raise NotImplementedError

    def _take(self, request: Received) -> Reply:
        parts = urlsplit(request.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        with self._lock:
            return self.answer(request, parts.path, query)

    def __enter__(self) -> Self:
        self.receiver.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.receiver.down()
        leaks = [r.path for r in self.receiver.received if self._secret in unquote(r.path)]
        assert not leaks, f"the secret was in a URL: {leaks}"
