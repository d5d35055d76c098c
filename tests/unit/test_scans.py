"""When a media server is asked to scan a folder, and when it makes sense to look again."""

from __future__ import annotations

import heapq

import pytest

from stash_courier.worker.destinations.media.places import folder_key
from stash_courier.worker.destinations.media.scans import APART_SECONDS, SCAN_SECONDS, Scans

DELAY = 60.0
DONE = DELAY + SCAN_SECONDS  # seconds from a request to the end of its scan


class Server:
    """A server that is asked for scans, at times that the test sets."""

    def __init__(self, delay: float = DELAY, took: float = 0.0) -> None:
        self.now = 1000.0
        self.took = took  # seconds that a request takes
        self.asked: list[tuple[float, str]] = []  # seconds since the beginning, and the path
        self.scans = Scans(lambda: self.now, delay=delay)

    def at(self, seconds: float) -> None:
        """Sets the time."""
        self.now = 1000.0 + seconds

    def ask(self, path: str) -> float:
        """Asks for the scan of a file's folder; returns when to look again, in seconds since the beginning."""
        wait = self.scans.ask(folder_key(path), path, self._send)
        return self.now - 1000.0 + wait

    def _send(self, path: str) -> None:
        self.asked.append((self.now - 1000.0, path))
        self.now += self.took


def test_a_folder_gets_one_request_while_its_scan_is_pending() -> None:
    """All scenes of the folder that come before the scan are looked for together after it."""
    server = Server()
    for second in range(0, 60, 5):
        server.at(second)
        assert server.ask(f"/m/{second}.mkv") == pytest.approx(DONE)
    assert server.asked == [(0.0, "/m/0.mkv")]


def test_scenes_that_never_stop_coming() -> None:
    """With a new scene each second a request is sent every two minutes, and each scan is left alone."""
    server = Server()
    for second in range(1000):
        server.at(second)
        again = server.ask(f"/m/{second}.mkv")
        assert second < again <= second + APART_SECONDS + DONE
    assert [at for at, _ in server.asked] == [pytest.approx(n * APART_SECONDS) for n in range(9)]


@pytest.mark.parametrize(("count", "minutes"), [(500, 10), (2000, 60)])
def test_many_new_scenes_are_found_soon(count: int, minutes: int) -> None:
    """All are found within five minutes of the last, with one request every two minutes.

    Each request starts the server's 60 seconds for the folder anew, so one for each scene would prevent the scan.
    """
    server = Server()
    came = [60.0 * minutes * n / count for n in range(count)]
    due = [(at, n) for n, at in enumerate(came)]  # when each scene is looked for next
    scanned = -1.0
    while due:
        now, n = heapq.heappop(due)
        server.at(now)
        if server.asked and server.asked[-1][0] + DELAY <= now:
            scanned = server.asked[-1][0] + DELAY
        if scanned < came[n]:
            assert now <= 60.0 * (minutes + 5)
            heapq.heappush(due, (server.ask(f"/m/{n}.mkv"), n))
    assert len(server.asked) <= minutes / 2 + 3


def test_folders_are_asked_for_apart() -> None:
    """Also a folder in another one. On Windows, case and separators make no other folder."""
    server = Server()
    for path in ("/m/a.mkv", "/m/x/a.mkv", "/m/b.mkv", "D:\\M\\a.mkv", "d:/m/b.mkv"):
        server.ask(path)
    assert [path for _, path in server.asked] == ["/m/a.mkv", "/m/x/a.mkv", "D:\\M\\a.mkv"]


def test_the_next_request_names_another_file() -> None:
    """The server may ignore notices for one file, and then the others of its folder would wait in vain."""
    server = Server()
    server.ask("/m/ignored.mkv")
    server.ask("/m/a.mkv")
    server.at(APART_SECONDS)
    server.ask("/m/ignored.mkv")
    server.at(2 * APART_SECONDS)
    server.ask("/m/ignored.mkv")
    assert [path for _, path in server.asked] == ["/m/ignored.mkv", "/m/a.mkv", "/m/ignored.mkv"]


def test_a_request_that_fails_is_none() -> None:
    """The next scene asks again."""
    server = Server()

    def fail(_: str) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        server.scans.ask("/m", "/m/a.mkv", fail)
    assert not server.scans.is_pending("/m")
    assert server.ask("/m/b.mkv") == pytest.approx(DONE)
    assert server.asked == [(0.0, "/m/b.mkv")]
    server.at(APART_SECONDS)
    with pytest.raises(ConnectionError):
        server.scans.ask("/m", "/m/a.mkv", fail)
    assert server.ask("/m/c.mkv") == pytest.approx(APART_SECONDS + DONE)


def test_a_report_that_failed_postpones_no_other() -> None:
    """A report that the server didn't take isn't counted: the next one needs no two minutes."""
    server = Server()
    folder = folder_key("/m/a.mkv")

    def refuse(_: str) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        server.scans.report(folder, "/m/a.mkv", refuse)
    assert not server.scans.is_pending(folder)
    server.at(30.0)
    assert server.scans.report(folder, "/m/a.mkv", lambda _: None) == 0.0
    server.at(40.0)
    with pytest.raises(ConnectionError):
        server.scans.report(folder, "/m/b.mkv", refuse)
    server.at(60.0)
    assert server.scans.report(folder, "/m/c.mkv", lambda _: None) == pytest.approx(APART_SECONDS - 30.0)
