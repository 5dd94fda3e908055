"""Compiled models: against the float64 oracle, in both memory layouts, from many threads, for sizes that change."""

from __future__ import annotations

import threading
from pathlib import Path

import neocog
import numpy as np
import pytest
import reference_graph
from batches_in_parts import cut_all_batches
from helpers import assert_laid_out, lay_out
from neocog.engine import batches
from neocog.engine.compiled import CompiledModel
from neocog.engine.graph import Graph, GraphError, Input, Node

SAME = {"stride": [1, 1], "padding": [[1, 1], [1, 1]], "dilation": [1, 1]}


def image_input(channels: int) -> Input:
    return Input("x", ("N", channels, "H", "W"))


def assert_close(found: np.ndarray, expected: np.ndarray, bound: float = 1e-5) -> None:
    assert found.shape == expected.shape
    error = abs(found - expected).max(initial=0.0)
    assert error <= bound * max(1.0, abs(expected).max(initial=0.0)), error


class Network:
    """A random network of images that all have the same size, so that any two can meet again at any distance."""

    def __init__(self, rng: np.random.Generator, layers: int) -> None:
        self.rng = rng
        self.nodes: list[Node] = []
        self.constants: dict[str, np.ndarray] = {}
        self.channels = {"x": 4}
        for _ in range(layers):
            self.add()
        ends = list(self.channels)[-2:]
        self.graph = Graph([image_input(4)], ends, self.nodes, self.constants)
        self.graph.validate()

    def any(self, channels: int | None = None) -> str:
        names = [name for name, c in self.channels.items() if channels in (None, c)]
        return str(self.rng.choice(names))

    def add(self) -> None:
        y = f"v{len(self.nodes)}"
        kind = self.rng.choice(["conv", "conv", "add", "relu", "concat", "mul", "max_pool", "batch_norm", "sigmoid"])
        x = self.any()
        c = self.channels[x]
        if kind == "conv":
            out = int(self.rng.choice([4, 8, 24]))
            scale = (2 / (9 * c)) ** 0.5
            self.constants[f"{y}.weight"] = (self.rng.standard_normal((out, c, 3, 3)) * scale).astype(np.float32)
            self.constants[f"{y}.bias"] = self.rng.standard_normal(out).astype(np.float32)
            self.nodes.append(Node("conv", (x, f"{y}.weight", f"{y}.bias"), (y,), dict(SAME)))
            c = out
        elif kind in ("add", "mul"):
            self.nodes.append(Node(str(kind), (x, self.any(c)), (y,)))
            if kind == "mul":  # keeps products from growing
                self.nodes.append(Node("tanh", (y,), (f"{y}t",)))
                y = f"{y}t"
        elif kind == "concat":
            other = self.any()
            if c + self.channels[other] > 64:
                return
            self.nodes.append(Node("concat", (x, other), (y,), {"axis": 1}))
            c += self.channels[other]
        elif kind == "max_pool":
            self.nodes.append(Node("max_pool", (x,), (y,), {"kernel": [3, 3], **SAME}))
        elif kind == "batch_norm":
            for part in ("weight", "bias", "mean", "var"):
                self.constants[f"{y}.{part}"] = (self.rng.random(c) + 0.5).astype(np.float32)
            names = (f"{y}.{part}" for part in ("weight", "bias", "mean", "var"))
            self.nodes.append(Node("batch_norm", (x, *names), (y,)))
        else:
            self.nodes.append(Node(str(kind), (x,), (y,)))
        self.channels[y] = c


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("cached", [batches.CACHED, 10000])
def test_random_networks(seed, layout, cached, monkeypatch):
    """No step writes over what a later one still reads, whatever lives how long, with batches in parts and whole."""
    cut_all_batches(monkeypatch, cached)
    rng = np.random.default_rng(seed)
    network = Network(rng, 24)
    model = CompiledModel(network.graph)
    for batch, height, width in ((1, 7, 9), (2, 16, 13), (5, 6, 8)):
        x = lay_out(rng.standard_normal((batch, 4, height, width)).astype(np.float32), layout)
        expected = reference_graph.run(network.graph, [x])
        for _ in range(2):  # the second run has another's leavings in its memory
            for found, want in zip(model.run(x), expected, strict=True):
                assert_close(found, want, 1e-4)
                assert_laid_out(found, layout)


