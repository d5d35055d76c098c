"""Programs that tests start: servers that we didn't write, and what npm installed."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests import ROOT

NPM = ROOT / ".build" / "npm"


@contextlib.contextmanager
def running(
    command: list[str], port: int, env: Mapping[str, str] | None = None, within: float = 10
) -> Iterator[None]:
    """Runs a server until the block ends; waits until it listens.

    Raises:
        RuntimeError: it ended, or didn't listen within this many seconds.
    """
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ, **(env or {})}
    ) as process:
        try:
            latest = time.monotonic() + within
            while True:
                if process.poll() is not None:
                    raise RuntimeError(f"{command[0]} ended: {process.stderr.read().decode()}")  # type: ignore[union-attr]
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                if time.monotonic() > latest:
                    raise RuntimeError(f"{command[0]} doesn't listen after {within} s")
                time.sleep(0.02)
            yield
        finally:
            process.terminate()
            process.communicate()


def node_modules() -> Path:
    """Where npm installed the judges; skips the test, with the reason, if it couldn't."""
    installed = NPM / ".installed"
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    if not installed.exists():
        pytest.skip("what tests/npm lists is not installed (make .build/npm/.installed)")
    if reason := installed.read_text(encoding="utf-8").strip():
        pytest.skip(reason)
    return NPM / "node_modules"


def node(script: str, stdin: str) -> list[str]:
    """Runs a script of tests/npm with this input; returns the lines that it wrote."""
    env = {**os.environ, "NODE_PATH": str(node_modules())}
    command = ["node", str(ROOT / "tests" / "npm" / script)]
    done = subprocess.run(command, input=stdin, env=env, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
