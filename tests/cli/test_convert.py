"""`neocog convert`: its file against the model it came from, its words against the graphs, its errors."""

from __future__ import annotations

import json
import sys

import neocog
import numpy as np
import pytest
from command_models import classifier, run, write
from neocog import cli
from neocog.cli.convert import fused
from neocog.engine.file import load, read_metadata
from neocog.engine.graph import Graph, Input, Node

onnx = pytest.importorskip("onnx")
torch = pytest.importorskip("torch")


@pytest.fixture
def onnx_model(tmp_path, rng):
    """Convolution, batch norm, sum and ReLU: one step of the file."""
    from onnx import TensorProto, helper, numpy_helper

    arrays = {"w": rng.standard_normal((3, 3, 3, 3), np.float32)}
    arrays |= {name: rng.uniform(0.5, 2, 3).astype(np.float32) for name in ("scale", "shift", "mean", "var")}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["a", "scale", "shift", "mean", "var"], ["b"]),
        helper.make_node("Add", ["b", "x"], ["c"]),
        helper.make_node("Relu", ["c"], ["y"]),
    ]
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3, "H", "W"]) for name in "xy"]
    tensors = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "small", sides[:1], sides[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "small.onnx")
    return tmp_path / "small.onnx"


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 5, 3)
        self.act = torch.nn.SiLU()

    def forward(self, x):
        return self.act(self.conv(x)).mean((2, 3))


def test_an_onnx_model_becomes_a_file_that_computes_the_same(tmp_path, capsys, rng, onnx_model):
    from onnx.reference import ReferenceEvaluator

    code, out, _ = run(capsys, "convert", onnx_model, tmp_path / "small.neocog")
    assert code == 0
    x = rng.standard_normal((2, 3, 6, 7), np.float32)
    (expected,) = ReferenceEvaluator(str(onnx_model)).run(None, {"x": x})
    np.testing.assert_allclose(neocog.load(tmp_path / "small.neocog")(x), expected, rtol=1e-4, atol=1e-4)
    assert read_metadata(tmp_path / "small.neocog")["source"] == "small.onnx"
    lines = out.splitlines()
    assert lines[0].startswith(f"{tmp_path / 'small.neocog'}: 0.0 MB, ")
    rows = {line.split()[0]: line.split()[1:] for line in lines if line}
    assert rows["conv"] == ["1", "1"]
    assert rows["batch_norm"] == rows["add"] == rows["relu"] == ["1", "-"]
    assert rows["all"] == ["4", "1"]
    assert "fused:    1 activation, 1 sum, 1 batch norm" in lines
    assert "input:    x: float32 (N, 3, H, W)" in lines


def test_json_says_what_the_table_says(tmp_path, capsys, onnx_model):
    path = tmp_path / "small.neocog"
    _, out, _ = run(capsys, "convert", onnx_model, path, "--json")
    graph = load(path)
    assert json.loads(out) == {
        "model": str(onnx_model),
        "file": str(path),
        "bytes": path.stat().st_size,
        "weights": "those of the model",
        "numbers": sum(array.size for array in graph.constants.values()),
        "inputs": [{"name": "x", "dtype": "float32", "shape": ["N", 3, "H", "W"]}],
        "outputs": graph.outputs,
        "operators": {"model": {"conv": 1, "batch_norm": 1, "add": 1, "relu": 1}, "file": {"conv": 1}},
        "prepared": [],
        "fused": {"activations": 1, "sums": 1, "batch norms": 1},
    }


def test_an_exported_program_becomes_a_file_that_computes_the_same(tmp_path, capsys):
    torch.manual_seed(0)
    model, x = Net().eval(), torch.randn(2, 3, 9, 8)
    torch.export.save(torch.export.export(model, (x,)), tmp_path / "net.pt2")
    assert run(capsys, "convert", tmp_path / "net.pt2", tmp_path / "net.neocog")[0] == 0
    with torch.no_grad():
        expected = model(x).numpy()
    np.testing.assert_allclose(neocog.load(tmp_path / "net.neocog")(x.numpy()), expected, rtol=1e-4, atol=1e-5)


