"""From an event to the request that carries it: what the destination calls. No I/O, no clock.

    format, problems = read_format("discord", options, address, stash_url)   # when a connection is saved or loaded
    request = render(format, Item("scene.updated", delivery.at, scene_data(…)))

The destination adds what doesn't depend on the preset: the owner's extra headers, a login, and ``sign``.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from stash_courier.worker.destinations.webhook.messages import DIGEST_CHARACTERS, LARGEST_BODY, serialize
from stash_courier.worker.destinations.webhook.presets import PRESETS, Option, Preset
from stash_courier.worker.destinations.webhook.templates import Template, compiled, parse
from stash_courier.worker.destinations.webhook.texts import clean_all, one_line
from stash_courier.worker.destinations.webhook.values import NAMES, TEST_TYPE, Item, flat, summary_of

DIGEST_TYPE = "scene.digest"  # never in a standard body
DIGEST_LISTED = 10  # titles in a digest
DIGEST_LINE = 120  # characters of each


@dataclass(frozen=True, slots=True)
class Problem:
    """An option or address that can't be used."""

    key: str  # the option's key; "preset" or "address"
    message: str  # a sentence: what is wrong, where, what to do; never contains a secret


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


@dataclass(frozen=True, slots=True)
class Rendered:
    """One request, without signature and without the headers that the owner added."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    digest: str  # of the content, 16 hexadecimal digits; the same whenever the same is sent


def read_format(
    name: str, raw: Mapping[str, object], address: str, stash_url: str = ""
) -> tuple[Format | None, list[Problem]]:
    """Reads a connection's preset and options; never raises on their content.

    Args:
        name: the preset's.
        raw: option key → value as entered; others are ignored, missing ones have their default.
        address: the connection's, already known to be an http URL, without its login.
        stash_url: where people open Stash, for links; "" if that is unknown.

    Returns:
        The format, or None with one problem for each field that can't be used.
    """
    preset = PRESETS.get(name)
    if preset is None:
        return None, [Problem("preset", f"The preset is unknown; choose one of {', '.join(PRESETS)}.")]
    problems = []
    if not re.fullmatch(preset.address_pattern, urlsplit(address).path, re.DOTALL):
        problems.append(Problem("address", f"The address {preset.address_must}."))
    options: dict[str, str | bool] = {}
    templates: dict[str, Template] = {}
    for option in preset.options:
        options[option.key], wrong = _read(option, raw.get(option.key))
        if not wrong and option.type == "template" and (text := options[option.key]):
            template, found = parse(str(text), NAMES)
            wrong = "; it ".join(found)
            if template is not None:
                templates[option.key] = template
        if wrong:
            problems.append(Problem(option.key, f'"{option.label}" {wrong}.'))
    return (None, problems) if problems else (Format(preset, address, options, templates, stash_url), [])


def render(form: Format, item: Item) -> Rendered:
    """The request for one event: of a scene, a test, or Stash Courier's own trouble."""
    preset = form.preset
    if preset.body is None and not form.templates:
        data = item.data if preset.name == "standard" else clean_all(item.data)
        message = serialize(item.type, item.at, data)  # type: ignore[arg-type]
        return _request(form, item.type, message.body, message.digest)
    values = {**flat(item, form.stash_url), **{key: str(value) for key, value in form.options.items()}}
    if preset.body is not None:
        template = _body(preset.name, item.type)
        values["picture"] = values["image"] if form.options.get("picture") else ""
        values["public_url"] = values["url"]
        if preset.name == "discord":
            values["picture"], values["public_url"] = _public(str(values["picture"])), _public(str(values["url"]))
    else:
        template = form.templates.get(f"template_{values['event']}") or form.templates["template"]
    body = template.fill(values, LARGEST_BODY)
    return _request(form, item.type, body, _digest_of(body))


