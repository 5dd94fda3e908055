"""What an importer of one ONNX operator sees: the call it imports, and the graph that grows.

An importer is a function of a `Call`, registered under ONNX' names. It reads inputs and attributes, adds nodes, and
ends with `call.finish(...)`, or raises `Unsupported` with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

from neocog.engine.evaluate import can_evaluate, evaluate
from neocog.engine.graph import Array, GraphError, Node
from neocog.engine.importers.onnx_read import Dims, Model, ValueType

FLOAT = onnx.TensorProto.FLOAT
# Element types that operators of the graph can make, by ONNX' number.
DTYPES: dict[int, str] = {
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.DOUBLE: "float64",
    onnx.TensorProto.INT32: "int32",
    onnx.TensorProto.INT64: "int64",
    onnx.TensorProto.BOOL: "bool",
}


_NO_NUMBERS = (onnx.TensorProto.STRING, onnx.TensorProto.COMPLEX64, onnx.TensorProto.COMPLEX128)


class Unsupported(Exception):
    """The engine cannot do what a node asks.

    Args:
        reason: For people.
        about: The value that is not as it should be, if it is one's fault.
    """

    def __init__(self, reason: str, about: str | None = None) -> None:
        super().__init__(reason)
        self.about = about


def element_name(element: int | None) -> str:
    """An element type for messages: "float16"."""
    if element is None:
        return "an unknown type"
    names: dict[int, str] = {number: name.lower() for name, number in onnx.TensorProto.DataType.items()}
    return DTYPES.get(element, names.get(element, f"of type {element}"))


@dataclass
class Growing:
    """The graph so far.

    Args:
        model: Where it comes from.
        data: Float values that depend on what the network is shown; all others are numbers of the plan.
        open: Values that depend on any input; all others are constants.
        lost: Results of nodes that are unsupported, and what follows from them.
        sizes: Of results of `shape`, what is known.
    """

    model: Model
    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)
    makers: dict[str, Node] = field(default_factory=dict)
    data: set[str] = field(default_factory=set)
    open: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    sizes: dict[str, Dims] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    _folded: dict[str, Array | None] = field(default_factory=dict)

    def fresh(self, like: str) -> str:
        name, count = like, 0
        while name in self.taken:
            count += 1
            name = f"{like}_{count}"
        self.taken.add(name)
        return name

    def add(self, node: Node) -> None:
        self.nodes.append(node)
        # The shape of data is a number of the plan.
        shows = node.op not in ("shape", "size") and any(name in self.data for name in node.used())
        is_open = any(name in self.open for name in node.used())
        for name in node.made():
            self.makers[name] = node
            self.taken.add(name)
            if shows:
                self.data.add(name)
            if is_open:
                self.open.add(name)

    def add_tensor(self, name: str) -> None:
        """Make an initialiser of the model a constant, when first used."""
        if name not in self.constants:
            self.constants[name] = self.model.array(self.model.tensors[name])

    def known(self, name: str) -> Array | None:
        """The value of a constant, also one that nodes make of constants; None if it depends on an input."""
        if name in self.constants:
            return self.constants[name]
        if name in self.open or name not in self.makers:
            return None
        if name not in self._folded:
            node = self.makers[name]
            arguments = [None if i is None else self.known(i) for i in node.inputs]
            missing = any(a is None and i is not None for a, i in zip(arguments, node.inputs, strict=True))
            foldable = can_evaluate(node.op) and not missing
            self._folded[name] = evaluate(node, arguments)[0] if foldable else None
        return self._folded[name]


@dataclass
class Call:
    """One node of the model while it is imported."""

    graph: Growing
    proto: onnx.NodeProto
    name: str  # for people
    inputs: list[str | None]
    outputs: list[str | None]  # None where nobody wants it

    @property
    def type(self) -> str:
        return self.proto.op_type

    @property
    def opset(self) -> int:
        return self.graph.model.opset

    # What the node says

    def attribute(self, name: str, default: Any = None) -> Any:
        """The value of an attribute: a number, a string, a list, a tensor."""
        for proto in self.proto.attribute:
            if proto.name == name:
                value = onnx.helper.get_attribute_value(proto)
                if isinstance(value, bytes):
                    return value.decode(errors="replace")
                return list(value) if proto.type in _LISTS else value
        return default

    def choose(self, name: str, default: str, options: dict[str, str]) -> str:
        """The graph's word for the value of a string attribute."""
        value = self.attribute(name, default)
        if value not in options:
            raise Unsupported(f"{name}={value!r}; it can be {', '.join(options)}")
        return options[value]

    def input(self, place: int) -> str:
        """An input that must be there."""
        name = self.optional(place)
        if name is None:
            raise Unsupported(f"it lacks input {place}")
        return name

    def optional(self, place: int) -> str | None:
        return self.inputs[place] if place < len(self.inputs) else None

    def want(self, place: int) -> bool:
        """Whether somebody uses this output."""
        return place < len(self.outputs) and self.outputs[place] is not None

    # What is known of values

    def type_of(self, name: str) -> ValueType:
        if name in self.graph.model.types:
            return self.graph.model.types[name]
        value = self.graph.known(name)
        if value is None:
            return ValueType()
        return ValueType(onnx.helper.np_dtype_to_tensor_dtype(value.dtype), tuple(value.shape))

    def element(self, name: str) -> int | None:
        return self.type_of(name).element

    def shape(self, name: str) -> Dims | None:
        return self.type_of(name).shape

    def rank(self, name: str, why: str) -> int:
        shape = self.shape(name)
        if shape is None:
            raise Unsupported(f"the number of axes of {name!r} is not known, but {why}", name)
        return len(shape)

    def is_data(self, name: str) -> bool:
        return name in self.graph.data

    def is_constant(self, name: str) -> bool:
        return name not in self.graph.open

    def known(self, name: str | None) -> Array | None:
        return None if name is None else self.graph.known(name)

    def value(self, name: str, what: str) -> Array:
        """The value of an input that must be a constant."""
        value = self.graph.known(name)
        if value is None:
            raise Unsupported(f"{what} ({name!r}) must be a constant, but follows from an input", name)
        return value

    def integers(self, name: str, what: str) -> list[int]:
        return [int(value) for value in np.atleast_1d(self.value(name, what)).tolist()]

    # What is made

    def constant(self, value: Any, dtype: Any, like: str = "constant") -> str:
        """A new constant."""
        array = np.asarray(value, dtype)
        name = self.graph.fresh(f"{self._base()}/{like}")
        self.graph.constants[name] = array
        return name

    def emit(self, op: str, *inputs: str | None, **attributes: Any) -> str:
        """Add a node, and give its result a new name."""
        name = self.graph.fresh(f"{self._base()}/{op}")
        self.graph.add(Node(op, _without_absent(inputs), (name,), attributes, self.name))
        return name

    def finish(self, op: str, *inputs: str | None, **attributes: Any) -> None:
        """Add the node that makes the first result of the model's node."""
        self.put(0, op, *inputs, **attributes)

    def put(self, place: int, op: str, *inputs: str | None, **attributes: Any) -> None:
        """Add the node that makes this result of the model's node, if somebody wants it."""
        if self.want(place):
            name = self.outputs[place]
            self.graph.add(Node(op, _without_absent(inputs), (name,), attributes, self.name))

    def finish_constant(self, value: Array) -> None:
        """Make the first result a constant."""
        if self.want(0):
            name = self.outputs[0]
            assert name is not None
            self.graph.constants[name] = value

    def _base(self) -> str:
        return next((name for name in self.outputs if name is not None), self.name)


