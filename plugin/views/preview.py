"""The mode "preview": what a connection would send of a scene now. No request goes to the destination."""

from __future__ import annotations

import time
from dataclasses import replace

from stash_courier.plugin.arguments import Arguments
from stash_courier.plugin.buttons.check_destinations import Samples
from stash_courier.plugin.buttons.connections import draft, wrong_fields
from stash_courier.plugin.context import Context
from stash_courier.queue.jobs import Delivery, Scene
from stash_courier.worker import destinations, filters
from stash_courier.worker.connections.model import Connection
from stash_courier.worker.stash.address import StashUnavailable

NOT_WANTED = 'Nothing would be sent: the filters of this connection, or its "Events to send", leave this out.'
GONE = "Nothing would be sent: Stash no longer has this scene, and this connection never got it."
NO_SCENE = "Stash has no scene, so there is nothing to show."


def preview(context: Context, arguments: Arguments) -> dict[str, object]:
    """What would be sent of the scene that is named, or of the one that a test uses.

    The connection is named as ``destination``, or described as for a test.
    """
    with context.setup() as setup:
        _, entry, wrong = draft(setup, replace(arguments, id=arguments.destination or arguments.id))
        connection, found = destinations.configured(entry, setup.settings)
        if connection is None or wrong:
            steps = wrong_fields([*wrong, *found], arguments)
            return {"problem": steps[0]["text"], "steps": steps}
    scene_id, scene = _scene(context, connection, arguments.scene)
    if scene_id is None:
        return {"scene": None, "text": NO_SCENE}
    title = scene.title_or_stem() if scene else ""
    return {"scene": {"id": scene_id, "title": title}, "text": _text(context, connection, scene_id, scene)}


def _scene(context: Context, connection: Connection, wanted: int | None) -> tuple[int | None, Scene | None]:
    """The scene that is shown, and its id. None: Stash doesn't have it."""
    if wanted is None:
        scenes, _ = Samples(context.stash).of(connection)
        scene = scenes[0] if scenes else None
        return (scene.id if scene else None), scene
    answer = context.stash.scenes([wanted])
    if wanted not in answer.scenes:
        raise StashUnavailable(answer.broken.get(wanted, f"Stash can't give scene {wanted} now. Try again."))
    return wanted, answer.scenes[wanted]


def _text(context: Context, connection: Connection, scene_id: int, scene: Scene | None) -> str:
    delivery = Delivery(0, connection.id, scene_id, "update", (), 0, time.time())
    sent = next(iter(context.sent(connection.id, [scene_id])), None)
    verdict = filters.judge(delivery, scene, sent, connection.shared)
    match verdict.kind:
        case "filtered":
            return NOT_WANTED
        case "superseded":
            return GONE
    destination = destinations.make(connection)
    try:
        return destination.preview(verdict.delivery, scene)
    finally:
        destination.close()
