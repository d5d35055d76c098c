"""Whether this process runs in a container, where ``localhost`` isn't the machine."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from stash_courier.queue.failures import DeliveryFailed, Failure

ROOT = Path("/")
MARKS = (".dockerenv", "run/.containerenv")  # files that Docker and Podman make
# Files that every runtime of containers mounts from outside. No other system does.
MOUNTED = {"/etc/hostname", "/etc/hosts"}
_GROUP = re.compile(r"/(docker|lxc)/|/kubepods\b|(docker|libpod|crio|cri-containerd)-[0-9a-f]{12}")
_SILENT = {Failure.UNREACHABLE, Failure.BUSY}


def inside(root: Path = ROOT) -> bool:
    """Whether this process runs in a container. ``root``: of the file system."""
    if any((root / mark).exists() for mark in MARKS) or _GROUP.search(_text(root / "proc/self/cgroup")):
        return True
    mounts = (line.split() for line in _text(root / "proc/self/mountinfo").splitlines())
    return any(len(fields) > 4 and fields[4] in MOUNTED for fields in mounts)


def hint(url: str, failed: DeliveryFailed, other: str, root: Path = ROOT) -> str:
    """What to enter in place of this machine's own address, where that is a container in which nothing answers.

    Args:
        url: the address that was asked.
        failed: how that ended.
        other: what should answer there, such as "Jellyfin".
        root: of the file system.

    Returns:
        Sentences; "" if the address isn't the reason.
    """
    host = urlsplit(url).hostname or ""
    local = host in {"localhost", "::1"} or host.startswith("127.")
    if not local or failed.status is not None or failed.failure not in _SILENT or not inside(root):
        return ""
    return (
        f"Stash runs in a container, and {host} is that container itself. Enter the address of the machine in "
        f"your network, such as 192.168.1.5, or host.docker.internal, or the name of the container of {other}."
    )


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
