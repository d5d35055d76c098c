"""Stash away, in every way in which it is: deliveries wait or resolve, and nothing is buried for it."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from tests.faults.field import Field
from tests.faults.row import Mutation, Report, Row
from tests.standin.stash.server import StandInStash
from tests.standin.stash.sessions import Session
from tests.standin.stash.web import Response
from tests.support.harness import wait_until

AWAY_SECONDS = 1.0
# Faults of the stand-in, by what Stash does from the first request for scenes on.
FAULTS: Mapping[str, tuple[str, object]] = {
    "hangs": ("hang", True),
    "500": ("status", 500),
    "HTML": ("html", True),
    "a login page": ("login_redirect", True),
    "errors": ("graphql_error", "database is locked"),
    "late": ("delay", 31.0),
}


class Tampering:
    """Answers as Stash's site does, except that it fails once it is asked for scenes, or that they are others."""

    def __init__(self, stash: StandInStash) -> None:
        self._site: Callable[[Any], Response | None] = stash._site
        self.scene: Callable[[Any], Any] | None = None
        self.trip: Callable[[], None] | None = None  # called at the next request for scenes, before the answer
        stash._site = self  # type: ignore[assignment]

    def __call__(self, request: Any) -> Response | None:
        """One answer."""
        if self.trip is not None and b"$s0" in request.body:
            self.trip()
            self.trip = None
        response = self._site(request)
        if self.scene is None or response is None or response.content_type != "application/json":
            return response
        answer = json.loads(response.body)
        for name, value in (answer.get("data") or {}).items():
            if name[0] == "s" and name[1:].isdigit():
                answer["data"][name] = self.scene(value)
        body = json.dumps(answer).encode()
        return Response(response.status, body, response.content_type, response.headers)


def run_stash_away(folder: Path, full: bool) -> Report:
    """Each kind of absence while scenes are edited."""
    each = 10 if full else 2
    report = Report()
    first = 1
    kinds = [kind for kind in (*FAULTS, "empty") if full or kind != "late"]
    with Field(
        folder, each * (len(kinds) + 4) + 1, credentials=("owner", "secret-word"), api_key="first-key"
    ) as field:
        stash = field.courier.stash
        tampering = Tampering(stash)
        stash.restart()
        field.cookie = _cookie(stash)
        for kind in kinds:
            if kind == "empty":
                tampering.scene = lambda _: {}
            else:
                tampering.trip = partial(setattr, stash.faults, *FAULTS[kind])
            field.hooks([first])
            with suppress(TimeoutError):
                wait_until(lambda: tampering.trip is None, 10.0)
            report.expect(tampering.trip is None, f"{kind}: Stash was never asked for scenes")
            field.hooks(range(first + 1, first + each))
            time.sleep(40.0 if kind == "late" else AWAY_SECONDS)
            stash.faults.clear()
            tampering.scene = None
            first += each
            if kind == "hangs":
                stash.restart()  # what hangs, hangs for 30 s: Stash's end ends that
            field.expedite()
            _arrived(field, report, kind)
        stash.restart(_another_port())
        field.hooks(range(first, first + each))
        first += each
        _arrived(field, report, "another port")
        stash.config.api_key = "second-key"
        field.hooks(range(first, first + each))
        first += each
        _arrived(field, report, "a new API key")
        # Gone in the middle of fetching: the answer never comes.
        tampering.trip = partial(setattr, stash.faults, "hang", True)
        field.hooks(range(first, first + each))
        time.sleep(AWAY_SECONDS)
        stash.stop()
        stash.faults.clear()
        time.sleep(0.5)
        stash.start()
        first += each
        field.expedite()
        _arrived(field, report, "gone in the middle")
        stash.vanish(first)
        with field.queue() as queue:
            queue.put({"scene": first, "event": "update", "changed": [], "at": time.time()})
        field.drain(30.0)
        report.expect(field.waiting() == 0, "a scene that is gone is not resolved")
        report.expect(not field.dead(), f"buried because Stash was away: {field.dead()}")
        field.settle(report)
    report.done = f"Stash away in {len(kinds) + 3} ways with {each} edits each, and a scene that is gone"
    report.nothing_lost()
    report.expect(report.dead == 0, f"{report.dead} dead letters")
    return report


def _arrived(field: Field, report: Report, kind: str) -> None:
    try:
        wait_until(lambda: set(field.promised) <= {scene for _, scene, *_ in field.taken}, 45.0)
    except TimeoutError:
        report.expect(False, f"{kind}: not delivered within 45 s of Stash's return")


def _cookie(stash: StandInStash) -> str:
    return stash.sessions.make(Session("owner"))


def _another_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


ROWS = [
    Row(
        "stash_away",
        run_stash_away,
        [
            [
                Mutation(
                    "worker/delivery/dispatcher.py",
                    "        except StashUnavailable as error:\n            self._put_back(report.deliveries)\n",
                    "        except StashUnavailable as error:\n",
                )
            ]
        ],
    ),
]
