"""A network as a list of operators: what importers make, passes rewrite, files hold and plans are made from.

A graph says what is computed, not how or where: sizes of batch and images are open, layouts and kernels are the plan's.
Its operators and their attributes are listed in `operators.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neocog.engine.operators import OPERATORS

Array = NDArray[Any]
Size = int | str  # a number, or the name of a size that is known when the graph runs


class GraphError(ValueError):
    """A graph that is not well-formed; the message names the node."""


@dataclass(frozen=True)
class Input:
    """An argument of the network.

    Floating-point inputs are data. Integers are numbers of the plan, such as the shape for a reshape: each of their
    values has a plan of its own.
    """

    name: str
    shape: tuple[Size, ...]
    dtype: str = "float32"


@dataclass
class Node:
    """One operator on named values.

    Args:
        op: One of `OPERATORS`.
        inputs: Names of values; None for an optional one that is absent.
        outputs: Names for the results; None for one that nobody wants.
        attributes: Integers, floats, strings, booleans, None and (nested) lists of them, as `OPERATORS` has them.
        name: For people: a layer's name in the model it came from.
    """

    op: str
    inputs: tuple[str | None, ...]
    outputs: tuple[str | None, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    name: str = ""

    def __getitem__(self, attribute: str) -> Any:
        """An attribute, or its default."""
        if attribute in self.attributes:
            return self.attributes[attribute]
        return OPERATORS[self.op].attributes[attribute].default

    def used(self) -> Iterator[str]:
        """The inputs that are there."""
        return (name for name in self.inputs if name is not None)

    def made(self) -> Iterator[str]:
        """The outputs that are wanted."""
        return (name for name in self.outputs if name is not None)

    def __str__(self) -> str:
        made = ", ".join(name or "_" for name in self.outputs)
        inputs = ", ".join(name or "_" for name in self.inputs)
        attributes = ", ".join(f"{key}={value}" for key, value in self.attributes.items())
        line = f"{made} = {self.op}({inputs}{'; ' if attributes else ''}{attributes})"
        return f"{line}  # {self.name}" if self.name else line


@dataclass
class Graph:
    """Operators in an order in which they can run.

    Args:
        inputs: In the order of a call.
        outputs: Names of values, in the order of the results.
        nodes: Each uses inputs, constants, and results of nodes before it.
        constants: Weights and numbers by name; never written to.
    """

    inputs: list[Input]
    outputs: list[str]
    nodes: list[Node]
    constants: dict[str, Array]

    def users(self) -> dict[str, list[Node]]:
        """The nodes that take each value; values that are results have an entry without nodes too."""
        found: dict[str, list[Node]] = {name: [] for name in self.outputs}
        for node in self.nodes:
            for name in node.used():
                found.setdefault(name, []).append(node)
        return found

    def makers(self) -> dict[str, Node]:
        """The node that makes each value; inputs and constants have none."""
        return {name: node for node in self.nodes for name in node.made()}

    def fresh_name(self, like: str) -> str:
        """A name that no value has."""
        taken = {i.name for i in self.inputs} | set(self.constants) | set(self.makers())
        name, count = like, 0
        while name in taken:
            count += 1
            name = f"{like}_{count}"
        return name

    def validate(self) -> None:
        """Check all that a plan relies on, but for shapes.

        Raises:
            GraphError: Names the node, what is wrong with it, and what it should be.
        """
        known: set[str] = set()
        for owner, names in (("an input", [i.name for i in self.inputs]), ("a constant", list(self.constants))):
            for name in names:
                if name in known:
                    raise GraphError(f"{owner} is called {name!r}, but so is another value; names must differ.")
                known.add(name)
        for name, value in self.constants.items():
            if not isinstance(value, np.ndarray):
                raise GraphError(f"constant {name!r} is a {type(value).__name__}; it must be a NumPy array.")
        for place, node in enumerate(self.nodes):
            where = f"node {place} ({node.name or ', '.join(node.made()) or node.op})"
            if node.op not in OPERATORS:
                raise GraphError(f"{where}: there is no operator {node.op!r}.")
            OPERATORS[node.op].check(where, len(node.inputs), node.inputs, len(node.outputs), node.attributes)
            for name in node.used():
                if name not in known:
                    raise GraphError(f"{where} uses {name!r}, which is no input, constant or result before it.")
            for name in node.made():
                if name in known:
                    raise GraphError(f"{where} makes {name!r}, but that name is taken; names must differ.")
                known.add(name)
        for name in self.outputs:
            if name not in known:
                raise GraphError(f"output {name!r} is made by no node.")

    def __str__(self) -> str:
        arguments = ", ".join(f"{i.name}: {i.dtype}[{', '.join(map(str, i.shape))}]" for i in self.inputs)
        lines = [f"graph({arguments}) -> {', '.join(self.outputs)}"]
        for name, value in self.constants.items():
            small = f" = {value.tolist()}" if value.size <= 8 else ""
            lines.append(f"  {name}: {value.dtype}[{', '.join(map(str, value.shape))}]{small}")
        lines.extend(f"  {node}" for node in self.nodes)
        return "\n".join(lines)
