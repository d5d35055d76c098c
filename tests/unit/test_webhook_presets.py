"""Presets: where and how each sends, what its messages say, limits, digests, tests, and what it keeps secret."""

from __future__ import annotations

import dataclasses
import html
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings

from stash_courier.queue import troubles
from stash_courier.worker.destinations import secret_fields
from stash_courier.worker.destinations.webhook.presets import PRESETS
from stash_courier.worker.destinations.webhook.render import (
    render,
    render_digest,
    render_test,
)
from stash_courier.worker.destinations.webhook.settings import read_format
from stash_courier.worker.destinations.webhook.values import NAMES, Item
from tests import ROOT
from tests.support.webhook_items import (
    AT,
    MESSAGES,
    OPTIONS,
    SCENE,
    body,
    examples,
    form,
    item,
    items,
    parsed,
    strings,
)

EVERY = [name for name in PRESETS if name != "custom"]
DOWN = examples()[troubles.DOWN]
TEXT = "Changed: tag, title\nAnna, Zoë\nNorth, 2024-05-01\n\nA morning at the lake.\nShot in one take."
LINK = "http://stash.lan:9999/scenes/17"
TITLES_OF: dict[str, Callable[[Any], tuple[str, ...]]] = {  # where the title and the message are in each body
    "discord": lambda b: (b["embeds"][0]["title"], b["embeds"][0].get("description", "")),
    "slack": lambda b: (b["blocks"][0]["text"]["text"], b["blocks"][1]["text"]["text"]),
    "telegram": lambda b: tuple(b["text"].split("\n", 1)),
    "ntfy": lambda b: (b["title"], b["message"]),
    "gotify": lambda b: (b["title"], b["message"]),
    "apprise": lambda b: (b["title"], b["body"]),
}


def wrong(name: str, address: str = "http://127.0.0.1:1", **options: object) -> dict[str, str]:
    """The problems of a preset, by field."""
    made, problems = read_format(name, options, address)
    assert made is None
    return {one.field: one.message for one in problems}


@pytest.mark.parametrize(
    ("name", "base", "url", "headers"),
    [
        ("standard", "http://h:1/hook?a=b", "http://h:1/hook?a=b", {}),
        (
            "home-assistant",
            "http://h:1/",
            "http://h:1/api/events/stash_courier_scene_updated",
            {"Authorization": "Bearer 123:abc-DEF"},
        ),
        ("discord", "http://h/api/webhooks/1/t", "http://h/api/webhooks/1/t?wait=true", {}),
        (
            "discord",
            "http://h/api/webhooks/1/t?thread_id=5&wait=false",
            "http://h/api/webhooks/1/t?thread_id=5&wait=true",
            {},
        ),
        ("slack", "http://h/services/T/B/x", "http://h/services/T/B/x", {}),
        ("telegram", "http://h", "http://h/bot123:abc-DEF/sendMessage", {}),
        ("ntfy", "http://h", "http://h/", {"Authorization": "Bearer 123:abc-DEF"}),
        ("gotify", "http://h/sub/", "http://h/sub/message", {"X-Gotify-Key": "123:abc-DEF"}),
        ("apprise", "http://h:8000", "http://h:8000/notify/stash", {}),
        ("custom", "http://h/any?x=%20", "http://h/any?x=%20", {}),
    ],
)
def test_where_it_is_sent(name: str, base: str, url: str, headers: dict[str, str]) -> None:
    """Each preset makes the request that its receiver wants: address, method, headers."""
    made, problems = read_format(name, OPTIONS, base)
    assert made is not None, problems
    got = render(made, item())
    assert (got.method, got.url) == ("POST", url)
    assert got.headers == {"Content-Type": "application/json", **headers}


def test_the_events_of_home_assistant() -> None:
    """Each type of event has its own event name in Home Assistant."""
    paths = {urlsplit(render(form("home-assistant"), of).url).path for of in examples().values()}
    start = "/api/events/stash_courier_"
    names = "scene_created scene_updated scene_destroyed test dead_letters connection_down connection_up"
    assert paths == {start + name for name in names.split()}