def test_a_name_becomes_a_file_with_the_weights_that_are_given(tmp_path, capsys):
    from neocog.models import create_model

    torch.manual_seed(1)
    model = create_model("m3", num_classes=4, in_channels=2).eval()
    torch.save(model.state_dict(), tmp_path / "m3.pt")
    options = ("--num-classes", 4, "--in-channels", 2, "--weights", tmp_path / "m3.pt")
    code, out, _ = run(capsys, "convert", "m3", *options, tmp_path / "m3.neocog")
    assert code == 0
    assert f"weights:  those of {tmp_path / 'm3.pt'}" in out
    assert "(batch, 2, " in out  # the batch stays open
    x = torch.randn(3, 2, 16000)
    with torch.no_grad():
        expected = model(x).numpy()
    np.testing.assert_allclose(neocog.load(tmp_path / "m3.neocog")(x.numpy()), expected, rtol=1e-3, atol=1e-4)


def test_fresh_weights_are_named_and_follow_the_seed(tmp_path, capsys, monkeypatch):
    module = type(sys)("net_of_this_test")
    module.Net = Net
    monkeypatch.setitem(sys.modules, "net_of_this_test", module)
    made = []
    for i, seed in enumerate((0, 0, 1)):
        words = ("net_of_this_test:Net", tmp_path / f"{i}.neocog", "--input", "1x3x9x8", "--seed", seed)
        _, out, _ = run(capsys, "convert", *words)
        trained = "--weights FILE takes trained ones"
        assert f"weights:  as net_of_this_test:Net makes them, with the seed {seed}: {trained}" in out
        made.append((tmp_path / f"{i}.neocog").read_bytes())
    assert made[0] == made[1] != made[2]


def test_fused_counts_what_was_fused_here():
    attributes = {"stride": [1, 1], "padding": [[0, 0], [0, 0]], "dilation": [1, 1], "activation": "relu"}
    inputs, weight = [Input("x", (1, 1, 2, 2))], {"w": np.zeros((1, 1, 1, 1), np.float32)}
    before = Graph(inputs, ["y"], [Node("conv", ("x", "w"), ("y",), attributes)], weight)
    after = Graph(inputs, ["y"], [Node("conv", ("x", "w", None, "x"), ("y",), attributes)], weight)
    assert fused(before, before) == {"activations": 0, "sums": 0, "batch norms": 0}
    assert fused(before, after) == {"activations": 0, "sums": 1, "batch norms": 0}


def damaged(folder):
    (folder / "a.onnx").write_bytes(b"\x89PNG" * 99)
    return folder / "a.onnx"


def no_zip(folder):
    (folder / "a.pt2").write_bytes(b"\x89PNG" * 99)
    return folder / "a.pt2"


def unsupported(folder):
    from onnx import TensorProto, helper

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3, 3])
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "yz"]
    nodes = [helper.make_node("Det", ["x"], [name]) for name in "yz"]
    model = helper.make_model(
        helper.make_graph(nodes, "odd", [x], outputs), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    onnx.save(model, folder / "odd.onnx")
    return folder / "odd.onnx"


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("nowhere.onnx", [], "it does not exist (the current directory is "),
        (lambda folder: folder, [], "it is no .onnx, .pt2 or .neocog file; write one with torch.onnx.export"),
        ("net.pth", [], "it is no .onnx, .pt2 or .neocog file; write one with torch.onnx.export"),
        (damaged, [], "are no ONNX model"),
        (no_zip, [], "it is damaged, or no .pt2 file; write it with torch.export.save"),
        (unsupported, [], "2 nodes cannot be imported: y (Det) and 1 more: "),
        (damaged, ["--num-classes", "3"], "a file has its weights and sizes; "),
        ("resnet19", [], "`name` is 'resnet19', which is no model; did you mean 'resnet18'?"),
        ("no_such_module:Net", [], "No module named 'no_such_module'"),
        ("collections:Net", [], "module 'collections' has no attribute 'Net'"),
        ("m3", ["--weights", "nowhere.pt"], "--weights nowhere.pt is no file; check the path"),
        ("m3", ["--weights", __file__], "is no state_dict; write it with torch.save(model.state_dict())"),
        ("torch.nn:ReLU", [], "it begins with no convolution; give the shape of its input with --input"),
    ],
    ids=[
        *("missing", "folder", "other_format", "damaged_onnx", "damaged_pt2", "unsupported", "option_for_a_file"),
        *("unknown_name", "unknown_module", "unknown_attribute", "missing_weights", "no_weights", "no_convolution"),
    ],
)
def test_a_model_that_cannot_be_converted_is_named_with_a_repair(tmp_path, capsys, model, options, message):
    model = model(tmp_path) if callable(model) else model
    output = tmp_path / "out.neocog"
    code, _, err = run(capsys, "convert", model, output, *options)
    assert code == 2
    assert message in err
    assert not output.exists()


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("small.onnx", "the file {} must end in .neocog, by which it is known"),
        ("no/small.neocog", "there is no folder "),
    ],
)
def test_a_bad_output_is_named_before_any_work(tmp_path, capsys, output, message):
    path = tmp_path / output
    code, _, err = run(capsys, "convert", "nowhere.onnx", path)
    assert code == 2
    assert message.format(path) in err


