"""Comparisons as a table for people and as JSON for programs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.compare import Comparison, Outcome
from bench.limits import Limits

MEGA, GIGA = 1e6, 1e9
# Columns that a table has on demand.
FIRST, RMS = SHOWN = ("first", "rms")


def limits_text(limits: Sequence[Limits]) -> Iterator[str]:
    """With each number of threads, in rising order."""
    fma = f"FMA peak, float32, {limits[-1].isa}"
    peaks = {1: limits[-1].fma_peak_one_thread} | {each.threads: each.fma_peak for each in limits}
    for name, unit, values in (
        (fma, "GFLOP/s", peaks),
        ("copy, read + written", "GB/s", {each.threads: each.copy_bandwidth for each in limits}),
        ("read", "GB/s", {each.threads: each.read_bandwidth for each in limits}),
    ):
        for index, (threads, value) in enumerate(values.items()):
            yield f"{'' if index else name:{len(fma)}}  {value / GIGA:7.1f} {unit:7}  {_threads_text(threads)}"


def _threads_text(threads: int) -> str:
    return f"{threads} thread{'' if threads == 1 else 's'}"


def machine_text(machine: Mapping[str, Any], threads: Sequence[int]) -> Iterator[str]:
    cpu, isa = machine["cpu"], machine["isa"]
    processors = f"{cpu['usable']} of {cpu['count']} processors"
    yield f"{machine['date']}  {cpu['model']}, {processors}, {machine['platform']}"
    peers = "".join(f", {name} {version}" for name, version in machine["peers"].items())
    counts = ", ".join(map(str, threads))
    yield f"neocog {machine['neocog']} ({isa['active']}, threads {counts}){peers}"


def tables(comparisons: Sequence[Comparison], show: Sequence[str] = ()) -> Iterator[str]:
    """A table for every pass and number of threads, each after an empty line."""
    for pass_ in dict.fromkeys(c.pass_ for c in comparisons):
        for threads in dict.fromkeys(c.threads for c in comparisons):
            rows = [c for c in comparisons if (c.pass_, c.threads) == (pass_, threads)]
            yield ""
            yield from table(rows, show, _pass_name(rows[0], comparisons))


def _pass_name(c: Comparison, comparisons: Sequence[Comparison]) -> str:
    """With the number of threads where there are several."""
    several = any(other.threads != c.threads for other in comparisons)
    return f"{c.pass_}, {_threads_text(c.threads)}" if several else c.pass_


def table(comparisons: Sequence[Comparison], show: Sequence[str] = (), title: str = "") -> Iterator[str]:
    """One pass: times, what neocog's better layout reaches, the peers' times over neocog's, their mean."""
    rivals = _rivals(comparisons)
    contenders = _contenders(comparisons)
    names = list(dict.fromkeys(peer for peer, _ in contenders))
    layouts = {peer: [last for name, last in contenders if name == peer] for peer in names}
    issues = any(c.row.issue for c in comparisons)
    groups = [("", [title or comparisons[0].pass_, *(["issue"] if issues else []), "GFLOP", "MB"])]
    times = [(peer, [_layout_name(peer, last) for last in layouts[peer]]) for peer in names]
    groups += [(f"{peer}, ms", columns) for peer, columns in times]
    groups += [(f"{peer}, first, ms", columns) for peer, columns in times if FIRST in show]
    groups.append(("neocog's better layout", ["GFLOP/s", "of peak", "GB/s", "of copy"]))
    groups.append(("largest error / largest value", names))
    if RMS in show:
        groups.append(("RMS error / RMS value", names))
    before = sum(len(columns) for _, columns in groups)
    for peer in rivals:
        groups.append((f"{peer} / neocog", [*(_layout_name("neocog", last) for last in layouts[peer]), "best"]))
    lines = [_cells(c, layouts, show, issues) for c in comparisons]
    if rivals:
        lines.append(["geometric mean", *[""] * (before - 1)])
        for peer in rivals:
            lines[-1] += [ratio_text(mean(comparisons, peer, last)) for last in (*layouts[peer], None)]
    yield from aligned(groups, lines)
    for peer in rivals:
        if (worst := worst_row(comparisons, peer)) is not None:
            yield f"worst against {peer}: {worst.row.name}, {ratio_text(worst.ratio(peer))}"


