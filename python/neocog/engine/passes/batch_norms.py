"""Fold what multiplies and shifts channels by constants into the weights of the convolution before or after it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neocog.engine.graph import Array, Graph, Node
from neocog.engine.passes.editing import Editor, looks_for

_WEIGHT = {"conv": 1, "conv_transpose": 1, "separable_conv": 2, "linear": 1}  # the input that makes the channels
_AFFINE = ("batch_norm", "mul", "div", "add")
_Doubles = NDArray[np.float64]


class _Affine(NamedTuple):
    """y = x * scale + shift, one number per channel."""

    x: str
    scale: _Doubles
    shift: _Doubles


@looks_for(*_AFFINE)
def batch_norms(graph: Graph) -> Graph:
    """Fold batch norms, and products and sums with constants per channel; the graph given stays as it is.

    They go into the convolution, transposed or separable convolution or linear layer before them if nothing else takes
    its result, else into the convolution or linear layer after them if nothing else takes theirs. There a shift can
    only go where the window has no padding, whose zeros it would move.

    Accuracy: weights and bias are made in float64 and rounded once to their dtype, so that a result moves by at most
    eps / 2 * (sum |x * weight * scale| + |bias * scale + shift|); the rounding of a product and a sum falls away.
    Layers whose weights would overflow are left as they are.

    Returns:
        A new graph, or the very same one if there is nothing to fold.
    """
    editor = Editor(graph)
    with np.errstate(all="ignore"):  # what is not finite in the end is not folded
        for node in editor:
            if node.op in _AFFINE:
                _fold_into_layer_before(node, editor)
            elif node.op in ("conv", "linear"):
                _fold_into_layer_after(node, editor)
    return editor.graph()


def _fold_into_layer_before(node: Node, editor: Editor) -> None:
    for name in list(node.used())[: 1 if node.op in ("batch_norm", "div") else 2]:
        layer = editor.maker(name)
        if layer is None or layer.op not in _WEIGHT or editor.only_taker(name) is not node:
            continue
        place = _WEIGHT[layer.op]
        weight, bias = editor.constant(layer.inputs[place]), editor.constant((*layer.inputs, None)[place + 1])
        if weight is None or not _is_bare(layer, bias):
            continue
        channels = weight.shape[1] * layer["groups"] if layer.op == "conv_transpose" else weight.shape[0]
        affine = _affine(node, name, layer.op, weight, channels, editor)
        if affine is None:
            continue
        start = np.zeros(channels) if bias is None else bias.astype(np.float64)
        folded = _scale_outputs(layer, weight, affine.scale)
        shifted = _rounded(start * affine.scale + affine.shift, weight)
        if folded is not None and shifted is not None:
            inputs = list(layer.inputs[: place + 1])
            inputs[place] = editor.new_constant(f"{layer.inputs[place]}_folded", folded)
            inputs.append(_new_bias(layer, place + 1, shifted, editor))
            attributes = {**layer.attributes, **_activation(node)}
            fused = Node(layer.op, tuple(inputs), node.outputs, attributes, layer.name or node.name)
            editor.fuse(layer, node, fused)
            return


def _fold_into_layer_after(layer: Node, editor: Editor) -> None:
    before = editor.maker(layer.inputs[0])
    bias_name = (*layer.inputs, None)[2]
    weight, bias = editor.constant(layer.inputs[1]), editor.constant(bias_name)
    if before is None or before.op not in _AFFINE or weight is None:
        return
    if before.attributes.get("activation") is not None or (bias is None and bias_name is not None):
        return
    if editor.only_user(before.outputs[0] or "") is not layer:
        return
    groups = layer["groups"] if layer.op == "conv" else 1
    channels = weight.shape[1] * groups
    for name in list(before.used())[: 1 if before.op in ("batch_norm", "div") else 2]:
        shape = editor.shapes.shape(name)
        axis = 1 if layer.op == "conv" else -1
        # The product or sum must not broadcast x to more channels or axes.
        if shape is None or len(shape) < 2 or shape[axis] != channels:
            continue
        affine = _affine(before, name, layer.op, weight, channels, editor)
        if affine is None or (affine.shift.any() and _is_padded(layer, weight)):
            continue
        grouped = weight.reshape(groups, -1, *weight.shape[1:])
        per_input = (groups, 1, -1, *[1] * (weight.ndim - 2))
        shift = (grouped * affine.shift.reshape(per_input)).sum(axis=tuple(range(2, grouped.ndim))).reshape(-1)
        folded = _scaled(grouped, affine.scale.reshape(per_input), weight.shape)
        shifted = _rounded(shift if bias is None else bias.astype(np.float64) + shift, weight)
        if folded is None or shifted is None:
            continue
        inputs = [affine.x, editor.new_constant(f"{layer.inputs[1]}_folded", folded), *layer.inputs[2:]]
        if affine.shift.any():
            inputs[2:3] = [_new_bias(layer, 2, shifted, editor)]
        editor.replace(layer, Node(layer.op, tuple(inputs), layer.outputs, layer.attributes, layer.name))
        return


def _is_bare(layer: Node, bias: Array | None) -> bool:
    """Whether a layer's result is its sum of products and a known bias, nothing more."""
    place = _WEIGHT[layer.op] + 1
    rest = (*layer.inputs, None)[place:]
    return layer["activation"] is None and (bias is not None or rest[0] is None) and not any(rest[1:])


