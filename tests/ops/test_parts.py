"""float32 in three bfloat16 parts on AMX's tiles: as exact as the plain sum, whatever the window and the layout."""

from __future__ import annotations

from typing import Any, NamedTuple

import helpers
import neocog
import numpy as np
import pytest
import reference
from neocog import _core, ops
from neocog.engine.compiled import CompiledModel
from neocog.engine.graph import Graph, Input, Node

if "amx" not in _core.available_isas():
    pytest.skip("this CPU has no AMX", allow_module_level=True)

NAME = "direct, float32 in three parts"


class Case(NamedTuple):
    x: tuple[int, int, int, int]
    weight: tuple[int, int, int, int]
    padding: tuple[tuple[int, int], tuple[int, int]] = ((1, 1), (1, 1))
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    @property
    def steps(self) -> dict[str, Any]:
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation, "groups": self.groups}

    @property
    def terms(self) -> int:
        return int(np.prod(self.weight[1:]))


NONE = ((0, 0), (0, 0))
CASES = {
    "3x3": Case((2, 64, 14, 13), (48, 64, 3, 3)),
    "channels_that_fill_no_step": Case((1, 33, 9, 20), (70, 33, 3, 3)),
    "one_channel_more_than_a_panel": Case((1, 40, 8, 9), (65, 40, 3, 3)),
    "1x1": Case((2, 100, 11, 7), (90, 100, 1, 1), NONE),
    "1x1_of_every_second_pixel": Case((2, 72, 15, 16), (80, 72, 1, 1), NONE, (2, 2)),
    "1x1_of_every_third_row": Case((1, 48, 20, 9), (32, 48, 1, 1), NONE, (3, 1)),
    "stride_2": Case((2, 64, 17, 20), (64, 64, 3, 3), stride=(2, 2)),
    "uneven_padding": Case((1, 64, 10, 11), (32, 64, 5, 4), ((0, 3), (2, 1))),
    "dilated": Case((1, 64, 20, 21), (40, 64, 3, 3), ((2, 2), (3, 3)), dilation=(2, 3)),
    "groups": Case((2, 96, 9, 10), (72, 48, 3, 3), groups=2),
    "long_sums": Case((1, 520, 8, 8), (64, 520, 3, 3)),
    "many_panels": Case((1, 64, 12, 12), (400, 64, 1, 1), NONE),
    "a_row": Case((2, 64, 1, 300), (64, 64, 1, 7), ((0, 0), (3, 3))),
    "tall_and_narrow": Case((1, 32, 60, 3), (32, 32, 3, 3)),
}
named = pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])


@pytest.fixture(autouse=True)
def on_tiles():
    before = _core.active_isa()
    _core.set_isa("amx")
    yield
    _core.set_isa(before)


def arrays(case: Case, layout: str, rng: np.random.Generator) -> list[np.ndarray]:
    x = helpers.lay_out(helpers.normal(rng, case.x), layout)
    return [x, helpers.normal(rng, case.weight), helpers.normal(rng, case.weight[:1])]


def rms(y: np.ndarray, expected: np.ndarray) -> float:
    return float(np.sqrt(np.square(y - expected).mean()))


def with_vectors(call: Any) -> Any:
    """The same in float32 itself."""
    _core.set_isa("avx512")
    try:
        return call()
    finally:
        _core.set_isa("amx")


@named
def test_forward_errs_no_more_than_the_plain_sum(case, layout, rng):
    x, weight, bias = arrays(case, layout, rng)
    call = lambda: ops.conv2d(x, weight, bias, algorithm="direct", **case.steps)  # noqa: E731
    y, plain = call(), with_vectors(call)
    assert y.tobytes() != plain.tobytes(), "another kernel"
    expected = reference.conv2d(x, weight, bias, **case.steps)
    magnitude = reference.magnitude(reference.conv2d, x, weight, bias, **case.steps)
    helpers.assert_within(y, expected, magnitude, case.terms)
    helpers.assert_same_layout(y, x)
    assert rms(y, expected) <= 1.05 * rms(plain, expected)