def failures(comparisons: Sequence[Comparison]) -> list[str]:
    """A line for every contender that failed."""
    return [
        f"ERROR {c.row.name}, {_pass_name(c, comparisons)}, {o.peer} {o.layout}: {o.failure}"
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
    machine: Mapping[str, Any],
    limits: Sequence[Limits],
    settings: Mapping[str, Any],
    comparisons: Sequence[Comparison],
) -> dict[str, Any]:
    """Everything, in seconds, FLOP and bytes; limits and summary are those of the most threads, and of each."""
    by_threads = {
        str(each.threads): {
            "limits": vars(each),
            "summary": _summary([c for c in comparisons if c.threads == each.threads]),
        }
        for each in limits
    }
    return {
        "format": 1,
        "machine": machine,
        **by_threads[str(limits[-1].threads)],
        "settings": settings,
        "rows": [_row_json(c) for c in comparisons],
        "by_threads": by_threads,
    }


def _summary(comparisons: Sequence[Comparison]) -> dict[str, Any]:
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
    return summary


def _row_json(c: Comparison) -> dict[str, Any]:
    flops, size = c.row.flops(c.pass_), c.row.bytes(c.pass_)
    peers = _rivals([c])

    def entry(o: Outcome) -> dict[str, Any]:
        values: dict[str, Any] = {"peer": o.peer, "layout": o.layout, "failure": o.failure}
        values |= {"error": o.error, "rms_error": o.rms_error, "first_seconds": o.first}
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
        "issue": c.row.issue,
        "pass": c.pass_,
        "threads": c.threads,
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


def _cells(c: Comparison, layouts: Mapping[str, Sequence[bool]], show: Sequence[str], issues: bool) -> list[str]:
    flops, size, best = c.row.flops(c.pass_), c.row.bytes(c.pass_), c.best("neocog")
    cells = [c.row.name, *([c.row.issue or "-"] if issues else [])]
    cells += [f"{flops / GIGA:.2f}" if flops else "-", f"{size / MEGA:.1f}"]
    by_layout = {(o.peer, o.channels_last): o for o in c.outcomes}
    outcomes = [by_layout.get((peer, last)) for peer, lasts in layouts.items() for last in lasts]
    cells += [milliseconds(o) for o in outcomes]
    if FIRST in show:
        cells += [seconds_text(o and o.first) for o in outcomes]
    if best is None:
        cells += ["-"] * 4
    else:
        speed, traffic = flops / best.seconds, size / best.seconds
        cells += [f"{speed / GIGA:.0f}", f"{speed / c.reach.fma_peak:.0%}"] if flops else ["-", "-"]
        cells += [f"{traffic / GIGA:.1f}", f"{traffic / c.reach.copy_bandwidth:.0%}"]
    cells += [error_text([o.error for o in c.of(peer)]) for peer in layouts]
    if RMS in show:
        cells += [error_text([o.rms_error for o in c.of(peer)]) for peer in layouts]
    for peer in (peer for peer in layouts if peer != "neocog"):
        cells += [ratio_text(c.ratio(peer, last)) for last in (*layouts[peer], None)]
    return cells


def error_text(errors: Sequence[float | None]) -> str:
    """The largest of a library's layouts."""
    known = [error for error in errors if error is not None]
    return f"{max(known):.0e}" if known else "-"


def milliseconds(outcome: Outcome | None) -> str:
    if outcome is None:
        return "-"
    if outcome.failure is not None:
        return "error"
    return seconds_text(outcome.seconds)


def seconds_text(seconds: float | None) -> str:
    """In milliseconds."""
    if seconds is None:
        return "-"
    value = 1e3 * seconds
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
