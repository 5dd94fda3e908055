"""Matrix products."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from neocog.engine.builder import Builder, View, dense_strides
from neocog.engine.graph import Node
from neocog.engine.lowering import lowers
from neocog.engine.lowering.arithmetic import fused_activation
from neocog.engine.lowering.numbers import unless_known


@lowers("linear")
@unless_known
def _linear(node: Node, build: Builder) -> None:
    name, weight = node.inputs[0] or "", node.inputs[1] or ""
    shape, weight_shape = build.shape(name), build.shape(weight)
    if len(weight_shape) != 2 or not shape or shape[-1] != weight_shape[1]:
        raise build.error(f"x has the shape {shape}, the weight {weight_shape}; it must be (O, I), I the last of x.")
    x = build.ordered(name)
    bias = None if len(node.inputs) < 3 or node.inputs[2] is None else build.ordered(node.inputs[2])
    if bias is not None and bias.shape != weight_shape[:1]:
        raise build.error(f"the bias has the shape {bias.shape}; it must be {weight_shape[:1]}, as the weight has it.")
    y = build.result(node.outputs[0], (*shape[:-1], weight_shape[0]), range(len(shape)))
    held = build.layer_weights(weight)
    build.step(
        "linear",
        x,
        held,
        bias,
        y,
        *fused_activation(node["activation"], node),
        node["precision"] == "bf16",
        reads=tuple(view for view in (x, held, bias) if isinstance(view, View)),
        writes=(y,),
        operations=2 * math.prod(shape) * weight_shape[0],
    )


@lowers("matmul")
@unless_known
def _matmul(node: Node, build: Builder) -> None:
    a, b = (build.view(name or "") for name in node.inputs)
    if not a.shape or not b.shape:
        raise build.error(f"the operands have the shapes {a.shape} and {b.shape}; each must have at least one axis.")
    # Vectors are matrices of one row or one column, which the result lacks.
    row, column = len(a.shape) == 1, len(b.shape) == 1
    if row:
        a = replace(a, shape=(1, *a.shape), strides=(0, *a.strides))
    if column:
        b = replace(b, shape=(*b.shape, 1), strides=(*b.strides, 0))
    if a.shape[-1] != b.shape[-2]:
        raise build.error(f"matrices {a.shape} and {b.shape} do not conform: {a.shape[-1]} and {b.shape[-2]} differ.")
    try:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise build.error(f"the batches of {a.shape} and {b.shape} do not broadcast.") from None
    m, n = a.shape[-2], b.shape[-1]
    shape = (*batch, *([] if row else [m]), *([] if column else [n]))
    y = build.result(node.outputs[0], shape, range(len(shape)))
    whole = replace(y, shape=(*batch, m, n), strides=dense_strides((*batch, m, n)))
    a = a if _steps_of_one(a, -1) else build.ordered_view(a)
    b = b if _steps_of_one(b, -1) or _steps_of_one(b, -2) else build.ordered_view(b)
    if len(b.shape) == 2 and a.is_dense():  # one tall matrix: b is packed once
        rows = math.prod(a.shape[:-1])
        a = replace(a, shape=(rows, a.shape[-1]), strides=(a.shape[-1], 1))
        whole = replace(whole, shape=(rows, n), strides=(n, 1))
    operations = 2 * whole.size * a.shape[-1]
    build.step("matmul", a, b, whole, reads=(a, b), writes=(whole,), operations=operations)


def _steps_of_one(view: View, axis: int) -> bool:
    return view.shape[axis] == 1 or view.strides[axis] == 1
