"""Comparisons as a table for people and as JSON for programs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from bench.compare import Comparison, Outcome
from bench.limits import Limits

MEGA, GIGA = 1e6, 1e9


def limits_text(limits: Limits) -> Iterator[str]:
    threads = f"{limits.threads} thread{'' if limits.threads == 1 else 's'}"
    fma = f"FMA peak, float32, {limits.isa}"
    for name, value, unit, by in (
        (fma, limits.fma_peak_one_thread, "GFLOP/s", "1 thread"),
        ("", limits.fma_peak, "GFLOP/s", threads),
        ("copy, read + written", limits.copy_bandwidth, "GB/s", threads),
        ("read", limits.read_bandwidth, "GB/s", threads),
    ):
        yield f"{name:{len(fma)}}  {value / GIGA:7.1f} {unit:7}  {by}"


def machine_text(machine: dict[str, Any]) -> Iterator[str]:
    cpu, isa = machine["cpu"], machine["isa"]
    processors = f"{cpu['usable']} of {cpu['count']} processors"
    yield f"{machine['date']}  {cpu['model']}, {processors}, {machine['platform']}"
    peers = "".join(f", {name} {version}" for name, version in machine["peers"].items())
    yield f"neocog {machine['neocog']} ({isa['active']}, threads {machine['bench_threads']}){peers}"


def table(comparisons: Sequence[Comparison]) -> Iterator[str]:
    """One pass: times, what neocog's better layout reaches, the peers' times over neocog's, their mean."""
    rivals = _rivals(comparisons)
    contenders = _contenders(comparisons)
    layouts = {peer: [last for name, last in contenders if name == peer] for peer in rivals}
    groups = [("", [comparisons[0].pass_, "GFLOP", "MB"])]
    for peer in dict.fromkeys(peer for peer, _ in contenders):
        groups.append((f"{peer}, ms", [_layout_name(peer, last) for name, last in contenders if name == peer]))
    groups.append(("neocog's better layout", ["GFLOP/s", "of peak", "GB/s", "of copy"]))
    groups.append(("largest error / largest value", list(dict.fromkeys(peer for peer, _ in contenders))))
    for peer in rivals:
        groups.append((f"{peer} / neocog", [*(_layout_name("neocog", last) for last in layouts[peer]), "best"]))
    lines = [_cells(c, contenders, layouts) for c in comparisons]
    if rivals:
        lines.append(["geometric mean", *[""] * (6 + len(contenders) + len(groups[-len(rivals) - 1][1]))])
        for peer in rivals:
            lines[-1] += [ratio_text(mean(comparisons, peer, last)) for last in (*layouts[peer], None)]
    yield from aligned(groups, lines)
    for peer in rivals:
        if (worst := worst_row(comparisons, peer)) is not None:
            yield f"worst against {peer}: {worst.row.name}, {ratio_text(worst.ratio(peer))}"


def failures(comparisons: Sequence[Comparison]) -> list[str]:
    """A line for every contender that failed."""
    return [
        f"ERROR {c.row.name}, {c.pass_}, {o.peer} {o.layout}: {o.failure}"
        for c in comparisons
        for o in c.outcomes
        if o.failure is not None
    ]


def mean(comparisons: Sequence[Comparison], peer: str, channels_last: bool | None = None) -> float | None:
    """Geometric mean of the ratios to a peer, over the rows that have one."""
    ratios = [r for c in comparisons if (r := c.ratio(peer, channels_last)) is not None]
    return statistics.geometric_mean(ratios) if ratios else None


def worst_row(comparisons: Sequence[Comparison], peer: str) -> Comparison | None:
    return min(comparisons, key=lambda c: c.ratio(peer) or math.inf, default=None)


def as_json(
    machine: dict[str, Any], limits: Limits, settings: dict[str, Any], comparisons: Sequence[Comparison]
) -> dict[str, Any]:
    """Everything, in seconds, FLOP and bytes."""
    summary: dict[str, Any] = {}
    for pass_ in dict.fromkeys(c.pass_ for c in comparisons):
        rows = [c for c in comparisons if c.pass_ == pass_]
        summary[pass_] = {}
        for peer in _rivals(rows):
            worst = worst_row(rows, peer)
            summary[pass_][peer] = {
                "geometric_mean": mean(rows, peer),
                "geometric_mean_channels_first": mean(rows, peer, False),
                "geometric_mean_channels_last": mean(rows, peer, True),
                "worst_row": worst.row.name if worst else None,
                "worst_ratio": worst.ratio(peer) if worst else None,
            }
    return {
        "format": 1,
        "machine": machine,
        "limits": vars(limits),
        "settings": settings,
        "rows": [_row_json(c) for c in comparisons],
        "summary": summary,
    }


