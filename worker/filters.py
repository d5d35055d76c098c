"""Whether a delivery is wanted: a connection's filters and the ledger against the scene as it is now. Pure.

To add a filter, add its field to ``Shared`` in worker/connections/model.py and a row to ``FILTERS``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from stash_courier.queue import troubles
from stash_courier.queue.history.ledger import Sent
from stash_courier.queue.jobs import Delivery, Scene
from stash_courier.worker import fields
from stash_courier.worker.connections.model import Shared
from stash_courier.worker.paths import matches_prefix

LABELS: Mapping[str, str] = {one.key: f'"{one.label}"' for one in fields.of(Shared)}
NEVER_SENT = "It was never sent here, so neither is its deletion."
UNKNOWN = "Stash has this scene no more, and it was never sent here."


@dataclass(frozen=True, slots=True)
class Filter:
    """One filter."""

    passes: Callable[[Scene, Shared], bool]
    why: Callable[[Scene, Shared], str]  # a sentence for a scene that doesn't pass; {label} stands for its field


# By the key of its field.
FILTERS: Mapping[str, Filter] = {
    "only_organized": Filter(
        lambda scene, shared: scene.organized or not shared.only_organized,
        lambda _, __: "{label} is on, and this scene isn't organized.",
    ),
    "folders": Filter(
        lambda scene, shared: _path_passes(scene.path, shared),
        lambda _, __: "It is in none of the folders of {label}.",
    ),
    "include_tags": Filter(
        lambda scene, shared: not (shared.include_tags and shared.include_tags.isdisjoint(_tags(scene))),
        lambda _, __: "It has none of the tags of {label}.",
    ),
    "skip_tags": Filter(
        lambda scene, shared: shared.skip_tags.isdisjoint(_tags(scene)),
        lambda scene, shared: f"It has the tag {_skipped(scene, shared)}, which is in {{label}}.",
    ),
    "studios": Filter(
        lambda scene, shared: (
            not shared.studios or (scene.studio is not None and scene.studio.name.casefold() in shared.studios)
        ),
        lambda scene, _: (
            "Its studio isn't in {label}." if scene.studio else "It has no studio, and {label} is set."
        ),
    ),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with a claimed delivery."""

    kind: Literal["deliver", "filtered", "superseded"]
    delivery: Delivery  # what to send; for a scene that vanished it has become a destroy
    reason: str = ""  # a sentence: why it isn't delivered; "" if an earlier delivery covers it


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
        reason = "" if wanted else NEVER_SENT
    elif scene is not None:
        reason = excluded(scene, shared)
    elif sent is not None and was_sent:
        # Merging scenes destroys the sources without an event.
        reason = ""
        delivery = replace(delivery, event="destroy", path=sent.path)
    else:
        return Verdict("superseded", delivery, UNKNOWN)
    if not reason and shared.events and delivery.event not in shared.events:
        reason = f"{LABELS['events']} doesn't include {delivery.event}."
    return Verdict("filtered" if reason else "deliver", delivery, reason)


def passes(scene: Scene, shared: Shared) -> bool:
    """Whether a scene passes all filters, whatever the event."""
    return not excluded(scene, shared)


def excluded(scene: Scene, shared: Shared) -> str:
    """Why a scene doesn't pass the filters, in a sentence; "" if it passes all, whatever the event."""
    for key, one in FILTERS.items():
        if not one.passes(scene, shared):
            return one.why(scene, shared).replace("{label}", LABELS[key])
    return ""


def _path_passes(path: str, shared: Shared) -> bool:
    return not shared.folders or any(matches_prefix(path, folder) for folder in shared.folders)


def _tags(scene: Scene) -> set[str]:
    return {tag.name.casefold() for tag in scene.tags}


def _skipped(scene: Scene, shared: Shared) -> str:
    return next(f'"{tag.name}"' for tag in scene.tags if tag.name.casefold() in shared.skip_tags)
