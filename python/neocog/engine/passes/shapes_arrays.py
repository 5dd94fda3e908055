"""The shapes that everything but windows gives: broadcasting, reductions, rearrangements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from neocog.engine.graph import Node
from neocog.engine.operators import BINARY, REDUCTIONS, UNARY
from neocog.engine.passes import dimensions as dim
from neocog.engine.passes.dimensions import Dim

if TYPE_CHECKING:
    from neocog.engine.passes.shapes import Rule, Shape, Shapes

_END = 2**31 - 1  # exporters write this, or more, for "to the end"


def _same(node: Node, shapes: Shapes) -> Shape | None:
    return shapes.shape(node.inputs[0])


def _broadcast(node: Node, shapes: Shapes) -> Shape | None:
    known = [shapes.shape(name) for name in node.inputs]
    return broadcast_shapes(node, shapes, known)


def broadcast_shapes(node: Node, shapes: Shapes, known: Sequence[Shape | None]) -> Shape | None:
    """NumPy's broadcasting, with unknowns of the node's result where two sizes cannot be compared."""
    if any(shape is None for shape in known):
        return None
    rank = max(len(shape) for shape in known if shape is not None)
    result: list[Dim] = [1] * rank
    for shape in known:
        if shape is None:
            return None
        for axis, size in enumerate(shape, rank - len(shape)):
            both = dim.broadcast(result[axis], size)
            result[axis] = shapes.unknown_size(node, axis) if both is None else both
    return tuple(result)


def _linear(node: Node, shapes: Shapes) -> Shape | None:
    x, weight = shapes.shape(node.inputs[0]), shapes.shape(node.inputs[1])
    return None if x is None or weight is None else (*x[:-1], weight[0])


def _matmul(node: Node, shapes: Shapes) -> Shape | None:
    a, b = shapes.shape(node.inputs[0]), shapes.shape(node.inputs[1])
    if a is None or b is None or not a or not b:
        return None
    if len(a) == 1 or len(b) == 1:
        return a[:-1] if len(b) == 1 else (*b[:-2], b[-1])
    batch = broadcast_shapes(node, shapes, [a[:-2], b[:-2]])
    return None if batch is None else (*batch, a[-2], b[-1])


def axes_of(axes: Sequence[int] | None, rank: int) -> list[int]:
    """Axes counted from the front, in order; all of them for None."""
    return sorted(axis % rank for axis in axes) if axes is not None and rank else list(range(rank))


def _reduction(node: Node, shapes: Shapes) -> Shape | None:
    x = shapes.shape(node.inputs[0])
    if x is None:
        return None
    over = axes_of(node["axes"], len(x))
    if node["keepdims"]:
        return tuple(1 if axis in over else size for axis, size in enumerate(x))
    return tuple(size for axis, size in enumerate(x) if axis not in over)


def _pad(node: Node, shapes: Shapes) -> Shape | None:
    x, pads = shapes.shape(node.inputs[0]), shapes.numbers(node.inputs[1])
    if x is None or pads is None or len(pads) != 2 * len(x):
        return None if x is None else shapes.unknown(node, len(x))
    return tuple(dim.add(size, begin, end) for size, begin, end in zip(x, pads, pads[len(x) :], strict=False))


def _concat(node: Node, shapes: Shapes) -> Shape | None:
    known = [shapes.shape(name) for name in node.inputs]
    parts = [shape for shape in known if shape]
    if len(parts) < len(known):
        return None
    axis = node["axis"] % len(parts[0])
    if any(len(part) != len(parts[0]) for part in parts):
        return None
    # Sizes across the axis are the same, or it is an error: a number says more than an expression.
    sizes = [next((s for s in across if isinstance(s, int)), across[0]) for across in zip(*parts, strict=True)]
    sizes[axis] = dim.add(*(part[axis] for part in parts))
    return tuple(sizes)


def _slice(node: Node, shapes: Shapes) -> Shape | None:
    x = shapes.shape(node.inputs[0])
    if x is None:
        return None
    starts, ends = shapes.numbers(node.inputs[1]), shapes.numbers(node.inputs[2])
    axes, steps = (shapes.numbers(name) for name in (*node.inputs[3:], None, None)[:2])
    optional = (*node.inputs[3:], None, None)[:2]
    unknown = shapes.unknown(node, len(x))
    if starts is None or ends is None or any(n and v is None for n, v in zip(optional, (axes, steps), strict=True)):
        return unknown
    axes = tuple(range(len(starts))) if axes is None else axes
    steps = (1,) * len(starts) if steps is None else steps
    sizes = list(x)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        if not isinstance(axis, int):
            return unknown
        sizes[axis] = _sliced(sizes[axis], start, end, step, unknown[axis])
    return tuple(sizes)


def _sliced(size: Dim, start: Dim, end: Dim, step: Dim, unknown: Dim) -> Dim:
    if not (isinstance(start, int) and isinstance(end, int) and isinstance(step, int)):
        return unknown
    if isinstance(size, int):
        return len(range(*slice(start, end, step).indices(size)))
    # At least one element is there, so that 0 or 1 at either end can be cut off; of more we cannot be sure.
    if step > 0 and start in (0, 1) and end >= _END:
        return dim.ceil_divide(dim.add(size, -start), step)
    if step > 0 and start == 0 and end == -1:
        return dim.ceil_divide(dim.add(size, -1), step)
    return dim.formula("sliced", size, start, end, step)


def _transpose(node: Node, shapes: Shapes) -> Shape | None:
    x = shapes.shape(node.inputs[0])
    return None if x is None or len(x) != len(node["permutation"]) else tuple(x[axis] for axis in node["permutation"])


def _reshape(node: Node, shapes: Shapes) -> Shape | None:
    x, target = shapes.shape(node.inputs[0]), shapes.numbers(node.inputs[1])
    if target is None:
        wanted = shapes.shape(node.inputs[1])
        known = wanted is not None and len(wanted) == 1 and isinstance(wanted[0], int)
        return shapes.unknown(node, wanted[0]) if known and wanted and isinstance(wanted[0], int) else None
    sizes = list(target)
    if not node["keep_zero"]:
        for axis, size in enumerate(sizes):
            if size == 0:
                sizes[axis] = shapes.unknown_size(node, axis) if x is None or axis >= len(x) else x[axis]
    if -1 in sizes:
        hole = sizes.index(-1)
        rest = None if x is None else dim.quotient(x, sizes[:hole] + sizes[hole + 1 :])
        sizes[hole] = shapes.unknown_size(node, hole) if rest is None else rest
    return tuple(sizes)


def _flatten(node: Node, shapes: Shapes) -> Shape | None:
    x = shapes.shape(node.inputs[0])
    if not x:
        return None if x is None else (1,)
    start, end = node["start"] % len(x), node["end"] % len(x)
    return (*x[:start], dim.product(x[start : end + 1]), *x[end + 1 :])


def _squeeze(node: Node, shapes: Shapes) -> Shape | None:
    x = shapes.shape(node.inputs[0])
    if x is None:
        return None
    if node["axes"] is None:  # an open size may be 1
        return tuple(size for size in x if size != 1) if all(isinstance(size, int) for size in x) else None
    gone = axes_of(node["axes"], len(x))
    return tuple(size for axis, size in enumerate(x) if axis not in gone)


def _unsqueeze(node: Node, shapes: Shapes) -> Shape | None:
    x = shapes.shape(node.inputs[0])
    if x is None:
        return None
    rank = len(x) + len(node["axes"])
    new, old = axes_of(node["axes"], rank), iter(x)
    return tuple(1 if axis in new else next(old) for axis in range(rank))


def _expand(node: Node, shapes: Shapes) -> Shape | None:
    return broadcast_shapes(node, shapes, [shapes.shape(node.inputs[0]), shapes.numbers(node.inputs[1])])


def _tile(node: Node, shapes: Shapes) -> Shape | None:
    x, repeats = shapes.shape(node.inputs[0]), shapes.numbers(node.inputs[1])
    if x is None or repeats is None or len(repeats) != len(x):
        return None if x is None else shapes.unknown(node, len(x))
    return tuple(map(dim.multiply, x, repeats))


def _to_space(node: Node, shapes: Shapes) -> Shape | None:
    x, factor = shapes.shape(node.inputs[0]), node["factor"]
    if x is None or len(x) != 4:
        return None
    channels = dim.quotient(x[1:2], (factor * factor,))
    return (
        x[0],
        shapes.unknown_size(node, 1) if channels is None else channels,
        *(dim.multiply(size, factor) for size in x[2:]),
    )


def _to_depth(node: Node, shapes: Shapes) -> Shape | None:
    x, factor = shapes.shape(node.inputs[0]), node["factor"]
    if x is None or len(x) != 4:
        return None
    return (x[0], dim.multiply(x[1], factor * factor), *(dim.floor_divide(size, factor) for size in x[2:]))


def _gather(node: Node, shapes: Shapes) -> Shape | None:
    x, indices = shapes.shape(node.inputs[0]), shapes.shape(node.inputs[1])
    if not x or indices is None:
        return None
    axis = node["axis"] % len(x)
    return (*x[:axis], *indices, *x[axis + 1 :])


def _shape(node: Node, shapes: Shapes) -> Shape | None:
    x = shapes.shape(node.inputs[0])
    return None if x is None else (len(x[node["start"] : node["end"]]),)


RULES: dict[str, Rule] = {
    **dict.fromkeys(UNARY, _same),
    **dict.fromkeys(("batch_norm", "group_norm", "instance_norm", "layer_norm", "lrn"), _same),
    **dict.fromkeys(("softmax", "log_softmax", "prelu", "identity", "cast", "logical_not"), _same),
    **dict.fromkeys((*BINARY, "equal", "less", "greater", "logical_and", "logical_or", "where"), _broadcast),
    "linear": _linear,
    "matmul": _matmul,
    **dict.fromkeys(REDUCTIONS, _reduction),
    "pad": _pad,
    "concat": _concat,
    "slice": _slice,
    "transpose": _transpose,
    "reshape": _reshape,
    "flatten": _flatten,
    "squeeze": _squeeze,
    "unsqueeze": _unsqueeze,
    "expand": _expand,
    "tile": _tile,
    **dict.fromkeys(("pixel_shuffle", "depth_to_space"), _to_space),
    **dict.fromkeys(("pixel_unshuffle", "space_to_depth"), _to_depth),
    "gather": _gather,
    "shape": _shape,
    "size": lambda node, shapes: (),
    "range": lambda node, shapes: shapes.unknown(node, 1),
    "full": lambda node, shapes: shapes.numbers(node.inputs[0]),
    "nonzero": lambda node, shapes: shapes.unknown(node, 2),
}
