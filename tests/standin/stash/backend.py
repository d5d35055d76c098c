"""What the answers to GraphQL fields work on, and how such an answer is written down."""

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
    """The stand-in, as the answers see it."""

    config: Config
    library: Library
    plugins: Plugins
    log: ServerLog
    faults: Faults

    @property
    def jobs(self) -> JobQueue:
        """The queue of the running server; a restart begins a new one."""

    def take_scan(self) -> list[tuple[str, int]]:
        """Takes the files (path, size) that a test has put before the next scan."""


def answers(field: str) -> Callable[[_Method], _Method]:
    """Marks a method as the answer to a field, named "Type.field"."""

    def mark(method: _Method) -> _Method:
        method.answers = field  # type: ignore[attr-defined]
        return method

    return mark


def marked(holder: object) -> Iterator[tuple[str, str, Callable[..., Any]]]:
    """Every (type, field, resolver) that an object has methods for."""
    for name in dir(type(holder)):
        method = getattr(holder, name)
        if hasattr(method, "answers"):
            type_name, _, field = method.answers.partition(".")
            yield type_name, field, _resolver(method)


def _resolver(method: Callable[..., Any]) -> Callable[..., Any]:
    return lambda parent, info, **args: method(parent, info.context, args)
