"""The benchmark's table: targets, figures and their formats. Measures nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

# Key, measure, target.
TARGETS = (
    ("hook", "hook, whole process ÷ `python3 -c pass` (an interpreter without `.pth` files)", "≤ 1.55"),
    ("bulk", "bulk edit of 500 scenes, per scene: with the plugin; without", ""),
    (
        "backlog",
        "the same with 100,000 and 1,000,000 jobs waiting, and as many dead letters ÷ empty",
        "≤ 1.05",
    ),
    ("enqueue", "enqueue in one process ÷ raw `sqlite3` WAL FULL insert of the same bytes", "≥ 0.85"),
    (
        "claim",
        "claim + done ÷ the same statements without our code",
        "≥ 0.85, and within 10 % with 500,000 rows waiting",
    ),
    (
        "peers",
        "against peers: persist-queue's own SQLiteAckQueue, huey (SQLite, fsync), litequeue (FULL)",
        "ahead of each at 100,000 rows of history",
    ),
    (
        "latency",
        "hook started → request at the receiver, worker idle",
        "median ≤ 6 × and p95 ≤ 12 × `python3 -c pass`",
    ),
    (
        "drain",
        "drain 5,000 deliveries ÷ a plain `requests.Session` loop with the same bodies and concurrency",
        "≥ 0.95 with a receiver that takes 10 ms; ≥ 0.85 with an instant one",
    ),
    ("requests", "requests to Stash for those 5,000 scenes", "≤ 125"),
    (
        "webhook",
        "first full send of 100,000 scenes to a webhook",
        "memory ≤ 60 MiB and flat; hook ≤ 1.5 × beside an idle worker",
    ),
    (
        "jellyfin",
        "first full send of 100,000 scenes to a media server (stand-in for Jellyfin)",
        "memory ≤ 60 MiB and flat; hook ≤ 1.5 × beside an idle worker",
    ),
    ("idle", "worker idle for 60 s: CPU; resident memory", "≤ 0.2 % of a core; ≤ 45 MiB"),
    ("bury", "DLQ `add` ÷ raw WAL FULL insert with the same two indexes", ""),
    ("recent", "`get_recent(10)` at 1,000,000 ÷ at 1,000", "≤ 2"),
    (
        "grouped",
        "errors grouped with counts at 1,000,000 ÷ plain `GROUP BY error_type` on the table",
        "≤ 0.1",
    ),
    (
        "purge",
        "purge of 500,000 of 1,000,000: longest write lock ÷ one `DELETE`; file after ÷ before",
        "≤ 0.05; ≤ 0.6",
    ),
    ("sweep", "sweep of a library of 100,000 scenes in which nothing changed: requests to Stash", "1"),
)
KEYS = tuple(key for key, _, _ in TARGETS)


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

    @property
    def target(self) -> str:
        """The limit as text."""
        if self.limit is None:
            return ""
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}"


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


def markdown(results: Mapping[str, Iterable[Figure]]) -> str:
    """The table of results, in the order of TARGETS."""
    lines = [
        "| measure | measured | peer | ratio | target | |",
        "|---|--:|--:|--:|--:|---|",
    ]
    for key, name, _ in TARGETS:
        for number, figure in enumerate(results.get(key, ())):
            label = name if number == 0 else "″"
            if figure.what:
                label = f"{label}: {figure.what}"
            ratio = f"{figure.value:.3g}" if figure.peer else ""
            verdict = "" if figure.limit is None else "pass" if figure.passes else "**FAIL**"
            lines.append(
                f"| {label} | {figure.measured} | {figure.peer} | {ratio} | {figure.target} | {verdict} |"
            )
    return "\n".join(lines)


def as_json(results: Mapping[str, Iterable[Figure]]) -> dict[str, object]:
    """The results as JSON data."""
    return {key: [{**asdict(figure), "passes": figure.passes} for figure in row] for key, row in results.items()}
