"""A stand-in for Stash in tests and the demo, with HTTP, GraphQL, sessions and plugins like those of Stash.

Its behavior follows Stash's source of January 2026; the modules name the packages.
"""

from tests.standin.stash.server import GraphQLFailed, StandInStash

__all__ = ["GraphQLFailed", "StandInStash"]
