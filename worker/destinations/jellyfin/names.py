"""Names of files and folders that Jellyfin never makes an item of: a table. Pure.

From its sources, 10.8 to 12: VideoExtraRules in Emby.Naming/Common/NamingOptions.cs, ExtraRuleResolver.cs,
IgnorePatterns.cs and CoreResolutionIgnoreRule.cs. 10.10.7, 10.11.11 and 12.0-rc5 were run with some of each kind.
Rules that hold in some versions only have those versions. Case doesn't matter.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from stash_courier.worker.destinations.media.places import below

Version = tuple[int, int]

NEVER: Version = (0, 0)
ALWAYS: Version = (1000, 0)


@dataclass(frozen=True, slots=True)
class Rule:
    """What a name must not be."""

    # ending: of a file's name without its extension and without digits at its end · name: that name, as a whole
    # hidden: the name of a folder that isn't looked into · extras: the same, for the extras of a film
    kind: Literal["ending", "name", "hidden", "extras"]
    tokens: tuple[str, ...]
    since: Version = NEVER
    until: Version = ALWAYS  # exclusive


RULES = (
    Rule("ending", ("-trailer", ".trailer", "_trailer", "- trailer", "-sample", ".sample", "_sample", "- sample")),
    Rule("ending", (" trailer", " sample"), until=(10, 11)),
    Rule("ending", ("-scene", "-clip", "-interview", "-featurette", "-short", "-extra")),
    Rule("ending", ("-behindthescenes", "-deleted", "-deletedscene")),
    Rule("ending", ("-other",), since=(10, 9)),
    Rule("name", ("trailer", "sample")),
    Rule("name", ("minta",), since=(12, 0)),
    Rule("hidden", ("@eadir", "eadir", "#recycle", "@recycle", "$recycle.bin", "system volume information")),
    Rule("hidden", ("metadata", "sample", "extrafanart", "extrathumbs", "lost+found")),
    Rule("hidden", ("ps3_update", "ps3_vprm", "temprec", "tempsbe")),
    Rule("hidden", ("subs",), since=(10, 11)),
    Rule("hidden", ("minta",), since=(12, 0)),
    Rule("extras", ("trailers", "backdrops", "theme-music", "behind the scenes", "deleted scenes", "interviews")),
    Rule("extras", ("scenes", "samples", "shorts", "featurettes", "extras")),
    Rule("extras", ("clips", "other", "extra"), since=(10, 9)),
)
# From this version on, the files of an extras folder directly in a library's folder are items of their own.
TOP_EXTRAS: Version = (10, 11)


def why_never(path: str, root: str, version: Version) -> str:
    """Why a file never becomes an item, for the end of a sentence, and what to do; "" if it may become one.

    Args:
        path: the file's on the server.
        root: the folder of the library that contains it.
        version: the server's; (0, 0) if it isn't known. Then only rules count that hold in all versions.
    """
    inner = below(path, root)
    if not inner:
        return ""
    *folders, name = inner
    stem = name.rpartition(".")[0] or name
    for folder in folders:
        if folder.startswith("."):
            return f'Jellyfin ignores folders whose name begins with a dot ("{folder}"), so move the file'
    if name.startswith("."):
        return "Jellyfin ignores files whose name begins with a dot, so rename the file"
    for depth, folder in enumerate(folders):
        if folder.lower() in _tokens("hidden", version):
            return f'Jellyfin ignores folders named "{folder}", so move the file'
        if folder.lower() in _tokens("extras", version) and (depth or NEVER < version < TOP_EXTRAS):
            return (
                f'Jellyfin takes a folder named "{folder}" for the extras of a film, so rename it or move the file'
            )
    if stem.lower() in _tokens("name", version):
        return f'Jellyfin takes a file named "{stem}" for an extra of a film, so rename the file'
    for ending in _tokens("ending", version):
        if stem.lower().rstrip("0123456789").endswith(ending):
            return (
                f'Jellyfin takes a file whose name ends with "{ending}" for an extra of a film, so rename the file'
            )
    return ""


def _tokens(kind: str, version: Version) -> Iterator[str]:
    for rule in RULES:
        known = version != NEVER or (rule.since, rule.until) == (NEVER, ALWAYS)
        if rule.kind == kind and known and rule.since <= version < rule.until:
            yield from rule.tokens
