"""The tables of the README, each from a stored record."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.nets import NEOCOG, PEERS
from bench.ops import STANDARD

BEGIN, END = "<!-- bench:begin -->\n", "<!-- bench:end -->"
BEGIN_NETS, END_NETS = "<!-- bench nets:begin -->\n", "<!-- bench nets:end -->"
PEER, OTHER = "torch", "onnxruntime"


def write(record: Path, readme: Path) -> None:
    """Replace what stands between the two marks of such records: of `ops`, or of `nets`.

    Raises:
        ValueError: The README has no marks, or the record is of other rows or has no time of PyTorch.
    """
    results = json.loads(record.read_text(encoding="utf-8"))
    is_nets = all("model" in row for row in results["rows"])
    first, last, make = (BEGIN_NETS, END_NETS, network_lines) if is_nets else (BEGIN, END, lines)
    before, begin, rest = readme.read_text(encoding="utf-8").partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise ValueError(f"{readme} lacks the lines {first.strip()} and {last}")
    table = "\n".join(make(results, record.name))
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


def network_lines(record: Mapping[str, Any], name: str) -> Iterator[str]:
    """Markdown: milliseconds of all, errors of neocog and of the fastest peer."""
    machine, limits = record["machine"], record["limits"]
    peers = [peer for peer in PEERS if peer in machine["peers"]]
    versions = ", ".join(f"{peer} {machine['peers'][peer]}" for peer in peers if peer != "torch.compile")
    yield (
        f"{machine['cpu']['model']}, {machine['bench_threads']} threads, {machine['isa']['active']}, float32; "
        f"{versions}; medians of {record['settings']['rounds']} rounds in milliseconds "
        f"([record](bench/records/{name})). GFLOP/s count the direct method, beside a peak of "
        f"{limits['fma_peak'] / 1e9:.0f}. Ratio: the fastest peer's time over neocog's. Errors: the largest, against "
        "float64, as a part of the largest value, of neocog and of the fastest peer."
    )
    yield ""
    yield "| | batch | neocog | GFLOP/s | " + " | ".join(peers) + " | fastest peer | ratio | error | its error |"
    yield "|---|" + "--:|" * (3 + len(peers)) + "---|" + "--:|" * 3
    for row in record["rows"]:
        ours = _best(row, NEOCOG)
        timed = [best for peer in peers if (best := _best(row, peer)) is not None]
        fastest = min(timed, key=lambda c: c["seconds"], default=None)
        speed = "-" if ours is None else f"{row['flops'] / ours['seconds'] / 1e9:.0f}"
        cells = [row["name"].rpartition(",")[0], str(row["batch"]), _milliseconds(row, NEOCOG), speed]
        cells += [_milliseconds(row, peer) for peer in peers]
        cells += ["-" if fastest is None else fastest["peer"], "-" if row["ratio"] is None else f"{row['ratio']:.2f}"]
        cells += [_error(row, NEOCOG), "-" if fastest is None else _error(row, fastest["peer"])]
        yield "| " + " | ".join(cells) + " |"
    mean = f"**{record['summary']['geometric_mean']:.2f}**"
    yield "| geometric mean |" + " |" * (4 + len(peers)) + f" {mean} | | |"


def _best(row: Mapping[str, Any], peer: str) -> Mapping[str, Any] | None:
    timed = [c for c in row["contenders"] if c["peer"] == peer and "seconds" in c]
    return min(timed, key=lambda c: c["seconds"], default=None)


def _milliseconds(row: Mapping[str, Any], peer: str) -> str:
    if (best := _best(row, peer)) is None:
        return "-"
    return f"{1e3 * best['seconds']:{'.0f' if best['seconds'] > 1 else '.3g'}}"


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