@pytest.mark.parametrize("module", ["onnx", "torch"])
def test_a_missing_framework_is_named_with_its_extra(tmp_path, capsys, monkeypatch, module, onnx_model):
    monkeypatch.setitem(sys.modules, module, None)
    for name in [name for name in sys.modules if name.startswith("neocog.engine.importers.")]:
        monkeypatch.delitem(sys.modules, name)
    model = onnx_model if module == "onnx" else "resnet18"
    code, _, err = run(capsys, "convert", model, tmp_path / "out.neocog")
    assert code == 2
    assert f'this needs {module}, which is not installed; pip install "neocog[{module}]"' in err


def test_an_example_is_what_loading_prepares_for(tmp_path, capsys, onnx_model):
    path, again = tmp_path / "small.neocog", tmp_path / "again.neocog"
    _, out, _ = run(capsys, "convert", onnx_model, path, "--input", "2x3x6x7")
    assert "prepared: for 2x3x6x7" in out.splitlines()
    assert neocog.load(path).prepared == [(((2, 3, 6, 7), False),)]
    _, out, _ = run(capsys, "convert", path, again, "--input", "1x3x9x9", "--json")
    assert json.loads(out)["prepared"] == [[[2, 3, 6, 7]], [[1, 3, 9, 9]]]
    assert neocog.load(again).prepared == [(((2, 3, 6, 7), False),), (((1, 3, 9, 9), False),)]
    code, _, err = run(capsys, "convert", onnx_model, path, "--input", "2x4x6x7")
    assert code == 2
    assert "`x` has the shape (2, 4, 6, 7), but the network takes (N, 3, H, W)" in err


def test_a_file_can_be_converted_again(tmp_path, capsys):
    first = write(classifier(), tmp_path / "a.neocog")
    assert run(capsys, "convert", first, tmp_path / "b.neocog")[0] == 0
    x = np.ones((1, 3, 4, 4), np.float32)
    np.testing.assert_array_equal(neocog.load(tmp_path / "b.neocog")(x), neocog.load(first)(x))


@pytest.mark.parametrize(
    "words",
    [["a.onnx"], ["a.onnx", "b.neocog", "--num-classes", "0"], ["m3", "b.neocog", "--input", "1x"]],
    ids=["no_output", "no_classes", "no_shape"],
)
def test_words_that_make_no_command_are_code_2(capsys, words):
    with pytest.raises(SystemExit) as left:
        cli.main(["convert", *words])
    assert left.value.code == 2
    assert "usage: neocog convert" in capsys.readouterr().err


def test_a_file_keeps_the_precision_it_was_converted_with(tmp_path, capsys, rng):
    weight = rng.standard_normal((8, 16, 3, 3), np.float32)
    window = {"stride": [1, 1], "padding": [[0, 0], [0, 0]], "dilation": [1, 1]}
    graph = Graph([Input("x", (1, 16, 8, 8))], ["y"], [Node("conv", ("x", "w"), ("y",), window)], {"w": weight})
    path, made = write(graph, tmp_path / "plain.neocog"), tmp_path / "narrow.neocog"
    assert run(capsys, "convert", path, made, "--precision", "bf16")[0] == 0

    def kernel(*words):
        code, out, _ = run(capsys, "run", *words, "--explain", "--json")
        assert code == 0
        (step,) = json.loads(out)["explanation"]["steps"]
        return step["kernel"].partition(",")[0]

    assert kernel(made) == "bf16"
    assert kernel(made, "--precision", "fp32") != "bf16"
    assert kernel(path) != "bf16"
    assert kernel(path, "--precision", "bf16") == "bf16"
