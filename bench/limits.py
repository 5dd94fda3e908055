"""What this machine can do at best, in this process and with these threads; every row is held against it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from bench.peers import Neocog

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
    """About two seconds."""
    from neocog import _core

    with Neocog().session(threads):
        return Limits(
            threads=threads,
            isa=_core.active_isa(),
            fma_peak_one_thread=_core.measure_fma_peak(1),
            fma_peak=_core.measure_fma_peak(threads),
            copy_bandwidth=_core.measure_copy_bandwidth(threads, COPY_BYTES),
            read_bandwidth=_core.measure_read_bandwidth(threads, COPY_BYTES),
        )


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
        self.threads, self._core = threads, _core
        with self.session():
            self._operations = _core.run_fma_chains(threads)

    def session(self) -> AbstractContextManager[None]:
        """While it is open, the calls may use their threads."""
        return Neocog().session(self.threads)

    def calls(self) -> list[Callable[[], Any]]:
        return [
            lambda: self._core.run_fma_chains(self.threads),
            lambda: self._core.run_copy(self.threads, self._from, self._to),
        ]

    def reach(self, samples: Sequence[Sequence[float]]) -> Reach:
        """`samples`: seconds of each of the calls, in their order."""
        fma, copy = map(statistics.median, samples)
        return Reach(self._operations / fma, 2 * self._to.nbytes / copy)