def test_what_messages_look_like() -> None:
    """A changed scene as each message preset sends it."""
    discord = {"title": "First light", "url": LINK, "description": TEXT}
    assert body("discord", item()) == {
        "username": "Stash Courier",
        "allowed_mentions": {"parse": []},
        "embeds": [discord],
    }
    assert body("slack", item()) == {
        "text": "Scene changed: First light (tag, title)",
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": "First light"}},
            {"type": "section", "text": {"type": "mrkdwn", "text": f"{TEXT}\n{LINK}"}},
        ],
    }
    assert body("telegram", item()) == {
        "chat_id": "-100123",
        "text": f"<b>First light</b>\n{TEXT}\n{LINK}",
        "parse_mode": "HTML",
        "link_preview_options": {"is_disabled": True},
    }
    assert body("ntfy", item()) == {
        "topic": "stash",
        "title": "First light",
        "message": TEXT,
        "priority": 3,
        "click": LINK,
        "attach": SCENE.cover_url,
    }
    click = {"click": {"url": LINK}, "bigImageUrl": SCENE.cover_url}
    assert body("gotify", item()) == {
        "title": "First light",
        "message": TEXT,
        "priority": 4,
        "extras": {"client::notification": click},
    }
    assert body("apprise", item()) == {
        "title": "First light",
        "body": f"{TEXT}\n{LINK}",
        "type": "info",
        "format": "text",
    }


@pytest.mark.parametrize("name", MESSAGES)
def test_every_event_makes_a_message(name: str) -> None:
    """Each type of event has a title and a text, trouble says what is wrong, and no member is empty."""
    for of in examples().values():
        got = body(name, of)
        title, text = TITLES_OF[name](got)
        assert title.strip()
        assert text.strip()
        assert "" not in strings(got)
    title, text = TITLES_OF[name](body(name, DOWN))
    assert "Jellyfin" in title
    assert text.count("It refuses the API key") == 1
    assert "Enter a new key" in text


def test_trouble_is_louder() -> None:
    """Trouble has a higher priority where the receiver knows priorities, and a type in Apprise."""
    up = examples()[troubles.UP]
    assert [body("ntfy", of)["priority"] for of in (item(), DOWN, up)] == [3, 4, 3]
    assert [body("gotify", of)["priority"] for of in (item(), DOWN, up)] == [4, 8, 4]
    assert [body("apprise", of)["type"] for of in (item(), DOWN, up)] == ["info", "failure", "success"]


@pytest.mark.parametrize("name", MESSAGES)
def test_what_is_unknown_is_left_out(name: str) -> None:
    """Without Stash's address and a cover, the members for link and picture are left out, not sent empty."""
    bare = dataclasses.replace(SCENE, cover_url="", details="", studio=None, performers=(), date="")
    got = parsed(render(form(name, stash_url=""), item(bare)))
    assert not [text for text in strings(got) if text == "" or "://" in text]
    assert not got.keys() & {"click", "attach", "extras"}
    assert TITLES_OF[name](got)[1] == "Changed: tag, title"


# Pictures and links


@pytest.mark.parametrize("name", EVERY)
def test_no_picture_goes_to_the_cloud_by_default(name: str) -> None:
    """Discord, Slack and Telegram get no address of a picture; with the option, Discord does."""
    sent = SCENE.cover_url in strings(body(name, item()))
    assert sent == (name not in ("discord", "slack", "telegram", "apprise"))
    if "picture" in {option.key for option in PRESETS[name].options}:
        assert SCENE.cover_url in strings(body(name, item(), picture=True))
        assert SCENE.cover_url not in strings(body(name, item(), picture=False))


@pytest.mark.parametrize(
    ("stash", "kept"),
    [
        ("http://stash:9999", False),
        ("http://localhost:9999", False),
        ("http://192.168.1.5:9999", True),
        ("http://[bad", False),
    ],
)
def test_discord_gets_no_link_that_it_refuses(stash: str, kept: bool) -> None:
    """Discord refuses a whole message with a link to a host name without a dot, so it gets none."""
    discord = form("discord", {"picture": True}, stash_url=stash)
    scene = dataclasses.replace(SCENE, cover_url=f"{stash}/scene/17/screenshot")
    embed = parsed(render(discord, item(scene)))["embeds"][0]
    assert ("url" in embed, "image" in embed) == (kept, kept)


# Limits and escapes


def utf16(text: str) -> int:
    """The length as JavaScript counts."""
    return len(text.encode("utf-16-le")) // 2


