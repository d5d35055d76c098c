"""The bug report: whatever is in a data folder, none of its texts is in the report."""

from __future__ import annotations

import json
import tempfile
import time
from contextlib import closing
from dataclasses import asdict, replace
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
from stash_courier.queue.jobs import Attempt, Delivery, SceneEvent
from stash_courier.worker.connections.model import Entry
from stash_courier.worker.delivery.breaker import Health
from tests import ROOT
from tests.support.connections import store
from tests.support.queue_driver import claim

# Titles, paths, hosts, keys, answers: each text begins with what no message of ours has.
private = st.builds(
    "{}{}".format, st.text("qxzß", min_size=4, max_size=6), st.text("ab/\\.:@ \"'|`{\n", max_size=12)
)


def plant(folder: Path, texts: list[str]) -> None:
    """Puts private texts wherever a person or another program can write."""
    name, key, path, title, said, tag = texts
    about = {"include_tags": tag, "path_map": [f"/{path} => /{tag}"], tag: said}
    server = Entry("one", name, "jellyfin", values={"url": f"http://{key}.test", "key": key, **about})
    hook = Entry(title, tag, "webhook", values={"url": f"http://host/{key}", "preset": said})
    store(folder, server, hook, Entry("three", said, tag, values={path: title}))
    attempt = Attempt(time.time(), "refused", said, 500, said)
    unknown = Attempt(time.time(), said, said, None, said)
    with closing(SceneQueue(folder)) as queue:
        queue.route([SceneEvent(queue.next_seq(), 20, "update", (), time.time())], {"one": 0.0, name: 0.0})
        with queue.transaction():
            for delivery in claim(queue, 10, time.time() + 100, "one"):
                assert isinstance(delivery, Delivery)
                queue.back(replace(delivery, attempts=1), time.time() + 100, unknown)
            control.put_state(queue.connection, title, asdict(Health("ill", said, said, time.time())))
            control.put(queue.connection, control.STASH, {"since": time.time(), "reason": said})
            control.put(queue.connection, control.UNSEEN, said)
    with closing(DeadLetterQueue(folder)) as dlq:
        job = Delivery(1, "one", 17, "update", (), 1, time.time(), history=(attempt,), path=path)
        dlq.add(job, DeliveryFailed(Failure.REFUSED, said, status=500, answer=said), 3, title=title)
        dlq.add(
            replace(job, destination=name, scene_id=18, history=(unknown,)),
            type(key, (Exception,), {})(said),
            1,
            title=title,
        )
    (folder / "worker.log").write_text(said, "utf-8")
    (folder / "worker.json").write_text(json.dumps({"version": said, "pid": 1}), "utf-8")


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(private, min_size=6, max_size=6, unique=True))
def test_nothing_private_comes_out(texts: list[str]) -> None:
    """No title, path, host, name, key or answer is in the report; kinds, counts and statuses are."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        plant(folder, texts)
        text = str(bug_report(Context(folder, str(ROOT)), Arguments())["text"])
    assert [one for one in texts if one[:4] in text] == []
    assert place not in text
    assert "jellyfin" in text
    assert "1 of connection" in text
    assert "status 500" in text
