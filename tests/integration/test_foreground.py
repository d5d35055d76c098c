"""A worker under systemd or in a container of its own, started as docs/installing.md says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from stash_courier.worker import process
from stash_courier.worker.stash.address import NamedStash
from tests import ROOT
from tests.standin.receivers import Receiver
from tests.standin.stash import StandInStash

KEY = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.key"
# Runs main.py as it is, but with this many seconds without Stash after which a worker in the background ends.
IMPATIENT = """
import sys
main = sys.argv.pop(1)
exec(compile(open(main).read().partition('if __name__')[0], main, "exec"), {"__name__": "main", "__file__": main})
from stash_courier.plugin import vendored
vendored.add(sys.argv.pop(1))
from stash_courier.worker import main
main.STASH_GONE_SECONDS = 0.0
sys.exit(main.main())
"""


@pytest.fixture
def stash(tmp_path: Path, receiver: Receiver) -> Iterator[StandInStash]:
    """A Stash with a password, elsewhere than where it says it listens, whose plugin starts no worker."""
    server = StandInStash(
        3,
        config_dir=tmp_path / "stash",
        host="stash.invalid",
        credentials=("owner", "password"),
        api_key=KEY,
        env={"STASH_COURIER_WORKER": "off"},
    )
    with server:
        plugin = tmp_path / "stash" / "plugins" / "stash_courier"
        plugin.parent.mkdir()
        plugin.symlink_to(ROOT)
        server.plugins.reload()
        server.configure("stash_plugin", {"webhook_url": receiver.url})
        yield server


def example(language: str) -> str:
    """The example of docs/installing.md in this language."""
    found = re.search(rf"```{language}\n(.*?)```", (ROOT / "docs" / "installing.md").read_text(), re.DOTALL)
    assert found
    return found[1]


def of_systemd() -> tuple[list[str], dict[str, str], str]:
    """Command and environment of the unit file, and where it has Stash's folder."""
    lines = [line.partition("=")[::2] for line in example("ini").splitlines()]
    (command,) = (value for name, value in lines if name == "ExecStart")
    env = dict(value.split("=", 1) for name, value in lines if name == "Environment")
    assert [value for name, value in lines if name == "EnvironmentFile"] == ["-/etc/stash-courier.env"]
    key = dict(line.split("=", 1) for line in example("sh").splitlines())
    return shlex.split(command), {**env, **key}, "/var/lib/stash"


def of_compose() -> tuple[list[str], dict[str, str], str]:
    """Command and environment of the Compose file's worker, and where it has Stash's folder."""
    services = yaml.safe_load(example("yaml"))["services"]
    assert services["stash"]["environment"] == {"STASH_COURIER_WORKER": "off"}
    assert services["stash"]["volumes"] == services["courier"]["volumes"] == ["./config:/root/.stash"]
    return services["courier"]["command"], services["courier"]["environment"], "/root/.stash"


def here(
    documented: tuple[list[str], dict[str, str], str], stash: StandInStash
) -> tuple[list[str], dict[str, str]]:
    """The documented command and environment, with this machine's Python, folder, address and key."""
    command, env, folder = documented
    places = {folder: str(stash.config.config_dir)}
    python, *arguments = [argument.replace(folder, places[folder]) for argument in command]
    assert python.rpartition("/")[2] == "python3"
    assert set(env) == {"STASH_COURIER_DATA", "STASH_COURIER_STASH_URL", "STASH_COURIER_API_KEY"}
    assert re.fullmatch(r"http://[\w.]+:9999", env["STASH_COURIER_STASH_URL"])
    data = env["STASH_COURIER_DATA"].replace(folder, places[folder])
    return [sys.executable, *arguments], {
        "STASH_COURIER_DATA": data,
        "STASH_COURIER_STASH_URL": stash.url,
        "STASH_COURIER_API_KEY": KEY,
    }


