"""An ONNX model read, checked and made plain: functions inlined, tensors apart, a type for every value."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
import onnx.checker
import onnx.external_data_helper
import onnx.inliner
import onnx.numpy_helper
import onnx.shape_inference

from neocog.engine.graph import Array, GraphError

OPSETS = (6, 28)  # the first and the last that the importers know
CORE = ("", "ai.onnx")  # names of ONNX' own operators' domain
# Tensors of at most so many elements go through shape inference, which reads shapes and axes from them.
_SMALL = 1024

Dims = tuple[int | None, ...]
Source: TypeAlias = "str | os.PathLike[str] | bytes | onnx.ModelProto"


@dataclass(frozen=True)
class ValueType:
    """What is known about a value: its element type as ONNX numbers it, its shape, either None if unknown."""

    element: int | None = None
    shape: Dims | None = None


@dataclass
class Model:
    """A checked model whose nodes call no local functions."""

    nodes: Sequence[onnx.NodeProto]
    inputs: list[onnx.ValueInfoProto]  # those that are no initialisers
    outputs: list[str]
    opset: int
    tensors: dict[str, onnx.TensorProto]
    types: dict[str, ValueType]
    definitions: dict[str, onnx.NodeProto]  # a value inside an expanded node: that node of the model
    folder: Path | None

    def array(self, tensor: onnx.TensorProto) -> Array:
        """The values of a tensor, from the model or a file beside it."""
        return _array(tensor, self.folder)


def read(source: Source, values: Mapping[str, Array], expandable: Iterable[str]) -> Model:
    """Read a model.

    Args:
        source: A path, the bytes of a file, or a ModelProto; only a path finds tensors in files beside the model.
        values: For inputs that are to be constants.
        expandable: ONNX' own operators that may be replaced by their definitions in terms of others.

    Raises:
        GraphError: The model is damaged or invalid, of an opset that is not known, or lacks a file of its tensors.
    """
    proto, folder = _load(source)
    try:
        return _read(proto, folder, values, set(expandable))
    except GraphError:
        raise
    # RuntimeError from ONNX' C++; ValueError also from names that are no UTF-8.
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, RuntimeError, ValueError) as error:
        raise GraphError(f"the ONNX model is invalid: {error}") from error


def _read(proto: onnx.ModelProto, folder: Path | None, values: Mapping[str, Array], expandable: set[str]) -> Model:
    opset = _opset(proto)
    tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
    names = [i.name for i in proto.graph.input]
    for name, value in values.items():
        if name not in names:
            raise GraphError(f"values has {name!r}, but the inputs of the ONNX model are {', '.join(names)}.")
        tensors[name] = onnx.numpy_helper.from_array(np.asarray(value), name)
    plain = _skeleton(proto, tensors, folder)
    onnx.checker.check_model(plain)
    if plain.functions:
        plain = onnx.inliner.inline_local_functions(plain, convert_version=True)
    plain, definitions = _expand(plain, expandable, opset)
    _forget_types(plain)
    plain = onnx.shape_inference.infer_shapes(plain, data_prop=True)
    return Model(
        nodes=plain.graph.node,
        inputs=[i for i in proto.graph.input if i.name not in tensors],
        outputs=[o.name for o in proto.graph.output],
        opset=opset,
        tensors=tensors,
        types=dict(types_of(plain.graph)),
        definitions=definitions,
        folder=folder,
    )


def _load(source: Source) -> tuple[onnx.ModelProto, Path | None]:
    if isinstance(source, onnx.ModelProto):
        return source, None
    folder = None
    if isinstance(source, (str, os.PathLike)):
        folder = Path(source).parent
        data = Path(source).read_bytes()
    else:
        data = bytes(source)
    try:
        proto = onnx.load_model_from_string(data)
    except Exception as error:  # DecodeError of protobuf, whose package has no types
        raise GraphError(f"these {len(data)} bytes are no ONNX model: {error}.") from error
    # Protocol buffers parse much that is none: a model always says which operators it means.
    if not proto.opset_import or not proto.HasField("graph"):
        raise GraphError(f"these {len(data)} bytes are no ONNX model: they have no graph or no opset.")
    return proto, folder


def _opset(proto: onnx.ModelProto) -> int:
    versions = [entry.version for entry in proto.opset_import if entry.domain in CORE]
    first, last = OPSETS
    if not versions:  # it has none of ONNX' own operators
        return last
    if not first <= versions[0] <= last:
        raise GraphError(
            f"the ONNX model is of opset {versions[0]}; it must be {first} to {last}. "
            "onnx.version_converter.convert_version(model, 21) may bring it there."
        )
    return int(versions[0])


def _array(tensor: onnx.TensorProto, folder: Path | None) -> Array:
    if onnx.external_data_helper.uses_external_data(tensor):
        where = {entry.key: entry.value for entry in tensor.external_data}.get("location", "")
        if folder is None:
            raise GraphError(
                f"tensor {tensor.name!r} lies in the file {where!r}; import the model by its path to find it."
            )
        whole = onnx.TensorProto()
        whole.CopyFrom(tensor)
        try:
            onnx.external_data_helper.load_external_data_for_tensor(whole, str(folder))
        except (OSError, ValueError, onnx.checker.ValidationError) as error:
            raise GraphError(f"tensor {tensor.name!r} cannot be read from {folder / where}: {error}") from error
        tensor = whole
        tensor.data_location = onnx.TensorProto.DEFAULT
    try:
        return np.asarray(onnx.numpy_helper.to_array(tensor))
    except (ValueError, TypeError, KeyError) as error:  # KeyError from a type that there is not
        raise GraphError(f"tensor {tensor.name!r} is damaged: {error}") from error


def _skeleton(proto: onnx.ModelProto, tensors: Mapping[str, onnx.TensorProto], folder: Path | None) -> onnx.ModelProto:
    """The model with its large tensors as inputs: below the 2 GB that ONNX' checks take, and quick to copy."""
    plain = onnx.ModelProto()
    # Field by field: a copy of the whole would copy the weights first.
    plain.ir_version = proto.ir_version
    plain.opset_import.extend(proto.opset_import)
    plain.functions.extend(proto.functions)
    plain.graph.name = proto.graph.name
    plain.graph.node.extend(proto.graph.node)
    plain.graph.input.extend(proto.graph.input)
    plain.graph.output.extend(proto.graph.output)
    plain.graph.sparse_initializer.extend(proto.graph.sparse_initializer)
    for value in (*plain.graph.input, *plain.graph.output):
        # ONNX' checks want a shape. Those of outputs are forgotten again, inputs without one are refused.
        if not value.HasField("type"):
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.shape.SetInParent()
    inputs = {i.name for i in proto.graph.input}
    for tensor in tensors.values():
        if np.prod(tensor.dims, dtype=np.float64) <= _SMALL and tensor.data_type != onnx.TensorProto.STRING:
            small = onnx.numpy_helper.from_array(_array(tensor, folder), tensor.name)
            plain.graph.initializer.append(small)
        elif tensor.name not in inputs:
            plain.graph.input.append(
                onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            )
    return plain


