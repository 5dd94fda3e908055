"""Comparisons of networks as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench import report, standings
from bench.compare import Outcome
from bench.limits import Limits
from bench.nets import NEOCOG, PEERS
from bench.nets.compare import Comparison

Column = tuple[str, bool]  # (library, channels last)


def table(comparisons: Sequence[Comparison], limits: Limits, show: Sequence[str] = ()) -> Iterator[str]:
    """Milliseconds, what neocog reaches, errors, the fastest peer over neocog, their geometric mean."""
    present = {(o.peer, o.channels_last) for c in comparisons for o in c.outcomes}
    columns = [(name, last) for name in (NEOCOG, *PEERS) for last in (False, True) if (name, last) in present]
    names = list(dict.fromkeys(name for name, _ in columns))
    titles = [f"{name}, ch_last" if last else name for name, last in columns]
    groups: list[tuple[str, Sequence[str]]] = [("", ["inference", "batch", "GFLOP"]), ("milliseconds", titles)]
    if report.FIRST in show:
        groups.append(("first call, milliseconds", titles))
    groups.append((NEOCOG, ["GFLOP/s", "of peak"]))
    groups.append(("largest error / largest value", names))
    if report.RMS in show:
        groups.append(("RMS error / RMS value", names))
    groups.append(("fastest peer", ["name", f"/ {NEOCOG}"]))
    lines = [_cells(c, columns, names, limits, show) for c in comparisons]
    cells = sum(len(group) for _, group in groups)
    lines.append(["geometric mean", *[""] * (cells - 2), report.ratio_text(standings.mean(comparisons))])
    yield from report.aligned(groups, lines)
    if (worst := standings.worst_row(comparisons)) is not None:
        yield f"worst: {worst.network.name}, {report.ratio_text(worst.ratio())}"


def _cells(
    c: Comparison, columns: Sequence[Column], names: Sequence[str], limits: Limits, show: Sequence[str]
) -> list[str]:
    by_column = {(o.peer, o.channels_last): o for o in c.outcomes}
    outcomes = [by_column.get(column) for column in columns]
    cells = [c.network.network.name, str(c.network.batch), f"{c.flops / report.GIGA:.1f}"]
    cells += [report.milliseconds(o) for o in outcomes]
    if report.FIRST in show:
        cells += [report.seconds_text(o and o.first) for o in outcomes]
    ours, fastest = c.best(NEOCOG), c.fastest()
    speed = c.flops / ours.seconds if ours else None
    cells += ["-", "-"] if speed is None else [f"{speed / report.GIGA:.0f}", f"{speed / limits.fma_peak:.0%}"]
    by_name: dict[str, list[Outcome]] = {name: [o for o in c.outcomes if o.peer == name] for name in names}
    cells += [report.error_text([o.error for o in by_name[name]]) for name in names]
    if report.RMS in show:
        cells += [report.error_text([o.rms_error for o in by_name[name]]) for name in names]
    return [*cells, fastest.peer if fastest else "-", report.ratio_text(c.ratio())]
