"""The ONNX backend test suite on the engine, through the interface that ONNX gives a backend."""

from __future__ import annotations

import numpy as np
import onnx_suite
import pytest
from onnx_models import model

onnx = pytest.importorskip("onnx")

import neocog.onnx  # noqa: E402
from neocog.engine.compiled import CompiledModel  # noqa: E402
from neocog.engine.importers import UnsupportedError  # noqa: E402
from neocog.onnx import backend  # noqa: E402
from onnx import helper  # noqa: E402
from onnx.backend.test.runner import Runner  # noqa: E402


@pytest.mark.parametrize("name", onnx_suite.run_names())
def test_case(name):
    case = onnx_suite.cases()[name]
    prepared = backend.prepare(case.model)
    for inputs, expected in case.data:
        outputs = prepared.run(inputs)
        # The suite's own comparison, of shapes and dtypes too.
        Runner.assert_similar_outputs(expected, outputs, case.rtol, max(case.atol, 1e-6))


def test_devices():
    assert backend.supports_device("CPU")
    assert not backend.supports_device("CUDA:0")
    relu = model("g (float[2] x) => (float[2] y) { y = Relu(x) }", 17)
    with pytest.raises(ValueError, match="`device` is 'CUDA'; it must be 'CPU'"):
        backend.prepare(relu, "CUDA")
    assert backend.is_compatible(relu)
    assert not backend.is_compatible(relu, "CUDA")
    assert not backend.is_compatible(model("g (float[2] x) => (int64[] y) { y = ArgMax(x) }", 17))


def test_results_by_name_and_inputs_by_name():
    proto = model("g (float[2] x, float[2] z) => (float[2] d, float[2] s) { d = Sub(x, z) s = Add(x, z) }", 17)
    x, z = np.array([1, 2], np.float32), np.array([3, 5], np.float32)
    for inputs in ([x, z], {"z": z, "x": x}):
        outputs = backend.run_model(proto, inputs)
        np.testing.assert_array_equal(outputs["d"], x - z)
        np.testing.assert_array_equal(outputs.s, x + z)
    with pytest.raises(ValueError, match="inputs has x; the model's inputs are x, z"):
        backend.prepare(proto).run({"x": x})


def test_axes_among_the_inputs_may_change_from_call_to_call():
    proto = model("g (float[N,3] x, int64[1] a) => (float[] y) { y = ReduceSum<keepdims=0>(x, a) }", 17)
    prepared = backend.prepare(proto)
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    for axis in (0, 1):
        np.testing.assert_array_equal(prepared.run([x, np.array([axis])])[0], x.sum(axis))


def test_unsupported_models_are_refused_when_prepared():
    with pytest.raises(UnsupportedError, match="ArgMax"):
        backend.prepare(model("g (float[2] x) => (int64[] y) { y = ArgMax(x) }", 17))


def test_run_node():
    x = np.array([[-1, 2, -3]], np.float32)
    (y,) = backend.run_node(helper.make_node("LeakyRelu", ["x"], ["y"], alpha=0.5), [x])
    np.testing.assert_array_equal(y, [[-0.5, 2, -1.5]])
    (y,) = backend.run_node(helper.make_node("Squeeze", ["x"], ["y"], axes=[0]), [x], opset_version=11)
    np.testing.assert_array_equal(y, x[0])
    (y,) = backend.run_node(helper.make_node("Squeeze", ["x", "axes"], ["y"]), [x, np.array([0])])
    np.testing.assert_array_equal(y, x[0])
    (y,) = backend.run_node(helper.make_node("Add", ["x", "x"], ["y"]), [x])
    np.testing.assert_array_equal(y, 2 * x)


def test_load_takes_paths_bytes_and_models(tmp_path):
    proto = model("g (float[N] x) => (float[N] y) { y = Relu(x) }", 17)
    path = tmp_path / "relu.onnx"
    onnx.save(proto, path)
    for source in (path, str(path), path.read_bytes(), proto):
        network = neocog.onnx.load(source)
        assert isinstance(network, CompiledModel)
        np.testing.assert_array_equal(network(np.array([-1, 1], np.float32)), [0, 1])
