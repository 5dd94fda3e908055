"""ONNX' operators that move elements without changing them, and those that speak of shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx

from neocog.engine.graph import Array
from neocog.engine.importers.onnx_call import DTYPES, Call, Unsupported, imports


def _axes(call: Call, place: int = 1) -> list[int] | None:
    """The axes of a node: an input since opset 13, an attribute before; None if it has none."""
    name = call.optional(place)
    if name is not None:
        return call.integers(name, "`axes`")
    axes = call.attribute("axes")
    return None if axes is None else list(axes)


def size_of(call: Call, x: str, axis: int) -> str:
    """The size of one axis as a vector of one number."""
    shape = call.shape(x)
    known = None if shape is None else shape[axis]
    if known is not None:
        return call.constant([known], np.int64, "size")
    return call.emit("shape", x, start=axis, end=None if axis == -1 else axis + 1)


def spread(call: Call, values: str, axes: list[int], rank: int, others: list[str]) -> str:
    """One number for each axis: from `values` for those in `axes`, from `others` for the rest.

    Args:
        values: A vector, as long as `axes`.
        others: For each axis a vector of one number.
    """
    places = {axis % rank: place for place, axis in enumerate(axes)}
    index = {axis: call.constant([place], np.int64, "index") for axis, place in places.items()}
    parts = [call.emit("gather", values, index[axis]) if axis in index else others[axis] for axis in range(rank)]
    return call.emit("concat", *parts, axis=0)


@imports("Constant", takes="any")
def _constant(call: Call) -> None:
    (attribute,) = call.proto.attribute or (onnx.AttributeProto(),)
    kinds = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    if attribute.name == "value" and attribute.t.data_type != onnx.TensorProto.STRING:
        call.finish_constant(call.graph.model.array(attribute.t))
    elif attribute.name in kinds:
        call.finish_constant(np.asarray(onnx.helper.get_attribute_value(attribute), kinds[attribute.name]))
    else:
        raise Unsupported(f"its {attribute.name or 'value'} is no dense tensor of numbers")


@imports("ConstantOfShape", takes="numbers")
def _constant_of_shape(call: Call) -> None:
    tensor = call.attribute("value")
    value = np.zeros(1, np.float32) if tensor is None else call.graph.model.array(tensor).reshape(-1)
    element = onnx.TensorProto.FLOAT if tensor is None else tensor.data_type
    if element not in DTYPES:
        raise Unsupported(f"it makes {onnx.TensorProto.DataType.Name(element).lower()}")
    call.finish("full", call.input(0), value=value[0].item(), dtype=DTYPES[element])


@imports("Shape", takes="any")
def _shape(call: Call) -> None:
    x, start, end = call.input(0), call.attribute("start", 0), call.attribute("end")
    shape = call.shape(x)
    sizes = None if shape is None else shape[start:end]
    if sizes is not None and None not in sizes:
        call.finish_constant(np.array(sizes, np.int64))
    else:
        call.finish("shape", x, start=start, end=end)
        if sizes is not None and call.outputs[0] is not None:
            call.graph.sizes[call.outputs[0]] = sizes


def _some_sizes(call: Call, pick: Callable[[Array], Any]) -> bool:
    """Make the result a constant, if the input is a shape of which that part is known."""
    sizes = call.graph.sizes.get(call.input(0))
    if sizes is None:
        return False
    # Sizes are at least 0: what is -1 is not known.
    part = np.asarray(pick(np.array([-1 if size is None else size for size in sizes], np.int64)))
    if part.min(initial=0) < 0:
        return False
    call.finish_constant(part)
    return True


@imports("Size", takes="any")
def _size(call: Call) -> None:
    shape = call.shape(call.input(0))
    if shape is not None and None not in shape:
        call.finish_constant(np.array(np.prod(np.array(shape, np.int64)), np.int64))
    else:
        call.finish("size", call.input(0))


@imports("Range", takes="numbers")
def _range(call: Call) -> None:
    call.finish("range", call.input(0), call.input(1), call.input(2))


@imports("Dropout", takes="any")
def _dropout(call: Call) -> None:
    training = call.optional(2)
    if training is not None and bool(call.value(training, "`training_mode`")):
        raise Unsupported("it is in training mode; export the model for inference")
    if call.opset < 7 and not call.attribute("is_test", 0):
        raise Unsupported("is_test=0: it is in training mode; export the model for inference")
    call.finish("identity", call.input(0))
    if call.want(1):  # it drops nothing
        dtype = "bool" if call.opset >= 10 else "float32"
        call.put(1, "full", call.emit("shape", call.input(0)), value=1, dtype=dtype)


@imports("Concat", takes="any")
def _concat(call: Call) -> None:
    call.finish("concat", *call.inputs, axis=call.attribute("axis", 1))


@imports("Slice", takes="any")
def _slice(call: Call) -> None:
    if call.opset >= 10:
        numbers = [call.known(call.optional(place)) for place in (1, 2, 4)]
        start, end, step = (None if n is None or n.size != 1 else int(n.item()) for n in numbers)
        fixed = start is not None and end is not None and (step is not None or call.optional(4) is None)
        if not (fixed and _some_sizes(call, lambda sizes: sizes[start:end:step])):
            call.finish("slice", *call.inputs)
        return
    starts, ends = call.attribute("starts"), call.attribute("ends")
    axes = call.attribute("axes", list(range(len(starts))))
    bounds = [call.constant(v, np.int64, n) for n, v in (("starts", starts), ("ends", ends), ("axes", axes))]
    call.finish("slice", call.input(0), *bounds)


@imports("Split", takes="any")
def _split(call: Call) -> None:
    x, axis, parts = call.input(0), call.attribute("axis", 0), len(call.proto.output)
    given = call.optional(1)
    sizes = call.attribute("split") if given is None else call.known(given)
    if sizes is None and given is None:
        ends = _equal_parts(call, x, axis, parts)
    elif sizes is None:
        assert given is not None
        pieces = [call.emit("gather", given, call.constant([part], np.int64, "index")) for part in range(parts)]
        ends = pieces[:1]
        for piece in pieces[1:]:
            ends.append(call.emit("add", ends[-1], piece))
    else:
        ends = [call.constant([end], np.int64, "end") for end in np.cumsum(sizes)]
    starts = [call.constant([0], np.int64, "start"), *ends]
    along = call.constant([axis], np.int64, "axes")
    for part in range(parts):
        call.put(part, "slice", x, starts[part], ends[part], along)


def _equal_parts(call: Call, x: str, axis: int, parts: int) -> list[str]:
    """Where equal parts of an axis end; the last is smaller if they do not fit."""
    shape = call.shape(x)
    size = None if shape is None else shape[axis]
    if size is not None:
        return [call.constant([-(-size // parts) * (part + 1)], np.int64, "end") for part in range(parts)]
    rounded_up = call.emit("add", size_of(call, x, axis), call.constant([parts - 1], np.int64))
    length = call.emit("div", rounded_up, call.constant([parts], np.int64))
    return [call.emit("mul", length, call.constant([part + 1], np.int64)) for part in range(parts)]


@imports("Transpose", takes="any")
def _transpose(call: Call) -> None:
    permutation = call.attribute("perm")
    if permutation is None:
        permutation = list(range(call.rank(call.input(0), "all of them are reversed")))[::-1]
    call.finish("transpose", call.input(0), permutation=permutation)


@imports("Reshape", takes="any")
def _reshape(call: Call) -> None:
    call.finish("reshape", call.input(0), call.input(1), keep_zero=bool(call.attribute("allowzero", 0)))


@imports("Flatten", takes="any")
def _flatten(call: Call) -> None:
    x, axis = call.input(0), call.attribute("axis", 1)
    shape = call.shape(x)
    if shape is not None and axis < 0:
        axis += len(shape)
    if axis == 1 and shape is not None and len(shape) >= 2:
        call.finish("flatten", x, start=1, end=-1)
        return
    rest = call.constant([-1], np.int64, "rest")
    if axis == 0:
        rows = call.constant([1], np.int64, "rows")
    else:
        rows = call.emit("prod", call.emit("shape", x, start=0, end=axis), axes=None, keepdims=True)
    call.finish("reshape", x, call.emit("concat", rows, rest, axis=0))


@imports("Squeeze", takes="any")
def _squeeze(call: Call) -> None:
    call.finish("squeeze", call.input(0), axes=_axes(call))


@imports("Unsqueeze", takes="any")
def _unsqueeze(call: Call) -> None:
    axes = _axes(call)
    if axes is None:
        raise Unsupported("it lacks `axes`")
    call.finish("unsqueeze", call.input(0), axes=axes)


@imports("Expand", takes="any")
def _expand(call: Call) -> None:
    call.finish("expand", call.input(0), call.input(1))


@imports("Tile", takes="any")
def _tile(call: Call) -> None:
    call.finish("tile", call.input(0), call.input(1))


@imports("Gather", takes="any")
def _gather(call: Call) -> None:
    if call.is_data(call.input(1)):
        raise Unsupported(
            f"its indices {call.input(1)!r} follow from data; they must be known before the network runs", call.input(1)
        )
    indices = call.known(call.input(1))
    if indices is None or not _some_sizes(call, lambda sizes: sizes.take(indices)):
        call.finish("gather", call.input(0), call.input(1), axis=call.attribute("axis", 0))


@imports("DepthToSpace")
def _depth_to_space(call: Call) -> None:
    op = call.choose("mode", "DCR", {"DCR": "depth_to_space", "CRD": "pixel_shuffle"})
    call.finish(op, call.input(0), factor=call.attribute("blocksize"))


@imports("SpaceToDepth")
def _space_to_depth(call: Call) -> None:
    op = call.choose("mode", "DCR", {"DCR": "space_to_depth", "CRD": "pixel_unshuffle"})
    call.finish(op, call.input(0), factor=call.attribute("blocksize"))
