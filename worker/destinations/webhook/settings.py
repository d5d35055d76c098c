"""The fields of a webhook connection and of its preset: how they are parsed, and the format that they make.

A connection with a bad secret or header sends nothing until it is corrected: events that are unsigned, or lack the
header that admits them, are worse than events that wait. No problem contains a secret.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from stash_courier.worker import fields
from stash_courier.worker.destinations.webhook.presets import PRESETS, Option, Preset
from stash_courier.worker.destinations.webhook.templates import Template, parse
from stash_courier.worker.destinations.webhook.values import NAMES
from stash_courier.worker.fields import BadSetting, Field, Problem, Value
from stash_courier.worker.http.addresses import Target, read_target

NAME = "Webhook"
STANDARD = "standard"
RATE = 50.0  # scenes a second: one request each, four at once
HELP = "Sends each change to a program, a chat or a phone, as JSON over HTTP."

SECRET_PREFIX = "whsec_"  # noqa: S105 - how secrets begin by Standard Webhooks, not a secret
SECRET_BYTES = range(24, 65)  # Standard Webhooks: between 24 and 64 bytes
# Parts of a URL's path that are never a token. Any other part may be one, however short.
PATH_WORDS = {"api", "event", "events", "hook", "hooks", "incoming", "notify", "scene", "scenes", "services"}
PATH_WORDS |= {"stash", "test", "trigger", "triggers", "webhook", "webhook-test", "webhooks", "workflows"}

# Set by us or by HTTP itself, so the owner can't override them.
_RESERVED = re.compile(
    "accept-encoding|connection|content-(encoding|length|type)|expect|host|te|trailer|transfer-encoding|upgrade|"
    "x-hub-signature-256|webhook-.*"
)
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*:\s*([ -~]*)")  # a token of RFC 9110; printable ASCII


@dataclass(frozen=True, slots=True)
class Secret:
    """One signing secret."""

    text: str = field(repr=False)  # as configured
    key: bytes = field(repr=False)  # decoded


def hidden(target: Target, signing: tuple[Secret, ...], headers: Mapping[str, str]) -> tuple[str, ...]:
    """What a receiver may echo but no text may show.

    The secrets, the login, the values of headers (with and without a scheme such as "Bearer"), the URL's query
    and each of its values, and the parts of its path that may be a token.
    """
    parts = urlsplit(target.url)
    path = parts.path.strip("/")
    tokens = [part for part in path.split("/") if part.lower() not in PATH_WORDS]
    values = [*headers.values(), target.authorization]
    return (
        *(spelling for s in signing for spelling in (s.text, s.text.removeprefix(SECRET_PREFIX))),
        *(spelling for v in values for spelling in (v, v.rpartition(" ")[2])),
        target.password,
        parts.query,
        *(value for _, value in parse_qsl(parts.query)),
        *(spelling for token in (tokens and [path, *tokens]) for spelling in (token, unquote(token))),
    )


def _target(value: Value) -> Target:
    url = value.text()
    if len(url.split()) > 1:
        raise BadSetting("contains a space; write a space in a URL as %20")
    target = read_target(url)
    if "#" in url:
        raise BadSetting("contains a #, which is never sent: it is likely the address of a page, not of a webhook")
    return target


def _signing(value: Value) -> tuple[Secret, ...]:
    found = []
    for secret in value.text().split():
        try:
            key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
        except ValueError:
            key = b""
        if not secret.startswith(SECRET_PREFIX) or len(key) not in SECRET_BYTES:
            raise BadSetting(
                'is not whsec_ followed by 24 to 64 bytes in base64, such as "openssl rand -base64 32" makes'
            )
        found.append(Secret(secret, key))
    return tuple(found)


def _headers(value: Value) -> dict[str, str]:
    found: dict[str, str] = {}
    seen: set[str] = set()  # their names in lower case
    for place, part in enumerate(value.parts(";"), start=1):
        match = _HEADER.fullmatch(part)
        if match is None:
            raise BadSetting(
                f"is invalid: entry {place} must be Name: value in plain ASCII (headers are separated by ;, so "
                "they can't contain one)"
            )
        name, text = match.groups()
        lower = name.lower()
        if _RESERVED.fullmatch(lower):
            raise BadSetting(f"contains {name}, which Stash Courier sets itself; delete it")
        if lower in seen:
            raise BadSetting(f"contains {name} twice")
        seen.add(lower)
        found[name] = text
    return found


def _stash_url(value: Value) -> str:
    return read_target(value.text()).url.rstrip("/")


@dataclass(frozen=True, slots=True)
class Options:
    """The fields that all webhooks have. Most presets have more; see ``more_fields``."""

    preset: str = fields.choice(
        "Receiver",
        "Which program or service gets the messages.",
        {name: preset.label for name, preset in PRESETS.items()},
        unset=PRESETS[STANDARD].label,
        basic=True,
    )
    url: Target = fields.text(
        "Address",
        "Where each change is sent, by http or https.",
        _target,
        Target(""),
        required=True,
        basic=True,
        example="http://192.168.1.5:5678/webhook/stash",
    )
    secret: tuple[Secret, ...] = fields.secret(  # one signature each; empty: unsigned
        "Signing secret",
        "Signs each request by Standard Webhooks, so that the receiver can verify the sender: whsec_ followed by "
        "24 to 64 random bytes in base64. While you change it, enter both secrets separated by a space.",
        _signing,
        (),
        unset="not signed",
        basic=True,
    )
    headers: Mapping[str, str] = fields.secret(
        "Extra headers",
        "Sent with every request, in the form name, colon, value, separated by semicolons.",
        _headers,
        {},
        unset="none",
        example="Authorization: Bearer abc; X-Source: stash",
    )
    stash_url: str = fields.text(
        "Address of Stash",
        "Where people open Stash. Messages to chats and phones then link to the scene.",
        _stash_url,
        unset="no links",
        example="https://stash.example.org",
    )
    tell_trouble: bool = fields.switch(
        "Also tell me when something is wrong",
        "Sends a message about new dead letters, about a connection that is held up, and when it works again. "
        "Never about this connection itself.",
        unset="off, only scenes are sent",
    )
    trouble_minutes: float = fields.number(
        "Minutes until a held-up connection is reported",
        "How long a connection must be held up before a message says so.",
        (0, 1440),
        10,
        unset="10",
    )


@dataclass(frozen=True, slots=True)
class Format:
    """How the messages of one connection are made."""

    preset: Preset
    address: str = field(repr=False)  # without a login
    options: Mapping[str, str | bool] = field(default_factory=dict, repr=False)
    templates: Mapping[str, Template] = field(default_factory=dict, repr=False)  # custom: option's key → template
    stash_url: str = ""  # where people open Stash

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no text may show, in the spellings in which a receiver may echo it."""
        options = (one.key for one in self.preset.options if one.type == "secret")
        values = [str(self.options[key]) for key in options if self.options[key]]
        return tuple(dict.fromkeys(spelling for value in values for spelling in (value, quote(value, safe=":"))))