def unescaped(text: str) -> str:
    """Telegram's HTML or Slack's text as it is shown; fails for a broken escape or an unknown tag."""
    shown = re.sub(r"</?b>", "", text)
    assert not re.search(r"[<>]|&(?!(amp|lt|gt);)", shown), shown[-100:]
    return html.unescape(shown)


@pytest.mark.parametrize("letter", ["x", "🎬", "&", "é", '"', "\n."])
def test_long_texts_are_cut_where_the_service_counts(letter: str) -> None:
    """Title and text fill their limits, as each service counts, and stop there."""
    scene = dataclasses.replace(SCENE, title=(letter * 400).replace("\n", ""), details=letter * 100_000)
    of = item(scene)
    embed = body("discord", of)["embeds"][0]
    assert utf16(embed["title"]) <= 256
    assert 4090 <= utf16(embed["description"]) <= 4096
    header, section = (block["text"]["text"] for block in body("slack", of)["blocks"])
    assert utf16(header) <= 150
    assert 2990 <= utf16(section) <= 3000
    assert section.endswith(LINK)
    assert "…" in unescaped(section)
    text = body("telegram", of)["text"]
    assert 4080 <= utf16(unescaped(text)) <= 4096
    assert text.endswith(LINK)
    sent = render(form("ntfy"), of).body
    assert len(sent) < 8192  # ntfy reads no more
    assert 4000 / 3 < len(parsed(render(form("ntfy"), of))["message"].encode()) <= 4096


@given(items)
@hypothesis_settings(max_examples=100)
def test_no_scene_breaks_a_message(of: Item) -> None:
    """Whatever a scene contains, each message is JSON without lone surrogates, within limits, escapes whole."""
    for name in MESSAGES:
        got = body(name, of)
        assert not any("\ud800" <= letter <= "\udfff" for text in strings(got) for letter in text)
        title, text = TITLES_OF[name](got)
        assert title.strip()
        assert text.strip()
    embed = body("discord", of)["embeds"][0]
    assert utf16(embed["title"]) <= 256
    assert utf16(embed["description"]) <= 4096
    for text in strings(body("slack", of)):
        unescaped(text)
        assert utf16(text) <= 3000
    assert utf16(unescaped(body("telegram", of)["text"])) <= 4096


def test_mentions_are_not_possible() -> None:
    """No title notifies everyone: Discord is told so, and Slack's commands are escaped."""
    scene = dataclasses.replace(SCENE, title="@everyone <!channel> <@U1>")
    assert body("discord", item(scene))["allowed_mentions"] == {"parse": []}
    assert body("slack", item(scene))["blocks"][0]["text"]["text"] == "@everyone &lt;!channel&gt; &lt;@U1&gt;"


# Digests and tests


def titled(count: int) -> list[Item]:
    """Changes of scenes, the oldest first."""
    scenes = [dataclasses.replace(SCENE, id=n, title=f"Title {n}") for n in range(1, count + 1)]
    types = ("scene.created", "scene.updated", "scene.updated")
    return [item(scene, types[n % 3], 1000 + n) for n, scene in enumerate(scenes)]


@pytest.mark.parametrize("name", MESSAGES)
def test_a_digest_has_the_count_and_ten_titles(name: str) -> None:
    """A digest is one message with the number of scenes and the first ten titles, in the order of the events."""
    got = render_digest(form(name), titled(12)[::-1])
    title, text = TITLES_OF[name](parsed(got))
    assert "12" in title
    assert re.findall(r"Title \d+", text) == [f"Title {n}" for n in range(1, 11)]
    assert text.startswith("New scene: Title 1\nScene changed: Title 2\n")
    assert "More: 2" in text
    assert got.url == render(form(name), item()).url


def test_a_digests_id_is_its_content() -> None:
    """The same set has the same digest in any order and at any time; another set, also beyond ten, another one."""
    some = titled(12)
    later = [dataclasses.replace(one, at=AT + 60) for one in some[::-1]]
    discord = form("discord")
    first = render_digest(discord, some).digest
    assert re.fullmatch("[0-9a-f]{16}", first)
    assert render_digest(discord, later).digest == first
    changed = [*some[:11], item(dataclasses.replace(SCENE, id=12, title="New title"), sequence=1011)]
    assert render_digest(discord, changed).digest != first
    assert render_digest(discord, some[:11]).digest != first


