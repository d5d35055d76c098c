"""The task buttons' words, arguments and judgements, and what they say when something is missing or broken."""

from __future__ import annotations

import json
import os
import pickle
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from stash_courier.plugin import arguments, tasks
from stash_courier.plugin.buttons import enqueue
from stash_courier.plugin.errors import BadInputError
from stash_courier.plugin.text import report, snapshot
from stash_courier.plugin.text.snapshot import Named, Snapshot
from stash_courier.queue import control, failures, files, schema, spool
from stash_courier.queue.dlq import DeadLetterQueue
from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.jobs import Attempt, Backlog, CorruptRow, Delivery
from stash_courier.queue.scene_queue import SceneQueue
from stash_courier.worker import process
from stash_courier.worker.delivery.breaker import Health
from tests import ROOT

NOW = 1_800_000_000.0
WELL, NOTHING = Health(), Backlog(0, 0, 0, 0.0, 0.0)
HOUR, DAY = 3600.0, 86_400.0
HOOK = "webhook:nas:5678"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder for which no worker is ever started, and no Stash is known."""
    monkeypatch.setenv("STASH_COURIER_WORKER", "off")
    return tmp_path


def press(folder: Path, mode: str, **args: object) -> dict[str, Any]:
    """Presses a button; the answer as it goes to Stash."""
    found = tasks.run(mode, {"mode": mode, **args}, str(folder), str(ROOT))
    answer: dict[str, Any] = json.loads(json.dumps(found, allow_nan=False))
    return answer


def refusal(folder: Path, mode: str, **args: object) -> str:
    """Presses a button that can't do it; its sentence."""
    with pytest.raises(BadInputError) as caught:
        press(folder, mode, **args)
    return str(caught.value)


def delivery(scene_id: int, destination: str = HOOK, **fields: Any) -> Delivery:
    """A delivery as it was claimed."""
    return Delivery(1, destination, scene_id, "update", ("title",), 1_700_000_000_000 + scene_id, NOW, **fields)


def bury(folder: Path, scene_id: int, failure: Failure, title: str = "", message: str = "", **fields: Any) -> int:
    """Makes a dead letter; its id."""
    dlq = DeadLetterQueue(folder)
    try:
        error = DeliveryFailed(failure, message or f"{failure} it was")
        return dlq.add(delivery(scene_id, **fields), error, 3, title=title)
    finally:
        dlq.close()


def states(folder: Path) -> dict[int, str]:
    """The state of every dead letter, by scene."""
    conn = sqlite3.connect(folder / files.DLQ_DB)
    try:
        return dict(conn.execute("SELECT scene_id, state FROM dead_letters").fetchall())
    finally:
        conn.close()


def seen(health: Health = WELL, waits: Backlog = NOTHING, **fields: Any) -> Snapshot:
    """A moment with one destination."""
    moment: dict[str, Any] = {
        "at": NOW,
        "inbox": 0,
        "backlog": {HOOK: waits} if waits.total else {},
        "healths": {HOOK: health},
        "paused_since": None,
        "disabled": False,
        "expedite": False,
        "stash_away": None,
        "problems": (),
        "notices": (),
        "last_success": None,
        "added": 0,
    }
    return Snapshot(**moment | fields)


def sentence(health: Health, waits: Backlog = NOTHING, *, usable: bool = True) -> str:
    """What is said of the destination."""
    return snapshot.standing(seen(health, waits), HOOK, usable=usable).sentence


def standings(moment: Snapshot, named: Named | None) -> dict[str, snapshot.Standing]:
    """How the destinations stand that are shown."""
    return {one.destination: one for one in snapshot.standings(moment, named)}


# words -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "0.2 s"), (40, "40 s"), (180, "3 min"), (5 * HOUR, "5 h"), (2 * DAY, "2 days"), (-5, "0 s")],
)
def test_durations_read_like_a_person_says_them(seconds: float, said: str) -> None:
    """A duration has one unit that fits its size."""
    assert report.span(seconds) == said


def test_numbers_and_nouns_agree() -> None:
    """One is singular, anything else plural, thousands have a comma."""
    said = [
        report.count(n, noun) for n, noun in ((1, "dead letter"), (0, "scene"), (2, "delivery"), (1000, "day"))
    ]
    assert said == ["1 dead letter", "0 scenes", "2 deliveries", "1,000 days"]


