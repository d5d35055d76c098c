"""Replaces the answers of a stand-in to some requests, for example with a login page."""

from __future__ import annotations

from tests.standin.receivers import Answers, Received, Receiver, Reply

HTML = {"Content-Type": "text/html"}
LOGIN = Reply(200, HTML, b"<!DOCTYPE html><html><form action='/login'>Password</form></html>")  # as proxies answer


def intercept(receiver: Receiver, reply: Reply, part: str) -> Answers:
    """Answers requests that contain ``part`` in "METHOD /path?query" with ``reply``.

    Returns:
        What answered before, and still answers the other requests.
    """
    before = receiver.answer
    assert callable(before)

    def answer(request: Received) -> Reply:
        return reply if part in f"{request.method} {request.path}" else before(request)

    receiver.answer = answer
    return before
