"""What resolvers of GraphQL fields work on, and how methods are marked as resolvers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

from tests.standin.stash.faults import Faults
from tests.standin.stash.jobs import JobQueue
from tests.standin.stash.library import Library
from tests.standin.stash.log import ServerLog
from tests.standin.stash.plugins import Caller, Config, Plugins

Args = dict[str, Any]
Answer = Callable[[Any, Any, Caller, Args], Any]  # (self, parent, caller, arguments)
_Method = TypeVar("_Method", bound=Answer)


class Backend(Protocol):
    """The stand-in, as resolvers see it."""

    config: Config
    library: Library
    plugins: Plugins
    log: ServerLog
    faults: Faults

    @property
    def jobs(self) -> JobQueue:
        """The job queue of the running server; a restart creates a new one."""

    def take_scan(self) -> list[tuple[str, int]]:
        """Takes the files (path, size) that a test has queued for the next scan."""


def answers(field: str) -> Callable[[_Method], _Method]:
    """Marks a method as the resolver of a field, named "Type.field"."""

    def mark(method: _Method) -> _Method:
        method.answers = field  # type: ignore[attr-defined]
        return method

    return mark


def marked(holder: object) -> Iterator[tuple[str, str, Callable[..., Any]]]:
    """Every (type, field, resolver) among the methods of an object."""
    for name in dir(type(holder)):
        method = getattr(holder, name)
        if hasattr(method, "answers"):
            type_name, _, field = method.answers.partition(".")
            yield type_name, field, _resolver(method)


def _resolver(method: Callable[..., Any]) -> Callable[..., Any]:
    return lambda parent, info, **args: method(parent, info.context, args)
