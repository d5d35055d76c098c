"""The owner's filters against the scene as it is now."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stash_courier.queue.jobs import Delivery, Named, Scene, SceneFile
from stash_courier.queue.ledger import Sent
from stash_courier.worker.filters import judge
from stash_courier.worker.settings import Settings

SCENE = Scene(
    *(7, "Title", "", "", "", "", None, True, (), "", "2026-01-01T00:00:00Z"),
    files=(SceneFile("/media/films/a.mp4", 1, 1.0, 1, 1),),
    performers=(),
    tags=(Named("1", "Draft"),),
    studio=None,
    groups=(),
    stash_ids=(),
    cover_url="",
    fetched_at=1.0,
)
UPDATE = Delivery(1, "webhook:a", 7, "update", (), 10, 0.0)
DESTROY = replace(UPDATE, event="destroy", path="/media/films/a.mp4")
SENT = Sent("webhook:a", 7, 5, "", 0.0, "/media/films/old name.mp4", "sent")
NEVER_SENT = replace(SENT, outcome="filtered")


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        (Settings(), "deliver"),
        (Settings(filter_only_organized=True), "deliver"),
        (Settings(filter_paths=("/media/films",)), "deliver"),
        (Settings(filter_paths=("/media/other", "/media/films")), "deliver"),
        (Settings(filter_paths=("/media/film",)), "filtered"),
        (Settings(filter_skip_tags=frozenset({"draft"})), "filtered"),
        (Settings(filter_skip_tags=frozenset({"drafts"})), "deliver"),
        (Settings(filter_skip_events=frozenset({"update"})), "filtered"),
        (Settings(filter_skip_events=frozenset({"create"})), "deliver"),
    ],
)
def test_filters_decide_about_the_scene_as_it_is(settings: Settings, kind: str) -> None:
    """Each filter keeps out what its description says, and nothing else."""
    assert judge(UPDATE, SCENE, None, settings).kind == kind


def test_only_organized_keeps_out_the_others() -> None:
    """A scene that isn't organized yet is none of the receiver's business, sent before or not."""
    scene = replace(SCENE, organized=False)
    assert judge(UPDATE, scene, SENT, Settings(filter_only_organized=True)).kind == "filtered"


@pytest.mark.parametrize(
    ("sent", "settings", "kind"),
    [
        (None, Settings(), "deliver"),
        (SENT, Settings(), "deliver"),
        (NEVER_SENT, Settings(), "filtered"),
        (None, Settings(filter_paths=("/media/other",)), "filtered"),
        (SENT, Settings(filter_paths=("/media/other",)), "deliver"),
        (SENT, Settings(filter_skip_events=frozenset({"destroy"})), "filtered"),
    ],
)
def test_a_destroy_is_sent_unless_the_scene_was_kept_out(sent: Sent | None, settings: Settings, kind: str) -> None:
    """What was sent once is taken back; what the filters kept out is never mentioned."""
    assert judge(DESTROY, None, sent, settings).kind == kind


def test_a_scene_that_vanished_without_a_hook_becomes_a_destroy() -> None:
    """A merge destroys its sources silently: who knew them is told, with the last path."""
    verdict = judge(UPDATE, None, SENT, Settings())
    assert verdict.kind == "deliver"
    assert verdict.delivery.event == "destroy"
    assert verdict.delivery.path == SENT.path


@pytest.mark.parametrize("sent", [None, NEVER_SENT])
def test_a_scene_that_vanished_before_anybody_knew_it_is_superseded(sent: Sent | None) -> None:
    """Nobody hears of a scene that came and went unseen."""
    assert judge(UPDATE, None, sent, Settings()).kind == "superseded"
