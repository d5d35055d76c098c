"""A Stash that the environment names: for a worker that runs apart from Stash, under systemd or in a container.

Only a worker in the foreground reads this. One that the plugin starts runs beside Stash.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from stash_courier.worker.stash.address import StashAddress, StashUnavailable

URL, KEY = "STASH_COURIER_STASH_URL", "STASH_COURIER_API_KEY"
PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class NamedStash:
    """Where Stash is, and its API key. What isn't named is taken from ``stash.json``."""

    place: tuple[str, str, int] | None = None  # scheme, host, port
    api_key: str = field(default="", repr=False)

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> NamedStash:
        """Reads both variables. Raises ValueError with a sentence, which never contains a value."""
        url, key = environment.get(URL, ""), environment.get(KEY, "")
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise ValueError(f"{KEY} can't be used: an API key has neither spaces nor special characters.")
        return cls(_place(url) if url else None, key)

    def address(self, path: Path) -> StashAddress:
        """The address to use; ``path`` is that of ``stash.json``.

        Raises:
            StashUnavailable: no place is named, and the file can't be read.
        """
        try:
            written = StashAddress.read(path)
        except StashUnavailable:
            if self.place is None:
                raise
            return StashAddress(*self.place, cookie="", api_key=self.api_key)
        place = self.place or (written.scheme, written.host, written.port)
        return StashAddress(*place, cookie=written.cookie, api_key=self.api_key)


def _place(url: str) -> tuple[str, str, int]:
    wrong = f"{URL} can't be used. It must be like http://stash:9999, without a path, user name or password."
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise ValueError(wrong) from None  # the parser's error would quote it
    host = parts.hostname or ""
    clean = not (parts.query or parts.fragment or "@" in parts.netloc) and parts.path in ("", "/")
    if parts.scheme not in PORTS or not clean or not host or set(host) & set("/@?#\\ ") or port == 0:
        raise ValueError(wrong)
    return parts.scheme, host, port or PORTS[parts.scheme]