@pytest.mark.parametrize("name", [*MESSAGES, "custom", "standard", "home-assistant"])
def test_a_test_shows_no_scene_unless_asked(name: str) -> None:
    """A test of a message preset is a neutral sentence; other presets show what a scene looks like."""
    data = item().data
    quiet = strings(parsed(render_test(form(name), AT, data)))
    assert any("First light" in text for text in quiet) == (name not in MESSAGES)
    assert name not in MESSAGES or any("A test by Stash Courier" in text for text in quiet)
    asked = strings(parsed(render_test(form(name), AT, data, show_scene=True)))
    assert any("First light" in text for text in asked)


# What is entered


@pytest.mark.parametrize(
    ("name", "address", "said"),
    [
        ("home-assistant", "http://h/api/webhook/x", "delete the part from /api on"),
        ("discord", "http://h/hook", "…/api/webhooks/number/token"),
        ("discord", "http://h/api/webhooks/1/t/slack", "…/api/webhooks/number/token"),
        ("slack", "http://h/", "the whole address of an incoming webhook"),
        ("telegram", "http://h/bot123:abc/sendMessage", "the bot's token has a field of its own"),
        ("ntfy", "http://h/topic", "the topic has a field of its own"),
        ("gotify", "http://h/message", "delete /message at its end"),
        ("apprise", "http://h/notify/key", "delete the part from /notify on"),
    ],
)
def test_a_wrong_address_is_explained(name: str, address: str, said: str) -> None:
    """An address that the preset can't use is a problem that says what it must be, and isn't quoted."""
    made, (only,) = read_format(name, OPTIONS, address)
    assert (made, only.field) == (None, "url")
    assert said in only.message
    assert address not in only.message


def test_missing_and_wrong_options() -> None:
    """Each required option that is missing, and each value that can't be right, is reported without quoting it."""
    assert wrong("home-assistant") == {"token": '"Access token" is empty. Until it is corrected, nothing is sent.'}
    assert wrong("telegram").keys() == {"token", "chat_id"}
    telegram = wrong("telegram", token="bot1:secret", chat_id="my chat")
    assert "without the word bot in front" in telegram["token"]
    assert telegram["chat_id"] == '"Chat" must be a number or @name. Until it is corrected, nothing is sent.'
    assert "secret" not in str(telegram)
    assert wrong("ntfy", topic="a/b").keys() == wrong("ntfy", topic=5).keys() == {"topic"}
    assert wrong("gotify", token="a\r\nX: y").keys() == {"token"}
    assert wrong("discord", picture="yes").keys() == {"url", "picture"}


@pytest.mark.parametrize("name", PRESETS)
def test_options_are_described(name: str) -> None:
    """Each preset and option has a label and a sentence of help, and each secret is one that the format names."""
    preset = PRESETS[name]
    assert preset.label
    assert preset.help.endswith(".")
    for option in preset.options:
        assert option.label
        assert option.help.endswith(".")
        assert option.pattern == ".*" or option.must.startswith("must")
    secret = {option.key for option in preset.options if option.type == "secret"}
    assert set(form(name).secrets) == {OPTIONS[key] for key in secret}


@pytest.mark.parametrize("name", PRESETS)
def test_no_secret_is_shown(name: str) -> None:
    """Neither token nor address is in the printed form of what we pass around."""
    made = form(name)
    for shown in (repr(made), repr(render(made, item()))):
        assert "123:abc" not in shown
        assert "127.0.0.1" not in shown


def test_the_address_that_is_hidden() -> None:
    """For Discord, Slack and Telegram the address is the secret."""
    values = {"url": "http://h:8080/api/webhooks/1/token"}
    hidden = {name for name in PRESETS if "url" in secret_fields("webhook", {**values, "preset": name})}
    assert hidden == {"discord", "slack", "telegram"}


def test_the_documentation_is_complete() -> None:
    """docs/connections.md has a row for each preset and each name that templates can use."""
    text = (ROOT / "docs" / "connections.md").read_text(encoding="utf-8")
    text = text.partition("### Presets")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([\w-]+)` \|(?: (.*) \|)?$", text, re.MULTILINE)
    assert [row[0] for row in rows] == [*PRESETS, *NAMES]
    assert dict(rows[len(PRESETS) :]) == NAMES
