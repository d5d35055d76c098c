"""worker/notices.py and plugin/notices.py: what the owner is told of trouble, once, and of its end."""

from __future__ import annotations

import json
import threading
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from stash_courier.plugin import notices as page
from stash_courier.queue import control
from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.failures import Failure
from stash_courier.queue.inbox import files
from stash_courier.worker.delivery.breaker import Health
from stash_courier.worker.delivery.registry import Registry
from stash_courier.worker.notices import BEGINS, DEAD_LETTERS, ENDS, QUIET_SECONDS, Notices, Trouble, follow
from tests.support.durable import START, Clock
from tests.support.press import bury, press

NAME = "jellyfin"
ILL = Health(state="ill", failure=Failure.DESTINATION, reason="It refuses the API key (401)", since=START - 60)


class Worker:
    """The notices of a worker whose destination has a health that the test sets."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = Clock()
        self.pool = SimpleNamespace(health=Health())
        self.registry = SimpleNamespace(pools={NAME: self.pool}, name=str)
        self.queue = SceneQueue(folder)
        self.dlq = DeadLetterQueue(folder)
        self.start()

    def start(self) -> None:
        """Starts another worker with the same files."""
        registry = cast(Registry, self.registry)
        self.notices = Notices(self.folder, self.queue, self.dlq, registry, self.clock)

    def close(self) -> None:
        self.queue.close()
        self.dlq.close()


def shown(folder: Path, capfd: pytest.CaptureFixture[str]) -> list[str]:
    """What a page load writes to Stash's log."""
    page.show(str(folder))
    lines = capfd.readouterr().err.split("\n")[:-1]
    assert all(line.startswith("\x01w\x02") for line in lines)
    return [line[3:] for line in lines]


def test_each_trouble_and_its_end_is_shown_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A destination, dead letters and settings: one line at the beginning, one at the end, across restarts."""
    with closing(Worker(tmp_path)) as worker:
        worker.notices.update()
        assert shown(tmp_path, capfd) == []
        worker.pool.health = ILL
        dead = bury(tmp_path, 1, Failure.ITEM_REFUSED)
        control.put(worker.queue.connection, control.PROBLEMS, [["plex", "url", '"Address" is wrong']])
        for _ in range(3):
            worker.notices.update()
            worker.start()
        lines = shown(tmp_path, capfd)
        assert len(lines) == 3
        assert lines[0].startswith(f"{NAME}: deliveries wait since ")
        assert "It refuses the API key (401). Fix this, then test" in lines[0]
        settings = 'Settings that can\'t be used: 1. plex: "Address" is wrong.'
        assert settings in lines
        assert "Dead letters: 1. Open Stash Courier in the top bar to see what failed and why." in lines
        for _ in range(3):
            worker.notices.update()
            worker.start()
            assert shown(tmp_path, capfd) == []
        worker.pool.health = Health()
        worker.dlq.set_state(dead, "resolved")
        control.put(worker.queue.connection, control.PROBLEMS, None)
        worker.notices.update()
        worker.start()
        worker.notices.update()
        lines = shown(tmp_path, capfd)
        assert len(lines) == 3
        assert any(line.startswith(f"{NAME}: takes deliveries again.") for line in lines)
        for _ in range(3):
            worker.clock.now += QUIET_SECONDS
            worker.notices.update()
            assert shown(tmp_path, capfd) == []
        assert control.get(worker.queue.connection, control.TROUBLES) is None


@pytest.mark.parametrize("mode", ["status", "review_dead_letters"])
def test_a_button_says_once_that_there_are_dead_letters(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], mode: str
) -> None:
    """A report that has the number of dead letters takes the place of the notice, also of the one of their end."""

    def pressed() -> list[str]:
        press(tmp_path, mode, log="yes")
        told = [line[3:] for line in capfd.readouterr().err.split("\n") if line[:1] == "\x01"]
        return [line for line in told if line.startswith("Dead letters: ")]

    with closing(Worker(tmp_path)) as worker:
        dead = bury(tmp_path, 1, Failure.ITEM_REFUSED)
        worker.notices.update()
        (line,) = pressed()
        assert line.startswith("Dead letters: 1")
        worker.notices.update()
        assert shown(tmp_path, capfd) == [], "it counts as shown"
        worker.dlq.set_state(dead, "resolved")
        worker.notices.update()
        assert pressed() == ["Dead letters: 0."]
        assert page.DEAD_LETTERS == (BEGINS + DEAD_LETTERS, ENDS + DEAD_LETTERS)


def test_another_button_still_tells_of_dead_letters(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A report without dead letters is preceded by the notice, and status by all others."""
    with closing(Worker(tmp_path)) as worker:
        bury(tmp_path, 1, Failure.ITEM_REFUSED)
        worker.pool.health = ILL
        worker.notices.update()
        press(tmp_path, "status", log="yes")
        assert f"{NAME}: deliveries wait since " in capfd.readouterr().err
    (tmp_path / "other").mkdir()
    with closing(Worker(tmp_path / "other")) as worker:
        bury(worker.folder, 1, Failure.ITEM_REFUSED)
        worker.notices.update()
        press(worker.folder, "purge_dead_letters", log="yes", days="9")
        assert "Dead letters: 1. Open Stash Courier in the top bar to see" in capfd.readouterr().err


