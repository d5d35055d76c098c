"""Whether a delivery is wanted: the owner's filters and the ledger against the scene as it is now. Pure.

To add a filter, add a row to ``FILTERS`` and its setting to worker/settings.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from stash_courier.queue.jobs import Delivery, Scene
from stash_courier.queue.ledger import Sent
from stash_courier.worker.paths import matches_prefix
from stash_courier.worker.settings import Settings

# The key of its setting → whether a scene passes it.
FILTERS: Mapping[str, Callable[[Scene, Settings], bool]] = {
    "filter_only_organized": lambda scene, settings: scene.organized or not settings.filter_only_organized,
    "filter_paths": lambda scene, settings: _path_passes(scene.path, settings),
    "filter_skip_tags": lambda scene, settings: settings.filter_skip_tags.isdisjoint(
        tag.name.casefold() for tag in scene.tags
    ),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with a claimed delivery."""

    kind: Literal["deliver", "filtered", "superseded"]
    delivery: Delivery  # what to send; for a scene that vanished it has become a destroy


def judge(delivery: Delivery, scene: Scene | None, sent: Sent | None, settings: Settings) -> Verdict:
    """Decides what to do with a delivery.

    Args:
        delivery: as claimed.
        scene: as it is in Stash now; None if it is gone, and for a destroy.
        sent: the ledger's row for this scene and destination.
        settings: the common settings.
    """
    was_sent = sent is not None and sent.outcome == "sent"
    if delivery.event == "destroy":
        # Without a row in the ledger the scene's last path decides.
        wanted = was_sent or (sent is None and _path_passes(delivery.path, settings))
    elif scene is not None:
        wanted = passes(scene, settings)
    elif sent is not None and was_sent:
        # Merging scenes destroys the sources without an event.
        wanted = True
        delivery = replace(delivery, event="destroy", path=sent.path)
    else:
        return Verdict("superseded", delivery)
    wanted = wanted and delivery.event not in settings.filter_skip_events
    return Verdict("deliver" if wanted else "filtered", delivery)


def passes(scene: Scene, settings: Settings) -> bool:
    """Whether a scene passes all filters, whatever the event."""
    return all(allows(scene, settings) for allows in FILTERS.values())


def _path_passes(path: str, settings: Settings) -> bool:
    return not settings.filter_paths or any(matches_prefix(path, folder) for folder in settings.filter_paths)
