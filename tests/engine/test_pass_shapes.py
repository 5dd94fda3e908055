"""Shapes with open sizes against those of the oracle, for several sizes: a formula must be right for all of them."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from neocog.engine.graph import Graph, Input
from neocog.engine.passes import dimensions as dim
from neocog.engine.passes import optimise
from neocog.engine.passes.dimensions import Dim
from neocog.engine.passes.shapes import Shapes
from pass_checks import IMAGE, Net, arguments
from reference_graph import run

ALL_SIZES = [{"n": 2, "h": 9, "w": 8, "l": 11}, {"n": 1, "h": 12, "w": 7, "l": 16}, {"n": 3, "h": 16, "w": 15, "l": 8}]


def value_of(size: Dim, sizes: dict[str, int]) -> int | None:
    """An expression with numbers for its names; None if it has unknowns."""
    text = str(size)
    if "size(" in text:
        return None
    known = {
        "windows": lambda n, k, s, d, lo, hi: windows(n, k, s, d * (k - 1) + 1, lo, hi),
        "sliced": lambda n, start, end, step: len(range(int(n))[start:end:step]),
        "scaled": lambda n, factor: math.floor(n * factor),
        "truncated": math.trunc,
        "floor": math.floor,
        "maximum": max,
        "minimum": min,
        **sizes,
    }
    return int(eval(re.sub(r"'(\w+)'", r"\1", text), known))


def windows(n: int, kernel: int, stride: int, span: int, lo: int, hi: int) -> int:
    count = -(-(n + lo + hi - span) // stride) + 1
    return count - 1 if (count - 1) * stride >= n + lo else count


# Each makes one value or more; all results of the graph are compared.
WRITTEN = {
    "conv": lambda net: net.conv("x", (5, 4, 3, 3), padding=[[1, 2], [0, 1]], stride=2, dilation=2),
    "conv_same": lambda net: net.conv("x", (5, 4, 3, 3), padding="same_upper", stride=3),
    "conv_1d": lambda net: net.conv("s", (5, 3, 4), padding=1, stride=3),
    "conv_crop": lambda net: net.conv("x", (5, 4, 2, 2), padding=-1),
    "conv_transpose": lambda net: net.conv("x", (4, 3, 3, 3), op="conv_transpose", stride=2, padding=1, groups=2),
    "conv_transpose_same": lambda net: net.conv("x", (4, 3, 3, 3), op="conv_transpose", stride=2, padding="same_upper"),
    "conv_transpose_sized": lambda net: net.conv(
        "f", (4, 3, 3, 3), op="conv_transpose", stride=2, padding=1, output_size=[12, 11]
    ),
    "separable_conv": lambda net: net.node(
        "separable_conv",
        "x",
        net.weights(4, 1, 3, 3),
        net.weights(6, 4, 1, 1),
        stride=[2, 1],
        padding=[[1, 1], [0, 0]],
        dilation=[1, 2],
    ),
    "max_pool": lambda net: net.pool("max_pool", "x", 3, 2, 1, outputs=2),
    "max_pool_ceil": lambda net: net.pool("max_pool", "x", 2, 2, ceil_mode=True),
    "avg_pool_ceil_with_long_steps": lambda net: net.pool("avg_pool", "x", 2, 3, 1, ceil_mode=True),
    "max_pool_ceil_of_known_size": lambda net: net.pool("max_pool", "f", 2, 3, 1, ceil_mode=True),
    "adaptive": lambda net: net.node("adaptive_avg_pool", "x", output_size=[3, 2]),
    "global": lambda net: net.node("adaptive_max_pool", "x", output_size=[1]),
    "linear": lambda net: net.node("linear", "v", net.weights(7, 6)),
    "matmul": lambda net: net.node("matmul", net.node("matmul", "f", net.weights(5, 3)), net.weights(4, 3, 2)),
    "matmul_of_vectors": lambda net: vectors(net),
    "broadcast": lambda net: (
        net.node("mul", "x", net.weights(3, 1, 4, 1, 1)),
        net.node("add", net.weights(3, 1, 1, 5), "f"),
    ),
    "where": lambda net: net.node("where", net.node("less", "x", net.constant(0.0)), "x", net.weights(4, 1, 1)),
    "activations": lambda net: net.node("softmax", net.batch_norm(net.node("elu", "x"), 4), axis=1),
    "mean": lambda net: net.node("mean", "x", axes=[-1, 1], keepdims=True),
    "sum": lambda net: net.node("sum", net.node("max", "x", axes=[1]), axes=None),
    "pad": lambda net: net.node("pad", "x", net.numbers(0, 0, 1, 2, 0, 1, -1, 0)),
    "concat": lambda net: net.node("concat", "x", net.node("neg", "x"), "x", axis=-1),
    "slice": lambda net: cut(net, "x", (1, 0), (2**62, -1), (2, 3), (2, 1)),
    "slice_backwards": lambda net: cut(net, "x", (-1,), (-3,), (2,), (-1,)),
    "slice_of_known_size": lambda net: cut(net, "f", (-4, 1), (100, 3), (-1, 1)),
    "slice_of_the_first_axes": lambda net: cut(net, "x", (0, 1), (1, 3)),
    "transpose": lambda net: net.node("transpose", "x", permutation=[2, 0, 3, 1]),
    "reshape": lambda net: net.node("reshape", "x", net.numbers(0, 2, 2, -1)),
    "flatten": lambda net: net.node("flatten", net.node("flatten", "x", start=2), start=-2),
    "squeeze": lambda net: net.node("squeeze", net.node("unsqueeze", "x", axes=[-1, 0]), axes=[0, -1]),
    "squeeze_all": lambda net: net.node("squeeze", net.node("unsqueeze", "f", axes=[1])),
    "expand": lambda net: net.node("expand", net.weights(4, 1, 1), net.node("shape", "x")),
    "tile": lambda net: net.node("tile", "x", net.numbers(1, 2, 3, 1)),
    "pixel_shuffle": lambda net: net.node("pixel_shuffle", "x", factor=2),
    "pixel_unshuffle": lambda net: net.node("pixel_unshuffle", net.node("depth_to_space", "x", factor=2), factor=2),
    "gather": lambda net: net.node("gather", "x", net.numbers(0, 1, 0), axis=2),
    "gather_one": lambda net: net.node("gather", "x", net.constant(1, np.int64), axis=-1),
    "resize_scales": lambda net: net.node(
        "resize", "x", None, net.constant([1, 1, 2, 0.5]), mode="nearest", coordinates="asymmetric"
    ),
    "resize_odd_scales": lambda net: net.node(
        "resize", "x", None, net.constant([1, 1, 1.3, 1 / 3]), mode="linear", coordinates="half_pixel"
    ),
    "full": lambda net: net.node("full", net.node("shape", "x", start=1), value=1.0, dtype="float32"),
    "shape_arithmetic": lambda net: shape_arithmetic(net),
    "padded_by_remainders": lambda net: padded_by_remainders(net),
    "padded_as_tensorflow": lambda net: padded_as_tensorflow(net),
    "channel_shuffle": lambda net: channel_shuffle(net),
    "batch_of_patches": lambda net: patches(net),
}


def cut(net: Net, x: str, *limits: tuple[int, ...]) -> str:
    return net.node("slice", x, *(net.numbers(*numbers) for numbers in limits))


def vectors(net: Net) -> str:
    product = net.node("matmul", net.weights(4, 6), net.weights(6))
    return net.node("matmul", product, net.weights(4, 2))


def patches(net: Net) -> str:
    target = net.node("concat", net.numbers(-1, 1), net.node("shape", "x", start=2), axis=0)
    return net.node("reshape", "x", target)


def shape_arithmetic(net: Net) -> str:
    """Flattened to its number of elements; resized to 2 h + 1 rows and w // 2 + w - 3 columns."""
    n, h, w = (net.node("gather", net.node("shape", "x"), net.numbers(axis)) for axis in (0, 2, 3))
    rows = net.node("add", net.node("mul", h, net.constant(2, np.int64)), net.numbers(1))
    columns = net.node("sub", net.node("add", net.node("div", w, net.numbers(2)), w), net.numbers(3))
    sizes = net.node("concat", n, net.numbers(4), net.node("cast", rows, dtype="int64"), columns, axis=0)
    whole = net.node("reshape", net.node("size", "x"), net.numbers(1))
    net.node("reshape", "x", whole)
    return net.node("resize", "x", sizes, mode="nearest", coordinates="asymmetric")


