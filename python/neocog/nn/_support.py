"""What the layers share: which tensors run on our kernels, batches of one, and the padding called "same"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

import neocog.torch.library  # noqa: F401  the operators
from neocog._checks import same_padding

OPS: Any = torch.ops.neocog


def supported(x: Tensor, *others: Tensor | None) -> bool:
    """Dense float32 or float64 on the CPU, all the same, with at least one value; any float under autocast."""
    if not x.is_cpu or x.layout is not torch.strided or not x.numel():
        return False
    dtype = x.dtype
    if torch.is_autocast_enabled("cpu"):
        # Autocast leaves float64 as it is, beside what it makes float32.
        wide = dtype is torch.float64
        return x.is_floating_point() and all((o.dtype is torch.float64) is wide for o in others if o is not None)
    if dtype is not torch.float32 and dtype is not torch.float64:
        return False
    for other in others:  # noqa: SIM110  `all` takes twice the time, on the way of every call
        if other is not None and other.dtype is not dtype:
            return False
    return True


def values(argument: Any) -> tuple[int, ...]:
    """One value, or one per axis, as a tuple."""
    if isinstance(argument, int):  # before the slower question
        return (argument,)
    return tuple(argument) if isinstance(argument, Sequence) else (argument,)


def per_axis(argument: Any, spatial: int) -> tuple[int, ...]:
    """One value per axis."""
    found = values(argument)
    return found * spatial if len(found) == 1 else found


def same_ends(size: Any, kernel_size: Any, stride: Any, dilation: Any) -> list[int]:
    """Keras' rule for "same": the padding at both ends of every axis, the odd pixel last."""
    spatial = len(size)
    window = (per_axis(argument, spatial) for argument in (kernel_size, stride, dilation))
    ends: list[int] = []
    for pixels, kernel, step, gap in zip(size, *window, strict=True):
        ends += same_padding(pixels, kernel, step, gap)
    return ends


def ends_of(padding: Any, size: Any, kernel_size: Any, stride: Any, dilation: Any) -> Sequence[int]:
    """A layer's `padding` as the operators take it."""
    if isinstance(padding, str):
        return [0] if padding == "valid" else same_ends(size, kernel_size, stride, dilation)
    return values(padding)


def reversed_ends(ends: Sequence[int]) -> list[int]:
    """Both ends of every axis as torch.nn.functional.pad wants them, the last axis first."""
    return [end for axis in range(len(ends) - 2, -1, -2) for end in ends[axis : axis + 2]]
