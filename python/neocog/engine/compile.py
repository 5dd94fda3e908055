"""`neocog.compile` and `neocog.load`: a model, wherever it comes from, ready to run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neocog._checks import one_of
from neocog.engine.compiled import CompiledModel
from neocog.engine.graph import Graph, Input
from neocog.engine.operators import PRECISIONS

_MODULE = "torch.nn.modules.module.Module"
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

    It is planned, and its weights are packed, for the sizes of the example, or for those of its inputs where none is
    open; `save` writes them too. Other sizes are planned at their first call.

    Args:
        model: A torch.nn.Module in evaluation mode, a torch.export.ExportedProgram, an onnx.ModelProto, a `Graph`, or
            the path of a .onnx, .pt2 (torch.export) or .neocog file.
        example_inputs: A tuple of tensors, or one, of usual sizes. An nn.Module needs it; others may have it, and
            arrays or shapes in the place of tensors, as `CompiledModel.prepare` takes them.
        dynamic: For an nn.Module: whether batch and image sizes stay open, where the model allows it. With False they
            are those of the example, and torch.export takes a fraction of the time.
        precision: Of convolutions and linear layers. "bf16" allows these to round their input and weights to bfloat16,
            with sums, and all data between layers, in float32 (`neocog.ops.conv2d`); `explain` names the steps that do,
            and `save` keeps the choice. "fp32" does not allow it. None is "fp32", but a .neocog file or a graph that
            was made with "bf16" stays so.
        num_threads: Threads of a call; None follows `neocog.set_num_threads`.
    Raises:
        TypeError: The model is none of these, or example inputs are missing.
        ValueError: `precision` is none of these, or the example does not fit the model.
        UnsupportedError: Lists every operation that the engine does not have.
    """
    if precision is not None:
        one_of("precision", precision, PRECISIONS)
    if isinstance(model, (str, os.PathLike)) and Path(model).suffix == ".neocog":
        compiled = _loaded(Path(model), precision, num_threads, prepare=example_inputs is None)
    else:
        graph = graph_of(model, example_inputs, dynamic=dynamic)
        compiled = CompiledModel(graph, precision=precision, num_threads=num_threads)
    if example_inputs is not None:
        compiled.prepare(*_flattened(model, example_inputs))
    elif not compiled.prepared and all(_is_fixed(item) for item in compiled.inputs):
        compiled.prepare(*(item.shape for item in compiled.inputs))
    return compiled


def load(path: str | os.PathLike[str], *, num_threads: int | None = None, prepare: bool = True) -> CompiledModel:
    """Load a model that `CompiledModel.save` wrote, of the precision that it had.

    Needs NumPy alone. Weights are mapped: they are read when they are first used.

    Args:
        path: Of the file.
        num_threads: Threads of a call; None follows `neocog.set_num_threads`.
        prepare: Whether to plan, and pack the weights, for the sizes that the model was prepared for when it was saved
            (`CompiledModel.prepare`); if not, or for others, the first call does.
    Raises:
        FileError: The file is damaged, or no `.neocog` file.
    """
    return _loaded(Path(path), None, num_threads, prepare)


def _loaded(path: Path, precision: str | None, num_threads: int | None, prepare: bool) -> CompiledModel:
    from neocog.engine.file import file_error, read
    from neocog.engine.prepared import MOST_BYTES

    saved = read(path)
    compiled = CompiledModel(saved.graph, precision=precision, num_threads=num_threads)
    for sizes in saved.sizes:
        if not prepare:
            compiled.remember(sizes)
            continue
        try:
            compiled.prepare_for(sizes, most_bytes=MOST_BYTES)
        except (ValueError, TypeError) as error:
            raise file_error(path, ValueError(f"it was prepared for sizes that do not fit it: {error}")) from error
    return compiled


def _is_fixed(item: Input) -> bool:
    return item.dtype == "float32" and all(isinstance(size, int) for size in item.shape)


def graph_of(model: Any, example_inputs: Any = None, *, dynamic: bool = True) -> Graph:
    """What `compile` makes ready: the model as a graph."""
    if isinstance(model, Graph):
        return model
    if isinstance(model, (str, os.PathLike)):
        return _read(Path(model))
    kinds = _kinds(model)
    if any(kind.startswith("onnx.") and kind.endswith(".ModelProto") for kind in kinds):
        from neocog.engine.importers.onnx import from_onnx

        return from_onnx(model)
    if "torch.export.exported_program.ExportedProgram" in kinds:
        from neocog.engine.importers.aten import from_exported

        return from_exported(model)
    if _MODULE in kinds:
        if example_inputs is None:
            raise TypeError("`example_inputs` is missing: compile(model, (x,)) with a tensor x of a usual size.")
        from neocog.engine.importers.aten import from_module

        return from_module(model, _several(example_inputs), dynamic=dynamic)
    raise TypeError(f"`model` is a {type(model).__name__}; it must be {FORMATS}.")


def _kinds(model: Any) -> set[str]:
    """The names of its classes, so that frameworks need not be there to be told apart."""
    return {f"{kind.__module__}.{kind.__qualname__}" for kind in type(model).__mro__}


def _several(example_inputs: Any) -> tuple[Any, ...]:
    return example_inputs if isinstance(example_inputs, tuple) else (example_inputs,)


def _flattened(model: Any, example_inputs: Any) -> Sequence[Any]:
    """What the network takes of an example: of the arguments of a module the tensors, wherever they are."""
    if _MODULE not in _kinds(model):
        return _several(example_inputs)
    from neocog.engine.importers.aten import tensors_of

    return tensors_of(example_inputs)


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
