"""Texts that can be posted in public: what they say stays, and what they name gets a pseudonym.

What is known to be private is replaced first: titles, paths, hosts, names. Then what looks like a path or a host.
Of the rest only words stay that this plugin's own messages, HTTP and the operating system use. All other words are
left out, because they may name anything.
"""

from __future__ import annotations

import ast
import builtins
import errno
import functools
import os
import re
import sqlite3
import sys
import sysconfig
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from http import HTTPStatus
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import ClassVar

from stash_courier.queue.inbox import files
from stash_courier.worker import paths
from stash_courier.worker.http.redact import redact

HIDDEN = "…"
LONGEST = 2000  # characters of a text that are looked at
OWN = ("plugin", "queue", "worker")  # folders with this plugin's code
# Also hosts, but they say nothing about anybody.
PUBLIC_HOSTS = {"localhost", "127.0.0.1", "::1", "0.0.0.0", "jellyfin", "plex", "emby", "stash"}  # noqa: S104
# What other programs say when they refuse something, and SQLite when a file can't be used.
USUAL = """
Access Bad Content Error Exception Failed Failure Forbidden Invalid Missing Request Response Unauthorized
Unexpected Unknown already access allowed authentication authorization bad body bytes cannot certificate
characters column constraint content converted could database denied disabled disk duplicate empty error errors
exceed exceeded exceeds exception exists expected expired failed field file forbidden format found gateway header
image index internal invalid item json key large length limit locked long malformed maximum message method
minimum missing must no not null number object occurred open parse parsed payload permission processing property
readonly refused rejected request required response schema server service short signature statusCode string
supported syntax table temporarily than timeout title token too traceId type unable unauthorized unavailable
unexpected unique unknown unsupported upstream value
"""

_FILE = r"[^\\/:;,|<>\"\n]"
_START = r"(?<![\w<])(?:[A-Za-z]:[\\/]|\\\\|/)"  # of a path
_TOKENS = "|".join(
    (
        r"(?P<quoted>\"[^\"\n]*\"|(?<!\w)'[^'\n]*'(?!\w))",
        rf"(?P<code>{_START}[^:;,|<>\"\n]*?[\\/](?:{'|'.join(OWN)})[\\/][\w\\/]+\.py\b)",
        r"(?P<url>[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>]+)",
        r"(?P<mail>[^\s\"'<>@]+@[^\s\"'<>@]+)",
        r"(?P<scene>\b[Ss]cene \d{1,19}\b)",
        # With blanks only if it ends like a file's name.
        rf"(?P<path>{_START}(?:(?:{_FILE}+[\\/])*?{_FILE}*?\.\w{{2,4}}\b(?![\\/.])|[^\s:;,|<>\"]*[^\s:;,|<>\".)\]]))",
        # More than a time of day.
        r"(?P<ipv6>(?<![\w:])(?!\d\d:\d\d:\d\d(?![:\w]))\[?(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f.]*(?:%\w+)?\]?(?::\d+)?)",
        r"(?P<port>(?<![\w.-])[A-Za-z][\w-]*:\d{4,5}\b)",
        r"(?P<dotted>(?<![\w.-])[\w-]+(?:\.[\w-]+)+(?::\d{2,5}\b)?)",
        r"(?P<word>[^\s!-/:-@\[-`{-~]+)",  # between ASCII's white space and punctuation
    )
)
_FRAME = re.compile(r'File "([^"\n]+)", line \d+, in ([\w<>]+)')  # a line of a stack trace
_NUMBER = re.compile(r"\d{1,3}")
_VERSION = re.compile(r"\d{1,3}(?:\.\d{1,3}){1,2}")
_ERROR = re.compile(
    r"(?:sqlite3|requests|urllib3|http|ssl|socket|json|persistqueue)\.[\w.]*(?:Error|Exception|Warning)"
)
_FILES = re.compile(
    r".*\.(?:mkv|mp4|m4v|avi|mov|wmv|webm|ts|mpe?g|flv|strm|srt|nfo|jpe?g|png|webp|py)", re.IGNORECASE
)
_GAPS = re.compile(r"…(?:[ ,./:;_\\-]*…)+")


