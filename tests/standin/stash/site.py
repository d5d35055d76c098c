"""The answers of the stand-in: access control, faults, GraphQL and a few pages."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple
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

from tests.standin.stash.library import StashError
from tests.standin.stash.plugins import Caller
from tests.standin.stash.resolvers import build
from tests.standin.stash.sessions import Unauthorized, first_cookie
from tests.standin.stash.ui import Ui, prefix
from tests.standin.stash.web import Request, Response, wait

if TYPE_CHECKING:
    from tests.standin.stash.server import StandInStash

OWNER = "X-Stand-In-Owner"  # marks requests of the stand-in's own helpers
_SCREENSHOT = re.compile(r"/scene/(\d+)/screenshot")
_PORTRAIT = re.compile(r"/performer/(\d+)/image")
_PAGE = b'<!DOCTYPE html><html><head><base href="/"><title>Stash</title></head><body></body></html>'
_NO_PORTRAIT = b"\x89PNG\r\n\x1a\n a silhouette"
_NO_COVER = b'<svg xmlns="http://www.w3.org/2000/svg" width="640" height="360"/>'


@dataclass(frozen=True, slots=True)
class Reply:
    """What a browser gets instead of a mode's answer, such as one that was recorded in a real Stash."""

    status: int
    body: Mapping[str, object] | str  # JSON, or a text
    delay: float = 0.0  # seconds


@dataclass(slots=True)
class Faults:
    """Plain attributes that can be set at any time. The first one set of hang, status, login_redirect and
    graphql_error decides the answer; delays come before it. ``operations`` comes last."""

    delay: float = 0.0  # seconds before every answer
    scene_delay: float = 0.0  # seconds more for each scene that is asked for by its id
    slow_ids: set[int] = field(default_factory=set)  # a request for one of these scenes is never answered
    hang: bool = False  # reads the request and never answers
    status: int = 0  # answers with this HTTP status and a line of text, such as 500 or 503
    login_redirect: bool = False  # answers 302 to /login
    graphql_error: str = ""  # answers 200 with this error and no data
    operations: dict[str, Reply] = field(default_factory=dict)  # by mode: answers of runPluginOperation
    broken_ids: set[int] = field(default_factory=set)  # scenes that can't be read: null and an error

    def clear(self) -> None:
        """Switches every fault off."""
        fresh = Faults()
        for name in self.__slots__:
            setattr(self, name, getattr(fresh, name))

    def check(self, caller: Caller, scene_ids: Iterable[int]) -> None:
        """Raises StashError if one of these scenes is broken."""
        broken = self.broken_ids.intersection(scene_ids)
        if broken and not caller.owner:
            raise StashError(f"reading scene {min(broken)}: database disk image is malformed")


@dataclass(slots=True)
class Requests:
    """Counts of requests to ``/graphql``, including refused ones, without the stand-in's own helpers."""

    total: int = 0
    by_credential: Counter[str] = field(default_factory=Counter)  # api_key, cookie or none


class _Asked(NamedTuple):
    """A GraphQL request."""

    document: DocumentNode
    variables: dict[str, Any] | None
    operation: str | None


class StashSite:
    """Answers requests. Those of the stand-in's own helpers meet no faults and aren't counted."""

    def __init__(self, stash: StandInStash, ui: Ui) -> None:
        self._stash = stash
        self._ui = ui
        self._schema: GraphQLSchema = build(stash)

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
            self._count(request)
            faults = self._stash.faults
            seconds = faults.delay + faults.scene_delay * fields.count("findScene")
            if seconds and wait(request.client, seconds):
                return None
            if faults.hang or (isinstance(asked, _Asked) and faults.slow_ids & _scene_ids(asked)):
                wait(request.client)
                return None
            wrong = self._fault(fields)
            if wrong is not None:
                return wrong
            reply = faults.operations.get(_mode(asked))
            if reply is not None:
                return _reply(reply, request)
        try:
            user, headers = self._authenticate(request)
        except Unauthorized:
            return _UNAUTHORIZED
        caller = Caller(user, _base_url(request), request.client, OWNER in request.headers)
        return self._execute(asked, caller, headers) if isinstance(asked, _Asked) else asked

    def _count(self, request: Request) -> None:
        self._stash.requests.total += 1
        given = "api_key" if _api_key(request) else "cookie" if _cookie(request) else "none"
        self._stash.requests.by_credential[given] += 1

    def _fault(self, fields: Sequence[str]) -> Response | None:
        faults = self._stash.faults
        if faults.status:
            return Response(faults.status, b"the stand-in fails on request\n")
        if faults.login_redirect:
            return Response(302, headers=(("Location", "/login?returnURL=%2Fgraphql"),))
        if faults.graphql_error:
            error = {"message": faults.graphql_error, "path": list(fields[:1])}
            return _json(200, {"errors": [error], "data": None})
        return None

    def _authenticate(self, request: Request) -> tuple[str, tuple[tuple[str, str], ...]]:
        """The user of a request, "" without one, and the headers that renew the session.

        Raises:
            Unauthorized: the API key is wrong, or nothing gives access.
        """
        config = self._stash.config
        if key := _api_key(request):
            if key != config.api_key:
                raise Unauthorized
            return config.username, ()
        user = self._stash.sessions.read(_cookie(request))
        if config.username and not user:
            raise Unauthorized
        return user or "", () if user is None else (("Set-Cookie", self._stash.sessions.set_cookie(user)),)

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
                self._stash.log.add("error", f"{'.'.join(map(str, one.path or ()))}: {one.message}")
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
        scene = self._stash.library.find(int(shot[1]))
        if scene is None:
            return Response(404, b"Not Found\n", headers=headers)
        if scene.cover:
            return Response(200, scene.cover, _image_type(scene.cover), headers)
        return Response(200, _NO_COVER, "image/svg+xml", headers)

    def _portrait(self, performer: int, request: Request, headers: tuple[tuple[str, str], ...]) -> Response:
        """The image of a performer, or a picture that stands for it (Stash's routes_performer.go)."""
        if performer > self._stash.library.count("performer"):
            return Response(404, b"Not Found\n", headers=headers)
        wanted = request.query.get("default", [""])[0] != "true"
        image = (wanted and self._stash.library.portraits.get(performer)) or _NO_PORTRAIT
        return Response(200, image, _image_type(image), headers)

    def _login(self, request: Request) -> Response:
        config = self._stash.config
        form = parse_qs(request.body.decode("utf-8", "replace"))
        given = (form.get("username", [""])[0], form.get("password", [""])[0])
        if not config.username or given != (config.username, config.password):
            return Response(401, b"Username or password is invalid\n")
        return Response(200, headers=(("Set-Cookie", self._stash.sessions.set_cookie(config.username)),))


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
