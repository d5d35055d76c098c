"""Names of files and folders that Plex's scanners in Python never make an item of: a table. Pure.

From Plex's Scanners.bundle, which comes with the server: ``Filter.py`` and ``VideoFiles.py`` in
``Contents/Resources/Common``, as public copies have them (efirehead/Scanners.bundle at 4fdb9fc,
jbartfield/Scanners.bundle at a058c96). Both scanners below run both files. A library says which scanner it has.

Not in the table: what the scanner "Plex Movie" leaves out, since its source isn't public and Plex's support pages
don't say it; and names with "sample", which are left out only if the file is smaller than 300 MB. Case doesn't
matter.
"""

from __future__ import annotations

from stash_courier.worker.destinations.media.places import below

SCANNERS = ("Plex Movie Scanner", "Plex Video Files Scanner")

# Filter.py: the beginnings of names of folders that aren't looked into, the same directly in a library's folder,
# and parts of such names.
IGNORED = ("@eadir", "lost+found", "@recycle", "#recycle", "@recently-snapshot")
IGNORED_AT_TOP = ("$recycle.bin", "system volume information", "temporary items", "network trash folder")
IGNORED_PARTS = ("_unpack_", "_failed_", ".photoslibrary")
# VideoFiles.py: parts of the names of files that are extras of a film, the beginning of others, and folders of
# extras, which are no such folders directly in a library's folder.
EXTRAS = (
    "-trailer.",
    "-deleted.",
    "-behindthescenes.",
    "-interview.",
    "-scene.",
    "-featurette.",
    "-short.",
    "-other.",
)
EXTRA_BEGINS = "movie-trailer"
EXTRA_FOLDERS = {
    *("extra", "extras", "bonus", "sample", "samples", "behind the scenes", "deleted", "deleted scenes"),
    *("interview", "interviews", "scene", "scenes", "trailer", "trailers", "featurette", "featurettes"),
    *("short", "shorts", "other", "others", "bdmv", "video_ts"),
}


def why_never(path: str, root: str, scanner: str) -> str:
    """Why a file never becomes an item, and what to do, for the end of a sentence; "" if it may become one.

    Args:
        path: the file's on the server.
        root: the folder of the library that contains it.
        scanner: the library's.
    """
    inner = below(path, root)
    if scanner not in SCANNERS or not inner:
        return ""
    *folders, name = inner
    for depth, folder in enumerate(folders):
        lower = folder.lower()
        if folder.startswith("."):
            return f'Plex ignores folders whose name begins with a dot ("{folder}"), so move the file'
        at_top = not depth and lower.startswith(IGNORED_AT_TOP)
        if at_top or lower.startswith(IGNORED) or any(part in lower for part in IGNORED_PARTS):
            return f'Plex ignores folders with names such as "{folder}", so move the file'
        if depth and lower in EXTRA_FOLDERS:
            return f'Plex takes a folder named "{folder}" for the extras of a film, so rename it or move the file'
    if name.startswith("."):
        return "Plex ignores files whose name begins with a dot, so rename the file"
    lower = name.lower()
    extra = next((one.rstrip(".") for one in EXTRAS if one in lower), "")
    extra = extra or (EXTRA_BEGINS if lower.startswith(EXTRA_BEGINS) else "")
    return f'Plex takes a file with "{extra}" for an extra of a film, so rename the file' if extra else ""
