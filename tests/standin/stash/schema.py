"""The executable schema: ``schema.graphql`` with resolvers."""

from __future__ import annotations

from pathlib import Path

from graphql import GraphQLObjectType, GraphQLSchema, build_schema

from tests.standin.stash.backend import Backend, marked
from tests.standin.stash.mutations import Mutations
from tests.standin.stash.objects import Objects
from tests.standin.stash.queries import Queries


def build(backend: Backend) -> GraphQLSchema:
    """The schema of one stand-in."""
    schema = bare()
    for holder in (Queries(backend), Mutations(backend, schema), Objects(backend)):
        for type_name, field, resolver in marked(holder):
            kind = schema.type_map[type_name]
            assert isinstance(kind, GraphQLObjectType)
            kind.fields[field].resolve = resolver
    return schema


def bare() -> GraphQLSchema:
    """The schema without resolvers."""
    return build_schema(Path(__file__).with_name("schema.graphql").read_text("utf-8"))
