"""Templates of JSON bodies: parsed when they are saved, filled in for each event. No logic, no I/O.

A template is JSON. Placeholders stand inside its string values: ``{title}``, or ``{studio|none}`` with a text for
an empty value. ``{{`` and ``}}`` are braces. A string that is exactly one placeholder becomes the value with its
type. Values are filled in after the JSON was parsed, in one pass, so none can break it or bring in a placeholder.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from stash_courier.worker.destinations.webhook.texts import Escaping, clean, fit
from stash_courier.worker.destinations.webhook.values import Value, as_text, shortened

LARGEST_TEMPLATE = 64 * 1024  # bytes
DEEPEST = 50  # levels of lists and objects

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}|]*)(?:\|([^{}]*))?\}|\{")

Node: TypeAlias = "Text | dict[str, Node] | list[Node] | int | float | bool | None"


class BadTemplate(ValueError):
    """What is wrong, as a sentence that follows the field's name."""


@dataclass(frozen=True, slots=True)
class Placeholder:
    """Where one value is filled in."""

    name: str
    fallback: str = ""  # for an empty value

    def value(self, values: Mapping[str, Value]) -> Value:
        """The value, or the fallback if the value is "", null or an empty list."""
        value = values[self.name]
        return self.fallback if self.fallback and value in ("", None, []) else value


@dataclass(frozen=True, slots=True)
class Text:
    """A string of the template, taken apart."""

    parts: tuple[str | Placeholder, ...]
    where: str  # its key path, such as embeds[0].title


@dataclass(frozen=True, slots=True)
class Limit:
    """How long one string may become, and how its values are escaped."""

    most: int
    escaping: Escaping


@dataclass(frozen=True, slots=True)
class Template:
    """A template that can be filled."""

    node: Node
    limits: Mapping[str, Limit]  # by key path
    drop_empty: bool  # leave out what is empty for want of a value: members of objects, entries of lists
    uses: Mapping[str, int]  # name → how often it is filled in

    def fill(self, values: Mapping[str, Value], most: int) -> bytes:
        """The JSON, in UTF-8.

        Args:
            values: of all names.
            most: bytes of the body, four times the largest template; the longest values are cut until it fits.
        """
        cap = most
        while True:
            # A cheap lower bound first: a template may repeat a long value a thousand times.
            if sum(count * len(as_text(values[name])) for name, count in self.uses.items()) <= most or not cap:
                filled = self._fill(self.node, values)
                body = json.dumps(filled, ensure_ascii=False, separators=(",", ":")).encode()
                if len(body) <= most or not cap:
                    return body
            cap //= 2
            values = {name: shortened(value, cap) for name, value in values.items()}

    def _fill(self, node: Node, values: Mapping[str, Value]) -> Any:
        if isinstance(node, Text):
            return self._fill_text(node, values)
        if isinstance(node, dict):
            filled = ((key, self._fill(one, values), one) for key, one in node.items())
            return {key: value for key, value, one in filled if not self._dropped(one, value)}
        if isinstance(node, list):
            made = ((self._fill(one, values), one) for one in node)
            return [value for value, one in made if not self._dropped(one, value)]
        return node

    def _dropped(self, node: Node, value: object) -> bool:
        if not self.drop_empty or value not in ("", None, [], {}):
            return False
        return any(isinstance(p, Placeholder) for p in node.parts) if isinstance(node, Text) else bool(node)

    def _fill_text(self, text: Text, values: Mapping[str, Value]) -> Value:
        limit = self.limits.get(text.where)
        if len(text.parts) == 1 and isinstance(only := text.parts[0], Placeholder) and limit is None:
            return only.value(values)
        pieces = [as_text(p.value(values)) if isinstance(p, Placeholder) else p for p in text.parts]
        if limit is not None:
            return "".join(_limited(text.parts, pieces, limit)).strip()
        return "".join(pieces)


