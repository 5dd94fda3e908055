"""What an import keeps of a model, what can be chosen, and how it refuses."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from onnx_models import model

onnx = pytest.importorskip("onnx")

from neocog.engine.graph import GraphError  # noqa: E402
from neocog.engine.importers import UnsupportedError  # noqa: E402
from neocog.engine.importers.onnx import from_onnx  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from reference_graph import run  # noqa: E402

SMALL = """g (float[N,3,H,W] x) => (float[N,8,H,W] y)
    <float[8,3,1,1] w = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24}> {
        [stem] t = Conv<kernel_shape=[1,1]>(x, w)
        [act] y = Relu(t)
    }"""


def test_names_and_sizes_are_kept():
    graph = from_onnx(model(SMALL, 17))
    assert [(i.name, i.shape, i.dtype) for i in graph.inputs] == [("x", ("N", 3, "H", "W"), "float32")]
    assert graph.outputs == ["y"]
    assert [(node.op, node.name) for node in graph.nodes] == [("conv", "stem"), ("relu", "act")]
    assert graph.nodes[0].inputs == ("x", "w")
    assert list(graph.constants) == ["w"]
    assert graph.constants["w"].shape == (8, 3, 1, 1)


def test_sizes_without_a_name_differ():
    graph = from_onnx(model("g (float[?,3,?] x) => (float[] y) { y = Relu(x) }", 17))
    assert graph.inputs[0].shape == ("x.0", 3, "x.2")


def test_a_file_and_its_bytes_make_the_same_graph(tmp_path):
    proto = model(SMALL, 17)
    path = tmp_path / "small.onnx"
    onnx.save(proto, path)
    assert str(from_onnx(path)) == str(from_onnx(str(path))) == str(from_onnx(path.read_bytes()))
    assert str(from_onnx(path)) == str(from_onnx(proto))


def test_the_model_is_not_written_to():
    proto = model("g (int64 n) => (float[N] y) { y = HannWindow(n) }", 17)  # expanded, with its defaults stated
    before = proto.SerializeToString()
    from_onnx(proto, values={"n": np.array(8)})
    assert proto.SerializeToString() == before


def test_initialisers_among_the_inputs_are_constants():
    proto = model(SMALL, 17)
    proto.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [8, 3, 1, 1]))
    assert [i.name for i in from_onnx(proto).inputs] == ["x"]


def test_integers_are_inputs_or_values():
    proto = model("g (float[N,6] x, int64[2] s) => (float[a,b] y) { y = Reshape(x, s) }", 17)
    graph = from_onnx(proto)
    assert [(i.name, i.dtype) for i in graph.inputs] == [("x", "float32"), ("s", "int64")]
    x, shape = np.arange(12, dtype=np.float32).reshape(2, 6), np.array([3, 4])
    np.testing.assert_array_equal(run(graph, [x, shape])[0], x.reshape(3, 4))
    graph = from_onnx(proto, values={"s": shape})
    assert [i.name for i in graph.inputs] == ["x"]
    np.testing.assert_array_equal(run(graph, [x])[0], x.reshape(3, 4))


def test_other_outputs_leave_out_what_they_do_not_need():
    text = "g (float[N,3] x) => (float[] y) { t = Relu(x) u = Exp(t) y = Det(u) }"
    graph = from_onnx(model(text, 17), outputs=["u", "x"])
    assert graph.outputs == ["u", "x"]
    assert [node.op for node in graph.nodes] == ["relu", "exp"]


def test_outputs_that_nothing_makes():
    with pytest.raises(GraphError, match=r"outputs has 'z', which no node makes; the model's outputs are y"):
        from_onnx(model(SMALL, 17), outputs=["z"])


def test_values_of_no_input():
    with pytest.raises(GraphError, match="values has 's', but the inputs of the ONNX model are x"):
        from_onnx(model(SMALL, 17), values={"s": np.zeros(1)})


# External data


@pytest.fixture
def model_beside_its_weights(tmp_path):
    path = tmp_path / "big.onnx"
    proto = model("g (float[N,100] x) => (float[] y) { y = MatMul(x, w) z = Add(y, b) }", 17)
    weight = numpy_helper.from_array(np.arange(5000, dtype=np.float32).reshape(100, 50), "w")
    bias = numpy_helper.from_array(np.ones(50, np.float32), "b")
    proto.graph.initializer.extend([weight, bias])
    onnx.save(proto, path, save_as_external_data=True, location="big.data", size_threshold=0)
    return path


def test_weights_in_a_file_of_their_own(model_beside_its_weights):
    graph = from_onnx(model_beside_its_weights)
    np.testing.assert_array_equal(graph.constants["w"], np.arange(5000, dtype=np.float32).reshape(100, 50))


def test_that_file_is_missing(model_beside_its_weights):
    (model_beside_its_weights.parent / "big.data").unlink()
    with pytest.raises(GraphError, match=r"tensor '[wb]' cannot be read from .*big\.data"):
        from_onnx(model_beside_its_weights)


def test_that_file_is_short(model_beside_its_weights):
    data = model_beside_its_weights.parent / "big.data"
    data.write_bytes(data.read_bytes()[:100])
    with pytest.raises(GraphError, match=r"tensor '[wb]'"):
        from_onnx(model_beside_its_weights)


def test_bytes_have_no_files_beside_them(model_beside_its_weights):
    with pytest.raises(GraphError, match=r"lies in the file 'big\.data'; import the model by its path"):
        from_onnx(model_beside_its_weights.read_bytes())


# What is unsupported


def test_all_unsupported_nodes_are_listed_at_once():
    text = """g (float[N,3,8,8] x, float[N,3,4,4,4] v, float16[N] h) => (float[] y, float[] z, float[] a) {
        [top] t, i = TopK<axis=1>(x, k)
        u = Relu(t)
        j = Cast<to=1>(i)
        [volume] w = Conv(v, f)
        [comparison] c = Less(u, x)
        y = Where(c, u, u)
        [own] z = mine.Own(x)
        a = Cast<to=1>(h)
    }"""
    text = text.replace("{\n", "<int64[1] k = {1}, float[1,3,1,1,1] f = {1,2,3}> {\n", 1)
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17, "mine" : 1]> {text}')
    proto.graph.output.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, None))
    with pytest.raises(UnsupportedError) as caught:
        from_onnx(proto)
    reasons = dict(caught.value.unsupported)
    # What fails because of another one, as the choice by c, is not listed.
    assert set(reasons) == {"h (input)", "top (TopK)", "volume (Conv)", "comparison (Less)", "own (Own)"}
    assert "it is float16" in reasons["h (input)"]
    assert reasons["top (TopK)"] == "the engine has no such operator"
    assert "3 spatial axes" in reasons["volume (Conv)"]
    assert "must be known before the network runs" in reasons["comparison (Less)"]
    assert "of the domain 'mine'" in reasons["own (Own)"]
    message = str(caught.value)
    assert message.startswith("5 nodes of the model cannot be imported:")
    assert all(f"{node}: {reason}" in message for node, reason in reasons.items())


def test_unsupported_parts_of_a_definition_name_the_node_of_the_model():
    text = """g (float[N,3] x, int64[N] labels) => (float[] y) {
        [loss] y = NegativeLogLikelihoodLoss(x, labels)
    }"""
    with pytest.raises(UnsupportedError, match=r"loss \(NegativeLogLikelihoodLoss\): its definition has a Gather"):
        from_onnx(model(text, 17))


UNSUPPORTED = {  # graph: reason
    "g (double[N] x) => (double[N] y) { y = Relu(x) }": "x (input): it is float64",
    "g (float16[N] x) => (float16[N] y) { y = Relu(x) }": "x (input): it is float16",
    "g (uint8[N] x) => (float[N] y) { y = Cast<to=1>(x) }": "x (input): it is uint8",
    "g (float x) => (double y) { y = Cast<to=11>(x) }": "data cannot become float64",
    "g (float[N,3] x) => (int64[] y) { y = ArgMax(x) }": "no such operator",
    "g (seq(float[N]) x) => (float[] y) { i = Constant<value_int=0>() y = SequenceAt(x, i) }": "of sequence_type",
    "g (float[N,3] x, int64[1] a) => (float[] y) { y = ReduceSum(x, a) }": "`axes` ('a') must be a constant",
    "g (float[N,3] x, float[4] s) => (float[] y) { y = Resize(x, , s) }": "its scales 's' follow from data",
    "g (float[N,1,8,8] x) => (float[] y, int64[] i) { y, i = MaxPool<kernel_shape=[2,2]>(x) }": "indices are wanted",
    'g (float[N,3] x) => (string[] y) { y = Constant<value_string="a">() }': "its value_string is no dense tensor",
    "g (int32[4] x) => (float[] y) { y = Softmax(x) }": "'x' is int32; it must be float32",
}


@pytest.mark.parametrize("graph", UNSUPPORTED, ids=list(UNSUPPORTED.values()))
def test_unsupported(graph):
    with pytest.raises(GraphError) as caught:
        from_onnx(model(graph, 17))
    assert UNSUPPORTED[graph] in str(caught.value)


def test_what_nobody_needs_may_be_unsupported():
    from_onnx(model('g (float[N] x) => (float[N] y) { t = Constant<value_string="a">() u = Det(x) y = Relu(x) }', 17))


def test_inputs_need_a_number_of_axes():
    proto = model("g (float[N] x) => (float[N] y) { y = Relu(x) }", 17)
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(UnsupportedError, match=r"x \(input\): its number of axes is not given"):
        from_onnx(proto)


# What is no valid model


@pytest.mark.parametrize("opset", [5, 29, 1000])
def test_opsets_that_are_not_known(opset):
    proto = model("g (float[N] x) => (float[N] y) { y = Relu(x) }", 17)
    proto.opset_import[0].version = opset
    with pytest.raises(GraphError, match=rf"of opset {opset}; it must be 6 to 28"):
        from_onnx(proto)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00" * 64, b"not a model", b"PK\x03\x04" + bytes(100), b"\x08\x08"],
    ids=["nothing", "zeros", "text", "archive", "version alone"],
)
def test_bytes_that_are_no_model(data):
    with pytest.raises(GraphError, match=f"these {len(data)} bytes are no ONNX model"):
        from_onnx(data)


def test_a_model_that_is_cut_off():
    data = model(SMALL, 17).SerializeToString()
    for end in range(0, len(data), 7):
        with pytest.raises(GraphError):
            from_onnx(data[:end])


def test_damage_is_found_or_harmless(rng):
    """Some changes make another valid model; none raises another error."""
    data = model(SMALL, 17).SerializeToString()
    for _ in range(300):
        damaged = bytearray(data)
        for place in rng.integers(len(data), size=2):
            damaged[place] = rng.integers(256)
        with contextlib.suppress(GraphError):
            from_onnx(bytes(damaged))


def test_a_path_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        from_onnx(tmp_path / "none.onnx")


INVALID = {
    "a cycle": "g (float[N] x) => (float[N] y) { t = Add(x, y) y = Relu(t) }",
    "an order in which it cannot run": "g (float[N] x) => (float[N] y) { y = Relu(t) t = Relu(x) }",
    "a value that nothing makes": "g (float[N] x) => (float[N] y) { y = Add(x, z) }",
    "two nodes that make one value": "g (float[N] x) => (float[N] y) { y = Relu(x) y = Exp(x) }",
    "no such operator in ONNX": "g (float[N] x) => (float[N] y) { y = Rely(x) }",
    "no such operator in this opset": "g (float[N] x) => (float[N] y) { y = Mish(x) }",
    "no such attribute": "g (float[N] x) => (float[N] y) { y = Relu<alpha=1.0>(x) }",
    "too few inputs": "g (float[N] x) => (float[N] y) { y = Add(x) }",
}


@pytest.mark.parametrize("name", INVALID)
def test_invalid_models(name):
    with pytest.raises(GraphError, match="the ONNX model is invalid"):
        from_onnx(model(INVALID[name], 17))


def test_a_tensor_with_too_few_values():
    proto = model(SMALL, 17)
    proto.graph.initializer[0].raw_data = b"\x00" * 8
    proto.graph.initializer[0].ClearField("float_data")
    with pytest.raises(GraphError):
        from_onnx(proto)
