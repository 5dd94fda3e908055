"""Normalisations."""

from __future__ import annotations

import math

from neocog.engine.builder import Builder, View, last_order
from neocog.engine.graph import Node
from neocog.engine.lowering import lowers
from neocog.engine.lowering.arithmetic import fused_activation
from neocog.engine.lowering.views import checked
from neocog.engine.sizes import normalise_axes


@lowers("batch_norm")
def _batch_norm(node: Node, build: Builder) -> None:
    x = _channels(node, build)
    weight, bias, mean, var = (build.ordered(name or "") for name in node.inputs[1:])
    for what, view in (("weight", weight), ("bias", bias), ("mean", mean), ("var", var)):
        _check_values(build, what, view, x.shape[1:2])
    y = build.like(node.outputs[0], x)
    numbers = (node["eps"], *fused_activation(node["activation"], node))
    build.step("batch_norm", x, mean, var, weight, bias, y, *numbers, reads=(x, mean, var, weight, bias), writes=(y,))


@lowers("group_norm", "instance_norm")
def _group_norm(node: Node, build: Builder) -> None:
    x = _channels(node, build)
    channels = x.shape[1]
    groups = channels if node.op == "instance_norm" else node["groups"]
    if channels % max(groups, 1):
        raise build.error(f"`groups` is {groups}; it must divide the {channels} channels of x.")
    weight, bias = _affine(node, build, x.shape[1:2])
    y = build.like(node.outputs[0], x)
    reads = tuple(view for view in (x, weight, bias) if view is not None)
    build.step("group_norm", x, weight, bias, y, max(groups, 1), node["eps"], reads=reads, writes=(y,))


@lowers("layer_norm")
def _layer_norm(node: Node, build: Builder) -> None:
    x = build.ordered(node.inputs[0] or "")
    (axis,) = checked(build, normalise_axes, [node["axis"]], len(x.shape))
    weight, bias = _affine(node, build, x.shape[axis:])
    y = build.result(node.outputs[0], x.shape, range(len(x.shape)))
    reads = tuple(view for view in (x, weight, bias) if view is not None)
    axes = len(x.shape) - axis
    build.step("layer_norm", x, weight, bias, y, axes, node["eps"], reads=reads, writes=(y,))


@lowers("lrn")
def _lrn(node: Node, build: Builder) -> None:
    x = _channels(node, build)
    y = build.like(node.outputs[0], x)
    build.step("lrn", x, y, node["size"], node["alpha"], node["beta"], node["bias"], reads=(x,), writes=(y,))


def _channels(node: Node, build: Builder) -> View:
    """x (N, C, ...), dense in one of the layouts."""
    x = build.view(node.inputs[0] or "")
    if len(x.shape) < 2:
        raise build.error(f"x has the shape {x.shape}; it must be (N, C, ...).")
    return x if x.is_dense() else build.ordered_view(x, last_order(len(x.shape)))


def _affine(node: Node, build: Builder, shape: tuple[int, ...]) -> tuple[View | None, View | None]:
    """Weight and bias, where the node has them; each has this shape, ones before it not counted."""
    names = (*node.inputs[1:], None, None)[:2]
    weight, bias = (None if name is None else build.ordered(name) for name in names)
    for what, view in (("weight", weight), ("bias", bias)):
        if view is not None:
            _check_values(build, what, view, shape)
    return weight, bias


def _check_values(build: Builder, what: str, view: View, shape: tuple[int, ...]) -> None:
    if view.size != math.prod(shape) or view.shape[-len(shape) :] != shape:
        raise build.error(f"the {what} has the shape {view.shape}; it must be {tuple(shape)}.")
