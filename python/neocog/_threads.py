"""How many threads one call may use."""

from __future__ import annotations

from neocog import _core
from neocog._checks import integer


def set_num_threads(threads: int) -> None:
    """Let every call use up to `threads` threads; 0 returns to the default.

    The default is the environment variable NEOCOG_NUM_THREADS, else OpenMP's own (OMP_NUM_THREADS, or all cores).
    Results do not depend on the number.

    Raises:
        TypeError, ValueError: `threads` is not an int of at least 0.
    """
    _core.set_num_threads(integer("threads", threads, 0))


def get_num_threads() -> int:
    """The number of threads that a call started now may use."""
    return int(_core.get_num_threads())
