"""What the owner must know of scenes that were delivered to a media server, or left alone there: a table.

A destination returns codes, as ``code`` or ``code:detail``; the ledger stores them, and status counts them. To add
a code, add a row to ``NOTES``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from stash_courier.queue.history.ledger import Noted

LOCKED_FIELDS = "locked_fields"
LOCKED_ITEM = "locked_item"
HIDDEN_PEOPLE = "hidden_people"
SHARED_ITEM = "shared_item"
NFO = "nfo"  # its detail is the library's name
NEVER_BY_NAME = "never_by_name"
NOT_COLLECTED = "not_collected"  # its detail is the collection's name
COVER_BESIDE = "cover_beside"


@dataclass(frozen=True, slots=True)
class Note:
    """How one code is reported."""

    text: str  # what is counted; {detail} stands for the code's detail
    # What to do. {switch} stands for the label of the field, in quotes; {versions} for how versions become items
    # of their own on that kind of server.
    advice: str = ""
    switch: str = ""  # the connection's field that changes it


NO_PARTS = 'Rename what is no part, so that its name doesn\'t end like "part2" or "cd2".'
_UNLOCK = "To have what is locked overwritten, switch {switch} off."

NOTES: Mapping[str, Note] = {
    LOCKED_FIELDS: Note("Scenes with locked fields, which were left alone", _UNLOCK, "respect_locks"),
    LOCKED_ITEM: Note("Scenes whose whole item is locked, which was left alone", _UNLOCK, "respect_locks"),
    HIDDEN_PEOPLE: Note(
        "Scenes whose people were left alone",
        "The server hides somebody of their cast, who was probably renamed there. Writing the others would delete "
        "that person from the cast. Give that person the old name again, or save the cast of the item there.",
    ),
    SHARED_ITEM: Note(
        "Scenes that weren't written, because the server shows their file as a version or part of another item",
        f"{{versions}} {NO_PARTS}",
    ),
    NFO: Note(
        "Scenes in the library {detail}, where each update makes the server rewrite the .nfo beside the video",
        "If other programs write these files, switch off the NFO saver of that library.",
    ),
    NEVER_BY_NAME: Note(
        "Scenes whose file has a name or folder that the server never shows as an item",
        "Rename or move these files.",
    ),
    NOT_COLLECTED: Note(
        "Scenes that were not added to the collection {detail}",
        "worker.log says why. Mostly the server has several collections of that name, or one that had it before: "
        "rename or remove one of them there.",
    ),
    COVER_BESIDE: Note(
        "Scenes whose cover wasn't sent, because the server would store it in the media folder",
        "To have it sent, and images there replaced, switch {switch} on.",
        "images_beside_media",
    ),
}


@dataclass(frozen=True, slots=True)
class Remark:
    """One connection's scenes with a note, for a person."""

    text: str  # what is counted
    count: int
    scenes: tuple[int, ...]  # ids of some of them, or of all
    advice: str = ""

    def sentence(self) -> str:
        """All of it as text."""
        some = "" if self.count == len(self.scenes) else "such as "
        return f"{self.text}: {self.count:,} ({some}{', '.join(map(str, self.scenes))}). {self.advice}".strip()


def remarks(noted: Mapping[str, Noted], label: Callable[[str], str], versions: str) -> list[Remark]:
    """One connection's notes, for a person.

    Args:
        noted: the scenes with each code, as the ledger has them.
        label: the label of one of the connection's fields, in quotes.
        versions: how versions of an item become items of their own on that kind of server; "" if that isn't known.
    """
    return [_remark(note, scenes, label, versions) for note, scenes in sorted(noted.items())]


def _remark(note: str, noted: Noted, label: Callable[[str], str], versions: str) -> Remark:
    code, _, detail = note.partition(":")
    known = NOTES.get(code)
    if known is None:  # a later version of the plugin wrote it
        return Remark(f"Scenes with the note {note}", noted.count, noted.scenes)
    advice = known.advice.replace("{switch}", label(known.switch)) if known.switch else known.advice
    advice = advice.replace("{versions}", versions).strip()
    return Remark(known.text.replace("{detail}", detail), noted.count, noted.scenes, advice)
