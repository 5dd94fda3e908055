"""One row in one pass: every contender checked, then all of them timed in turn."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench import check
from bench.limits import Probes, Reach
from bench.ops.row import Pass, Row, aligned
from bench.peers import Peer
from bench.timing import interleaved

Step = Callable[[str, float], None]


@dataclass
class Outcome:
    """What one contender did: samples (seconds per call), or the reason why there are none."""

    peer: str
    layout: str
    channels_last: bool
    samples: list[float] = field(default_factory=list)
    error: float | None = None  # largest, as a part of the largest value
    failure: str | None = None

    @property
    def seconds(self) -> float:
        """Median; infinite where nothing was timed."""
        return statistics.median(self.samples) if self.samples else float("inf")


@dataclass
class Comparison:
    """A row of the table."""

    row: Row
    pass_: Pass
    outcomes: list[Outcome]
    reach: Reach

    def of(self, peer: str, channels_last: bool | None = None) -> list[Outcome]:
        """The outcomes of one library that have a time; in one layout or in both."""
        found = [o for o in self.outcomes if o.peer == peer and o.samples]
        return [o for o in found if channels_last in (None, o.channels_last)]

    def best(self, peer: str) -> Outcome | None:
        return min(self.of(peer), key=lambda o: o.seconds, default=None)

    def ratio(self, peer: str, channels_last: bool | None = None) -> float | None:
        """The peer's time over neocog's, each in its better layout, or both in the given one."""
        theirs, ours = self.of(peer, channels_last), self.of("neocog", channels_last)
        if not theirs or not ours:
            return None
        return min(o.seconds for o in theirs) / min(o.seconds for o in ours)


def compare(
    row: Row,
    pass_: Pass,
    peers: Sequence[Peer],
    rounds: int,
    probes: Probes,
    step: Step = lambda doing, part: None,
) -> Comparison:
    """Check every contender against float64, then time those that are right, and the machine's limits with them."""
    step(f"{row.name}, {pass_}: data", 0.0)
    arrays = {name: aligned(array) for name, array in row.arrays().items()}
    step(f"{row.name}, {pass_}: float64 reference", 0.0)
    reference = check.expected(row, pass_, arrays)
    outcomes: list[Outcome] = []
    calls: list[tuple[Outcome, Callable[[], Any]]] = []
    for entry in (entry for peer in peers for entry in peer.entries(row, pass_)):
        step(f"{row.name}, {pass_}: checking {entry.peer} {entry.layout}", 0.0)
        outcome = Outcome(entry.peer, entry.layout, entry.channels_last)
        outcomes.append(outcome)
        try:
            contender = entry.build(row, pass_, arrays)
            outcome.error = check.largest_error(contender.results(contender.call()), reference)
        except Exception as error:  # whatever a library does, the others are measured
            outcome.failure = f"{type(error).__name__}: {error}"
        else:
            calls.append((outcome, contender.call))
    del reference

    def progress(done: int) -> None:
        step(f"{row.name}, {pass_}: round {done + 1} of {rounds}", done / rounds)

    # The limits before every contender: one sample in a round can meet a neighbour's worst or best moment.
    limits = probes.calls()
    samples = interleaved([timed for _, call in calls for timed in (*limits, call)] or limits, rounds, progress)
    for index, (outcome, _) in enumerate(calls, 1):
        outcome.samples = samples.pop(index * len(limits))
    return Comparison(row, pass_, outcomes, probes.reach(samples))
