"""Draws the benchmark's plot as SVG: the time per job over the size of the history and of the backlog.

Both axes are logarithmic. Three panels of lines need no library.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

Point = tuple[int, float]  # rows, seconds

OURS = "Stash Courier"
COLORS = {OURS: "#1668b8", "persist-queue": "#d1495b", "huey": "#8a8d91", "litequeue": "#c98a00"}
PANELS = (
    ("take and finish a job", "finished jobs in the history", "history: "),
    ("take and finish a job", "waiting jobs in the backlog", "backlog: "),
    ("hook, whole process", "waiting jobs, and as many dead letters", "hook"),
)
WIDTH, HEIGHT = 330, 240  # of a panel's plot area
LEFT, TOP, GAP = 62, 52, 84
TICK = 'font-size="11" fill="#57606a"'


def draw(points: Mapping[str, Sequence[Point]]) -> str:
    """Draws the whole plot.

    Args:
        points: by series, which are ``history: NAME``, ``backlog: NAME`` and ``hook``.
    """
    width = LEFT + len(PANELS) * (WIDTH + GAP) - GAP + 24
    height = TOP + HEIGHT + 84
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for number, (title, axis, prefix) in enumerate(PANELS):
        series = {
            name.removeprefix(prefix) or OURS: line for name, line in points.items() if name.startswith(prefix)
        }
        parts += _panel(LEFT + number * (WIDTH + GAP), title, axis, series)
    parts += _legend(height - 20)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(left: int, title: str, axis: str, series: Mapping[str, Sequence[Point]]) -> Iterable[str]:
    rows = [max(count, 1) for line in series.values() for count, _ in line]
    times = [seconds for line in series.values() for _, seconds in line]
    x_from, x_to = _decades(rows)
    y_from, y_to = _decades(times)

    def x(count: float) -> float:
        return left + WIDTH * (math.log10(max(count, 1)) - x_from) / (x_to - x_from)

    def y(seconds: float) -> float:
        return TOP + HEIGHT * (y_to - math.log10(seconds)) / (y_to - y_from)

    style = 'font-size="14" font-weight="bold" fill="#1f2328"'
    yield f'<text x="{left}" y="{TOP - 26}" {style}>{escape(title)}</text>'
    yield f'<text x="{left}" y="{TOP - 10}" {TICK}>time, both axes logarithmic</text>'
    for power in range(y_from, y_to + 1):
        height = y(10.0**power)
        yield f'<path d="M{left} {height:.1f}h{WIDTH}" stroke="#d8dee4"/>'
        yield f'<text x="{left - 8}" y="{height + 4:.1f}" text-anchor="end" {TICK}>{_seconds(power)}</text>'
    for power in range(x_from, x_to + 1):
        across = x(10.0**power)
        yield f'<path d="M{across:.1f} {TOP}v{HEIGHT}" stroke="#eff2f5"/>'
        label = "0" if power == 0 and min(rows) == 1 else f"{10**power:,}"
        yield f'<text x="{across:.1f}" y="{TOP + HEIGHT + 18}" text-anchor="middle" {TICK}>{label}</text>'
    middle = left + WIDTH / 2
    yield f'<text x="{middle}" y="{TOP + HEIGHT + 38}" text-anchor="middle" font-size="12">{escape(axis)}</text>'
    for name in sorted(series, key=lambda name: name == OURS):  # draw ours last, on top
        line = " ".join(f"{x(count):.1f},{y(seconds):.1f}" for count, seconds in series[name])
        color = COLORS.get(name, "black")
        stroke = 3 if name == OURS else 2
        yield f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="{stroke}"/>'
        for count, seconds in series[name]:
            yield f'<circle cx="{x(count):.1f}" cy="{y(seconds):.1f}" r="{stroke + 1}" fill="{color}"/>'


def _legend(y: int) -> Iterable[str]:
    x = LEFT
    for name, color in COLORS.items():
        yield f'<path d="M{x} {y - 4}h22" stroke="{color}" stroke-width="{3 if name == OURS else 2}"/>'
        yield f'<text x="{x + 30}" y="{y}" font-size="12" fill="#1f2328">{escape(name)}</text>'
        x += 150


def _decades(values: Sequence[float]) -> tuple[int, int]:
    """The powers of ten that enclose these values."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)


def _seconds(power: int) -> str:
    """Formats a power of ten in seconds."""
    unit, shift = ("s", 0) if power >= 0 else ("ms", 3) if power >= -3 else ("µs", 6)
    return f"{10 ** (power + shift):,} {unit}"
