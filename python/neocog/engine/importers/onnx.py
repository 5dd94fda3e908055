"""Graphs from ONNX models: `from_onnx`. Importers of single operators are in files beside this one, by subject."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module

import onnx
import onnx.defs

from neocog.engine.graph import Array, Graph, GraphError, Input, Size
from neocog.engine.importers import UnsupportedError
from neocog.engine.importers.onnx_branch import branch
from neocog.engine.importers.onnx_call import DTYPES, FLOAT, IMPORTERS, Call, Growing, Unsupported, element_name
from neocog.engine.importers.onnx_read import CORE, Model, Source, captured, is_defined, read

for _subject in ("layers", "math", "shapes", "resize"):
    import_module(f"neocog.engine.importers.onnx_{_subject}")


def from_onnx(
    model: Source, *, outputs: Sequence[str] | None = None, values: Mapping[str, Array] | None = None
) -> Graph:
    """Import a model for inference.

    Args:
        model: A path, the bytes of a file, or an `onnx.ModelProto`, of opset 6 to 28. Tensors in files of their own are
            found beside a path.
        outputs: Names of values to compute instead of the model's outputs, also such as lie within it; what they do
            not need is left out.
        values: For inputs that shall be constants, such as a shape that is always the same.
    Returns:
        A graph whose inputs are the model's, less those that have a value. Floating-point inputs are float32.
    Raises:
        GraphError: The model is damaged, invalid, of another opset, or lacks a file of its tensors.
        UnsupportedError: Some nodes have no counterpart in the engine; the message lists all of them.
    """
    read_model = read(model, values or {}, _expandable())
    return _Import(read_model).run(list(read_model.outputs if outputs is None else outputs))


def _expandable() -> set[str]:
    """ONNX' operators without an importer that it defines in terms of others."""
    names = {schema.name for schema in onnx.defs.get_all_schemas() if schema.domain in CORE and is_defined(schema)}
    return names - set(IMPORTERS)


