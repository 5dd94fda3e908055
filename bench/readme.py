"""The table of the README, from a stored record."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.ops import STANDARD

BEGIN, END = "<!-- bench:begin -->\n", "<!-- bench:end -->"
PEER, OTHER = "torch", "onnxruntime"


def write(record: Path, readme: Path) -> None:
    """Replace what stands between the two marks.

    Raises:
        ValueError: The README has no marks, or the record is of other rows or has no time of PyTorch.
    """
    before, begin, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{readme} lacks the lines {BEGIN.strip()} and {END}")
    table = "\n".join(lines(json.loads(record.read_text(encoding="utf-8")), record.name))
    readme.write_text(f"{before}{begin}{table}\n{end}{after}", encoding="utf-8")


def lines(record: Mapping[str, Any], name: str) -> Iterator[str]:
    """Markdown: each library in its better layout."""
    machine, limits, summary = record["machine"], record["limits"], record["summary"]
    if (rows_of := record["settings"].get("set", STANDARD)) != STANDARD:
        raise ValueError(f"{name} holds the rows of --set {rows_of}: the table is that of --set {STANDARD}")
    torch = machine["peers"].get(PEER)
    if torch is None:
        raise ValueError(f"{name} was measured without {PEER}: measure again with it installed")
    yield (
        f"{machine['cpu']['model']}, {machine['bench_threads']} threads, {machine['isa']['active']}, float32, batch 8; "
        f"PyTorch {torch}; medians of {record['settings']['rounds']} rounds, each library in its better memory "
        f"layout ([record](bench/records/{name})). Of peak: of the multiply-adds, or of the copy, that this machine "
        "could do in the same seconds, whichever is more; of best: in the best moment of the whole run "
        f"({limits['fma_peak'] / 1e9:.0f} GFLOP/s, {limits['copy_bandwidth'] / 1e9:.1f} GB/s: others use the machine "
        "too). Ratios are the other library's time over neocog's: above 1, "
        "neocog is faster. Error: the largest of the forward result, against float64, as a part of its largest value."
    )
    yield ""
    runtime = OTHER in machine["peers"]
    extra = f" {OTHER} | ratio |" if runtime else ""
    yield (
        f"| | forward, ms | of peak | of best | PyTorch | ratio |{extra} error | PyTorch's | "
        "backward, ms | PyTorch | ratio |"
    )
    yield "|---|" + "--:|" * (10 + 2 * runtime)
    rows: dict[str, dict[str, Any]] = {}
    for row in record["rows"]:
        if row.get("threads", machine["bench_threads"]) == machine["bench_threads"]:
            rows.setdefault(row["name"], {})[row["pass"]] = row
    for title, passes in rows.items():
        forward, backward = passes["forward"], passes["backward"]
        cells = [title, _milliseconds(forward, "neocog"), *_of_limits(forward, limits), *_cells(forward, PEER)]
        cells += _cells(forward, OTHER) if runtime else []
        cells += [_error(forward, "neocog"), _error(forward, PEER)]
        cells += [_milliseconds(backward, "neocog"), *_cells(backward, PEER)]
        yield "| " + " | ".join(cells) + " |"
    last = ["geometric mean", "", "", "", "", _mean(summary, "forward", PEER)]
    last += ["", _mean(summary, "forward", OTHER)] if runtime else []
    yield "| " + " | ".join([*last, "", "", "", "", _mean(summary, "backward", PEER)]) + " |"


def _best(row: Mapping[str, Any], peer: str) -> Mapping[str, Any] | None:
    timed = [c for c in row["contenders"] if c["peer"] == peer and "seconds" in c]
    return min(timed, key=lambda c: c["seconds"], default=None)


def _milliseconds(row: Mapping[str, Any], peer: str) -> str:
    best = _best(row, peer)
    return "-" if best is None else f"{1e3 * best['seconds']:.3g}"


def _cells(row: Mapping[str, Any], peer: str) -> list[str]:
    ratio = row["ratio"].get(peer)
    return [_milliseconds(row, peer), "-" if ratio is None else f"{ratio:.2f}"]


def _error(row: Mapping[str, Any], peer: str) -> str:
    best = _best(row, peer)
    return "-" if best is None else f"{best['error']:.0e}"


def _mean(summary: Mapping[str, Any], way: str, peer: str) -> str:
    return f"**{summary[way][peer]['geometric_mean']:.2f}**"


def _of_limits(row: Mapping[str, Any], limits: Mapping[str, float]) -> list[str]:
    """The larger part, of the multiply-adds or of the copy: in the row's own seconds, and in the best moment."""
    ours = _best(row, "neocog")
    if ours is None:
        return ["-", "-"]
    of_best = max(
        ours.get("flops_per_second", 0.0) / limits["fma_peak"], ours["bytes_per_second"] / limits["copy_bandwidth"]
    )
    return [f"{max(ours.get('of_fma_peak', 0.0), ours['of_copy_bandwidth']):.0%}", f"{of_best:.0%}"]
