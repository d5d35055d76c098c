"""What a browser loads: the plugins' scripts, styles and assets, and a page that shows them.

The page is not Stash's. It is a small host with the libraries that Stash gives to plugins, which
``tests/support/page.py`` builds from ``tests/page/host``.
"""

from __future__ import annotations

import html
import mimetypes
import re
from dataclasses import replace
from pathlib import Path

from tests.standin.stash.plugins import Manifest, Plugins
from tests.standin.stash.web import Request, Response

# As a real Stash 0.30.1 answered, without the hosts that it allows for casting.
CSP = (
    "default-src data: 'self' 'unsafe-inline'; connect-src data: 'self' ws: wss:; img-src data: *; "
    "script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; media-src blob: 'self'; "
    "worker-src blob:; child-src 'none'; object-src 'none'; form-action 'self';"
)
_PREFIX = "X-Forwarded-Prefix"
_PLUGIN = re.compile(r"/plugin/([^/]+)/(javascript|css|assets(/.*))")
_NOT_FOUND = Response(404, b"404 page not found\n")
_PAGE = """<!DOCTYPE html><html lang="en"><head><base href="{base}"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>Stash</title>
<link rel="stylesheet" href="assets/host.css"><link rel="icon" href="data:,"></head>
<body><div id="root"></div><script type="module" src="assets/host.js"></script></body></html>"""


class Ui:
    """Answers a browser's requests for pages.

    Args:
        host: the folder with host.js and host.css; None for a Stash whose pages are empty.
        proxied: the path below which a proxy shows Stash too, without a slash at its end; "" for no proxy.
    """

    def __init__(self, plugins: Plugins, host: Path | None, proxied: str) -> None:
        self._plugins = plugins
        self._host = host
        self._proxied = proxied

    def forwarded(self, request: Request) -> Request:
        """The request as a proxy hands it on, if it came to the proxy's path."""
        if not self._proxied or not request.path.startswith(f"{self._proxied}/"):
            return request
        request.headers[_PREFIX] = self._proxied
        return replace(request, path=request.path.removeprefix(self._proxied))

    def answer(self, request: Request) -> Response | None:
        """The answer to a GET request; None for what is not part of the page."""
        if (asked := _PLUGIN.fullmatch(request.path)) is not None:
            return self._of_plugin(asked[1], asked[2], asked[3])
        if self._host is None:
            return None
        name = request.path.rpartition("/")[2]
        if request.path.startswith("/assets/"):
            return _file(self._host, name)
        if "." in name:
            return _NOT_FOUND
        page = _PAGE.format(base=html.escape(f"{prefix(request)}/"))
        headers = (
            ("Content-Security-Policy", CSP),
            ("Cache-Control", "no-cache"),
            ("Referrer-Policy", "same-origin"),
        )
        return Response(200, page.encode(), "text/html", headers)

    def _of_plugin(self, plugin_id: str, part: str, path: str | None) -> Response:
        plugin = next((p for p in self._plugins.all() if p.id == plugin_id), None)
        if plugin is None:
            return Response(404, b"Not Found\n")
        if not self._plugins.enabled(plugin_id):
            return Response(400, b"plugin disabled\n")
        if path is not None:
            return _asset(plugin, path)
        files = plugin.javascript if part == "javascript" else plugin.css
        body = b"".join((plugin.folder / file).read_bytes() + b"\n" for file in files)
        return Response(200, body, f"text/{part}", (("Cache-Control", "no-cache"),))


def prefix(request: Request) -> str:
    """The path below which the browser sees Stash, without a slash at its end."""
    return request.headers.get(_PREFIX) or ""


def _asset(plugin: Manifest, path: str) -> Response:
    """The file of the longest prefix in the manifest that fits. Assets have no Cache-Control."""
    for prefix, folder in sorted(plugin.assets.items(), key=lambda item: -len(item[0])):
        if path.startswith(f"{prefix.rstrip('/')}/"):
            return _file(plugin.folder / folder, path[len(prefix.rstrip("/")) + 1 :])
    return _NOT_FOUND


def _file(folder: Path, name: str) -> Response:
    file = (folder / name).resolve()
    if not file.is_relative_to(folder.resolve()) or not file.is_file():
        return _NOT_FOUND
    kind = "text/javascript; charset=utf-8" if file.suffix == ".js" else mimetypes.guess_type(file.name)[0]
    return Response(200, file.read_bytes(), kind or "application/octet-stream")
