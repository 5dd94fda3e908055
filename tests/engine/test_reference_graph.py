"""The oracle of graphs against PyTorch in float64 and ONNX's own reference, over a sample of each family."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from neocog.engine.graph import Graph, GraphError, Input, Node
from neocog.engine.operators import OPERATORS, UNARY
from reference_graph import run

torch = pytest.importorskip("torch")
F = torch.nn.functional

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def apply(op: str, *arrays: Any, outputs: int = 1, **attributes: Any) -> Any:
    """One operator on arrays; None for an input that is absent."""
    given = [(f"x{i}", np.asarray(a)) for i, a in enumerate(arrays) if a is not None]
    names = tuple(None if a is None else f"x{i}" for i, a in enumerate(arrays))
    results = tuple(f"y{i}" for i in range(outputs))
    inputs = [Input(name, a.shape, str(a.dtype)) for name, a in given]
    graph = Graph(inputs, list(results), [Node(op, names, results, attributes)], {})
    made = run(graph, [a for _, a in given])
    return made[0] if outputs == 1 else tuple(made)


def assert_torch(y: np.ndarray, expected: torch.Tensor) -> None:
    assert y.shape == tuple(expected.shape)
    np.testing.assert_allclose(y, expected.numpy(), rtol=1e-11, atol=1e-12)


def tensors(*arrays: np.ndarray) -> list[torch.Tensor]:
    return [torch.from_numpy(np.ascontiguousarray(a)) for a in arrays]


def flat(pads: list[list[int]]) -> list[int]:
    return [width for pair in pads[::-1] for width in pair]


CONVOLUTIONS = {
    "plain": ((2, 3, 7, 8), (4, 3, 3, 3), 1, [[1, 1], [1, 1]], 1, 1),
    "asymmetric_padding": ((1, 2, 7, 8), (4, 2, 3, 2), 2, [[0, 1], [2, 1]], 1, 1),
    "negative_padding": ((1, 2, 9, 8), (4, 2, 3, 2), 1, [[-1, 1], [0, -2]], 1, 1),
    "dilated_groups": ((2, 4, 9, 9), (6, 2, 3, 3), 1, [[2, 2], [2, 2]], 2, 2),
    "depthwise_multiplier": ((2, 3, 6, 6), (6, 1, 3, 3), 2, [[1, 1], [1, 1]], 1, 3),
    "one_axis": ((2, 3, 11), (4, 3, 5), 3, [[2, 1]], 1, 1),
    "three_axes": ((1, 2, 4, 5, 4), (3, 2, 2, 3, 2), 1, [[0, 1], [1, 1], [0, 0]], 1, 1),
}


@pytest.mark.parametrize(
    ("x", "weight", "stride", "padding", "dilation", "groups"), CONVOLUTIONS.values(), ids=CONVOLUTIONS
)
def test_conv(x, weight, stride, padding, dilation, groups, rng):
    axes = len(x) - 2
    x, weight, bias = rng.standard_normal(x), rng.standard_normal(weight), rng.standard_normal(weight[0])
    steps = {"stride": [stride] * axes, "dilation": [dilation] * axes, "groups": groups}
    y = apply("conv", x, weight, bias, padding=padding, **steps)
    padded, *parameters = tensors(x, weight, bias)
    conv = (F.conv1d, F.conv2d, F.conv3d)[axes - 1]
    expected = conv(F.pad(padded, flat(padding)), *parameters, **steps)
    assert_torch(y, expected)
    residual = rng.standard_normal(y.shape)
    fused = apply("conv", x, weight, bias, residual, padding=padding, activation="leaky_relu", alpha=0.2, **steps)
    assert_torch(fused, F.leaky_relu(expected + torch.from_numpy(residual), 0.2))


@pytest.mark.parametrize("size", [4, 5, 6, 7])
@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(3, 2, 1), (2, 2, 1), (1, 3, 1), (3, 1, 2), (4, 3, 1)])
def test_conv_same_puts_the_odd_pixel_where_it_says(size, kernel, stride, dilation, rng):
    x, weight = rng.standard_normal((1, 1, size)), rng.standard_normal((1, 1, kernel))
    total = max((math.ceil(size / stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    for padding, begin in (("same_upper", total // 2), ("same_lower", total - total // 2)):
        y = apply("conv", x, weight, stride=[stride], padding=padding, dilation=[dilation])
        assert y.shape[2] == math.ceil(size / stride)
        padded = F.pad(torch.from_numpy(x), (begin, total - begin))
        assert_torch(y, F.conv1d(padded, torch.from_numpy(weight), stride=stride, dilation=dilation))


@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "output_padding", "dilation", "groups"),
    [(3, 2, 1, 1, 1, 1), (2, 2, 0, 0, 1, 2), (4, 3, 2, 0, 1, 1), (3, 1, 2, 0, 2, 2), (2, 3, 0, 2, 1, 1)],
)
def test_conv_transpose(axes, kernel, stride, padding, output_padding, dilation, groups, rng):
    x, weight = rng.standard_normal((2, 4, *[5, 4][:axes])), rng.standard_normal((4, 3, *[kernel] * axes))
    bias = rng.standard_normal(3 * groups)
    steps = {"stride": [stride] * axes, "dilation": [dilation] * axes, "groups": groups}
    transposed = (F.conv_transpose1d, F.conv_transpose2d)[axes - 1]
    expected = transposed(*tensors(x, weight, bias), **steps, padding=padding, output_padding=output_padding)
    steps |= {"padding": [[padding] * 2] * axes, "output_padding": [output_padding] * axes}
    assert_torch(apply("conv_transpose", x, weight, bias, **steps), expected)
    sized = apply("conv_transpose", x, weight, bias, **{**steps, "output_size": list(expected.shape[2:])})
    assert_torch(sized, expected)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (4, 2), (5, 2), (2, 3), (3, 1), (5, 3)])
@pytest.mark.parametrize("padding", ["same_upper", "same_lower"])
def test_conv_transpose_same_crops_to_size_times_stride(kernel, stride, padding, rng):
    x, weight = rng.standard_normal((1, 2, 5)), rng.standard_normal((2, 1, kernel))
    steps = {"stride": [stride], "dilation": [1], "output_padding": [0]}
    y = apply("conv_transpose", x, weight, padding=padding, **steps)
    full = F.conv_transpose1d(*tensors(x, weight), stride=stride)
    crop = max(kernel - stride, 0)
    begin = crop // 2 if padding == "same_upper" else crop - crop // 2
    missing = max(stride - kernel, 0)
    assert y.shape[2] == 5 * stride
    assert_torch(y, F.pad(full[..., begin : full.shape[2] - (crop - begin)], (0, missing)))


def test_conv_transpose_output_size_begins_at_the_padding(rng):
    x, weight, bias = rng.standard_normal((1, 2, 5)), rng.standard_normal((2, 1, 4)), rng.standard_normal(1)
    steps = {"stride": [2], "dilation": [1], "output_padding": [0]}
    full = F.conv_transpose1d(*tensors(x, weight), stride=2)
    y = apply("conv_transpose", x, weight, bias, padding=[[3, 0]], output_size=[11], **steps)
    expected = F.pad(full[..., 3:], (0, 11 - (full.shape[2] - 3))) + torch.from_numpy(bias)
    assert_torch(y, expected)  # beyond the full result only the bias is left


def test_separable_conv_is_two_convolutions(rng):
    x, depthwise, pointwise = (rng.standard_normal(s) for s in ((2, 3, 6, 7), (6, 1, 3, 3), (4, 6, 1, 1)))
    bias = rng.standard_normal(4)
    steps = {"stride": [2, 1], "padding": "same_upper", "dilation": [1, 1]}
    y = apply("separable_conv", x, depthwise, pointwise, bias, activation="relu6", **steps)
    middle = torch.from_numpy(apply("conv", x, depthwise, groups=3, **steps))
    assert_torch(y, F.relu6(F.conv2d(middle, *tensors(pointwise, bias))))


POOLS = {
    "plain": (2, 2, 0, 1, False),
    "padded_ceil": (3, 2, 1, 1, True),
    "overlapping": (3, 1, 1, 1, False),
    "ceil_drops_a_window_in_the_padding": (2, 3, 1, 1, True),
    "dilated": (2, 2, 1, 2, False),
}


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation", "ceil_mode"), POOLS.values(), ids=POOLS)
def test_pools(axes, kernel, stride, padding, dilation, ceil_mode, rng):
    x = rng.integers(-4, 5, (2, 3, *[7, 8, 5][:axes])) / 4  # ties
    steps = {"kernel": [kernel] * axes, "stride": [stride] * axes, "padding": [[padding] * 2] * axes}
    y, indices = apply("max_pool", x, outputs=2, dilation=[dilation] * axes, ceil_mode=ceil_mode, **steps)
    theirs = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[axes - 1]
    expected, places = theirs(
        torch.from_numpy(x), kernel, stride, padding, dilation, ceil_mode=ceil_mode, return_indices=True
    )
    assert_torch(y, expected)
    np.testing.assert_array_equal(indices, places.numpy())
    theirs = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[axes - 1]
    for counted in (False, True):
        y = apply("avg_pool", x, ceil_mode=ceil_mode, count_include_pad=counted, **steps)
        assert_torch(y, theirs(torch.from_numpy(x), kernel, stride, padding, ceil_mode, counted))
    if axes == 2:
        y = apply("avg_pool", x, ceil_mode=ceil_mode, divisor=7, **steps)
        assert_torch(y, F.avg_pool2d(torch.from_numpy(x), kernel, stride, padding, ceil_mode, True, 7))


def test_max_pool_lets_nan_through():
    x = np.array([[[1.0, np.nan, 2.0, 3.0]]])
    y, indices = apply("max_pool", x, outputs=2, kernel=[2], stride=[1], padding=[[0, 0]], dilation=[1])
    np.testing.assert_array_equal(y, [[[np.nan, np.nan, 3.0]]])
    np.testing.assert_array_equal(indices, [[[1, 1, 3]]])


@pytest.mark.parametrize(("size", "outputs"), [((7, 5), [3, 2]), ((4, 4), [1, 1]), ((4, 6), [1]), ((3, 3), [5, 4])])
def test_adaptive_pools(size, outputs, rng):
    x = rng.standard_normal((2, 3, *size))
    theirs = outputs * 2 if len(outputs) == 1 else outputs
    assert_torch(apply("adaptive_avg_pool", x, output_size=outputs), F.adaptive_avg_pool2d(torch.from_numpy(x), theirs))
    assert_torch(apply("adaptive_max_pool", x, output_size=outputs), F.adaptive_max_pool2d(torch.from_numpy(x), theirs))


@pytest.mark.parametrize("shape", [(2, 6), (2, 6, 5), (2, 6, 4, 3)])
def test_normalisations(shape, rng):
    x, weight, bias, mean = rng.standard_normal(shape), *rng.standard_normal((3, 6))
    var = rng.random(6) + 0.5
    y = apply("batch_norm", x, weight, bias, mean, var, eps=1e-3, activation="relu")
    arguments = tensors(x, mean, var, weight, bias)
    assert_torch(y, F.relu(F.batch_norm(*arguments, eps=1e-3)))
    y = apply("group_norm", x, weight, bias, groups=3, eps=1e-3)
    assert_torch(y, F.group_norm(torch.from_numpy(x), 3, *arguments[3:], eps=1e-3))
    if len(shape) > 2:
        y = apply("instance_norm", x, weight, bias)
        assert_torch(y, F.instance_norm(arguments[0], weight=arguments[3], bias=arguments[4]))
    last, shift = rng.standard_normal(shape[1:]), rng.standard_normal(shape[1:])
    y = apply("layer_norm", x, last, shift, axis=1)
    assert_torch(y, F.layer_norm(*tensors(x)[:1], shape[1:], *tensors(last, shift)))
    assert_torch(apply("layer_norm", x), F.layer_norm(torch.from_numpy(x), shape[-1:]))


TORCH_UNARY = {
    "relu": F.relu,
    "relu6": F.relu6,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "hardswish": F.hardswish,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "celu": lambda x: F.celu(x, 0.7),
    "selu": F.selu,
    "hardsigmoid": F.hardsigmoid,
    "clip": lambda x: x.clamp(-0.5, 1.5),
    "threshold": lambda x: F.threshold(x, 0.1, 20.0),
    "shrink": F.hardshrink,
    "softplus": lambda x: F.softplus(x, threshold=1e9),
    "softsign": F.softsign,
    "mish": F.mish,
}
ATTRIBUTES = {
    "celu": {"alpha": 0.7},
    "clip": {"min": -0.5, "max": 1.5},
    "threshold": {"threshold": 0.1, "value": 20.0},
    "shrink": {"bias": 0.0},
}


@pytest.mark.parametrize("op", UNARY)
def test_unary(op, rng):
    x = rng.uniform(0.05, 0.95, (3, 4)) if op not in TORCH_UNARY else rng.standard_normal((3, 40)) * 3
    x = x + 1 if op == "acosh" else x
    x = x - 0.5 if op in ("abs", "neg", "sign", "square", "floor", "ceil", "round", "tanh", "erf") else x
    expected = TORCH_UNARY.get(op) or getattr(torch, op)
    assert_torch(apply(op, x, **ATTRIBUTES.get(op, {})), expected(torch.from_numpy(x)))


def test_round_and_relu_at_their_special_points():
    halves = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])
    np.testing.assert_array_equal(apply("round", halves), [-2, -2, -0.0, 0, 2, 2])
    np.testing.assert_array_equal(apply("relu", np.array([np.nan, -0.0])), [np.nan, 0.0])


def test_integers_divide_towards_zero_and_mod_has_the_divisors_sign():
    x, y = np.array([7, -7, 7, -7]), np.array([2, 2, -2, -2])
    quotient, remainder = apply("div", x, y), apply("mod", x, y)
    np.testing.assert_array_equal(quotient, [3, -3, -3, 3])
    np.testing.assert_array_equal(remainder, [1, 1, -1, -1])
    assert quotient.dtype == remainder.dtype == np.int64
    np.testing.assert_allclose(apply("mod", np.array([-5.5]), np.array([2.0])), [0.5])


def test_linear_prelu_softmax(rng):
    x, weight, bias = rng.standard_normal((2, 3, 5)), rng.standard_normal((4, 5)), rng.standard_normal(4)
    tensor = torch.from_numpy(x)
    assert_torch(apply("linear", x, weight, bias, activation="silu"), F.silu(F.linear(*tensors(x, weight, bias))))
    slope = rng.standard_normal((3, 1))
    assert_torch(apply("prelu", x, slope), F.prelu(*tensors(x, slope.ravel())))
    assert_torch(apply("softmax", x, axis=1), F.softmax(tensor, 1))
    assert_torch(apply("log_softmax", x * 500, axis=-2), F.log_softmax(tensor * 500, -2))


def test_pixels_change_places_and_back(rng):
    x = rng.standard_normal((2, 12, 3, 5))
    shuffled = apply("pixel_shuffle", x, factor=2)
    assert_torch(shuffled, F.pixel_shuffle(torch.from_numpy(x), 2))
    assert_torch(apply("pixel_unshuffle", shuffled, factor=2), torch.from_numpy(x))
    np.testing.assert_array_equal(apply("space_to_depth", apply("depth_to_space", x, factor=2), factor=2), x)


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("widths", [(1, 2, 2, 0), (-1, 2, 1, -2)])
def test_pad(mode, widths, rng):
    x = rng.standard_normal((2, 3, 5, 6))
    top, bottom, left, right = widths
    y = apply("pad", x, np.array([0, 0, top, left, 0, 0, bottom, right]), mode=mode, value=1.5)
    value = {"value": 1.5} if mode == "constant" else {}
    assert_torch(y, F.pad(torch.from_numpy(x), (left, right, top, bottom), mode=mode, **value))


def test_slice_counts_from_the_end_and_backwards(rng):
    x = rng.standard_normal((4, 5, 6))
    huge = np.iinfo(np.int64).max
    y = apply("slice", x, np.array([-1, 1]), np.array([-huge, huge]), np.array([-1, 0]), np.array([-2, 1]))
    np.testing.assert_array_equal(y, x[1:, :, ::-2])
    np.testing.assert_array_equal(apply("slice", x, np.array([1]), np.array([-1])), x[1:-1])


def test_reshape_copies_a_size_for_zero_unless_kept():
    x = np.arange(24).reshape(2, 3, 4)
    assert apply("reshape", x, np.array([0, -1])).shape == (2, 12)
    empty = np.zeros((0, 3))
    assert apply("reshape", empty, np.array([3, 0]), keep_zero=True).shape == (3, 0)


@pytest.mark.parametrize("op", ["conv", "resize", "gather", "where"])
def test_a_graph_is_validated_before_it_runs(op):
    with pytest.raises(GraphError, match="inputs"):
        run(Graph([], [], [Node(op, (), ("y",), {})], {}), [])


def test_values_are_float64_int64_or_bool_and_constants_stay_as_they_are():
    weight = np.array([1.5], np.float32)
    nodes = [
        Node("add", ("x", "w"), ("y",)),
        Node("shape", ("y",), ("s",)),
        Node("equal", ("s", "s"), ("same",)),
    ]
    graph = Graph([Input("x", (3,))], ["y", "s", "same"], nodes, {"w": weight})
    y, shape, same = run(graph, [np.zeros(3, np.float32)])
    assert (y.dtype, shape.dtype, same.dtype) == (np.float64, np.int64, bool)
    np.testing.assert_array_equal(y, [1.5] * 3)
    assert graph.constants["w"] is weight
    assert weight.dtype == np.float32


def test_every_operator_is_interpreted():
    import reference_graph

    assert set(reference_graph._INTERPRETERS) == set(OPERATORS)
