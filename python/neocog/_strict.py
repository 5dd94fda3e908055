"""Results with the error of the plain sum of products only."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from neocog import _core

_lock = threading.Lock()
_entered = 0


@contextlib.contextmanager
def strict() -> Iterator[None]:
    """While the context lasts, use no method that rounds more often than the plain sum of products.

    It switches Winograd's convolution off, forward and backward, wherever it comes from: `neocog.ops`,
    `neocog.torch.patch`, `torch.ops.neocog`, Keras. It holds for the whole process, all of its threads, until the last
    of those who entered has left. `conv2d(..., algorithm="direct")` does the same for one forward call. What asks for
    `precision="bf16"` still gets it: nothing but that request lowers precision, and it sums as plainly.

    Example:
        >>> with neocog.strict():
        ...     y = neocog.ops.conv2d(x, weight)
    """
    global _entered
    with _lock:
        _entered += 1
        _core.set_strict(True)
    try:
        yield
    finally:
        with _lock:
            _entered -= 1
            _core.set_strict(_entered > 0)