class _Import:
    """One import: the graph so far, and what is unsupported."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.graph = Growing(model)
        self.inputs: list[Input] = []
        self.unsupported: dict[str, str] = {}  # node: reason
        self.within: onnx.NodeProto | None = None  # the node of the model whose definition has the branch at hand
        self.graph.taken.update(name for node in model.nodes for name in node.output)
        self.graph.taken.update(model.tensors)

    def run(self, outputs: list[str]) -> Graph:
        self._check_outputs(outputs)
        for value in self.model.inputs:
            self._add_input(value)
        self._add_nodes(self.model.nodes, set(outputs))
        if self.unsupported:
            raise UnsupportedError(list(self.unsupported.items()))
        for name in outputs:
            if name in self.model.tensors:
                self.graph.add_tensor(name)
        graph = Graph(self.inputs, outputs, self.graph.nodes, self.graph.constants)
        _drop_unused(graph)
        graph.validate()
        return graph

    def _check_outputs(self, outputs: list[str]) -> None:
        made = {name for node in self.model.nodes for name in node.output}
        there = made | {value.name for value in self.model.inputs} | set(self.model.tensors)
        for name in outputs:
            if name not in there:
                raise GraphError(
                    f"outputs has {name!r}, which no node makes; the model's outputs are "
                    f"{', '.join(self.model.outputs)}."
                )

    def _add_input(self, value: onnx.ValueInfoProto) -> None:
        name = value.name
        self.graph.taken.add(name)
        self.graph.open.add(name)
        kind = value.type.WhichOneof("value")
        tensor = value.type.tensor_type
        if kind != "tensor_type":
            self._reject(name, "input", f"it is no tensor, but of {kind}", [name])
        elif tensor.elem_type not in DTYPES or tensor.elem_type == onnx.TensorProto.DOUBLE:
            found = element_name(tensor.elem_type)
            self._reject(
                name,
                "input",
                f"it is {found}; export the model with data of float32, numbers of int32, int64 or bool",
                [name],
            )
        elif not tensor.HasField("shape"):
            self._reject(name, "input", "its number of axes is not given; name at least its sizes", [name])
        else:
            shape = tuple(_size(name, axis, size) for axis, size in enumerate(tensor.shape.dim))
            self.inputs.append(Input(name, shape, DTYPES[tensor.elem_type]))
        if tensor.elem_type == FLOAT:
            self.graph.data.add(name)

    def _add_nodes(self, nodes: Sequence[onnx.NodeProto], wanted: set[str]) -> None:
        """Import those nodes that are needed for some values."""
        needed, used = [], set(wanted)
        for node in reversed(nodes):
            if used.intersection(node.output):
                needed.append(node)
                used.update(node.input, captured(node))
        for node in reversed(needed):
            self._add_node(node, used)

    def _add_node(self, node: onnx.NodeProto, used: set[str]) -> None:
        try:
            if node.domain not in CORE:
                raise Unsupported(f"it is of the domain {node.domain!r}, not one of ONNX' own operators")
            for name in filter(None, node.input):
                self._check_there(name)
            call = Call(
                self.graph,
                node,
                self._owner(node).name,
                [name or None for name in node.input],
                [name if name in used and name else None for name in node.output],
            )
            if node.op_type == "If":
                self._add_branch(call)
            elif node.op_type in IMPORTERS:
                IMPORTERS[node.op_type].run(call)
            else:
                raise Unsupported("the engine has no such operator")
            if self.graph.lost.intersection(node.input):
                self._lose(node.output)
        except Unsupported as error:
            owner = self._owner(node)
            reason = str(error) if owner is node else f"its definition has a {node.op_type}: {error}"
            if error.about in self.graph.lost:  # reported already
                self._lose(node.output)
            else:
                self._reject(owner.name or owner.output[0], owner.op_type, reason, node.output)

    def _check_there(self, name: str) -> None:
        if name in self.model.tensors:
            self.graph.add_tensor(name)
        elif name not in self.graph.open and name not in self.graph.makers and name not in self.graph.constants:
            raise Unsupported(f"{name!r} is a sparse tensor")

    def _add_branch(self, call: Call) -> None:
        condition = bool(call.value(call.input(0), "its condition").item())
        graph, types = branch(call.proto, condition)
        self.model.types.update(types)
        for tensor in graph.initializer:
            self.graph.constants[tensor.name] = self.model.array(tensor)
        owner, outer = self._owner(call.proto), self.within
        self.within = outer if owner is call.proto else owner
        self._add_nodes(graph.node, {output.name for output in graph.output})
        self.within = outer
        for place, output in enumerate(graph.output):
            if output.name in self.graph.lost:
                raise Unsupported("its branch has unsupported nodes", output.name)
            self._check_there(output.name)
            call.put(place, "identity", output.name)

    def _owner(self, node: onnx.NodeProto) -> onnx.NodeProto:
        """The node of the model that this one is, or whose definition it is a part of."""
        found = (self.model.definitions[name] for name in node.output if name in self.model.definitions)
        return next(found, self.within or node)

    def _reject(self, name: str, kind: str, reason: str, results: Sequence[str]) -> None:
        self.unsupported.setdefault(f"{name} ({kind})", reason)
        self._lose(results)

    def _lose(self, results: Sequence[str]) -> None:
        for name in filter(None, results):
            self.graph.lost.add(name)
            self.graph.open.add(name)
            known = self.model.types.get(name)
            if known is None or known.element in (None, FLOAT):
                self.graph.data.add(name)


def _size(name: str, axis: int, size: onnx.TensorShapeProto.Dimension) -> Size:
    if size.HasField("dim_value") and size.dim_value >= 0:
        return int(size.dim_value)
    return size.dim_param or f"{name}.{axis}"


def _drop_unused(graph: Graph) -> None:
    """Leave out nodes and constants that no output needs, such as those whose values became attributes."""

    def needed() -> Iterator[int]:
        for place in reversed(range(len(graph.nodes))):
            if used.intersection(graph.nodes[place].made()):
                used.update(graph.nodes[place].used())
                yield place

    used = set(graph.outputs)
    places = sorted(needed())
    graph.nodes = [graph.nodes[place] for place in places]
    graph.constants = {name: value for name, value in graph.constants.items() if name in used}