def residual_block(rng: np.random.Generator) -> Graph:
    weight = (rng.standard_normal((16, 16, 3, 3)) / 12).astype(np.float32)
    nodes = [
        Node("conv", ("x", "w"), ("a",), dict(SAME)),
        Node("relu", ("a",), ("b",)),
        Node("conv", ("b", "w"), ("c",), dict(SAME)),
        Node("add", ("c", "x"), ("d",)),
        Node("relu", ("d",), ("y",)),
    ]
    return Graph([image_input(16)], ["y"], nodes, {"w": weight})


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_a_separable_convolution_with_a_residual(rng, layout):
    constants = {
        "d": rng.standard_normal((16, 1, 3, 3)).astype(np.float32),
        "p": (rng.standard_normal((16, 16, 1, 1)) / 4).astype(np.float32),
        "b": rng.standard_normal(16).astype(np.float32),
    }
    node = Node("separable_conv", ("x", "d", "p", "b", "x"), ("y",), {**SAME, "activation": "relu"})
    graph = Graph([image_input(16)], ["y"], [node], constants)
    x = lay_out(rng.standard_normal((2, 16, 9, 14)).astype(np.float32), layout)
    assert_close(CompiledModel(graph)(x), reference_graph.run(graph, [x])[0])


BEFORE = {
    "padded": ((2, 16, 9, 14), 16, {}),
    "stride_and_more_padding": ((2, 20, 9, 8), 20, {"stride": [2, 2], "padding": [[3, 3], [4, 1]]}),
    "multiplier": ((1, 6, 12, 7), 18, {}),
    "one_row": ((3, 24, 1, 30), 24, {}),
    "large_pointwise_weights": ((1, 544, 6, 5), 544, {}),
}


@pytest.mark.parametrize("activation", [None, "relu", "elu"])
@pytest.mark.parametrize("case", BEFORE.values(), ids=BEFORE)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_a_separable_convolution_of_normalised_images(case, layout, activation, isa, rng):
    shape, middle, window = case
    c = shape[1]
    constants = {
        "d": rng.standard_normal((middle, 1, 3, 3)).astype(np.float32),
        "p": (rng.standard_normal((middle, middle, 1, 1)) / 4).astype(np.float32),
        "center": rng.standard_normal(c).astype(np.float32),
        "scale": rng.standard_normal(c).astype(np.float32),
        "shift": (1 + rng.standard_normal(c)).astype(np.float32),
    }
    inputs = ("x", "d", "p", None, None, "center", "scale", "shift")
    before = {"before_activation": activation, "before_alpha": 0.6}
    node = Node("separable_conv", inputs, ("y",), {**SAME, **window, **before})
    graph = Graph([image_input(c)], ["y"], [node], constants)
    x = lay_out(rng.standard_normal(shape).astype(np.float32), layout)
    assert_close(CompiledModel(graph)(x), reference_graph.run(graph, [x])[0])


def test_a_normalisation_must_be_whole(rng):
    constants = {"d": np.ones((4, 1, 3, 3), np.float32), "p": np.ones((4, 4, 1, 1), np.float32)}
    constants |= {"center": np.ones(4, np.float32), "few": np.ones(3, np.float32)}
    x = np.ones((1, 4, 5, 5), np.float32)
    for values, message in ((("center",), "must all be given"), (("center", "few", "center"), "need 4 values each")):
        node = Node("separable_conv", ("x", "d", "p", None, None, *values), ("y",), dict(SAME))
        with pytest.raises(ValueError, match=message):
            CompiledModel(Graph([image_input(4)], ["y"], [node], constants))(x)


@pytest.mark.parametrize("shape", [(1, 16, 12, 9), (2, 16, 40, 33)])
def test_prepared_weights_are_those_of_a_call(shape, isa, rng):
    graph = residual_block(rng)
    x = rng.standard_normal(shape).astype(np.float32)
    prepared, called = CompiledModel(graph), CompiledModel(graph)
    prepared.prepare(shape)
    expected = called(x)
    kept = called._weights.kept_bytes
    assert prepared._weights.kept_bytes == kept > 0
    assert (prepared(x) == expected).all()
    assert prepared._weights.kept_bytes == kept
    prepared.prepare(x)  # again, from an array, while there is nothing left to do
    assert (prepared(x) == expected).all()
    with pytest.raises(ValueError, match="the network takes"):
        prepared.prepare((1, 15, 9, 9))
    with pytest.raises(TypeError, match="the network takes 1 inputs"):
        prepared.prepare()


def test_a_network_of_many_operators_can_be_prepared(rng):
    network = Network(rng, 20)
    prepared, called = CompiledModel(network.graph), CompiledModel(network.graph)
    x = rng.standard_normal((2, 4, 11, 9)).astype(np.float32)
    prepared.prepare(x.shape)
    for y, expected in zip(prepared.run(x), called.run(x), strict=True):
        np.testing.assert_array_equal(y, expected)


