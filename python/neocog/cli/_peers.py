"""Who is timed beside neocog: what is installed and can run the model as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module, metadata
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neocog.cli._models import Model

Array = NDArray[Any]


@dataclass(frozen=True)
class Contender:
    """One library with the model loaded.

    Args:
        name: Of the library.
        version: Of the library.
        call: What is timed: one inference.
        results: What a call returned, as arrays.
    """

    name: str
    version: str
    call: Callable[[], Any]
    results: Callable[[Any], list[Array]]


def find_peers(model: Model, arrays: Sequence[Array], threads: int) -> tuple[list[Contender], dict[str, str]]:
    """The peers that can run a model, and why the others cannot.

    Args:
        model: With a path or a module for peers to run.
        arrays: What it is given, in the order of its inputs.
        threads: Of every peer; PyTorch's are set by `torch_threads`.
    """
    found: list[Contender] = []
    absent: dict[str, str] = {}
    for name, (build, needs_onnx) in _PEERS.items():
        if not find_spec(name):
            absent[name] = f"not installed: pip install {name}"
        elif needs_onnx and (model.path is None or model.path.suffix != ".onnx"):
            absent[name] = "takes .onnx files only"
        elif not needs_onnx and model.module is None:
            absent[name] = "takes .pt2 files and names of models only"
        else:
            try:
                found.append(build(model, arrays, threads))
            except Exception as error:
                # A library may raise anything over a model that it does not know, and is then left out by name.
                absent[name] = f"cannot run it: {' '.join(str(error).split())[:200]}"
    return found, absent


def neocog(model: Model, arrays: Sequence[Array], threads: int) -> Contender:
    """neocog itself, on NumPy arrays."""
    import neocog as package

    compiled = package.compile(model.graph, num_threads=threads)
    return Contender("neocog", package.__version__, lambda: compiled.run(*arrays), _as_arrays)


def _onnxruntime(model: Model, arrays: Sequence[Array], threads: int) -> Contender:
    onnxruntime = import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(model.path), options, providers=["CPUExecutionProvider"])
    feed = {item.name: np.ascontiguousarray(array) for item, array in zip(session.get_inputs(), arrays, strict=True)}
    return Contender("onnxruntime", _version("onnxruntime"), lambda: session.run(None, feed), _as_arrays)


def _openvino(model: Model, arrays: Sequence[Array], threads: int) -> Contender:
    core = import_module("openvino").Core()
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",  # its default may be bfloat16
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
    }
    compiled = core.compile_model(core.read_model(model.path), "CPU", settings)
    request = compiled.create_infer_request()
    feed = [np.ascontiguousarray(array) for array in arrays]

    def results(_: Any) -> list[Array]:
        return [np.array(request.get_output_tensor(i).data) for i in range(len(compiled.outputs))]

    return Contender(
        "openvino",
        _version("openvino"),
        lambda: request.infer(feed, share_inputs=True, share_outputs=True),
        results,
    )


def _torch(model: Model, arrays: Sequence[Array], threads: int) -> Contender:
    import torch

    tensors = [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]

    def call() -> Any:
        with torch.inference_mode():
            return model.module(*tensors)

    def results(returned: Any) -> list[Array]:
        leaves, _ = torch.utils._pytree.tree_flatten(returned)
        return [leaf.numpy() for leaf in leaves if isinstance(leaf, torch.Tensor)]

    call()
    return Contender("torch", str(torch.__version__), call, results)


_PEERS: dict[str, tuple[Callable[[Model, Sequence[Array], int], Contender], bool]] = {
    "onnxruntime": (_onnxruntime, True),
    "openvino": (_openvino, True),
    "torch": (_torch, False),
}


@contextmanager
def torch_threads(contenders: Sequence[Contender], threads: int) -> Iterator[None]:
    """While it is open, PyTorch uses this many threads, if it takes part."""
    if all(contender.name != "torch" for contender in contenders):
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _as_arrays(returned: Any) -> list[Array]:
    return [np.asarray(array) for array in returned]


def _version(package: str) -> str:
    return metadata.version(package)