_LISTS = (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS, onnx.AttributeProto.STRINGS)


def _without_absent(inputs: Iterable[str | None]) -> tuple[str | None, ...]:
    """Optional inputs at the end that are absent are left out."""
    names = list(inputs)
    while names and names[-1] is None:
        names.pop()
    return tuple(names)


Function = Callable[[Call], None]


@dataclass(frozen=True)
class Importer:
    """How calls of one ONNX operator become nodes.

    Args:
        function: Adds the nodes.
        takes: "images": floating-point tensors; "any": also numbers of the plan, of any type; "numbers": no data.
        since: The first opset whose definition it follows.
    """

    function: Function
    takes: str
    since: int

    def run(self, call: Call) -> None:
        """Import a call.

        Raises:
            Unsupported: With the reason.
        """
        if call.opset < self.since:
            raise Unsupported(f"its form before opset {self.since} (this is {call.opset}) is not supported")
        self._check_types(call)
        try:
            self.function(call)
        except GraphError as error:
            raise Unsupported(str(error)) from error

    def _check_types(self, call: Call) -> None:
        # Those that are lost come last: what is wrong with them says little.
        places = [(name, place) for place, name in enumerate(call.inputs) if name is not None]
        for name, place in sorted(places, key=lambda item: item[0] in call.graph.lost):
            element = call.element(name)
            found = f"{name!r} is {element_name(element)}"
            if call.is_data(name):
                if self.takes == "numbers":
                    raise Unsupported(f"{name!r} follows from data; it must be known before the network runs", name)
                if element not in (FLOAT, None):
                    raise Unsupported(f"{found}; the engine computes in float32", name)
            elif element in _NO_NUMBERS or (self.takes == "images" and place == 0 and element not in (FLOAT, None)):
                raise Unsupported(f"{found}; it must be {'float32' if self.takes == 'images' else 'numbers'}", name)


IMPORTERS: dict[str, Importer] = {}


def imports(*types: str, takes: str = "images", since: int = 0) -> Callable[[Function], Function]:
    """Register a function for these ONNX operators."""

    def register(function: Function) -> Function:
        for name in types:
            IMPORTERS[name] = Importer(function, takes, since)
        return function

    return register
