"""aten's operators that take tensors apart, join them, pad them and choose from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from neocog.engine.importers.aten_importer import Importer
from neocog.engine.importers.aten_registry import (
    Result,
    Size,
    Unsupported,
    Value,
    converts,
    is_one,
    static,
    static_values,
)

_END = 2**63 - 1  # torch's and ONNX's word for the end of an axis


def _sliced(importer: Importer, x: Value, axis: int, start: Size, end: Size, step: int = 1) -> str:
    numbers = importer.sizes.vector
    steps = () if step == 1 else (importer.integers([step]),)
    return importer.emit("slice", x, numbers([start]), numbers([end]), importer.integers([axis]), *steps)


@converts("slice.Tensor")
def slice_(
    importer: Importer, x: Value, dim: int = 0, start: Size | None = None, end: Size | None = None, step: int = 1
) -> Result:
    start, end = 0 if start is None else start, _END if end is None else end
    if isinstance(start, int) and isinstance(end, int) and (start, step) == (0, 1) and end >= _END:
        return x.name
    return _sliced(importer, x, x.axis(dim), start, end, static(step, "the step"))


@converts("select.int")
def select(importer: Importer, x: Value, dim: int, index: Size) -> Result:
    end: Size = _END if isinstance(index, int) and index == -1 else index + 1
    axis = x.axis(dim)
    return importer.emit("squeeze", _sliced(importer, x, axis, index, end), axes=[axis])


@converts("unbind.int")
def unbind(importer: Importer, x: Value, dim: int = 0) -> Result:
    count = static(x.shape[x.axis(dim)], "the number of parts")
    return [_text(select(importer, x, dim, place)) for place in range(count)]


@converts("split_with_sizes", "split_with_sizes_copy", "split.sizes")
def split_with_sizes(importer: Importer, x: Value, split_sizes: Sequence[Size], dim: int = 0) -> Result:
    parts, start = [], 0
    for size in split_sizes:
        end: Any = start + size
        parts.append(_sliced(importer, x, x.axis(dim), start, end))
        start = end
    return parts


@converts("split.Tensor")
def split(importer: Importer, x: Value, split_size: int, dim: int = 0) -> Result:
    step = static(split_size, "the size of a part")
    total = x.shape[x.axis(dim)]
    if not isinstance(total, int):
        total = importer.results() * step  # more than there is in the last part is no harm
    return [
        _sliced(importer, x, x.axis(dim), start, min(start + step, total)) for start in range(0, max(total, 1), step)
    ]


@converts("chunk")
def chunk(importer: Importer, x: Value, chunks: int, dim: int = 0) -> Result:
    return split(importer, x, -(-static(x.shape[x.axis(dim)], "the size of an axis") // chunks), dim)


@converts("cat")
def cat(importer: Importer, tensors: Sequence[Value], dim: int = 0) -> Result:
    # torch leaves out empty vectors, whatever the shapes of the others.
    given = [x for x in tensors if x.shape != (0,)]
    if len(given) == 1:
        return given[0].name
    floats = [x.like.is_floating_point() for x in given]
    if any(floats) and not all(floats):
        given = [
            x if f else Value(importer.emit("cast", x, dtype="float32"), x.like)
            for x, f in zip(given, floats, strict=True)
        ]
    return importer.emit("concat", *given, axis=given[0].axis(dim))


@converts("stack")
def stack(importer: Importer, tensors: Sequence[Value], dim: int = 0) -> Result:
    axis = dim % (tensors[0].rank + 1)
    return importer.emit("concat", *(importer.emit("unsqueeze", x, axes=[axis]) for x in tensors), axis=axis)


@converts("flip")
def flip(importer: Importer, x: Value, dims: Sequence[int]) -> Result:
    axes = sorted({x.axis(axis) for axis in dims})
    if not axes:
        return x.name
    # Backwards from the last one to beyond the first.
    starts, ends, steps = [-1] * len(axes), [-_END] * len(axes), [-1] * len(axes)
    return importer.emit("slice", x, *map(importer.integers, (starts, ends, axes, steps)))


@converts("roll")
def roll(importer: Importer, x: Value, shifts: Sequence[int], dims: Sequence[int] = ()) -> Result:
    if not dims:
        raise Unsupported("a roll of all axes as one")
    name = x.name
    for shift, dim in zip(static_values(shifts, "the shift"), dims, strict=True):
        axis = x.axis(dim)
        if shift == 0:
            continue
        size = x.shape[axis]
        cut = -shift if not isinstance(size, int) else (-shift) % max(size, 1)
        rolled = Value(name, x.like)
        parts = (_sliced(importer, rolled, axis, cut, _END), _sliced(importer, rolled, axis, 0, cut))
        name = importer.emit("concat", *parts, axis=axis)
    return name


# Choosing by index


@converts("index_select")
def index_select(importer: Importer, x: Value, dim: int, index: Value) -> Result:
    return importer.emit("gather", x, index, axis=x.axis(dim))


@converts("embedding")
def embedding(importer: Importer, weight: Value, indices: Value, *ignored: Any) -> Result:
    return importer.emit("gather", weight, indices, axis=0)


@converts("index.Tensor", "_unsafe_index.Tensor")
def index(importer: Importer, x: Value, indices: Sequence[Value | None]) -> Result:
    """One axis after the other: what torch does where the indices of an axis span axes of their own."""
    chosen = [(axis, indices_) for axis, indices_ in enumerate(indices) if indices_ is not None]
    if any(i.like.dtype == torch.bool for _, i in chosen):
        raise Unsupported("a choice by truth values")
    axes = [axis for axis, _ in chosen]
    if axes != list(range(axes[0], axes[0] + len(axes))):
        raise Unsupported("a choice by indices along axes that are not neighbours")
    if len(chosen) == 1:
        return importer.emit("gather", x, chosen[0][1], axis=axes[0])
    # The indices of the n-th axis span the n-th axis of the result and no other.
    rank = len(chosen)
    for place, (_, indices_) in enumerate(chosen):
        first = rank - indices_.rank
        spanned = [first + axis for axis in range(indices_.rank) if not is_one(indices_.shape[axis])]
        if spanned not in ([place], []):
            raise Unsupported("a choice of single elements")
    name = x.name
    for axis, indices_ in chosen:
        name = importer.emit("gather", name, importer.emit("reshape", indices_, importer.integers([-1])), axis=axis)
    return name


# Padding


def _padded(importer: Importer, x: Value, pad: Sequence[Size], mode: str, value: float = 0.0) -> str:
    """torch lists the last axis first."""
    begins, ends = [*pad[0::2]][::-1], [*pad[1::2]][::-1]
    rest = [0] * (x.rank - len(begins))
    pads = importer.sizes.vector([*rest, *begins, *rest, *ends])
    if mode == "constant":
        return importer.emit("pad", x, pads, mode=mode, value=float(value))
    return importer.emit("pad", x, pads, mode=mode)


@converts("constant_pad_nd")
def constant_pad(importer: Importer, x: Value, pad: Sequence[Size], value: float = 0) -> Result:
    if all(isinstance(size, int) and size == 0 for size in pad):
        return x.name
    return _padded(importer, x, pad, "constant", static_number(value))


def static_number(value: Any) -> float:
    if not isinstance(value, (int, float)):
        raise Unsupported("a value that depends on the sizes of an input")
    return float(value)


@converts("pad")
def pad_(
    importer: Importer, x: Value, pad: Sequence[Size], mode: str = "constant", value: float | None = None
) -> Result:
    if mode == "constant":
        return constant_pad(importer, x, pad, 0 if value is None else value)
    return _padded(importer, x, pad, mode)


def _padding(mode: str) -> Callable[..., Result]:
    def convert(importer: Importer, x: Value, padding: Sequence[Size]) -> Result:
        return _padded(importer, x, padding, mode)

    return convert


for _axes in (1, 2):
    converts(f"reflection_pad{_axes}d")(_padding("reflect"))
    converts(f"replication_pad{_axes}d")(_padding("replicate"))
converts("_pad_circular")(_padding("circular"))


def _text(result: Result) -> str:
    assert isinstance(result, str)
    return result