def test_trouble_that_nobody_was_told_of_ends_silently(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A failure between two page loads leaves no line, and neither does one of a destination that was removed."""
    with closing(Worker(tmp_path)) as worker:
        worker.pool.health = ILL
        worker.notices.update()
        worker.pool.health = Health()
        worker.notices.update()
        assert shown(tmp_path, capfd) == []
        worker.pool.health = ILL
        worker.notices.update()
        assert len(shown(tmp_path, capfd)) == 1
        worker.registry.pools = {}
        worker.notices.update()
        assert shown(tmp_path, capfd) == []


def test_trouble_that_comes_and_goes_is_shown_once_an_hour(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A destination that fails again and again makes two lines an hour at most."""
    with closing(Worker(tmp_path)) as worker:
        lines = []
        for second in range(0, 3 * 3600, 20):
            worker.clock.now = START + second
            worker.pool.health = ILL if second // 20 % 2 else Health()
            worker.notices.update()
            lines += shown(tmp_path, capfd) if second % 60 == 0 else []
        assert 3 <= len(lines) <= 7


def test_two_page_loads_at_once_show_it_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Of many programs that look at the same moment one writes the lines."""
    with closing(Worker(tmp_path)) as worker:
        worker.pool.health = ILL
        worker.notices.update()
        pages = [threading.Thread(target=page.show, args=(str(tmp_path),)) for _ in range(8)]
        for one in pages:
            one.start()
        for one in pages:
            one.join()
        assert len(capfd.readouterr().err.splitlines()) == 1


def test_a_page_load_during_the_update_is_not_lost(tmp_path: Path) -> None:
    """If the lines are taken just before they are replaced, they count as shown, and only the others follow."""
    with closing(Worker(tmp_path)) as worker:
        worker.pool.health = ILL
        worker.notices.update()
        bury(tmp_path, 1, Failure.ITEM_REFUSED)
        notices, taken = cast(Any, worker.notices), tmp_path / files.NOTICES_SHOWN
        write = notices._write

        def racing(lines: dict[str, str]) -> None:
            (tmp_path / files.NOTICES).replace(taken)
            notices._write = write
            write(lines)

        notices._write = racing
        worker.notices.update()
        assert taken.exists()
        worker.notices.update()
        assert list(json.loads((tmp_path / files.NOTICES).read_text())) == [BEGINS + "dead letters"]


@pytest.mark.parametrize("damage", [b"", b"[]", b"5", b"\xff", b'{"a": 5}', b"[" * 100_000])
def test_damaged_files_do_no_harm(damage: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Whatever is in the files, a page load works, and the worker replaces them."""
    with closing(Worker(tmp_path)) as worker:
        (tmp_path / files.NOTICES).write_bytes(damage)
        page.show(str(tmp_path))
        capfd.readouterr()
        (tmp_path / files.NOTICES).write_bytes(damage)
        worker.pool.health = ILL
        worker.notices.update()
        assert len(shown(tmp_path, capfd)) == 1


def test_a_full_disk_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """If the file can't be written, worker.log says so once, and the next look tries again."""
    with closing(Worker(tmp_path)) as worker:
        worker.pool.health = ILL
        draft = tmp_path / f"{files.NOTICES}.draft"
        draft.mkdir()
        worker.notices.update()
        worker.notices.update()
        assert [record.getMessage()[:25] for record in caplog.records] == ["notices can't be written "]
        draft.rmdir()
        worker.notices.update()
        assert (tmp_path / files.NOTICES).exists()


def test_what_is_followed() -> None:
    """The rules one by one: told, back before the end was told, and back within the hour."""
    told = Trouble(1.0, told=10.0)
    assert follow({}, {"a": 1.0}, {}, 5.0) == {"a": Trouble(1.0)}
    assert follow({"a": Trouble(1.0)}, {"a": 1.0}, {BEGINS + "a": ""}, 10.0) == {"a": told}
    ended = follow({"a": told}, {}, {}, 20.0)
    assert ended == {"a": Trouble(1.0, told=10.0, ended=20.0)}
    assert follow(ended, {"a": 21.0}, {}, 22.0) == {"a": told}
    over = follow(ended, {}, {ENDS + "a": ""}, 30.0)
    assert follow(over, {"a": 40.0}, {}, 40.0) == over
    assert follow(over, {"a": 40.0}, {}, 11.0 + QUIET_SECONDS) == {"a": Trouble(40.0)}
    assert follow(over, {}, {}, 11.0 + QUIET_SECONDS) == {}
