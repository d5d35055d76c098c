"""The fault suite in its reduced size, and that it notices mistakes; ``make torture`` runs it in full."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import ROOT
from tests.faults.__main__ import BROKEN, FAILED, carry_out, line, prove
from tests.faults.row import Report, Row
from tests.faults.rows import ROWS

# Longer than any row takes on a busy machine, with all that it waits for.
ROW_SECONDS = 180


def _named(row: Row) -> str:
    return row.name


def _run(row: Row, folder: Path) -> None:
    if reason := row.missing():
        pytest.skip(reason)
    report = row.run(folder, False)
    assert not report.failures, line(row, report, 0.0)


@pytest.mark.timeout(ROW_SECONDS)
@pytest.mark.parametrize("row", [row for row in ROWS.values() if not row.own_test], ids=_named)
def test_promises_are_kept_under_a_fault(tmp_path: Path, row: Row) -> None:
    """Whatever the fault, each promised event is delivered or a dead letter, and the row's own criterion holds."""
    _run(row, tmp_path)


@pytest.mark.timeout(ROW_SECONDS)
@pytest.mark.parametrize("row", [row for row in ROWS.values() if row.cheap], ids=_named)
def test_a_mistake_in_the_product_is_noticed(row: Row, capsys: pytest.CaptureFixture[str]) -> None:
    """A criterion that can't fail is worthless: with its mistake made in a copy of the plugin, a row fails."""
    if reason := row.missing():
        pytest.skip(reason)
    for mistake in row.mutations:
        assert prove(row, mistake) == 0, capsys.readouterr().out


@pytest.mark.parametrize("row", ROWS.values(), ids=_named)
def test_each_row_has_a_mistake_that_can_be_made(row: Row) -> None:
    """The text that a mistake replaces is still in the product, once; else it would prove nothing."""
    assert row.mutations
    for mistake in row.mutations:
        for edit in mistake:
            assert (ROOT / edit.file).read_text(encoding="utf-8").count(edit.old) == 1, edit


@pytest.mark.parametrize(
    ("saw", "code", "said"),
    [
        (Report("nothing", promised=2, delivered=1, dead=1), 0, "passed in 0 s: nothing | promised 2 delivered 1"),
        (Report("a cut", promised=2, delivered=1, failures=["one is lost"]), FAILED, "FAILED in 0 s: a cut"),
    ],
    ids=["passed", "failed"],
)
def test_the_exit_code_tells_a_failure(
    saw: Report, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A row prints one line with what was done and counted, and a failed criterion makes the exit code 1."""
    assert carry_out(Row("a row", lambda *_: saw, []), full=False) == code
    printed = capsys.readouterr().out.splitlines()
    assert said in printed[0]
    assert f"lost {saw.lost}" in printed[0]
    assert [text.strip() for text in printed[1:]] == saw.failures


def test_a_row_that_breaks_is_not_taken_for_one_that_passed(capsys: pytest.CaptureFixture[str]) -> None:
    """A bug of the suite itself has an exit code of its own, so that no proof takes it for a failure."""

    def run(folder: Path, full: bool) -> Report:
        raise ZeroDivisionError

    assert carry_out(Row("a row", run, []), full=False) == BROKEN
    assert "BROKEN" in capsys.readouterr().out


def test_what_is_missing_here_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """A row that needs root or strace and lacks it says so in a sentence and fails nothing."""
    row = Row("a row", lambda *_: Report(), [], missing=lambda: "strace is missing")
    assert carry_out(row, full=False) == 0
    assert "skipped: strace is missing" in capsys.readouterr().out
