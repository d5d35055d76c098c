"""``make demo``: shows Stash Courier at work and ends with a table of results, which it checks.

Without ``STASH_URL`` it edits scenes in the stand-in Stash. With ``STASH_URL`` and ``STASH_API_KEY`` the scenes
come from that Stash, which is only read: the demo runs the hooks itself and uses its own settings. Everything runs
on this machine, in a temporary folder.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from standardwebhooks.webhooks import Webhook

from stash_courier.worker.connections.model import Entry
from tests.demo.sources import RealSource, Source, StandInSource
from tests.standin import jellyfin, plex
from tests.standin.receivers import Received, Receiver, Reply
from tests.support.harness import SECRET, wait_until

CHAT = "api/webhooks/1/token"  # the path of a webhook of Discord
DATA, MNT = "/data/films", "/mnt/media"  # what two Jellyfins call the same folder


class Demo:
    """The steps of the demo, and a record of all events."""

    def __init__(self, source: Source, receiver: Receiver) -> None:
        self.source = source
        self.receiver = receiver
        self.events: list[tuple[int, float]] = []  # scene id, wall time before the edit
        self.refused: list[Received] = []  # by the receiver

    def edit(self, scene_ids: Sequence[int]) -> None:
        """Edits scenes one after another."""
        for scene_id in scene_ids:
            self.events.append((scene_id, time.time()))
            self.source.edit(scene_id, f"Edited {len(self.events)} times so far")

    def arrived(self, event: tuple[int, float]) -> Received | None:
        """The first accepted request about the event's scene after the event."""
        scene_id, at = event
        for received in self.receiver.received:
            if received.at >= at and scene(received) == str(scene_id) and self.taken(received):
                return received
        return None

    def taken(self, received: Received) -> bool:
        """Whether the receiver accepted the request."""
        return received not in self.refused

    def wait(self, timeout: float = 20.0) -> None:
        """Waits until all events so far have arrived."""
        wait_until(lambda: all(self.arrived(event) for event in self.events), timeout)

    def ordinary_edits(self, scene_ids: Sequence[int]) -> None:
        """Shows the latency from the edit to the receiver."""
        say("1. Edits arrive. Time from the start of the hook to the receiver:")
        for scene_id in scene_ids:
            self.edit([scene_id])
            self.wait()
            received = self.arrived(self.events[-1])
            assert received is not None
            say(f"   scene {scene_id}: {(received.at - self.events[-1][1]) * 1000:6.1f} ms, signature verified")

    def outage(self, scene_ids: Sequence[int]) -> None:
        """Takes the receiver down and up again."""
        say(f"2. The receiver is down while {len(scene_ids)} scenes are edited.")
        self.receiver.down()
        self.edit(scene_ids)
        time.sleep(1.0)
        self.say_status()
        self.receiver.up()
        restored = time.monotonic()
        self.wait(60.0)
        waited = time.monotonic() - restored
        say(f"   The receiver is up again. All {len(scene_ids)} arrived within {waited:.1f} s. Dead letters: 0.")

    def worker_crash(self, scene_ids: Sequence[int]) -> None:
        """Kills the worker during deliveries."""
        say(f"3. The worker is killed (SIGKILL) while it delivers {len(scene_ids)} edits.")
        self.receiver.answer = slowly
        self.edit(scene_ids[:-1])
        pid = self.source.kill_worker()
        say(f"   Worker {pid} is dead. The next edit starts a new one.")
        self.edit(scene_ids[-1:])
        self.wait(30.0)
        wait_until(lambda: self.source.waiting() == 0, 30.0)  # unrecorded requests are sent again
        self.receiver.answer = verified
        say(f"   Worker {self.source.worker_pid()} delivered the rest. All {len(scene_ids)} arrived.")

    def dead_letter(self, scene_id: int) -> None:
        """Shows a delivery that fails permanently, its review and its redrive."""
        say(f"4. The receiver refuses scene {scene_id} permanently (422).")

        def refuse(received: Received) -> Reply:
            self.refused.append(received)
            return Reply(422, body=b"no such scene here")

        self.receiver.answer = refuse
        self.edit([scene_id])
        wait_until(lambda: self.source.dead() == 1, 20.0)
        say('   It is a dead letter now. The button "Review dead letters" shows:')
        self.say_lines("review_dead_letters")
        self.receiver.answer = verified
        say('   The receiver is fixed. The button "Retry dead letters" shows:')
        self.say_lines("retry_dead_letters")
        self.wait(20.0)
        wait_until(lambda: self.source.dead() == 0, 10.0)
        say("   Delivered. Dead letters: 0.")

    def media_servers(self, scene_id: int) -> None:
        """Shows one edit that reaches a chat, Plex, and two Jellyfins that call its folder differently."""
        say("5. Two Jellyfins, a Plex and a Discord (stand-ins) are connected, and one scene is edited.")
        path = next(r.json()["data"]["path"] for r in self.receiver.received if scene(r) == str(scene_id))
        folder, _, name = path.rpartition("/")
        films = plex.Library("1", "Films", (folder,))
        with (
            jellyfin.StandInJellyfin() as one,
            jellyfin.StandInJellyfin() as two,
            plex.Plex(films) as other,
            Receiver(Reply(204)) as chat,
        ):
            movie = other.add(films, path)
            items = {
                place: server.items[server.add(f"{place}/{name}")] for place, server in ((DATA, one), (MNT, two))
            }
            self.source.connect(
                Entry("jellyfin", "Jellyfin", "jellyfin", values=of_jellyfin(one, f"{folder} => {DATA}")),
                Entry("jellyfin-2", "Jellyfin 2", "jellyfin", values=of_jellyfin(two, f"{folder} => {MNT}")),
                Entry("plex", "Plex", "plex", values={"url": other.url, "key": plex.TOKEN}),
                Entry("webhook-1", "Discord", "webhook", values={"url": chat.url + CHAT, "preset": "discord"}),
            )
            self.edit([scene_id])
            began = time.monotonic()
            self.wait()
            title = [r for r in self.receiver.received if scene(r) == str(scene_id)][-1].json()["data"]["title"]
            wait_until(lambda: one.posted and two.posted and other.edits, 20.0)
            (message,) = chat.wait_for(1)
            (embed,) = message.json()["embeds"]
            say(f"   All five have it after {(time.monotonic() - began) * 1000:.0f} ms.")
            say(f'   Webhook: title "{title}"')
            for place, item in items.items():
                say(f'   Jellyfin with {place}: title "{item["Name"]}", locked fields {item["LockedFields"]}')
            say(f'   Discord: an embed with the title "{embed["title"]}"')
            say(f'   Plex: title "{movie.values["title"]}", genres {movie.tags.get("genre", [])}')
            wait_until(lambda: self.source.waiting() == 0, 20.0)
            if {title} != {movie.values["title"], embed["title"], *(item["Name"] for item in items.values())}:
                raise SystemExit("Not every connection got the scene's title.")

    def say_status(self) -> None:
        """Prints what the button "Show status" shows."""
        say('   The button "Show status" shows:')
        self.say_lines("status")

    def say_lines(self, mode: str) -> None:
        """Prints what a button writes to Stash's log."""
        for line in self.source.operation({"mode": mode})["lines"]:
            say(f"     | {line}")

    def table(self) -> bool:
        """Prints the results; returns whether they are as promised."""
        wait_until(lambda: self.source.waiting() == 0, 20.0)
        lost = sum(1 for event in self.events if self.arrived(event) is None)
        ids = Counter(r.headers["webhook-id"] for r in self.receiver.received if self.taken(r))
        duplicates = sum(count - 1 for count in ids.values())
        dead = self.source.dead()
        rows = (
            ("events", len(self.events)),
            ("delivered", len(self.events) - lost),
            ("lost", lost),
            ("duplicates", duplicates),
            ("dead letters left", dead),
        )
        say("")
        for name, value in rows:
            say(f"  {name:<18} {value:>5}")
        say("  (A duplicate is a request that the killed worker had sent but not recorded. It has the same id.)")
        return lost == 0 and dead == 0 and duplicates <= 4


