"""The folder that ``make plugin`` builds works on each installed Python without pip, network or site-packages."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stash_courier.worker import requirements
from tests import ROOT
from tests.standin.receivers import Receiver

WHEELS = ROOT / ".build" / "wheels"
BUILD = [sys.executable, str(ROOT / "tools" / "build_plugin.py")]
VERSIONS = ((3, 11), (3, 12), (3, 13), (3, 14))

# Names the package as plugin/main.py does, imports all our modules, and prints every module's file.
IMPORT_ALL = """
import importlib, json, pathlib, sys
folder = pathlib.Path(sys.argv[1])
package = type(sys)("stash_courier")
package.__path__ = [str(folder)]
sys.modules["stash_courier"] = package
from stash_courier.plugin import vendored
vendored.add(str(folder))
for top in ("plugin", "queue", "worker"):
    for file in sorted((folder / top).rglob("*.py")):
        parts = file.relative_to(folder).with_suffix("").parts
        if parts != ("plugin", "main"):  # it is started, never imported
            importlib.import_module(".".join(("stash_courier", *parts)).removesuffix(".__init__"))
import persistqueue, requests, stashapi.stashapp
print(json.dumps({name: getattr(m, "__file__", None) for name, m in sys.modules.items()}))
"""


def interpreters() -> dict[str, str]:
    """An installed Python of each version: on the path, or beside ours, where version managers put them."""
    beside = Path(sys.base_prefix).parent.glob("*/bin/python3")
    named = (shutil.which(f"python3.{minor}") for _, minor in VERSIONS)
    found: dict[str, str] = {}
    for candidate in (sys.executable, *(str(p) for p in sorted(beside)), *(n for n in named if n)):
        ask = [candidate, "-I", "-c", "import sys; print(*sys.version_info[:2])"]
        answer = subprocess.run(ask, capture_output=True, text=True, check=False)
        if answer.returncode == 0:
            version = tuple(int(part) for part in answer.stdout.split())
            if version in VERSIONS:
                found.setdefault(".".join(map(str, version)), candidate)
    return found


def too_old() -> str | None:
    """An installed Python that can't even read the hook's modules."""
    places = (
        *Path(sys.base_prefix).parent.glob("*/bin/python"),
        *(Path("/usr/bin") / n for n in ("python2", "python3.6")),
    )
    for candidate in places:
        ask = [str(candidate), "-c", "import sys; print(sys.version_info < (3, 7))"]
        if (
            candidate.exists()
            and subprocess.run(ask, capture_output=True, text=True, check=False).stdout == "True\n"
        ):
            return str(candidate)
    return None


PYTHONS = interpreters()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plugin folder, built once, at a path with a space."""
    if not any(WHEELS.glob("*.whl")):
        pytest.skip(f"the plugin's libraries are not in {WHEELS}; `make test` downloads them")
    target = tmp_path_factory.mktemp("stash plugins") / "stash_courier"
    subprocess.run([*BUILD, "--target", str(target)], check=True, stdout=subprocess.PIPE)
    return target


def names(folder: Path) -> set[str]:
    """The relative paths of all files in a folder."""
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("version", PYTHONS)
def test_imports_from_the_folder_alone(folder: Path, version: str) -> None:
    """Every module of the plugin can be imported by a Python without packages, and without a warning."""
    command = [PYTHONS[version], "-I", "-S", "-B", "-W", "error", "-c", IMPORT_ALL, str(folder)]
    imported = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
    assert imported.returncode == 0, imported.stderr
    assert imported.stderr == ""
    origins = json.loads(imported.stdout)
    for module in (
        "persistqueue",
        "stashapi",
        "requests",
        "urllib3",
        "certifi",
        "charset_normalizer",
        "idna",
    ):
        assert Path(origins[module]).is_relative_to(folder / "lib"), module
    assert Path(origins["queue"]).parent == Path(origins["json"]).parents[1]