def test_every_instruction_set(isa, rng):
    graph = residual_block(rng)
    x = rng.standard_normal((2, 16, 20, 20)).astype(np.float32)
    assert_close(CompiledModel(graph)(x), reference_graph.run(graph, [x])[0])


def test_same_bits_for_any_number_of_threads(rng):
    graph = residual_block(rng)
    x = rng.standard_normal((2, 16, 40, 33)).astype(np.float32)
    one, two = (CompiledModel(graph, num_threads=n)(x) for n in (1, 2))
    assert (one == two).all()


def test_many_python_threads_at_once(rng):
    """Each call has memory of its own; the results are those of one call."""
    network = Network(rng, 20)
    model = CompiledModel(network.graph)
    xs = [rng.standard_normal((1, 4, 8 + i, 9)).astype(np.float32) for i in range(8)]
    alone = [CompiledModel(network.graph).run(x) for x in xs]
    failures = []

    def work(x: np.ndarray, expected: tuple[np.ndarray, ...]) -> None:
        for _ in range(20):
            for found, want in zip(model.run(x), expected, strict=True):
                if not (found == want).all():
                    failures.append(x.shape)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(xs, alone, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_results_do_not_share_memory_with_inputs_or_each_other(rng):
    nodes = [
        Node("relu", ("x",), ("a",)),
        Node("slice", ("a", "zero", "two", "one"), ("b",)),
        Node("identity", ("x",), ("c",)),
    ]
    constants = {"zero": np.array([0]), "two": np.array([2]), "one": np.array([1])}
    graph = Graph([image_input(4)], ["a", "b", "c", "a"], nodes, constants)
    x = rng.standard_normal((2, 4, 5, 6)).astype(np.float32)
    results = CompiledModel(graph).run(x)
    for found, want in zip(results, (np.maximum(x, 0), np.maximum(x, 0)[:, :2], x, np.maximum(x, 0)), strict=True):
        assert (found == want).all()
    results[0][...] = 7
    results[2][...] = 8
    assert x.max() < 7
    assert (results[1] != 7).all()
    assert (results[3] != 7).all()


def test_a_thousand_sizes_leave_no_memory_behind(rng):
    model = CompiledModel(residual_block(rng))

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    def run(count: int) -> None:
        for _ in range(count):
            size = rng.integers(1, 24, 2)
            model(rng.standard_normal((int(rng.integers(1, 4)), 16, *size)).astype(np.float32))

    run(200)
    before = resident()
    run(1000)
    assert resident() - before < 8 << 20
    assert len(model._plans) <= 64


def test_weights_are_packed_once_for_all_sizes(rng):
    model = CompiledModel(residual_block(rng))
    model(rng.standard_normal((1, 16, 32, 32)).astype(np.float32))
    kept = model._weights.kept_bytes
    assert kept > 0
    for size in (31, 40, 64):
        model(rng.standard_normal((2, 16, size, size)).astype(np.float32))
    assert model._weights.kept_bytes == kept


def test_crops_that_depend_on_sizes_go_into_the_convolution(rng):
    """As "same" paddings leave them: known only when a call says how large its images are."""
    weight = (rng.standard_normal((4, 4, 3, 3)) / 6).astype(np.float32)
    transposed = {"stride": [2, 2], "padding": [[0, 0], [0, 0]], "dilation": [1, 1], "output_padding": [0, 0]}
    nodes = [
        Node("shape", ("x",), ("size",), {"start": 2}),
        Node("mul", ("size", "two"), ("ends",)),
        Node("conv_transpose", ("x", "w"), ("a",), transposed),
        Node("slice", ("a", "starts", "ends", "axes"), ("b",)),
        Node("relu", ("b",), ("y",)),
    ]
    constants = {"w": weight, "two": np.array([2]), "starts": np.array([0, 0]), "axes": np.array([2, 3])}
    graph = Graph([image_input(4)], ["y"], nodes, constants)
    model = CompiledModel(graph)
    for size in ((8, 8), (5, 7), (1, 1)):
        x = rng.standard_normal((1, 4, *size)).astype(np.float32)
        assert_close(model(x), reference_graph.run(graph, [x])[0])
        assert [step.op for step in model.explain(x).steps] == ["conv_transpose"]
    assert model._weights.kept_bytes > 0


def test_strided_inputs_are_taken(rng):
    graph = residual_block(rng)
    x = rng.standard_normal((4, 16, 22, 20)).astype(np.float32)[::2, :, 1:, ::2]
    assert_close(CompiledModel(graph)(x), reference_graph.run(graph, [x])[0])


def test_tensors_give_tensors_in_their_memory_format(rng):
    torch = pytest.importorskip("torch")
    graph = residual_block(rng)
    model = CompiledModel(graph)
    x = torch.from_numpy(rng.standard_normal((2, 16, 9, 11)).astype(np.float32))
    expected = reference_graph.run(graph, [x.numpy()])[0]
    for layout in (torch.contiguous_format, torch.channels_last):
        y = model(x.to(memory_format=layout).requires_grad_())
        assert isinstance(y, torch.Tensor)
        assert y.is_contiguous(memory_format=layout)
        assert not y.requires_grad
        assert_close(y.numpy(), expected)


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (np.zeros((1, 16, 8, 8)), TypeError, "float64"),
        (np.zeros((1, 15, 8, 8), np.float32), ValueError, r"`x` has the shape \(1, 15, 8, 8\)"),
        (np.zeros((16, 8, 8), np.float32), ValueError, r"takes \(N, 16, H, W\)"),
        ([[1.0]], TypeError, "NumPy array or a tensor"),
    ],
    ids=["dtype", "channels", "axes", "a_list"],
)
def test_inputs_that_do_not_fit(rng, value, error, message):
    with pytest.raises(error, match=message):
        CompiledModel(residual_block(rng))(value)