def padded_by_remainders(net: Net) -> str:
    h, w = (net.node("shape", "x", start=axis, end=axis + 1) for axis in (2, 3))
    sizes = (net.node("mod", h, net.numbers(2)), net.node("mod", net.node("sub", w, net.numbers(9)), net.numbers(4)))
    return net.node("pad", "x", net.node("concat", net.numbers(0, 0), *sizes, net.numbers(0, 0, 1, 1), axis=0))


def padded_as_tensorflow(net: Net) -> str:
    """What a window of 5 and stride 3 misses, at least 0 and at most 3."""
    pads = []
    for axis in (2, 3):
        size = net.node("shape", "x", start=axis, end=axis + 1)
        steps = net.node("div", net.node("add", size, net.numbers(2)), net.numbers(3))
        missing = net.node("sub", net.node("add", net.node("mul", steps, net.numbers(3)), net.numbers(2)), size)
        pads.append(net.node("minimum", net.node("maximum", net.numbers(0), missing), net.numbers(3)))
    return net.node("pad", "x", net.node("concat", net.numbers(0, 0), *pads, net.numbers(0, 0, 1, 1), axis=0))


def channel_shuffle(net: Net) -> str:
    n, h, w = (net.node("gather", net.node("shape", "x"), net.numbers(axis)) for axis in (0, 2, 3))
    y = net.node("reshape", "x", net.node("concat", n, net.numbers(2, 2), h, w, axis=0))
    y = net.node("transpose", y, permutation=[0, 2, 1, 3, 4])
    return net.node("reshape", y, net.node("concat", n, net.numbers(-1), h, w, axis=0))


