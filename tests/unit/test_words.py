"""The words of buttons: durations, lines as the log shows them, and what all sentences keep to."""

from __future__ import annotations

import ast
import re
import time
from pathlib import Path

import pytest
import yaml

from stash_courier.plugin import tasks
from stash_courier.plugin.arguments import Arguments
from stash_courier.plugin.context import Context
from stash_courier.plugin.text import outcomes, words
from stash_courier.queue import failures
from stash_courier.queue.failures import Failure
from stash_courier.worker import destinations, fields
from stash_courier.worker.connections.model import Shared
from stash_courier.worker.settings import MANIFEST
from tests import ROOT

BUTTONS_OF_STASH = {"Reload plugins"}  # Settings → Plugins
SETTINGS_OF_STASH = {"Python Executable Path"}  # Settings → System
QUOTED = re.compile(r'"([A-Z][^"]*)"')
HOUR, DAY = 3600.0, 86_400.0
NOON = time.mktime((2026, 5, 4, 12, 0, 0, 0, 0, -1))


def texts() -> dict[Path, list[str]]:
    """Every text in the plugin's modules, with the parts of an f-string as texts of their own."""
    return {
        path: [
            node.value
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        for path in (ROOT / "plugin").rglob("*.py")
    }


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "0.2 s"), (40, "40 s"), (180, "3 min"), (5 * HOUR, "5 h"), (2 * DAY, "2 days"), (-5, "0 s")],
)
def test_durations_read_like_a_person_says_them(seconds: float, said: str) -> None:
    """A duration has one unit that fits its size."""
    assert words.span(seconds) == said


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
def test_a_line_of_a_task_is_one_line_of_the_log(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever a text contains, it is one line of Stash's log. The last line is written first."""

    def status(context: Context, _: Arguments) -> dict[str, object]:
        context.say(f'"{text}" and text')
        context.warn(text)
        return {}

    monkeypatch.setattr(tasks.Mode, "load", lambda *_: status)
    lines = tasks.run("status", {"mode": "status"}, str(tmp_path), str(ROOT))["lines"]
    assert capfd.readouterr().err == ""  # a call by a program
    tasks.run("status", {"mode": "status", "log": "yes"}, str(tmp_path), str(ROOT))
    warned, said, end = capfd.readouterr().err.split("\n")
    assert ([said.removeprefix("\x01i\x02"), warned.removeprefix("\x01w\x02")], end) == (lines, "")


def labels() -> set[str]:
    """The labels of all fields of connections, and of the settings on Stash's page."""
    groups = (Shared, *(kind.Options for kind in destinations.kinds().values()))
    return {field.label for group in groups for field in fields.of(group)} | {field.label for field in MANIFEST}


def test_sentences_name_buttons_that_exist() -> None:
    """What a text tells to press is a button. All else in quotes is a button, a field, or a setting of Stash."""
    manifest = yaml.safe_load((ROOT / "stash_plugin.yml").read_text("utf-8"))
    buttons = {task["name"] for task in manifest["tasks"]}
    shown = [manifest["description"], *(task["description"] for task in manifest["tasks"])]
    everything = " ".join([*shown, *(text for found in texts().values() for text in found)])
    pressed = set(re.findall(r'\b[Pp]ress(?:ed)? "([^"]*)"', everything))
    quoted = {name for found in (shown, *texts().values()) for text in found for name in QUOTED.findall(text)}
    assert len(pressed) > 5
    assert pressed <= buttons | BUTTONS_OF_STASH
    assert quoted - {"Film"} <= buttons | labels() | BUTTONS_OF_STASH | SETTINGS_OF_STASH


def test_advice_names_no_button_of_one_place() -> None:
    """Advice is shown on the page, in Stash's log and in messages: it names only a button that all have."""
    said = " ".join(row.advice for row in failures.CLASSES.values())
    assert set(re.findall(r'"([^"]*)"', said)) == {"Deliver now"}


def test_a_receipt_names_fields_in_words() -> None:
    """Whatever field Stash's hook names, the receipt has a word for it."""
    schema = (ROOT / "tests/standin/stash/schema.graphql").read_text("utf-8")
    names = re.findall(
        r"^  (\w+):", schema.partition("input SceneUpdateInput {")[2].partition("}")[0], re.MULTILINE
    )
    said = outcomes.edited(names)
    assert len(said) > 15
    assert [one for one in said if not re.fullmatch(r"[A-Za-z ]+", one) or one.endswith((" id", " ids"))] == []
    assert outcomes.edited(["id", "rating100", "tag_ids", "title", "a_new_field"]) == [
        *("rating", "tags", "title", "a new field"),
    ]


def test_every_failure_has_words() -> None:
    """No sentence shows the name of a class: every failure has a label, and an unknown error is a bug."""
    assert all(failures.label(failure) != failure or failure == "bug" for failure in Failure)
    assert not any("_" in failures.label(failure) for failure in Failure)
    assert failures.label("KeyError") == "bug"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(60, "since 11:59 (60 s)"), (3 * HOUR, "since 09:00 (3 h)"), (2 * DAY, "since 2026-05-02 12:00 (2 days)")],
)
def test_a_moment_is_a_time_of_day_and_a_duration(seconds: float, shown: str) -> None:
    """The owner reads when something began and how long ago that was, with the date if it was another day."""
    assert words.since(NOON - seconds, NOON) == shown


def test_any_stored_moment_can_be_shown() -> None:
    """A time far in the future, from a damaged file, is shown too."""
    assert words.since(9e10, NOON).endswith("(0 s)")
