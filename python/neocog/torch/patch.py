"""Unmodified PyTorch models on our kernels: overrides of aten's CPU operators, forward and backward.

The overrides sit below autograd, autocast, vmap and torch.compile's tracing, so that all of these work as before. They
hold for the whole process, other threads too, while at least one `patch()` or `enable()` is open. What our kernels do
not compute goes to the kernel that was there before, and is counted.
"""

from __future__ import annotations

import itertools
import logging
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch._C import DispatchKey, DispatchKeySet

from neocog.torch import kernels
from neocog.torch.kernels import Unsupported

_logger = logging.getLogger("neocog")

OPERATORS: dict[str, Callable[..., Any]] = {
    "convolution": kernels.convolution,
    "convolution_backward": kernels.convolution_backward,
    "native_batch_norm": kernels.native_batch_norm,
    "native_batch_norm_backward": kernels.native_batch_norm_backward,
    "max_pool2d_with_indices": kernels.max_pool2d_with_indices,
    "max_pool2d_with_indices_backward": kernels.max_pool2d_with_indices_backward,
    "avg_pool2d": kernels.avg_pool2d,
    "avg_pool2d_backward": kernels.avg_pool2d_backward,
    "_adaptive_avg_pool2d": kernels.adaptive_avg_pool2d,
    "_adaptive_avg_pool2d_backward": kernels.adaptive_avg_pool2d_backward,
    "adaptive_max_pool2d": kernels.adaptive_max_pool2d,
    "adaptive_max_pool2d_backward": kernels.adaptive_max_pool2d_backward,
    "threshold_backward": kernels.threshold_backward,
    "upsample_nearest1d": kernels.upsample_nearest1d,
    "upsample_nearest1d_backward": kernels.upsample_nearest1d_backward,
    "upsample_nearest2d": kernels.upsample_nearest2d,
    "upsample_nearest2d_backward": kernels.upsample_nearest2d_backward,
    "upsample_linear1d": kernels.upsample_linear1d,
    "upsample_linear1d_backward": kernels.upsample_linear1d_backward,
    "upsample_bilinear2d": kernels.upsample_bilinear2d,
    "upsample_bilinear2d_backward": kernels.upsample_bilinear2d_backward,
}


class _Count:
    """How often `add` was called: a step of `itertools.count` is one for all threads, and needs no lock."""

    def __init__(self) -> None:
        self.add = itertools.count().__next__
        self._taken = 0  # by reading, and by starting again

    def read(self, reset: bool) -> int:
        """The calls since the last reset; one reader at a time."""
        calls = self.add() - self._taken
        self._taken += 1 + calls * reset
        return calls


class _Override:
    """One operator: ours, else the kernel that was there before; and how often which."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name, self.function = name, function
        self.original = torch.library.get_kernel(f"aten::{name}", "CPU")
        # The dispatcher leaves out trailing arguments that have their default; a boxed call needs them.
        self.defaults = tuple(a.default_value for a in getattr(torch.ops.aten, name).default._schema.arguments)
        self.calls = _Count()
        self.fallbacks: Counter[str] = Counter()

    def kernel(self) -> Callable[..., Any]:
        """What the dispatcher calls: one frame of Python above the operator's function."""
        function, count, fall_back = self.function, self.calls.add, self._fall_back

        def run(*args: Any) -> Any:
            try:
                result = function(*args)
            except Unsupported as unsupported:
                reason = str(unsupported)
            else:
                count()
                return result
            return fall_back(reason, args)

        return run

    def _fall_back(self, reason: str, args: tuple[Any, ...]) -> Any:
        # torch itself explains arguments that it refuses: those are errors, not fallbacks.
        result = self.original.call_boxed(_CPU, *args, *self.defaults[len(args) :])
        with _counting:
            self.fallbacks[reason] += 1
            first = self.fallbacks[reason] == 1
        if first:
            _logger.info("aten::%s runs on torch's own kernel: %s", self.name, reason)
        return result


_CPU = DispatchKeySet(DispatchKey.CPU)
_counting = threading.Lock()
_switching = threading.Lock()
_overrides: dict[str, _Override] = {}  # filled at the first use
_library: torch.library.Library | None = None
_depth = 0


def enable() -> None:
    """Run this process's CPU convolutions, batch norms, pools and upsampling on neocog until `disable()`.

    ReLU's gradient too. Calls nest: as many `disable()` as `enable()` bring torch's kernels back. Results agree with
    torch's within the documented bounds of `neocog.ops`; shapes, strides and gradients are torch's. float32 and
    float64, one and two spatial axes; everything else runs on torch's kernels, bit for bit as before.
    """
    global _depth, _library
    with _switching:
        if _depth == 0:
            for name, function in OPERATORS.items():
                if name not in _overrides:
                    _overrides[name] = _Override(name, function)
            library = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]
            try:
                with warnings.catch_warnings():
                    # torch says once in a process that a kernel is overridden: that is what was asked for.
                    warnings.filterwarnings("ignore", "(?s).*previously registered kernel", UserWarning)
                    for name, override in _overrides.items():
                        library.impl(  # type: ignore[no-untyped-call]
                            name, override.kernel(), "CPU", allow_override=True
                        )
            except BaseException:
                library._destroy()  # type: ignore[no-untyped-call]
                raise
            _library = library
        _depth += 1


def disable() -> None:
    """Undo one `enable()`.

    Raises:
        RuntimeError: Nothing is enabled.
    """
    global _depth, _library
    with _switching:
        if _depth == 0:
            raise RuntimeError("neocog.torch is not enabled; call enable() first, or use `with patch():`.")
        _depth -= 1
        if _depth == 0 and _library is not None:
            _library._destroy()  # type: ignore[no-untyped-call]
            _library = None


@contextmanager
def patch() -> Iterator[None]:
    """`enable()` within a `with` block, which may nest; an exception leaves nothing behind.

    >>> with neocog.torch.patch():
    ...     model(images).sum().backward()
    """
    enable()
    try:
        yield
    finally:
        disable()


def is_enabled() -> bool:
    """Whether the operators run on neocog now."""
    return _depth > 0


def stats(*, reset: bool = False) -> dict[str, dict[str, Any]]:
    """Count what ran where since the last reset, for every operator that was called.

    Args:
        reset: Start again from zero after this.
    Returns:
        By the operator's name in aten: `neocog`, calls on our kernels, and `torch`, for each reason the number of
        calls that went to torch's own.
    """
    found = {}
    with _counting:
        for name, override in _overrides.items():
            calls, fallbacks = override.calls.read(reset), dict(override.fallbacks)
            if reset:
                override.fallbacks.clear()
            if calls or fallbacks:
                found[name] = {"neocog": calls, "torch": fallbacks}
    return found