@pytest.mark.parametrize("sizes", ALL_SIZES, ids=lambda sizes: "x".join(map(str, sizes.values())))
@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN)
def test_shapes_are_those_of_the_oracle(written, sizes, rng):
    net = Net(rng, x=IMAGE, s=("n", 3, "l"), f=(1, 4, 6, 5), v=("n", 2, 6))
    written(net)
    names = [name for node in net.nodes for name in node.made()]
    graph, shapes = net.graph(*names), Shapes(net.graph(*names))
    for name, result in zip(names, run(graph, arguments(graph, sizes)), strict=True):
        shape = shapes.shape(name)
        assert shape is not None, f"nothing is known of {name}"
        assert tuple(value_of(size, sizes) for size in shape) == result.shape
        numbers = shapes.numbers(name)
        if numbers is not None:
            assert [value_of(number, sizes) for number in numbers] == result.reshape(-1).tolist()
        if shapes.dtype(name) is not None:
            assert result.dtype.kind == np.dtype(shapes.dtype(name)).kind


@pytest.mark.parametrize("height", [8, 9, 10])
def test_comparisons_are_known_where_sizes_are(height, rng):
    net = Net(rng, x=(1, 4, height, 9))
    h, w = (net.node("shape", "x", start=axis, end=axis + 1) for axis in (2, 3))
    made = [net.node(op, h, w) for op in ("equal", "less", "greater", "maximum", "minimum")]
    made += [net.node(op, made[0], made[1]) for op in ("logical_and", "logical_or")]
    made.append(net.node("mul", net.node("cast", made[-1], dtype="int64"), h))
    graph, shapes = net.graph(*made), Shapes(net.graph(*made))
    for name, result in zip(made, run(graph, arguments(graph)), strict=True):
        assert list(shapes.numbers(name) or ()) == result.reshape(-1).tolist(), name
        assert np.dtype(shapes.dtype(name)) == result.dtype
    (known,) = optimise(net.graph(made[-1])).constants.values()
    np.testing.assert_array_equal(known, run(graph, arguments(graph))[-1])