class Pseudonyms:
    """Gives the same thing the same pseudonym, such as ``scene-1``. Not thread-safe.

    ``root`` is the plugin's folder. ``secrets`` are removed wherever they stand.
    """

    def __init__(self, root: Path, secrets: Iterable[str] = ()) -> None:
        self._root = root
        self._own = own_texts(root)
        self._secrets = tuple(secrets)
        self._numbers: dict[tuple[str, str], int] = {}
        self._last: Counter[str] = Counter()
        self._known: dict[str, str] = {}
        self._pattern: re.Pattern[str] | None = None

    def of(self, kind: str, thing: object) -> str:
        """The pseudonym of a thing, such as a scene's id."""
        key = kind, _key(str(thing))
        if key not in self._numbers:
            self._last[kind] += 1
            self._numbers[key] = self._last[kind]
        return f"{kind}-{self._numbers[key]}"

    def know(self, value: str, pseudonym: str) -> None:
        """Has a value replaced wherever it stands alone. The first pseudonym of a value counts."""
        if any(map(str.isalnum, value)):
            self._known.setdefault(_key(value), pseudonym)
            self._pattern = None

    def know_path(self, path: str) -> None:
        """The same for a path."""
        self.know(path, self._path(path))

    def know_host(self, host: str) -> None:
        """The same for ``host[:port]``."""
        bare = _without_port(host)
        if bare and bare.casefold() not in PUBLIC_HOSTS:
            self.know(host, self.of("host", bare))
            self.know(bare, self.of("host", bare))

    def safe(self, text: str, *, quotes: bool = True) -> str:
        """The text as it can be posted, on one line.

        ``quotes``: what stands in quotation marks is a name, unless it is one of our own labels. False for JSON.
        """
        text = unicodedata.normalize("NFC", " ".join(redact(text[:LONGEST], self._secrets).split()))
        return _GAPS.sub(HIDDEN, self._replaced(text, quotes=quotes, words=True))

    def trace(self, text: str) -> Iterator[str]:
        """The lines of a stack trace as they can be posted. Code stays if it is in the file that the trace names.

        That must be a file of this plugin, of Python, or of a package that this process can import.
        """
        parts: list[tuple[bool, str]] = []  # whether a line is public
        source: frozenset[str] = frozenset()
        for line in map(str.strip, text.splitlines()):
            frame = _FRAME.fullmatch(line)
            if frame is None:
                parts.append((line in source, line))
                continue
            shown, source = self._source(frame[1])
            public = any(f"def {frame[2]}(" in one for one in source) or (bool(shown) and frame[2][0] == "<")
            parts.append((public, line.replace(frame[1], shown) if public else line))
        for public, lines in groupby(parts, key=itemgetter(0)):
            said = [line for _, line in lines]
            yield from said if public else [self.safe(" ".join(said))]

    def _source(self, file: str) -> tuple[str, frozenset[str]]:
        """A file of code as it can be posted, and its lines; nothing of one that may be anybody's."""
        path = file.replace("\\", "/")
        folders = sorted({*filter(os.path.isabs, sys.path), sysconfig.get_path("stdlib")}, key=len, reverse=True)
        own = ((one, self._root / one) for one in self._own.files if path.endswith(f"/{one}"))
        other = ((file[len(one) + 1 :], Path(file)) for one in folders if Path(file).is_relative_to(one))
        for shown, place in (*own, *other):
            with suppress(OSError, ValueError):
                return shown, frozenset(map(str.strip, place.read_text("utf-8").splitlines()))
        return "", frozenset()

    def _replaced(self, text: str, *, quotes: bool, words: bool) -> str:
        """``words``: whether harmless words stay."""

        def replace(found: re.Match[str]) -> str:
            kind, said = next((name, value) for name, value in found.groupdict().items() if value is not None)
            if kind == "quoted" and said[1:-1] not in self._own.texts:
                inner = self._replaced(said[1:-1], quotes=False, words=words and not quotes)
                return f"{said[0]}{inner}{said[0]}"
            if kind == "word" and not (words and (said in self._own.words or _NUMBER.fullmatch(said))):
                return HIDDEN
            return self._PSEUDONYMS.get(kind, Pseudonyms._same)(self, said)

        return self._all().sub(replace, text)

    def _same(self, said: str) -> str:
        return said

    def _hidden(self, _: str) -> str:
        return HIDDEN

    def _known_as(self, said: str) -> str:
        return self._known.get(_key(said), HIDDEN)  # it may be spelled in a way that we don't compare

    def _scene(self, said: str) -> str:
        return self.of("scene", int(said.rpartition(" ")[2]))

    def _code(self, said: str) -> str:
        path = said.replace("\\", "/")
        return next((file for file in self._own.files if path.endswith(f"/{file}")), "") or self._path(said)

    def _url(self, said: str) -> str:
        scheme, _, rest = said.partition("://")
        host = re.split("[/?#]", rest, maxsplit=1)[0]
        more = f"/{HIDDEN}" if rest[len(host) :].strip("/") else ""
        return f"{scheme.lower()}://{self._host(host.rpartition('@')[2])}{more}"

    def _dotted(self, said: str) -> str:
        """A host, a file, or one of few other things with dots in their names."""
        if said in self._own.dotted or _VERSION.fullmatch(said) or _ERROR.fullmatch(said):
            return said
        if _FILES.fullmatch(said) and ":" not in said:
            return self.of("file", said)
        return self._host(said)

    def _host(self, host: str) -> str:
        bare = _without_port(host)
        return bare if bare.casefold() in PUBLIC_HOSTS else self.of("host", bare)

    def _path(self, path: str) -> str:
        """``/path-1/file-3``: the same folder and the same name have the same pseudonym."""
        separator = "\\" if paths.is_windows(path) and "\\" in path else "/"
        folder, _, name = path.rstrip("/\\").replace("\\", "/").rpartition("/")
        if "." not in name:
            return f"{separator}{self.of('path', path.rstrip('/').replace(chr(92), '/'))}"
        return f"{separator}{self.of('path', folder)}{separator}{self.of('file', name)}"

    def _all(self) -> re.Pattern[str]:
        """What is looked for, in this order: what is known, and then what looks like something."""
        if self._pattern is None:
            values = sorted(self._known, key=len, reverse=True)
            spelled = "|".join(r"\s+".join(map(re.escape, value.split())) for value in values)
            known = rf"(?P<known>(?<!\w)(?i:{spelled})(?![\w\\/]))|" if spelled else ""
            self._pattern = re.compile(known + _TOKENS)
        return self._pattern

    _PSEUDONYMS: ClassVar[Mapping[str, Callable[[Pseudonyms, str], str]]] = {
        "known": _known_as,
        "code": _code,
        "url": _url,
        "mail": _hidden,
        "scene": _scene,
        "path": _path,
        "ipv6": _host,
        "port": _host,
        "dotted": _dotted,
    }


