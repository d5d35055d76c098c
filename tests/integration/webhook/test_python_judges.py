"""Messages as they arrive, judged by Slack's own library and compared with what Apprise sends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from slack_sdk.models.blocks import Block
from standardwebhooks.webhooks import Webhook

from stash_courier.worker.destinations.webhook.render import render_digest
from stash_courier.worker.destinations.webhook.settings import Format
from tests.standin.receivers import Received, Receiver
from tests.support.webhook_items import HOSTILE, OPTIONS, examples, form, item
from tests.support.webhook_sending import OK, SECRET, received, send

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.filterwarnings("ignore:.imghdr:DeprecationWarning"),  # Apprise imports it
]

ITEMS = [*examples().values(), item(HOSTILE)]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that accepts everything, in the words of all services."""
    with Receiver(OK) as made:
        yield made


def base(receiver: Receiver) -> str:
    """Its address without a path."""
    return receiver.url.rstrip("/")


def judge(body: Any) -> None:
    """Raises unless Slack's library takes the blocks."""
    blocks = [Block.parse(block) for block in body["blocks"]]
    assert [block.to_dict() for block in blocks if block] == body["blocks"]
    for block in blocks:
        assert block is not None
        block.validate_json()
        block.text.validate_json()  # type: ignore[attr-defined]


def test_slacks_library_takes_our_blocks(receiver: Receiver) -> None:
    """Slack's library parses the blocks of every event, of hostile texts and of a digest, and finds them valid."""
    slack = form("slack", base=base(receiver))
    bodies = [got.json() for got in received(slack, *ITEMS, receiver=receiver)]
    send(render_digest(slack, [item(HOSTILE, sequence=n) for n in range(50)]))
    for body in (*bodies, receiver.received[-1].json()):
        judge(body)
        assert body["text"]


def test_the_standard_body_is_verified_as_it_arrives(receiver: Receiver) -> None:
    """Each event that arrives over a socket is verified by the library of Standard Webhooks."""
    for got in received(form("standard", base=base(receiver)), *ITEMS, receiver=receiver):
        assert Webhook(SECRET).verify(got.body.decode(), dict(got.headers)) == got.json()


# Apprise: name → the URL that it is given for the same receiver, after scheme://


APPRISE: dict[str, Callable[[str], str]] = {
    "gotify": lambda host: f"gotify://{host}/{quote(TOKEN)}",
    "ntfy": lambda host: f"ntfy://{quote(TOKEN)}@{host}/stash?auth=token&attach=http://a.b/c.jpg",
    "apprise": lambda host: f"apprise://{host}/stash/?method=json&version=1",
    "discord": lambda _: "discord://1/tok?format=markdown&avatar=no&footer=no",
    "telegram": lambda _: f"tgram://{TOKEN}/-100123/",
    "slack": lambda _: "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/?blocks=yes&image=no",
}
TOKEN = "123456789:abcdefghijklmnopqrstuvwxyzabcdefghi"
SERVICE = {"discord": "notify_url", "telegram": "notify_url", "slack": "webhook_url"}  # not to their real hosts
PATHS = {"discord": "api/webhooks", "telegram": "bot", "slack": "services"}


@pytest.fixture
def sent_by_apprise(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Received]:
    """Sends a message with Apprise to the receiver instead of the service, and returns what arrived."""
    apprise = pytest.importorskip("apprise", reason="apprise is not installed")

    def send_one(name: str) -> Received:
        if name in SERVICE:
            plugin = type(apprise.Apprise.instantiate(APPRISE[name]("")))
            monkeypatch.setattr(plugin, SERVICE[name], receiver.url + PATHS[name])
        sender = apprise.Apprise()
        assert sender.add(APPRISE[name](f"127.0.0.1:{receiver.port}"))
        sender.notify(title="First light", body="A text")
        return receiver.received[-1]

    return send_one


def ours_for(name: str, receiver: Receiver) -> Format:
    """Our preset with the same token."""
    return form(name, {**OPTIONS, "token": TOKEN, "picture": True}, base(receiver))


@pytest.mark.parametrize("name", APPRISE)
def test_apprise_sends_the_same_way(
    name: str, receiver: Receiver, sent_by_apprise: Callable[[str], Received]
) -> None:
    """Our request has the method, path, kind of body and authorization that Apprise uses for the same service."""
    theirs = sent_by_apprise(name)
    (ours,) = received(ours_for(name, receiver), item(), receiver=receiver)
    paths = [urlsplit(got.path).path for got in (ours, theirs)]
    if name == "slack":  # its address is entered as a whole
        paths = [path.split("/")[1] for path in paths]
    assert paths[0] == paths[1]
    assert ours.method == theirs.method == "POST"
    assert ours.headers["content-type"] == theirs.headers["content-type"].partition(";")[0]
    for header in ("authorization", "x-gotify-key"):
        assert ours.headers.get(header) == theirs.headers.get(header)


def shared(ours: Any, theirs: Any, path: str = "") -> list[str]:
    """The key paths that both bodies have; fails where their types differ."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        both = ours.keys() & theirs.keys()
        return sorted(found for key in both for found in shared(ours[key], theirs[key], f"{path}.{key}"))
    if isinstance(ours, list) and isinstance(theirs, list):
        pairs = enumerate(zip(ours, theirs, strict=False))
        return [found for place, pair in pairs for found in shared(*pair, f"{path}[{place}]")]
    assert type(ours) is type(theirs), path
    return [path.lstrip(".")]


@pytest.mark.parametrize(
    ("name", "common"),
    [
        ("gotify", ["message", "priority", "title"]),
        ("ntfy", ["attach", "message", "title", "topic"]),
        ("apprise", ["body", "title", "type"]),
        ("discord", ["embeds[0].description", "embeds[0].title"]),
        ("telegram", ["parse_mode", "text"]),
        (
            "slack",
            [
                "blocks[0].text.text",
                "blocks[0].text.type",
                "blocks[0].type",
                "blocks[1].text.text",
                "blocks[1].text.type",
                "blocks[1].type",
            ],
        ),
    ],
)
def test_apprise_puts_it_in_the_same_place(
    name: str, common: list[str], receiver: Receiver, sent_by_apprise: Callable[[str], Received]
) -> None:
    """Title and text are where Apprise has them, with the same types."""
    theirs = sent_by_apprise(name).json()
    (got,) = received(ours_for(name, receiver), item(), receiver=receiver)
    ours = got.json()
    if name == "slack":
        theirs = theirs["attachments"][0]
    if name == "telegram":  # a text, so that @name works as well; Telegram takes both
        assert str(theirs.pop("chat_id")) == ours.pop("chat_id")
    assert shared(ours, theirs) == common
