"""What the operators share: which tensors the kernels take, and in which memory format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from neocog import _core as _typed_core

core: Any = _typed_core  # its stub speaks of NumPy arrays
DTYPES = (torch.float32, torch.float64)
FORMATS = (torch.contiguous_format, torch.channels_last)

Ints = Sequence[int]


class Unsupported(Exception):
    """Our kernels do not compute this; the message is the reason."""


def name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def check_dtypes(x: Tensor, *others: Tensor | None) -> None:
    dtype = x.dtype
    if dtype not in DTYPES:
        raise Unsupported(f"dtype {name_of(dtype)}")
    for other in others:
        if other is not None and other.dtype is not dtype:
            raise Unsupported(f"dtypes {name_of(dtype)} and {name_of(other.dtype)} together")


def layout_of(x: Tensor) -> int:
    return core.memory_layout(x)  # type: ignore[no-any-return]


def pair_of(values: Any, x: Tensor, neutral: int) -> tuple[int, int]:
    """aten's list of one or two, as (height, width)."""
    if isinstance(values, int):
        values = (values,)
    if x.dim() == 3 and len(values) == 1:
        return neutral, values[0]
    if len(values) not in (1, 2):
        raise Unsupported(f"{len(values)} values for two axes")
    return values[0], values[-1]


def dense_values(x: Tensor) -> tuple[Tensor, bool]:
    """x of any rank, dense in one of the two layouts."""
    layout = layout_of(x)
    if x.dim() > 4 and layout:
        raise Unsupported("a strided tensor of more than four axes")
    if x.numel() == 0:
        raise Unsupported("an empty tensor")
    last = layout % 2 == 1
    return (x.contiguous(memory_format=FORMATS[last]) if layout > 1 else x), last
