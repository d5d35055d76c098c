"""The plugin's state at Stash: the query, and what answers of Stash must look like. Imports little, for the views.

queries.py has the queries about scenes.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from stash_courier.queue.checks import DAMAGE, optional, text, typed
from stash_courier.worker import package

T = TypeVar("T")

# The plugin's own settings, and those of a copy by hand, which apply while its own are empty.
SETTINGS_OF = [*dict.fromkeys((package.ID, package.CHECKOUT))]

# Every state includes the API key and the user name, so that a new or changed key is known without
# another request.
STATE = f"""
  configuration {{ general {{ apiKey username }} plugins(include: {json.dumps(SETTINGS_OF)}) }}
  plugins {{ id name enabled }}
"""

PLUGIN_STATE = f"query PluginState {{{STATE}}}"


class WrongShape(ValueError):
    """An answer doesn't match Stash's schema; the message says where."""


@dataclass(frozen=True, slots=True)
class PluginState:
    """What Stash knows about this plugin."""

    settings: Mapping[str, object]  # as stored; settings without a value are absent
    enabled: bool  # also False if Stash hasn't loaded the plugin
    borrowed: bool = False  # the settings are those of a copy by hand, because its own are empty
    copies: tuple[str, ...] = ()  # ids of other enabled plugins with this plugin's name


@dataclass(frozen=True, slots=True)
class Login:
    """What Stash requires of its clients."""

    api_key: str = field(repr=False)  # "" if there is none
    needed: bool  # False: Stash has no user name, so it asks for no credentials


def read_state(data: Mapping[str, object]) -> PluginState:
    """The plugin's state from an answer with ``STATE``; WrongShape if it isn't complete."""
    stored = field_at(data, "configuration.plugins", an_object)
    found = {one: checked(one, stored[one], an_object) for one in SETTINGS_OF if stored.get(one)}
    used = next(iter(found), package.ID)
    # null: Stash has loaded no plugins
    plugins = field_at(data, "plugins", optional(list_of(an_object))) or ()
    enabled = [plugin for plugin in plugins if plugin.get("enabled") is True]
    copies = [str(one["id"]) for one in enabled if one.get("name") == package.NAME and one["id"] != package.ID]
    itself = any(plugin.get("id") == package.ID for plugin in enabled)
    return PluginState(found.get(used, {}), itself, used != package.ID, tuple(sorted(copies)))


def read_login(data: Mapping[str, object]) -> Login:
    """The credentials to use from now on, from an answer with ``STATE``."""
    key, user = (field_at(data, f"configuration.general.{name}", any_text) for name in ("apiKey", "username"))
    return Login(key, needed=user != "")


def any_text(value: object) -> str:
    return "" if value is None else text(value)


an_object = functools.partial(typed, dict)


def list_of(check: Callable[[object], T]) -> Callable[[object], tuple[T, ...]]:
    def check_all(value: object) -> tuple[T, ...]:
        found = typed(list, value)
        try:
            return tuple(map(check, found))
        except (WrongShape, *DAMAGE):
            return tuple(checked("item", item, check) for item in found)  # again, for the sentence

    return check_all


def field_at(owner: object, path: str, check: Callable[[object], T]) -> T:
    """The value at a path of keys, like ``paths.screenshot``. A missing key is WrongShape, not null."""
    key, _, rest = path.partition(".")
    found = an_object(owner)
    if key not in found:
        raise WrongShape(f"{key} is missing")
    return checked(key, found[key], (lambda inner: field_at(inner, rest, check)) if rest else check)


def checked(name: str, value: object, check: Callable[[object], T]) -> T:
    """A value that passes a check. The error has only its type, because the value may be a secret."""
    try:
        return check(value)
    except WrongShape as error:
        raise WrongShape(f"{name}: {error}") from None
    except DAMAGE:
        raise WrongShape(f"{name} is {'null' if value is None else f'of type {type(value).__name__}'}") from None
