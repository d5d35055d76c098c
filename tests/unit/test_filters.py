"""worker/filters.py: the owner's filters against the scene as it is now."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stash_courier.queue.jobs import Delivery, Named, Scene, SceneFile
from stash_courier.queue.ledger import Sent
from stash_courier.worker.filters import FILTERS, judge, passes
from stash_courier.worker.settings import SETTINGS, Settings

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
    """Each filter excludes what its description says, and nothing else."""
    assert judge(UPDATE, SCENE, None, settings).kind == kind


def test_only_organized_excludes_the_others() -> None:
    """A scene that isn't organized is not sent, even if it was sent before."""
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
def test_a_destroy_is_sent_unless_the_scene_was_filtered(sent: Sent | None, settings: Settings, kind: str) -> None:
    """The deletion of a scene is sent if the scene was sent, and never if a filter excluded it."""
    assert judge(DESTROY, None, sent, settings).kind == kind


def test_a_scene_that_vanished_without_a_hook_becomes_a_destroy() -> None:
    """A merge destroys scenes without an event: destinations that have them get a deletion with the last path."""
    verdict = judge(UPDATE, None, SENT, Settings())
    assert verdict.kind == "deliver"
    assert verdict.delivery.event == "destroy"
    assert verdict.delivery.path == SENT.path


@pytest.mark.parametrize("sent", [None, NEVER_SENT])
def test_a_scene_that_vanished_before_it_was_sent_is_superseded(sent: Sent | None) -> None:
    """Nothing is sent for a scene that is gone before it was ever sent."""
    assert judge(UPDATE, None, sent, Settings()).kind == "superseded"


def test_each_filter_has_a_setting() -> None:
    """The message that no scene passes the filters names settings that exist."""
    assert set(FILTERS) <= {setting.key for setting in SETTINGS}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (Settings(), True),
        (Settings(filter_skip_events=frozenset({"create", "update", "destroy"})), True),
        (Settings(filter_paths=("/media/other",)), False),
        (Settings(filter_skip_tags=frozenset({"draft"})), False),
    ],
)
def test_a_scene_passes_whatever_the_event(settings: Settings, expected: bool) -> None:
    """A scene is tested with all filters on scenes, but not with the events to skip."""
    assert passes(SCENE, settings) is expected
