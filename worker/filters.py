"""Whether a delivery is wanted: a connection's filters and the ledger against the scene as it is now. Pure.

To add a filter, add its field to ``Shared`` in worker/connections/model.py and a row to ``FILTERS``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from stash_courier.queue import troubles
from stash_courier.queue.jobs import Delivery, Scene
from stash_courier.queue.ledger import Sent
from stash_courier.worker.connections.model import Shared
from stash_courier.worker.paths import matches_prefix

# The key of its field → whether a scene passes it.
FILTERS: Mapping[str, Callable[[Scene, Shared], bool]] = {
    "only_organized": lambda scene, shared: scene.organized or not shared.only_organized,
    "folders": lambda scene, shared: _path_passes(scene.path, shared),
    "include_tags": lambda scene, shared: (
        not (shared.include_tags and shared.include_tags.isdisjoint(_tags(scene)))
    ),
    "skip_tags": lambda scene, shared: shared.skip_tags.isdisjoint(_tags(scene)),
    "studios": lambda scene, shared: (
        not shared.studios or (scene.studio is not None and scene.studio.name.casefold() in shared.studios)
    ),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with a claimed delivery."""

    kind: Literal["deliver", "filtered", "superseded"]
    delivery: Delivery  # what to send; for a scene that vanished it has become a destroy


def judge(delivery: Delivery, scene: Scene | None, sent: Sent | None, shared: Shared) -> Verdict:
    """Decides what to do with a delivery.

    Args:
        delivery: as claimed.
        scene: as it is in Stash now; None if it is gone, and where none is needed.
        sent: the ledger's row for this scene and destination.
        shared: the filters of its connection.
    """
    if delivery.event == troubles.NOTICE:
        return Verdict("deliver", delivery)
    was_sent = sent is not None and sent.outcome == "sent"
    if delivery.event == "destroy":
        # Without a row in the ledger the scene's last path decides.
        wanted = was_sent or (sent is None and _path_passes(delivery.path, shared))
    elif scene is not None:
        wanted = passes(scene, shared)
    elif sent is not None and was_sent:
        # Merging scenes destroys the sources without an event.
        wanted = True
        delivery = replace(delivery, event="destroy", path=sent.path)
    else:
        return Verdict("superseded", delivery)
    wanted = wanted and (not shared.events or delivery.event in shared.events)
    return Verdict("deliver" if wanted else "filtered", delivery)


def passes(scene: Scene, shared: Shared) -> bool:
    """Whether a scene passes all filters, whatever the event."""
    return all(allows(scene, shared) for allows in FILTERS.values())


def _path_passes(path: str, shared: Shared) -> bool:
    return not shared.folders or any(matches_prefix(path, folder) for folder in shared.folders)


def _tags(scene: Scene) -> set[str]:
    return {tag.name.casefold() for tag in scene.tags}
