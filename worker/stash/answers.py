"""How an answer of Stash is read, and what it says of this plugin. Imports little, for the views.

queries.py has the queries about scenes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from stash_courier.worker import package

T = TypeVar("T")
NULL = type(None)

# Every state includes the API key and the user name, so that a new or changed key is known without
# another request.
STATE = f"""
  configuration {{ general {{ apiKey username }} plugins(include: {json.dumps([package.ID])}) }}
  plugins {{ id name enabled }}
"""

PLUGIN_STATE = f"query PluginState {{{STATE}}}"


class WrongShape(ValueError):
    """An answer doesn't match Stash's schema. The message names the field and not its value, perhaps a secret."""


def read(owner: object, path: str, *kinds: type) -> Any:
    """The value at a path of keys, like ``paths.screenshot``, if it has one of these types.

    A missing key is WrongShape, not null.
    """
    value = owner
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            raise WrongShape(f"{path} is missing")
        value = value[key]
    if type(value) not in kinds:
        raise WrongShape(f"{path} is {'null' if value is None else f'of type {type(value).__name__}'}")
    return value


def read_text(owner: object, path: str) -> str:
    """The text at a path; "" for null."""
    return read(owner, path, str, NULL) or ""


def read_list(owner: object, path: str, read_item: Callable[[object], T]) -> tuple[T, ...]:
    """What ``read_item`` makes of each item of the list at a path."""
    found = read(owner, path, list)
    try:
        return tuple(map(read_item, found))
    except WrongShape as error:
        raise WrongShape(f"{path}: {error}") from None


@dataclass(frozen=True, slots=True)
class PluginState:
    """What Stash knows about this plugin."""

    settings: Mapping[str, object]  # as stored; settings without a value are absent
    enabled: bool  # also False if Stash hasn't loaded the plugin
    copies: tuple[str, ...] = ()  # ids of other enabled plugins with this plugin's name


@dataclass(frozen=True, slots=True)
class Login:
    """What Stash requires of its clients."""

    api_key: str = field(repr=False)  # "" if there is none
    needed: bool  # False: Stash has no user name, so it asks for no credentials


def read_state(data: Mapping[str, object]) -> PluginState:
    """The plugin's state from an answer with ``STATE``; WrongShape if it isn't complete."""
    stored = read(data, "configuration.plugins", dict)
    settings = read(stored, package.ID, dict, NULL) if package.ID in stored else None
    plugins = read(data, "plugins", list, NULL) or []  # null: Stash has loaded no plugins
    names = {read(one, "id", str): read_text(one, "name") for one in plugins if read(one, "enabled", bool)}
    copies = [one for one, name in names.items() if name == package.NAME and one != package.ID]
    return PluginState(settings or {}, package.ID in names, tuple(sorted(copies)))


def read_login(data: Mapping[str, object]) -> Login:
    """The credentials to use from now on, from an answer with ``STATE``."""
    key, user = (read_text(data, f"configuration.general.{name}") for name in ("apiKey", "username"))
    return Login(key, needed=user != "")
