"""Stash outages of every kind: deliveries wait or resolve, and none becomes a dead letter."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from tests.faults.row import Mutation, Report, Row
from tests.faults.testbed import Testbed
from tests.standin.stash.server import StandInStash
from tests.standin.stash.web import Response
from tests.support.harness import wait_until

OUTAGE_SECONDS = 1.0
# Faults of the stand-in by name; each begins with the first request for scenes.
FAULTS: Mapping[str, tuple[str, object]] = {
    "hangs": ("hang", True),
    "500": ("status", 500),
    "a login page": ("login_redirect", True),
    "errors": ("graphql_error", "database is locked"),
    "late": ("delay", 31.0),
}


class TamperingSite:
    """Stash's site, but it can begin to fail at a request for scenes, or answer with other scenes."""

    def __init__(self, stash: StandInStash) -> None:
        self._site: Callable[[Any], Response | None] = stash._site
        self.scene: Callable[[Any], Any] | None = None
        self.trip: Callable[[], None] | None = None  # called once, before the next request for scenes is answered
        stash._site = self  # type: ignore[assignment]

    def __call__(self, request: Any) -> Response | None:
        """Answers one request."""
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


def run_stash_outages(folder: Path, full: bool) -> Report:
    """Every kind of outage while scenes are edited."""
    each = 10 if full else 2
    report = Report()
    kinds = [kind for kind in (*FAULTS, "empty") if full or kind != "late"]
    batches = (range(first, first + each) for first in count(1, each))  # of scenes
    with Testbed(
        folder, each * (len(kinds) + 4) + 1, credentials=("owner", "secret-word"), api_key="first-key"
    ) as testbed:
        stash = testbed.courier.stash
        tampering = TamperingSite(stash)
        stash.restart()
        testbed.cookie = stash.sessions.make("owner")
        for kind in kinds:
            _fail_while_fetching(testbed, tampering, report, kind, next(batches))
        stash.restart(_another_port())
        testbed.hooks(next(batches))
        _check_arrived(testbed, report, "another port")
        stash.config.api_key = "second-key"
        testbed.hooks(next(batches))
        _check_arrived(testbed, report, "a new API key")
        _stop_while_fetching(testbed, tampering, next(batches))
        _check_arrived(testbed, report, "stopped during a request")
        _delete_scene(testbed, report, next(batches)[0])
        report.expect(not testbed.dead(), f"dead letters because of the outage: {testbed.dead()}")
        testbed.settle(report)
    report.done = f"{len(kinds) + 3} kinds of outages with {each} edits each, and a deleted scene"
    report.nothing_lost()
    report.expect(report.dead == 0, f"{report.dead} dead letters")
    return report


def _fail_while_fetching(
    testbed: Testbed, tampering: TamperingSite, report: Report, kind: str, scenes: range
) -> None:
    """A fault begins at the first request for scenes, and ends after further edits."""
    stash = testbed.courier.stash
    if kind == "empty":
        tampering.scene = lambda _: {}
    else:
        tampering.trip = partial(setattr, stash.faults, *FAULTS[kind])
    testbed.hooks(scenes[:1])
    with suppress(TimeoutError):
        wait_until(lambda: tampering.trip is None, 10.0)
    report.expect(tampering.trip is None, f"{kind}: Stash got no request for scenes")
    testbed.hooks(scenes[1:])
    time.sleep(40.0 if kind == "late" else OUTAGE_SECONDS)
    stash.faults.clear()
    tampering.scene = None
    if kind == "hangs":
        stash.restart()  # ends requests that would hang for 30 s
    testbed.expedite()
    _check_arrived(testbed, report, kind)


def _stop_while_fetching(testbed: Testbed, tampering: TamperingSite, scenes: range) -> None:
    """Stash stops during a request, so the answer never comes, and starts again."""
    stash = testbed.courier.stash
    tampering.trip = partial(setattr, stash.faults, "hang", True)
    testbed.hooks(scenes)
    time.sleep(OUTAGE_SECONDS)
    stash.stop()
    stash.faults.clear()
    time.sleep(0.5)
    stash.start()
    testbed.expedite()


def _delete_scene(testbed: Testbed, report: Report, scene: int) -> None:
    """The event of a scene that is deleted without a hook is resolved."""
    testbed.courier.stash.vanish(scene)
    with testbed.queue() as queue:
        queue.put({"scene": scene, "event": "update", "changed": [], "at": time.time()})
    testbed.drain(30.0)
    report.expect(testbed.waiting() == 0, "the delivery of a deleted scene is still waiting")


def _check_arrived(testbed: Testbed, report: Report, kind: str) -> None:
    try:
        wait_until(lambda: set(testbed.promised) <= {scene for _, scene, *_ in testbed.taken}, 45.0)
    except TimeoutError:
        report.expect(False, f"{kind}: not delivered within 45 s after the outage")


def _another_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


ROWS = [
    Row(
        "stash_outages",
        run_stash_outages,
        [
            [
                Mutation(
                    "worker/delivery/dispatcher.py",
                    "        except StashUnavailable as error:\n            self._put_back(deliveries)\n",
                    "        except StashUnavailable as error:\n",
                )
            ]
        ],
    ),
]
