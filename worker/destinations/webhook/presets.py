"""The presets: for each kind of receiver its address, options, headers and body. Data only.

To add one, add an entry. What its fields mean is said at ``Preset`` and ``Option``. The placeholders of bodies are
those of values.py and the preset's own options.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from stash_courier.queue.troubles import DEAD_LETTERS, DOWN, UP
from stash_courier.worker.destinations.webhook.templates import Limit
from stash_courier.worker.destinations.webhook.texts import BYTES, PLAIN, SLACK, TELEGRAM

DIGEST_ABOVE = 5  # a message preset sends a digest when more deliveries than this are due
MESSAGE = 4096  # characters of a message to a receiver that has no limit of its own


@dataclass(frozen=True, slots=True)
class Option:
    """One field of a preset, as a form shows it."""

    key: str
    type: Literal["text", "secret", "switch", "choice", "template"]
    label: str
    help: str
    required: bool = False
    default: str | bool = ""
    choices: tuple[str, ...] = ()
    pattern: str = ".*"  # the whole value matches it
    must: str = ""  # what it must be, in words


@dataclass(frozen=True, slots=True)
class Preset:
    """How one kind of receiver is addressed."""

    name: str
    label: str
    help: str  # what to enter as the address
    address: str = ""  # an example
    address_pattern: str = ".*"  # the path of the address matches it
    address_must: str = ""  # what the address must be, in words
    address_is_secret: bool = False  # only its host may be shown
    options: tuple[Option, ...] = ()
    method: str = "POST"
    path: str = ""  # appended to the address's path; {event} is such as scene_updated, others are options
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)  # each is left out while its option is empty
    body: Any = None  # a template as parsed JSON; None: the standard body, or the owner's templates
    trouble: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # event type → changed members of body
    limits: Mapping[str, Limit] = field(default_factory=dict)  # key path in the body → its limit and escaping
    is_message: bool = False  # a chat or notification: digests, a neutral test, never part of "Send all"


_HEADER_VALUE = "[!-~]*"
_NO_SPACES = "must be plain ASCII without spaces; copy it again"
_NAME = "[-_A-Za-z0-9]{1,64}"


def _picture(default: bool, about: str) -> Option:
    return Option("picture", "switch", "Send the cover's address", about, default=default)


_ON_DEVICE = "The app loads the cover from Stash, so the device must reach Stash without a login."
_PRESETS = (
    Preset(
        "standard",
        "Standard webhook",
        "The address that receives each event as signed JSON, by Standard Webhooks.",
        "http://192.168.1.5:5678/webhook/stash",
    ),
    Preset(
        "home-assistant",
        "Home Assistant",
        "Home Assistant's own address, without a path. Events arrive as stash_courier_scene_updated and so on.",
        "http://homeassistant.local:8123",
        address_pattern="(?!.*/api(/|$)).*",
        address_must="must be Home Assistant's own address; delete the part from /api on",
        options=(
            Option(
                "token",
                "secret",
                "Access token",
                "A long-lived access token of an administrator, from the profile in Home Assistant, Security.",
                required=True,
                pattern=_HEADER_VALUE,
                must=_NO_SPACES,
            ),
        ),
        path="/api/events/stash_courier_{event}",
        headers={"Authorization": "Bearer {token}"},
    ),
    Preset(
        "discord",
        "Discord",
        "The address of a webhook, from the channel's settings, Integrations, Webhooks.",
        "https://discord.com/api/webhooks/…",
        address_pattern=r"/api(/v\d+)?/webhooks/\d+/[-\w]+/?",
        address_must="must be the whole address of a webhook, as Discord shows it: …/api/webhooks/number/token",
        address_is_secret=True,
        options=(_picture(False, "Discord must reach Stash from the internet to show it."),),
        query={"wait": "true"},  # else Discord answers 204 to a message that it doesn't post
        body={
            "username": "Stash Courier",
            "allowed_mentions": {"parse": []},
            "embeds": [
                {"title": "{title}", "url": "{public_url}", "description": "{text}", "image": {"url": "{picture}"}}
            ],
        },
        limits={"embeds[0].title": Limit(256, PLAIN), "embeds[0].description": Limit(4096, PLAIN)},
        is_message=True,
    ),
    Preset(
        "slack",
        "Slack",
        "The address of an incoming webhook.",
        "https://hooks.slack.com/services/…",
        address_pattern="/.*[^/].*",
        address_must="must be the whole address of an incoming webhook",
        address_is_secret=True,
        # No picture: Slack refuses a whole message if it can't load it.
        body={
            "text": "{summary}",
            "blocks": [
                {"type": "header", "text": {"type": "plain_text", "text": "{title}"}},
                {"type": "section", "text": {"type": "mrkdwn", "text": "{text}\n{url}"}},
            ],
        },
        limits={
            "text": Limit(3000, SLACK),
            "blocks[0].text.text": Limit(150, SLACK),
            "blocks[1].text.text": Limit(3000, SLACK),
        },
        is_message=True,
    ),
    Preset(
        "telegram",
        "Telegram",
        "The address of Telegram's bot API, or of your own bot API server.",
        "https://api.telegram.org",
        address_pattern="/?",
        address_must="must have no path; the bot's token has a field of its own",
        address_is_secret=True,
        options=(
            Option(
                "token",
                "secret",
                "Bot token",
                "The token that BotFather gave you.",
                required=True,
                pattern=r"\d+:[-\w]+",
                must="must be digits, a colon, and letters, without the word bot in front; copy it again",
            ),
            Option(
                "chat_id",
                "text",
                "Chat",
                "The number of the chat, which is negative for a group, or @name of a public channel.",
                required=True,
                pattern=r"-?\d+|@\w+",
                must="must be a number or @name",
            ),
        ),
        path="/bot{token}/sendMessage",
        # No picture: Telegram refuses a whole message if it can't load it.
        body={
            "chat_id": "{chat_id}",
            "text": "<b>{title}</b>\n{text}\n{url}",
            "parse_mode": "HTML",
            "link_preview_options": {"is_disabled": True},
        },
        limits={"text": Limit(4096, TELEGRAM)},
        is_message=True,
    ),
    Preset(
        "ntfy",
        "ntfy",
        "The server's address, without the topic.",
        "http://192.168.1.5:8080",
        address_pattern="/?",
        address_must="must have no path; the topic has a field of its own",
        options=(
            Option(
                "topic",
                "text",
                "Topic",
                "The topic to publish to. On a public server everybody who knows it can read it.",
                required=True,
                pattern=_NAME,
                must="must be at most 64 letters, digits, - and _",
            ),
            Option(
                "token",
                "secret",
                "Access token",
                "Needed only if the topic is protected.",
                pattern=_HEADER_VALUE,
                must=_NO_SPACES,
            ),
            _picture(True, _ON_DEVICE),
        ),
        path="/",
        headers={"Authorization": "Bearer {token}"},
        body={
            "topic": "{topic}",
            "title": "{title}",
            "message": "{text}",
            "priority": 3,
            "click": "{url}",
            "attach": "{picture}",
        },
        trouble={
            DEAD_LETTERS: {"priority": 4, "tags": ["warning"]},
            DOWN: {"priority": 4, "tags": ["warning"]},
            UP: {"tags": ["white_check_mark"]},
        },
        limits={"title": Limit(1000, BYTES), "message": Limit(4096, BYTES)},  # ntfy counts bytes
        is_message=True,
    ),
    Preset(
        "gotify",
        "Gotify",
        "The server's address.",
        "http://192.168.1.5:8081",
        address_pattern="(?!.*/message/?$).*",
        address_must="must be the server's address; delete /message at its end",
        options=(
            Option(
                "token",
                "secret",
                "App token",
                "The token of an application in Gotify.",
                required=True,
                pattern=_HEADER_VALUE,
                must=_NO_SPACES,
            ),
            _picture(True, _ON_DEVICE),
        ),
        path="/message",
        headers={"X-Gotify-Key": "{token}"},
        body={
            "title": "{title}",
            "message": "{text}",
            "priority": 4,
            "extras": {"client::notification": {"click": {"url": "{url}"}, "bigImageUrl": "{picture}"}},
        },
        trouble={DEAD_LETTERS: {"priority": 8}, DOWN: {"priority": 8}},
        limits={"title": Limit(256, PLAIN), "message": Limit(MESSAGE, PLAIN)},
        is_message=True,
    ),
    Preset(
        "apprise",
        "Apprise API",
        "The address of an Apprise API server, which passes messages on.",
        "http://192.168.1.5:8000",
        address_pattern="(?!.*/notify(/|$)).*",
        address_must="must be the server's address; delete the part from /notify on",
        options=(
            Option(
                "key",
                "secret",
                "Configuration key",
                "The key under which the server stores where to send.",
                required=True,
                pattern=_NAME,
                must="must be at most 64 letters, digits, - and _",
            ),
        ),
        path="/notify/{key}",
        body={"title": "{title}", "body": "{text}\n{url}", "type": "info", "format": "text"},
        trouble={
            DEAD_LETTERS: {"type": "warning"},
            DOWN: {"type": "failure"},
            UP: {"type": "success"},
        },
        limits={"title": Limit(256, PLAIN), "body": Limit(MESSAGE, PLAIN)},
        is_message=True,
    ),
    Preset(
        "custom",
        "Custom JSON",
        "The address that receives the JSON that you describe.",
        "http://192.168.1.5/hook",
        options=(
            Option(
                "method",
                "choice",
                "Method",
                "How it is sent.",
                default="POST",
                choices=("POST", "PUT", "PATCH"),
            ),
            Option(
                "template",
                "template",
                "Template",
                "JSON with placeholders such as {title} in its strings. It serves every event without its own.",
                required=True,
            ),
            Option("template_create", "template", "Template for new scenes", "Empty: the template above."),
            Option("template_update", "template", "Template for changed scenes", "Empty: the template above."),
            Option("template_destroy", "template", "Template for deleted scenes", "Empty: the template above."),
        ),
    ),
)

PRESETS: Mapping[str, Preset] = {preset.name: preset for preset in _PRESETS}