UNKNOWN = {
    "nonzero": lambda net: net.node("nonzero", "x"),
    "reshape_to_an_input": lambda net: net.node("reshape", "x", "k"),
    "resize_to_an_input": lambda net: net.node("resize", "x", "k", mode="nearest", coordinates="asymmetric"),
    "broadcast_of_open_sizes": lambda net: net.node("add", "x", "z"),
    "range": lambda net: net.node("range", *(net.constant(number, np.int64) for number in (0, 5, 2))),
    "weight_of_unknown_size": lambda net: net.node(
        "conv", "x", "z", stride=[1, 1], padding=[[0, 0]] * 2, dilation=[1, 1]
    ),
}


@pytest.mark.parametrize("written", UNKNOWN.values(), ids=UNKNOWN)
def test_an_unknown_size_equals_itself_alone(written, rng):
    net = Net(rng, x=IMAGE, z=("n", 4, "a", "b"))
    net.inputs.append(Input("k", (4,), "int64"))
    y, z = written(net), written(net)
    shapes = Shapes(net.graph())
    assert shapes.rank(y) is not None
    assert shapes.shape(y) == shapes.shape(y)
    assert shapes.shape(y) != shapes.shape(z)


def test_a_slice_may_leave_nothing(rng):
    """Of one pixel, x[2:] has 0, not -1: no two of them make one more."""
    net = Net(rng)
    for start in (0, 1, 2):
        cut(net, "x", (start,), (2**31 - 1,), (2,))
    shapes, sizes = Shapes(net.graph()), {"n": 1, "h": 1, "w": 1}
    rows = [(shapes.shape(node.outputs[0]) or ())[2] for node in net.nodes]
    assert [value_of(size, sizes) for size in rows] == [1, 0, 0]


def test_nothing_is_known_of_squeezed_open_sizes(rng):
    net = Net(rng)
    assert Shapes(Graph(net.inputs, [net.node("squeeze", "x")], net.nodes, {})).shape("squeeze0") is None


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [
        ((3, 2, 1), (1, 2, 0), True),  # kernel, stride, padding: floor((h - 1) / 2) + 1 both
        ((2, 2, 0), (3, 2, 1), False),  # floor(h / 2) and floor((h + 1) / 2): as one for even sizes only
        ((3, 1, 1), (5, 1, 2), True),
        ((4, 2, 1), (2, 2, 0), True),
    ],
)
def test_windows_are_compared_for_all_sizes(a, b, equal, rng):
    net = Net(rng)
    made = [net.conv("x", (4, 4, k, k), stride=s, padding=p) for k, s, p in (a, b)]
    shapes = Shapes(net.graph(*made))
    assert (shapes.shape(made[0]) == shapes.shape(made[1])) is equal


def test_expressions_are_canonical():
    h, w = dim.named("h"), dim.named("w")
    assert dim.add(h, w, 2) == dim.add(w, 1, h, 1)
    assert dim.add(h, dim.multiply(h, -1)) == 0
    assert dim.multiply(dim.add(h, 1), dim.add(w, -1)) == dim.add(dim.multiply(w, h), w, dim.multiply(-1, h), -1)
    assert dim.floor_divide(dim.add(dim.multiply(h, 4), 6), 2) == dim.add(dim.multiply(h, 2), 3)
    assert dim.ceil_divide(dim.multiply(h, 2), 2) == h
    assert dim.quotient([h, w, 6], [w, 3]) == dim.multiply(h, 2)
    assert dim.quotient([h, 5], [3]) is None
    assert dim.quotient([h], [w]) is None
    assert dim.broadcast(h, 1) == dim.broadcast(1, h) == dim.broadcast(h, h) == h
    assert dim.broadcast(h, 5) == 5
    assert dim.broadcast(h, w) is None


def test_a_name_is_not_taken_for_a_formula():
    h = dim.named("h")
    assert dim.named(str(dim.floor_divide(h, 2))) != dim.floor_divide(h, 2)
