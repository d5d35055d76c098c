"""Whether a delivery is wanted, pure: the owner's filters against the scene as it is now."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from stash_courier.queue.jobs import Delivery, Scene
from stash_courier.queue.ledger import Sent
from stash_courier.worker.settings import Settings, matches_prefix


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be done with a claimed delivery."""

    kind: Literal["deliver", "filtered", "superseded"]
    delivery: Delivery  # to be sent as it is here: a vanished scene's has become a destroy


def judge(delivery: Delivery, scene: Scene | None, sent: Sent | None, settings: Settings) -> Verdict:
    """Judges a delivery.

    Args:
        delivery: as claimed.
        scene: as Stash has it now; None if it has it no more, or for a destroy.
        sent: the ledger's row for this scene and destination.
        settings: the owner's.
    """
    was_sent = sent is not None and sent.outcome == "sent"
    if delivery.event == "destroy":
        never = sent is not None and not was_sent
        wanted = not never and (was_sent or _in_paths(delivery.path, settings))
        return _unless_skipped(delivery, settings) if wanted else Verdict("filtered", delivery)
    if scene is None:
        if sent is None or not was_sent:
            return Verdict("superseded", delivery)
        return _unless_skipped(replace(delivery, event="destroy", path=sent.path), settings)
    if not passes(scene, settings):
        return Verdict("filtered", delivery)
    return _unless_skipped(delivery, settings)


def _unless_skipped(delivery: Delivery, settings: Settings) -> Verdict:
    skipped = delivery.event in settings.filter_skip_events
    return Verdict("filtered" if skipped else "deliver", delivery)


def passes(scene: Scene, settings: Settings) -> bool:
    """Whether a scene as it is now passes the filters, whatever happened to it."""
    if settings.filter_only_organized and not scene.organized:
        return False
    if any(tag.name.casefold() in settings.filter_skip_tags for tag in scene.tags):
        return False
    return _in_paths(scene.path, settings)


def _in_paths(path: str, settings: Settings) -> bool:
    return not settings.filter_paths or any(matches_prefix(path, prefix) for prefix in settings.filter_paths)
