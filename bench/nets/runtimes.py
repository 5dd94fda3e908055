"""Peers that read a file: inference engines on the ONNX export of a row, or on what their converters make of it.

Each is asked in the cheapest way its Python interface has; conversion is not part of its first call.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bench.nets.case import Case
from bench.nets.peers import WINOGRAD, Peer
from bench.nets.rows import Row
from bench.ops.row import Array
from bench.peers import Contender, Results, onnxruntime_contender
from bench.timing import timed

EXPORTER = ("onnx", "onnxscript")  # what PyTorch's exporter needs
# What is behind the program `mnnconvert`, which itself would install packages and report its use to a server.
MNN_CONVERT = "import sys, _tools; _tools.mnnconvert(sys.argv)"


class OnnxRuntime(Peer):
    """All of its graph optimisations, as by default."""

    name = "onnxruntime"
    distribution = "onnxruntime"
    modules = ("onnxruntime", *EXPORTER)

    def build(self, case: Case) -> Contender:
        return onnxruntime_contender(str(case.onnx), {"x": case.x}, case.threads)


class OpenVino(Peer):
    """One stream, and float32 unless it is asked for bfloat16, which its default may be."""

    name = "OpenVINO"
    distribution = "openvino"
    modules = ("openvino", *EXPORTER)
    precisions = ("fp32", "bf16")

    def build(self, case: Case) -> Contender:
        from openvino import Core

        core, path = Core(), case.onnx
        settings = {
            "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[case.row.precision],
            "INFERENCE_NUM_THREADS": case.threads,
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
        }
        compiled, seconds = timed(lambda: core.compile_model(core.read_model(path), "CPU", settings))
        request = compiled.create_infer_request()

        def results(returned: Any) -> Results:
            return (np.array(returned[0]),)

        return Contender(lambda: request.infer([case.x], share_inputs=True, share_outputs=True), results, seconds)


class Ncnn(Peer):
    """From ONNX by pnnx; float32 in weights, activations and arithmetic."""

    name = "ncnn"
    distribution = "ncnn"
    modules = ("ncnn", "pnnx", *EXPORTER)
    tolerance = WINOGRAD

    def unsuited(self, row: Row) -> str | None:
        return super().unsuited(row) or (None if row.batch == 1 else "takes one image at a time")

    def build(self, case: Case) -> Contender:
        import ncnn
        import pnnx

        param, weights = case.folder / "model.ncnn.param", case.folder / "model.ncnn.bin"
        shape = ",".join(map(str, case.x.shape))
        convert([pnnx.EXEC_PATH, case.onnx, f"inputshape=[{shape}]", "fp16=0"], [param, weights])

        def load() -> Any:
            net = ncnn.Net()
            net.opt.num_threads = case.threads
            net.opt.use_vulkan_compute = False
            for option in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_packed", "bf16_storage"):
                setattr(net.opt, f"use_{option}", False)
            if net.load_param(str(param)) or net.load_model(str(weights)):
                raise RuntimeError("it cannot read the files that pnnx wrote")
            return net

        net, seconds = timed(load)
        (x_name,), (y_name,) = net.input_names(), net.output_names()

        def call() -> Any:
            extractor = net.create_extractor()
            # A copy: kernels load whole registers from each channel, which only its own memory is aligned for.
            extractor.input(x_name, ncnn.Mat(case.x[0]).clone())
            failed, y = extractor.extract(y_name)
            if failed:
                raise RuntimeError(f"extract returned {failed}")
            return y

        return Contender(call, lambda y: (np.array(y)[np.newaxis],), seconds)


class Mnn(Peer):
    """From ONNX by its converter; precision "high" is float32."""

    name = "MNN"
    distribution = "MNN"
    modules = ("MNN", *EXPORTER)
    tolerance = WINOGRAD

    def build(self, case: Case) -> Contender:
        with stdout_as_stderr():
            import MNN

        path = case.folder / "model.mnn"
        command = [sys.executable, "-c", MNN_CONVERT, "-f", "ONNX", "--bizCode", "bench"]
        convert([*command, "--modelFile", case.onnx, "--MNNModel", path], [path])

        def load() -> tuple[Any, Any]:
            interpreter = MNN.Interpreter(str(path))
            settings = {"backend": "CPU", "precision": "high", "numThread": case.threads}
            return interpreter, interpreter.createSession(settings)

        with stdout_as_stderr():
            (interpreter, session), seconds = timed(load)
        x, y = interpreter.getSessionInput(session), interpreter.getSessionOutput(session)

        def host(array: Array) -> Any:
            return MNN.Tensor(array.shape, MNN.Halide_Type_Float, array, MNN.Tensor_DimensionType_Caffe)

        given, taken = host(case.x), host(np.empty(y.getShape(), np.float32))

        def call() -> Any:
            x.copyFrom(given)
            interpreter.runSession(session)
            y.copyToHostTensor(taken)
            return taken

        return Contender(call, lambda tensor: (np.array(tensor.getNumpyData()),), seconds)


def convert(command: Sequence[str | Path], made: Sequence[Path]) -> None:
    """Run a converter, in the folder of what it makes.

    Raises:
        RuntimeError: It failed, or did not make a file; with the last line that it said.
    """
    ran = subprocess.run([*map(str, command)], cwd=made[0].parent, capture_output=True, text=True, check=False)
    if ran.returncode or not all(path.exists() for path in made):
        said = (ran.stderr.strip() or ran.stdout.strip() or "nothing").splitlines()[-1]
        raise RuntimeError(f"{Path(command[0]).name} returned {ran.returncode} and said {said!r}")


@contextmanager
def stdout_as_stderr() -> Iterator[None]:
    """A library that prints, from C++ too: stdout is for the table, or for JSON."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        ctypes.CDLL(None).fflush(None)  # what C keeps in its buffer would be printed after all
        os.dup2(kept, 1)
        os.close(kept)
