"""Arithmetic element by element, with broadcasting; reductions and softmax.

Results lie in memory as their largest operand does, so that a chain of them is read and written in order.
"""

from __future__ import annotations

import numpy as np

from neocog._activations import ACTIVATIONS, activation_code
from neocog.engine.builder import Buffer, Builder, Shape, View, dense_strides
from neocog.engine.graph import Node
from neocog.engine.lowering import lowers
from neocog.engine.lowering.numbers import unless_known
from neocog.engine.lowering.views import checked, lies, memory_order, place
from neocog.engine.operators import BINARY, REDUCTIONS, UNARY
from neocog.engine.sizes import normalise_axes

# The attributes that a function of cpp/ops/elementwise/unary.h takes besides x.
_PARAMETERS = {
    "celu": ("alpha",),
    "selu": ("alpha", "gamma"),
    "hardsigmoid": ("alpha", "beta"),
    "threshold": ("threshold", "value"),
    "shrink": ("lambd", "bias"),
}
# Powers that are functions of their own.
_POWERS = {-1.0: "reciprocal", -0.5: "rsqrt", 0.5: "sqrt", 2.0: "square"}


@lowers(*UNARY)
@unless_known
def _unary(node: Node, build: Builder) -> None:
    x = build.view(node.inputs[0] or "")
    y = build.like(node.outputs[0], x)
    if node.op in ACTIVATIONS:
        build.step("activation", x, y, *fused_activation(node.op, node), reads=(x,), writes=(y,))
        return
    parameters = tuple(node[name] for name in _PARAMETERS.get(node.op, ()))
    if node.op == "clip":
        low, high = node["min"], node["max"]
        parameters = (-np.inf if low is None else low, np.inf if high is None else high)
    if node.op == "celu" and not node["alpha"] > 0:
        raise build.error(f"`alpha` is {node['alpha']}; it must be positive.")
    build.step("unary", node.op, x, y, *parameters, reads=(x,), writes=(y,))


def fused_activation(name: str | None, node: Node) -> tuple[int, float]:
    """(code, alpha) of the activation `name`, its number being an attribute of the node."""
    code, default = activation_code(name)
    return code, node["alpha"] if name in ("leaky_relu", "elu") else default


@lowers(*BINARY)
@unless_known
def _binary(node: Node, build: Builder) -> None:
    names = [name or "" for name in node.inputs]
    shape = _common_shape(build, *(build.shape(name) for name in names))
    power = _known_power(node, build, names, shape)
    if power is not None:
        x = build.view(names[0])
        y = build.like(node.outputs[0], x)
        build.step("unary", power, x, y, reads=(x,), writes=(y,))
        return
    y = _result(node, build, names, shape)
    a, b = (operand(build, name, y) for name in names)
    fused = fused_activation(node["activation"], node) if node.op == "add" else ()
    build.step("binary", node.op, a, b, y, *fused, reads=(a, b), writes=(y,), operations=y.size)


@lowers("prelu")
@unless_known
def _prelu(node: Node, build: Builder) -> None:
    x, slope = (build.view(name or "") for name in node.inputs)
    if _common_shape(build, x.shape, slope.shape) != x.shape:
        raise build.error(f"the slope has the shape {slope.shape}; it must broadcast to x, {x.shape}.")
    y = build.like(node.outputs[0], x)
    slope = operand(build, node.inputs[1] or "", y)
    build.step("prelu", x, slope, y, reads=(x, slope), writes=(y,))


def _common_shape(build: Builder, *shapes: Shape) -> Shape:
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise build.error(
            f"the shapes {' and '.join(map(str, shapes))} do not broadcast; "
            "counted from the end, axes must be equal, or one of the two 1."
        ) from None


def _known_power(node: Node, build: Builder, names: list[str], shape: Shape) -> str | None:
    """The function that a power by one known number is, if it is one and x has the shape of the result."""
    if node.op != "pow" or not build.is_known(names[1]) or build.shape(names[0]) != shape:
        return None
    exponent = build.known(names[1])
    return _POWERS.get(float(exponent.item())) if exponent.size == 1 else None


def _result(node: Node, build: Builder, names: list[str], shape: Shape) -> View:
    whole = [name for name in names if build.shape(name) == shape]
    data = [name for name in whole if not build.is_known(name)]
    if not whole:
        return build.result(node.outputs[0], shape)
    return build.like(node.outputs[0], build.view((data or whole)[0]))


def operand(build: Builder, name: str, y: View) -> View:
    """An operand that broadcasts to y. Where it has the shape of y, it is made to lie as y does; a constant always."""
    order = memory_order(y)
    if name in build.views:
        view = build.views[name]
        return view if view.shape != y.shape or lies(view, order) else build.ordered_view(view, order)
    array = build.known(name)
    missing = len(y.shape) - array.ndim
    own = [axis - missing for axis in order if axis >= missing]
    if array.size == 1 or own == sorted(own):
        return build.view(name)
    data = np.ascontiguousarray(build.literal(array).buffer.source.transpose(own))
    return View(Buffer("constant", data.size, data), 0, array.shape, dense_strides(array.shape, own))


@lowers(*REDUCTIONS)
@unless_known
def _reduce(node: Node, build: Builder) -> None:
    x = build.view(node.inputs[0] or "")
    axes: tuple[int, ...] = checked(build, normalise_axes, node["axes"], len(x.shape))
    if node.op in ("max", "min") and any(x.shape[axis] == 0 for axis in axes):
        raise build.error(f"axes {axes} of shape {x.shape} have no element; a {node.op} needs at least one.")
    order: list[int] = list(memory_order(x))
    kept = [axis for axis in range(len(x.shape)) if axis not in axes]
    if node["keepdims"]:
        shape = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape))
    else:
        shape = tuple(x.shape[axis] for axis in kept)
        order = [kept.index(axis) for axis in order if axis in kept]
    y = place(build, node.outputs[0], shape, order)
    build.step("reduce", node.op, x, axes, y, reads=(x,), writes=(y,), operations=x.size)


@lowers("softmax", "log_softmax")
@unless_known
def _softmax(node: Node, build: Builder) -> None:
    x = build.view(node.inputs[0] or "")
    (axis,) = checked(build, normalise_axes, [node["axis"]], len(x.shape))
    if not x.is_packed():
        x = build.ordered_view(x, memory_order(x))
    y = build.like(node.outputs[0], x)
    build.step("softmax", x, y, axis, node.op == "log_softmax", reads=(x,), writes=(y,))
