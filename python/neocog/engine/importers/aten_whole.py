"""Operators that torch takes apart while it traces, kept whole: upsampling above all, a gather per corner otherwise.

torch's tables of how to take them apart are changed while a program is traced, and put back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._C import DispatchKey
from torch._prims_common import suggest_memory_format

from neocog.engine.importers.aten_registry import CONVERTERS

Sizes = Sequence[int | torch.SymInt]
Kernels = Mapping[DispatchKey, Callable[..., Any] | None]

# How many spatial axes there are, and whether there is an argument `align_corners`.
UPSAMPLING = {
    "upsample_nearest1d": (1, False),
    "upsample_nearest2d": (2, False),
    "_upsample_nearest_exact1d": (1, False),
    "_upsample_nearest_exact2d": (2, False),
    "upsample_linear1d": (1, True),
    "upsample_bilinear2d": (2, True),
    "upsample_bicubic2d": (2, True),
    "_upsample_bilinear2d_aa": (2, True),
    "_upsample_bicubic2d_aa": (2, True),
}
_TAKEN_APART = (DispatchKey.Autograd, DispatchKey.CompositeImplicitAutograd)
# They read better as what torch traces them into.
_LEFT = ("aten.native_batch_norm.default", "aten.dropout.default")


@contextmanager
def whole_operators() -> Iterator[None]:
    """Trace operators of the engine as such; for programs without gradients."""
    changes: dict[Any, Kernels] = upsampling_kernels(UPSAMPLING)
    for name in CONVERTERS:
        namespace, packet, overload = name.split(".")
        if namespace == "aten" and packet not in UPSAMPLING and name not in _LEFT:
            operator = getattr(getattr(torch.ops.aten, packet), overload)
            changes[operator] = dict.fromkeys(_TAKEN_APART)
    with replaced_kernels(changes):
        yield


@contextmanager
def replaced_kernels(changes: Mapping[Any, Kernels]) -> Iterator[None]:
    """Give operators other kernels in Python, or none, where torch traces them; afterwards they have theirs again."""
    before = {operator: dict(operator.py_kernels) for operator in changes}
    try:
        for operator, kernels in changes.items():
            for key, kernel in kernels.items():
                if kernel is None:
                    operator.py_kernels.pop(key, None)
                else:
                    operator.py_kernels[key] = kernel
            operator._dispatch_cache.clear()
        yield
    finally:
        for operator, kernels in before.items():
            operator.py_kernels.clear()
            operator.py_kernels.update(kernels)
            operator._dispatch_cache.clear()


def upsampling_kernels(names: Sequence[str] | Mapping[str, Any]) -> dict[Any, Kernels]:
    """Kernels with which upsampling is traced as one operator, whose sizes may be open."""
    changes: dict[Any, Kernels] = {}
    for name in names:
        packet = getattr(torch.ops.aten, name)
        changes[packet.vec] = dict.fromkeys(_TAKEN_APART, _by_size(name))
        changes[packet.default] = {**dict.fromkeys(_TAKEN_APART), DispatchKey.Meta: _fake}
    return changes


def _by_size(name: str) -> Callable[..., Tensor]:
    """upsample_*.vec, which takes a size or factors, in terms of the operator that takes both."""
    axes, aligns = UPSAMPLING[name]
    operator = getattr(torch.ops.aten, name).default

    def upsample(x: Tensor, output_size: Sizes | None, *more: Any) -> Tensor:
        factors = more[-1]
        size: Any = output_size
        if size is None:
            # As torch counts: exact for whole factors, the whole part of the product for the others.
            size = [
                before * int(factor) if int(factor) == factor else torch.sym_int(before * factor)  # type: ignore[no-untyped-call]
                for before, factor in zip(x.shape[2:], factors, strict=True)
            ]
        scales = list(factors) if output_size is None else [None] * axes
        result: Tensor = operator(x, size, *(more[:1] if aligns else ()), *scales)
        return result

    return upsample


def _fake(x: Tensor, output_size: Sizes, *ignored: Any) -> Tensor:
    # torch's own takes some open sizes for numbers.
    y = x.new_empty((*x.shape[:2], *output_size))
    return y.contiguous(memory_format=suggest_memory_format(x))
