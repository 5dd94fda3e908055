"""A graph as JSON values, and back: what the header of a `.neocog` file says beside its tensors.

    {"format": "neocog", "version": 1,
     "inputs": [{"name": "x", "shape": ["N", 3, 224, 224], "dtype": "float32"}],
     "outputs": ["y"],
     "constants": {"weight": "weight"},      name in the graph: name of the tensor; equal arrays share one
     "nodes": [{"op": "conv", "inputs": ["x", "weight", null], "outputs": ["y"],
                "attributes": {"stride": [1, 1]}, "name": "stem.conv"}]}

`attributes` and `name` are left out where empty. Tuples become lists. JSON has no infinity: a float that is not finite
is {"float": "inf"}, {"float": "-inf"} or {"float": "nan"}, which no other attribute looks like.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from neocog.engine.graph import Array, Graph, GraphError, Input, Node

FORMAT = "neocog"
VERSION = 1

# safetensors' names of what NumPy has too.
DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "U8": np.dtype("u1"),
    "I8": np.dtype("i1"),
    "U16": np.dtype("<u2"),
    "I16": np.dtype("<i2"),
    "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"),
    "U64": np.dtype("<u8"),
    "I64": np.dtype("<i8"),
    "F16": np.dtype("<f2"),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
}
DTYPE_NAMES = tuple(dtype.name for dtype in DTYPES.values())

_NOT_FINITE = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}
_INT64 = range(-(2**63), 2**63)


def to_document(graph: Graph, tensors: Mapping[str, str]) -> dict[str, Any]:
    """The graph but for its arrays.

    Args:
        graph: It is well-formed.
        tensors: For each constant the name of its tensor.
    Returns:
        Dicts, lists, strings, numbers, booleans and None; the same for equal graphs, to the order of the keys.
    Raises:
        GraphError: An attribute is something else, or an integer beyond 64 bits.
    """
    return {
        "format": FORMAT,
        "version": VERSION,
        "inputs": [{"name": i.name, "shape": list(i.shape), "dtype": i.dtype} for i in graph.inputs],
        "outputs": list(graph.outputs),
        "constants": {name: tensors[name] for name in sorted(graph.constants)},
        "nodes": [_node_to_document(f"node {i} ({node.name or node.op})", node) for i, node in enumerate(graph.nodes)],
    }


def _node_to_document(where: str, node: Node) -> dict[str, Any]:
    made: dict[str, Any] = {"op": node.op, "inputs": list(node.inputs), "outputs": list(node.outputs)}
    if node.attributes:
        made["attributes"] = {key: _encoded(f"{where}: `{key}`", v) for key, v in sorted(node.attributes.items())}
    if node.name:
        made["name"] = node.name
    return made


def _encoded(where: str, value: Any) -> Any:
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return _int64(where, int(value))
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"float": str(float(value))}
    if isinstance(value, (list, tuple)):
        return [_encoded(where, item) for item in value]
    raise GraphError(
        f"{where} is a {type(value).__name__}; it must be an integer, float, string, bool, None or a list of them."
    )


def check_format(document: Any) -> None:
    """Refuse what is not this format, or a newer version of it, before anything else is looked at.

    Raises:
        GraphError: It is; the message says so.
        NewerFormatError: A later version wrote it.
    """
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise GraphError(f"the graph does not begin with the format {FORMAT!r}.")
    version = document.get("version")
    if type(version) is not int or version < 1:
        raise GraphError(f"the version of the format is {version!r}; it must be an integer of at least 1.")
    if version > VERSION:
        raise NewerFormatError(version)


class NewerFormatError(GraphError):
    """A format of a later version of this package."""

    def __init__(self, version: int) -> None:
        super().__init__(f"its format has the version {version}, and this neocog reads up to {VERSION}.")


def from_document(document: Any, arrays: Mapping[str, Array]) -> Graph:
    """The graph of a document, of which nothing is taken on trust.

    Args:
        document: As `to_document` makes it.
        arrays: The tensors by name.
    Returns:
        A graph that is yet to be validated; its constants are the arrays themselves.
    Raises:
        GraphError: Something is missing, too much, or of the wrong type; the message names it.
    """
    check_format(document)
    fields = _object("the graph", document, ("format", "version", "inputs", "outputs", "constants", "nodes"))
    constants = {}
    for name, tensor in _object("`constants`", fields["constants"]).items():
        if _string(f"the tensor of constant {name!r}", tensor) not in arrays:
            raise GraphError(f"constant {name!r} is the tensor {tensor!r}, which the file has not.")
        constants[name] = arrays[tensor]
    unused = sorted(arrays.keys() - fields["constants"].values())
    if unused:
        raise GraphError(f"the tensor {unused[0]!r} belongs to no constant.")
    return Graph(
        inputs=[_input(f"input {i}", item) for i, item in enumerate(_list("`inputs`", fields["inputs"]))],
        outputs=[_string(f"output {i}", item) for i, item in enumerate(_list("`outputs`", fields["outputs"]))],
        nodes=[_node(f"node {i}", item) for i, item in enumerate(_list("`nodes`", fields["nodes"]))],
        constants=constants,
    )


def _input(where: str, value: Any) -> Input:
    fields = _object(where, value, ("name", "shape", "dtype"))
    name = _string(f"the name of {where}", fields["name"])
    where = f"{where} ({name})"
    if fields["dtype"] not in DTYPE_NAMES:
        raise GraphError(f"{where} has the dtype {fields['dtype']!r}; it must be one of {', '.join(DTYPE_NAMES)}.")
    shape = _list(f"the shape of {where}", fields["shape"])
    for size in shape:
        right = (type(size) is int and 0 <= size < 2**63) or (isinstance(size, str) and size)
        if not right:
            raise GraphError(f"{where} has the size {size!r}; it must be a name, or an integer from 0 to 2^63 - 1.")
    return Input(name, tuple(shape), fields["dtype"])


def _node(where: str, value: Any) -> Node:
    fields = _object(where, value, ("op", "inputs", "outputs"), ("attributes", "name"))
    attributes = _object(f"the attributes of {where}", fields.get("attributes", {}))
    return Node(
        op=_string(f"the operator of {where}", fields["op"]),
        inputs=_names(f"an input of {where}", fields["inputs"]),
        outputs=_names(f"an output of {where}", fields["outputs"]),
        attributes={key: _decoded(f"{where}: `{key}`", item) for key, item in attributes.items()},
        name=_string(f"the name of {where}", fields.get("name", "")),
    )


def _names(where: str, value: Any) -> tuple[str | None, ...]:
    return tuple(None if name is None else _string(where, name) for name in _list(f"{where}: the list", value))


def _decoded(where: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(where, item) for item in value]
    if isinstance(value, dict):
        text = value.get("float")
        if len(value) != 1 or not isinstance(text, str) or text not in _NOT_FINITE:
            raise GraphError(f"{where} is {value!r}; of objects it can only be {{'float': 'inf', '-inf' or 'nan'}}.")
        return _NOT_FINITE[text]
    return _int64(where, value) if type(value) is int else value


def _int64(where: str, value: int) -> int:
    if value not in _INT64:
        raise GraphError(f"{where} is {value}; an integer must fit into 64 bits.")
    return value


def _object(
    where: str, value: Any, required: Collection[str] | None = None, optional: Collection[str] = ()
) -> dict[str, Any]:
    """A dict; with `required`, one that has these keys and no others but the optional ones."""
    if not isinstance(value, dict):
        raise GraphError(f"{where} is {_type(value)}; it must be an object.")
    if required is not None:
        for key in required:
            if key not in value:
                raise GraphError(f"{where} lacks {key!r}.")
        unknown = sorted(value.keys() - {*required, *optional})
        if unknown:
            raise GraphError(f"{where} has {unknown[0]!r}, which is unknown.")
    return value


def _list(where: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise GraphError(f"{where} is {_type(value)}; it must be a list.")
    return value


def _string(where: str, value: Any) -> str:
    if not isinstance(value, str):
        raise GraphError(f"{where} is {_type(value)}; it must be a string.")
    return value


def _type(value: Any) -> str:
    names = {type(None): "null", bool: "a bool", int: "an integer", float: "a number", str: "a string", list: "a list"}
    return names.get(type(value), "an object")
