"""What stash.json means: Stash's address and a session for it."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from stash_courier.worker.stash.address import StashAddress, StashUnavailable

SECRET = "MTc2ODI-very-secret"


def written(tmp_path: Path, **changes: Any) -> Path:
    """A stash.json as the hook writes it, with changes."""
    path = tmp_path / "stash.json"
    place = {
        "scheme": "http",
        "host": "0.0.0.0",
        "port": 9999,
        "dir": "/config",
        "plugin_dir": "/config/plugins/x",
    }
    path.write_text(json.dumps({**place, "cookie": SECRET, "at": 1000.5, **changes}))
    return path


def test_what_the_hook_wrote(tmp_path: Path) -> None:
    """The worker finds Stash at the address that the hook wrote."""
    found = StashAddress.read(written(tmp_path))
    assert found == StashAddress("http", "0.0.0.0", 9999, SECRET)
    assert SECRET not in repr(found)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:9999"),
        ("::", "http://[::1]:9999"),
        ("0:0:0:0:0:0:0:0", "http://[::1]:9999"),
        ("", "http://127.0.0.1:9999"),
        ("127.0.0.1", "http://127.0.0.1:9999"),
        ("fd00::5", "http://[fd00::5]:9999"),
        ("192.168.1.5", "http://192.168.1.5:9999"),
        ("stash.lan", "http://stash.lan:9999"),
    ],
)
def test_the_listening_address_becomes_one_to_connect_to(tmp_path: Path, host: str, url: str) -> None:
    """Whatever address Stash listens on, requests go to one that works on the same machine."""
    assert StashAddress.read(written(tmp_path, host=host)).url == url


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    """Before the first hook the message says that any edit or page view is enough."""
    with pytest.raises(StashUnavailable, match=r"doesn't exist yet.*edit any scene") as caught:
        StashAddress.read(tmp_path / "stash.json")
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"scheme": "file"},
        {"host": None},
        {"host": "me@elsewhere.example/"},
        {"port": "9999"},
        {"port": 0},
        {"port": True},
        {"cookie": None},
        {"cookie": f"{SECRET}\r\nX-Evil: 1"},
        {"cookie": f"{SECRET}; other=1"},
    ],
)
def test_a_damaged_file_is_not_quoted(tmp_path: Path, changes: dict[str, Any]) -> None:
    """The message about a damaged file doesn't contain the session."""
    path = written(tmp_path, **changes)
    with pytest.raises(StashUnavailable, match=r"is damaged.*delete it") as caught:
        StashAddress.read(path)
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b'{"scheme": "ht', b"\xff\xfe", b"[" * 100_000])
def test_any_damage_is_one_error(tmp_path: Path, content: bytes) -> None:
    """Whatever the file contains, the error is StashUnavailable."""
    path = tmp_path / "stash.json"
    path.write_bytes(content)
    with pytest.raises(StashUnavailable):
        StashAddress.read(path)


@pytest.mark.parametrize(
    ("host", "trusted"), [("127.0.0.1", True), ("0.0.0.0", True), ("", True), ("192.0.2.7", False)]
)
def test_only_this_machine_needs_no_certificate(tmp_path: Path, host: str, trusted: bool) -> None:
    """Only on this machine is a self-signed certificate accepted."""
    assert StashAddress.read(written(tmp_path, host=host)).trusted_by_place is trusted


def test_a_name_that_is_not_found_is_not_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host whose name can't be resolved must have a valid certificate."""

    def unknown(*_args: object, **_kwargs: object) -> list[object]:
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert not StashAddress.read(written(tmp_path, host="stash.lan")).trusted_by_place
