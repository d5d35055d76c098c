"""A stand-in for Jellyfin 10.8 to 12 on loopback, for tests and the demo.

It was written from Jellyfin's sources and from recordings of 10.10.7, 10.11.11 and 12.0-rc5, not from our client.
A test replays the recordings (``tests/samples/jellyfin``) against it. It implements only what our client uses, and
knows nothing of Stash Courier. Its parts: `disk` (which items files become), `dto` (what is stored and shown),
`state` (what it holds and does), `server` (the HTTP API).
"""

from tests.standin.jellyfin.disk import LibraryOptions
from tests.standin.jellyfin.server import KEY, USER, StandInJellyfin

__all__ = ["KEY", "USER", "LibraryOptions", "StandInJellyfin"]
