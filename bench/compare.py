"""One row in one pass: every contender called for the first time and checked, then all of them timed in turn."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from functools import partial

from bench import check
from bench.limits import Probes, Reach
from bench.ops.conv import Conv
from bench.ops.row import PASSES, Array, Call, Pass, Row, aligned
from bench.peers import Entry, Peer, Results
from bench.timing import interleaved, timed

Step = Callable[[str, float], None]
Session = Callable[[], AbstractContextManager[None]]

START = Conv("start", (1, 16, 8, 8), (16, 16, 3, 3), padding=1)


@dataclass
class Outcome:
    """What one contender did: samples (seconds per call), or the reason why there are none."""

    peer: str
    layout: str
    channels_last: bool
    samples: list[float] = field(default_factory=list)
    error: float | None = None  # largest, as a part of the largest value
    failure: str | None = None
    rms_error: float | None = None  # as a part of the root mean square
    first: float | None = None  # seconds of the first call of all, with what must precede it

    @property
    def seconds(self) -> float:
        """Median; infinite where nothing was timed."""
        return statistics.median(self.samples) if self.samples else float("inf")


@dataclass
class Comparison:
    """A row of the table."""

    row: Row
    pass_: Pass
    threads: int
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


@dataclass(frozen=True)
class _Sampled:
    """A call to be timed, what must be open while it runs, and where its samples gather."""

    call: Call
    session: Session
    samples: list[float]


def start(peers: Sequence[Peer], threads: int) -> None:
    """Call every library once: what it does at its very first call belongs to no row."""
    for pass_ in PASSES:
        for peer in peers:
            for entry in peer.entries(START, pass_):
                with peer.session(threads), suppress(Exception):  # one that fails will be reported by the rows
                    entry.build(START, pass_, START.arrays()).call()


def compare(
    row: Row,
    pass_: Pass,
    peers: Sequence[Peer],
    rounds: int,
    probes: Sequence[Probes],
    step: Step = lambda doing, part: None,
) -> list[Comparison]:
    """Check every contender against float64, then time those that are right, and the machine's limits with them.

    One comparison for each of `probes`, with as many threads; all are timed in the same rounds.
    """
    step(f"{row.name}, {pass_}: data", 0.0)
    arrays = {name: aligned(array) for name, array in row.arrays().items()}
    step(f"{row.name}, {pass_}: float64 reference", 0.0)
    reference = check.expected(row, pass_, arrays)
    comparisons: list[tuple[Probes, list[Outcome], list[_Sampled]]] = []
    order: list[_Sampled] = []
    for probe in probes:
        outcomes: list[Outcome] = []
        contenders: list[_Sampled] = []
        limits = [_Sampled(call, probe.session, []) for call in probe.calls()]
        for peer in peers:
            session = partial(peer.session, probe.threads)
            for entry in peer.entries(row, pass_):
                step(f"{row.name}, {pass_}: checking {entry.peer} {entry.layout}", 0.0)
                outcome = Outcome(entry.peer, entry.layout, entry.channels_last)
                outcomes.append(outcome)
                try:
                    with session():
                        call = _first_call(entry, row, pass_, arrays, reference, outcome)
                except Exception as error:  # whatever a library does, the others are measured
                    outcome.failure = f"{type(error).__name__}: {error}"
                else:
                    contenders.append(_Sampled(call, session, outcome.samples))
        # The limits before every contender: one sample in a round can meet a neighbour's worst or best moment.
        order += [sampled for contender in contenders for sampled in (*limits, contender)] or limits
        comparisons.append((probe, outcomes, limits))
    del reference

    def progress(done: int) -> None:
        step(f"{row.name}, {pass_}: round {done + 1} of {rounds}", done / rounds)

    samples = interleaved([s.call for s in order], rounds, progress, [s.session for s in order])
    for sampled, seconds in zip(order, samples, strict=True):
        sampled.samples.extend(seconds)
    return [
        Comparison(row, pass_, probe.threads, outcomes, probe.reach([limit.samples for limit in limits]))
        for probe, outcomes, limits in comparisons
    ]


def _first_call(
    entry: Entry, row: Row, pass_: Pass, arrays: Mapping[str, Array], reference: Results, outcome: Outcome
) -> Call:
    """The contender's call, after its first run, which is timed and checked."""
    contender = entry.build(row, pass_, arrays)
    returned, seconds = timed(contender.call)
    outcome.first = contender.setup + seconds
    errors = check.errors(contender.results(returned), reference, row.tolerance)
    outcome.error, outcome.rms_error = errors.largest, errors.rms
    return contender.call
