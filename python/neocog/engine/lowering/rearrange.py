"""Operators that say the same elements in another order. Most are views and cost nothing; the others are copies into
parts of their result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np

from neocog.engine.builder import Builder, Shape, View
from neocog.engine.graph import Array, Node
from neocog.engine.lowering import lowers
from neocog.engine.lowering.numbers import unless_known
from neocog.engine.lowering.views import (
    broadcast,
    checked,
    common_shape,
    copy,
    lies,
    memory_order,
    narrowed,
    parts,
    permuted,
    place,
    reshape,
    runs,
    split,
)
from neocog.engine.sizes import normalise_axes, resolve_shape, resolve_slices

# Copies that a step of its own each is cheaper than a table of indices.
_MOST_RUNS = 16
# Boxes that a condition may be cut into; a mask with more is no pattern.
_MOST_BOXES = 4096


def _inputs(node: Node) -> list[str]:
    return list(node.used())


# Views


@lowers("identity")
@unless_known
def _identity(node: Node, build: Builder) -> None:
    build.bind(node.outputs[0], build.view(_inputs(node)[0]))


@lowers("transpose")
@unless_known
def _transpose(node: Node, build: Builder) -> None:
    x, permutation = build.view(_inputs(node)[0]), node["permutation"]
    axes = checked(build, normalise_axes, permutation, len(x.shape))
    if len(axes) != len(x.shape):
        raise build.error(f"`permutation` is {list(permutation)}, but the shape {x.shape} has {len(x.shape)} axes.")
    build.bind(node.outputs[0], permuted(x, axes))


@lowers("reshape")
@unless_known
def _reshape(node: Node, build: Builder) -> None:
    x, shape = _inputs(node)
    view = build.view(x)
    new = checked(build, resolve_shape, view.shape, build.integers(shape), node["keep_zero"])
    reshape(build, node.outputs[0], view, new)


@lowers("flatten")
@unless_known
def _flatten(node: Node, build: Builder) -> None:
    x = build.view(_inputs(node)[0])
    if not x.shape:
        return reshape(build, node.outputs[0], x, (1,))
    (start,) = checked(build, normalise_axes, [node["start"]], len(x.shape))
    (end,) = checked(build, normalise_axes, [node["end"]], len(x.shape))
    if start > end:
        raise build.error(f"`start` is axis {start} and `end` axis {end}; it must not be before `start`.")
    count = int(np.prod(x.shape[start : end + 1], dtype=np.int64))
    reshape(build, node.outputs[0], x, (*x.shape[:start], count, *x.shape[end + 1 :]))


@lowers("squeeze")
@unless_known
def _squeeze(node: Node, build: Builder) -> None:
    x = build.view(_inputs(node)[0])
    if node["axes"] is None:
        dropped = tuple(axis for axis, size in enumerate(x.shape) if size == 1)
    else:
        dropped = checked(build, normalise_axes, node["axes"], len(x.shape))
    for axis in dropped:
        if x.shape[axis] != 1:
            raise build.error(
                f"`axes` has axis {axis}, which has {x.shape[axis]} elements in shape {x.shape}; "
                "only an axis of 1 can be squeezed."
            )
    build.bind(node.outputs[0], permuted(x, [axis for axis in range(len(x.shape)) if axis not in dropped]))


@lowers("unsqueeze")
@unless_known
def _unsqueeze(node: Node, build: Builder) -> None:
    x = build.view(_inputs(node)[0])
    ndim = len(x.shape) + len(node["axes"])
    added = checked(build, normalise_axes, node["axes"], ndim)
    own = iter(zip(x.shape, x.strides, strict=True))
    axes = [(1, 1) if axis in added else next(own) for axis in range(ndim)]
    shape, strides = tuple(size for size, _ in axes), tuple(stride for _, stride in axes)
    build.bind(node.outputs[0], replace(x, shape=shape, strides=strides))


@lowers("slice")
@unless_known
def _slice(node: Node, build: Builder) -> None:
    view = build.view(_inputs(node)[0])
    bounds = [None if name is None else build.integers(name) for name in node.inputs[1:]]
    for axis, (start, stop, step) in enumerate(checked(build, resolve_slices, view.shape, *bounds)):
        view = narrowed(view, axis, start, len(range(start, stop, step)), step)
    build.bind(node.outputs[0], view)


@lowers("expand")
@unless_known
def _expand(node: Node, build: Builder) -> None:
    x, shape = _inputs(node)
    view, wanted = build.view(x), tuple(build.integers(shape))
    build.bind(node.outputs[0], broadcast(view, common_shape(build, view.shape, wanted)))


# Copies


@lowers("concat")
@unless_known
def _concat(node: Node, build: Builder) -> None:
    names = _inputs(node)
    views = [build.view(name) for name in names]
    first = views[0].shape
    (axis,) = checked(build, normalise_axes, [node["axis"]], len(first))
    for name, view in zip(names, views, strict=True):
        if len(view.shape) != len(first) or _without(view.shape, axis) != _without(first, axis):
            raise build.error(
                f"{name!r} has the shape {view.shape} and {names[0]!r} {first}; "
                f"all sizes but those of axis {axis} must agree."
            )
    if len(views) == 1:
        return build.bind(node.outputs[0], views[0])
    sizes = [view.shape[axis] for view in views]
    order = _common_order([view for name, view in zip(names, views, strict=True) if not build.is_known(name)])
    y = place(build, node.outputs[0], (*first[:axis], sum(sizes), *first[axis + 1 :]), order)
    for view, part in zip(views, parts(y, sizes, axis), strict=True):
        copy(build, view, part)


def _without(shape: Shape, axis: int) -> Shape:
    return (*shape[:axis], *shape[axis + 1 :])


def _common_order(views: list[View]) -> tuple[int, ...] | None:
    """The order in which most elements lie; None where all of it is as good."""
    elements: Counter[tuple[int, ...]] = Counter()
    for view in views:
        order = memory_order(view)
        if order == tuple(range(len(view.shape))) or not lies(view, range(len(view.shape))):
            elements[order] += view.size
    return max(elements, key=lambda order: elements[order]) if elements else None


@lowers("tile")
@unless_known
def _tile(node: Node, build: Builder) -> None:
    x, repeats = _inputs(node)
    view, times = build.view(x), build.integers(repeats)
    if any(count < 0 for count in times):
        raise build.error(f"the repeats are {times}; they must be at least 0.")
    ndim = max(len(times), len(view.shape))
    view = broadcast(view, (*[1] * (ndim - len(view.shape)), *view.shape))
    times = [1] * (ndim - len(times)) + times
    shape = tuple(size * count for size, count in zip(view.shape, times, strict=True))
    if all(size == 1 or count == 1 for size, count in zip(view.shape, times, strict=True)):
        return build.bind(node.outputs[0], broadcast(view, shape))
    # (count, size) for each axis: one copy, whose source stands still along the counts.
    y = place(build, node.outputs[0], shape, memory_order(view))
    for axis in reversed(range(ndim)):
        y = split(y, axis, (times[axis], view.shape[axis]))
        view = split(view, axis, (1, view.shape[axis]))
    copy(build, broadcast(view, y.shape), y)


@lowers("gather")
@unless_known
def _gather(node: Node, build: Builder) -> None:
    x, name = _inputs(node)
    view, indices = build.view(x), build.known(name)
    (axis,) = checked(build, normalise_axes, [node["axis"]], len(view.shape))
    size = view.shape[axis]
    if indices.dtype.kind not in "iu":
        raise build.error(f"the indices {name!r} are {indices.dtype}; they must be integers.")
    outside = indices[(indices < -size) | (indices >= size)]
    if outside.size:
        raise build.error(
            f"index {outside.flat[0]} is out of range for axis {axis} of shape {view.shape}; "
            f"indices go from {-size} to {size - 1}."
        )
    flat = [int(index) % size for index in indices.ravel().tolist()]
    found = list(runs(flat))
    if len(found) == 1:
        (run,) = found
        chosen = narrowed(view, axis, run.start, run.count, run.step)
        return build.bind(node.outputs[0], split(chosen, axis, indices.shape))
    shape, order = (*view.shape[:axis], len(flat), *view.shape[axis + 1 :]), memory_order(view)
    as_table = len(found) > _MOST_RUNS
    if indices.ndim == 1 and not as_table:
        y = place(build, node.outputs[0], shape, order)
    elif indices.ndim == 1:
        y = build.result(node.outputs[0], shape, order)
    else:
        y = build.temporary(shape, order)
        build.bind(node.outputs[0], split(y, axis, indices.shape))
    if y.size and as_table:
        source = build.ordered_view(view, order)
        build.step("interpolate", source, y, axis, 1, flat, [1.0] * len(flat), reads=(source,), writes=(y,))
        return
    for run in found:
        source = narrowed(view, axis, run.start, run.count, run.step)
        copy(build, source, narrowed(y, axis, run.place, run.count))


@lowers("where")
@unless_known
def _where(node: Node, build: Builder) -> None:
    names = _inputs(node)
    mask = build.known(names[0]).astype(bool)
    shape = common_shape(build, mask.shape, *(build.shape(name) for name in names[1:]))
    chosen = [broadcast(build.view(name), shape) for name in names[1:]]
    mask = mask.reshape([1] * (len(shape) - mask.ndim) + list(mask.shape))
    if mask.all() or not mask.any():
        return build.bind(node.outputs[0], chosen[0] if mask.all() else chosen[1])
    data = [view for name, view in zip(names[1:], chosen, strict=True) if not build.is_known(name)]
    boxes = []
    for box in _boxes(mask):
        boxes.append(box)
        if len(boxes) > _MOST_BOXES:
            raise build.error(
                f"the condition {names[0]!r} changes its value more than {_MOST_BOXES} times; "
                "multiply by the mask, or add to it, instead."
            )
    y = place(build, node.outputs[0], shape, _common_order(data))
    for ranges, truth in boxes:
        source, target = chosen[0] if truth else chosen[1], y
        for axis, (start, count) in enumerate(ranges):
            if mask.shape[axis] != 1:
                source, target = narrowed(source, axis, start, count), narrowed(target, axis, start, count)
        copy(build, source, target)


def _boxes(mask: Array) -> Iterator[tuple[list[tuple[int, int]], bool]]:
    """Boxes (start and count for every axis) that cover the mask, each all true or all false."""
    if mask.all() or not mask.any():
        yield [(0, size) for size in mask.shape], bool(mask.all())
        return
    rows = ((axis, np.moveaxis(mask, axis, 0)) for axis in range(mask.ndim))
    changes = ((axis, np.flatnonzero([(a != b).any() for a, b in pairwise(r)]) + 1) for axis, r in rows)
    axis, cuts = next((axis, found) for axis, found in changes if found.size)
    for start, end in zip([0, *cuts.tolist()], [*cuts.tolist(), mask.shape[axis]], strict=True):
        for ranges, truth in _boxes(mask.take([start], axis)):
            ranges[axis] = (start, end - start)
            yield ranges, truth


@lowers("pixel_shuffle", "depth_to_space")
def _shuffle(node: Node, build: Builder) -> None:
    x, r = build.view(_inputs(node)[0]), node["factor"]
    _check_rank(build, x)
    *lead, c, h, w = x.shape
    if c % r**2:
        raise build.error(f"`factor` is {r}, but {c} channels of shape {x.shape} are not a multiple of {r**2}.")
    y = place(build, node.outputs[0], (*lead, c // r**2, h * r, w * r), memory_order(x))
    _copy_blocks(build, node, x, y, to_space=True)


@lowers("pixel_unshuffle", "space_to_depth")
def _unshuffle(node: Node, build: Builder) -> None:
    x, r = build.view(_inputs(node)[0]), node["factor"]
    _check_rank(build, x)
    *lead, c, h, w = x.shape
    if h % r or w % r:
        raise build.error(f"`factor` is {r}, but {h} x {w} pixels of shape {x.shape} are not multiples of it.")
    y = place(build, node.outputs[0], (*lead, c * r**2, h // r, w // r), memory_order(x))
    _copy_blocks(build, node, y, x, to_space=False)


def _check_rank(build: Builder, x: View) -> None:
    if len(x.shape) < 3:
        raise build.error(f"shape {x.shape} has {len(x.shape)} axes; it must have three or more, (..., C, H, W).")


def _copy_blocks(build: Builder, node: Node, deep: View, wide: View, *, to_space: bool) -> None:
    """One copy between the channels of `deep` and the pixels of `wide`, both as (..., c, i, j, h, w)."""
    r, lead = node["factor"], len(deep.shape) - 3
    c, h, w = wide.shape[lead], *deep.shape[lead + 1 :]
    pixels = split(split(wide, lead + 2, (w, r)), lead + 1, (h, r))  # (..., c, h, i, w, j)
    pixels = permuted(pixels, [*range(lead), *(lead + axis for axis in (0, 2, 4, 1, 3))])
    if node.op in ("pixel_shuffle", "pixel_unshuffle"):
        channels = split(deep, lead, (c, r, r))
    else:
        channels = permuted(split(deep, lead, (r, r, c)), [*range(lead), *(lead + axis for axis in (2, 0, 1, 3, 4))])
    copy(build, channels if to_space else pixels, pixels if to_space else channels)
