"""Destinations: where scenes are sent. One folder for each kind of connection.

Two modules in a kind's folder are found automatically. ``settings`` has ``NAME``, ``HELP`` and ``Options``, the
fields that only this kind has; it must not import this module. ``destination`` has ``make(connection, cover,
clock)``, which returns the destination of a connection. The folder's name is the kind.

``settings`` may also have ``check(options, values)``, the problems that concern several fields;
``more_fields(values)``, the fields that depend on the value of another, and ``variants()``, all of those for
a form; ``hides_address(values)`` and ``is_message(values)``; ``VERSIONS``, see ``versions_advice``; and
``RATE``, see ``usual_rate``.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from stash_courier.queue.failures import DeliveryFailed
from stash_courier.queue.inbox import files
from stash_courier.queue.jobs import Delivery, Scene
from stash_courier.worker import fields
from stash_courier.worker.connections import quick_start
from stash_courier.worker.connections.drafts import ADDRESS
from stash_courier.worker.connections.model import Connection, Entry, Shared, policy
from stash_courier.worker.connections.store import Stored
from stash_courier.worker.fields import Field, Fix, Problem
from stash_courier.worker.settings import Settings, label
from stash_courier.worker.stash.covers import Cover, no_cover

NO_RECORDS: Mapping[int, bytes] = MappingProxyType({})
SAID = 200  # characters of an answer in a step

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a test, and how it went."""

    name: str  # "reached", "key", "libraries", "scenes", "shared", "example", "accepted", "path"
    status: Status  # "warn": deliveries work, but not for everything
    text: str  # sentences for a person: what happened and what to do
    field: str = ""  # the connection's field to change; "" if there is none
    fix: Fix | None = None  # a change that is likely to help
    body: str = ""  # what was sent to a webhook
    examples: tuple[str, ...] = ()  # sentences about single scenes, two at most
    report: bool = False  # the library report says more


def failed_step(name: str, failed: DeliveryFailed, field: str = "", advice: str = "") -> Step:
    """A step that failed, with what the other side said."""
    said = f"It said: {failed.answer[:SAID]}" if failed.answer else ""
    return Step(name, "fail", " ".join(filter(None, (failed.message, advice, said))), field)


class Change(NamedTuple):
    """A field that a delivery changed, for people."""

    field: str  # as in "title"
    before: str | None  # what the destination had; None if that is not known
    after: str


@dataclass(frozen=True, slots=True)
class Delivered:
    """What a destination did with a delivery."""

    # Handed in at the scene's next delivery to this destination. The engine doesn't read it. None: as before.
    record: bytes | None = None
    # What was left alone, or what the owner must know: "code" or "code:detail", counted in status. They replace
    # those of the last delivery. The codes are in media/notes.py.
    notes: frozenset[str] = frozenset()
    # filtered: the scene isn't written there, and that is no failure. It is neither tried again nor a success.
    outcome: Literal["sent", "filtered"] = "sent"
    # The receipt, for people; see queue/history/receipts.py.
    changes: tuple[Change, ...] = ()  # what was changed there
    compared: bool = False  # without changes, nothing differed
    left: tuple[str, ...] = ()  # sentences: what was left alone, and why
    link: str = ""  # an address at which a person sees the result, without a secret


class Destination(Protocol):
    """One configured destination. Its methods are called from several threads at once."""

    @property
    def id(self) -> str:
        """The id of its connection; never contains a secret."""

    @property
    def fingerprint(self) -> str:
        """A digest of the kind's own fields. When it changes, the destination's health is reset."""

    def deliver(self, delivery: Delivery, scene: Scene | None, record: bytes = b"") -> Delivered:
        """Sends the scene's current state; returns once the destination has accepted it.

        Args:
            delivery: what happened to the scene.
            scene: as Stash has it now; None for a destroy and a notice, and only then.
            record: what the last delivery of this scene returned as its record; b"" if there is none.

        Raises:
            DeliveryFailed: what kind of failure it was, in a sentence.
        """

    def test(
        self, scenes: Sequence[Scene], *, show_scene: bool = False, records: Mapping[int, bytes] = NO_RECORDS
    ) -> Iterator[Step]:
        """Reports step by step whether deliveries would work, tried with these scenes; there may be none.

        Args:
            scenes: real ones.
            show_scene: a message to people may contain a scene's title.
            records: what the last deliveries returned as records, by scene.

        Ends with the step that fails, unless later ones make sense. Raises nothing.
        """

    def preview(self, delivery: Delivery, scene: Scene | None) -> str:
        """What this delivery would send now, in lines for a person and without a secret. Makes no request.

        Args:
            delivery: what happened to the scene.
            scene: as Stash has it now; None for a destroy, and only then.
        """

    def close(self) -> None:
        """Closes the connections."""


