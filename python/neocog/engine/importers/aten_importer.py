"""From a torch.fx graph of aten operators to a Graph: names, constants, numbers of the plan, what is not supported."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import fx

from neocog.engine.graph import Array, Graph, Input, Node
from neocog.engine.importers.aten_names import SizeNames, layer_of, operator_of
from neocog.engine.importers.aten_registry import CONVERTERS, Result, Size, Unsupported, Value, plain_sizes, static
from neocog.engine.importers.aten_sizes import Sizes

_DTYPES = {torch.float32: "float32", torch.int64: "int64", torch.int32: "int32", torch.bool: "bool"}
# What these make must be known when the plan is made.
_NUMBERS_ONLY = frozenset(
    ("cast", "range", "full", "equal", "less", "greater", "logical_and", "logical_or", "logical_not", "where")
)
# Checks of sizes that were made while exporting.
_CHECKS = ("_assert_scalar", "_assert_async", "_assert_tensor_metadata", "sym_constrain_range")


class Importer:
    """Makes the graph of one `torch.fx.GraphModule`, operator by operator.

    Args:
        constants: Placeholders that are weights: for each the name that it gets, and the data.
        integers: Whether integer tensors among the inputs are numbers of the plan.
    Attributes:
        unsupported: The nodes that could not be imported, with the reason.
        imported: The nodes that the graph computes.
    """

    def __init__(self, constants: Mapping[str, tuple[str, Any]], *, integers: bool = True) -> None:
        self.graph = Graph([], [], [], {})
        self.sizes = Sizes(self)
        self.unsupported: dict[fx.Node, str] = {}
        self.imported: set[fx.Node] = set()
        self.transposed: dict[str, str] = {}  # matrices that are transposes of others
        self._constants, self._integers = constants, integers
        self._values: dict[fx.Node, Any] = {}
        self._known: set[str] = set()  # constants, and what is computed from them and from sizes
        self._taken: set[str] = set()
        self._cached: dict[Any, str] = {}
        self._pending: list[Node] = []
        self._result: Any = None
        self._current = self._layer = ""

    # What converters call

    def emit(self, op: str, *inputs: Value | str | None, **attributes: Any) -> str:
        """Append an operator with one result (`max_pool` too: see `emit_many`); returns the name of the result."""
        return self.emit_many(1, op, *inputs, **attributes)[0]

    def emit_many(self, count: int, op: str, *inputs: Value | str | None, **attributes: Any) -> list[str]:
        """Append an operator with `count` results."""
        names = tuple(value.name if isinstance(value, Value) else value for value in inputs)
        known = all(name is None or name in self._known for name in names)
        if op in _NUMBERS_ONLY and not known:
            raise Unsupported(f"{op} of data")
        results = [self._fresh(f"{self._current}.{op}") for _ in range(count)]
        self._pending.append(Node(op, names, tuple(results), attributes, self._layer))
        if known:
            self._known.update(results)
        return results

    def number(self, op: str, *names: str, like: str, **attributes: Any) -> str:
        """Append an operator on numbers of the plan; it stays, whatever becomes of the operator that asked for it."""
        name = self._fresh(like)
        self.graph.nodes.append(Node(op, names, (name,), attributes))
        self._known.add(name)
        return name

    def constant(self, array: Array, like: str) -> str:
        """The name of a small constant; equal ones are one."""
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._cached:
            self._cached[key] = self._fresh(like)
            self.graph.constants[self._cached[key]] = array
            self._known.add(self._cached[key])
        return self._cached[key]

    def integers(self, values: Sequence[int]) -> str:
        """The name of a vector of integers."""
        return self.constant(np.array(values, np.int64), "integers")

    def with_default(self, parameter: Value | None, default: float, like: Value) -> Value | str:
        """A parameter, or as many defaults as another one has values."""
        if parameter is not None:
            return parameter
        count = static(like.shape[0], "the number of channels")
        return self.constant(np.full(count, default, np.float32), "default")

    def scalar(self, value: float) -> str:
        """The name of a number for data; a number of the plan (torch.SymInt) can be one too."""
        if isinstance(value, (int, float)):
            return self.constant(np.array(value, np.float32), "scalar")
        number = self.number("cast", self.sizes.number(value), like="size", dtype="float32")
        return self.number("squeeze", number, like="size", axes=[0])

    def is_known(self, value: Value | str | None) -> bool:
        """Whether it is known when the plan is made."""
        return (value.name if isinstance(value, Value) else value) in self._known

    def result_shape(self) -> tuple[Size, ...]:
        """The shape of the result of the operator that is being converted."""
        return plain_sizes(self._result.shape)

    def result_dtype(self) -> torch.dtype:
        """Its dtype."""
        dtype: torch.dtype = self._result.dtype
        return dtype

    def results(self) -> int:
        """How many results it has."""
        return len(self._result)

    def is_constant(self, node: fx.Node) -> bool:
        """Whether all that a node makes is known when the plan is made."""
        return all(self.is_known(value) for value in _tensors(self._values.get(node)))

    # Walking the program

    def run(self, module: fx.GraphModule, conditions: Sequence[Any] = (), spelled: str = "") -> None:
        """Import all nodes; afterwards `unsupported` says which ones are missing.

        Args:
            conditions: What the program takes for granted about sizes, as torch's expressions.
            spelled: The same for people.
        """
        placeholders = [node for node in module.graph.nodes if node.op == "placeholder"]
        self._taken.update(node.name for node in module.graph.nodes)
        for node in placeholders:
            self._placeholder(node)
        self.sizes.solve()
        self._inputs(placeholders)
        if conditions:
            self._require(placeholders, conditions, spelled)
        for node in module.graph.nodes:
            if node.op == "get_attr":
                self._attribute(module, node)
            elif node.op == "call_function":
                self._call(node)
            elif node.op == "output":
                self._results(node)
            elif node.op != "placeholder":
                self._refuse(node, f"a node of the kind {node.op}")

    def _placeholder(self, node: fx.Node) -> None:
        like: Any = node.meta.get("val")
        if node.name in self._constants:
            name, data = self._constants[node.name]
            self._keep(node, name, data, like)
        elif isinstance(like, torch.Tensor):
            self._values[node] = Value(node.name, like)
            if like.dtype not in _DTYPES:
                self._refuse(node, f"an input of dtype {_spelled(like.dtype)}")
                return
            self.sizes.learn(node.name, tuple(like.shape))
            if not like.is_floating_point() and self._integers:
                self._known.add(node.name)

    def _inputs(self, placeholders: Sequence[fx.Node]) -> None:
        """The inputs of the graph, in the order of the placeholders; sizes that tensors tell are not among them."""
        names = SizeNames()
        for node in placeholders:
            like = node.meta.get("val")
            if node.name in self._constants:
                continue
            if isinstance(like, torch.Tensor):
                shape = names.of(tuple(like.shape))
                self.graph.inputs.append(Input(node.name, shape, _DTYPES.get(like.dtype, "float32")))
            elif isinstance(like, torch.SymInt) and not self.sizes.knows(like.node.expr):
                self.graph.inputs.append(Input(node.name, (), "int64"))
                self._known.add(node.name)
                vector = self.number("unsqueeze", node.name, like=f"{node.name}.size", axes=[0])
                self.sizes.learn_number(like.node.expr, vector)

    def _require(self, placeholders: Sequence[fx.Node], conditions: Sequence[Any], spelled: str) -> None:
        """Make sizes for which the program does not hold an error: a reshape that only others fit."""
        for node in placeholders:
            value = self._values.get(node)
            if not isinstance(value, Value) or all(isinstance(size, int) for size in value.shape):
                continue
            axis = next(axis for axis, size in enumerate(value.shape) if not isinstance(size, int))
            factor = self.sizes.factor_if(conditions)
            size = self.number("mul", self.sizes.number(value.shape[axis]), factor, like="size")
            before, after = ([self.integers([0] * count)] if count else [] for count in (axis, value.rank - axis - 1))
            shape = self.number("concat", *before, size, *after, like="sizes", axis=0)
            name = self._fresh(f"{value.name}.checked")
            self.graph.nodes.append(Node("reshape", (value.name, shape), (name,), {}, f"needs {spelled}"))
            self._values[node] = Value(name, value.like)
            return

    def _attribute(self, module: fx.GraphModule, node: fx.Node) -> None:
        data = module
        for part in str(node.target).split("."):
            data = getattr(data, part)
        if isinstance(data, torch.Tensor):
            self._keep(node, str(node.target), data, node.meta.get("val", data))
        else:
            self._values[node] = data

    def _keep(self, node: fx.Node, name: str, data: Any, like: torch.Tensor) -> None:
        """Make a tensor a constant, which shares its memory."""
        name = self._fresh(name) if name != node.name else name
        self._values[node] = Value(name, like)
        self._known.add(name)
        if like.dtype in _DTYPES and like.device.type == "cpu" and like.layout is torch.strided:
            self.graph.constants[name] = data if isinstance(data, np.ndarray) else data.detach().numpy()

    def _call(self, node: fx.Node) -> None:
        like = node.meta.get("val")
        if node.target is operator.getitem:
            self._item(node)
        elif isinstance(like, (int, float, torch.SymInt, torch.SymFloat, torch.SymBool)) or _is_check(node):
            return  # sizes are known by their expressions
        else:
            self._convert(node)

    def _item(self, node: fx.Node) -> None:
        source, index = node.args[0], node.args[1]
        assert isinstance(source, fx.Node)
        if source in self.unsupported:
            self._opaque(node)
            return
        value = self._values[source][index]
        if value is None:
            if node.users:
                self._refuse(node, f"result {index} of {operator_of(source)} is used")
            return
        self._values[node] = value
        self.imported.add(node)

    def _convert(self, node: fx.Node) -> None:
        self._pending, self._result = [], node.meta.get("val")
        self._current, self._layer = node.name, layer_of(node)
        try:
            converter = CONVERTERS.get(str(node.target))
            if converter is None:
                raise Unsupported("there is no such operator in the engine")
            arguments = fx.node.map_arg((node.args, node.kwargs), self._argument)
            for value in _tensors(arguments):
                _check_data(value.like)
                if not value.like.is_floating_point() and not self.is_known(value):
                    raise Unsupported(f"{_spelled(value.like.dtype)} values that depend on data")
            result = converter(self, *arguments[0], **arguments[1])
            self._finish(node, result)
        except Unsupported as unsupported:
            self._refuse(node, str(unsupported))
        else:
            self.imported.add(node)

    def _argument(self, node: fx.Node) -> Any:
        if node in self._values:
            return self._values[node]
        return node.meta.get("val")

    def _finish(self, node: fx.Node, result: Result) -> None:
        """Name the results after the node, and enter its operators into the graph."""
        likes = node.meta["val"]
        many = not isinstance(result, str)
        names: list[str | None] = list(result) if not isinstance(result, str) else [result]
        likes = list(likes) if isinstance(likes, (tuple, list)) else [likes]
        made = {name for pending in self._pending for name in pending.outputs}
        renamed = {
            name: node.name if not place else self._fresh(f"{node.name}.{place}")
            for place, name in enumerate(names)
            if name is not None and name in made
        }
        values: list[Value | None] = []
        for name, like in zip(names, likes, strict=False):
            if name is None:
                values.append(None)
                continue
            known = name in self._known
            if not known:
                _check_data(like)
            value = Value(renamed.get(name, name), like)
            if known:
                self._known.add(value.name)
            self.sizes.learn(value.name, value.shape)
            values.append(value)
        for pending in self._pending:
            pending.inputs = tuple(renamed.get(name, name) if name else None for name in pending.inputs)
            pending.outputs = tuple(renamed.get(name, name) if name else None for name in pending.outputs)
            if pending.op == "transpose" and pending["permutation"] == [1, 0]:
                self.transposed[next(pending.made())] = next(pending.used())
        self.graph.nodes.extend(self._pending)
        self._values[node] = values if many else values[0]

    def _refuse(self, node: fx.Node, reason: str) -> None:
        self.unsupported[node] = reason
        self._opaque(node)

    def _opaque(self, node: fx.Node) -> None:
        """Stand-ins for what is missing, so that all that is missing can be found."""
        like = node.meta.get("val")
        if isinstance(like, torch.Tensor):
            self._values[node] = Value(node.name, like)
        elif isinstance(like, (tuple, list)):
            self._values[node] = [Value(node.name, one) if isinstance(one, torch.Tensor) else None for one in like]

    def _results(self, node: fx.Node) -> None:
        given = {i.name for i in self.graph.inputs} | set(self.graph.constants)
        for result in _leaves(node.args[0]):
            if result is None:
                continue
            value = self._values.get(result) if isinstance(result, fx.Node) else None
            size = result.meta.get("val") if isinstance(result, fx.Node) else None
            if isinstance(value, Value):
                name = value.name
                if name in given:
                    name = self.number("identity", name, like=f"{name}.result")
            elif isinstance(size, torch.SymInt):
                name = self.number("squeeze", self.sizes.number(size), like="size", axes=[0])
            else:
                self.unsupported[node] = f"a result that is no tensor: {result}"
                continue
            self.graph.outputs.append(name)

    def _fresh(self, like: str) -> str:
        name, count = like, 0
        while name in self._taken:
            count += 1
            name = f"{like}_{count}"
        self._taken.add(name)
        return name


def _check_data(like: torch.Tensor) -> None:
    if like.dtype not in _DTYPES:
        raise Unsupported(f"dtype {_spelled(like.dtype)}; the engine computes in float32")
    if like.device.type not in ("cpu", "meta"):
        raise Unsupported(f"a tensor on {like.device}")
    if like.layout is not torch.strided:
        raise Unsupported(f"a tensor with the layout {like.layout}")


def _tensors(arguments: Any) -> list[Value]:
    return [value for value in _leaves(arguments) if isinstance(value, Value)]


def _leaves(tree: Any) -> list[Any]:
    if isinstance(tree, (list, tuple)):
        return [leaf for branch in tree for leaf in _leaves(branch)]
    if isinstance(tree, dict):
        return [leaf for branch in tree.values() for leaf in _leaves(branch)]
    return [tree]


def _is_check(node: fx.Node) -> bool:
    name = getattr(node.target, "__name__", str(node.target))
    return name.startswith(_CHECKS)


def _spelled(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
