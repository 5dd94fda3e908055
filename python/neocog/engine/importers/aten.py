"""Graphs from PyTorch: exported programs, modules (which are exported here), and torch.fx graphs of aten operators.

The converters of the operators lie beside this file, by subject; `aten_importer` walks the program.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import fx, nn
from torch.export.graph_signature import InputKind, OutputKind
from torch.utils._pytree import tree_leaves

from neocog.engine.graph import Graph, GraphError
from neocog.engine.importers import (
    UnsupportedError,
    aten_images,
    aten_layers,
    aten_neocog,
    aten_norms,
    aten_numbers,
    aten_pointwise,
    aten_reductions,
    aten_shapes,
    aten_views,
)
from neocog.engine.importers.aten_export import decisions, decomposed, export, spelled
from neocog.engine.importers.aten_importer import Importer
from neocog.engine.importers.aten_names import describe

# Each of these fills the table of converters.
SUBJECTS = (
    aten_images,
    aten_layers,
    aten_neocog,
    aten_norms,
    aten_numbers,
    aten_pointwise,
    aten_reductions,
    aten_shapes,
    aten_views,
)


def from_module(module: nn.Module, example_inputs: tuple[Any, ...], *, dynamic: bool = True) -> Graph:
    """The graph of a module; the module stays as it is.

    Args:
        module: In evaluation mode. Its parameters and buffers are shared with the graph.
        example_inputs: Positional arguments of the module. Of tensors of two axes or more the batch is left open, of
            images (N, C, L) and (N, C, H, W) the spatial sizes too, as far as the module allows it.
        dynamic: Whether sizes are left open; if not, the graph is for the sizes of the example.
    Raises:
        GraphError: The module is in training mode.
        UnsupportedError: Lists the operators that the engine does not have.
    Source: torch.export, https://docs.pytorch.org/docs/stable/export.html
    """
    training = [name for name, layer in module.named_modules() if layer.training]
    if training:
        which = f"its layer {training[0]!r}" if training[0] else "the module"
        raise GraphError(f"`module` must be in evaluation mode, but {which} is in training mode: call model.eval().")
    return from_exported(export(module, example_inputs, dynamic=dynamic))


def tensors_of(example_inputs: Any) -> list[torch.Tensor]:
    """Those of a module's arguments that its graph takes, in the order of the graph's inputs."""
    return [leaf for leaf in tree_leaves(example_inputs) if isinstance(leaf, torch.Tensor)]


def from_exported(program: torch.export.ExportedProgram) -> Graph:
    """The graph of a program that torch.export made; parameters and buffers share memory with the program's.

    Inputs and results are those of the program, flattened. Constants have the qualified names of the parameters, nodes
    those of their modules.

    What the program takes for granted about sizes that it leaves open, because the code of the model asked for it, the
    graph checks: other sizes are an error.

    Raises:
        UnsupportedError: Lists the operators that the engine does not have.
    """
    asked = decisions(program)
    program = decomposed(program)
    signature = program.graph_signature
    constants: dict[str, tuple[str, Any]] = {}
    refused: list[tuple[str, str]] = []
    for spec in signature.input_specs:
        name, target = getattr(spec.arg, "name", ""), spec.target or ""
        if spec.kind is InputKind.USER_INPUT:
            continue
        if spec.kind in (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR):
            held = program.constants if target in program.constants else program.state_dict
            constants[name] = (target, held[target])
        else:
            refused.append((target or name, f"an input of the kind {spec.kind.name}"))
    for out in signature.output_specs:
        if out.kind is not OutputKind.USER_OUTPUT:
            refused.append((out.target or "", f"the program writes to it ({out.kind.name})"))
    return _checked(program.graph_module, constants, refused, asked, " and ".join(spelled(asked, program)))


def from_fx(module: fx.GraphModule, constants: Mapping[str, torch.Tensor] | None = None) -> Graph:
    """The graph of a torch.fx module of aten operators whose nodes have `meta["val"]`.

    Args:
        module: Functional: no operator writes to its arguments.
        constants: The placeholders that are weights, with their tensors, which the graph shares.
    Returns:
        Inputs have the names of the placeholders; a size among them is an integer input only where no tensor tells it.
    Raises:
        UnsupportedError: Lists the operators that the engine does not have.
    """
    return _checked(module, {name: (name, tensor) for name, tensor in (constants or {}).items()}, [])


def _checked(
    module: fx.GraphModule,
    constants: dict[str, tuple[str, Any]],
    refused: list[tuple[str, str]],
    conditions: Sequence[Any] = (),
    conditions_spelled: str = "",
) -> Graph:
    importer = Importer(constants)
    importer.run(module, conditions, conditions_spelled)
    refused += [describe(node, reason) for node, reason in importer.unsupported.items()]
    if refused:
        raise UnsupportedError(refused)
    graph = importer.graph
    _prune(graph)
    graph.validate()
    return graph


def _prune(graph: Graph) -> None:
    """Leave out what no result needs."""
    needed = set(graph.outputs)
    kept = []
    for node in reversed(graph.nodes):
        if needed.isdisjoint(node.made()):
            continue
        outputs = [name if name in needed else None for name in node.outputs]
        while outputs[-1] is None:
            outputs.pop()
        node.outputs = tuple(outputs)
        needed.update(node.used())
        kept.append(node)
    graph.nodes = kept[::-1]
    graph.constants = {name: value for name, value in graph.constants.items() if name in needed}