@runtime_checkable
class Prepares(Protocol):
    """A destination that can look up many scenes with fewer requests than one per scene."""

    def prepare(self, jobs: Sequence[tuple[Delivery, Scene | None]]) -> None:
        """Looks up what the next deliveries will need, and may keep it for a few seconds.

        Called in one of the destination's threads while those deliveries wait. If a lookup fails, nothing is
        raised: each delivery then makes its own.
        """


@runtime_checkable
class Digests(Protocol):
    """A destination that can send one message for many deliveries."""

    @property
    def digest_above(self) -> int | None:
        """How many deliveries may be due before they become one message; None: each is sent alone."""

    def deliver_digest(self, jobs: Sequence[tuple[Delivery, Scene | None]]) -> None:
        """As ``deliver``, for all of these together."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """All connections, and what is wrong with them."""

    destinations: Mapping[str, Destination] = field(default_factory=dict)  # by id, those that can be used now
    connections: Mapping[str, Connection] = field(default_factory=dict)  # by id, those with usable values
    entries: Mapping[str, Entry] = field(default_factory=dict)  # by id, all of them
    unusable: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # id → labels of what to correct
    problems: tuple[Problem, ...] = ()
    unsure: bool = False  # there may be more connections than these: some settings can't be read
    asked: bool = True  # False: what Stash's page has is not known
    retired: frozenset[str] = frozenset()  # ids of deleted connections
    told: Mapping[str, float] = field(default_factory=dict)  # ids of those that are told of trouble; see _told

    @property
    def empty(self) -> bool:
        """Whether it is known that nothing is set up at all."""
        return self.asked and not self.entries and not self.problems

    @property
    def to_correct(self) -> list[str]:
        """Labels of everything that keeps a connection from being used."""
        hidden = [label(problem.field) for problem in self.problems if not problem.connection]
        return list(dict.fromkeys([*(name for names in self.unusable.values() for name in names), *hidden]))

    def names(self, name: str, *, removed: bool) -> bool:
        """Whether a connection is set up; also if settings that can't be read may hide it.

        Args:
            name: its id.
            removed: the worker knows it as removed.
        """
        return name in self.entries or (self.unsure and not removed and name not in self.retired)


@cache
def kinds() -> Mapping[str, ModuleType]:
    """The settings modules of all kinds, by kind."""
    return {name: _settings(name) for name in _folders()}


def find_kind(kind: str) -> ModuleType | None:
    """The settings module of one kind; None if there is no such kind. The others are not imported."""
    return _settings(kind) if kind in _folders() else None


@cache
def _settings(kind: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{kind}.settings")


def load(
    raw: Mapping[str, object],
    stored: Stored,
    settings: Settings,
    cover: Cover = no_cover,
    clock: Callable[[], float] = time.monotonic,
) -> Loaded:
    """Reads all connections and builds their destinations.

    Args:
        raw: the plugin's map as Stash stores it; unset keys are absent.
        stored: the content of connections.json.
        settings: the common settings parsed from ``raw``.
        cover: fetches covers from Stash.
        clock: monotonic seconds.
    """
    found = read(raw, stored, settings)
    usable = {name: one for name, one in found.connections.items() if one.sends}
    return replace(found, destinations={name: make(one, cover, clock) for name, one in usable.items()})


def read(raw: Mapping[str, object], stored: Stored, settings: Settings) -> Loaded:
    """As ``load``, without the destinations: their modules take long to import."""
    in_settings, problems = quick_start.read(raw)
    urls_hidden = bool(problems)
    if stored.problem:
        problems.append(Problem(files.CONNECTIONS, stored.problem))
    # Filters may be among these, so nothing is sent.
    hold = [label(files.CONNECTIONS)] if stored.unknown else []
    entries = {entry.id: entry for entry in (*stored.entries, *in_settings)}
    connections, unusable = {}, {}
    for name, entry in entries.items():
        connection, wrong = configured(entry, settings)
        problems += wrong
        faults = [field_label(entry.kind, problem.field, entry.values) for problem in wrong] or hold
        if faults or connection is None:
            unusable[name] = tuple(dict.fromkeys(faults))
            continue
        connections[name] = connection
    # Stash's configuration may have been lost. With connections of our own, empty settings are nothing unusual.
    lost = not raw and not stored.revision
    unsure = lost or stored.unknown or urls_hidden
    known = Loaded({}, connections, entries, unusable, tuple(problems), unsure)
    return replace(known, retired=stored.retired, told=_told(entries))


def _told(entries: Mapping[str, Entry]) -> dict[str, float]:
    """The connections that are told of trouble, and after how many seconds. What can't be used now waits."""
    found = {}
    for name, entry in entries.items():
        kind = find_kind(entry.kind)
        options = None if kind is None else fields.parse(kind.Options, entry.values)[0]
        if entry.state in {"on", "paused"} and getattr(options, "tell_trouble", False):
            found[name] = getattr(options, "trouble_minutes", 0.0) * 60.0
    return found