def _forget_types(plain: onnx.ModelProto) -> None:
    """Drop what the file says of types that follow from its inputs: it may be of another batch."""
    del plain.graph.value_info[:]
    for output in plain.graph.output:
        output.ClearField("type")


def nodes_of(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a graph and of the graphs in their attributes."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from nodes_of(attribute.g)


def captured(node: onnx.NodeProto) -> Iterator[str]:
    """The names that graphs in a node's attributes use; some are their own."""
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield from (output.name for output in attribute.g.output)
            for inner in attribute.g.node:
                yield from inner.input
                yield from captured(inner)


def _expand(
    plain: onnx.ModelProto, expandable: set[str], opset: int
) -> tuple[onnx.ModelProto, dict[str, onnx.NodeProto]]:
    """Replace these operators by their definitions, as far as ONNX has them for the model's opset.

    Returns:
        The model, and for each value that a definition makes the node that it defines.
    """
    before = {name: node for node in plain.graph.node for name in node.output if name}
    waiting, expanded = set(expandable), False
    while found := _defined(plain, waiting, opset):
        # One after the other: a definition can use others, and ONNX fails to write some of them down.
        kind = min(found)
        waiting.discard(kind)
        for node in found[kind]:
            _state_defaults(node, opset)
        with contextlib.suppress(RuntimeError):  # the nodes stay, and are reported as unsupported
            ids = [(domain, kind) for domain in CORE]
            plain = onnx.inliner.inline_selected_functions(plain, ids, inline_schema_functions=True)
            expanded = True
    if not expanded:
        return plain, {}
    # What a definition computes ends in outputs of its node, and only there: the owner is found from the back.
    after = {name: node for node in plain.graph.node for name in node.output if name}
    owners = {name: node for name, node in before.items() if after[name].op_type != node.op_type}
    for node in reversed(plain.graph.node):
        owner = next((owners[name] for name in node.output if name in owners), None)
        if owner is not None:
            used = (*node.input, *captured(node))
            owners.update({name: owner for name in used if name and name not in before})
    return plain, owners


def _defined(plain: onnx.ModelProto, kinds: set[str], opset: int) -> dict[str, list[onnx.NodeProto]]:
    """The nodes of these operators that ONNX defines in terms of others."""
    found: dict[str, list[onnx.NodeProto]] = {}
    for node in nodes_of(plain.graph):
        ours = node.domain in CORE and node.op_type in kinds
        if ours and is_defined(onnx.defs.get_schema(node.op_type, opset)):
            found.setdefault(node.op_type, []).append(node)
    return found


def is_defined(schema: Any) -> bool:
    """Whether ONNX defines this operator in terms of others."""
    return bool(schema.has_function or schema.has_context_dependent_function)


def _state_defaults(node: onnx.NodeProto, opset: int) -> None:
    """Add the attributes that a node leaves out: a definition refers to them by name, and would lose them."""
    given = {attribute.name for attribute in node.attribute}
    for name, attribute in onnx.defs.get_schema(node.op_type, opset).attributes.items():
        if name not in given and attribute.default_value.type != onnx.AttributeProto.UNDEFINED:
            node.attribute.append(attribute.default_value)


def types_of(graph: onnx.GraphProto) -> Iterator[tuple[str, ValueType]]:
    """The types of the values of a graph, as far as it says them."""
    for value in (*graph.input, *graph.value_info, *graph.output):
        yield value.name, value_type(value)
    for tensor in graph.initializer:
        yield tensor.name, ValueType(tensor.data_type, tuple(tensor.dims))


def value_type(value: onnx.ValueInfoProto) -> ValueType:
    """The type of a value; sequences, maps and optionals have none."""
    if not value.type.HasField("tensor_type"):
        return ValueType()
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return ValueType(tensor.elem_type or None)
    known = (size.HasField("dim_value") and size.dim_value >= 0 for size in tensor.shape.dim)
    sizes = (size.dim_value if fixed else None for size, fixed in zip(tensor.shape.dim, known, strict=True))
    return ValueType(tensor.elem_type or None, tuple(sizes))
