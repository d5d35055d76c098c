"""Receivers that store what they get: Debian's json2file-go and Node-RED. What they stored is what was sent."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from stash_courier.queue.failures import DeliveryFailed
from stash_courier.worker.destinations.webhook.render import render
from stash_courier.worker.destinations.webhook.texts import clean_all
from tests.standin.ports import free_port
from tests.support.programs import node_modules, running
from tests.support.webhook_items import HOSTILE, examples, form, item, parsed
from tests.support.webhook_sending import SECRET, send

ITEMS = [*examples().values(), item(HOSTILE)]


@pytest.mark.timeout(60)
def test_json2file_stores_each_event(tmp_path: Path) -> None:
    """json2file-go verifies the signature and stores each event; a wrong secret is refused."""
    program = shutil.which("json2file-go", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("json2file-go is not installed (apt-get install json2file-go)")
    port = free_port()
    env = {
        "J2F_HOST": "127.0.0.1",
        "J2F_PORT": str(port),
        "J2F_BASEDIR": str(tmp_path),
        "J2F_DIRLIST": f"stash:{SECRET}",
        "J2F_SIGNATURE_HEADERS": "X-Hub-Signature-256",
    }
    address = f"http://127.0.0.1:{port}/stash"
    sent = [render(form("standard", base=address), of) for of in ITEMS]
    with running([program], port, env):
        for rendered in sent:
            send(rendered)
        with pytest.raises(DeliveryFailed) as caught:
            send(sent[0], "whsec_" + "A" * 44)
    assert caught.value.status == 400
    stored = sorted((tmp_path / "stash").iterdir())
    expected = [clean_all(parsed(rendered)) for rendered in sent]  # Go has no lone surrogates
    assert [json.loads(path.read_bytes()) for path in stored] == expected


FLOW: list[dict[str, Any]] = [
    {"id": "tab", "type": "tab", "label": "events"},
    {"id": "in", "type": "http in", "url": "/stash", "method": "post", "wires": [["store"]]},
    {
        "id": "store",
        "type": "function",
        "func": "const all = flow.get('all') || []; all.push(msg.payload); flow.set('all', all); "
        "msg.payload = {stored: all.length}; return msg;",
        "outputs": 1,
        "wires": [["out"]],
    },
    {"id": "get", "type": "http in", "url": "/stash", "method": "get", "wires": [["read"]]},
    {
        "id": "read",
        "type": "function",
        "func": "msg.payload = flow.get('all') || []; return msg;",
        "outputs": 1,
        "wires": [["out"]],
    },
    {"id": "out", "type": "http response", "statusCode": "200", "wires": []},
]


def wait_for_flow(address: str) -> None:
    """Waits until the flow answers: Node-RED listens before it has started the flow."""
    for _ in range(300):
        with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(address, timeout=10):
            return
        time.sleep(0.1)
    raise TimeoutError(address)


@pytest.mark.timeout(180)
def test_a_flow_of_node_red_gets_each_event(tmp_path: Path) -> None:
    """A flow of Node-RED gets every event as an object, by the standard body and by a template."""
    program = node_modules() / "node-red" / "red.js"
    flow = [{**one, "z": "tab", "x": 0, "y": 0} if one["type"] != "tab" else one for one in FLOW]
    (tmp_path / "flows.json").write_text(json.dumps(flow), encoding="utf-8")
    port = free_port()
    settings = {
        "uiHost": "127.0.0.1",
        "uiPort": port,
        "httpAdminRoot": False,
        "flowFile": "flows.json",
        "credentialSecret": False,
    }
    (tmp_path / "settings.js").write_text(f"module.exports = {json.dumps(settings)};", encoding="utf-8")
    command = ["node", str(program), "--userDir", str(tmp_path), "--settings", str(tmp_path / "settings.js")]
    address = f"http://127.0.0.1:{port}/stash"
    standard = form("standard", base=address)
    sent = [render(standard, of) for of in ITEMS]
    sent += [render(form("custom", base=address), of) for of in ITEMS]
    with running(command, port, within=120):
        wait_for_flow(address)
        for rendered in sent:
            send(rendered)
        with urllib.request.urlopen(address, timeout=10) as answer:
            stored = json.load(answer)
    assert stored == [parsed(rendered) for rendered in sent]
