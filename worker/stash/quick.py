"""Asks Stash for the plugin's settings with the standard library alone, for a view that must be quick.

Importing what client.py needs takes longer than all else that a view does. A view runs in a process that Stash has
just started, so the session in stash.json is fresh, and one request with a short time limit is enough.
"""

from __future__ import annotations

import http.client
import json
import ssl
from pathlib import Path
from urllib.parse import urlsplit

from stash_courier.queue.inbox import files
from stash_courier.worker.stash.address import COOKIE, StashAddress, StashUnavailable, unverified
from stash_courier.worker.stash.answers import PLUGIN_STATE, PluginState, WrongShape, read, read_state

LARGEST = 16 << 20  # bytes of an answer, which has the settings of all plugins


def plugin_state(folder: Path, seconds: float) -> PluginState:
    """This plugin's settings and whether it is enabled.

    Args:
        folder: the data folder.
        seconds: how long to wait for Stash at a time.

    Raises:
        StashUnavailable: Stash can't be asked now.
    """
    address = StashAddress.read(folder / files.STASH)
    try:
        return _read(_answer(address, seconds))
    except TimeoutError:
        wrong = f"did not answer within {seconds:g} s"
    except ssl.SSLError:
        wrong = "can't be reached over https: its certificate isn't valid, or it uses no https"
    except OSError:
        wrong = "can't be reached; is it running?"
    except (http.client.HTTPException, ValueError, RecursionError, WrongShape):
        wrong = "gave an answer that can't be used"
    # Not chained: the errors could quote headers.
    raise StashUnavailable(f"Stash at {address.url} {wrong}")


def _answer(address: StashAddress, seconds: float) -> bytes:
    place = urlsplit(address.url)
    host, port = str(place.hostname), address.port
    connection: http.client.HTTPConnection
    if address.scheme == "https":
        context = unverified() if address.trusted_by_place else ssl.create_default_context()
        connection = http.client.HTTPSConnection(host, port, timeout=seconds, context=context)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=seconds)
    headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
    if address.cookie:
        headers["Cookie"] = f"{COOKIE}={address.cookie}"
    try:
        connection.request("POST", "/graphql", json.dumps({"query": PLUGIN_STATE}), headers)
        response = connection.getresponse()
        if response.status != 200:
            login = "doesn't accept the plugin's session (401)"
            wrong = login if response.status == 401 else f"answered with status {response.status}"
            raise StashUnavailable(f"Stash at {address.url} {wrong}")
        return response.read(LARGEST)
    finally:
        connection.close()


def _read(answer: bytes) -> PluginState:
    # Stash sends paths that aren't UTF-8 as raw bytes.
    return read_state(read(json.loads(answer.decode("utf-8", "surrogateescape")), "data", dict))
