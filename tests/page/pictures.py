"""Takes the pictures of docs/img in a real Stash.

Start a Stash of its own for it, with the plugin, without connections, and with at least 20 scenes whose files have
titles that anyone may see. Then: ``python -m tests.page.pictures http://127.0.0.1:9999``. The receivers and the
Jellyfin in the pictures are stand-ins, which end with the program.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import requests
from playwright.sync_api import Browser, Page

from tests import ROOT
from tests.standin.jellyfin import KEY, StandInJellyfin
from tests.standin.receivers import Received, Receiver, Reply
from tests.support.harness import PLUGIN, wait_until
from tests.support.page import PATH, chromium

FOLDER = ROOT / "docs" / "img"
OPERATION = "mutation($id: ID!, $args: Map) { runPluginOperation(plugin_id: $id, args: $args) }"
SCENES = "{ findScenes(filter: {per_page: -1}) { scenes { id files { path basename } } } }"
UPDATE = "mutation($input: SceneUpdateInput!) { sceneUpdate(input: $input) { id } }"
STUDIOS = "{ findStudios(filter: {per_page: -1}) { studios { id name } } }"
STUDIO = "mutation($name: String!) { studioCreate(input: {name: $name}) { id } }"
REFUSED = b'{"error": "The field studio is required."}'
MEDIA = "/media/films"  # what the stand-in Jellyfin calls the folder of Stash
WIDTH = 1280  # of the pictures, in pixels


class Stash:
    """A real Stash with the plugin.

    Args:
        url: without a slash at its end.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, query: str, **variables: object) -> Any:
        """The data of the answer."""
        answer = requests.post(
            f"{self.url}/graphql", json={"query": query, "variables": variables}, timeout=60
        ).json()
        if answer.get("errors"):
            sys.exit(f"{self.url}: {answer['errors'][0]['message']}")
        return answer["data"]

    def run(self, mode: str, **arguments: object) -> Any:
        """The answer of one of the plugin's modes."""
        return self.ask(OPERATION, id=PLUGIN, args={"mode": mode, **arguments})["runPluginOperation"]

    def scenes(self) -> dict[str, str]:
        """The path of each scene's file, by the scene's id."""
        found = self.ask(SCENES)["findScenes"]["scenes"]
        return {scene["id"]: scene["files"][0]["path"] for scene in found}

    def edit(self, scene: str, **values: object) -> None:
        """Changes a scene."""
        self.ask(UPDATE, input={"id": scene, **values})

    def studio(self, name: str) -> str:
        """The id of the studio with this name, which is made if there is none."""
        for studio in self.ask(STUDIOS)["findStudios"]["studios"]:
            if studio["name"] == name:
                return str(studio["id"])
        return str(self.ask(STUDIO, name=name)["studioCreate"]["id"])

    def connect(self, kind: str, name: str, values: Mapping[str, object]) -> str:
        """Saves a new connection and returns its id."""
        revision = self.run("connections")["revision"]
        saved = self.run("save_connection", kind=kind, name=name, values=values, revision=revision)
        if not saved["saved"]:
            sys.exit(f"{name}: {saved}")
        return str(saved["id"])


def judge(received: Received) -> Reply:
    """Refuses the scenes that have no studio."""
    return Reply() if received.json()["data"].get("studio") else Reply(422, body=REFUSED)


@contextmanager
def world(stash: Stash) -> Iterator[StandInJellyfin]:
    """A Jellyfin that has most scenes, a receiver that refuses some, one that is down, and a chat."""
    scenes = stash.scenes()
    with (
        StandInJellyfin(libraries={"Films": [MEDIA]}) as jellyfin,
        Receiver() as home,
        Receiver(judge) as archive,
        Receiver(Reply(204)) as chat,
        Receiver() as backup,
    ):
        folder = next(iter(scenes.values())).rpartition("/")[0]
        for path in [*scenes.values()][:-2]:
            jellyfin.add(f"{MEDIA}/{path.rpartition('/')[2]}")
        backup.down()
        stash.connect(
            "jellyfin", "Living room", {"url": jellyfin.url, "key": KEY, "path_map": f"{folder} => {MEDIA}"}
        )
        stash.connect("webhook", "Home automation", {"url": f"{home.url}hook"})
        stash.connect("webhook", "Archive", {"url": f"{archive.url}api/scenes"})
        stash.connect("webhook", "Discord", {"url": f"{chat.url}api/webhooks/1/token", "preset": "discord"})
        stash.connect("webhook", "Backup server", {"url": f"{backup.url}events", "often_off": True})
        studio = stash.studio("Lantern Pictures")
        for number, (scene, path) in enumerate(scenes.items()):
            title = path.rpartition("/")[2].rpartition(".")[0]
            known = {"studio_id": studio} if number % 3 else {}
            stash.edit(
                scene, title=title, details=f"Filmed in {2010 + number % 12}.", rating100=60 + number, **known
            )
        wait_until(lambda: settled(stash), 60.0)
        yield jellyfin


def settled(stash: Stash) -> bool:
    """Whether everything is delivered, is a dead letter, or waits for the one that is down."""
    overview = stash.run("overview")
    waiting = [one["name"] for one in overview["connections"] if one["waiting"] or one["in_flight"]]
    return not overview["inbox"] and set(waiting) <= {"Backup server", "Living room"}


def take(stash: Stash, browser: Browser, jellyfin: StandInJellyfin) -> None:
    """Takes all pictures."""
    page = browser.new_page(viewport={"width": WIDTH, "height": 600}, locale="en-US", reduced_motion="reduce")

    def go(route: str) -> None:
        page.goto(f"{stash.url}{PATH}{route}")

    go("")
    page.get_by_role("button", name="Open dead letters").wait_for()
    save(page, "connections")

    go("/dead_letters")
    for number in range(3):
        page.locator("tbody input[type=checkbox]").nth(number).check()
    save(page, "dead-letters")

    scene = next(iter(stash.scenes()))
    connection = next(one["id"] for one in stash.run("overview")["connections"] if one["kind"] == "jellyfin")
    go(f"/scenes?open={scene},{connection}")
    page.get_by_role("button", name="Send again").wait_for()
    save(page, "receipt", whole=False)

    go("?new=jellyfin")
    page.get_by_label("Address").fill(jellyfin.url)
    page.get_by_label("API key").fill(KEY)
    page.get_by_role("button", name="Test", exact=True).click()
    page.get_by_role("button", name="Use this path").first.wait_for()
    save(page, "form")


def save(page: Page, name: str, *, whole: bool = True) -> None:
    """Saves the page as a picture; ``whole``: also what is below the window."""
    page.wait_for_timeout(1500)  # until nothing moves any more
    page.mouse.move(0, 0)
    file = FOLDER / f"{name}.png"
    page.screenshot(path=file, full_page=whole)
    sys.stdout.write(f"{file.relative_to(ROOT)}: {file.stat().st_size // 1024} KB\n")


def main() -> None:
    """Takes the pictures in the Stash whose address is given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="the address of a Stash of its own, such as http://127.0.0.1:9999")
    stash = Stash(parser.parse_args().url.rstrip("/"))
    if stash.run("overview")["connections"]:
        sys.exit(f"{stash.url} has connections. Use a Stash of its own: connections and scenes are changed.")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with world(stash) as jellyfin, chromium() as browser:
        take(stash, browser, jellyfin)


if __name__ == "__main__":
    main()
