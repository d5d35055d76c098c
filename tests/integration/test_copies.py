"""Two copies of the plugin in one Stash: one by hand as ``stash_plugin``, and one of Stash's package manager."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from stash_courier.worker import package
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


def arrive(two: Two, expected: set[tuple[int, str]]) -> None:
    """Waits until all has arrived. While two copies' hooks report an edit it may arrive twice."""
    wait_until(lambda: expected <= two.titles().keys(), 20.0)
    two.drained()


@pytest.mark.check
def test_only_the_package_delivers_while_it_is_enabled(two: Two) -> None:
    """Its code takes over from the copy by hand at once, and the copy delivers while the package is disabled."""
    folder = two.by_hand()
    arrive(two, edit_all(two.stash, "By hand"))
    assert two.worker_of() == folder

    installed = two.package("a source")
    two.stash.configure(NAME, {"webhook_url": two.receiver.url})
    arrive(two, edit_all(two.stash, "Both"))
    wait_until(lambda: two.worker_of() == installed, 10.0)
    for plugin in (NAME, BY_HAND):
        status = two.stash.operation({"mode": "status"}, plugin)
        (line,) = [line for line in status["lines"] if line.startswith(TWICE)]
        assert (
            f"Only stash_courier delivers, and changes may arrive twice. Remove stash_plugin ({folder})." in line
        )
        banners = two.stash.operation({"mode": "overview"}, plugin)["banners"]
        assert [one["status"] for one in banners if one["text"].startswith(TWICE)] == ["warn"]

    two.stash.enable(NAME, enabled=False)
    arrive(two, edit_all(two.stash, "Without the package"))
    wait_until(lambda: two.worker_of() == folder, 10.0)
    two.stash.enable(NAME)
    arrive(two, edit_all(two.stash, "With the package"))
    wait_until(lambda: two.worker_of() == installed, 20.0)
    two.remove(folder)
    arrive(two, edit_all(two.stash, "Afterwards"))
    assert two.worker_of() == installed
    assert TWICE not in " ".join(two.press("Show status"))
    assert two.dead() == 0


@pytest.mark.check
def test_a_manifest_that_a_copy_left_is_named(two: Two) -> None:
    """Where the package was unzipped over a copy by hand, Stash loads it twice: that file is to be deleted."""
    installed = two.package()
    two.stash.configure(NAME, {"webhook_url": two.receiver.url})
    left = installed / "stash_plugin.yml"
    shutil.copyfile(ROOT / "stash_plugin.yml", left)
    two.stash.plugins.reload()
    arrive(two, edit_all(two.stash, "Twice"))
    (line,) = [line for line in two.press("Show status") if line.startswith(TWICE)]
    assert f"Remove stash_plugin ({left})." in line
    left.unlink()
    two.stash.plugins.reload()
    assert TWICE not in " ".join(two.press("Show status"))