@pytest.mark.parametrize(
    "text",
    [
        "two\nlines",
        "\x1b[31mred\x1b[0m",
        "  led by blanks",
        "\u202egnp.exe",
        "byte \udcff",
        "long " * 2000,
        "a" + "\n" * 2000 + "b",
        "🎬" * 3000,
    ],
)
def test_the_answer_holds_exactly_what_the_log_got(text: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Whatever a sentence holds, it is one line of the log, and that line stands in the answer."""
    said = report.Report()
    said.say(f"«{text}» and text")
    said.warn(text)
    logged = capfd.readouterr().err.split("\n")
    assert logged == [f"\x01i\x02{said.lines[0]}", f"\x01w\x02{said.lines[1]}", ""]
    assert all(line == line.strip() for line in said.lines)


def test_each_button_of_the_manifest_is_a_mode() -> None:
    """No button leads nowhere, and no mode lacks its button."""
    manifest = yaml.safe_load((ROOT / "stash_plugin.yml").read_text("utf-8"))
    assert {task["defaultArgs"]["mode"] for task in manifest["tasks"]} == set(tasks.MODES)


def test_sentences_name_buttons_that_exist() -> None:
    """What a sentence tells the owner to press is there, by that name."""
    manifest = yaml.safe_load((ROOT / "stash_plugin.yml").read_text("utf-8"))
    names = {task["name"] for task in manifest["tasks"]}
    texts = [path.read_text("utf-8") for path in (ROOT / "plugin").glob("*.py")]
    told = {part.split("»")[0] for text in texts for part in text.split("«")[1:] if "»" in part}
    told = {name for name in told if name[0].isupper() and name != "Film"}
    assert told
    assert told <= names


def test_every_failure_has_words() -> None:
    """No sentence shows the name of a class: each failure is said in words, and what is unknown is a bug."""
    assert all(failures.label(failure) != failure or failure == "bug" for failure in Failure)
    assert not any("_" in failures.label(failure) for failure in Failure)
    assert failures.label("KeyError") == "bug"


def test_no_sentence_needs_another() -> None:
    """The page of logs shows the newest line first, so no line points up or down, or announces others."""
    texts = {path.name: path.read_text("utf-8") for path in (ROOT / "plugin").glob("*.py")}
    for words in ("see below", "see above", "said above", "What follows is", "By error", "The latest:"):
        assert [name for name, text in texts.items() if words in text] == [], words


def test_the_manifest_says_how_recent_is_recent() -> None:
    """The button's description names the days that it takes."""
    manifest = yaml.safe_load((ROOT / "stash_plugin.yml").read_text("utf-8"))
    (task,) = (t for t in manifest["tasks"] if t["defaultArgs"]["mode"] == "enqueue_recent")
    assert f"in the last {enqueue.RECENT_DAYS} days" in task["description"]


# arguments -------------------------------------------------------------------------------------


@pytest.mark.parametrize("ids", [[1, 2, 3], "1,2 3", "1, 2,3", ["1", 2, 3.0], [3, 1, 2, 1]])
def test_ids_come_as_a_list_or_as_text(ids: object) -> None:
    """Callers may give ids as JSON or as a person types them."""
    given = arguments.parse("retry_dead_letters", {"mode": "x", "ids": ids}, tasks.CHOICE)
    assert sorted(given.ids or ()) == [1, 2, 3]


def test_numbers_may_be_text() -> None:
    """A task button sends its numbers as text."""
    given = arguments.parse("review_dead_letters", {"ids": 7, "limit": " 25 "}, tasks.CHOICE)
    assert (given.ids, given.limit) == ((7,), 25)


@pytest.mark.parametrize(
    "args",
    [
        {"ids": []},
        {"ids": ""},
        {"ids": "all"},
        {"ids": [1, "x"]},
        {"ids": [0]},
        {"ids": [-1]},
        {"ids": [True]},
        {"ids": [1.5]},
        {"ids": {"1": 2}},
        {"ids": list(range(1, 1002))},
        {"ids": "9" * 30},
        {"limit": 0},
        {"limit": "many"},
        {"limit": 1e300},
        {"limit": float("nan")},
        {"error_type": ""},
        {"error_type": 3},
        {"destination": ["webhook"]},
        {"error_typ": "bug"},
        {"days": 3},
    ],
)
def test_a_bad_argument_deletes_nothing(folder: Path, args: dict[str, object]) -> None:
    """A misspelt or senseless argument is refused in one sentence, and nothing is deleted for it."""
    bury(folder, 1, Failure.ITEM_REFUSED)
    said = refusal(folder, "discard_dead_letters", **args)
    assert next(iter(args)) in said
    assert "\n" not in said
    assert states(folder) == {1: "dead"}


@pytest.mark.parametrize("mode", ["nonsense", None, 5, ["status"], ""])
def test_an_unknown_mode_is_told_the_known_ones(folder: Path, mode: object) -> None:
    """A caller that misspells a mode reads which there are."""
    with pytest.raises(BadInputError) as caught:
        tasks.run(mode, {"mode": mode}, str(folder), str(ROOT))
    assert all(name in str(caught.value) for name in (*tasks.MODES, "wake"))


# how a destination stands ----------------------------------------------------------------------

WAITING = Backlog(total=12, retrying=3, in_flight=2, oldest=NOW - 300, next_due=NOW + 180)


def test_a_well_destination_says_what_waits_and_when_it_goes() -> None:
    """The owner reads what waits, what failed before, what is on its way, and when the next goes."""
    said = sentence(Health(last_success=NOW - 60), WAITING)
    assert said == (
        f"{HOOK} takes deliveries. 10 deliveries wait (3 after a failure) and 2 on their way, the oldest for 5 "
        "min, the next is due in 3 min. Last delivery 60 s ago."
    )


def test_a_held_destination_says_since_when_why_when_again_and_what_to_do() -> None:
    """A breaker that is open explains itself."""
    reason = "nas:5678 answered 401 Unauthorized: check the login."
    health = Health("ill", "destination", reason, since=NOW - 2 * HOUR, until=NOW + 40, probes=4)
    said = sentence(health, WAITING)
    for part in ("for 2 h", reason, "Next try in 40 s.", "Test destinations", "10 deliveries wait"):
        assert part in said


def test_a_day_of_503_points_to_the_ip_filter() -> None:
    """A media server that refuses this machine's address answers 503 for ever: after a day that is said."""
    reason = "nas:8096 answered 503 Service Unavailable: it is overloaded or starting, so we wait."
    fresh = Health("ill", "busy", reason, since=NOW - HOUR, until=NOW + 40)
    old = Health("ill", "busy", reason, since=NOW - 2 * DAY, until=NOW + 40)
    assert "IP filter" not in sentence(fresh)
    assert "IP filter" in sentence(old)


def test_a_destination_that_is_gone_waits_for_its_settings() -> None:
    """After a 410 there is no next try, and the owner reads what to change."""
    said = sentence(Health("gone", "gone", "nas answered 410 Gone.", since=NOW - HOUR))
    assert "Next try" not in said
    assert "Enter its new address" in said


def test_a_destination_that_asked_to_wait_says_until_when() -> None:
    """A Retry-After of a destination that is well is shown with its reason."""
    assert "asked to wait: slow down. Next try in 10 min." in sentence(
        Health(reason="slow down.", until=NOW + 600)
    )


def test_a_removed_destination_says_how_long_its_deliveries_are_kept() -> None:
    """What waits for a destination that left the settings is shown with its end and the way back."""
    said = sentence(Health(removed_at=NOW - 2 * DAY), WAITING, usable=False)
    assert "has not been in the settings for 2 days" in said
    assert "in 28 days they become dead letters" in said


def test_a_broken_destination_names_the_setting_and_what_waits() -> None:
    """One whose setting can't be used says which one, and that nothing of what waits is lost."""
    named = Named(unusable=frozenset({HOOK}), faults={"webhook": ("webhook_secret",)})
    found = standings(seen(waits=WAITING), named)[HOOK]
    assert found.state == "broken"
    assert found.sentence == (
        f'{HOOK} gets nothing, since "Webhook, signing secret" can\'t be used as it stands; '
        "12 changes wait for it, the oldest for 5 min."
    )
    two = Named(faults={"webhook": ("webhook_url", "webhook_secret")})
    assert standings(seen(), two)[HOOK].sentence == (
        f'{HOOK} gets nothing, since "Webhook, URL" and "Webhook, signing secret" can\'t be used as they stand; '
        "nothing waits for it."
    )


def test_a_destination_that_nobody_has_met_is_shown_with_its_fault() -> None:
    """At first set-up the destination with a bad secret is there before a worker has written anything of it."""
    named = Named(unusable=frozenset({"webhook:new"}), faults={"webhook": ("webhook_secret",)})
    assert standings(seen(), named)["webhook:new"].state == "broken"


def test_a_destination_that_is_not_set_up_any_more_is_not_listed() -> None:
    """Where the settings don't name it and nothing waits for it, nobody says that it takes deliveries."""
    other = Named(usable=frozenset({"plex"}))
    assert set(standings(seen(), other)) == {"plex"}
    assert set(standings(seen(), Named())) == set()
    assert standings(seen(waits=WAITING), other)[HOOK].state == "removed"
    assert standings(seen(Health(removed_at=NOW - DAY), WAITING), Named(faults={"webhook": ("webhook_url",)}))[
        HOOK
    ].sentence.startswith(f"{HOOK} has not been in the settings")
    assert standings(seen(), None)[HOOK].state == "well"  # Stash can't be asked: what was known last


def test_changes_that_no_destination_can_be_told_of_are_said() -> None:
    """Where only a bad URL is set, changes wait undecided, and one line says so and why."""
    named = Named(faults={"webhook": ("webhook_url",)})
    moment = seen(inbox=3, healths={})
    said = snapshot.undecided(moment, named, snapshot.standings(moment, named))
    assert (
        said
        == '3 changes wait, since "Webhook, URL" can\'t be used as it stands: they go out once that is mended.'
    )
    known = seen(inbox=3)
    assert snapshot.undecided(known, named, snapshot.standings(known, named)) == ""  # they wait for that one
    assert snapshot.undecided(moment, Named(frozenset({HOOK}), faults=named.faults), []) == ""
    assert snapshot.undecided(moment, None, []) == snapshot.undecided(moment, Named(), []) == ""
    assert snapshot.undecided(seen(healths={}), named, []) == ""


@pytest.mark.parametrize(
    "health",
    [
        Health(last_success=NOW - 60),
        Health(reason="slow down.", until=NOW + 600),
        Health("ill", "unreachable", "nas refuses connections.", since=NOW - HOUR, until=NOW + 40),
        Health("gone", "gone", "nas answered 410 Gone.", since=NOW - HOUR),
    ],
)
def test_while_paused_each_destination_waits_for_resume(health: Health) -> None:
    """Under a pause no destination is said to take anything or to be tried, but why it took nothing stays."""
    paused = seen(health, WAITING, paused_since=NOW - 5)
    said = snapshot.standing(paused, HOOK, usable=True).sentence
    assert said.startswith(f"{HOOK} gets nothing until you press «Resume deliveries». 10 deliveries wait (3 after")
    assert "takes deliveries" not in said
    assert "ext try" not in said
    assert "is due" not in said
    assert health.reason in said


@pytest.mark.parametrize(
    ("moves", "moment"),
    [
        (False, seen()),
        (False, seen(waits=Backlog(3, 3, 0, 1, NOW + 9))),
        (True, seen(waits=Backlog(3, 0, 0, 1, NOW - 1))),
        (True, seen(waits=Backlog(3, 0, 1, 1, NOW + 9))),
        (True, seen(Health("ill", until=NOW - 1), Backlog(3, 3, 0, 1, NOW + 9))),
        (False, seen(Health("ill", until=NOW + 5), Backlog(3, 3, 0, 1, NOW - 1))),
        (False, seen(Health("gone"), Backlog(3, 3, 0, 1, NOW - 1))),
        (False, seen(Health(removed_at=1.0), Backlog(3, 3, 0, 1, NOW - 1))),
        (False, seen(waits=Backlog(3, 0, 0, 1, NOW - 1), paused_since=1.0)),
        (False, seen(waits=Backlog(3, 0, 0, 1, NOW - 1), disabled=True)),
        (False, seen(waits=Backlog(3, 0, 0, 1, NOW - 1), stash_away={"since": 1.0, "reason": "gone"})),
        (True, seen(inbox=1)),
        (False, seen(inbox=1, stash_away={"since": 1.0, "reason": "gone"})),
        (True, seen(expedite=True)),
    ],
)
def test_deliver_now_knows_what_it_waits_for(moves: bool, moment: Snapshot) -> None:
    """It waits for what is on its way or due, and for nothing that is held, paused or due later."""
    assert moment.moves({HOOK}) is moves


def test_deliver_now_does_not_wait_for_broken_settings() -> None:
    """A destination whose settings can't be used holds up no button."""
    assert not seen(waits=Backlog(3, 0, 0, 1, NOW - 1)).moves(set())


# status without much ---------------------------------------------------------------------------


def test_status_of_a_fresh_install_makes_no_files(folder: Path) -> None:
    """Without queue, dead letters or Stash, status still says how things are and creates nothing."""
    answer = press(folder, "status")
    assert answer["worker"]["running"] is False
    assert any("isn't known where Stash is" in line for line in answer["lines"])
    assert any("no change of a scene has come in yet" in line for line in answer["lines"])
    assert not (folder / files.QUEUE_DB).exists()
    assert not (folder / files.DLQ_DB).exists()


def test_status_names_a_damaged_queue(folder: Path) -> None:
    """A damaged file is said with what mends it, and dead letters are shown all the same."""
    bury(folder, 1, Failure.BUG)
    (folder / files.QUEUE_DB).write_bytes(b"no database at all" * 100)
    answer = press(folder, "status")
    assert "damaged" in answer["queue"]
    assert "«Restart the worker»" in answer["queue"]
    assert answer["queue"] in answer["lines"]
    assert answer["dead_letters"]["total"] == 1
    assert "nothing waits" not in " ".join(answer["lines"])


@pytest.mark.parametrize(
    "cell", [b"\xff", "{", "1e999", "9" * 400, '"x"', "[[]]", '{"at": "x"}', '{"since": 1e999}', '{"state": 5}']
)
def test_status_copes_with_damaged_notes_of_the_worker(folder: Path, cell: object) -> None:
    """Whatever stands in the cells that the worker writes, status shows all the rest."""
    queue = SceneQueue(folder)
    control.put_state(queue.connection, HOOK, {"state": "ill", "reason": "no answer", "until": time.time() + 60})
    queue.connection.execute("INSERT INTO destinations VALUES ('plex', ?)", (cell,))
    keys = [value for name, value in vars(control).items() if name.isupper() and isinstance(value, str)]
    queue.connection.executemany("INSERT INTO control VALUES (?, ?)", ((key, cell) for key in keys))
    queue.close()
    (folder / "queue.db.damaged-1").touch()
    answer = press(folder, "status")
    assert {one["id"]: one["state"] for one in answer["destinations"]}[HOOK] == "held"
    assert answer["paused_since"] is None
    assert answer["last_delivery"] is None
    assert "Nothing has been delivered yet." in answer["lines"]


@pytest.mark.parametrize(
    "note",
    [
        "",
        "5",
        "[]",
        '"x"',
        "[" * 100_000,
        *(
            f'{{"pid": {pid}, "version": {version}, "started_at": {began}, "heartbeat_at": {beat}}}'
            for pid, version, began, beat in (
                ("1e999", '"1"', "5", "5"),
                ("9" * 400, '"1"', "5", "5"),
                ('"5"', '"1"', "5", "5"),
                ("5", "[]", "5", "5"),
                ("5", '"1"', "1e999", "5"),
                ("5", '"1"', "5", "NaN"),
                ("5", '"1"', "5", "true"),
                ("5", '"1"', "9" * 400, '"now"'),
            )
        ),
    ],
)
def test_a_damaged_note_of_the_worker_counts_as_none(folder: Path, note: str) -> None:
    """Whatever stands in worker.json, status says whether a worker runs, and nothing that isn't so."""
    lock = process.hold(str(folder))
    assert lock is not None
    try:
        (folder / "worker.json").write_text(note)
        answer = press(folder, "status")
    finally:
        os.close(lock)
    assert "The worker runs and has just begun." in answer["lines"]
    assert answer["worker"] == {
        "running": True,
        "pid": None,
        "version": None,
        "started_at": None,
        "heartbeat_at": None,
    }


def test_status_leaves_the_queue_of_a_newer_version_alone(folder: Path) -> None:
    """After a downgrade status says which plugin to install, and no button touches the file."""
    SceneQueue(folder).close()
    conn = sqlite3.connect(folder / files.QUEUE_DB)
    conn.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    conn.close()
    before = (folder / files.QUEUE_DB).read_bytes()
    assert "schema version" in press(folder, "status")["queue"]
    assert "schema version" in refusal(folder, "pause")
    assert (folder / files.QUEUE_DB).read_bytes() == before


def test_other_buttons_say_what_mends_a_damaged_queue(folder: Path) -> None:
    """A button that needs the queue says in one sentence how to get it back."""
    (folder / files.QUEUE_DB).write_bytes(b"no database at all" * 100)
    assert "«Restart the worker»" in refusal(folder, "resume")


def test_status_without_stash_shows_what_the_worker_knew(folder: Path) -> None:
    """While Stash can't be asked, destinations and settings problems are those last known."""
    queue = SceneQueue(folder)
    control.put_state(queue.connection, HOOK, {"state": "well", "last_success": time.time() - 100})
    control.put(queue.connection, control.PROBLEMS, [["sweep_minutes", "sweep_minutes must be a number."]])
    control.put(queue.connection, control.UNSEEN, "5 dead letters will be deleted soon.")
    queue.close()
    answer = press(folder, "status")
    assert [one["id"] for one in answer["destinations"]] == [HOOK]
    assert answer["problems"] == [{"setting": "sweep_minutes", "message": "sweep_minutes must be a number."}]
    assert "sweep_minutes must be a number." in answer["lines"]
    assert "5 dead letters will be deleted soon." in answer["lines"]


def test_a_repair_is_mentioned_while_the_damaged_file_is_kept(folder: Path) -> None:
    """The owner reads of a damaged file as long as it lies there, and not for ever."""
    queue = SceneQueue(folder)
    control.put(queue.connection, control.REPAIRED, "queue.db was damaged.")
    queue.close()
    aside = folder / "queue.db.damaged-20260101-000000"
    aside.touch()
    assert "queue.db was damaged." in press(folder, "status")["notices"]
    aside.unlink()
    assert press(folder, "status")["notices"] == []


def test_what_an_ended_worker_thought_of_stash_is_not_shown(folder: Path) -> None:
    """That a worker could not reach Stash says nothing when that worker is gone."""
    queue = SceneQueue(folder)
    control.put(queue.connection, control.STASH, {"since": time.time() - 50, "reason": "no answer"})
    queue.close()
    assert not any("no answer" in line for line in press(folder, "status")["lines"])


def test_changes_beside_the_queue_are_counted(folder: Path) -> None:
    """Files in the spool folder are promised changes, so status shows them."""
    spool.put(str(folder), b"{}")
    answer = press(folder, "status")
    assert answer["spool"] == 1
    assert "nothing waits" not in " ".join(answer["lines"])
    assert any(line.startswith("1 change could not be put into the queue and is kept") for line in answer["lines"])


# dead letters ----------------------------------------------------------------------------------


def test_review_groups_then_lists(folder: Path) -> None:
    """How many of which error where, then the latest with title, destination, attempts, age and error."""
    bury(folder, 1, Failure.BUG, "One")
    bury(folder, 2, Failure.ITEM_REFUSED, "A\nnew line")
    bury(folder, 3, Failure.ITEM_REFUSED, "Three")
    answer = press(folder, "review_dead_letters", limit="2")
    lines = answer["lines"]
    assert lines[:3] == [
        "3 dead letters: deliveries that were given up; the latest 2 are listed.",
        f"{HOOK}: 2 dead letters, refused (error_type item_refused).",
        f"{HOOK}: 1 dead letter, bug (error_type bug).",
    ]
    what = f"scene 3 «Three» to {HOOK} (update)"
    assert lines[3] == f"Dead letter #3: {what}, 3 attempts, just now, refused: item_refused it was"
    assert "scene 2 «A new line»" in lines[4]
    assert len(lines) == 6
    assert [dead_letter["id"] for dead_letter in answer["dead_letters"]] == [3, 2]
    assert answer["dead_letters"][1]["title"] == "A\nnew line"


def test_review_shows_what_the_destination_said(folder: Path) -> None:
    """The answer to the last attempt stands in the same line, on one line and cut, and in the answer whole."""
    said = "nope\n\tnever " + "x" * 300
    tried = (Attempt(NOW, "refused", "first", 500, "earlier"), Attempt(NOW, "item_refused", "last", 400, said))
    bury(folder, 1, Failure.ITEM_REFUSED, message="nas answered 400, look at its answer.", history=tried)
    answer = press(folder, "review_dead_letters")
    (line,) = (line for line in answer["lines"] if line.startswith("Dead letter #1"))
    assert "refused: nas answered 400, look at its answer. It said: nope never xxx" in line
    assert line.endswith("…")
    assert len(line.partition("It said: ")[2]) == 200
    assert answer["dead_letters"][0]["answer"] == said
    assert any("first It said: earlier" in line for line in press(folder, "review_dead_letters", ids=1)["lines"])


def test_review_fits_the_page_of_logs(folder: Path) -> None:
    """Stash's page keeps 30 lines: whatever there is, a review is shorter, and says what it left out."""
    for number in range(40):
        bury(folder, number + 1, Failure.ITEM_REFUSED, destination=f"webhook:host-{number}")
        bury(folder, number + 1, Failure.BUG, destination=f"webhook:host-{number}:1")
    answer = press(folder, "review_dead_letters")
    assert len(answer["lines"]) < 30
    assert "And 70 dead letters of 70 further kinds of error and destination." in answer["lines"]
    assert len(answer["groups"]) == 80


def test_status_says_dead_letters_in_words(folder: Path) -> None:
    """How many were given up where and why is said without names of classes."""
    bury(folder, 1, Failure.ITEM_REFUSED)
    bury(folder, 2, Failure.NOT_THERE_YET, destination="plex")
    assert (
        f"2 dead letters (1 refused at {HOOK}, 1 not found yet at plex): press «Review dead letters»."
        in press(folder, "status")["lines"]
    )


def test_review_remembers_what_was_shown(folder: Path) -> None:
    """Only what nobody was shown is warned about before it is deleted."""
    bury(folder, 1, Failure.BUG)
    bury(folder, 2, Failure.BUG)
    press(folder, "review_dead_letters", limit=1)
    dlq = DeadLetterQueue(folder)
    assert dlq.count_unseen(-1) == 1
    dlq.close()


def test_review_of_one_shows_its_history(folder: Path) -> None:
    """Named dead letters are shown whole: every attempt, the job, the traceback."""
    tried = tuple(Attempt(time.time() - n * HOUR, "refused", f"try {n} failed", 500) for n in (3, 2, 1))
    dead_letter = bury(folder, 1, Failure.REFUSED, "One", history=tried)
    answer = press(folder, "review_dead_letters", ids=[dead_letter, 99])
    (found,) = answer["dead_letters"]
    assert [attempt["status"] for attempt in found["history"]] == [500, 500, 500]
    assert found["job"]["scene_id"] == 1
    assert "DeliveryFailed" in found["stack_trace"]
    assert "Dead letter #1, attempt 3 h ago: try 3 failed" in answer["lines"]
    assert answer["lines"][-1] == "1 of the 2 numbers given is no dead letter's."


class Evil:
    """Runs code when it is unpickled by anybody who trusts it."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


def test_a_hostile_dead_letter_is_shown_and_runs_nothing(folder: Path, tmp_path: Path) -> None:
    """Bytes that would run code are never loaded: the letter is listed, with the reason, and can be discarded."""
    mark = tmp_path / "ran"
    dead_letter = bury(folder, 1, Failure.BUG)
    conn = sqlite3.connect(folder / files.DLQ_DB)
    conn.execute("UPDATE dead_letters SET job_data = ?", (pickle.dumps(Evil(mark)),))
    conn.commit()
    conn.close()
    assert press(folder, "review_dead_letters")["dead_letters"][0]["id"] == dead_letter
    (found,) = press(folder, "review_dead_letters", ids=[dead_letter])["dead_letters"]
    assert found["job"] is None
    assert "was not loaded" in found["job_problem"]
    assert press(folder, "retry_dead_letters", ids=[dead_letter])["retried"] == 1
    assert press(folder, "discard_dead_letters")["discarded"] == 1
    assert not mark.exists()


def test_a_stored_job_of_any_content_makes_a_valid_answer(folder: Path) -> None:
    """Bytes, endless numbers and deep nesting in a stored job don't break the JSON that Stash reads."""
    deep: Any = "end"
    for _ in range(300):
        deep = [deep]
    dead_letter = bury(folder, 1, Failure.BUG)
    conn = sqlite3.connect(folder / files.DLQ_DB)
    odd = {"raw": b"\xff\x00", "nan": float("nan"), "huge": 1 << 300, "deep": deep, "half": "\udcff"}
    conn.execute("UPDATE dead_letters SET job_data = ?", (pickle.dumps(odd, protocol=4),))
    conn.commit()
    conn.close()
    (found,) = press(folder, "review_dead_letters", ids=[dead_letter])["dead_letters"]
    assert found["job"] is None or found["job"]["raw"] == "\\xff\x00"


def test_an_undecodable_row_is_listed_with_its_bytes(folder: Path) -> None:
    """A dead letter without scene and destination is shown too."""
    dlq = DeadLetterQueue(folder)
    dead_letter = dlq.add(
        CorruptRow(7, "", 0, b"\xff{", "it can't be decoded"), ValueError("it can't be decoded"), 0
    )
    dlq.close()
    answer = press(folder, "review_dead_letters")
    assert any(
        line.startswith(f"Dead letter #{dead_letter}: an unreadable event to nobody yet")
        for line in answer["lines"]
    )
    (found,) = press(folder, "review_dead_letters", ids=[dead_letter])["dead_letters"]
    assert found["job"]["raw"] == "\\xff{"


@pytest.mark.parametrize(
    ("args", "asked"),
    [
        ({}, {1, 2, 3}),
        ({"ids": "1 3"}, {1, 3}),
        ({"error_type": "bug"}, {1}),
        ({"destination": "plex"}, {3}),
        ({"limit": 2}, {2, 3}),
        ({"limit": 1, "error_type": "item_refused"}, {3}),
        ({"ids": [1, 2], "error_type": "bug"}, {1}),
    ],
)
def test_retry_asks_for_what_was_chosen(folder: Path, args: dict[str, object], asked: set[int]) -> None:
    """Dead letters go back by id, error, destination or number, and the button says how many."""
    bury(folder, 1, Failure.BUG)
    bury(folder, 2, Failure.ITEM_REFUSED)
    bury(folder, 3, Failure.ITEM_REFUSED, destination="plex")
    answer = press(folder, "retry_dead_letters", **args)
    assert {scene for scene, state in states(folder).items() if state == "asked"} == asked
    assert answer["retried"] == len(asked)
    assert answer["lines"][0].startswith(f"{len(asked)} dead letter")
    assert any("STASH_COURIER_WORKER=off" in line for line in answer["lines"])


def test_retry_says_what_can_never_be_sent_again(folder: Path) -> None:
    """What names no scene stays a dead letter, and the button says how many and what to do instead."""
    bury(folder, 1, Failure.BUG)
    dlq = DeadLetterQueue(folder)
    for row in (7, 8):
        dlq.add(CorruptRow(row, "", 0, b"\xff{", "it can't be decoded"), ValueError("it can't be decoded"), 0)
    dead_letter = dlq.add(
        CorruptRow(9, HOOK, 0, b"\xff{", "it can't be decoded"), ValueError("it can't be decoded"), 0
    )
    dlq.close()
    answer = press(folder, "retry_dead_letters", ids=[1, dead_letter])
    assert (answer["retried"], answer["unsendable"]) == (1, 1)
    assert any(line.startswith("1 dead letter can't be sent again") for line in answer["lines"])
    assert not any("numbers given" in line for line in answer["lines"])
    answer = press(folder, "retry_dead_letters")
    assert (answer["retried"], answer["unsendable"]) == (0, 3)
    assert answer["lines"][1].startswith("3 dead letters can't be sent again")
    assert "«Send all scenes»" in answer["lines"][1]
    assert press(folder, "retry_dead_letters", destination=HOOK)["unsendable"] == 1
    assert states(folder) == {1: "asked", 0: "dead"}


def test_retry_names_what_there_is_when_nothing_fits(folder: Path) -> None:
    """A filter that fits nothing is answered with those that do."""
    bury(folder, 1, Failure.BUG)
    assert "there are bug" in refusal(folder, "retry_dead_letters", error_type="bugs")
    assert f"there are {HOOK}" in refusal(folder, "discard_dead_letters", destination="plex")
    assert states(folder) == {1: "dead"}


def test_discard_deletes_what_was_chosen(folder: Path) -> None:
    """Only what was named is deleted, and the button says how many are left."""
    for scene_id in (1, 2, 3):
        bury(folder, scene_id, Failure.BUG)
    answer = press(folder, "discard_dead_letters", ids=[2, 77])
    assert (answer["discarded"], answer["left"]) == (1, 2)
    assert answer["lines"] == [
        "1 dead letter deleted for good; 2 left.",
        "1 of the 2 numbers given is no dead letter's any more.",
    ]
    assert states(folder) == {1: "dead", 3: "dead"}


def test_purge_needs_to_know_the_retention(folder: Path) -> None:
    """Nothing is deleted by a guessed retention: while Stash can't be asked, the caller must name the days."""
    bury(folder, 1, Failure.BUG)
    conn = sqlite3.connect(folder / files.DLQ_DB)
    conn.execute("UPDATE dead_letters SET failed_at = failed_at - ?", (40 * DAY,))
    conn.commit()
    conn.close()
    assert "isn't known where Stash is" in refusal(folder, "purge_dead_letters")
    assert press(folder, "purge_dead_letters", days="50")["purged"] == 0
    answer = press(folder, "purge_dead_letters", days="30")
    assert (answer["purged"], answer["left"]) == (1, 0)
    assert answer["lines"][0].startswith("1 dead letter older than 30 days deleted")


# steering --------------------------------------------------------------------------------------


def test_pause_lasts_until_resume(folder: Path) -> None:
    """A second pause keeps the first one's time; resume ends it and says what waits."""
    first = press(folder, "pause")["paused_since"]
    assert press(folder, "pause")["paused_since"] == first
    assert press(folder, "status")["paused_since"] == first
    answer = press(folder, "resume")
    assert answer["was_paused_since"] == first
    assert "nothing waits" in answer["lines"][0]
    assert press(folder, "status")["paused_since"] is None


def test_no_worker_is_started_where_it_must_not(folder: Path) -> None:
    """With STASH_COURIER_WORKER=off the buttons say so and how to run one."""
    answer = press(folder, "restart_worker")
    assert answer["started"] is False
    (line,) = answer["lines"]
    assert "STASH_COURIER_WORKER=off" in line
    assert "main.py worker" in line
    assert press(folder, "stop_worker")["lines"] == ["No worker runs."]
