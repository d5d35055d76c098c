"""A Stash for tests and the demo, where no real one is: HTTP, GraphQL, sessions and plugins like Stash's.

What it imitates was read in Stash's source of January 2026; the modules name the places.
"""

from tests.standin.stash.manifest import PluginRefused
from tests.standin.stash.server import GraphQLFailed, StandInStash

__all__ = ["GraphQLFailed", "PluginRefused", "StandInStash"]