class OwnTexts:
    """What this plugin's code says. ``texts`` are its strings, ``code`` the paths of its files in its folder."""

    def __init__(self, texts: Iterable[str], code: Iterable[str]) -> None:
        texts = [*texts]
        quoted = (label for text in texts for label in re.findall('"([^"{}]+)"', text))
        self.texts = frozenset([*texts, *quoted])
        self.files = frozenset(code)
        errors = (name for name in (*dir(builtins), *dir(sqlite3)) if name.endswith("Error"))
        http = (f"{one.phrase} {one.description}" for one in HTTPStatus)
        said = [*self.texts, USUAL, *errors, *http, *map(os.strerror, errno.errorcode)]
        self.words = frozenset(word for text in said for word in re.findall("[A-Za-z][A-Za-z0-9]*", text))
        events = (text for text in self.texts if re.fullmatch(r"(?:scene|courier|stash_courier)\.\w+", text))
        names = (value for name, value in vars(files).items() if name.isupper() and isinstance(value, str))
        self.dotted = frozenset([*events, *names])


@functools.cache
def own_texts(root: Path) -> OwnTexts:
    """Reads this plugin's code. Takes about half a second."""
    code = [file for folder in OWN for file in sorted((root / folder).rglob("*.py"))]
    texts: set[str] = set()
    for file in code:
        texts |= _strings(ast.parse(file.read_bytes()))
    return OwnTexts(texts, (file.relative_to(root).as_posix() for file in code))


def _strings(tree: ast.AST) -> set[str]:
    """All strings but those that stand alone, as docstrings do."""
    nodes = [*ast.walk(tree)]
    alone = {id(one.value) for one in nodes if isinstance(one, ast.Expr)}
    texts = (one for one in nodes if isinstance(one, ast.Constant) and id(one) not in alone)
    return {one.value for one in texts if isinstance(one.value, str)}


def _without_port(host: str) -> str:
    """The host of ``host[:port]`` or ``[address]:port``."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host if host.count(":") > 1 else host.partition(":")[0]


def _key(value: str) -> str:
    return unicodedata.normalize("NFC", " ".join(value.split()).casefold())
