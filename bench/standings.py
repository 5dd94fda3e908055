"""Whole networks, measured one after the other: what `train` and `nets` tell of them in the same words."""

from __future__ import annotations

import statistics
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from bench import limits as machine_limits
from bench.compare import Outcome, Step
from bench.limits import Limits
from bench.progress import Progress


class Row(Protocol):
    """A network with a batch (`networks.Network`, `nets.rows.Row`)."""

    @property
    def name(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def batch(self) -> int: ...
    @property
    def size(self) -> int: ...


@dataclass
class Standing(ABC):
    """A row of the table."""

    network: Row
    outcomes: list[Outcome]
    skipped: dict[str, str]  # who could not run, and why
    flops: int

    def best(self, *names: str) -> Outcome | None:
        """The fastest of some contenders, in any memory format."""
        return min((o for o in self.outcomes if o.peer in names and o.samples), key=lambda o: o.seconds, default=None)

    @abstractmethod
    def ratio(self, *ours: str) -> float | None:
        """The fastest of theirs over the fastest of some of ours; of all of ours by default."""


RowT = TypeVar("RowT", bound=Row)
StandingT = TypeVar("StandingT", bound=Standing)


def measure(
    rows: Sequence[RowT], compare: Callable[[RowT, Step], StandingT], threads: int
) -> tuple[Limits, list[StandingT]]:
    """All rows, one after the other so that their memory is not needed at once, and the machine's limits.

    Limits are as they were before or after, whichever is higher.
    """
    progress = Progress(len(rows) + 2)
    standings = []
    try:
        progress.step("the machine's limits")
        before = machine_limits.measure(threads)
        progress.next()
        for row in rows:
            standings.append(compare(row, progress.step))
            progress.next()
        progress.step("the machine's limits")
        return before.best_of(machine_limits.measure(threads)), standings
    finally:
        progress.clear()


def mean(standings: Sequence[Standing], *ours: str) -> float | None:
    """Geometric mean of the ratios, over the rows that have one."""
    ratios = [r for standing in standings if (r := standing.ratio(*ours)) is not None]
    return statistics.geometric_mean(ratios) if ratios else None


def worst_row(standings: Sequence[StandingT]) -> StandingT | None:
    return min((s for s in standings if s.ratio() is not None), key=lambda s: s.ratio() or 0.0, default=None)


def failures(standings: Sequence[Standing]) -> list[str]:
    """A line for every contender that failed."""
    return [
        f"ERROR {standing.network.name}, {o.peer} {o.layout}: {o.failure}"
        for standing in standings
        for o in standing.outcomes
        if o.failure is not None
    ]


def skipped(standings: Sequence[Standing]) -> list[str]:
    """A line for every contender that could not run; one for all rows where the reason is the same."""
    where: dict[tuple[str, str], list[str]] = {}
    for standing in standings:
        for label, reason in standing.skipped.items():
            where.setdefault((label, reason), []).append(standing.network.name)
    every = len(standings)
    return [
        f"{label}: {reason}; skipped" + ("" if len(names) == every else f" for {', '.join(names)}")
        for (label, reason), names in where.items()
    ]


def as_json(
    machine: Mapping[str, Any],
    limits: Limits,
    settings: Mapping[str, Any],
    standings: Sequence[Standing],
    ways: Sequence[str] = (),
) -> dict[str, Any]:
    """Everything, in seconds and FLOP; ratios of each of `ways` in which ours run, and of the fastest."""
    worst = worst_row(standings)
    return {
        "format": 1,
        "machine": machine,
        "limits": vars(limits),
        "settings": settings,
        "rows": [_row_json(standing, ways) for standing in standings],
        "summary": {
            "geometric_mean": mean(standings),
            **{f"geometric_mean_{name}": mean(standings, name) for name in ways},
            "worst_row": worst.network.name if worst else None,
            "worst_ratio": worst.ratio() if worst else None,
        },
    }


def _row_json(standing: Standing, ways: Sequence[str]) -> dict[str, Any]:
    def entry(o: Outcome) -> dict[str, Any]:
        values: dict[str, Any] = {"peer": o.peer, "layout": o.layout, "failure": o.failure, "error": o.error}
        if o.first is not None:
            values |= {"rms_error": o.rms_error, "first_seconds": o.first}
        if o.samples:
            values |= {"seconds": o.seconds, "samples": o.samples, "flops_per_second": standing.flops / o.seconds}
        return values

    return {
        "name": standing.network.name,
        "model": standing.network.model,
        "batch": standing.network.batch,
        "size": standing.network.size,
        "flops": standing.flops,
        "contenders": [entry(o) for o in standing.outcomes],
        "skipped": standing.skipped,
        "ratio": standing.ratio(),
        **{f"ratio_{name}": standing.ratio(name) for name in ways},
    }
