"""The rules for axes, shapes and slices that operators are given as numbers: what -1, 0 and "to the end" stand for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from neocog.engine.graph import GraphError

Numbers = Any  # a sequence of integers, or an array of them


def normalise_axes(axes: Sequence[int] | None, ndim: int) -> tuple[int, ...]:
    """Axes counted from the begin, in the order given; None stands for all.

    Raises:
        GraphError: An axis that an array of `ndim` axes does not have, or one that is named twice.
    """
    if axes is None:
        return tuple(range(ndim))
    found: list[int] = []
    for axis in axes:
        place = axis + ndim if axis < 0 else axis
        if not 0 <= place < ndim:
            raise GraphError(f"axis {axis} is not one of {ndim} axes; it must be {-ndim} to {ndim - 1}.")
        if place in found:
            raise GraphError(f"axes {list(axes)} name axis {place} twice.")
        found.append(int(place))
    return tuple(found)


def resolve_shape(shape: Sequence[int], new_shape: Numbers, keep_zero: bool = False) -> tuple[int, ...]:
    """The shape that a reshape makes.

    Args:
        shape: The array's.
        new_shape: Integers; one may be -1, which is whatever is left, and 0 copies the size of that axis.
        keep_zero: 0 is a size of 0 instead.

    Raises:
        GraphError: More than one -1, a 0 where `shape` has no axis, or another number of elements.
    """
    sizes = list(map(int, new_shape))
    open_axis = None
    for axis, size in enumerate(sizes):
        if size == 0 and not keep_zero:
            if axis >= len(shape):
                raise GraphError(
                    f"shape {sizes} copies the size of axis {axis} by its 0, but {tuple(shape)} has {len(shape)} axes."
                )
            sizes[axis] = shape[axis]
        elif size == -1:
            if open_axis is not None:
                raise GraphError(f"shape {sizes} has more than one -1.")
            open_axis = axis
        elif size < -1:
            raise GraphError(f"shape {sizes} has the size {size}; sizes must be at least 0, or -1 once.")
    elements = math.prod(shape)
    if open_axis is not None:
        others = math.prod(size for axis, size in enumerate(sizes) if axis != open_axis)
        if others == 0:
            raise GraphError(f"shape {sizes} has a size of 0, so its -1 could be any size; give that size.")
        if elements % others:
            raise GraphError(f"{elements} elements of shape {tuple(shape)} do not divide into {sizes}.")
        sizes[open_axis] = elements // others
    if math.prod(sizes) != elements:
        raise GraphError(
            f"{elements} elements of shape {tuple(shape)} do not fit into {sizes}, which has {math.prod(sizes)}."
        )
    return tuple(sizes)


def resolve_slices(
    shape: Sequence[int], starts: Numbers, ends: Numbers, axes: Numbers = None, steps: Numbers = None
) -> list[tuple[int, int, int]]:
    """(start, stop, step) of every axis, as Python's `slice.indices` has them: `range` of the three lists the indices.

    Args:
        shape: The array's.
        starts, ends: One per axis of `axes`; negative ones count from the end, those beyond the array are clipped.
        axes: The first ones if None. Axes that are not named are taken whole.
        steps: 1 if None; negative ones go backwards, and then the stop may be -1, before the first element.

    Raises:
        GraphError: Lists of different lengths, a step of 0, or axes as in `normalise_axes`.
    """
    starts, ends = list(map(int, starts)), list(map(int, ends))
    named = normalise_axes(range(len(starts)) if axes is None else list(map(int, axes)), len(shape))
    strides = [1] * len(starts) if steps is None else list(map(int, steps))
    if not len(starts) == len(ends) == len(named) == len(strides):
        raise GraphError(
            f"{len(starts)} starts, {len(ends)} ends, {len(named)} axes and {len(strides)} steps; "
            "a slice must have as many of each."
        )
    slices = [(0, size, 1) for size in shape]
    for start, end, axis, step in zip(starts, ends, named, strides, strict=True):
        if step == 0:
            raise GraphError(f"the step of axis {axis} is 0; it must not be.")
        slices[axis] = slice(start, end, step).indices(shape[axis])
    return slices
