"""What a form is told about an address that was pasted from a browser, and the change that corrects it."""

from __future__ import annotations

import pytest

from stash_courier.worker.fields import Problem
from tests.support.connections import connection, problems

TOKEN = "kq3-SecretToken_9"


def only(kind: str, url: str, **values: object) -> Problem:
    """The only problem of a connection with this address."""
    (problem,) = problems(kind, {"url": url, "key": "0" * 32, **values})
    assert problem.field == "url"
    assert TOKEN not in problem.message + repr(problem)
    return problem


@pytest.mark.parametrize(
    ("pasted", "address"),
    [
        ("http://nas:8096/web/index.html#!/home", "http://nas:8096"),
        ("http://nas:8096/web/#/home.html", "http://nas:8096"),
        ("https://media.example.org/jellyfin/web/", "https://media.example.org/jellyfin"),
        ("http://nas:8096/web/index.html?start=1", "http://nas:8096"),
        ("http://me:pass@nas:8096/web/index.html", "http://me:pass@nas:8096"),
        ("nas:8096/web/index.html#!/home", "http://nas:8096"),
        ("192.168.1.5:8096", "http://192.168.1.5:8096"),
        ("nas/jellyfin/", "http://nas/jellyfin"),
    ],
)
def test_the_address_of_a_page_is_trimmed(pasted: str, address: str) -> None:
    """The fix sets the address alone, with http:// in front, and with it the connection can be used."""
    problem = only("plex", pasted)
    assert problem.fix is not None
    assert problem.fix.values == {"url": address}
    assert "pass@" not in problem.fix.label
    assert problem.fix.label == f"Use {address.replace('me:pass@', '')} as the address"
    assert connection("plex", {"url": pasted, "key": "0" * 32, **problem.fix.values})


@pytest.mark.parametrize(
    "pasted",
    [
        f"http://nas:32400/library/metadata/12?checkFiles=1&X-Plex-Token={TOKEN}",
        f"http://nas:32400/?X-Plex-Token={TOKEN}",
        f"nas:32400/library/sections?X-Plex-Token={TOKEN}",
        f"http://nas:32400/web/index.html#!/media?X-Plex-Token={TOKEN}&a=b",
    ],
)
def test_a_pasted_plex_link_gives_the_token(pasted: str) -> None:
    """The fix takes address and token from the link, and no text shows the token."""
    problem = only("plex", pasted)
    assert "is a link with the server's key in it" in problem.message or "http://" in problem.message
    assert problem.fix is not None
    assert problem.fix.values == {"url": "http://nas:32400", "key": TOKEN}
    assert problem.fix.label == "Use http://nas:32400 as the address, and the key in the link as the key"
    found = connection("plex", {"url": pasted, **problem.fix.values})
    assert found.options.key == TOKEN


def test_a_webhook_without_http() -> None:
    """A webhook's address gets http:// in front, and nothing is trimmed."""
    (problem,) = problems("webhook", {"url": "nas:5678/webhook/stash?a=b"})
    assert problem.fix is not None
    assert problem.fix.label == "Put http:// in front"
    assert problem.fix.values == {"url": "http://nas:5678/webhook/stash?a=b"}


@pytest.mark.parametrize("url", ["ftp://nas/", "http://:0/", "not an address", "http://[::1"])
def test_what_is_no_address_gets_no_fix(url: str) -> None:
    """A text that isn't an address gets a sentence only."""
    assert only("jellyfin", url).fix is None
