"""Arrays as flat memory: any rank, any dense order of the axes, which the result keeps."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from neocog._arrays import Array, as_array, row_major

Order = tuple[int, ...]


class Dense(NamedTuple):
    """A row-major array, and how the axes of the caller's array lie in memory."""

    array: Array
    shape: tuple[int, ...]  # of the caller's array
    order: Order | None  # its axes in memory order; None: their own order

    def turn(self, other: Array) -> Array:
        """Another array with the caller's axes, row-major in this one's order; copied only if it is not."""
        return row_major(other if self.order is None else other.transpose(self.order))

    def restore(self, result: Array) -> Array:
        """Give a result that is laid out as `array` the axes of the caller's array; no copy."""
        return result if self.order is None else result.transpose(_inverse(self.order))


def memory_order(array: Array) -> Order | None:
    """The axes by descending stride; None if that is their order already."""
    return None if array.flags.c_contiguous else _by_stride(array.strides)


def dense(name: str, value: Any, dtype: np.dtype[Any] | None = None) -> Dense:
    """Take an array as flat memory; one with gaps is copied, keeping the order of its axes."""
    array = as_array(name, value, dtype)
    order = memory_order(array)
    return Dense(row_major(array if order is None else array.transpose(order)), array.shape, order)


def dense_like(name: str, value: Any, other_name: str, other: Dense) -> Array:
    """Take an array of the shape and dtype of another, laid out as that."""
    array = as_array(name, value, other.array.dtype)
    if array.shape != other.shape:
        raise ValueError(f"`{name}` has shape {array.shape}, `{other_name}` {other.shape}; they must be the same.")
    return other.turn(array)


@lru_cache(maxsize=256)
def _by_stride(strides: tuple[int, ...]) -> Order:
    return tuple(sorted(range(len(strides)), key=lambda axis: -abs(strides[axis])))


@lru_cache(maxsize=256)
def _inverse(order: Order) -> Order:
    return tuple(order.index(axis) for axis in range(len(order)))