def test_sizes_that_do_not_fit_name_the_layer(rng):
    weight = rng.standard_normal((4, 4, 5, 5)).astype(np.float32)
    node = Node("conv", ("x", "w"), ("y",), {**SAME, "padding": [[0, 0], [0, 0]]}, name="stem.conv")
    model = CompiledModel(Graph([image_input(4)], ["y"], [node], {"w": weight}))
    with pytest.raises(GraphError, match=r"stem\.conv.*exceeds"):
        model(np.zeros((1, 4, 3, 9), np.float32))
    assert model(np.zeros((1, 4, 5, 9), np.float32)).shape == (1, 4, 1, 5)  # and no harm is done


def test_the_number_of_inputs(rng):
    with pytest.raises(TypeError, match=r"takes 1 inputs \(x\), but 2"):
        CompiledModel(residual_block(rng))(np.zeros(1), np.zeros(1))


def test_empty_batches(rng):
    model = CompiledModel(residual_block(rng))
    assert model(np.zeros((0, 16, 8, 8), np.float32)).shape == (0, 16, 8, 8)


def test_profile_and_explanation_name_every_layer(rng):
    graph = residual_block(rng)
    model = CompiledModel(graph)
    x = np.zeros((1, 16, 32, 32), np.float32)
    explanation = model.explain((1, 16, 32, 32))
    assert [step.op for step in explanation.steps] == ["conv", "conv"]  # all else is in their epilogues
    assert all("Winograd" in step.kernel for step in explanation.steps)
    assert explanation.steps[0].operations == 2 * 32 * 32 * 16 * 16 * 9
    profile = model.profile(x, repeat=3)
    assert [step.kernel for step in profile.steps] == [step.kernel for step in explanation.steps]
    assert profile.seconds > 0
    assert "Winograd" in str(profile)
    assert profile.call_seconds > 0
    assert 0 < profile.outside < 1
    assert f"{profile.outside:.1%} of it outside" in str(profile)
    assert profile.to_json()["steps"][1]["shape"] == [1, 16, 32, 32]
    assert profile.to_json()["outside"] == profile.outside


def test_a_window_in_ceil_mode_may_be_larger_than_the_image(rng):
    window = {**SAME, "stride": [2, 2], "padding": [[0, 0], [0, 0]], "kernel": [3, 3], "ceil_mode": True}
    graph = Graph([image_input(3)], ["y"], [Node("max_pool", ("x",), ("y",), window)], {})
    x = rng.standard_normal((1, 3, 2, 2)).astype(np.float32)
    assert (CompiledModel(graph)(x) == x.max((2, 3), keepdims=True)).all()


def test_num_threads_is_checked(rng):
    with pytest.raises(ValueError, match="num_threads"):
        CompiledModel(residual_block(rng), num_threads=0)


def test_what_can_be_compiled():
    with pytest.raises(TypeError, match=r"`model` is a dict"):
        neocog.compile({})
    with pytest.raises(ValueError, match=r"must end in \.onnx"):
        neocog.compile("model.bin")
    with pytest.raises(ValueError, match=r"`precision` is 'int8'"):
        neocog.compile({}, precision="int8")
