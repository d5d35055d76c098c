"""Two copies of the plugin in one Stash: one by hand as ``stash_plugin``, and one of Stash's package manager."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from stash_courier.queue.inbox import store
from stash_courier.worker import package, process
from stash_courier.worker.delivery.repeats import COPY_SECONDS
from tests import ROOT
from tests.standin.receivers import Receiver
from tests.standin.stash.server import StandInStash
from tests.support.harness import Courier, wait_until
from tools.build_plugin import NAME, build

WHEELS = ROOT / ".build" / "wheels"
BY_HAND = package.CHECKOUT
TWICE = "Stash Courier is installed more than once: stash_courier and stash_plugin."


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as Stash's package manager leaves it."""
    if not any(WHEELS.glob("*.whl")):
        pytest.skip(f"the plugin's libraries are not in {WHEELS}; `make test` downloads them")
    folder = tmp_path_factory.mktemp("built") / NAME
    build(folder, WHEELS, "1.0.0")
    (folder / "manifest").write_text("id: stash_courier\n")
    return folder


class Two(Courier):
    """A Stash whose plugins folder gets one copy after another."""

    def __init__(self, folder: Path, built: Path) -> None:
        self.receiver = Receiver()
        super().__init__(folder, {})
        self.plugins = folder / "config" / "plugins"
        self._built = built

    def __enter__(self) -> Two:
        self.receiver.up()
        self.stash.start()
        self.plugins.mkdir(parents=True)
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self.receiver.down()

    def by_hand(self) -> Path:
        """Copies a checkout into the plugins folder; its settings name the receiver."""
        folder = self.plugins / "courier by hand"
        for name in ("plugin", "queue", "worker"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copyfile(ROOT / "stash_plugin.yml", folder / "stash_plugin.yml")
        self.stash.plugins.reload()
        self.stash.configure(BY_HAND, {"webhook_url": self.receiver.url})
        return folder

    def package(self, below: str = "") -> Path:
        """Installs the package; ``below`` is the folder of its source."""
        folder = self.plugins / below / NAME
        shutil.copytree(self._built, folder)
        self.stash.plugins.reload()
        return folder

    def remove(self, folder: Path) -> None:
        """Deletes a plugin's folder."""
        shutil.rmtree(folder)
        self.stash.plugins.reload()

    def worker_of(self) -> Path:
        """The plugin's folder from which the worker runs; none at the moment at which it becomes other code."""
        command = Path(f"/proc/{self.worker_pid()}/cmdline").read_bytes().split(b"\0")
        return Path(next((part.decode() for part in command if part.endswith(b"main.py")), "")).parent.parent

    def titles(self) -> Counter[tuple[int, str]]:
        """How often each title of a scene arrived, and a deletion as an empty one."""
        bodies = [request.json()["data"] for request in self.receiver.received]
        return Counter((int(one["id"]), str(one.get("title", ""))) for one in bodies)

    def press(self, task: str, plugin: str = NAME) -> list[str]:
        """Presses a button; its lines in Stash's log."""
        return [line.text for line in self.stash.run_task(task, plugin_id=plugin)]


@pytest.fixture
def two(tmp_path: Path, built: Path) -> Iterator[Two]:
    with Two(tmp_path, built) as running:
        yield running


def edit_all(stash: StandInStash, title: str) -> set[tuple[int, str]]:
    """Edits some scenes; what must arrive."""
    for scene in range(1, 6):
        stash.edit(scene, title=title)
    return {(scene, title) for scene in range(1, 6)}


def arrive_once(two: Two, expected: set[tuple[int, str]]) -> None:
    """Waits until all has arrived, then checks that none of it did twice."""
    wait_until(lambda: expected <= two.titles().keys(), 20.0)
    two.drained()
    time.sleep(COPY_SECONDS + 0.5)  # longer than a second event of the same edit waits
    assert {what: n for what, n in two.titles().items() if n > 1} == {}


@pytest.mark.parametrize("below", ["", "a source"])
def test_the_package_takes_over_and_stays(two: Two, below: str) -> None:
    """While both are installed only the package delivers, each edit once; afterwards everything is as before."""
    folder = two.by_hand()
    arrive_once(two, edit_all(two.stash, "By hand"))
    assert two.worker_of() == folder

    installed = two.package(below)
    arrive_once(two, edit_all(two.stash, "Both"))
    wait_until(lambda: two.worker_of() == installed, 10.0)
    arrive_once(two, edit_all(two.stash, "The package"))
    two.stash.destroy(5)
    arrive_once(two, {(5, "")})
    assert two.log().count("ending: another copy delivers") == 1

    said = " ".join(two.press("Pause deliveries"))
    assert TWICE in said
    assert f"Only the package stash_courier delivers. Remove the folder of the copy ({folder})." in said
    assert TWICE in " ".join(two.press("Resume deliveries", BY_HAND))
    for plugin in (NAME, BY_HAND):
        status = two.stash.operation({"mode": "status"}, plugin)
        assert [line for line in status["lines"] if line.startswith(TWICE)]
        banners = two.stash.operation({"mode": "overview"}, plugin)["banners"]
        assert [one["status"] for one in banners if one["text"].startswith(TWICE)] == ["warn"]

    two.remove(folder)
    two.stash.edit(1, title="Afterwards")
    arrive_once(two, {(1, "Afterwards")})
    began = time.monotonic()
    two.stash.edit(1, title="At once")
    wait_until(lambda: (1, "At once") in two.titles(), 10.0)
    assert time.monotonic() - began < COPY_SECONDS  # it doesn't wait for the hook of a copy
    assert two.worker_of() == installed
    assert TWICE not in " ".join(two.press("Pause deliveries"))


def test_a_hook_of_the_copy_that_is_late_sends_nothing(two: Two) -> None:
    """On a busy machine the second hook of an edit may come when the edit was delivered long ago."""
    two.by_hand()
    two.package()
    arrive_once(two, edit_all(two.stash, "Both"))
    two.stash.destroy(5)
    arrive_once(two, {(5, "")})
    before = two.titles()
    for scene in range(1, 6):
        kind = {"event": "update", "changed": ["title"]} if scene < 5 else {"event": "destroy", "changed": []}
        late = {"scene": scene, **kind, "at": time.time()}
        store.put(str(two.data), store.encode(late), time.time())
    process.wake(str(two.data))
    two.drained()
    assert two.titles() == before
    two.stash.edit(1, title="Again")
    arrive_once(two, {(1, "Again")})
    assert two.dead() == 0


def test_a_copy_that_comes_later_changes_nothing(two: Two) -> None:
    """The package's worker stays. When the package is removed, the copy delivers."""
    installed = two.package()
    two.stash.configure(NAME, {"webhook_url": two.receiver.url})
    arrive_once(two, edit_all(two.stash, "The package"))
    folder = two.by_hand()
    arrive_once(two, edit_all(two.stash, "Both"))
    assert two.worker_of() == installed
    two.remove(installed)
    wait_until(lambda: "ending: removed" in two.log(), 60.0)
    arrive_once(two, edit_all(two.stash, "By hand"))
    assert two.worker_of() == folder


def test_while_the_package_is_disabled_the_copy_delivers(two: Two) -> None:
    """What is enabled in Stash delivers; the package does again when it is enabled."""
    folder, installed = two.by_hand(), two.package()
    arrive_once(two, edit_all(two.stash, "Both"))
    wait_until(lambda: two.worker_of() == installed, 10.0)
    two.stash.enable(NAME, enabled=False)
    arrive_once(two, edit_all(two.stash, "Without the package"))
    assert two.worker_of() == folder
    two.stash.enable(NAME)
    arrive_once(two, edit_all(two.stash, "With the package"))
    wait_until(lambda: two.worker_of() == installed, 10.0)


def test_a_manifest_of_an_earlier_version_is_named(two: Two) -> None:
    """A package over a folder that was copied by hand: Stash loads it twice, and each edit still arrives once."""
    installed = two.package()
    two.stash.configure(NAME, {"webhook_url": two.receiver.url})
    left = installed / "stash_plugin.yml"
    shutil.copyfile(ROOT / "stash_plugin.yml", left)
    two.stash.plugins.reload()
    arrive_once(two, edit_all(two.stash, "Twice"))
    for said in (two.press("Pause deliveries"), two.press("Show status")):
        (line,) = [line for line in said if "manifests of an earlier version: stash_plugin.yml" in line]
        assert f"Delete {left}." in line
        assert TWICE not in " ".join(said)
    banners = two.stash.operation({"mode": "overview"}, NAME)["banners"]
    assert any(f"Delete {left}." in one["text"] for one in banners)
    left.unlink()
    two.stash.plugins.reload()
    assert "earlier version" not in " ".join(two.press("Show status"))
