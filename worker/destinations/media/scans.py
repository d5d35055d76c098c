"""Which folders a media server was asked to scan, so that no request prevents the scan that another one asked for.

Jellyfin and Emby scan a folder some time after the last notice for it: each notice starts that time anew
(LibraryMonitor, FileRefresher). So a folder gets at most one notice while its scan is pending, and the scenes that
wait for the scan become due together after it.

A notice names one file, since the server then scans the whole folder. Two files of a folder would make it wait for
the folder, and notices for the folders below it would start that time anew.

This is only kept in memory. After the worker was restarted, each folder may get one more notice, which delays its
scan once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.worker.destinations.media.places import folder_key

NOTICE_SECONDS = 60.0  # from the last notice for a folder to its scan, in Jellyfin (LibraryMonitorDelay) and Emby
APART_SECONDS = 120.0  # at least, between two requests for a folder
SCAN_SECONDS = 15.0  # after which a scan that began should have found the new files of a folder
TOGETHER_SECONDS = 20.0  # within which reports about a folder are let through together
KEPT_SECONDS = 3600.0  # how long a folder is remembered after the last request


@dataclass(slots=True)
class _Asked:
    """A folder that the server was asked to scan. Times are monotonic."""

    began: float  # when the request was sent
    ended: float  # when it was answered
    named: str  # the file in it
    # Another file of the folder that waits. The next request names it: the server may ignore notices for one file,
    # because of an .ignore file, and then the others would wait in vain.
    other: str = ""


class Scans:
    """The scans of one server's folders. Thread-safe.

    Args:
        clock: monotonic seconds.
        delay: seconds from a request to the beginning of its scan, if no other request follows.
        apart: seconds, at least, between two requests for a folder.
    """

    def __init__(self, clock: Callable[[], float], *, delay: float, apart: float = APART_SECONDS) -> None:
        self._clock = clock
        self._delay = delay
        self._apart = apart
        self._lock = threading.Lock()
        self._asked: dict[Hashable, _Asked] = {}
        self._tidied = clock()

    def ask(self, folder: Hashable, path: str, send: Callable[[str], None]) -> float:
        """Has a folder scanned because a file in it is not known, unless a scan of it is pending.

        Args:
            folder: identifies the folder; see ``places.folder_key``.
            path: the file.
            send: asks the server to scan the folder of a file. If it raises, nothing was asked.

        Returns:
            Seconds until it makes sense to look for the file again.
        """
        with self._lock:
            now = self._clock()
            self._tidy(now)
            last = self._asked.get(folder)
            if last is not None and now < last.ended + self._apart:
                if path != last.named:
                    last.other = path
                return self._wait(last, now)
            named = last.other if last is not None and last.other and path == last.named else path
            asked = self._asked[folder] = _Asked(now, now, named)
        self._send(folder, asked, last, lambda: send(named))
        return self._wait(asked, asked.ended)

    def report(self, folder: Hashable, path: str, send: Callable[[str], None]) -> float:
        """Reports what has changed in a folder. Those that wait are reported together, which delays its scan once.

        Returns:
            Seconds until it may be reported; 0.0 if it was.
        """
        with self._lock:
            now = self._clock()
            self._tidy(now)
            asked = last = self._asked.get(folder)
            if asked is None or now >= asked.ended + self._apart:
                asked = self._asked[folder] = _Asked(now, now, path)
            elif now >= asked.began + TOGETHER_SECONDS:
                return asked.ended + self._apart - now
        self._send(folder, asked, last, lambda: send(path))
        return 0.0

    def _send(self, folder: Hashable, asked: _Asked, last: _Asked | None, send: Callable[[], None]) -> None:
        """Sends a request, which doesn't count if it fails: then ``last`` is the last one again."""
        sent = False
        try:
            send()
            sent = True
        finally:
            with self._lock:
                if sent:
                    asked.ended = self._clock()
                elif last is None:
                    self._asked.pop(folder, None)
                else:
                    self._asked[folder] = last

    def is_pending(self, folder: Hashable) -> bool:
        """Whether the server was asked to scan the folder and hasn't begun, so the scan sees what is there now."""
        with self._lock:
            asked = self._asked.get(folder)
            return asked is not None and self._clock() < asked.began + self._delay

    def _wait(self, asked: _Asked, now: float) -> float:
        """Seconds until the pending scan is done; until the next request if that scan may miss what is new now."""
        begins = asked.ended + self._delay
        return (begins + SCAN_SECONDS if now <= begins else asked.ended + self._apart) - now

    def _tidy(self, now: float) -> None:
        if now - self._tidied >= KEPT_SECONDS:
            self._tidied = now
            self._asked = {one: asked for one, asked in self._asked.items() if now - asked.ended < KEPT_SECONDS}


class Notices:
    """The notices of files to a Jellyfin or an Emby. Thread-safe.

    Args:
        name: the server's name.
        notify: reports files as ``Created``, ``Modified`` or ``Deleted``.
        clock: monotonic seconds.
    """

    def __init__(
        self, name: str, notify: Callable[[str, Sequence[str]], None], clock: Callable[[], float]
    ) -> None:
        self._name = name
        self._notify = notify
        self._scans = Scans(clock, delay=NOTICE_SECONDS)

    def created(self, paths: Sequence[str]) -> float:
        """Has the folders of unknown files scanned. Returns seconds until it makes sense to look again."""
        return min(self._scans.ask(folder_key(path), path, self._created) for path in paths)

    def deleted(self, paths: Iterable[str]) -> None:
        """Reports files that are gone, unless a pending scan of their folder sees that.

        Raises:
            DeliveryFailed: POSTPONED, if a notice now would delay a scan.
        """
        self._report("Deleted", [path for path in paths if not self._scans.is_pending(folder_key(path))])

    def changed(self, kind: str, paths: Iterable[str]) -> None:
        """Reports files as ``Created`` or ``Modified``. Raises as ``deleted``."""
        self._report(kind, paths)

    def _report(self, kind: str, paths: Iterable[str]) -> None:
        waits = [
            self._scans.report(folder_key(path), path, lambda one: self._notify(kind, [one])) for path in paths
        ]
        if wait := max(waits, default=0.0):
            raise DeliveryFailed(
                Failure.POSTPONED,
                f"{self._name} is about to read that folder, and another notice would delay it. This change is "
                f"reported within {APART_SECONDS / 60:.0f} minutes.",
                again_in=wait,
            )

    def _created(self, path: str) -> None:
        self._notify("Created", [path])