def test_takes_a_hook(folder: Path, tmp_path: Path) -> None:
    """Started as Stash starts it, the folder's hook queues an event."""
    hook = {
        "server_connection": {"Scheme": "http", "Host": "127.0.0.1", "Port": 9, "Dir": "/nowhere"},
        "args": {
            "mode": "hook",
            "hookContext": {"id": 7, "type": "Scene.Update.Post", "input": {"id": "7"}, "inputFields": ["id"]},
        },
    }
    environment = {
        "PYTHONPATH": str(folder.parent),
        "PATH": os.defpath,
        "STASH_COURIER_DATA": str(tmp_path),
        "STASH_COURIER_WORKER": "off",
    }
    command = [sys.executable, "-B", "-S", "-E", str(folder / "plugin" / "main.py")]
    done = subprocess.run(
        command, input=json.dumps(hook), env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "output" in json.loads(done.stdout)
    assert (tmp_path / "queue.db").is_file()


def press(python: str, folder: Path, data: Path) -> tuple[int, str, str]:
    """Starts a mode as Stash does: its exit code, the error for Stash, and what Stash logs."""
    done = subprocess.run(
        [python, "-B", "-S", "-E", str(folder / "plugin" / "main.py")],
        input=json.dumps({"server_connection": {"Dir": str(data)}, "args": {"mode": "connection_kinds"}}),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, json.loads(done.stdout).get("error", ""), done.stderr


@pytest.mark.parametrize("missing", ["worker", "plugin/hook.py", "plugin/buttons"])
def test_a_folder_that_is_not_whole_says_so(folder: Path, tmp_path: Path, missing: str) -> None:
    """Whatever is missing, the page and Stash's log get one sentence that says what to do, and no traceback."""
    broken = tmp_path / "stash_courier"
    shutil.copytree(folder, broken)
    gone = broken / missing
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    code, error, log = press(sys.executable, broken, tmp_path)
    assert code == 1
    assert error.startswith("The plugin can't start (")
    assert "Install it again" in error
    assert "Traceback" not in log
    assert error in log


def test_a_python_that_is_too_old_says_so(folder: Path, tmp_path: Path) -> None:
    """Also a Python that can't read the hook's modules says which one is needed and where to enter it."""
    python = too_old()
    if python is None:
        pytest.skip("no Python older than 3.7 is on this machine")
    code, error, log = press(python, folder, tmp_path)
    needed = ".".join(map(str, requirements.PYTHON))
    assert code == 1
    assert f"was found, and Python {needed} or newer is needed" in error
    assert '"Python Executable Path"' in error
    assert log == f"{error}\n"


def test_holds_what_it_needs_and_no_more(folder: Path) -> None:
    """The folder has one manifest, code, libraries and their licenses, and nothing compiled or for tests."""
    here = names(folder)
    assert {name.split("/", 1)[0] for name in here} == {
        *("LICENSE", "README.md", "files.json", "stash_courier.yml"),
        *("lib", "plugin", "queue", "worker"),
    }
    for top in ("plugin", "queue", "worker"):
        wanted = {n for n in names(ROOT / top) if "__pycache__" not in n and "/." not in f"/{n}"}
        assert {n.removeprefix(f"{top}/") for n in here if n.startswith(f"{top}/")} == wanted
    assert not [name for name in here if "/bin/" in name or name.endswith((".pth", ".pyc", ".so", ".pyd", ".dll"))]
    assert [name for name in here if name.endswith(".yml")] == ["stash_courier.yml"]
    listed = (folder / "lib" / "LICENSES.md").read_text(encoding="utf-8")
    for info in folder.glob("lib/*.dist-info"):
        texts = [path for path in (info / "licenses").rglob("*") if path.is_file()]
        assert texts, info.name
        assert all(path.relative_to(folder / "lib").as_posix() in listed for path in texts)


def test_refuses_other_wheels(folder: Path, tmp_path: Path) -> None:
    """A library that differs from the locked one by a byte stops the build with a message."""
    wheels = tmp_path / "wheels"
    shutil.copytree(WHEELS, wheels)
    changed = next(wheels.glob("requests-*.whl"))
    changed.write_bytes(changed.read_bytes() + b"\0")
    built = subprocess.run(
        [*BUILD, "--wheels", str(wheels), "--target", str(tmp_path / "stash_courier")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 1
    assert built.stderr.startswith("requests==")
    assert "Traceback" not in built.stderr


# Imports what the worker imports at its start, deletes the folder, and uses every kind of destination.
WITHOUT_FILES = """
import shutil, sys
folder, url = sys.argv[1:]
package = type(sys)("stash_courier")
package.__path__ = [folder]
sys.modules["stash_courier"] = package
sys.path.insert(0, folder + "/lib")
from stash_courier.worker import main
main.import_all()
shutil.rmtree(folder)
from stash_courier.worker import destinations, settings
from stash_courier.worker.connections.model import Entry
from stash_courier.worker.http import transport
transport._tls_context(None)
for kind, module in destinations.kinds().items():
    secret = {} if kind == "webhook" else {"key": "0123456789abcdef0123"}
    connection, wrong = destinations.configured(
        Entry(kind, kind, kind, values={"url": url, **secret}), settings.parse({})[0]
    )
    assert connection is not None, wrong
    print(kind, [step.status for step in destinations.make(connection).test([])])
"""


def test_a_running_worker_needs_no_file_of_the_folder(folder: Path, tmp_path: Path) -> None:
    """While an update has deleted the files, the running worker goes on: it has imported everything before."""
    copy = shutil.copytree(folder, tmp_path / "plugin")
    with Receiver() as receiver:
        command = [sys.executable, "-I", "-S", "-B", "-c", WITHOUT_FILES, str(copy), receiver.url]
        done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "webhook ['ok', 'ok']" in done.stdout
    assert {line.split()[0] for line in done.stdout.splitlines()} == {"webhook", "jellyfin", "plex", "emby"}
