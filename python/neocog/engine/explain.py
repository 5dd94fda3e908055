"""A plan for people: what runs where, and how long it takes."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from neocog.engine.plan import Plan

COLUMNS = ("layer", "operator", "kernel", "result")


@dataclass(frozen=True)
class StepInfo:
    """One step of a plan.

    Args:
        layer: Its name in the model it came from.
        op: The operator of the graph; several steps can serve one.
        kernel: What runs.
        shape: Of the result.
        operations: Of the direct method, a multiply-add being two; 0 where they are not counted.
        seconds: The median time; None in an explanation.
    """

    layer: str
    op: str
    kernel: str
    shape: tuple[int, ...]
    operations: int
    seconds: float | None = None

    @property
    def gflops(self) -> float | None:
        """Operations of the direct method in a nanosecond."""
        if not self.operations or not self.seconds:
            return None
        return self.operations / self.seconds / 1e9

    def to_json(self) -> dict[str, Any]:
        return {
            "layer": self.layer,
            "operator": self.op,
            "kernel": self.kernel,
            "shape": list(self.shape),
            "operations": self.operations,
            **({} if self.seconds is None else {"seconds": self.seconds}),
        }


@dataclass(frozen=True)
class Explanation:
    """The steps of a plan, and the memory it needs besides weights, inputs and results."""

    steps: tuple[StepInfo, ...]
    arena_bytes: int

    def to_json(self) -> dict[str, Any]:
        return {"arena_bytes": self.arena_bytes, "steps": [step.to_json() for step in self.steps]}

    def __str__(self) -> str:
        rows = [(s.layer, s.op, s.kernel, "x".join(map(str, s.shape))) for s in self.steps]
        memory = f"{self.arena_bytes / 1e6:.1f} MB of memory for what lies between them"
        return f"{_table(COLUMNS, rows)}\n{len(rows)} steps, {memory}"


@dataclass(frozen=True)
class Profile(Explanation):
    """The same with times.

    Args:
        call_seconds: The median time of a call, from inputs to results.
        outside: The part of it outside all steps, the median of the same calls.
    """

    call_seconds: float
    outside: float

    @property
    def seconds(self) -> float:
        """Of all steps."""
        return math.fsum(step.seconds or 0.0 for step in self.steps)

    def __str__(self) -> str:
        total = self.seconds or 1.0
        rows = [
            (
                s.layer,
                s.op,
                s.kernel,
                "x".join(map(str, s.shape)),
                f"{(s.seconds or 0) * 1e3:.3f}",
                f"{(s.seconds or 0) / total:.1%}",
                "" if s.gflops is None else f"{s.gflops:.0f}",
            )
            for s in self.steps
        ]
        table = _table((*COLUMNS, "ms", "part", "GFLOP/s"), rows)
        call = f"{self.call_seconds * 1e3:.2f} ms in a call, {self.outside:.1%} of it outside"
        return f"{table}\n{len(rows)} steps, {self.seconds * 1e3:.2f} ms in kernels; {call}"

    def to_json(self) -> dict[str, Any]:
        return {**super().to_json(), "call_seconds": self.call_seconds, "outside": self.outside}


def explain(plan: Plan) -> Explanation:
    """What a plan runs."""
    return Explanation(tuple(_steps(plan, [None] * len(plan.steps))), plan.program.arena_bytes)


def profile(plan: Plan, seconds: Sequence[Sequence[float]], calls: Sequence[float]) -> Profile:
    """The same with the medians of several calls: of the seconds of each step in it, and of its own."""
    steps = [statistics.median(times) for times in zip(*seconds, strict=True)]
    outside = statistics.median(1 - math.fsum(inside) / call for inside, call in zip(seconds, calls, strict=True))
    return Profile(tuple(_steps(plan, steps)), plan.program.arena_bytes, statistics.median(calls), outside)


def _steps(plan: Plan, seconds: Sequence[float | None]) -> list[StepInfo]:
    """Steps that are done in parts are one."""
    merged: dict[int, StepInfo] = {}
    for part, kernel, time in zip(plan.steps, plan.program.kernels, seconds, strict=True):
        step = part.origin or part
        before = merged.get(id(step))
        if before is not None and before.seconds is not None and time is not None:
            time += before.seconds
        merged[id(step)] = StepInfo(
            step.node, step.op, kernel or step.method, step.writes[0].shape, step.operations, time
        )
    return list(merged.values())


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    numbers = len(COLUMNS)
    lines = []
    for row in (head, *rows):
        cells = [
            cell.rjust(width) if i >= numbers else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