def _row_json(c: Comparison) -> dict[str, Any]:
    flops, size = c.row.flops(c.pass_), c.row.bytes(c.pass_)
    peers = _rivals([c])

    def entry(o: Outcome) -> dict[str, Any]:
        values: dict[str, Any] = {"peer": o.peer, "layout": o.layout, "failure": o.failure, "error": o.error}
        if o.samples:
            values |= {"seconds": o.seconds, "samples": o.samples, "bytes_per_second": size / o.seconds}
            values["of_copy_bandwidth"] = size / o.seconds / c.reach.copy_bandwidth
            if flops:
                values |= {
                    "flops_per_second": flops / o.seconds,
                    "of_fma_peak": flops / o.seconds / c.reach.fma_peak,
                }
        return values

    return {
        "name": c.row.name,
        "pass": c.pass_,
        "flops": flops,
        "bytes": size,
        "reach": vars(c.reach),
        "contenders": [entry(o) for o in c.outcomes],
        "ratio": {peer: c.ratio(peer) for peer in peers},
        "ratio_channels_first": {peer: c.ratio(peer, False) for peer in peers},
        "ratio_channels_last": {peer: c.ratio(peer, True) for peer in peers},
    }


def _contenders(comparisons: Sequence[Comparison]) -> list[tuple[str, bool]]:
    """(library, channels last) in the order of the columns; a row may lack some."""
    return list(dict.fromkeys((o.peer, o.channels_last) for c in comparisons for o in c.outcomes))


def _rivals(comparisons: Sequence[Comparison]) -> list[str]:
    return [peer for peer in dict.fromkeys(peer for peer, _ in _contenders(comparisons)) if peer != "neocog"]


def _layout_name(peer: str, channels_last: bool) -> str:
    if not channels_last:
        return "NCHW"
    return "ch_last" if peer == "torch" else "NHWC"


def _cells(c: Comparison, contenders: Sequence[tuple[str, bool]], layouts: dict[str, list[bool]]) -> list[str]:
    flops, size, best = c.row.flops(c.pass_), c.row.bytes(c.pass_), c.best("neocog")
    cells = [c.row.name, f"{flops / GIGA:.2f}" if flops else "-", f"{size / MEGA:.1f}"]
    outcomes = {(o.peer, o.channels_last): o for o in c.outcomes}
    cells += [milliseconds(outcomes.get(key)) for key in contenders]
    if best is None:
        cells += ["-"] * 4
    else:
        speed, traffic = flops / best.seconds, size / best.seconds
        cells += [f"{speed / GIGA:.0f}", f"{speed / c.reach.fma_peak:.0%}"] if flops else ["-", "-"]
        cells += [f"{traffic / GIGA:.1f}", f"{traffic / c.reach.copy_bandwidth:.0%}"]
    for peer in dict.fromkeys(peer for peer, _ in contenders):
        errors = [o.error for o in c.of(peer) if o.error is not None]
        cells.append(f"{max(errors):.0e}" if errors else "-")
    for peer, lasts in layouts.items():
        cells += [ratio_text(c.ratio(peer, last)) for last in (*lasts, None)]
    return cells


def milliseconds(outcome: Outcome | None) -> str:
    if outcome is None:
        return "-"
    if outcome.failure is not None:
        return "error"
    value = 1e3 * outcome.seconds
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def ratio_text(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def aligned(groups: Sequence[tuple[str, Sequence[str]]], lines: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns of numbers under their names, and these under the titles of their groups."""
    names = [name for _, columns in groups for name in columns]
    widths = [max(len(line[i]) for line in (names, *lines)) for i in range(len(names))]
    starts: list[bool] = []
    titles = ""
    for title, columns in groups:
        first = len(starts)
        starts += [index == 0 for index in range(len(columns))]
        inside = range(first, len(starts))
        widths[first] += max(0, len(title) - sum(widths[i] for i in inside) - 2 * (len(columns) - 1))
        titles += ("   " if first else "") + title.rjust(sum(widths[i] for i in inside) + 2 * (len(columns) - 1))
    yield titles.rstrip()
    for line in (names, *lines):
        text = line[0].ljust(widths[0])
        for i in range(1, len(names)):
            text += ("   " if starts[i] else "  ") + line[i].rjust(widths[i])
        yield text.rstrip()
