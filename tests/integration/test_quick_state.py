"""A view asks Stash for the plugin's settings, also when Stash is slow, refuses, or is something else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from stash_courier.queue.inbox import files
from stash_courier.worker.stash import quick
from stash_courier.worker.stash.address import StashUnavailable
from tests.standin.receivers import RawReceiver, Receiver, Reply, never_answer
from tests.standin.stash.server import StandInStash
from tests.support import certificate

SETTINGS = {"path_map": "a => b"}
STATE = {
    "configuration": {"general": {"apiKey": "", "username": ""}, "plugins": {"stash_plugin": SETTINGS}},
    "plugins": [{"id": "stash_plugin", "name": "Stash Courier", "enabled": True}],
}


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A self-signed certificate for 127.0.0.1 with its key, in one file."""
    if not certificate.can_make():
        pytest.skip(certificate.MISSING)
    return certificate.make(tmp_path_factory.mktemp("tls") / "self-signed.pem")


def place(folder: Path, port: int, scheme: str = "http") -> None:
    """Writes where Stash is."""
    known: Mapping[str, Any] = {"scheme": scheme, "host": "127.0.0.1", "port": port, "cookie": "c00kie"}
    (folder / files.STASH).write_text(json.dumps(known))


def port_of(receiver: Receiver) -> int:
    """Where a receiver listens."""
    return int(receiver.url.split(":")[2].split("/")[0])


@pytest.mark.parametrize("tls", [False, True])
def test_the_settings_come_from_stash(tls: bool, tmp_path: Path, pem: str) -> None:
    """Over https too, with a self-signed certificate, as a Stash on this machine has. The session goes along."""
    with Receiver(Reply(body=json.dumps({"data": STATE}).encode()), tls=pem if tls else None) as stash:
        place(tmp_path, port_of(stash), "https" if tls else "http")
        found = quick.plugin_state(tmp_path, 2.0)
        assert (found.settings, found.enabled) == (SETTINGS, True)
        (got,) = stash.received
        assert got.headers["cookie"] == "session=c00kie"


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(401), "401"),
        (Reply(302), "302"),
        (Reply(body=b"<html>"), "can't be used"),
        (Reply(body=b"[]"), "can't be used"),
        (Reply(body=b'{"data": {}}'), "can't be used"),
        (Reply(body=b'{"errors": [{"message": "c00kie"}], "data": null}'), "can't be used"),
    ],
)
def test_what_is_no_answer_is_told_in_a_sentence(reply: Reply, said: str, tmp_path: Path) -> None:
    """The sentence says what is wrong and never contains the session."""
    with Receiver(reply) as stash:
        place(tmp_path, port_of(stash))
        with pytest.raises(StashUnavailable, match=said) as caught:
            quick.plugin_state(tmp_path, 2.0)
    assert "c00kie" not in str(caught.value)


def test_a_stash_that_hangs_is_not_waited_for(tmp_path: Path) -> None:
    """A view goes on with what was known."""
    with RawReceiver(never_answer) as stash:
        place(tmp_path, stash.port)
        with pytest.raises(StashUnavailable, match="did not answer within"):
            quick.plugin_state(tmp_path, 0.2)


def test_nothing_listens_there(tmp_path: Path) -> None:
    """The sentence says so."""
    with StandInStash(1, config_dir=tmp_path) as stash:
        port = int(stash.url.rpartition(":")[2])
    place(tmp_path, port)
    with pytest.raises(StashUnavailable, match="can't be reached; is it running"):
        quick.plugin_state(tmp_path, 2.0)