def configured(entry: Entry, settings: Settings) -> tuple[Connection | None, list[Problem]]:
    """A connection with parsed values, or None and what is wrong with them."""
    kind = find_kind(entry.kind)
    if kind is None:
        message = f"There is no kind {entry.kind[:40]!r}. Kinds: {', '.join(_folders())}. Nothing is sent."
        return None, [Problem("kind", message, connection=entry.id, name=entry.name)]
    shared, problems = fields.parse(Shared, entry.values)
    options, wrong = fields.parse(kind.Options, entry.values)
    own = {one.key: str(entry.values.get(one.key)) for one in own_fields(entry.kind, entry.values)}
    unknown = entry.values.keys() - field_keys(entry.kind, entry.values)
    problems += wrong
    problems += [
        Problem(key, f"{entry.kind} has no field {key[:40]!r}. Nothing is sent.") for key in sorted(unknown)
    ]
    if not wrong and hasattr(kind, "check"):
        problems += kind.check(options, entry.values)
    if problems:
        return None, [replace(problem, connection=entry.id, name=entry.name) for problem in problems]
    fingerprint = hashlib.sha256(json.dumps([entry.kind, own]).encode()).hexdigest()[:32]
    how = policy(shared, settings, getattr(options, "absent", "wait"))
    return Connection(entry, shared, how, options, fingerprint), []


def own_fields(kind: str, values: Mapping[str, object]) -> tuple[Field, ...]:
    """The fields that only this kind has, with those that depend on the values of others."""
    module = _settings(kind)
    return (
        *fields.of(module.Options),
        *(module.more_fields(values) if hasattr(module, "more_fields") else ()),
    )


def field_keys(kind: str, values: Mapping[str, object]) -> frozenset[str]:
    """The fields that a connection has; none of an unknown kind."""
    if find_kind(kind) is None:
        return frozenset()
    return frozenset(one.key for one in (*own_fields(kind, values), *fields.of(Shared)))


def secret_fields(kind: str, values: Mapping[str, object]) -> frozenset[str]:
    """The fields of a connection that no answer shows: also unknown ones."""
    unknown = values.keys() - field_keys(kind, values)
    module = find_kind(kind)
    if module is None:
        return frozenset(unknown)
    secret = {one.key for one in own_fields(kind, values) if one.type == "secret"}
    if hasattr(module, "hides_address") and module.hides_address(values):
        secret.add(ADDRESS)
    # A login or parameters, also in an address that can't be used: people paste links with tokens.
    secret |= {key for key in values if key.endswith(ADDRESS) and not {*"@?"}.isdisjoint(str(values[key]))}
    return frozenset(secret | unknown)


def is_message(entry: Entry) -> bool:
    """Whether people get what is sent, in a chat or on a phone."""
    module = find_kind(entry.kind)
    return hasattr(module, "is_message") and bool(module.is_message(entry.values))  # type: ignore[union-attr]


def find_field(kind: str, key: str, values: Mapping[str, object]) -> Field | None:
    """A connection's field; None if it has none of this key."""
    known = [*fields.of(Shared), *(own_fields(kind, values) if find_kind(kind) else [])]
    return next((one for one in known if one.key == key), None)


def field_label(kind: str, key: str, values: Mapping[str, object]) -> str:
    """The label of a connection's field, quoted; an unknown field as it is."""
    found = find_field(kind, key, values)
    return f'"{key}"' if found is None else f'"{found.label}"'


def versions_advice(kind: str) -> str:
    """How versions of an item become items of their own on a kind of media server; "" if that isn't known."""
    return str(getattr(find_kind(kind), "VERSIONS", ""))


def usual_rate(kind: str) -> float | None:
    """How many scenes a second a kind usually takes, to tell how long many take; None if that isn't known."""
    rate: float | None = getattr(find_kind(kind), "RATE", None)
    return rate


def make(
    connection: Connection, cover: Cover = no_cover, clock: Callable[[], float] = time.monotonic
) -> Destination:
    """The destination of a connection. The clock gives monotonic seconds."""
    module = importlib.import_module(f"{__name__}.{connection.entry.kind}.destination")
    made: Destination = module.make(connection, cover, clock)
    return made


@cache
def _folders() -> list[str]:
    return sorted(file.parent.name for file in Path(__file__).parent.glob("*/destination.py"))