@named
def test_gradients_err_no_more_than_the_plain_sum(case, layout, rng):
    x, weight, _ = arrays(case, layout, rng)
    with neocog.strict():
        grad_y = helpers.lay_out(helpers.normal(rng, ops.conv2d(x, weight, **case.steps).shape), layout)
        call = lambda: ops.conv2d_backward(grad_y, x, weight, **case.steps)  # noqa: E731
        found, plain = call(), with_vectors(call)
    expected = reference.conv2d_backward(grad_y, x, weight, **case.steps)
    sizes = reference.magnitude(reference.conv2d_backward, grad_y, x, weight, **case.steps)
    pixels = int(np.prod(grad_y.shape)) // grad_y.shape[1]
    for y, of_plain, exact, size, terms in zip(
        found, plain, expected, sizes, (case.terms * 16, pixels, pixels), strict=True
    ):
        helpers.assert_within(y, exact, size, terms)
        assert rms(y, exact) <= 1.05 * rms(of_plain, exact)


# Large enough to pay, whatever the layout.
WEIGHTS = {
    "stride_2": Case((3, 128, 30, 31), (160, 128, 3, 3), stride=(2, 2)),
    "channels_that_fill_no_step": Case((2, 150, 23, 21), (131, 150, 3, 3)),
    "groups": Case((4, 256, 20, 19), (272, 128, 3, 3), stride=(2, 1), groups=2),
    "dilated": Case((2, 128, 25, 24), (128, 128, 3, 3), ((2, 2), (3, 0)), dilation=(2, 3)),
    "long_rows": Case((1, 128, 3, 500), (144, 128, 2, 3), ((1, 0), (1, 1))),
    "many_small_images": Case((60, 128, 5, 4), (128, 128, 3, 3)),
    "more_rows_than_a_block": Case((2, 64, 30, 30), (720, 64, 3, 3), stride=(2, 2)),
    "1x1": Case((3, 600, 18, 17), (580, 600, 1, 1), NONE),
    "1x1_that_turns_x": Case((3, 300, 18, 17), (450, 300, 1, 1), NONE),
    "1x1_of_every_second_pixel": Case((3, 600, 35, 36), (400, 600, 1, 1), NONE, (2, 2)),
    "1x1_with_padding": Case((3, 600, 18, 17), (580, 600, 1, 1)),
}
of_weights = pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in WEIGHTS.items()])


def gradients(case: Case, layout: str, rng: np.random.Generator) -> tuple[list[np.ndarray], Any]:
    """The operands, and the gradients by plain sums."""
    x, weight, _ = arrays(case, layout, rng)
    with neocog.strict():
        grad_y = helpers.lay_out(helpers.normal(rng, ops.conv2d(x, weight, **case.steps).shape), layout)

    def call() -> Any:
        with neocog.strict():
            return ops.conv2d_backward(grad_y, x, weight, **case.steps)

    return [grad_y, x, weight], call


@of_weights
def test_weight_gradients_err_no_more_than_the_plain_sum(case, layout, rng):
    operands, call = gradients(case, layout, rng)
    found, plain = call(), with_vectors(call)
    assert found[1].tobytes() != plain[1].tobytes(), "another kernel"
    expected = reference.conv2d_backward(*operands, **case.steps)
    sizes = reference.magnitude(reference.conv2d_backward, *operands, **case.steps)
    pixels = operands[0].size // operands[0].shape[1]
    helpers.assert_within(found[1], expected[1], sizes[1], pixels)
    assert rms(found[1], expected[1]) <= 1.05 * rms(plain[1], expected[1])
    helpers.assert_within(found[2], expected[2], sizes[2], pixels)


