"""The failures of a delivery to a media server that concern its item."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.worker.destinations.media.places import Place, all_places
from stash_courier.worker.destinations.media.settings import Server
from stash_courier.worker.settings import label


def no_file(name: str, scene_id: int) -> DeliveryFailed:
    """The scene has no file to look for at the server of this name."""
    return DeliveryFailed(
        Failure.ITEM_REFUSED,
        f"Scene {scene_id} has no file in Stash, so it can't be found in {name}. Assign one, or delete the scene.",
    )


def not_there_yet(
    name: str, scene_id: int, where: Sequence[Place], hint: str = "", *, asked: bool = True
) -> DeliveryFailed:
    """The server doesn't know the item yet.

    Args:
        name: the server's name.
        scene_id: Stash's id.
        where: all places that were looked up.
        hint: a sentence, such as that no library contains that folder.
        asked: whether the server was asked to scan the file.
    """
    return DeliveryFailed(
        Failure.NOT_THERE_YET,
        f"{name} does not know scene {scene_id} under {all_places(where)}: "
        f"{'it was asked to look for it, and ' if asked else ''}we try again for about 2 hours. If it stays "
        f"unknown, correct {label('path_map')} or add that folder to a library of {name}.{hint and ' ' + hint}",
    )


def vanished(server: Server, what: str, failed: DeliveryFailed | None = None) -> DeliveryFailed:
    """The server no longer has an item that it listed a moment ago: it was removed, or is being rescanned.

    This isn't NOT_THERE_YET: the next attempt shows whether the item is there. If it happens to every item, the
    server is at fault, which a streak of REFUSED reveals.
    """
    return DeliveryFailed(
        Failure.REFUSED,
        f"{server.host} no longer has {what}, which it listed a moment ago. We will look again later.",
        status=failed.status if failed else None,
        answer=failed.answer if failed else "",
    )


@contextmanager
def still_there(server: Server, what: str) -> Iterator[None]:
    """Turns a 404 in its block into ``vanished``, since the item was found before."""
    try:
        yield
    except DeliveryFailed as failed:
        if failed.status != 404 or failed.failure is not Failure.ITEM_REFUSED:
            raise
        raise vanished(server, what, failed) from failed


def ambiguous(name: str, scene_id: int, place: Place, items: Iterable[str]) -> DeliveryFailed:
    """Several items, each given by name and id, have the scene's path."""
    found = list(items)
    return DeliveryFailed(
        Failure.ITEM_REFUSED,
        f"{name} has {len(found)} items with the path {place.server}: {'; '.join(found)}. It is unclear which of "
        f"them is scene {scene_id}, so none was changed. Remove all but one (is the folder in two libraries?), "
        "then retry this dead letter.",
    )
