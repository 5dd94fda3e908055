"""`neocog.compile` and `neocog.load`: a model, wherever it comes from, ready to run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from neocog._checks import one_of
from neocog.engine.compiled import CompiledModel
from neocog.engine.graph import Graph
from neocog.engine.operators import PRECISIONS

FORMATS = "an nn.Module, an ExportedProgram, an ONNX model or the path of a .onnx, .pt2 or .neocog file"


def compile(
    model: Any,
    example_inputs: Any = None,
    *,
    dynamic: bool = True,
    precision: str | None = None,
    num_threads: int | None = None,
) -> CompiledModel:
    """Make a network ready to run as one call, on NumPy arrays or PyTorch tensors.

    Args:
        model: A torch.nn.Module in evaluation mode, a torch.export.ExportedProgram, an onnx.ModelProto, a `Graph`, or
            the path of a .onnx, .pt2 (torch.export) or .neocog file.
        example_inputs: For an nn.Module: a tuple of tensors, or one.
        dynamic: For an nn.Module: whether batch and image sizes stay open, where the model allows it. With False they
            are those of the example, and torch.export takes a fraction of the time.
        precision: Of convolutions and linear layers. "bf16" allows these to round their input and weights to bfloat16,
            with sums, and all data between layers, in float32 (`neocog.ops.conv2d`); `explain` names the steps that do,
            and `save` keeps the choice. "fp32" does not allow it. None is "fp32", but a .neocog file or a graph that
            was made with "bf16" stays so.
        num_threads: Threads of a call; None follows `neocog.set_num_threads`.
    Raises:
        TypeError: The model is none of these, or example inputs are missing.
        ValueError: `precision` is none of these.
        UnsupportedError: Lists every operation that the engine does not have.
    """
    if precision is not None:
        one_of("precision", precision, PRECISIONS)
    graph = graph_of(model, example_inputs, dynamic=dynamic)
    return CompiledModel(graph, precision=precision, num_threads=num_threads)


def load(path: str | os.PathLike[str], *, num_threads: int | None = None) -> CompiledModel:
    """Load a model that `CompiledModel.save` wrote, of the precision that it had.

    Needs NumPy alone; weights are mapped, not read, until used.

    Raises:
        FileError: The file is damaged, or no `.neocog` file.
    """
    from neocog.engine.file import load as load_graph

    return CompiledModel(load_graph(Path(path)), num_threads=num_threads)


def graph_of(model: Any, example_inputs: Any = None, *, dynamic: bool = True) -> Graph:
    """What `compile` makes ready: the model as a graph."""
    if isinstance(model, Graph):
        return model
    if isinstance(model, (str, os.PathLike)):
        return _read(Path(model))
    kinds = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(model).__mro__}
    if any(kind.startswith("onnx.") and kind.endswith(".ModelProto") for kind in kinds):
        from neocog.engine.importers.onnx import from_onnx

        return from_onnx(model)
    if "torch.export.exported_program.ExportedProgram" in kinds:
        from neocog.engine.importers.aten import from_exported

        return from_exported(model)
    if "torch.nn.modules.module.Module" in kinds:
        if example_inputs is None:
            raise TypeError("`example_inputs` is missing: compile(model, (x,)) with a tensor x of a usual size.")
        from neocog.engine.importers.aten import from_module

        inputs = example_inputs if isinstance(example_inputs, tuple) else (example_inputs,)
        return from_module(model, inputs, dynamic=dynamic)
    raise TypeError(f"`model` is a {type(model).__name__}; it must be {FORMATS}.")


def _read(path: Path) -> Graph:
    if path.suffix == ".onnx":
        from neocog.engine.importers.onnx import from_onnx

        return from_onnx(path)
    if path.suffix == ".neocog":
        from neocog.engine.file import load as load_graph

        return load_graph(path)
    if path.suffix == ".pt2":
        import torch

        from neocog.engine.importers.aten import from_exported

        return from_exported(torch.export.load(path))
    raise ValueError(f"`model` is the path {str(path)!r}; it must end in .onnx, .pt2 or .neocog.")
