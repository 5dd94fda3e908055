"""Evaluation of single operators with NumPy: the numbers of a plan, such as shapes, and constants that can be folded.

Operators on images (convolutions, pools, normalisations, resize) are the plan's alone.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from neocog.engine.arithmetic import FUNCTIONS, common_dtype, evaluates
from neocog.engine.graph import Array, GraphError, Node
from neocog.engine.sizes import normalise_axes, resolve_shape, resolve_slices

__all__ = ["can_evaluate", "evaluate", "normalise_axes", "resolve_shape", "resolve_slices"]


def can_evaluate(op: str) -> bool:
    """Whether `evaluate` knows this operator."""
    return op in FUNCTIONS


def evaluate(node: Node, values: list[Array | None]) -> list[Array]:
    """The results of one operator.

    Args:
        node: One that `can_evaluate` knows and `Graph.validate` passes.
        values: The values of its inputs, None for one that is absent. They are not written to, and results may be views
            of them.

    Returns:
        One array per output, of the dtype that its operands have: of the floats' if integers meet floats.

    Raises:
        GraphError: The operator cannot be evaluated, or not on values of these shapes and dtypes; names the node.
    """
    function = FUNCTIONS.get(node.op)
    if function is None:
        raise GraphError(f"{_label(node)} cannot be evaluated while planning; it is an operator on images.")
    try:
        with np.errstate(all="ignore"):  # infinities and NaN are results like any other
            return [function(node, *values)]
    except (ValueError, IndexError, TypeError, OverflowError, MemoryError) as error:
        sizes = ", ".join("none" if v is None else f"{v.dtype}{list(v.shape)}" for v in values)
        raise GraphError(f"{_label(node)}: {str(error).rstrip('.')}. Its inputs are {sizes}.") from error


def _label(node: Node) -> str:
    return f"{node.op} ({node.name or ', '.join(node.made()) or 'unnamed'})"


def _integers(numbers: Array, what: str) -> list[int]:
    if numbers.ndim != 1 or (numbers.size and numbers.dtype.kind not in "iu"):
        raise GraphError(f"{what} must be integers in one axis, not {numbers.dtype}{list(numbers.shape)}.")
    found: list[int] = numbers.tolist()
    return found


def _to_slice(start: int, stop: int, step: int) -> slice:
    if not len(range(start, stop, step)):
        return slice(0, 0)
    return slice(start, stop if stop >= 0 else None, step)  # -1 is before the first element, not the last one


@evaluates("identity")
def _identity(node: Node, x: Array) -> Array:
    return x


@evaluates("shape")
def _shape(node: Node, x: Array) -> Array:
    return np.array(x.shape[node["start"] : node["end"]], np.int64)


@evaluates("size")
def _size(node: Node, x: Array) -> Array:
    return np.array(x.size, np.int64)


@evaluates("cast")
def _cast(node: Node, x: Array) -> Array:
    return x.astype(node["dtype"])


@evaluates("full")
def _full(node: Node, shape: Array) -> Array:
    return np.full(_integers(shape, "the shape"), node["value"], node["dtype"])


@evaluates("range")
def _range(node: Node, start: Array, limit: Array, delta: Array) -> Array:
    first, end, step = start.item(), limit.item(), delta.item()
    if step == 0:
        raise GraphError("the step of a range is 0; it must not be.")
    return np.arange(first, end, step).astype(common_dtype(start, limit, delta))


_COMPARISONS: dict[str, Any] = {
    "equal": np.equal,
    "less": np.less,
    "greater": np.greater,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_not": np.logical_not,
}


@evaluates(*_COMPARISONS)
def _compare(node: Node, *values: Array) -> Array:
    return np.asarray(_COMPARISONS[node.op](*values))


@evaluates("where")
def _where(node: Node, condition: Array, x: Array, y: Array) -> Array:
    return np.asarray(np.where(condition, x, y), common_dtype(x, y))


@evaluates("nonzero")
def _nonzero(node: Node, x: Array) -> Array:
    """(axes, count), as ONNX and NumPy list them; a scalar has one axis."""
    return np.array(np.nonzero(x if x.ndim else x.reshape(1)), np.int64)


@evaluates("gather")
def _gather(node: Node, x: Array, indices: Array) -> Array:
    (axis,) = normalise_axes([node["axis"]], x.ndim)
    return np.asarray(x.take(indices, axis))


@evaluates("concat")
def _concat(node: Node, *values: Array) -> Array:
    dtype = common_dtype(*values)
    return np.concatenate([value.astype(dtype, copy=False) for value in values], node["axis"])


@evaluates("slice")
def _slice(
    node: Node, x: Array, starts: Array, ends: Array, axes: Array | None = None, steps: Array | None = None
) -> Array:
    named = {"starts": starts, "ends": ends, "axes": axes, "steps": steps}
    numbers = (None if part is None else _integers(part, what) for what, part in named.items())
    y: Array = x[tuple(_to_slice(*part) for part in resolve_slices(x.shape, *numbers))]
    return y


@evaluates("transpose")
def _transpose(node: Node, x: Array) -> Array:
    y: Array = x.transpose(node["permutation"])
    return y


@evaluates("reshape")
def _reshape(node: Node, x: Array, shape: Array) -> Array:
    return x.reshape(resolve_shape(x.shape, _integers(shape, "the shape"), node["keep_zero"]))


@evaluates("flatten")
def _flatten(node: Node, x: Array) -> Array:
    if x.ndim == 0:
        return x.reshape(1)
    (start,), (end,) = normalise_axes([node["start"]], x.ndim), normalise_axes([node["end"]], x.ndim)
    if start > end:
        raise GraphError(f"`start` is axis {start} and `end` axis {end}; it must not be before `start`.")
    return x.reshape(*x.shape[:start], math.prod(x.shape[start : end + 1]), *x.shape[end + 1 :])


@evaluates("squeeze")
def _squeeze(node: Node, x: Array) -> Array:
    if node["axes"] is None:
        return x.reshape([size for size in x.shape if size != 1])
    dropped = normalise_axes(node["axes"], x.ndim)
    for axis in dropped:
        if x.shape[axis] != 1:
            raise GraphError(f"axis {axis} has {x.shape[axis]} elements; only an axis of 1 can be squeezed.")
    return x.reshape([size for axis, size in enumerate(x.shape) if axis not in dropped])


@evaluates("unsqueeze")
def _unsqueeze(node: Node, x: Array) -> Array:
    ndim = x.ndim + len(node["axes"])
    added, sizes = normalise_axes(node["axes"], ndim), iter(x.shape)
    return x.reshape([1 if axis in added else next(sizes) for axis in range(ndim)])


@evaluates("expand")
def _expand(node: Node, x: Array, shape: Array) -> Array:
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(_integers(shape, "the shape"))))


@evaluates("tile")
def _tile(node: Node, x: Array, repeats: Array) -> Array:
    return np.tile(x, _integers(repeats, "repeats"))


def _checked_pads(node: Node, x: Array, pads: Array) -> tuple[list[int], list[int]]:
    numbers = _integers(pads, "pads")
    if len(numbers) != 2 * x.ndim:
        raise GraphError(f"pads {numbers} must be a begin for each of {x.ndim} axes, then an end for each.")
    begins, ends = numbers[: x.ndim], numbers[x.ndim :]
    for axis, (begin, end, size) in enumerate(zip(begins, ends, x.shape, strict=True)):
        if size + begin + end < 0:
            raise GraphError(f"pads {begin} and {end} take more from axis {axis} than its {size} elements.")
        if node["mode"] == "reflect" and max(begin, end, 0) >= max(size, 1):
            raise GraphError(f"pads {begin} and {end} reflect more than the {size} elements of axis {axis} but one.")
    return begins, ends


@evaluates("pad")
def _pad(node: Node, x: Array, pads: Array) -> Array:
    begins, ends = _checked_pads(node, x, pads)
    axes = list(zip(begins, ends, x.shape, strict=True))
    kept = tuple(slice(max(-begin, 0), max(size + min(end, 0), 0)) for begin, end, size in axes)
    added = [(max(begin, 0), max(end, 0)) for begin, end, _ in axes]
    if node["mode"] == "constant":
        y = np.full([size + begin + end for begin, end, size in axes], node["value"], x.dtype)
        inner = x[kept]
        if inner.size:
            y[tuple(slice(lo, lo + size) for (lo, _), size in zip(added, inner.shape, strict=True))] = inner
        return y
    if node["mode"] == "circular":  # goes round what negative pads leave
        return np.pad(x[kept], added, "wrap")
    y = np.pad(x, added, "reflect" if node["mode"] == "reflect" else "edge")
    return y[
        tuple(slice(max(-begin, 0), size + min(end, 0)) for (begin, end, _), size in zip(axes, y.shape, strict=True))
    ]


@evaluates("pixel_shuffle", "depth_to_space")
def _to_space(node: Node, x: Array) -> Array:
    *lead, c, h, w = x.shape
    r: int = node["factor"]
    if c % (r * r):
        raise GraphError(f"{c} channels do not divide into blocks of {r} x {r}.")
    if node.op == "pixel_shuffle":  # channels (c, r, r)
        blocks = np.moveaxis(x.reshape(*lead, c // r**2, r, r, h, w), (-4, -3), (-3, -1))
    else:  # channels (r, r, c)
        blocks = np.moveaxis(x.reshape(*lead, r, r, c // r**2, h, w), (-5, -4), (-3, -1))
    return blocks.reshape(*lead, c // r**2, h * r, w * r)


@evaluates("pixel_unshuffle", "space_to_depth")
def _to_channels(node: Node, x: Array) -> Array:
    *lead, c, h, w = x.shape
    r: int = node["factor"]
    if h % r or w % r:
        raise GraphError(f"{h} x {w} pixels do not divide into blocks of {r} x {r}.")
    blocks = x.reshape(*lead, c, h // r, r, w // r, r)
    to = (-4, -3) if node.op == "pixel_unshuffle" else (-5, -4)
    return np.moveaxis(blocks, (-3, -1), to).reshape(*lead, c * r**2, h // r, w // r)
