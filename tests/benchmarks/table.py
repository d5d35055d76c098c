"""The figures of a row, their limits and formats. Measures nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value and its limit."""

    what: str  # the part of the row; "" if the row has only one figure
    measured: str  # with its unit
    peer: str  # with its unit; "" if the limit is fixed
    value: float
    limit: float | None  # None: shown for comparison only
    at_least: bool = False  # whether the limit is a minimum; else it is a maximum

    @property
    def passes(self) -> bool:
        """Whether the target is met."""
        if self.limit is None:
            return True
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def faster(what: str, ours: float, peer: float, limit: float | None) -> Figure:
    """A figure for two times per operation: our speed must be at least ``limit`` times the peer's."""
    return Figure(what, time(ours), time(peer), peer / ours, limit, at_least=True)


def cost(what: str, ours: float, peer: float, limit: float | None) -> Figure:
    """A figure for two times: ours must be at most ``limit`` times the peer's."""
    return Figure(what, time(ours), time(peer), ours / peer, limit)


def time(seconds: float) -> str:
    """Formats seconds with a suitable unit."""
    for factor, unit in ((1, "s"), (1e3, "ms")):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def markdown(results: Mapping[str, Sequence[Figure]]) -> str:
    """The table of results, by the name of the row."""
    head = ["| measure | measured | peer | ratio | target | |", "|---|--:|--:|--:|--:|---|"]
    return "\n".join([*head, *(line for name, figures in results.items() for line in _lines(name, figures))])


def _lines(name: str, figures: Sequence[Figure]) -> Iterable[str]:
    for number, figure in enumerate(figures):
        label = name if number == 0 else "″"
        if figure.what:
            label = f"{label}: {figure.what}"
        ratio = f"{figure.value:.3g}" if figure.peer else ""
        target = verdict = ""
        if figure.limit is not None:
            target = f"{'≥' if figure.at_least else '≤'} {figure.limit:g}"
            verdict = "pass" if figure.passes else "**FAIL**"
        yield f"| {label} | {figure.measured} | {figure.peer} | {ratio} | {target} | {verdict} |"
