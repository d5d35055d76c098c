"""The answers of the stand-in: access control, faults, GraphQL and a few pages."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote

from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    OperationDefinitionNode,
    execute_sync,
    parse,
    validate,
)

from tests.standin.stash.backend import Backend
from tests.standin.stash.cancel import wait
from tests.standin.stash.faults import Reply, Requests
from tests.standin.stash.plugins import Caller
from tests.standin.stash.schema import build
from tests.standin.stash.sessions import Session, Sessions, Unauthorized, first_cookie
from tests.standin.stash.ui import Ui, prefix
from tests.standin.stash.web import Request, Response

OWNER = "X-Stand-In-Owner"  # marks requests of the stand-in's own helpers
_SCREENSHOT = re.compile(r"/scene/(\d+)/screenshot")
_PORTRAIT = re.compile(r"/performer/(\d+)/image")
_PAGE = b'<!DOCTYPE html><html><head><base href="/"><title>Stash</title></head><body></body></html>'
_NO_PORTRAIT = b"\x89PNG\r\n\x1a\n a silhouette"
_NO_COVER = b'<svg xmlns="http://www.w3.org/2000/svg" width="640" height="360"/>'


class _Asked(NamedTuple):
    """A GraphQL request."""

    document: DocumentNode
    variables: dict[str, Any] | None
    operation: str | None


class StashSite:
    """Answers requests.

    Args:
        sessions: returns the sessions of the running server.
        ui: answers for pages.
    """

    def __init__(self, backend: Backend, sessions: Callable[[], Sessions], requests: Requests, ui: Ui) -> None:
        self._backend = backend
        self._sessions = sessions
        self._requests = requests
        self._ui = ui
        self._schema: GraphQLSchema = build(backend)

    def __call__(self, request: Request) -> Response | None:
        """Answers a request; None for no answer."""
        request = self._ui.forwarded(request)
        if request.path == "/graphql" and request.method == "POST":
            return self._graphql(request)
        return self._page(request)

    def _graphql(self, request: Request) -> Response | None:
        asked = _read(request.body)
        fields = _root_fields(asked) if isinstance(asked, _Asked) else []
        if OWNER not in request.headers:
            self._count(request, fields)
            faults = self._backend.faults
            seconds = faults.delay + faults.scene_delay * fields.count("findScene")
            if seconds and wait(request.client, seconds):
                return None
            if faults.hang or (isinstance(asked, _Asked) and faults.slow_ids & _scene_ids(asked)):
                wait(request.client, None)
                return None
            wrong = self._fault(fields)
            if wrong is not None:
                return wrong
            reply = faults.operations.get(_mode(asked))
            if reply is not None:
                return _reply(reply, request)
        try:
            session, headers = self._authenticate(request)
        except Unauthorized:
            return _UNAUTHORIZED
        caller = Caller(
            session.user,
            session.visits,
            _base_url(request),
            request.client,
            OWNER in request.headers,
        )
        return self._execute(asked, caller, headers) if isinstance(asked, _Asked) else asked

    def _count(self, request: Request, fields: Sequence[str]) -> None:
        self._requests.total += 1
        self._requests.by_field.update(set(fields))
        given = "api_key" if _api_key(request) else "cookie" if _cookie(request) else "none"
        self._requests.by_credential[given] += 1

    def _fault(self, fields: Sequence[str]) -> Response | None:
        faults = self._backend.faults
        if faults.status:
            return Response(faults.status, b"the stand-in fails on request\n")
        if faults.login_redirect:
            return Response(302, headers=(("Location", "/login?returnURL=%2Fgraphql"),))
        if faults.graphql_error:
            error = {"message": faults.graphql_error, "path": list(fields[:1])}
            return _json(200, {"errors": [error], "data": None})
        return None

    def _authenticate(self, request: Request) -> tuple[Session, tuple[tuple[str, str], ...]]:
        """The session of a request, and the headers that renew it.

        Raises:
            Unauthorized: the API key is wrong, or nothing gives access.
        """
        config = self._backend.config
        session = self._sessions().read(_cookie(request))
        key = _api_key(request)
        if key:
            if key != config.api_key:
                raise Unauthorized
            return Session(config.username, session.visits if session else ()), ()
        if config.username and not (session and session.user):
            raise Unauthorized
        if session is None:
            return Session(""), ()
        return session, (("Set-Cookie", self._sessions().set_cookie(session)),)

    def _execute(self, asked: _Asked, caller: Caller, headers: tuple[tuple[str, str], ...]) -> Response:
        problems = validate(self._schema, asked.document)
        if problems:
            return _refused(problems)
        result = execute_sync(
            self._schema,
            asked.document,
            context_value=caller,
            variable_values=asked.variables,
            operation_name=asked.operation,
        )
        errors = result.errors or []
        if any(error.path is None for error in errors):  # variables that don't fit
            return _refused(errors)
        answer: dict[str, Any] = {}
        if errors:
            answer["errors"] = [{"message": e.message, "path": e.path} for e in errors]
            for one in errors:
                self._backend.log.add("error", f"{'.'.join(map(str, one.path or ()))}: {one.message}")
        return _json(200, {**answer, "data": result.data}, (*headers, ("Cache-Control", "no-store")))

    def _page(self, request: Request) -> Response | None:
        if request.path == "/login":
            return self._login(request) if request.method == "POST" else _HTML
        try:
            _, headers = self._authenticate(request)
        except Unauthorized:
            suffix = request.path.rsplit("/", 1)[-1].partition(".")[2]
            if _api_key(request) or request.path == "/graphql" or suffix not in ("", "html"):
                return _UNAUTHORIZED
            back = quote(prefix(request) + request.path, safe="")
            return Response(302, headers=(("Location", f"{prefix(request)}/login?returnURL={back}"),))
        if portrait := _PORTRAIT.fullmatch(request.path):
            return self._portrait(int(portrait[1]), request, headers)
        shot = _SCREENSHOT.fullmatch(request.path)
        if shot is None:
            page = self._ui.answer(request)
            if page is not None:
                return replace(page, headers=(*page.headers, *headers))
            return Response(_HTML.status, _HTML.body, _HTML.content_type, headers)
        scene = self._backend.library.find(int(shot[1]))
        if scene is None:
            return Response(404, b"Not Found\n", headers=headers)
        if scene.cover:
            return Response(200, scene.cover, _image_type(scene.cover), headers)
        return Response(200, _NO_COVER, "image/svg+xml", headers)

    def _portrait(self, performer: int, request: Request, headers: tuple[tuple[str, str], ...]) -> Response:
        """The image of a performer, or a picture that stands for it (Stash's routes_performer.go)."""
        if performer > self._backend.library.count("performer"):
            return Response(404, b"Not Found\n", headers=headers)
        wanted = request.query.get("default", [""])[0] != "true"
        image = (wanted and self._backend.library.portraits.get(performer)) or _NO_PORTRAIT
        return Response(200, image, _image_type(image), headers)

    def _login(self, request: Request) -> Response:
        config = self._backend.config
        form = parse_qs(request.body.decode("utf-8", "replace"))
        given = (form.get("username", [""])[0], form.get("password", [""])[0])
        if not config.username or given != (config.username, config.password):
            return Response(401, b"Username or password is invalid\n")
        return Response(200, headers=(("Set-Cookie", self._sessions().set_cookie(Session(config.username))),))


_UNAUTHORIZED = Response(401, headers=(("WWW-Authenticate", "FormBased"),))
_HTML = Response(200, _PAGE, "text/html; charset=utf-8")


def _api_key(request: Request) -> str:
    return request.headers.get("ApiKey") or request.query.get("apikey", [""])[0]


def _cookie(request: Request) -> str:
    return first_cookie("; ".join(request.headers.get_all("Cookie") or ()))


def _image_type(data: bytes) -> str:
    return "image/png" if data.startswith(b"\x89PNG") else "image/jpeg"


def _json(status: int, value: Any, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    return Response(status, json.dumps(value, ensure_ascii=False).encode(), "application/json", headers)


def _refused(errors: Sequence[GraphQLError]) -> Response:
    """The answer 422, which gqlgen gives to requests that can't be executed."""
    code = {"code": "GRAPHQL_VALIDATION_FAILED"}
    return _json(422, {"errors": [{"message": e.message, "extensions": code} for e in errors], "data": None})


def _read(body: bytes) -> _Asked | Response:
    """A GraphQL request, or the answer to an invalid one."""
    try:
        asked = json.loads(body)
        document = parse(asked["query"], no_location=True)
        return _Asked(document, asked.get("variables"), asked.get("operationName"))
    except GraphQLSyntaxError as error:
        return _refused([error])
    except (ValueError, KeyError, TypeError) as error:
        message = f"json request body could not be decoded: {error!r}"
        return _json(400, {"errors": [{"message": message}], "data": None})


def _base_url(request: Request) -> str:
    scheme = request.headers.get("X-Forwarded-Proto", "http")
    return f"{scheme}://{request.headers.get('Host', '')}{prefix(request)}"


def _mode(asked: _Asked | Response) -> str:
    """The mode that runPluginOperation is asked to run, "" for another request."""
    args = (asked.variables or {}).get("args") if isinstance(asked, _Asked) else None
    return str(args.get("mode", "")) if isinstance(args, dict) else ""


def _reply(reply: Reply, request: Request) -> Response | None:
    if reply.delay and wait(request.client, reply.delay):
        return None
    if isinstance(reply.body, str):
        return Response(reply.status, reply.body.encode())
    return _json(reply.status, reply.body)


def _scene_ids(asked: _Asked) -> set[int]:
    """The scenes that are asked for by their ids in variables, as Stash Courier does."""
    return {int(value) for value in (asked.variables or {}).values() if isinstance(value, str) and value.isdigit()}


def _root_fields(asked: _Asked) -> list[str]:
    """The root fields of a request, in order."""
    return [
        selection.name.value
        for operation in asked.document.definitions
        if isinstance(operation, OperationDefinitionNode)
        for selection in operation.selection_set.selections
        if isinstance(selection, FieldNode)
    ]
