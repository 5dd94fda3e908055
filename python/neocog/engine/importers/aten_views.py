"""aten's operators that change the shape or the order of axes, and those that change nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from neocog.engine.importers.aten_importer import Importer
from neocog.engine.importers.aten_registry import Result, Size, Unsupported, Value, converts, is_one, same_size

Sizes = Sequence[Size]


@converts("clone", "contiguous", "detach", "alias", "lift_fresh", "lift_fresh_copy")
def identity(importer: Importer, x: Value, *, memory_format: Any = None) -> Result:
    return x.name


@converts("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout")
def dropout(importer: Importer, x: Value, p: float, train: bool) -> Result:
    if train and p:
        raise Unsupported("dropout in training mode; call model.eval()")
    return x.name


@converts("native_dropout")
def native_dropout(importer: Importer, x: Value, p: float, train: bool | None) -> Result:
    dropout(importer, x, p, train is not False)
    return [x.name, None]


@converts("_to_copy")
def to_copy(importer: Importer, x: Value, *, dtype: torch.dtype | None = None, **ignored: Any) -> Result:
    if dtype is None or dtype == x.like.dtype:
        return x.name
    spelled = str(dtype).removeprefix("torch.")
    if spelled not in ("float32", "int32", "int64", "bool"):
        raise Unsupported(f"a conversion to {spelled}; the engine computes in float32")
    return importer.emit("cast", x, dtype=spelled)


@converts("view", "_unsafe_view", "reshape")
def view(importer: Importer, x: Value, size: Sizes) -> Result:
    """In which the shape is a constant where it can be: 0 for an open size that stays, -1 for one that is left."""
    sizes = importer.result_shape()  # `size` can have a -1
    if len(sizes) == x.rank and all(map(same_size, sizes, x.shape)):
        return x.name
    if 0 in [size for size in sizes if isinstance(size, int)]:  # of an empty tensor
        return importer.emit("reshape", x, importer.sizes.vector(sizes), keep_zero=True)
    shape: list[Size] = []
    for axis, wanted in enumerate(sizes):
        stays = not isinstance(wanted, int) and axis < x.rank and same_size(wanted, x.shape[axis])
        shape.append(0 if stays else wanted)
    left = [axis for axis, wanted in enumerate(shape) if not isinstance(wanted, int)]
    if len(left) == 1:
        shape[left[0]] = -1
    return importer.emit("reshape", x, importer.sizes.vector(shape))


@converts("permute")
def permute(importer: Importer, x: Value, dims: Sequence[int]) -> Result:
    order = [x.axis(axis) for axis in dims]
    if order == list(range(x.rank)):
        return x.name
    return importer.emit("transpose", x, permutation=order)


@converts("transpose.int")
def transpose(importer: Importer, x: Value, dim0: int, dim1: int) -> Result:
    order = list(range(x.rank))
    one, other = x.axis(dim0), x.axis(dim1)
    if order:
        order[one], order[other] = order[other], order[one]
    return permute(importer, x, order)


@converts("t")
def t(importer: Importer, x: Value) -> Result:
    return permute(importer, x, list(range(x.rank))[::-1])


@converts("unsqueeze")
def unsqueeze(importer: Importer, x: Value, dim: int) -> Result:
    return importer.emit("unsqueeze", x, axes=[dim % (x.rank + 1)])


@converts("squeeze", "squeeze.dim", "squeeze.dims")
def squeeze(importer: Importer, x: Value, dim: Sequence[int] | int | None = None) -> Result:
    wanted = range(x.rank) if dim is None else [dim] if isinstance(dim, int) else dim
    axes = sorted({x.axis(axis) for axis in wanted if x.rank and _was_one(x.shape[x.axis(axis)])})
    return importer.emit("squeeze", x, axes=axes) if axes else x.name


def _was_one(size: Size) -> bool:
    """Of an open size, whether it was 1 in the example: then torch has made sure that it always is."""
    return (size if isinstance(size, int) else size.node.hint) == 1


@converts("expand")
def expand(importer: Importer, x: Value, size: Sizes, *, implicit: bool = False) -> Result:
    sizes = importer.result_shape()  # `size` can have -1
    first = len(sizes) - x.rank
    shape = [
        1 if axis >= first and same_size(wanted, x.shape[axis - first]) else wanted for axis, wanted in enumerate(sizes)
    ]
    if first == 0 and all(map(is_one, shape)):
        return x.name
    return importer.emit("expand", x, importer.sizes.vector(shape))


@converts("repeat")
def repeat(importer: Importer, x: Value, repeats: Sizes) -> Result:
    name, added = x.name, len(repeats) - x.rank
    if added:
        name = importer.emit("unsqueeze", x, axes=list(range(added)))
    if all(map(is_one, repeats)):
        return name
    return importer.emit("tile", name, importer.sizes.vector(repeats))


@converts("repeat_interleave.self_int")
def repeat_interleave(
    importer: Importer, x: Value, repeats: int, dim: int | None = None, *, output_size: int | None = None
) -> Result:
    if dim is None:
        raise Unsupported("repeat_interleave of all axes at once")
    axis = x.axis(dim)
    apart = importer.emit("unsqueeze", x, axes=[axis + 1])
    spread = importer.emit("expand", apart, importer.sizes.vector([repeats, *[1] * (x.rank - axis - 1)]))
    return importer.emit("flatten", spread, start=axis, end=axis + 1)
