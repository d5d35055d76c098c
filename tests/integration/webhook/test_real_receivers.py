"""Receivers and judges that we didn't write take what is sent: Debian's webhook and json2file-go, nginx, npm."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.worker.destinations.webhook.render import render, render_digest
from stash_courier.worker.destinations.webhook.texts import clean_all
from tests.standin.ports import free_port
from tests.standin.receivers import Receiver
from tests.support.programs import node, node_modules, running
from tests.support.webhook_items import HOSTILE, OPTIONS, examples, form, item, parsed
from tests.support.webhook_samples import DESTROY, webhook
from tests.support.webhook_sending import OK, SECRET, received, send

pytestmark = [pytest.mark.timeout(180), pytest.mark.check]

ITEMS = [*examples().values(), item(HOSTILE)]


def deliver(url: str, secret: str = SECRET) -> DeliveryFailed | None:
    """Delivers one event; returns the failure."""
    destination = webhook({"url": url, "secret": secret})
    try:
        destination.deliver(DESTROY, None)
    except DeliveryFailed as failed:
        return failed
    finally:
        destination.close()
    return None


def refused(url: str, secret: str = SECRET) -> DeliveryFailed:
    """The failure of one event."""
    failed = deliver(url, secret)
    assert failed is not None
    return failed


# Receivers


@pytest.fixture
def debian_webhook(tmp_path: Path) -> Iterator[str]:
    """Debian's webhook: accepts a valid X-Hub-Signature-256 and touches a file named after the scene."""
    if shutil.which("webhook") is None:
        pytest.skip("webhook is not installed (apt-get install webhook)")
    signed = {"source": "header", "name": "X-Hub-Signature-256"}
    hook = {
        "id": "stash",
        "execute-command": shutil.which("touch"),
        "command-working-directory": str(tmp_path),
        "pass-arguments-to-command": [{"source": "payload", "name": "data.id"}],
        "include-command-output-in-response": True,
        "trigger-rule": {"match": {"type": "payload-hmac-sha256", "secret": SECRET, "parameter": signed}},
    }
    (tmp_path / "hooks.json").write_text(json.dumps([hook]))
    port = free_port()
    command = ["webhook", "-hooks", str(tmp_path / "hooks.json"), "-ip", "127.0.0.1", "-port", str(port)]
    with running(command, port):
        yield f"http://127.0.0.1:{port}/hooks/stash"


def test_debians_webhook_runs_its_command_for_our_signature(debian_webhook: str, tmp_path: Path) -> None:
    """With our secret it runs its command. Another secret is refused, an unknown hook holds the destination."""
    failed = refused(debian_webhook, "whsec_" + base64.b64encode(bytes(32)).decode())
    assert (failed.failure, failed.status) == (Failure.REFUSED, 500)
    failed = refused(debian_webhook + "-not")
    assert (failed.failure, failed.status) == (Failure.DESTINATION, 404)
    assert not (tmp_path / "17").exists()
    assert deliver(debian_webhook) is None
    assert (tmp_path / "17").exists()


@pytest.fixture
def behind_nginx(tmp_path: Path) -> Iterator[tuple[str, Receiver]]:
    """nginx: its address and the receiver behind it."""
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed (apt-get install nginx-light)")
    port = free_port()
    with Receiver() as receiver:
        temporary = "".join(
            f"{kind}_temp_path {tmp_path}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (tmp_path / "nginx.conf").write_text(f"""
            daemon off; master_process off; pid {tmp_path}/nginx.pid;
            {"user root;" if os.geteuid() == 0 else ""}
            events {{}}
            http {{
                access_log off;
                {temporary}
                limit_req_zone $server_addr zone=calm:1m rate=1r/m;
                server {{
                    listen 127.0.0.1:{port};
                    location /taken {{ proxy_pass {receiver.url}; }}
                    location /gone {{ return 410; }}
                    location /moved {{ return 308 $scheme://$host/elsewhere?token=abc; }}
                    location /small {{ client_max_body_size 10; proxy_pass {receiver.url}; }}
                    location /calm {{
                        limit_req zone=calm; limit_req_status 429; add_header Retry-After 120 always;
                        proxy_pass {receiver.url};
                    }}
                }}
            }}""")
        command = [
            "nginx",
            "-p",
            str(tmp_path),
            "-e",
            str(tmp_path / "error.log"),
            "-c",
            str(tmp_path / "nginx.conf"),
        ]
        with running(command, port):
            yield f"http://127.0.0.1:{port}/", receiver


def test_nginx_refuses_in_every_way(behind_nginx: tuple[str, Receiver]) -> None:
    """nginx's answers are understood: taken, gone, moved, too large, too many requests, bad gateway."""
    url, receiver = behind_nginx
    assert deliver(url + "taken") is None
    assert receiver.received[0].headers["webhook-signature"].startswith("v1,")
    gone, moved, large = (refused(url + place) for place in ("gone", "moved", "small"))
    assert (gone.failure, gone.status) == (Failure.GONE, 410)
    assert (moved.failure, moved.status) == (Failure.DESTINATION, 308)
    assert (large.failure, large.status) == (Failure.REJECTED, 413)
    assert "client_max_body_size" in large.message
    assert deliver(url + "calm") is None
    many = refused(url + "calm")
    assert (many.failure, many.status, many.retry_after) == (Failure.BUSY, 429, 120.0)
    receiver.down()
    unavailable = refused(url + "taken")
    assert (unavailable.failure, unavailable.status) == (Failure.BUSY, 502)


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


# npm's libraries


def test_discords_builders_take_our_embeds() -> None:
    """discord.js accepts every embed: of each event, of hostile texts, with a picture, of a digest."""
    with Receiver(OK) as receiver:
        discord = form("discord", {**OPTIONS, "picture": True}, receiver.url.rstrip("/"))
        received(discord, *ITEMS, receiver=receiver)
        send(render_digest(discord, [item(HOSTILE, sequence=n) for n in range(50)]))
        bodies = [got.json() for got in receiver.received]
    long = {"embeds": [{"title": "x" * 257}]}
    lines = node("discord.cjs", "\n".join(json.dumps(body) for body in [*bodies, long]))
    assert lines[:-1] == ["ok"] * len(bodies)
    assert lines[-1] != "ok", "the judge isn't one"


def test_npms_standardwebhooks_verifies() -> None:
    """npm's library of Standard Webhooks verifies an event, and refuses one that was changed."""
    with Receiver(OK) as receiver:
        standard = form("standard", base=receiver.url.rstrip("/"))
        (got,) = received(standard, examples()["scene.created"], receiver=receiver)
    body = got.body.decode()
    message = {"secret": SECRET, "body": body, "headers": dict(got.headers)}
    assert node("verify.cjs", json.dumps(message)) == ["scene.created"]
    message["body"] = body.replace("First", "Last")
    assert node("verify.cjs", json.dumps(message)) == ["No matching signature found"]
