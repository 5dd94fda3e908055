"""One row: every contender prepared, called for the first time and checked, then all of them timed in turn."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from bench import check, standings
from bench.check import WrongResult
from bench.compare import Outcome, Step
from bench.limits import Limits
from bench.nets import NEOCOG
from bench.nets.case import Case
from bench.nets.peers import BF16, Entry, Peer
from bench.nets.rows import Row
from bench.networks import Network, session
from bench.ops.row import Array, Call
from bench.progress import Progress
from bench.standings import Standing
from bench.timing import interleaved, timed

# Seconds. Threads of onnxruntime look for work up to 45 ms after a call, longer than the small networks take.
REST = 0.1
START = Row(Network("start", "mini_xception", 1, 64))


@dataclass
class Comparison(Standing):
    """A row of the table."""

    network: Row

    def fastest(self) -> Outcome | None:
        """Of the peers, in any memory format."""
        return self.best(*{o.peer for o in self.outcomes} - {NEOCOG})

    def ratio(self, *ours: str) -> float | None:
        """The fastest peer over neocog."""
        theirs, best = self.fastest(), self.best(*(ours or (NEOCOG,)))
        return theirs.seconds / best.seconds if theirs and best else None


def compare(
    row: Row, peers: Sequence[Peer], threads: int, rounds: int, step: Step = lambda doing, part: None
) -> Comparison:
    """Check every contender against float64, then time those that are right, in turn.

    What neocog raises is its failure; a peer that raises cannot run the row and is skipped with the reason. A wrong
    result is everybody's failure.
    """
    comparison = Comparison(row, [], {}, row.flops())
    with tempfile.TemporaryDirectory(prefix="bench-nets-") as folder:
        step(f"{row.name}: weights and the float64 reference", 0.0)
        case = Case(row, threads, Path(folder))
        reference = case.reference
        ready: list[tuple[Outcome, Call]] = []
        try:
            for peer in peers:
                if reason := peer.unsuited(row):
                    comparison.skipped[peer.name] = reason
                    continue
                for entry in peer.entries():
                    step(f"{row.name}: checking {entry.peer} {entry.layout}", 0.0)
                    outcome = Outcome(entry.peer, entry.layout, entry.channels_last)
                    try:
                        call = _first_call(entry, case, reference, outcome)
                    except Exception as error:  # whatever a library does, the others are measured
                        text = f"{type(error).__name__}: {error}".partition("\n")[0]
                        if entry.peer != NEOCOG and not isinstance(error, WrongResult):
                            comparison.skipped[f"{entry.peer} {entry.layout}"] = text
                            continue
                        outcome.failure = text
                    else:
                        ready.append((outcome, call))
                    comparison.outcomes.append(outcome)
            del reference
            samples = interleaved(
                [call for _, call in ready],
                rounds,
                lambda done: step(f"{row.name}: round {done + 1} of {rounds}", done / rounds),
                rest=REST,
            )
        finally:
            torch.compiler.reset()  # the compiled model of this row and its memory
    for (outcome, _), seconds in zip(ready, samples, strict=True):
        outcome.samples = seconds
    return comparison


def _first_call(entry: Entry, case: Case, reference: Array, outcome: Outcome) -> Call:
    """The contender's call, after its first run, which is timed and checked."""
    contender = entry.build(case)
    returned, seconds = timed(contender.call)
    outcome.first = contender.setup + seconds
    tolerance = BF16 if case.row.precision == "bf16" else entry.tolerance
    errors = check.errors(contender.results(returned), (reference,), tolerance)
    outcome.error, outcome.rms_error = errors.largest, errors.rms
    return contender.call


def measure(rows: Sequence[Row], peers: Sequence[Peer], threads: int, rounds: int) -> tuple[Limits, list[Comparison]]:
    """All rows, and the machine's limits."""
    progress = Progress(1)
    with session(threads):
        # A small network first: what a library does at its very first call belongs to no row. One that fails will be
        # reported by the rows.
        compare(START, peers, threads, 1, progress.step)
        progress.clear()
        return standings.measure(rows, lambda row, step: compare(row, peers, threads, rounds, step), threads)
