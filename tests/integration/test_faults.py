"""The fault suite in its reduced size, and proofs that it notices mistakes; ``make torture`` runs it in full."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import ROOT
from tests.faults.__main__ import BROKEN, FAILED, carry_out, line, prove
from tests.faults.row import Report, Row
from tests.faults.rows import ROWS

pytestmark = pytest.mark.check

# More than any row takes on a busy machine, including its waits.
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
    """Under any fault each promised event is delivered or becomes a dead letter, and the row's criteria hold."""
    _run(row, tmp_path)


@pytest.mark.timeout(ROW_SECONDS)
@pytest.mark.parametrize("row", [row for row in ROWS.values() if row.cheap], ids=_named)
def test_a_mistake_in_the_product_is_noticed(row: Row, capsys: pytest.CaptureFixture[str]) -> None:
    """A row fails when its mistake is made in a copy of the plugin, so its criteria are able to fail."""
    if reason := row.missing():
        pytest.skip(reason)
    for mistake in row.mutations:
        assert prove(row, mistake) == 0, capsys.readouterr().out


@pytest.mark.parametrize("row", ROWS.values(), ids=_named)
def test_each_row_has_a_mistake_that_can_be_made(row: Row) -> None:
    """The text that a mutation replaces is in the product exactly once, so the mutation can still be made."""
    assert row.mutations
    for mistake in row.mutations:
        for edit in mistake:
            assert (ROOT / edit.file).read_text(encoding="utf-8").count(edit.old) == 1, edit


@pytest.mark.parametrize(
    ("report", "code", "printed"),
    [
        (Report("nothing", promised=2, delivered=1, dead=1), 0, "passed in 0 s: nothing | promised 2 delivered 1"),
        (Report("a cut", promised=2, delivered=1, failures=["one is lost"]), FAILED, "FAILED in 0 s: a cut"),
    ],
    ids=["passed", "failed"],
)
def test_the_exit_code_reports_a_failure(
    report: Report, code: int, printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A row prints one line with what it did and counted, and a failed criterion makes the exit code 1."""
    assert carry_out(Row("a row", lambda *_: report, []), full=False) == code
    lines = capsys.readouterr().out.splitlines()
    assert printed in lines[0]
    assert f"lost {report.lost}" in lines[0]
    assert [text.strip() for text in lines[1:]] == report.failures


def test_a_broken_row_has_its_own_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    """A bug in the suite has its own exit code, so a proof doesn't mistake it for a failed criterion."""

    def run(folder: Path, full: bool) -> Report:
        raise ZeroDivisionError

    assert carry_out(Row("a row", run, []), full=False) == BROKEN
    assert "BROKEN" in capsys.readouterr().out


def test_a_skipped_row_prints_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    """A row that lacks root or strace prints that and doesn't count as failed."""
    row = Row("a row", lambda *_: Report(), [], missing=lambda: "strace is missing")
    assert carry_out(row, full=False) == 0
    assert "skipped: strace is missing" in capsys.readouterr().out
