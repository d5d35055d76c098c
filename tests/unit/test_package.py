"""The plugin's id, its own files, and other copies of it."""

from __future__ import annotations

import json
import os
import runpy
import shutil
from pathlib import Path

import pytest

from stash_courier.worker import package
from stash_courier.worker.package import CodeWatch

ID = "stash_courier"


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stash's plugins folder, with a copy by hand, from which the code runs."""
    monkeypatch.setattr(package, "ROOT", install(tmp_path / "plugins" / "by hand", package.CHECKOUT))
    return tmp_path / "plugins"


def install(folder: Path, plugin: str, *, managed: bool = False) -> Path:
    """A small plugin folder as the build makes it; ``managed``: as Stash's package manager installs it."""
    (folder / "worker").mkdir(parents=True)
    (folder / "worker" / "main.py").write_text("pass")
    (folder / f"{plugin}.yml").write_text("name: Stash Courier")
    files = {path.relative_to(folder).as_posix(): path.stat().st_size for path in folder.rglob("*.*")}
    (folder / package.LIST).write_text(json.dumps({"id": plugin, "files": files}))
    if managed:
        (folder / "manifest").write_text("id: stash_courier")
    return folder


def test_a_checkout_is_stash_plugin() -> None:
    """A checkout in the plugins folder works as the plugin stash_plugin."""
    assert (package.ID, package.INSTALLED) == ("stash_plugin", False)


@pytest.mark.parametrize("damage", ["missing", "cut", "no list", "bad list"])
def test_an_incomplete_folder_is_noticed(tmp_path: Path, damage: str) -> None:
    """A file that is missing or only partly written is named."""
    folder = install(tmp_path / "plugin", ID)
    assert package.incomplete(folder) == ""
    code, listed = folder / "worker" / "main.py", folder / package.LIST
    match damage:
        case "missing":
            code.unlink()
        case "cut":
            code.write_text("pa")
        case "no list":
            listed.unlink()
        case "bad list":
            listed.write_text('{"id": "stash_courier", "fil')
    assert package.incomplete(folder) == (package.LIST if "list" in damage else "worker/main.py")


def test_new_code_counts_when_all_of_it_is_there(tmp_path: Path) -> None:
    """A running worker doesn't switch to a folder in which an update has yet to write a file."""
    folder = install(tmp_path / "plugin", ID)
    watch = CodeWatch(folder)
    code = folder / "worker" / "main.py"
    code.write_text("pass  # new")
    listed = folder / package.LIST
    listed.unlink()
    assert [watch.look(), watch.look(), watch.look()] == [None, None, None]
    listed.write_text(json.dumps({"id": ID, "files": {"worker/main.py": code.stat().st_size}}))
    assert watch.look() == "new code"


@pytest.mark.parametrize(
    ("this", "others", "enabled", "delivers"),
    [
        ("stash_plugin", [], True, "stash_plugin"),
        ("stash_plugin", [], False, "stash_plugin"),
        ("stash_plugin", ["stash_courier"], True, "stash_courier"),
        ("stash_courier", ["stash_plugin"], True, "stash_courier"),
        ("stash_courier", ["stash_plugin"], False, "stash_plugin"),
        ("stash_plugin", ["my_copy"], True, "my_copy"),
        ("my_copy", ["stash_plugin"], True, "my_copy"),
    ],
)
def test_of_two_copies_one_delivers(
    this: str, others: list[str], enabled: bool, delivers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package before a copy by hand, if it is enabled; all copies agree on it."""
    monkeypatch.setattr(package, "ID", this)
    assert package.delivering(others, enabled=enabled) == delivers


def test_a_copy_is_found_by_its_manifest(plugins: Path) -> None:
    """In Stash's plugins folder, or in the folder of a source below it."""
    assert package.find(ID) is None
    assert package.find("stash_plugin") == package.ROOT / "stash_plugin.yml"
    folder = install(plugins / "a source" / ID, ID)
    assert package.find(ID) == folder / f"{ID}.yml"


def test_an_update_on_a_slow_disk_is_no_removal(tmp_path: Path) -> None:
    """While only the list of files or the libraries are written, the worker stays."""
    folder = install(tmp_path / "plugin", ID)
    watch = CodeWatch(folder)
    code, listed = folder / "worker" / "main.py", folder / package.LIST
    content = listed.read_bytes()
    code.unlink()
    listed.unlink()
    assert [watch.look() for _ in range(5)] == [None] * 5
    listed.write_bytes(content)
    assert [watch.look() for _ in range(50)] == [None] * 50
    code.write_text("pass")
    assert [watch.look(), watch.look()] == [None, "new code"]


def test_a_removed_plugin_is_noticed_within_a_minute(tmp_path: Path) -> None:
    """The worker looks every two seconds."""
    folder = install(tmp_path / "plugin", ID)
    watch = CodeWatch(folder)
    shutil.rmtree(folder)
    assert "removed" in [watch.look() for _ in range(12)]


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_package_without_its_list_is_no_checkout(tmp_path: Path, by_hand: bool) -> None:
    """A worker that starts while an update has deleted the list doesn't take the id of a copy by hand."""
    folder = tmp_path / "plugin"
    (folder / "lib").mkdir(parents=True)
    (folder / "worker").mkdir()
    if by_hand:
        (folder / "stash_plugin.yml").touch()
    code = shutil.copy(Path(package.__file__), folder / "worker")
    with pytest.raises(ImportError, match=r"files\.json is missing"):
        runpy.run_path(str(code))


def test_files_that_are_replaced_during_the_start_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that began to import one version and ended with the next starts again: it would be a mixture."""
    folder = install(tmp_path / "plugin", ID)
    monkeypatch.setattr(package, "ROOT", folder)
    monkeypatch.setattr(package, "INSTALLED", True)
    listed = folder / package.LIST
    monkeypatch.setenv("STASH_COURIER_FILES", str(listed.stat().st_mtime_ns))
    assert not package.replaced()
    content = listed.read_bytes()
    listed.unlink()
    assert package.replaced()
    listed.write_bytes(content)  # the same sizes, as most updates of a digit
    os.utime(listed, ns=(1, 1))
    assert package.replaced()
    monkeypatch.setenv("STASH_COURIER_FILES", "")  # it was deleted at that moment
    assert package.replaced()
    monkeypatch.delenv("STASH_COURIER_FILES")  # started by hand
    assert not package.replaced()
