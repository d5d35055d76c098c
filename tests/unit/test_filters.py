"""worker/filters.py: a connection's filters against the scene as it is now."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stash_courier.queue.history.ledger import Sent
from stash_courier.queue.jobs import Delivery, Named, Scene, SceneFile
from stash_courier.worker import fields
from stash_courier.worker.connections.model import Shared
from stash_courier.worker.filters import FILTERS, judge, passes
from stash_courier.worker.filters import NEVER_SENT as NOT_SENT_EITHER

SCENE = Scene(
    *(7, "Title", "", "", "", "", None, True, (), "", "2026-01-01T00:00:00Z"),
    files=(SceneFile("/media/films/a.mp4", 1, 1.0, 1, 1),),
    performers=(),
    tags=(Named("1", "Draft"),),
    studio=Named("2", "The Studio"),
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
    ("shared", "kind"),
    [
        (Shared(), "deliver"),
        (Shared(only_organized=True), "deliver"),
        (Shared(folders=("/media/films",)), "deliver"),
        (Shared(folders=("/media/other", "/media/films")), "deliver"),
        (Shared(folders=("/media/film",)), "filtered"),
        (Shared(skip_tags=frozenset({"draft"})), "filtered"),
        (Shared(skip_tags=frozenset({"drafts"})), "deliver"),
        (Shared(include_tags=frozenset({"draft", "x"})), "deliver"),
        (Shared(include_tags=frozenset({"drafts"})), "filtered"),
        (Shared(include_tags=frozenset({"draft"}), skip_tags=frozenset({"draft"})), "filtered"),
        (Shared(studios=frozenset({"other", "the studio"})), "deliver"),
        (Shared(studios=frozenset({"studio"})), "filtered"),
        (Shared(events=frozenset({"create", "destroy"})), "filtered"),
        (Shared(events=frozenset({"update"})), "deliver"),
    ],
)
def test_filters_decide_about_the_scene_as_it_is(shared: Shared, kind: str) -> None:
    """Each filter excludes what its description says, and nothing else."""
    assert judge(UPDATE, SCENE, None, shared).kind == kind


def test_only_organized_excludes_the_others() -> None:
    """A scene that isn't organized is not sent, even if it was sent before."""
    scene = replace(SCENE, organized=False)
    assert judge(UPDATE, scene, SENT, Shared(only_organized=True)).kind == "filtered"


def test_a_scene_without_studio_or_tags_is_of_none() -> None:
    """A filter on studios or on tags to include excludes a scene that has none."""
    bare = replace(SCENE, studio=None, tags=())
    assert judge(UPDATE, bare, None, Shared(studios=frozenset({"the studio"}))).kind == "filtered"
    assert judge(UPDATE, bare, None, Shared(include_tags=frozenset({"draft"}))).kind == "filtered"
    assert judge(UPDATE, bare, None, Shared(skip_tags=frozenset({"draft"}))).kind == "deliver"


def test_a_merge_is_sent_as_what_it_became() -> None:
    """A scene that vanished by a merge counts as a deletion for the events to send."""
    assert judge(UPDATE, None, SENT, Shared(events=frozenset({"destroy"}))).kind == "deliver"
    assert judge(UPDATE, None, SENT, Shared(events=frozenset({"update"}))).kind == "filtered"


@pytest.mark.parametrize(
    ("sent", "shared", "kind"),
    [
        (None, Shared(), "deliver"),
        (SENT, Shared(), "deliver"),
        (NEVER_SENT, Shared(), "filtered"),
        (None, Shared(folders=("/media/other",)), "filtered"),
        (SENT, Shared(folders=("/media/other",)), "deliver"),
        (SENT, Shared(events=frozenset({"create", "update"})), "filtered"),
    ],
)
def test_a_destroy_is_sent_unless_the_scene_was_filtered(sent: Sent | None, shared: Shared, kind: str) -> None:
    """The deletion of a scene is sent if the scene was sent, and never if a filter excluded it."""
    assert judge(DESTROY, None, sent, shared).kind == kind


def test_a_scene_that_vanished_without_a_hook_becomes_a_destroy() -> None:
    """A merge destroys scenes without an event: destinations that have them get a deletion with the last path."""
    verdict = judge(UPDATE, None, SENT, Shared())
    assert verdict.kind == "deliver"
    assert verdict.delivery.event == "destroy"
    assert verdict.delivery.path == SENT.path


@pytest.mark.parametrize("sent", [None, NEVER_SENT])
def test_a_scene_that_vanished_before_it_was_sent_is_superseded(sent: Sent | None) -> None:
    """Nothing is sent for a scene that is gone before it was ever sent."""
    assert judge(UPDATE, None, sent, Shared()).kind == "superseded"


@pytest.mark.parametrize(
    ("shared", "reason"),
    [
        (Shared(folders=("/media/film",)), 'It is in none of the folders of "Only these folders".'),
        (Shared(include_tags=frozenset({"done"})), 'It has none of the tags of "Only scenes with a tag".'),
        (Shared(skip_tags=frozenset({"draft"})), 'It has the tag "Draft", which is in "Never scenes with a tag".'),
        (Shared(studios=frozenset({"another"})), 'Its studio isn\'t in "Only scenes of a studio".'),
        (Shared(events=frozenset({"create"})), '"Events to send" doesn\'t include update.'),
        (Shared(), ""),
    ],
)
def test_it_says_which_filter_excluded_a_scene(shared: Shared, reason: str) -> None:
    """The filter is named by its field's label."""
    assert judge(UPDATE, SCENE, None, shared).reason == reason


def test_it_says_why_a_destroy_is_not_sent() -> None:
    """A scene that was never sent need not be deleted there."""
    assert judge(DESTROY, None, NEVER_SENT, Shared()).reason == NOT_SENT_EITHER


def test_each_filter_has_a_field() -> None:
    """The message that no scene passes the filters names fields that exist."""
    assert set(FILTERS) <= {entry.key for entry in fields.of(Shared)}


@pytest.mark.parametrize(
    ("shared", "expected"),
    [
        (Shared(), True),
        (Shared(events=frozenset({"destroy"})), True),
        (Shared(folders=("/media/other",)), False),
        (Shared(skip_tags=frozenset({"draft"})), False),
    ],
)
def test_a_scene_passes_whatever_the_event(shared: Shared, expected: bool) -> None:
    """A scene is tested with all filters on scenes, but not with the events to send."""
    assert passes(SCENE, shared) is expected