def of_jellyfin(server: jellyfin.StandInJellyfin, path_map: str) -> dict[str, object]:
    """The values of a connection to a Jellyfin server."""
    return {"url": server.url, "key": jellyfin.KEY, "path_map": path_map}


def scene(received: Received) -> str:
    """The id of the scene that a request is about."""
    return str(received.json()["data"]["id"])


def verified(received: Received) -> Reply:
    """Checks the signature with the reference library, then accepts the event."""
    Webhook(SECRET).verify(received.body, dict(received.headers))
    return Reply()


def slowly(received: Received) -> Reply:
    """Like ``verified``, but slower."""
    verified(received)
    return Reply(delay=0.1)


def say(text: str) -> None:
    """Prints a line."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    """Runs the demo; returns the exit code."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="stash-courier-demo-") as folder, Receiver(verified) as receiver:
        settings = {
            "webhook_url": f"{receiver.url}/hook",
            "webhook_secret": SECRET,
            "worker_schedule": "1s 5s",
        }
        url, key = os.environ.get("STASH_URL"), os.environ.get("STASH_API_KEY", "")
        source = RealSource(Path(folder), settings, url, key) if url else StandInSource(Path(folder), settings)
        with source:
            say(f"Stash: {source.name}. Receiver: {receiver.url}. The plugin is started as its manifest says.")
            demo = Demo(source, receiver)
            scenes = source.scene_ids(60)
            demo.ordinary_edits(scenes[:5])
            demo.outage(scenes[5:15])
            demo.worker_crash(scenes[15:40])
            demo.dead_letter(scenes[0])
            demo.media_servers(scenes[1])
            good = demo.table()
    say(f"{'As promised' if good else 'NOT AS PROMISED'}. Duration: {time.monotonic() - began:.0f} s.")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
