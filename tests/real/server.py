"""A real Stash server: started from its program, or one that runs already."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import requests

SECONDS = 60.0  # for a start, or a job

CONFIG = """\
host: 127.0.0.1
port: {port}
stash:
  - path: {folder}/library
database: {folder}/stash.sqlite
generated: {folder}/generated
cache: {folder}/cache
blobs_path: {folder}/blobs
blobs_storage: FILESYSTEM
plugins_path: {folder}/plugins
logfile: {folder}/stash.log
nobrowser: true
"""


def prepare(folder: Path, port: int) -> None:
    """Makes a new folder from which a Stash can be started: config.yml, and the folders that it names."""
    for name in ("library", "plugins", "generated", "cache", "blobs", "home"):
        (folder / name).mkdir(parents=True)
    (folder / "config.yml").write_text(CONFIG.format(folder=folder, port=port))


class RealStash:
    """A Stash server at an address.

    Args:
        url: its address, without a slash at its end.
        folder: the folder of its config.yml as this machine sees it, with the folder ``library`` for videos.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.data = folder / "stash_courier"
        self._session = requests.Session()
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def started(cls, program: Path, folder: Path, port: int) -> Self:
        """Starts a Stash on loopback with everything in a new folder; ends with the block.

        Raises:
            TimeoutError: it doesn't answer.
        """
        prepare(folder, port)
        stash = cls(f"http://127.0.0.1:{port}", folder)
        stash._process = subprocess.Popen(
            [str(program), "--config", str(folder / "config.yml"), "--nobrowser"],
            cwd=folder,
            env={**os.environ, "HOME": str(folder / "home")},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        stash.wait(stash.answers, "Stash answers")
        return stash

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=20)

    def answers(self) -> bool:
        """Whether it is ready."""
        with suppress(requests.RequestException):
            return bool(self.ask("{ systemStatus { status } }")["systemStatus"]["status"] == "OK")
        return False

    def ask(self, query: str, **variables: object) -> Any:
        """The data of a GraphQL answer.

        Raises:
            RuntimeError: the answer has errors.
        """
        body = {"query": query, "variables": variables}
        answer = self._session.post(f"{self.url}/graphql", json=body, timeout=SECONDS).json()
        if answer.get("errors"):
            raise RuntimeError("; ".join(error["message"] for error in answer["errors"]))
        return answer["data"]

    def wait(self, holds: Any, what: str, seconds: float = SECONDS) -> None:
        """Waits until something holds; raises TimeoutError with ``what`` if it doesn't in time."""
        give_up = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > give_up:
                raise TimeoutError(f"not within {seconds:.0f} s: {what}")
            time.sleep(0.1)

    def finish(self, job: str) -> None:
        """Waits for a job. Stash forgets it soon after its end."""

        def ended() -> bool:
            found = self.ask("query($id: ID!) { findJob(input: {id: $id}) { status } }", id=job)["findJob"]
            return found is None or found["status"] in {"FINISHED", "CANCELLED", "FAILED"}

        self.wait(ended, "the job ends")

    # Scenes

    def add_videos(self, count: int) -> list[str]:
        """Makes short videos in the library and scans it; returns the ids of all scenes."""
        for number in range(count):
            source = f"testsrc2=size=160x90:rate=5:duration=1,hue=h={number * 47 % 360}"
            target = self.folder / "library" / f"clip {number}.mp4"
            options = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]
            command = ["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", source, *options, str(target)]
            subprocess.run(command, check=True)
        self.finish(self.ask("mutation { metadataScan(input: {}) }")["metadataScan"])
        found = self.ask("{ findScenes(filter: {per_page: -1}) { scenes { id } } }")
        return [scene["id"] for scene in found["findScenes"]["scenes"]]

    def edit(self, scene: str, title: str) -> None:
        """Changes a scene's title, as a person does."""
        change = {"id": scene, "title": title}
        self.ask("mutation($i: SceneUpdateInput!) { sceneUpdate(input: $i) { id } }", i=change)

    # Plugins

    def add_source(self, url: str) -> None:
        """Adds a source of plugins."""
        sources = [{"name": "test", "url": url, "local_path": "test"}]
        change = "configureGeneral(input: {pluginPackageSources: $s}) { databasePath }"
        self.ask(f"mutation($s: [PackageSourceInput!]) {{ {change} }}", s=sources)

    def package(self, do: str, package: str, source: str) -> None:
        """Installs, updates or uninstalls a package: ``do`` is the mutation's name."""
        query = f"mutation($p: [PackageSpecInput!]!) {{ {do}(type: Plugin, packages: $p) }}"
        self.finish(self.ask(query, p=[{"id": package, "sourceURL": source}])[do])

    def plugins(self) -> Mapping[str, str]:
        """The version of each plugin that is loaded, by its id."""
        return {one["id"]: one["version"] for one in self.ask("{ plugins { id version } }")["plugins"] or ()}

    def operation(self, plugin: str, mode: str, **arguments: object) -> Any:
        """Runs a mode of the plugin; its answer."""
        query = "mutation($id: ID!, $args: Map) { runPluginOperation(plugin_id: $id, args: $args) }"
        return self.ask(query, id=plugin, args={**arguments, "mode": mode})["runPluginOperation"]

    def offered(self, source: str) -> Sequence[str]:
        """The ids of the packages that a source offers."""
        query = "query($s: String!) { availablePackages(type: Plugin, source: $s) { package_id } }"
        return [one["package_id"] for one in self.ask(query, s=source)["availablePackages"]]
