"""aten's operators that make tensors out of nothing but sizes: numbers of the plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from neocog.engine.importers.aten_importer import Importer
from neocog.engine.importers.aten_registry import Result, Size, Unsupported, Value, converts

_DTYPES = {torch.float32: "float32", torch.int64: "int64", torch.int32: "int32", torch.bool: "bool"}


def _filled(importer: Importer, shape: Sequence[Size], value: Any, dtype: torch.dtype) -> str:
    if dtype not in _DTYPES:
        raise Unsupported(f"dtype {str(dtype).removeprefix('torch.')}; the engine computes in float32")
    if not isinstance(value, (int, float)):
        number = importer.sizes.number(value)
        return importer.emit(
            "expand", importer.emit("cast", number, dtype=_DTYPES[dtype]), importer.sizes.vector(shape)
        )
    value = float(value) if dtype.is_floating_point else int(value)
    return importer.emit("full", importer.sizes.vector(shape), value=value, dtype=_DTYPES[dtype])


@converts("full", "new_full")
def full(importer: Importer, *arguments: Any, dtype: Any = None, **ignored: Any) -> Result:
    """(size, value), and with a tensor before them."""
    return _filled(importer, importer.result_shape(), arguments[-1], importer.result_dtype())


@converts("full_like")
def full_like(importer: Importer, x: Value, value: Any, **ignored: Any) -> Result:
    return _filled(importer, importer.result_shape(), value, importer.result_dtype())


def _constant(value: int) -> Callable[..., Result]:
    def convert(importer: Importer, *arguments: Any, **ignored: Any) -> Result:
        return _filled(importer, importer.result_shape(), value, importer.result_dtype())

    return convert


converts("zeros", "zeros_like", "new_zeros")(_constant(0))
converts("ones", "ones_like", "new_ones")(_constant(1))


@converts("scalar_tensor")
def scalar_tensor(importer: Importer, value: Any, **ignored: Any) -> Result:
    return _filled(importer, (), value, importer.result_dtype())


@converts("arange", "arange.start", "arange.start_step")
def arange(importer: Importer, *numbers: Any, **ignored: Any) -> Result:
    start, end, step = (0, *numbers, 1) if len(numbers) == 1 else (*numbers, 1)[:3]
    made = importer.emit("range", *(_number(importer, number) for number in (start, end, step)))
    dtype = importer.result_dtype()
    if dtype not in _DTYPES:
        raise Unsupported(f"dtype {str(dtype).removeprefix('torch.')}; the engine computes in float32")
    whole = all(isinstance(number, (int, torch.SymInt)) for number in numbers)
    return made if whole and dtype == torch.int64 else importer.emit("cast", made, dtype=_DTYPES[dtype])


def _number(importer: Importer, number: Any) -> str:
    if isinstance(number, int):
        return importer.constant(np.array(number, np.int64), "number")
    if isinstance(number, float):
        return importer.constant(np.array(number, np.float64), "number")
    return importer.emit("squeeze", importer.sizes.number(number), axes=[0])
