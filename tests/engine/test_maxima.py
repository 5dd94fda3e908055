"""Max pools inside convolutions: the bits of two steps, and which plans have them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import reference_graph
from batches_in_parts import cut_all_batches
from neocog._activations import activation_code
from neocog._core import LayerWeights, Program
from neocog.engine.compiled import CompiledModel
from neocog.engine.plan import Plan, make_plan
from neocog.engine.weights import WeightStore
from one_step import LAST, in_order, place, run_results, run_step
from written_nets import Net, outputs, slice_of_wider

Array = np.ndarray
PAIRS = ((2, 2), (2, 2), (0, 0, 0, 0), (1, 1))
SAME = (1, 1, 1, 1)
# Shape of x, (O, R, S), stride, padding
WINOGRAD: dict[str, tuple[Any, ...]] = {
    "one_block": ((1, 64, 16, 16), (64, 3, 3), 1, SAME),
    "blocks": ((3, 64, 37, 30), (80, 3, 3), 1, SAME),
    "last_tiles_of_2": ((1, 64, 26, 22), (64, 3, 3), 1, SAME),
    "last_tiles_of_3": ((1, 64, 23, 27), (64, 3, 3), 1, SAME),
    "last_tiles_of_1": ((1, 64, 25, 29), (64, 3, 3), 1, SAME),
    "few_tiles": ((1, 256, 8, 8), (256, 3, 3), 1, SAME),
    "channels_of_no_vector": ((1, 70, 20, 20), (69, 3, 3), 1, SAME),
    "5x5": ((1, 64, 25, 26), (64, 5, 5), 1, (2, 2, 2, 2)),
    "2x2": ((1, 32, 48, 49), (32, 2, 2), 1, (0, 0, 0, 0)),
    "3x3_stride_2": ((1, 64, 260, 258), (64, 3, 3), 2, SAME),
    "4x4_stride_2": ((1, 32, 98, 94), (32, 4, 4), 2, SAME),
    "5x5_stride_2": ((1, 64, 95, 96), (64, 5, 5), 2, (2, 2, 2, 2)),
}
# Kernel, stride, padding
WINDOWS: dict[str, tuple[Any, ...]] = {
    "2x2": ((2, 2), (2, 2), (0, 0, 0, 0)),
    "3x3": ((3, 3), (2, 2), (1, 1, 1, 1)),
    "3x3_of_same": ((3, 3), (2, 2), (0, 1, 0, 1)),
    "2x4_overlapping": ((2, 4), (1, 3), (0, 0, 2, 1)),
    "3x1_without_overlap": ((3, 1), (3, 1), (0, 0, 0, 0)),
    "1x2_apart": ((1, 2), (3, 5), (0, 0, 0, 0)),
    "8x8": ((8, 8), (7, 8), (4, 0, 0, 4)),
}


def images(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    return place(rng.standard_normal(shape), LAST)


def sizes(shape: tuple[int, ...], kernel: Any, stride: Any, pads: Any) -> list[int]:
    return [outputs(shape[2 + i], kernel[i], stride[i], *pads[2 * i : 2 * i + 2], 1) for i in (0, 1)]


def assert_same_as_two_steps(
    method: str, middle: tuple[Any, ...], end: tuple[Any, ...], shape: tuple[int, ...], windows: tuple[Any, ...]
) -> None:
    """Whether the result is wanted itself or not; both it and its maxima may be slices of channels."""
    y = place(run_step(method, *middle, ..., *end, y=in_order(shape, LAST)), LAST)
    pooled_shape = (*shape[:2], *sizes(shape, *windows[:3]))
    expected = run_step("max_pool", y, ..., *windows, y=in_order(pooled_shape, LAST))
    slices = method == "conv"
    for threads in (1, 3):
        for pooled in (in_order(pooled_shape, LAST), slice_of_wider(pooled_shape, 5, 3)):
            (found,) = run_results(method, *middle, None, *end, pooled, windows, results=[pooled], threads=threads)
            np.testing.assert_array_equal(found, expected)
            wanted = slice_of_wider(shape, 3, 5) if slices else in_order(shape, LAST)
            both = run_results(
                method, *middle, wanted, *end, pooled, windows, results=[wanted, pooled], threads=threads
            )
            np.testing.assert_array_equal(both[0], y)
            np.testing.assert_array_equal(both[1], expected)


@pytest.mark.parametrize("activation", [None, "relu", "relu6"])
@pytest.mark.parametrize("case", WINOGRAD)
def test_winograd(case, activation, rng, isa):
    shape, (channels, *kernel), stride, pads = WINOGRAD[case]
    x = images(shape, rng)
    x[0, 3, 5, 6] = np.nan
    x[0, 4, 2, 1] = np.inf
    weight = LayerWeights(rng.standard_normal((channels, shape[1], *kernel)).astype(np.float32))
    bias = rng.standard_normal(channels).astype(np.float32)
    end = ((stride, stride), pads, (1, 1), 1, *activation_code(activation), False)
    y_shape = (shape[0], channels, *sizes(shape, kernel, (stride, stride), pads))
    assert_same_as_two_steps("conv", (x, weight, bias, None), end, y_shape, PAIRS)


@pytest.mark.parametrize("windows", WINDOWS)
@pytest.mark.parametrize("size", [(1, 40, 9), (2, 33, 32), (1, 8, 8)])
def test_separable_convolutions_take_windows_of_many_kinds(size, windows, rng, isa):
    window = (*WINDOWS[windows], (1, 1))
    shape = (size[0], 24, *size[1:])
    x = images(shape, rng)
    weights = [LayerWeights(rng.standard_normal(s).astype(np.float32)) for s in ((24, 1, 3, 3), (40, 24, 1, 1))]
    bias = rng.standard_normal(40).astype(np.float32)
    middle = (x, *weights, bias, None, None, None, None)
    end = ((1, 1), SAME, (1, 1), *activation_code(None), *activation_code(None))
    assert_same_as_two_steps("separable_conv", middle, end, (shape[0], 40, *shape[2:]), window)


@pytest.mark.parametrize("activation", [None, "relu", "gelu"])
@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("multiplier", [1, 2])
def test_separable_convolutions_of_many_kinds(multiplier, before, activation, rng, isa):
    x = images((2, 20, 50, 47), rng)
    x[0, 3, 5, 6] = np.nan
    shapes = ((20 * multiplier, 1, 5, 3), (33, 20 * multiplier, 1, 1))
    weights = [LayerWeights(rng.standard_normal(s).astype(np.float32)) for s in shapes]
    norm = [rng.standard_normal(20).astype(np.float32) if before else None for _ in range(3)]
    middle = (x, *weights, rng.standard_normal(33).astype(np.float32), None, *norm)
    stride, pads = (1, 2), (3, 2, 1, 1)
    end = (stride, pads, (1, 1), *activation_code(activation), *activation_code("relu" if before else None))
    y_shape = (2, 33, *sizes(x.shape, (5, 3), stride, pads))
    assert_same_as_two_steps("separable_conv", middle, end, y_shape, (*WINDOWS["3x3"], (1, 1)))


@pytest.mark.parametrize(
    ("pairs", "activation", "kernel", "last", "takes"),
    [
        (PAIRS, "relu", 3, True, True),
        (PAIRS, "gelu", 3, True, False),  # after what is in registers
        (PAIRS, None, 3, False, False),
        (PAIRS, None, 1, True, False),  # another kernel
        (PAIRS, None, 7, True, False),
        (((2, 2), (2, 2), (1, 1, 1, 1), (1, 1)), None, 3, True, False),
        (((2, 2), (1, 1), (0, 0, 0, 0), (1, 1)), None, 3, True, False),
        (((2, 2), (2, 2), (0, 0, 0, 0), (1, 2)), None, 3, True, False),
        (((3, 2), (2, 2), (1, 1, 0, 0), (1, 1)), None, 3, True, False),
    ],
)
def test_which_windows_a_convolution_takes(pairs, activation, kernel, last, takes, rng):
    x = place(rng.standard_normal((1, 64, 32, 32)), LAST if last else None)
    size = [
        (32 + sum(pairs[2][2 * i : 2 * i + 2]) - pairs[3][i] * (pairs[0][i] - 1) - 1) // pairs[1][i] + 1 for i in (0, 1)
    ]
    weight = LayerWeights(np.zeros((64, 64, kernel, kernel), np.float32))
    code, alpha = activation_code(activation)
    numbers = ((1, 1), (kernel // 2,) * 4, (1, 1), 1, code)
    pooled = in_order((1, 64, *size), LAST)
    given = [(0, 0, view.shape, tuple(stride // 4 for stride in view.strides)) for view in (x, pooled)]
    assert Program.conv_pools(given[0], weight, *numbers, given[1], pairs) == takes
    if not takes:
        with pytest.raises(ValueError, match="takes no pooling"):
            run_results("conv", x, weight, None, None, None, *numbers, alpha, False, pooled, pairs, results=[pooled])


def test_residuals_are_not_pooled(rng):
    x = images((1, 64, 32, 32), rng)
    weight = LayerWeights(np.zeros((64, 64, 3, 3), np.float32))
    pooled, y = in_order((1, 64, 16, 16), LAST), in_order(x.shape, LAST)
    end = ((1, 1), SAME, (1, 1), 1, *activation_code(None), False)
    with pytest.raises(ValueError, match="takes no pooling"):
        run_results("conv", x, weight, None, x, y, *end, pooled, PAIRS, results=[y, pooled])


@pytest.mark.parametrize(
    ("shape", "strides", "windows", "message"),
    [
        ((1, 64, 16, 16), (16384, 1, 1024, 64), None, "windows and a result"),
        ((1, 64, 16, 16), (16384, 256, 16, 1), PAIRS, "channels-last"),
        ((1, 63, 16, 16), (16128, 1, 1008, 63), PAIRS, "channels"),
        ((2, 64, 16, 16), (16384, 1, 1024, 64), PAIRS, "channels|batch"),
        ((1, 64, 0, 16), (0, 1, 1024, 64), PAIRS, "empty"),
        ((1, 64, 40, 16), (40960, 1, 1024, 64), PAIRS, "outside the padded image"),
    ],
)
def test_results_that_no_pooling_has(shape, strides, windows, message):
    program = Program(1 << 18)
    weight = LayerWeights(np.zeros((64, 64, 3, 3), np.float32))
    x, pooled = (0, 0, (1, 64, 32, 32), (65536, 1, 2048, 64)), (0, 1 << 17, shape, strides)
    with pytest.raises(ValueError, match=message):
        program.conv(x, weight, None, None, None, (1, 1), SAME, (1, 1), 1, 0, 0.0, False, pooled, windows)
    with pytest.raises(ValueError, match="has a result"):
        program.conv(x, weight, None, None, None, (1, 1), SAME, (1, 1), 1, 0, 0.0, False)
    huge = (1 << 29,) * 4
    with pytest.raises(ValueError, match="impossible size"):
        program.conv(x, weight, None, None, None, (1, 1), huge, (1, 1), 1, 0, 0.0, False, x, PAIRS)


# Plans


class PooledNet(Net):
    """A graph whose poolings are counted."""

    def check_pools(
        self, *results: str, inside: int, apart: int = 0, shape: tuple[int, int, int] = (2, 32, 44)
    ) -> Plan:
        self.check(*results, copies=0, shape=shape)
        batch, *size = shape
        weights = WeightStore(self.graph.constants.values())
        plan = make_plan(self.graph, [((batch, self.channels["x"], *size), True)], {}, weights)
        assert sum("maxima" in kernel for kernel in plan.program.kernels) == inside
        assert Counter(step.method for step in plan.steps)["max_pool"] == apart
        return plan

    def separable(self, x: str, channels: int) -> str:
        y, depth = f"v{len(self.graph.nodes)}", self.channels[x]
        for name, shape in ((f"{y}.d", (depth, 1, 3, 3)), (f"{y}.p", (channels, depth, 1, 1))):
            self.graph.constants[name] = (self.rng.standard_normal(shape) / shape[1] ** 0.5).astype(np.float32)
        window = {"stride": [1, 1], "dilation": [1, 1], "padding": [[1, 1], [1, 1]]}
        return self.add("separable_conv", x, f"{y}.d", f"{y}.p", channels=channels, **window)


def test_results_that_only_a_pool_reads_are_nowhere(rng):
    net = PooledNet(rng, 64)
    y = net.conv(net.pool(net.conv(net.pool(net.conv("x", 64)), 64)), 8)
    plan = net.check_pools(y, inside=2)
    assert plan.program.arena_bytes < 4 * 2 * 64 * 32 * 44


def test_results_that_others_read_are_kept(rng):
    net = PooledNet(rng, 64)
    a = net.conv("x", 64)
    net.check_pools(net.conv(net.concat(net.conv(a, 8), a), 8), net.pool(a), inside=1)


def test_results_of_the_call_are_kept(rng):
    net = PooledNet(rng, 64)
    a = net.conv("x", 64)
    b = net.pool(a)
    net.check_pools(a, b, net.conv(b, 8), inside=1)


def test_the_first_of_two_pools_is_inside(rng):
    net = PooledNet(rng, 64)
    a = net.conv("x", 64)
    net.check_pools(net.conv(net.pool(a), 8), net.conv(net.pool(a, size=4), 8), inside=1, apart=1)


def test_pools_that_become_slices(rng):
    net = PooledNet(rng, 64)
    a, b = net.conv("x", 64), net.separable("x", 40)
    net.check_pools(net.conv(net.concat(net.pool(a), net.pool(b)), 8), inside=2)


def test_pools_of_inputs_sums_and_other_kernels_are_apart(rng):
    net = PooledNet(rng, 64)
    a, b = net.conv("x", 64, 1), net.conv("x", 64)
    total = net.add("add", b, "x", channels=64)
    parts = [net.pool("x"), net.pool(a), net.pool(total), net.pool(b, "avg_pool")]
    net.check_pools(*(net.conv(part, 8) for part in parts), inside=0, apart=3)


def test_large_weights_of_separable_convolutions_pool_apart(rng):
    net = PooledNet(rng, 600)
    net.check_pools(net.conv(net.pool(net.separable("x", 600)), 8), inside=0, apart=1, shape=(1, 8, 8))


@pytest.mark.parametrize("size", [(1, 32, 31), (2, 2, 3), (3, 7, 7)])
def test_small_and_odd_images(size, rng):
    net = PooledNet(rng, 64)
    a, b = net.conv("x", 64), net.separable("x", 64)
    net.check(net.conv(net.pool(a), 8), net.conv(net.pool(b), 8), copies=0, shape=size)


def test_batches_in_parts(rng, monkeypatch):
    net = PooledNet(rng, 16)
    a = net.separable("x", 32)
    b = net.separable(net.pool(a), 32)
    net.graph.outputs = [net.pool(b), a]
    x = images((5, 16, 24, 20), rng)
    cut_all_batches(monkeypatch, 1 << 40)
    whole = CompiledModel(net.graph).run(x)
    for found, expected in zip(whole, reference_graph.run(net.graph, [x]), strict=True):
        assert abs(found - expected).max() <= 1e-5 * abs(expected).max()
    cut_all_batches(monkeypatch, 1)
    model = CompiledModel(net.graph)
    assert sum("maxima" in step.kernel for step in model.explain(x).steps) == 2
    plan = make_plan(net.graph, [(x.shape, True)], {}, WeightStore(net.graph.constants.values()))
    assert any(
        step.origin is not None and "maxima" in kernel
        for step, kernel in zip(plan.steps, plan.program.kernels, strict=True)
    )
    for found, expected in zip(model.run(x), whole, strict=True):
        np.testing.assert_array_equal(found, expected)
