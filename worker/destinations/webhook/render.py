"""From an event to the request that carries it: what the destination calls. No I/O, no clock.

    format, problems = settings.read_format("discord", values, address, stash_url)  # when a connection is loaded
    request = render(format, Item("scene.updated", delivery.at, scene_data(…)))

The destination adds what doesn't depend on the preset: the owner's extra headers, a login, and ``sign``.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from stash_courier.worker.destinations.webhook.messages import DIGEST_CHARACTERS, LARGEST_BODY, serialize
from stash_courier.worker.destinations.webhook.presets import PRESETS
from stash_courier.worker.destinations.webhook.settings import Format
from stash_courier.worker.destinations.webhook.templates import Template, compiled
from stash_courier.worker.destinations.webhook.texts import clean_all, one_line
from stash_courier.worker.destinations.webhook.values import NAMES, TEST_TYPE, Item, flat, summary_of

DIGEST_TYPE = "scene.digest"  # never in a standard body
DIGEST_LISTED = 10  # titles in a digest
DIGEST_LINE = 120  # characters of each


@dataclass(frozen=True, slots=True)
class Rendered:
    """One request, without signature and without the headers that the owner added."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    digest: str  # of the content, 16 hexadecimal digits; the same whenever the same is sent


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


def event_name(event_type: str) -> str:
    """The event's name in Home Assistant, after ``stash_courier_``: scene_updated, dead_letters, test."""
    return event_type.removeprefix("courier.").removeprefix("stash_courier.").replace(".", "_")


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
