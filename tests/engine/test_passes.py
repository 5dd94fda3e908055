"""`optimise` as a whole: nets of the usual kinds become few steps, random graphs keep their results in the oracle."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from neocog.engine import passes
from neocog.engine.graph import Graph, GraphError, Input, Node
from neocog.engine.passes import optimise
from neocog.engine.passes.editing import shapes_of
from neocog.engine.passes.identities import identities
from neocog.engine.passes.shapes import Shapes
from pass_checks import SIZES, Net, arguments, assert_same_results, check, ops
from random_graphs import random_graph
from reference_graph import run

OTHER_SIZES = {"n": 1, "h": 16, "w": 13, "l": 9}


class Layers(Net):
    """The blocks that nets are built of."""

    def layer(self, x: str, channels: int, out: int, size: int, act: str | None = "relu", **options) -> str:
        """Convolution without bias, batch norm, activation."""
        options = {"padding": size // 2, "bias": False} | options
        groups = options.get("groups", 1)
        y = self.batch_norm(self.conv(x, (out, channels // groups, size, size), **options), out)
        return y if act is None else self.node(act, y)

    def head(self, x: str, channels: int) -> str:
        return self.node("linear", self.node("mean", x, axes=[-2, -1]), self.weights(10, channels), self.weights(10))


def resnet(net: Layers) -> str:
    x = net.pool("max_pool", net.layer("x", 4, 8, 7, stride=2), 3, 2, 1)
    for channels, out, stride in ((8, 8, 1), (8, 8, 1), (8, 16, 2)):
        y = net.layer(net.layer(x, channels, out, 3, stride=stride), out, out, 3, None)
        other = x if stride == 1 else net.layer(x, channels, out, 1, None, stride=2)
        x = net.node("relu", net.node("add", y, other))
    return net.head(x, 16)


def padded_resnet(net: Layers) -> str:
    """As Keras writes it: padding apart, subtraction of means, biases everywhere."""
    x = net.node("sub", "x", net.weights(1, 4, 1, 1))
    x = net.node("pad", x, net.numbers(0, 0, 3, 3, 0, 0, 3, 3))
    x = net.node("relu", net.batch_norm(net.conv(x, (8, 4, 7, 7), stride=2), 8))
    x = net.pool("max_pool", net.node("pad", x, net.numbers(0, 0, 1, 1, 0, 0, 1, 1)), 3, 2)
    y = net.batch_norm(net.conv(x, (8, 8, 1, 1)), 8)
    return net.head(net.node("relu", net.node("add", net.batch_norm(net.conv(x, (8, 8, 1, 1)), 8), y)), 8)


def mobilenet(net: Layers) -> str:
    x = net.layer("x", 4, 8, 3, "relu6", stride=2)
    for stride in (1, 2, 1):
        y = net.layer(net.layer(x, 8, 24, 1, "relu6"), 24, 24, 3, "relu6", groups=24, stride=stride)
        y = net.layer(y, 24, 8, 1, None)
        x = net.node("add", x, y) if stride == 1 else y
    return net.head(x, 8)


def squeeze_excite(net: Layers) -> str:
    """With hardswish and hardsigmoid written out, as exporters do."""

    def six(x: str) -> str:
        clipped = net.node("clip", net.node("add", x, net.constant(3.0)), min=0.0, max=6.0)
        return net.node("div", clipped, net.constant(6.0))

    y = net.layer("x", 4, 4, 3, None)
    y = net.node("mul", y, six(y))
    gate = net.conv(net.node("mean", y, axes=[2, 3], keepdims=True), (4, 4, 1, 1))
    y = net.node("mul", y, six(net.conv(net.node("relu", gate), (4, 4, 1, 1))))
    return net.node("add", net.layer(y, 4, 4, 1, None), "x")


def xception(net: Layers) -> str:
    def separable(x: str, channels: int, out: int) -> str:
        y = net.conv(x, (channels, 1, 3, 3), groups=channels, bias=False, padding=1)
        return net.batch_norm(net.conv(y, (out, channels, 1, 1), bias=False), out)

    x = net.layer("x", 4, 8, 3)
    y = separable(net.node("relu", separable(x, 8, 16)), 16, 16)
    x = net.node("add", net.layer(x, 8, 16, 1, None, stride=2), net.pool("max_pool", y, 3, 2, 1))
    y = separable(net.node("relu", separable(net.node("relu", x), 16, 16)), 16, 16)
    return net.head(net.node("add", y, x), 16)


def unet(net: Layers) -> str:
    """Upsampled to the size of the skip connection, which the graph computes."""
    x = net.layer("x", 4, 8, 3)
    low = net.layer(net.pool("max_pool", x, 2, 2), 8, 8, 3)
    batch_channels = net.node("shape", low, start=0, end=2)
    sizes = net.node("concat", batch_channels, net.node("shape", x, start=2, end=4), axis=0)
    up = net.node("resize", low, None, sizes, mode="linear", coordinates="half_pixel")
    net.nodes[-1].inputs = (low, sizes)
    y = net.layer(net.node("concat", x, up, axis=1), 16, 8, 3)
    return net.conv(net.node("add", net.layer(y, 8, 8, 3, None), x), (2, 8, 1, 1))


def densenet(net: Layers) -> str:
    """Batch norms before activations and convolutions: one of three can be folded."""
    x = "x"
    for channels in (4, 8):
        y = net.layer(net.node("relu", net.batch_norm(x, channels)), channels, 4, 1)
        x = net.node("concat", x, net.conv(y, (4, 4, 3, 3), padding=1, bias=False), axis=1)
    return net.head(net.node("relu", net.batch_norm(x, 12)), 12)


NETS = {
    "resnet": (resnet, {"conv": 8, "max_pool": 1, "adaptive_avg_pool": 1, "flatten": 1, "linear": 1}),
    "padded_resnet": (
        padded_resnet,
        # The shift of x stays: the convolution after it is padded.
        {"add": 1, "conv": 3, "max_pool": 1, "adaptive_avg_pool": 1, "flatten": 1, "linear": 1},
    ),
    "mobilenet": (mobilenet, {"conv": 10, "adaptive_avg_pool": 1, "flatten": 1, "linear": 1}),
    "squeeze_excite": (squeeze_excite, {"conv": 4, "adaptive_avg_pool": 1, "hardsigmoid": 1, "mul": 1}),
    "xception": (
        xception,
        {"conv": 2, "separable_conv": 4, "relu": 1, "max_pool": 1, "adaptive_avg_pool": 1, "flatten": 1, "linear": 1},
    ),
    "unet": (unet, {"conv": 5, "max_pool": 1, "shape": 2, "resize": 1, "concat": 2}),
    "densenet": (
        densenet,
        {"batch_norm": 3, "conv": 4, "concat": 2, "adaptive_avg_pool": 1, "flatten": 1, "linear": 1},
    ),
}


@pytest.mark.parametrize(("written", "expected"), NETS.values(), ids=NETS)
def test_nets_become_few_steps(written, expected, rng):
    net = Layers(rng)
    graph = net.graph(written(net))
    after = check(graph, optimise)
    assert_same_results(graph, after, sizes=OTHER_SIZES)
    assert ops(after) == expected
    assert after.outputs == graph.outputs
    assert after.inputs == graph.inputs


def test_float32_nets_move_by_roundings(rng):
    """What folding rounds is far below what float32 itself rounds when such a net runs."""
    net = Layers(rng, "float32")
    graph = net.graph(resnet(net))
    check(graph, optimise, tolerance=1e-6)


def test_constants_that_are_not_folded_are_shared(rng):
    net = Layers(rng)
    y = net.conv("x", (4, 4, 3, 3))
    net.node("relu", y)
    graph = net.graph()
    after = optimise(graph)
    assert {id(value) for value in after.constants.values()} == {id(value) for value in graph.constants.values()}


def test_a_bad_graph_is_refused():
    with pytest.raises(GraphError, match="nowhere"):
        optimise(Graph([Input("x", (1,))], ["y"], [Node("relu", ("nowhere",), ("y",))], {}))


def test_a_graph_without_nodes_is_left_alone():
    graph = Graph([Input("x", (1,))], ["x"], [], {})
    assert optimise(graph) is graph


def test_chains_of_thousands_of_nodes_do_not_recurse(rng):
    net, kept = Net(rng), "x"
    for _ in range(1500):
        kept = net.node("identity", net.node("tanh", kept))
    sizes = net.node("shape", "x")
    for _ in range(1500):
        sizes = net.node("add", sizes, net.numbers(0))
    net.node("expand", kept, sizes)  # does nothing; with it go the sizes
    assert ops(optimise(net.graph())) == {"tanh": 1500}
    assert ops(identities(net.graph())) == {"tanh": 1500}


@pytest.mark.parametrize("seed", range(60))
def test_random_graphs_keep_their_results(seed):
    graph = random_graph(np.random.default_rng(seed))
    after = check(graph, optimise, tolerance=1e-9)
    try:
        run(graph, arguments(graph, OTHER_SIZES))
    except (ValueError, AssertionError):
        return  # shapes that agree for the first sizes alone
    assert_same_results(graph, after, 1e-9, OTHER_SIZES)


def test_passes_overlook_nothing_by_what_they_look_for(rng, monkeypatch):
    """The same graphs, to the text, as when every pass looks at every graph."""
    nets = [Layers(rng) for _ in NETS]
    graphs = [net.graph(written(net)) for net, (written, _) in zip(nets, NETS.values(), strict=True)]
    graphs += [random_graph(np.random.default_rng(seed)) for seed in range(60)]
    texts = [str(optimise(graph)) for graph in graphs]
    for group in ("_REPEATED", "_ONCE"):
        whole = [getattr(each, "__wrapped__", each) for each in getattr(passes, group)]
        assert whole != list(getattr(passes, group))
        monkeypatch.setattr(passes, group, tuple(whole))
    assert [str(optimise(graph)) for graph in graphs] == texts


def test_what_is_known_from_the_pass_before_is_known_anew(rng, monkeypatch):
    """Sizes, dtypes and numbers that a pass takes from the graph before are those that its own graph tells."""
    nets = [Layers(rng) for _ in NETS]
    graphs = [net.graph(written(net)) for net, (written, _) in zip(nets, NETS.values(), strict=True)]
    graphs += [random_graph(np.random.default_rng(seed)) for seed in range(60)]
    kept = 0

    def checked(run):
        def run_and_compare(graph):
            nonlocal kept
            taken, anew = shapes_of(graph), Shapes(graph)
            for name in [*graph.constants, *(name for node in graph.nodes for name in node.made())]:
                for known, told in (
                    (taken.shape(name), anew.shape(name)),
                    (taken.dtype(name), anew.dtype(name)),
                    (taken.numbers(name), anew.numbers(name)),
                ):
                    assert known == told, (run.__name__, name)
                kept += taken.shape(name) is not None
            return run(graph)

        return run_and_compare

    for group in ("_REPEATED", "_ONCE"):
        monkeypatch.setattr(passes, group, tuple(map(checked, getattr(passes, group))))
    for graph in graphs:
        optimise(graph)
        passes.specialise(graph, [array.shape for array in arguments(graph) if array.dtype.kind == "f"])
    assert kept > 10_000


def test_random_graphs_are_worth_the_name():
    """Together they make every pass work, and they are not all alike."""
    before, after = Counter[str](), Counter[str]()
    for seed in range(60):
        graph = random_graph(np.random.default_rng(seed))
        before += ops(graph)
        after += ops(optimise(graph))
    assert sum(after.values()) < 0.7 * sum(before.values())
    assert all(after[op] < before[op] for op in ("identity", "batch_norm", "add", "relu", "pad", "mul", "transpose"))
    assert all(after[op] > before[op] for op in ("separable_conv", "adaptive_avg_pool"))
    assert after["conv"] > 20, "not everything is folded"
    assert SIZES != OTHER_SIZES
