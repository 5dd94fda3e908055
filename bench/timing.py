"""Interleaved timing: every round runs every call, so that a machine that drifts drifts for all of them."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from time import perf_counter, sleep
from typing import Any

# A sample is at least this long: a call that takes less is repeated inside it.
LEAST_SAMPLE = 2e-3


def interleaved(
    calls: Sequence[Callable[[], Any]],
    rounds: int,
    progress: Callable[[int], None] = lambda done: None,
    sessions: Sequence[Callable[[], AbstractContextManager[Any]]] | None = None,
    rest: float = 0.0,
) -> list[list[float]]:
    """Seconds per call, `rounds` samples of each.

    Every sample follows an untimed one of the same call: it starts with its own code and data in the caches,
    and the threads of the library before have gone to sleep. Every other round goes backwards, so that nobody
    always follows the same neighbour. `sessions`, one per call, are open while it runs: to open and to close
    one is not timed. `rest`: seconds of sleep before each untimed sample, for libraries whose threads look for more
    work some time after a call.
    """
    opened = sessions or [nullcontext] * len(calls)
    loops = []
    for call, session in zip(calls, opened, strict=True):
        with session():
            loops.append(_loops(call))
    samples: list[list[float]] = [[] for _ in calls]
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        for done in range(rounds):
            progress(done)
            order = range(len(calls))
            for i in order if done % 2 == 0 else reversed(order):
                sleep(rest)
                with opened[i]():
                    _sample(calls[i], loops[i])
                    samples[i].append(_sample(calls[i], loops[i]))
    finally:
        if collecting:
            gc.enable()
    return samples


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """What one call returns, and its seconds."""
    start = perf_counter()
    returned = call()
    return returned, perf_counter() - start


def _loops(call: Callable[[], Any]) -> int:
    call()
    once = min(_sample(call, 1) for _ in range(2))
    return max(1, math.ceil(LEAST_SAMPLE / max(once, 1e-7)))


def _sample(call: Callable[[], Any], loops: int) -> float:
    start = perf_counter()
    for _ in range(loops):
        call()
    return (perf_counter() - start) / loops