@pytest.mark.parametrize("name", ["stride_2", "1x1_that_turns_x", "more_rows_than_a_block"])
def test_weight_gradients_are_the_same_bits_on_any_threads(name, layout, rng):
    _, call = gradients(WEIGHTS[name], layout, rng)
    before = neocog.get_num_threads()
    results = []
    for threads in (1, 2, 3):
        neocog.set_num_threads(threads)
        results.append(call())
    neocog.set_num_threads(before)
    for found in results:
        for one, first in zip(found, results[0], strict=True):
            np.testing.assert_array_equal(one, first)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3.4e38])
@pytest.mark.parametrize("name", ["stride_2", "1x1_that_turns_x"])
def test_what_is_not_finite_passes_to_weight_gradients(name, bad, layout, rng):
    for place in (0, 1):
        operands, call = gradients(WEIGHTS[name], layout, rng)
        operands[place][1, 5, 4, 2] = bad
        with np.errstate(over="ignore", invalid="ignore"):
            found, plain = call()[1], with_vectors(call)[1]
        assert not np.isfinite(plain).all() or bad == 3.4e38
        np.testing.assert_array_equal(np.isnan(found), np.isnan(plain))
        np.testing.assert_array_equal(found[np.isinf(plain)], plain[np.isinf(plain)])
        both = np.isfinite(plain)
        np.testing.assert_allclose(found[both], plain[both], rtol=1e-4, atol=1e-3)


def test_transposed_weight_and_bias_gradients(layout, rng):
    x, weight = helpers.lay_out(helpers.normal(rng, (3, 160, 15, 16)), layout), helpers.normal(rng, (160, 128, 3, 3))
    window = {"stride": 2, "padding": 1}
    with neocog.strict():
        grad_y = helpers.lay_out(helpers.normal(rng, ops.conv_transpose2d(x, weight, **window).shape), layout)
        call = lambda: ops.conv_transpose2d_backward(grad_y, x, weight, **window)  # noqa: E731
        found, plain = call(), with_vectors(call)
    assert found[1].tobytes() != plain[1].tobytes(), "another kernel"
    expected = reference.conv_transpose2d_backward(grad_y, x, weight, **window)
    for place in (1, 2):
        assert rms(found[place], expected[place]) <= 1.05 * rms(plain[place], expected[place])


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_transposed(stride, layout, rng):
    x = helpers.lay_out(helpers.normal(rng, (2, 64, 9, 8)), layout)
    weight, bias = helpers.normal(rng, (64, 40, 3, 3)), helpers.normal(rng, (40,))
    with neocog.strict():
        y = ops.conv_transpose2d(x, weight, bias, stride=stride, padding=1)
    expected = reference.conv_transpose2d(x, weight, bias, stride=stride, padding=1)
    magnitude = reference.magnitude(reference.conv_transpose2d, x, weight, bias, stride=stride, padding=1)
    helpers.assert_within(y, expected, magnitude, 9 * 64)


@pytest.mark.parametrize("activation", [None, "relu", "relu6", "gelu"])
def test_residual_and_activation(activation, layout, rng):
    case = CASES["channels_that_fill_no_step"]
    x, weight, bias = arrays(case, layout, rng)
    y = ops.conv2d(x, weight, bias, algorithm="direct", **case.steps)
    residual = helpers.lay_out(helpers.normal(rng, y.shape), layout)
    fused = ops.conv2d(x, weight, bias, residual=residual, activation=activation, algorithm="direct", **case.steps)
    then = getattr(ops, activation) if activation else np.asarray
    np.testing.assert_allclose(fused, then(y + residual), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3.4e38])
def test_what_is_not_finite_passes(bad, layout, rng):
    case = CASES["channels_that_fill_no_step"]
    for place in (0, 1):
        operands = arrays(case, layout, rng)
        operands[place][0, 5, 1, 2] = bad
        call = lambda: ops.conv2d(*operands, algorithm="direct", **case.steps)  # noqa: B023, E731
        with np.errstate(over="ignore", invalid="ignore"):
            y, plain = call(), with_vectors(call)
        assert not np.isfinite(plain).all() or bad == 3.4e38
        np.testing.assert_array_equal(np.isnan(y), np.isnan(plain))
        np.testing.assert_array_equal(y[np.isinf(plain)], plain[np.isinf(plain)])
        both = np.isfinite(plain)
        np.testing.assert_allclose(y[both], plain[both], rtol=1e-4, atol=1e-4)


