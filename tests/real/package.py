"""Installs the released package in a real Stash from a source, updates it under edits, and removes it.

    python -m tests.real.package --stash /path/to/stash            starts that program in a new folder
    python -m tests.real.package --prepare DIR                     makes a folder for a Stash in a container
    python -m tests.real.package --url http://… --folder DIR       uses the Stash of that folder

With --source, the package comes from a published source and is not updated. Otherwise it is built from this
checkout and served on loopback, so a container needs the network of the host. Needs ffmpeg.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from stash_courier.worker import process
from tests import ROOT
from tests.real.server import RealStash, prepare
from tests.standin.receivers import Receiver
from tools.build_plugin import NAME
from tools.release import VERSION, release

WHEELS = ROOT / ".build" / "wheels"
SCENES = 12
EDITS = 40  # of each scene, while updates are installed
UPDATES = 5
ENDED_SECONDS = 60.0  # in which a worker ends whose plugin was removed


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serves a folder on loopback; the address of its index."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/index.yml"
        server.shutdown()


def check(stash: RealStash, dist: Path, published: str) -> None:
    """All of it; an AssertionError or TimeoutError says what isn't as promised.

    Args:
        dist: an empty folder for what is built.
        published: the address of a source's index; "": the package is built here.
    """
    if not published:
        release(dist, WHEELS)
    with contextlib.nullcontext(published) if published else served(dist) as source, Receiver() as receiver:
        scenes = stash.add_videos(SCENES)
        say(f"Stash has {len(scenes)} scenes")
        stash.add_source(source)
        assert NAME in stash.offered(source), f"{source} doesn't offer {NAME}"
        stash.package("installPackages", NAME, source)
        loaded = stash.plugins()
        assert NAME in loaded, f"Stash didn't install what {source} offers; {stash.folder}/stash.log says why"
        say(f"installed from the source: {NAME} {loaded[NAME]}")

        values = {"url": receiver.url}
        saved = stash.operation(
            NAME, "save_connection", kind="webhook", name="Receiver", values=values, revision=0
        )
        assert saved["saved"], saved
        stash.edit(scenes[0], "First")
        stash.wait(lambda: arrived(receiver).get(scenes[0]) == "First", "the first edit arrives")
        say("an edit arrived")

        if not published:
            update_under_edits(stash, dist, source, receiver, scenes)
        remove_and_install(stash, source, receiver, scenes)


def update_under_edits(stash: RealStash, dist: Path, source: str, receiver: Receiver, scenes: list[str]) -> None:
    """Publishes higher versions while edits stream in; every scene's last title must arrive."""
    edits = threading.Thread(target=stream, args=(stash, scenes))
    edits.start()
    for number in range(1, UPDATES + 1):
        version = f"{VERSION}{number}"
        time.sleep(1.1)  # Stash asks for the index again when its Last-Modified has changed, in whole seconds
        release(dist, WHEELS, version, timedelta(days=number))
        stash.package("updatePackages", NAME, source)
        stash.wait(partial(runs, stash, version), f"Stash has loaded version {version}")
    edits.join()
    began, last = time.monotonic(), dict.fromkeys(scenes, f"Edit {EDITS}")
    stash.wait(lambda: arrived(receiver).items() >= last.items(), "the last title of every scene arrives")
    seconds = time.monotonic() - began
    say(f"{UPDATES} updates under {EDITS * len(scenes)} edits: all arrived, {seconds:.1f} s after the last edit")

    def switched() -> bool:
        worker = stash.operation(NAME, "status")["worker"]
        return bool(worker["running"] and worker["version"] == version)

    stash.wait(switched, f"the worker runs version {version}")


def runs(stash: RealStash, version: str) -> bool:
    """Whether Stash has loaded this version of the plugin and nothing else."""
    return stash.plugins() == {NAME: version}


def stream(stash: RealStash, scenes: list[str]) -> None:
    """Edits every scene again and again."""
    own = RealStash(stash.url, stash.folder)
    for number in range(1, EDITS + 1):
        for scene in scenes:
            own.edit(scene, f"Edit {number}")


def remove_and_install(stash: RealStash, source: str, receiver: Receiver, scenes: list[str]) -> None:
    """Removes the package while something waits; after another installation it arrives."""
    receiver.down()
    stash.edit(scenes[0], "Waits")
    stash.package("uninstallPackages", NAME, source)
    assert stash.plugins() == {}, "Stash still has the plugin that it uninstalled"
    began = time.monotonic()
    stash.wait(lambda: not process.running(str(stash.data)), "the worker ends", ENDED_SECONDS)
    log = stash.data / "worker.log"
    assert "ending: removed" in log.read_text("utf-8"), f"the worker ended, but {log} doesn't say why"
    assert (stash.data / "queue.db").exists(), f"the data folder {stash.data} is gone"
    say(f"removed: the worker ended after {time.monotonic() - began:.1f} s and said so; the data folder is there")
    receiver.up()
    stash.package("installPackages", NAME, source)
    stash.operation(NAME, "wake")
    stash.wait(lambda: arrived(receiver)[scenes[0]] == "Waits", "what waited arrives")
    say("installed again: what waited arrived")
    stash.operation(NAME, "stop_worker")


def arrived(receiver: Receiver) -> dict[str, str]:
    """The newest title of each scene that arrived."""
    bodies = [request.json() for request in receiver.received]
    return {body["data"]["id"]: body["data"]["title"] for body in bodies if "title" in body["data"]}


def say(text: str) -> None:
    """Reports a step."""
    print(text, flush=True)


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stash", type=Path, help="Stash's program")
    parser.add_argument(
        "--prepare", type=Path, metavar="DIR", help="make config.yml and the folders that it names"
    )
    parser.add_argument("--port", type=int, default=19980, help="of the Stash that is started or prepared")
    parser.add_argument("--url", help="the address of a Stash that runs")
    parser.add_argument("--folder", type=Path, help="the folder of its config.yml")
    parser.add_argument("--source", default="", help="the address of a published index.yml")
    args = parser.parse_args()
    if args.prepare:
        prepare(args.prepare.absolute(), args.port)
        return 0
    library = args.folder and args.folder / "library"
    if library and (not library.is_dir() or any(library.iterdir())):
        parser.error("--folder must be one that --prepare has made, and that was not used before")
    scratch = Path(tempfile.mkdtemp(prefix="stash-courier-"))
    if args.stash:
        stash = RealStash.started(args.stash, scratch / "stash", args.port)
    elif args.url and args.folder:
        stash = RealStash(args.url, args.folder)
    else:
        parser.error("give --stash, or --url and --folder")
    try:
        with stash:
            stash.wait(stash.answers, f"{stash.url} answers")
            check(stash, scratch / "dist", args.source)
    except (AssertionError, OSError, RuntimeError) as error:  # no answer is an OSError
        say(f"FAILED: {error}. What is left: {scratch}")
        return 1
    shutil.rmtree(scratch)
    say("As promised.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
