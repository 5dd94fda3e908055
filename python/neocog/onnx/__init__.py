"""ONNX models on neocog's engine: `load`, and the interface of ONNX' backends in `neocog.onnx.backend`."""

from __future__ import annotations

import os

import onnx

from neocog.engine.compile import compile
from neocog.engine.compiled import CompiledModel
from neocog.engine.importers.onnx import from_onnx


def load(model: str | os.PathLike[str] | bytes | onnx.ModelProto, *, num_threads: int | None = None) -> CompiledModel:
    """Make an ONNX model ready to run.

    Args:
        model: A path, the bytes of a file, or a ModelProto, of opset 6 to 28. If it leaves no size open, its weights
            are packed now, not by the first call.
        num_threads: Threads of a call; None follows `neocog.set_num_threads`.
    Returns:
        The model; its call takes NumPy arrays or tensors in the order of the model's inputs.
    Raises:
        GraphError: The model is damaged, invalid, of another opset, or lacks a file of its tensors.
        UnsupportedError: Some nodes have no counterpart in the engine; the message lists all of them.
    """
    return compile(from_onnx(model), num_threads=num_threads)
