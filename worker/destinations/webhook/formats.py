"""How the messages of one connection are made: its preset with the values of the preset's own fields."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import quote, urlsplit

from stash_courier.worker import fields
from stash_courier.worker.destinations.webhook.presets import PRESETS, Option, Preset
from stash_courier.worker.destinations.webhook.templates import Template, parse
from stash_courier.worker.destinations.webhook.values import NAMES
from stash_courier.worker.fields import BadSetting, Field, Problem, Value

STANDARD = "standard"


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