def preset_of(values: Mapping[str, object]) -> Preset:
    """The preset that a connection's raw values name; the standard one if it is unset or unknown."""
    return PRESETS.get(str(values.get("preset") or STANDARD), PRESETS[STANDARD])


def option_fields(preset: Preset) -> tuple[Field, ...]:
    """The fields that only this preset has."""
    return tuple(map(_field, preset.options))


def read_format(
    name: str, raw: Mapping[str, object], address: str, stash_url: str = ""
) -> tuple[Format | None, list[Problem]]:
    """Reads a connection's preset and its fields; never raises on their content.

    Args:
        name: the preset's, which exists.
        raw: the connection's raw values; those of other fields are ignored.
        address: the connection's, already known to be an http URL, without its login.
        stash_url: where people open Stash, for links; "" if that is unknown.

    Returns:
        The format, or None with one problem for each field that can't be used.
    """
    preset = PRESETS[name]
    options, problems = fields.parse_fields(option_fields(preset), raw)
    if not re.fullmatch(preset.address_pattern, urlsplit(address).path, re.DOTALL):
        message = f'"Address" {preset.address_must}. Until it is corrected, nothing is sent.'
        problems.insert(0, Problem("url", message))
    if problems:
        return None, problems
    templates = {}
    for option in preset.options:
        if option.type == "template" and (found := options[option.key]):
            templates[option.key] = found
            options[option.key] = ""
    return Format(preset, address, options, templates, stash_url), []


def _field(option: Option) -> Field:
    read = {"switch": fields.read_switch, "choice": fields.read_choice, "template": _read_template}
    return Field(
        "text" if option.type == "template" else option.type,
        option.label,
        option.help,
        option.default,
        read.get(option.type, partial(_read_text, option)),
        choices={choice: choice for choice in option.choices},
        basic=option.required,
        required=option.required,
        key=option.key,
    )


def _read_text(option: Option, value: Value) -> str:
    text = value.text()
    if not value.problem and not re.fullmatch(option.pattern, text, re.DOTALL | re.ASCII):
        raise BadSetting(option.must)
    return text


def _read_template(value: Value) -> Template | None:
    template, wrong = parse(value.text(), NAMES)
    if wrong:
        raise BadSetting("; it ".join(wrong))
    return template


def more_fields(values: Mapping[str, object]) -> tuple[Field, ...]:
    """The fields that only the chosen preset has."""
    return option_fields(preset_of(values))


def variants() -> list[dict[str, object]]:
    """For a form: each preset with its help, an example of its address and what it is, and its fields."""
    return [
        {
            "value": preset.name,
            "label": preset.label,
            "help": preset.help,
            "address": preset.address,
            "address_is_secret": preset.address_is_secret,
            "is_message": preset.is_message,
            # Basic fields that are advanced here: no chat checks a signature.
            "advanced": ["secret"] if preset.is_message else [],
            "fields": option_fields(preset),
        }
        for preset in PRESETS.values()
    ]


def hides_address(values: Mapping[str, object]) -> bool:
    """Whether the address is the secret. With an unknown preset it may be."""
    return preset_of(values).address_is_secret or str(values.get("preset") or STANDARD) not in PRESETS


def is_message(values: Mapping[str, object]) -> bool:
    """Whether people get the messages, in a chat or on a phone."""
    return preset_of(values).is_message


def check(options: Options, values: Mapping[str, object]) -> list[Problem]:
    """What is wrong with fields that are usable by themselves."""
    form, problems = read_format(options.preset, values, options.url.url, options.stash_url)
    own = {name.lower() for name in form.preset.headers} if form else set()
    extra = {name.lower(): name for name in options.headers}
    for lower in sorted(own & extra.keys()):
        wrong = f'"Extra headers" contains {extra[lower]}, which this receiver gets from another field; delete it.'
        problems.append(Problem("headers", wrong))
    if options.url.authorization and "authorization" in own | extra.keys():
        wrong = '"Address" contains a login, but there is another authorization; delete one.'
        problems.append(Problem("url", wrong))
    return problems
