"""What the ledger remembers of a scene when its deliveries end one after another in different ways."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.history import ledger
from stash_courier.queue.history.ledger import Noted, Outcome, Sent


@pytest.mark.parametrize(
    ("outcomes", "kept", "record"),
    [
        (["sent", "filtered"], "sent", b"cover"),  # its destroy must be sent
        (["filtered", "sent"], "sent", None),
        (["sent", "absent"], "absent", b"cover"),
        (["absent", "sent"], "sent", None),
        (["absent", "filtered"], "filtered", None),
        (["filtered", "absent"], "absent", None),
        (["sent", "absent", "filtered"], "filtered", b"cover"),
    ],
)
def test_the_last_outcome_counts(
    tmp_path: Path, outcomes: list[Outcome], kept: Outcome, record: bytes | None
) -> None:
    """The last outcome is kept, except that a scene that was sent stays sent when it is filtered."""
    with closing(SceneQueue(tmp_path)) as queue:
        for seq, outcome in enumerate(outcomes, 1):
            sent = b"cover" if (seq, outcome) == (1, "sent") else None
            ledger.write(queue.connection, Sent("jellyfin", 7, seq, "", 1.0, "/a", outcome, sent))
        found = ledger.find(queue.connection, "jellyfin", 7)
        assert found is not None
        assert (found.outcome, found.record, found.seq) == (kept, record, len(outcomes))
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


def test_notes_are_those_of_the_last_delivery(tmp_path: Path) -> None:
    """Each delivery replaces the scene's notes, also by none; they are counted by destination."""
    with closing(SceneQueue(tmp_path)) as queue:
        conn = queue.connection

        def end(scene_id: int, *notes: str, outcome: Outcome = "sent") -> None:
            ledger.write(conn, Sent("plex", scene_id, 1, "", 1.0, "/a", outcome, None, frozenset(notes)))

        end(1, "locked_fields", "nfo:Films,\nnew")
        end(2, "locked_fields")
        end(3, "shared_item", outcome="filtered")
        end(4)
        found = ledger.find(conn, "plex", 1)
        assert found is not None
        assert found.notes == {"locked_fields", "nfo:Films, new"}
        noted = {"locked_fields": Noted(2, (1,)), "nfo:Films, new": Noted(1, (1,)), "shared_item": Noted(1, (3,))}
        assert ledger.noted(conn, 1) == {"plex": noted}
        assert ledger.noted(conn, 5)["plex"]["locked_fields"].scenes == (1, 2)
        end(1, "locked_fields")
        end(2)
        end(3, outcome="absent")
        assert ledger.noted(conn, 5) == {"plex": {"locked_fields": Noted(1, (1,))}}
