"""Sentences about what became of a scene's delivery. None contains a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from stash_courier.plugin.text.words import sentence
from stash_courier.queue.deliveries.backlog import Live
from stash_courier.queue.history.ledger import Outcome, Sent
from stash_courier.queue.history.receipts import KEPT_SECONDS, Code, Receipt

# {why} stands for the reason, a sentence.
RECORDED: Mapping[str, str] = {
    "delivered": "Delivered.",
    "same": "Not sent, because nothing differs there.",
    "filtered": "Not sent, because it is excluded. {why}",
    "absent": "Not sent, because the server doesn't have it. {why}",
    "locked": "Not changed, because what differs is locked there.",
    "version": "Not sent, because the server shows its file as a version or part of another item.",
    "deleted": "Its deletion was sent.",
    "digest": "Sent in one message with others.",
    "dead": "Failed, and is a dead letter. {why}",
}
NEVER_KNOWN = "Not sent. {why}"  # Stash has no such scene
DISCARDED = "Failed. Its dead letter was deleted. {why}"

LIVE: Mapping[str, str] = {
    "settling": "Not sent yet, because it waits for more edits.",
    "sending": "It is being sent.",
    "retrying": "Not sent yet. It is tried again. {why}",
    "not_there_yet": "Not sent yet, because the server doesn't have it yet. {why}",
}

LONG_AGO = "more than seven days ago"
# From the ledger → the code that a receipt would have, and what is known.
LEDGER: Mapping[Outcome, tuple[Code, str]] = {
    "sent": ("delivered", "Delivered{when}. What it changed is no longer recorded."),
    "filtered": ("filtered", "Not sent{when}, because it was excluded. By what is no longer recorded."),
    "absent": ("absent", "Not sent{when}, because the server didn't have it."),
}


# Stash's name of a field in a hook → in words, where they differ. "": no field of a scene.
EDITED: Mapping[str, str] = {
    "clientMutationId": "",
    "id": "",
    "ids": "",
    "code": "studio code",
    "cover_image": "cover",
    "gallery_ids": "galleries",
    "movies": "groups",
    "o_counter": "o count",
    "performer_ids": "performers",
    "primary_file_id": "primary file",
    "rating100": "rating",
    "stash_ids": "stash IDs",
    "studio_id": "studio",
    "tag_ids": "tags",
    "url": "URLs",
    "urls": "URLs",
}


def edited(fields: Iterable[str]) -> list[str]:
    """The fields that a hook named, in words."""
    return list(dict.fromkeys(filter(None, (EDITED.get(one, one.replace("_", " ")) for one in fields))))


def recorded(receipt: Receipt, *, dead_letter: int | None) -> str:
    """What a receipt says. ``dead_letter`` is the id of the scene's dead letter."""
    text = RECORDED.get(receipt.outcome, "{why}")
    if receipt.outcome == "deleted" and receipt.reason:
        text = NEVER_KNOWN
    if receipt.outcome == "dead" and dead_letter is None:
        text = DISCARDED
    return text.replace("{why}", sentence(receipt.reason)).strip()


def live(delivery: Live, hold: str) -> str:
    """Where a delivery is; ``hold`` says in a sentence why its destination gets nothing now."""
    if delivery.state == "waiting":
        return f"Not sent yet. {hold}" if hold else "Not sent yet. It is one of the next."
    return LIVE[delivery.state].replace("{why}", hold or sentence(delivery.error)).strip()


def from_ledger(sent: Sent, now: float) -> tuple[Code, str]:
    """A code, and what is known of a delivery whose receipt is gone at a wall time."""
    code, text = LEDGER.get(sent.outcome, LEDGER["sent"])
    return code, text.replace("{when}", f" {LONG_AGO}" if now - sent.fetched_at > KEPT_SECONDS else "")