def test_all_bits_of_a_number_are_multiplied(rng):
    """One term, by a power of two: any bit that is lost would show."""
    x, weight = np.zeros((1, 32, 8, 8), np.float32), np.zeros((32, 32, 1, 1), np.float32)
    x[0, 3] = helpers.normal(rng, (8, 8))
    weight[:, 3, 0, 0] = 0.5
    y = ops.conv2d(x, weight, algorithm="direct")
    np.testing.assert_array_equal(y, np.broadcast_to(x[:, 3:4] * np.float32(0.5), y.shape))


def test_the_smallest_numbers_lose_what_is_below_the_normal_ones(rng):
    x, weight = helpers.normal(rng, (1, 32, 8, 8)), helpers.normal(rng, (32, 32, 1, 1))
    y, plain = (ops.conv2d(x * np.float32(scale), weight, algorithm="direct") for scale in (1e-37, 1.0))
    np.testing.assert_allclose(y * 1e37, plain, atol=34 * 2.0**-123 * 1e37 + 1e-4)


@pytest.mark.parametrize("name", ["3x3", "1x1", "stride_2"])
def test_once_kept_and_on_any_threads_the_same_bits(name, layout, rng):
    case = CASES[name]
    x, weight, bias = arrays(case, layout, rng)
    results = []
    before = neocog.get_num_threads()
    with neocog.strict():
        for threads in (1, 2, 3):
            neocog.set_num_threads(threads)
            results.append(ops.conv2d(x, weight, bias, **case.steps))
        neocog.set_num_threads(before)
        attributes = {key: np.asarray(value).tolist() for key, value in case.steps.items() if key != "groups"}
        node = Node("conv", ("x", "w", "b"), ("y",), attributes)
        model = CompiledModel(Graph([Input("x", x.shape)], ["y"], [node], {"w": weight, "b": bias}))
        results += [model(x), model(x)]
    for y in results:
        np.testing.assert_array_equal(y, results[0])


def test_the_kernel_has_a_name():
    weight = np.zeros((64, 64, 1, 1), np.float32)
    names = [
        with_vectors(lambda: _core.conv_kernel((1, 64, 20, 20), weight, (1, 1), (0,) * 4, (1, 1), 1)),
        _core.conv_kernel((1, 64, 20, 20), weight, (1, 1), (0,) * 4, (1, 1), 1),
    ]
    assert names == ["direct, vectors of channels", NAME]


@pytest.mark.parametrize(("rows", "inputs", "outputs"), [(1030, 200, 190), (700, 300, 150), (600, 130, 1000)])
def test_large_linear_layers(rows, inputs, outputs, rng):
    x, weight, bias = (helpers.normal(rng, shape) for shape in ((rows, inputs), (outputs, inputs), (outputs,)))
    grad_y = helpers.normal(rng, (rows, outputs))
    call = lambda: (ops.linear(x, weight, bias), *ops.linear_backward(grad_y, x, weight))  # noqa: E731
    found, plain = call(), with_vectors(call)
    exact = [array.astype(np.float64) for array in (x, weight, bias, grad_y)]
    expected = (
        exact[0] @ exact[1].T + exact[2],
        exact[3] @ exact[1],
        exact[3].T @ exact[0],
        exact[3].sum(axis=0),
    )
    for one, by_vectors, right in zip(found, plain, expected, strict=True):
        assert rms(one, right) <= 1.05 * rms(by_vectors, right)
    assert found[0].tobytes() != plain[0].tobytes(), "another kernel"
