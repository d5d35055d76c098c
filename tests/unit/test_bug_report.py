"""The bug report: whatever is planted in the queues, the connections and the log, none of it comes out."""

from __future__ import annotations

import tempfile
import time
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stash_courier.plugin.arguments import Arguments
from stash_courier.plugin.context import Context
from stash_courier.plugin.views.bug_report import bug_report
from stash_courier.queue import control
from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.history import ledger
from stash_courier.queue.history.ledger import Sent
from stash_courier.queue.jobs import Attempt, Delivery, SceneEvent
from stash_courier.worker.connections.model import Entry
from stash_courier.worker.delivery.breaker import Health
from tests import ROOT
from tests.support.connections import store
from tests.support.queue_driver import claim

NOW = time.strftime("%Y-%m-%d %H:%M:%S")

_NONE: dict[str, Exception] = {}

# Words that no message of ours has.
word = st.tuples(st.text("qxzäßé", min_size=2, max_size=4), st.text("abcdefgh", min_size=3, max_size=6)).map(
    "".join
)
ascii_word = st.builds("{}{}".format, st.text("qxz", min_size=2, max_size=4), st.text("abcdefgh", min_size=3))
title = st.lists(word, min_size=1, max_size=4).map(" ".join)
host = st.one_of(
    st.builds("{}.{}.home:{}".format, ascii_word, ascii_word, st.integers(10_000, 65_000)),
    st.builds("{}:{}".format, ascii_word, st.integers(10_000, 65_000)),
    st.builds("[2001:db8:{:x}::{:x}]:{}".format, *[st.integers(0x1000, 0xFFFF)] * 2, st.integers(10_000, 65_000)),
    st.builds("10.{}.{}.77:{}".format, *[st.integers(100, 255)] * 2, st.integers(10_000, 65_000)),
)
path = st.one_of(
    st.builds("/{}/{}/{}.mkv".format, word, title, title),
    st.builds("D:\\{}\\{}.mp4".format, title, title),
    st.builds("\\\\{}\\{}\\{}.avi".format, word, title, title),
    st.builds("/{}/{}".format, word, word),
)


@dataclass(frozen=True)
class Planted:
    """Everything private that is planted."""

    names: tuple[str, str, str, str]  # of connections, a tag, a studio, a library, a performer
    titles: tuple[str, str]
    paths: tuple[str, str, str]
    hosts: tuple[str, str]
    token: str

    def words(self) -> set[str]:
        """All that must not come out: whole values and their parts."""
        found = {self.token, *self.names, *self.titles, *self.paths, *self.hosts}
        for one in (*self.names, *self.titles, *self.paths):
            found |= {
                part
                for part in one.replace("\\", " ").replace("/", " ").replace(".", " ").split()
                if len(part) > 4
            }
        for one in self.hosts:
            found |= {one.rpartition(":")[0].strip("[]"), one.rpartition(":")[2]}
        return found


planted = st.builds(
    Planted,
    st.tuples(title, title, title, title),
    st.tuples(title, title),
    st.tuples(path, path, path),
    st.tuples(host, host),
    st.text("0123456789abcdef", min_size=24, max_size=40),
)


def sentence(what: Planted) -> str:
    """What a receiver or a message may say."""
    return (
        f"{what.hosts[0]} refuses scene 17 under {what.paths[0]} (in Stash {what.paths[1]}): {what.names[3]} in "
        f'"{what.titles[0]}" at http://joe:{what.token}@{what.hosts[1]}/{what.names[0]}?x={what.token}, '
        f"the library {what.names[2]} ({what.paths[2]}), {what.names[1]}@{what.names[0]}.example."
    )


def answer(what: Planted) -> str:
    """A receiver's answer in JSON."""
    return (
        f'{{"error": "{what.names[3]} is unknown", "file": "{what.paths[0]}", "by": ["{what.titles[1]}"], '
        f'"key": "{what.token}", "at": "{what.hosts[1]}", {what.titles[0]}'
    )


def bug(said: str) -> Exception:
    """An exception with a traceback."""
    try:
        return _NONE[said]
    except KeyError as error:
        return error


def plant(folder: Path, what: Planted) -> None:
    """Puts it everywhere."""
    filters = {"include_tags": what.names[1], "studios": what.names[2]}
    about = {**filters, "path_map": [f"{what.paths[0]} => {what.paths[1]}"]}
    server = Entry(
        "one", what.names[0], "jellyfin", values={"url": f"http://{what.hosts[0]}", "key": what.token, **about}
    )
    hook = Entry("two", what.names[3], "webhook", values={"url": f"http://{what.hosts[1]}/{what.token}"})
    store(folder, server, hook)
    failed = DeliveryFailed(Failure.REFUSED, sentence(what), status=500, answer=answer(what))
    attempt = Attempt(time.time(), "refused", sentence(what), 500, answer(what))
    with closing(SceneQueue(folder)) as queue:
        queue.route([SceneEvent(queue.next_seq(), 20, "update", (), time.time())], {"one": 0.0})
        with queue.transaction():
            for delivery in claim(queue, 10, time.time() + 100, "one"):
                assert isinstance(delivery, Delivery)
                queue.back(replace(delivery, attempts=1), time.time() + 100, attempt)
            health = Health("ill", "refused", sentence(what), time.time())
            control.put_state(queue.connection, "two", asdict(health))
            control.put_state(queue.connection, f"webhook:{what.hosts[0]}", asdict(Health(removed_at=time.time())))
            control.put(queue.connection, control.STASH, {"since": time.time(), "reason": sentence(what)})
            control.put(queue.connection, control.UNSEEN, sentence(what))
            notes = frozenset({f"not_collected:{what.names[2]}", f"nfo:{what.titles[0]}"})
            ledger.write(queue.connection, Sent("one", 17, 1, "", 1.0, what.paths[2], "sent", None, notes))
    with closing(DeadLetterQueue(folder)) as dlq:
        for scene, name in ((17, "one"), (18, f"webhook:{what.hosts[0]}")):
            job = Delivery(
                1, name, scene, "update", (), scene, time.time(), history=(attempt,), path=what.paths[2]
            )
            dlq.add(job, failed, 3, title=what.titles[scene - 17])
        dlq.add(Delivery(1, "two", 19, "update", (), 19, time.time()), bug(what.titles[0]), 1, title="")
    (folder / "worker.log").write_text(
        f"{NOW},123 WARNING {sentence(what)}\n{NOW},124 ERROR {answer(what)}\n{NOW},125 INFO {sentence(what)}\n",
        "utf-8",
    )


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(planted)
def test_nothing_private_comes_out(what: Planted) -> None:
    """No title, path, host, port, name, token, nor a part of one, is in the report."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        plant(folder, what)
        text = str(bug_report(Context(folder, str(ROOT)), Arguments())["text"])
    folded = text.casefold()
    assert [one for one in what.words() if one.casefold() in folded] == []
    assert "waiting for connection-" in text
    assert "scene-1" in text
    assert "WARNING host-" in text
    assert "INFO" not in text
    assert 'test_bug_report.py", line' in text
    assert "in bug\n  return _NONE[said]\n  KeyError: " in text
