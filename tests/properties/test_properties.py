"""Random geometries: forward within the bound of the oracle, backward as the adjoint, in both layouts.

Each op is linear in each of its arrays (max pooling once its choices are made), so <f(x), g> = <x, f*(g)>
says that the backward f* belongs to the forward f, however either is computed. The examples are the same on
every run.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

pytest.importorskip("hypothesis")

import helpers
import reference
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from neocog import _core, ops

deterministic = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=50,
    # `isa` holds for all examples of a test, as it should.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Axis(NamedTuple):
    size: int
    kernel: int
    stride: int
    dilation: int
    pads: tuple[int, int]


@st.composite
def axes(draw: st.DrawFn, *, pool: bool = False) -> Axis:
    """One axis of an image and of a window that fits. A pool pads at most half of its kernel, as in torch."""
    kernel = draw(st.integers(1, 5))
    dilation = draw(st.integers(1, 3))
    padding = st.integers(0, kernel // 2 if pool else 5)
    pads = draw(st.tuples(padding, padding))
    least = max(dilation * (kernel - 1) + 1 - sum(pads), 1)
    return Axis(draw(st.integers(least, least + 9)), kernel, draw(st.integers(1, 4)), dilation, pads)


class Setting(NamedTuple):
    batch: int
    layout: str
    dtype: Any
    rng: np.random.Generator

    def image(self, channels: int, *sizes: int) -> np.ndarray:
        x = helpers.normal(self.rng, (self.batch, channels, *sizes), self.dtype)
        return helpers.lay_out(x, self.layout)

    def normal(self, *shape: int) -> np.ndarray:
        return helpers.normal(self.rng, shape, self.dtype)


@st.composite
def some_settings(draw: st.DrawFn) -> Setting:
    layout, dtype = draw(st.sampled_from(["NCHW", "NHWC"])), draw(st.sampled_from([np.float32, np.float64]))
    return Setting(draw(st.integers(1, 3)), layout, dtype, np.random.default_rng(draw(st.integers(0, 2**32 - 1))))


# Few channels, one vector, and one more than a vector.
channel_counts = st.one_of(st.integers(1, 9), st.sampled_from([16, 17, 33]))


def inner(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sum(a.astype(np.float64) * b))


def assert_adjoint(y: np.ndarray, grad_y: np.ndarray, x: np.ndarray, grad_x: np.ndarray, bound: float) -> None:
    assert grad_x.shape == x.shape
    assert grad_x.dtype == x.dtype
    assert abs(inner(y, grad_y) - inner(x, grad_x)) <= bound


def check_convolution(forward: Any, backward: Any, oracle: Any, setting: Setting, x, weight, steps, terms) -> None:
    """terms: of the longest sum, whichever of the results has it."""
    y = forward(x, weight, **steps)
    magnitude = reference.magnitude(oracle, x, weight, **steps)
    helpers.assert_within(y, oracle(x, weight, **steps), magnitude, terms)
    helpers.assert_same_layout(y, x)
    assert y.dtype == setting.dtype

    grad_y = helpers.lay_out(setting.normal(*y.shape), setting.layout)
    grad_x, grad_weight, grad_bias = backward(grad_y, x, weight, **steps)
    bound = 2 * (terms + 2) * np.finfo(setting.dtype).eps * inner(magnitude, abs(grad_y))
    assert_adjoint(y, grad_y, x, grad_x, bound)
    assert_adjoint(y, grad_y, weight, grad_weight, bound)
    count = grad_y.size // grad_y.shape[1]
    helpers.assert_within(
        grad_bias, grad_y.sum((0, 2, 3), np.float64), abs(grad_y).sum((0, 2, 3), np.float64), terms=count
    )
    helpers.assert_same_layout(grad_x, x)


def both(h: Axis, w: Axis, names: str) -> dict[str, Any]:
    """The named steps of two axes, as the arguments of an op."""
    fields = {
        "stride": (h.stride, w.stride),
        "dilation": (h.dilation, w.dilation),
        "padding": (h.pads, w.pads),
    }
    return {name: fields[name] for name in names.split()}


@deterministic
@given(
    h=axes(),
    w=axes(),
    groups=st.integers(1, 4),
    channels=channel_counts,
    out_channels=channel_counts,
    offset=st.sampled_from([0, 10_000]),
    setting=some_settings(),
)
def test_statistics_of_a_convolution_are_those_of_its_result(
    h, w, groups, channels, out_channels, offset, setting, isa
):
    x = setting.image(groups * channels, h.size, w.size)
    weight = setting.normal(groups * out_channels, channels, h.kernel, w.kernel)
    bias = setting.normal(groups * out_channels) + setting.dtype(offset)
    window = ((h.stride, w.stride), (*h.pads, *w.pads), (h.dilation, w.dilation))
    last = setting.layout == "NHWC"
    _, y, mean, var = _core.conv_batch_norm_training(x, weight, bias, None, None, *window, groups, 1e-5, 0, 0.0, last)
    wide = y.astype(np.longdouble)
    exact_mean = wide.mean((0, 2, 3))
    exact_var = ((wide - exact_mean[:, None, None]) ** 2).mean((0, 2, 3))
    eps = np.finfo(setting.dtype).eps
    assert np.all(abs(mean - exact_mean) <= eps * abs(exact_mean) + 80 * eps * np.sqrt(exact_var))
    assert np.all(abs(var - exact_var) <= 80 * eps * exact_var)


@deterministic
@given(
    h=axes(),
    w=axes(),
    groups=st.integers(1, 4),
    channels=channel_counts,
    out_channels=channel_counts,
    setting=some_settings(),
)
def test_conv2d(isa, h, w, groups, channels, out_channels, setting):
    x = setting.image(groups * channels, h.size, w.size)
    weight = setting.normal(groups * out_channels, channels, h.kernel, w.kernel)
    steps = both(h, w, "stride dilation padding") | {"groups": groups}
    positions = int(np.prod(reference.Windows(x.shape[2:], weight.shape[2:], *steps_of(steps)).out))
    terms = max(channels, out_channels) * h.kernel * w.kernel + setting.batch * positions
    check_convolution(ops.conv2d, ops.conv2d_backward, reference.conv2d, setting, x, weight, steps, terms)


def steps_of(steps: dict[str, Any]) -> tuple[Any, Any, Any]:
    return steps["stride"], steps["padding"], steps["dilation"]


@deterministic
@given(h=axes(), w=axes(), channels=channel_counts, multiplier=st.integers(1, 3), setting=some_settings())
def test_depthwise_conv2d(isa, h, w, channels, multiplier, setting):
    x = setting.image(channels, h.size, w.size)
    weight = setting.normal(channels * multiplier, 1, h.kernel, w.kernel)
    steps = both(h, w, "stride dilation padding")
    positions = int(np.prod(reference.Windows(x.shape[2:], weight.shape[2:], *steps_of(steps)).out))
    terms = multiplier * h.kernel * w.kernel + setting.batch * positions
    forward, backward = ops.depthwise_conv2d, ops.depthwise_conv2d_backward
    check_convolution(forward, backward, reference.depthwise_conv2d, setting, x, weight, steps, terms)


@deterministic
@given(
    h=axes(),
    w=axes(),
    groups=st.integers(1, 3),
    channels=channel_counts,
    out_channels=channel_counts,
    output_padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    setting=some_settings(),
)
def test_conv_transpose2d(isa, h, w, groups, channels, out_channels, output_padding, setting):
    for axis, extra in zip((h, w), output_padding, strict=True):
        assume(extra < max(axis.stride, axis.dilation))
        span = axis.dilation * (axis.kernel - 1) + 1
        assume((axis.size - 1) * axis.stride + span + extra - sum(axis.pads) >= 1)
    x = setting.image(groups * channels, h.size, w.size)
    weight = setting.normal(groups * channels, out_channels, h.kernel, w.kernel)
    steps = both(h, w, "stride dilation padding") | {"groups": groups, "output_padding": output_padding}
    terms = max(channels, out_channels) * h.kernel * w.kernel + setting.batch * h.size * w.size
    forward, backward = ops.conv_transpose2d, ops.conv_transpose2d_backward
    check_convolution(forward, backward, reference.conv_transpose2d, setting, x, weight, steps, terms)


@deterministic
@given(
    h=axes(pool=True),
    w=axes(pool=True),
    channels=channel_counts,
    ceil_mode=st.booleans(),
    ties=st.booleans(),
    setting=some_settings(),
)
def test_max_pool2d(isa, h, w, channels, ceil_mode, ties, setting):
    x = setting.image(channels, h.size, w.size)
    if ties:
        x = np.round(x)
    steps = both(h, w, "stride dilation padding") | {
        "kernel_size": (h.kernel, w.kernel),
        "ceil_mode": ceil_mode,
    }
    expected, expected_indices = reference.max_pool2d(x, return_indices=True, **steps)
    assume((expected_indices >= 0).all())  # else a dilated window steps over the whole image
    y, indices = ops.max_pool2d(x, return_indices=True, **steps)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(indices, expected_indices)
    helpers.assert_same_layout(y, x)

    grad_y = helpers.lay_out(setting.normal(*y.shape), setting.layout)
    grad_x = ops.max_pool2d_backward(grad_y, indices, x.shape[2:])
    bound = (h.kernel * w.kernel + 2) * np.finfo(setting.dtype).eps * inner(abs(y), abs(grad_y))
    assert_adjoint(y, grad_y, x, grad_x, bound)
    helpers.assert_same_layout(grad_x, grad_y)


@deterministic
@given(
    h=axes(pool=True),
    w=axes(pool=True),
    channels=channel_counts,
    ceil_mode=st.booleans(),
    count_include_pad=st.booleans(),
    setting=some_settings(),
)
def test_avg_pool2d(isa, h, w, channels, ceil_mode, count_include_pad, setting):
    x = setting.image(channels, h.size, w.size)
    kernel = (h.kernel, w.kernel)
    assume(all(axis.size + sum(axis.pads) >= axis.kernel for axis in (h, w)))
    steps = both(h, w, "stride padding") | {"ceil_mode": ceil_mode, "count_include_pad": count_include_pad}
    y = ops.avg_pool2d(x, kernel, **steps)
    magnitude = reference.magnitude(reference.avg_pool2d, x, kernel_size=kernel, **steps)
    terms = h.kernel * w.kernel
    helpers.assert_within(y, reference.avg_pool2d(x, kernel, **steps), magnitude, terms)
    helpers.assert_same_layout(y, x)

    grad_y = helpers.lay_out(setting.normal(*y.shape), setting.layout)
    grad_x = ops.avg_pool2d_backward(grad_y, x.shape[2:], kernel, **steps)
    bound = 2 * (terms + 2) * np.finfo(setting.dtype).eps * inner(magnitude, abs(grad_y))
    assert_adjoint(y, grad_y, x, grad_x, bound)
    helpers.assert_same_layout(grad_x, grad_y)


@deterministic
@given(
    sizes=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    outs=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    channels=channel_counts,
    setting=some_settings(),
)
def test_adaptive_pools(isa, sizes, outs, channels, setting):
    x = setting.image(channels, *sizes)
    y = ops.adaptive_avg_pool2d(x, outs)
    terms = int(np.prod([size // out + 2 for size, out in zip(sizes, outs, strict=True)]))
    magnitude = reference.magnitude(reference.adaptive_avg_pool2d, x, output_size=outs)
    helpers.assert_within(y, reference.adaptive_avg_pool2d(x, outs), magnitude, terms)
    grad_y = helpers.lay_out(setting.normal(*y.shape), setting.layout)
    grad_x = ops.adaptive_avg_pool2d_backward(grad_y, sizes)
    overlap = int(np.prod([out // size + 2 for size, out in zip(sizes, outs, strict=True)]))
    bound = (terms + overlap + 4) * np.finfo(setting.dtype).eps * inner(magnitude, abs(grad_y))
    assert_adjoint(y, grad_y, x, grad_x, bound)

    largest, indices = ops.adaptive_max_pool2d(x, outs, return_indices=True)
    expected, expected_indices = reference.adaptive_max_pool2d(x, outs, return_indices=True)
    np.testing.assert_array_equal(largest, expected)
    np.testing.assert_array_equal(indices, expected_indices)
    helpers.assert_same_layout(largest, x)
