"""Parts and other orders of a view, and the copies into new memory that operators are which only move elements."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeVar

import numpy as np

from neocog.engine.builder import Builder, Shape, View, dense_strides, last_order, reshaped_strides
from neocog.engine.graph import GraphError

Result = TypeVar("Result")


def checked(build: Builder, rule: Callable[..., Result], *arguments: object) -> Result:
    """`rule(*arguments)`, one of the rules of `sizes.py`; its error names the node."""
    try:
        return rule(*arguments)
    except GraphError as error:
        raise build.error(str(error)) from None


def common_shape(build: Builder, *shapes: Shape) -> Shape:
    """The shape that these broadcast to."""
    try:
        return tuple(int(size) for size in np.broadcast_shapes(*shapes))
    except ValueError:
        listed = ", ".join(map(str, shapes))
        raise build.error(
            f"shapes {listed} do not broadcast; from the last axis on, sizes must be equal or 1."
        ) from None


# Views of views


def narrowed(view: View, axis: int, start: int, count: int, step: int = 1) -> View:
    """Elements start, start + step, ... of an axis."""
    shape, strides = list(view.shape), list(view.strides)
    offset = view.offset + (start * strides[axis] if count else 0)
    shape[axis], strides[axis] = count, step * strides[axis]
    return replace(view, offset=offset, shape=tuple(shape), strides=tuple(strides))


def permuted(view: View, axes: Sequence[int]) -> View:
    return replace(view, shape=tuple(view.shape[a] for a in axes), strides=tuple(view.strides[a] for a in axes))


def split(view: View, axis: int, sizes: Sequence[int]) -> View:
    """An axis as several, counted row-major."""
    inner = (view.strides[axis] * step for step in dense_strides(sizes))
    shape = (*view.shape[:axis], *sizes, *view.shape[axis + 1 :])
    return replace(view, shape=shape, strides=(*view.strides[:axis], *inner, *view.strides[axis + 1 :]))


def broadcast(view: View, shape: Shape) -> View:
    """The view repeated to a shape that NumPy would broadcast it to."""
    padding = len(shape) - len(view.shape)
    own = zip(view.shape, view.strides, shape[padding:], strict=True)
    strides = (0 if size == 1 and wanted != 1 else stride for size, stride, wanted in own)
    return replace(view, shape=shape, strides=(*[0] * padding, *strides))


def parts(view: View, sizes: Sequence[int], axis: int) -> list[View]:
    """Neighbouring stretches of an axis."""
    starts = (sum(sizes[:place]) for place in range(len(sizes)))
    return [narrowed(view, axis, start, size) for start, size in zip(starts, sizes, strict=True)]


@dataclass(frozen=True)
class Run:
    """Indices start, start + step, ... that an axis of a result shows from its position `place` on."""

    place: int
    start: int
    count: int
    step: int


def runs(indices: Sequence[int]) -> Iterator[Run]:
    """Few runs that list these indices: each goes on as long as its step stays the same."""
    place = 0
    while place < len(indices):
        step = indices[place + 1] - indices[place] if place + 1 < len(indices) else 1
        end = place + 1
        while end < len(indices) and indices[end] - indices[end - 1] == step:
            end += 1
        yield Run(place, indices[place], end - place, step)
        place = end


# Memory


def lies(view: View, order: Sequence[int]) -> bool:
    """Whether no axis takes smaller steps than one that comes after it in this order; repeated axes do not count."""
    steps = [abs(view.strides[axis]) for axis in order if view.shape[axis] > 1 and view.strides[axis] != 0]
    return all(outer >= inner for outer, inner in pairwise(steps))


def memory_order(view: View) -> tuple[int, ...]:
    """The order of the axes in memory, outermost first; channels-last for images where more than one fits."""
    ndim = len(view.shape)
    rows = tuple(range(ndim))
    for order in (last_order(ndim), rows) if ndim in (3, 4) else (rows,):
        if lies(view, order):
            return order
    return tuple(sorted(rows, key=lambda axis: -abs(view.strides[axis])))


def place(build: Builder, name: str | None, shape: Shape, order: Sequence[int] | None) -> View:
    """Bind a result that copies will fill to new memory: in this order, or in the one of results of the call."""
    return build.result(name, shape, None if name in build.row_major else order)


def copy(build: Builder, source: View, target: View) -> None:
    if target.size:
        build.step("copy", source, target, reads=(source,), writes=(target,))


def reshape(build: Builder, name: str | None, view: View, shape: Shape) -> None:
    """Bind a result to the same elements, row-major counted, in another shape; a copy only where no strides say it."""
    strides = reshaped_strides(view.shape, view.strides, shape)
    if strides is not None:
        return build.bind(name, replace(view, shape=shape, strides=strides))
    # The copy is one between two views of the old shape. Of the orders that the result can have, take the one that
    # reads memory in order: a shuffle of channels stays channels-last, and tokens stay rows of features.
    ndim = len(shape)
    orders = [tuple(range(ndim))]
    if ndim in (3, 4) and name not in build.row_major:
        orders.append(last_order(ndim))
    found = [(order, reshaped_strides(shape, dense_strides(shape, order), view.shape)) for order in orders]
    order, strides = min(
        ((order, strides) for order, strides in found if strides is not None),
        key=lambda candidate: _disorder(view, candidate[1]),
    )
    copy(build, view, replace(build.result(name, shape, order), shape=view.shape, strides=strides))


def _disorder(view: View, strides: Sequence[int]) -> tuple[bool, int]:
    """Whether another axis is innermost with these strides, and how many pairs of axes lie the other way round."""
    axes = sorted(
        (axis for axis, size in enumerate(view.shape) if size > 1),
        key=lambda axis: (-abs(view.strides[axis]), axis),
    )
    pairs = [(a, b) for place, a in enumerate(axes) for b in axes[place + 1 :]]
    innermost = min(axes, key=lambda axis: strides[axis], default=None)
    return bool(axes) and innermost != axes[-1], sum(strides[a] < strides[b] for a, b in pairs)
