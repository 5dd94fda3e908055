"""Times of several calls in one process, taken in turn."""

from __future__ import annotations

import gc
import math
import statistics
from collections.abc import Callable, Sequence
from time import perf_counter

# A sample is at least this long: a call that takes less is repeated inside it.
_LEAST_SAMPLE = 2e-3


def interleaved_medians(calls: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """Median seconds of each call.

    Every round times every call, so that a busy machine slows all alike, and every other round goes backwards, so that
    nobody always follows the same neighbour. An untimed call comes before each sample: it finds its own data in the
    caches, and the threads of the library before have gone to sleep.
    """
    loops = [_loops(call) for call in calls]
    samples: list[list[float]] = [[] for _ in calls]
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        for done in range(rounds):
            order = range(len(calls))
            for i in order if done % 2 == 0 else reversed(order):
                calls[i]()
                samples[i].append(_sample(calls[i], loops[i]))
    finally:
        if collecting:
            gc.enable()
    return [statistics.median(seconds) for seconds in samples]


def _loops(call: Callable[[], object]) -> int:
    call()
    return max(1, math.ceil(_LEAST_SAMPLE / max(_sample(call, 1), 1e-7)))


def _sample(call: Callable[[], object], loops: int) -> float:
    start = perf_counter()
    for _ in range(loops):
        call()
    return (perf_counter() - start) / loops
