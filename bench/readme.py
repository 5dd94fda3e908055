"""The table of the README, from a stored record."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- bench:begin -->\n", "<!-- bench:end -->"
PEER = "torch"


def write(record: Path, readme: Path) -> None:
    """Replace what stands between the two marks.

    Raises:
        ValueError: The README has no marks, or the record no time of PyTorch.
    """
    before, begin, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{readme} lacks the lines {BEGIN.strip()} and {END}")
    table = "\n".join(lines(json.loads(record.read_text(encoding="utf-8")), record.name))
    readme.write_text(f"{before}{begin}{table}\n{end}{after}", encoding="utf-8")


def lines(record: Mapping[str, Any], name: str) -> Iterator[str]:
    """Markdown: each library in its better layout."""
    machine = record["machine"]
    torch = machine["peers"].get(PEER)
    if torch is None:
        raise ValueError(f"{name} was measured without {PEER}: measure again with it installed")
    yield (
        f"{machine['cpu']['model']}, {machine['bench_threads']} threads, {machine['isa']['active']}, float32, batch 8; "
        f"PyTorch {torch}; medians of {record['settings']['rounds']} rounds, each library in its better memory "
        f"layout ([record](bench/records/{name})). Of peak: of the multiply-adds, or of the copy, that this machine "
        "could do in the same seconds, whichever is more."
    )
    yield ""
    yield "| | forward, ms | PyTorch | ratio | of peak | backward, ms | PyTorch | ratio |"
    yield "|---|--:|--:|--:|--:|--:|--:|--:|"
    rows: dict[str, dict[str, Any]] = {}
    for row in record["rows"]:
        rows.setdefault(row["name"], {})[row["pass"]] = row
    for title, passes in rows.items():
        cells = [title, *_cells(passes["forward"]), _of_peak(passes["forward"]), *_cells(passes["backward"])]
        yield "| " + " | ".join(cells) + " |"
    means = [
        statistics.geometric_mean(passes[way]["ratio"][PEER] for passes in rows.values())
        for way in ("forward", "backward")
    ]
    yield f"| geometric mean | | | **{means[0]:.2f}** | | | | **{means[1]:.2f}** |"


def _best(row: Mapping[str, Any], peer: str) -> Mapping[str, Any]:
    timed = [c for c in row["contenders"] if c["peer"] == peer and "seconds" in c]
    best: Mapping[str, Any] = min(timed, key=lambda c: c["seconds"])
    return best


def _cells(row: Mapping[str, Any]) -> list[str]:
    ours, theirs = (_best(row, peer)["seconds"] for peer in ("neocog", PEER))
    return [f"{1e3 * ours:.3g}", f"{1e3 * theirs:.3g}", f"{theirs / ours:.2f}"]


def _of_peak(row: Mapping[str, Any]) -> str:
    ours = _best(row, "neocog")
    return f"{max(ours.get('of_fma_peak', 0.0), ours['of_copy_bandwidth']):.0%}"
