"""What this machine can do at best, in this process and with these threads; every row is held against it."""

from __future__ import annotations

from dataclasses import dataclass, fields

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
