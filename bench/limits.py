"""What this machine can do at best, in this process and with these threads; every row is held against it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from itertools import chain
from typing import Any

import numpy as np

# Far beyond the second-level caches; half of it is read and half written.
COPY_BYTES = 256 << 20


@dataclass(frozen=True)
class Limits:
    """float32 FLOP/s (a multiply-add is two) and bytes/s; a copy counts what it reads and what it writes."""

    threads: int
    isa: str
    fma_peak_one_thread: float
    fma_peak: float
    copy_bandwidth: float
    read_bandwidth: float

    def best_of(self, other: Limits) -> Limits:
        """A neighbour on the machine can only make a limit look lower than it is."""
        return Limits(*(max(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)))


def measure(threads: int) -> Limits:
    """About two seconds. Set neocog's threads to at least as many before."""
    import neocog
    from neocog import _core

    before = neocog.get_num_threads()
    neocog.set_num_threads(threads)
    try:
        return Limits(
            threads=threads,
            isa=_core.active_isa(),
            fma_peak_one_thread=_core.measure_fma_peak(1),
            fma_peak=_core.measure_fma_peak(threads),
            copy_bandwidth=_core.measure_copy_bandwidth(threads, COPY_BYTES),
            read_bandwidth=_core.measure_read_bandwidth(threads, COPY_BYTES),
        )
    finally:
        neocog.set_num_threads(before)


@dataclass(frozen=True)
class Reach:
    """What the machine could do while one row was timed: medians, float32 FLOP/s and bytes/s."""

    fma_peak: float
    copy_bandwidth: float


class Probes:
    """Calls that are timed among the contenders of every row.

    Others use the machine too, and at no two moments leave the same to us: a row is held against what the
    machine could do in the same seconds, not against its best moment.
    """

    # Twice this is read or written: less than COPY_BYTES, as there is a copy in every round.
    ELEMENTS = 16 << 20

    def __init__(self, threads: int) -> None:
        from neocog import _core

        self._from, self._to = (np.ones(self.ELEMENTS, np.float32) for _ in range(2))
        self._threads, self._core = threads, _core
        self._operations = _core.run_fma_chains(threads)

    def calls(self) -> list[Callable[[], Any]]:
        return [
            lambda: self._core.run_fma_chains(self._threads),
            lambda: self._core.run_copy(self._threads, self._from, self._to),
        ]

    def reach(self, samples: Sequence[Sequence[float]]) -> Reach:
        """`samples`: seconds of the calls, in their order, as often as they were made."""
        count = len(self.calls())
        fma, copy = (statistics.median(chain.from_iterable(samples[i::count])) for i in range(count))
        return Reach(self._operations / fma, 2 * self._to.nbytes / copy)