@contextmanager
def worker(command: list[str], env: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A worker in the foreground, which is stopped as systemd and Docker do it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STASH_COURIER")}
    child = subprocess.Popen(command, env={**kept, **env}, stderr=subprocess.PIPE, text=True)
    try:
        yield child
    finally:
        child.terminate()
        child.communicate(timeout=30)


def read_until(child: subprocess.Popen[str], text: str) -> None:
    """Reads the log on stderr up to a line with this text."""
    assert child.stderr is not None
    assert any(text in line for line in child.stderr), f"the worker ended without {text!r}"


@pytest.mark.parametrize("documented", [of_systemd, of_compose])
def test_the_documented_service_delivers(stash: StandInStash, receiver: Receiver, documented: object) -> None:
    """The command and environment in the docs reach a Stash that listens elsewhere, with the API key."""
    assert callable(documented)
    command, env = here(documented(), stash)
    with worker(command, env) as child:
        stash.edit(1, title="New")
        (received,) = receiver.wait_for(1)
        assert received.json()["data"]["title"] == "New"
        assert process.running(env["STASH_COURIER_DATA"])
        assert os.getpriority(os.PRIO_PROCESS, child.pid) == os.nice(0)  # whoever starts a service decides
    assert child.returncode == 0
    assert stash.requests.by_credential["cookie"] == 0
    assert KEY not in (Path(env["STASH_COURIER_DATA"]) / "worker.log").read_text()


@pytest.mark.parametrize("foreground", [True, False])
def test_only_a_worker_in_the_foreground_stays(stash: StandInStash, receiver: Receiver, foreground: bool) -> None:
    """A service stays while Stash is away; a worker that the plugin started ends, as a hook starts another."""
    stash.stop()
    command, env = here(of_systemd(), stash)
    main = next(argument for argument in command if argument.endswith("main.py"))
    command = [*command[: command.index(main)], "-c", IMPATIENT, main, str(ROOT), "worker"]
    if not foreground:
        with worker(command, {**env, process.LOCK_FD: "none"}) as child:
            assert child.wait(30) == 0
        return
    with worker(command, env) as child:
        read_until(child, "Stash can't be asked")
        stash.start()
        stash.edit(1, title="New")
        receiver.wait_for(1)
        assert child.poll() is None


def test_new_code_stays_in_the_foreground(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """When the worker becomes new code, it is still what the service manager started, or what the plugin did."""
    became: list[Mapping[str, str]] = []
    monkeypatch.setattr(os, "execve", lambda *arguments: became.append(arguments[2]))
    for foreground in (True, False):
        with (tmp_path / "worker.lock").open("w", encoding="ascii") as lock:
            process.become(str(tmp_path), str(ROOT), lock.fileno(), foreground=foreground)
    for expected, env in zip((True, False), became, strict=True):
        with monkeypatch.context() as patch:
            for name, value in env.items():
                patch.setenv(name, value)
            assert process.in_foreground() is expected
    assert process.in_foreground()


def test_a_refused_key_is_named(stash: StandInStash) -> None:
    """With a wrong key the log says which variable to correct."""
    command, env = here(of_systemd(), stash)
    with worker(command, {**env, "STASH_COURIER_API_KEY": "wrong"}) as child:
        read_until(child, "refuses STASH_COURIER_API_KEY (401)")


def test_an_address_without_port_or_key(tmp_path: Path) -> None:
    """The port follows from the scheme; a key with a line break is refused."""
    there = tmp_path / "stash.json"
    url = {"STASH_COURIER_STASH_URL": "https://stash.example/"}
    assert NamedStash.read(url).address(there).url == "https://stash.example:443"
    with pytest.raises(ValueError, match="STASH_COURIER_API_KEY can't be used"):
        NamedStash.read({"STASH_COURIER_API_KEY": "a\nb"})
    assert NamedStash.read({}) == NamedStash()


@pytest.mark.parametrize(
    "url",
    [
        "stash:9999",
        "http://",
        "http://stash:0",
        "http://me:secret@stash:9999",
        "http://a/secret",
        "http://[secret",
    ],
)
def test_an_impossible_address_is_refused(url: str) -> None:
    """The sentence names the variable and never quotes it."""
    with pytest.raises(ValueError, match="STASH_COURIER_STASH_URL can't be used") as refused:
        NamedStash.read({"STASH_COURIER_STASH_URL": url})
    assert "secret" not in str(refused.value)
