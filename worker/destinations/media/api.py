"""Requests to media servers, and their answers: those of other programs and of login pages are recognized."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.worker.connections.model import Policy
from stash_courier.worker.destinations.media.settings import Server
from stash_courier.worker.http.client import Answer, Client

JSON = "application/json"


class MediaApi:
    """One server. Every method raises ``DeliveryFailed`` unless it gets the expected answer. Thread-safe.

    Args:
        headers: of every request.
        how: how to get a key that works.
        statuses: more advice, by HTTP status.
    """

    LARGEST = 32 * 1024 * 1024  # bytes of an answer; the largest page of a listing needs far less

    def __init__(
        self,
        server: Server,
        policy: Policy,
        headers: Mapping[str, str],
        how: str,
        statuses: Mapping[int, str] | None = None,
    ) -> None:
        self._server = server
        login = {"Authorization": server.authorization} if server.authorization else {}
        self._headers = {**login, **headers}
        self._client = Client(
            timeout=policy.timeout_seconds,
            concurrency=policy.concurrency,
            secrets=server.hidden,
            advice={**advice(server, how), **(statuses or {})},
        )

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def _get(self, path: str, *, fixed_url: bool = False, accept: str = JSON) -> Answer:
        headers = {**self._headers, "Accept": accept} if accept else self._headers
        url = self._server.url + path
        return self._client.request("GET", url, headers=headers, limit=self.LARGEST, fixed_url=fixed_url)

    def _write(
        self, method: str, path: str, body: bytes | None = None, media_type: str = "", *, fixed_url: bool = False
    ) -> None:
        headers = {**self._headers, "Content-Type": media_type} if media_type else self._headers
        url = self._server.url + path
        answer = self._client.request(method, url, headers=headers, body=body, fixed_url=fixed_url)
        check_write(answer, self._server)

    def _unexpected(self, answer: Answer, what: str = "") -> DeliveryFailed:
        return unexpected(self._server, answer, self._client.excerpt(answer), what)


def read_json(answer: Answer, server: Server) -> object:
    """The content of an answer that must be JSON.

    Raises:
        DeliveryFailed: BUSY for JSON that broke off. DESTINATION for anything else, which comes from another
            program or from a login page in front of the server.
    """
    body = answer.body.strip()
    try:
        if answer.whole:
            # One file name that isn't UTF-8 doesn't make the answer invalid.
            return json.loads(body.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        pass
    if body[:1] in {b"{", b"["}:
        raise DeliveryFailed(
            Failure.BUSY,
            f"{server.host} broke off in the middle of its answer, or the answer was too long. We will try again.",
            status=answer.status,
        )
    page = " with a web page" if body[:1] == b"<" else ""
    raise _from_another(server, answer, f"{page} where {server.name} answers with JSON")


def check_write(answer: Answer, server: Server) -> None:
    """Checks the 2xx answer to a write, which counts unless it is a web page.

    What the servers answer to a write differs between versions and is mostly empty. A web page comes from a
    proxy's login or from another program.

    Raises:
        DeliveryFailed: DESTINATION for a web page: the server didn't get the change.
    """
    begin = answer.body[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    is_html = "text/html" in answer.headers.get("Content-Type", "").lower()
    if begin.startswith((b"<!doctype", b"<html")) or (is_html and begin):
        raise _from_another(server, answer, f" with a web page where {server.name} accepts changes")


def unexpected(server: Server, answer: Answer, said: str, what: str = "") -> DeliveryFailed:
    """The failure for JSON that this kind of server doesn't send.

    Args:
        server: which one.
        answer: its answer.
        said: the answer, cut and without secrets, for a person.
        what: what is wrong with it, in a few words.
    """
    return DeliveryFailed(
        Failure.DESTINATION,
        f"{server.host} answers as {server.name} never does{what and f' ({what})'}: it is another program, or a "
        f'version that we don\'t know. Check "Address".',
        status=answer.status,
        answer=said,
    )


def advice(server: Server, how: str) -> dict[int, str]:
    """Advice for the statuses that mean wrong settings, and how to get a key that works."""
    return {
        401: f"it rejects {server.key_label}; {how}",
        403: f"{server.key_label} has no right to do this; {how}",
        404: f'{server.name} has nothing at this address; check "Address"',
        405: f'{server.name} accepts no such request at this address; check "Address"',
    }


def library_updated(kind: str, paths: Iterable[str]) -> bytes:
    """The body of ``POST /Library/Media/Updated``, which Jellyfin and Emby share."""
    return json.dumps({"Updates": [{"Path": path, "UpdateType": kind} for path in paths]}).encode("ascii")


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


def _from_another(server: Server, answer: Answer, how: str) -> DeliveryFailed:
    return DeliveryFailed(
        Failure.DESTINATION,
        f"{server.host} answers{how}: another program or a proxy's login page is at this address. Enter the "
        f"address of {server.name} itself.",
        status=answer.status,
    )