def render_digest(form: Format, items: Sequence[Item]) -> Rendered:
    """One message of a message preset for many scenes: their number and the first ten titles.

    Its webhook-id is ``msg_digest_<digest>``. The digest is of all the items' content in the order of their
    sequence, so the same set has the same id after a crash.

    Args:
        items: at least one, of scenes.
    """
    ordered = sorted(items, key=lambda item: (item.data.get("sequence") or 0, str(item.data.get("id"))))
    first = [(item.type, {**item.data, "changed": (), "studio": None}) for item in ordered[:DIGEST_LISTED]]
    lines = [one_line(summary_of(event_type, data), DIGEST_LINE) for event_type, data in first]
    if more := len(ordered) - len(lines):
        lines.append(f"More: {more}")
    title = f"Scenes in Stash: {len(ordered)}"
    data: dict[str, Any] = {"title": title, "summary": title, "text": "\n".join(lines), "count": len(ordered)}
    if form.stash_url:
        data["url"] = f"{form.stash_url.rstrip('/')}/scenes"
    rendered = render(form, Item(DIGEST_TYPE, ordered[0].at, data))
    parts = (serialize(item.type, item.at, item.data).digest for item in ordered)
    return replace(rendered, digest=_digest_of("".join(parts).encode()))


def render_test(
    form: Format, at: float, data: Mapping[str, Any] | None = None, *, show_scene: bool = False
) -> Rendered:
    """A test. A message preset sends a neutral sentence unless a scene is asked for; others show a scene's data.

    Args:
        form: how.
        at: now, unix seconds.
        data: of a scene; None if Stash has none.
        show_scene: the owner asked for the scene in a message.
    """
    if data is None or (form.preset.is_message and not show_scene):
        said = "A test by Stash Courier. Messages arrive here."
        data = {"title": "Stash Courier", "summary": said, "text": said, "message": said}
    return render(form, Item(TEST_TYPE, at, data))


def shown_address(preset: Preset, address: str) -> str:
    """The address as a person may see it: without login and query, and only the host where it is the secret."""
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    return host if preset.address_is_secret else urlunsplit((parts.scheme, host, parts.path, "", ""))


def event_name(event_type: str) -> str:
    """The event's name in Home Assistant, after ``stash_courier_``: scene_updated, dead_letters, test."""
    return event_type.removeprefix("courier.").removeprefix("stash_courier.").replace(".", "_")


def _read(option: Option, raw: object) -> tuple[str | bool, str]:
    """The option's value, and what is wrong with it."""
    if option.type == "switch":
        return (raw, "") if isinstance(raw, bool) else (option.default, "" if raw is None else "must be on or off")
    if raw is not None and not isinstance(raw, str):
        return "", "must be text"
    value = (raw or "").strip() or str(option.default)
    if not value:
        return "", f"is empty. {option.help.rstrip('.')}" if option.required else ""
    if option.choices and value not in option.choices:
        return "", f"must be one of {', '.join(option.choices)}"
    return value, "" if re.fullmatch(option.pattern, value, re.DOTALL | re.ASCII) else option.must


def _request(form: Format, event_type: str, body: bytes, digest: str) -> Rendered:
    preset = form.preset
    given = {key: value for key, value in form.options.items() if isinstance(value, str)}
    path = preset.path
    for key, value in {**given, "event": event_name(event_type)}.items():
        if f"{{{key}}}" in path:
            path = path.replace(f"{{{key}}}", quote(value, safe=":"))
    headers = {"Content-Type": "application/json"}
    for name, header in preset.headers.items():
        for key, value in given.items():
            if f"{{{key}}}" in header and value:
                headers[name] = header.replace(f"{{{key}}}", value)
    parts = urlsplit(form.address)
    query = parts.query
    if preset.query:
        own = [(key, value) for key, value in parse_qsl(query, keep_blank_values=True) if key not in preset.query]
        query = urlencode([*own, *preset.query.items()])
    whole = parts.path.rstrip("/") + path if path else parts.path
    url = urlunsplit((parts.scheme, parts.netloc, whole, query, ""))
    return Rendered(given.get("method") or preset.method, url, headers, body, digest)


@functools.cache
def _body(name: str, event_type: str) -> Template:
    """A preset's template for one type of event."""
    preset = PRESETS[name]
    tree = {**preset.body, **preset.trouble.get(event_type, {})}
    names = [*NAMES, "picture", "public_url", *(option.key for option in preset.options)]
    template, problems = compiled(tree, names, preset.limits, drop_empty=True)
    assert template is not None, problems
    return template


def _public(url: str) -> str:
    """The address, if Discord accepts it: it refuses a whole message for a host name without a dot."""
    try:
        return url if "." in (urlsplit(url).hostname or "") else ""
    except ValueError:  # not an address
        return ""


def _digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:DIGEST_CHARACTERS]
