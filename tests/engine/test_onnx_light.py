"""The whole networks that come with the ONNX backend test suite, AlexNet to ResNet: their graphs, and on the engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from neocog.engine.compiled import CompiledModel  # noqa: E402
from neocog.engine.importers.onnx import from_onnx  # noqa: E402
from onnx import numpy_helper  # noqa: E402

PATHS = sorted((Path(onnx.__file__).parent / "backend" / "test" / "data" / "light").glob("*.onnx"))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_light_model(path):
    """Opset 9; the weights are all made by ConstantOfShape, so that the outputs are those of any order of channels."""
    model = onnx.load(path)
    weights = {tensor.name for tensor in model.graph.initializer}
    graph = from_onnx(path)
    assert [i.name for i in graph.inputs] == [i.name for i in model.graph.input if i.name not in weights]
    assert graph.outputs == [output.name for output in model.graph.output]
    convolutions = [node.name for node in model.graph.node if node.op_type == "Conv"]
    assert [node.name for node in graph.nodes if node.op == "conv"] == convolutions

    (shape,) = (i.shape for i in graph.inputs)
    count = int(np.prod(shape))
    x = (np.arange(count).reshape(shape) / count).astype(np.float32)  # the suite's input
    tensor = onnx.TensorProto.FromString(path.with_name(f"{path.stem}_output_0.pb").read_bytes())
    np.testing.assert_allclose(CompiledModel(graph)(x), numpy_helper.to_array(tensor), rtol=1e-3, atol=1e-7)


def test_there_are_nine():
    assert len(PATHS) == 9