def _is_padded(layer: Node, weight: Array) -> bool:
    if layer.op == "linear":
        return False
    padding = layer["padding"]
    if isinstance(padding, str):
        return any(taps != 1 for taps in weight.shape[2:])
    return any(map(any, padding))


def _activation(node: Node) -> dict[str, object]:
    return {key: node.attributes[key] for key in ("activation", "alpha") if key in node.attributes}


def _affine(node: Node, x: str, layer: str, weight: Array, channels: int, editor: Editor) -> _Affine | None:
    """What a node does to the channels of x, which a layer with this weight makes or takes."""
    if node.op == "batch_norm":
        # A linear layer's channels are its last axis, a batch norm's the second one.
        if layer == "linear" and editor.shapes.rank(x) != 2:
            return None
        given = [editor.constant(name) for name in node.inputs[1:]]
        gamma, beta, mean, var = (None if p is None or p.size != channels else p.astype(np.float64) for p in given)
        if gamma is None or beta is None or mean is None or var is None:
            return None
        scale = gamma.reshape(-1) / np.sqrt(var.reshape(-1) + node["eps"])
        return _Affine(x, scale, beta.reshape(-1) - mean.reshape(-1) * scale)
    other = node.inputs[1] if x == node.inputs[0] else node.inputs[0]
    rank = (editor.shapes.rank(x) or 1) if layer == "linear" else weight.ndim
    number = _per_channel(editor.constant(other), rank, -1 if layer == "linear" else 1, channels, weight)
    if number is None:
        return None
    if node.op == "add":
        return _Affine(x, np.ones(channels), number)
    return _Affine(x, number if node.op == "mul" else 1 / number, np.zeros(channels))


def _per_channel(constant: Array | None, rank: int, axis: int, channels: int, weight: Array) -> _Doubles | None:
    """A constant that broadcasts along all axes but the channels', as one number per channel."""
    if constant is None or constant.dtype != weight.dtype or constant.ndim > rank:
        return None
    shape = [*[1] * (rank - constant.ndim), *constant.shape]
    size = shape.pop(axis)
    if size not in (1, channels) or any(other != 1 for other in shape):
        return None
    return np.broadcast_to(constant.reshape(-1).astype(np.float64), (channels,))


def _scale_outputs(layer: Node, weight: Array, scale: _Doubles) -> Array | None:
    if layer.op != "conv_transpose":
        return _scaled(weight, scale.reshape(-1, *[1] * (weight.ndim - 1)), weight.shape)
    groups = layer["groups"]
    grouped = weight.reshape(groups, -1, *weight.shape[1:])  # (groups, C / groups, O / groups, R, S)
    return _scaled(grouped, scale.reshape(groups, 1, -1, *[1] * (weight.ndim - 2)), weight.shape)


def _scaled(weight: Array, scale: _Doubles, shape: tuple[int, ...]) -> Array | None:
    """weight * scale in float64, rounded once without a copy in float64; None if the dtype cannot hold it."""
    result = np.empty(weight.shape, weight.dtype)
    np.multiply(weight, scale, out=result, dtype=np.float64, casting="same_kind")
    return result.reshape(shape) if np.isfinite(result).all() else None


def _rounded(value: _Doubles, weight: Array) -> Array | None:
    """The value in the weight's dtype; None if that cannot hold it."""
    result = value.astype(weight.dtype)
    return result if np.isfinite(result).all() else None


def _new_bias(layer: Node, place: int, value: Array, editor: Editor) -> str:
    bias = (*layer.inputs, None)[place]
    return editor.new_constant(f"{bias or layer.inputs[place - 1]}_{'folded' if bias else 'shift'}", value)
