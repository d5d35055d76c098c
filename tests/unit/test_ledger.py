"""What the ledger remembers of a scene when its deliveries end one after another in different ways."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from stash_courier.queue import ledger
from stash_courier.queue.ledger import Outcome, Sent
from stash_courier.queue.scene_queue import SceneQueue


@pytest.mark.parametrize(
    ("outcomes", "kept", "cover"),
    [
        (["sent", "filtered"], "sent", b"cover"),  # its destroy must be sent
        (["filtered", "sent"], "sent", b""),
        (["sent", "absent"], "absent", b""),  # a new item has no cover from us
        (["absent", "sent"], "sent", b""),
        (["absent", "filtered"], "filtered", b""),
        (["filtered", "absent"], "absent", b""),
        (["sent", "absent", "filtered"], "filtered", b""),
    ],
)
def test_the_last_outcome_counts(tmp_path: Path, outcomes: list[Outcome], kept: Outcome, cover: bytes) -> None:
    """The last outcome is kept, except that a scene that was sent stays sent when it is filtered."""
    with closing(SceneQueue(tmp_path)) as queue:
        for seq, outcome in enumerate(outcomes, 1):
            sent = b"cover" if (seq, outcome) == (1, "sent") else b""
            ledger.write(queue.connection, Sent("jellyfin", 7, seq, "", 1.0, "/a", outcome, sent))
        found = ledger.find(queue.connection, "jellyfin", 7)
        assert found is not None
        assert (found.outcome, found.cover, found.seq) == (kept, cover, len(outcomes))
        assert ledger.count_absent(queue.connection) == ({"jellyfin": 1} if kept == "absent" else {})


def test_absent_scenes_are_listed_in_pages(tmp_path: Path) -> None:
    """The scenes of one destination come by id, a page at a time."""
    with closing(SceneQueue(tmp_path)) as queue:
        for scene_id in range(1, 10):
            outcome: Outcome = "sent" if scene_id == 4 else "absent"
            for name in ("jellyfin", "plex"):
                ledger.write(queue.connection, Sent(name, scene_id, 1, "", 1.0, "/a", outcome))
        assert ledger.absent(queue.connection, "plex", 0, 4) == [1, 2, 3, 5]
        assert ledger.absent(queue.connection, "plex", 5, 4) == [6, 7, 8, 9]
        assert ledger.absent(queue.connection, "plex", 9, 4) == []