def parse(text: str, names: Iterable[str]) -> tuple[Template | None, list[str]]:
    """Parses what a person entered.

    Returns:
        The template, or None with the problems: sentences that follow the field's name.
    """
    text = clean(text).removeprefix("\ufeff")
    if (size := len(text.encode())) > LARGEST_TEMPLATE:
        return None, [f"has {size} bytes, more than {LARGEST_TEMPLATE}; shorten it"]
    try:
        tree = json.loads(text, object_pairs_hook=_object)
        json.dumps(tree, allow_nan=False)
    except json.JSONDecodeError as error:
        wrong = error.msg[:1].lower() + error.msg[1:]
        return None, [f"is not valid JSON at line {error.lineno}, column {error.colno}: {wrong}; correct it there"]
    except RecursionError:
        return None, [f"is nested more than {DEEPEST} levels deep; make it flatter"]
    except BadTemplate as error:
        return None, [str(error)]
    except ValueError:
        return None, ["contains a number that JSON can't hold; write another, or null"]
    return compiled(tree, names)


def compiled(
    tree: Any, names: Iterable[str], limits: Mapping[str, Limit] | None = None, *, drop_empty: bool = False
) -> tuple[Template | None, list[str]]:
    """The same for parsed JSON."""
    compiler = _Compiler(frozenset(names))
    node = compiler.compile(tree, "", 0)
    problems = list(dict.fromkeys(compiler.problems))
    if compiler.unknown:
        unknown = ", ".join(dict.fromkeys(compiler.unknown))
        problems.append(f"has unknown names: {unknown}; the known ones are {', '.join(sorted(compiler.names))}")
    if problems:
        return None, problems
    return Template(node, limits or {}, drop_empty, compiler.uses), []


class _Compiler:
    def __init__(self, names: frozenset[str]) -> None:
        self.names = names
        self.problems: list[str] = []
        self.unknown: list[str] = []
        self.uses: Counter[str] = Counter()

    def compile(self, tree: Any, where: str, depth: int) -> Node:
        if isinstance(tree, str):
            return Text(self._parts(clean(tree), where), where)
        if not isinstance(tree, dict | list):
            return tree  # type: ignore[no-any-return]
        if depth >= DEEPEST:
            self.problems.append(f"is nested more than {DEEPEST} levels deep; make it flatter")
            return None
        if isinstance(tree, list):
            return [self.compile(one, f"{where}[{place}]", depth + 1) for place, one in enumerate(tree)]
        return {
            clean(key): self.compile(one, f"{where}.{clean(key)}".lstrip("."), depth + 1)
            for key, one in tree.items()
        }

    def _parts(self, text: str, where: str) -> tuple[str | Placeholder, ...]:
        parts: list[str | Placeholder] = []
        place = 0
        for token in _TOKEN.finditer(text):
            parts.append(text[place : token.start()])
            place = token.end()
            if token[0] in ("{{", "}}"):
                parts.append(token[0][0])
            elif token[0] == "{":
                self.problems.append(f"has a {{ without a }} at {_at(where)}; write {{{{ for a brace")
            else:
                if token[1] not in self.names:
                    self.unknown.append(f"{{{token[1][:40]}}} at {_at(where)}")
                self.uses[token[1]] += 1
                parts.append(Placeholder(token[1], token[2] or ""))
        parts.append(text[place:])
        return tuple(part for part in parts if part)


def _at(where: str) -> str:
    return where[:200] or "the top"


def _limited(parts: Sequence[str | Placeholder], pieces: Sequence[str], limit: Limit) -> list[str]:
    """The pieces with values cut and escaped, so that all together are within the limit."""
    size, escape = limit.escaping.size, limit.escaping.escape
    paired = list(zip(parts, pieces, strict=True))
    literal = sum(size(piece) for part, piece in paired if isinstance(part, str))
    fitted = iter(fit([piece for part, piece in paired if not isinstance(part, str)], limit.most - literal, size))
    return [piece if isinstance(part, str) else escape(next(fitted)) for part, piece in paired]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise BadTemplate(f"contains the key {clean(twice)[:40]} twice in one object; delete one of them")
    return made
