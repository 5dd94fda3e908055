"""interpolate and its gradient against the float64 oracle, within the documented bounds, on every ISA."""

from __future__ import annotations

from math import prod
from typing import Any

import cases
import neocog
import numpy as np
import pytest
import reference
from helpers import assert_laid_out, assert_same_layout, assert_within, channels_last, lay_out, normal
from neocog import _core, ops

MODES = {  # mode of images, align_corners
    "nearest": ("nearest", False),
    "nearest_exact": ("nearest-exact", False),
    "linear": ("bilinear", False),
    "linear_aligned": ("bilinear", True),
}
# Beside the oracle's cases, those that this implementation treats in its own way.
CASES2D = cases.RESAMPLE2D | {
    "groups_fit_one_register": ((1, 2, 5, 40), {"scale_factor": 2}),
    "groups_fit_two_registers": ((1, 2, 9, 75), {"scale_factor": 0.5}),
    "groups_fit_no_register": ((1, 2, 17, 130), {"size": (3, 26)}),
    "row_shorter_than_a_register": ((1, 2, 3, 7), {"size": (4, 50)}),
    "three_channels_share_registers": ((2, 3, 8, 33), {"scale_factor": 2}),
    "three_channels_shrink": ((1, 3, 20, 61), {"scale_factor": (0.5, 0.4)}),
    "channels_fill_a_register": ((1, 16, 4, 5), {"scale_factor": (1.5, 3)}),
    "channels_and_a_rest": ((1, 67, 5, 4), {"size": (7, 9)}),
    "channels_shrink": ((1, 33, 9, 10), {"scale_factor": 0.4}),
    "rows_are_cut": ((1, 1, 90, 300), {"scale_factor": 2}),
    "small_planes_go_together": ((3, 50, 3, 4), {"scale_factor": 2}),
    "rows_kept_columns_doubled": ((1, 2, 6, 20), {"size": (6, 40)}),
    "many_copies_of_one_row": ((1, 2, 2, 3), {"size": (40, 41)}),
    "no_channels": ((2, 0, 4, 4), {"size": 3}),
}
CASES1D = cases.RESAMPLE1D | {
    "fractional": ((2, 17, 50), {"scale_factor": 1.7}),
    "signal_longer_than_a_block": ((1, 1, 600), {"size": 9000}),
    "signal_shrinks": ((1, 2, 201), {"size": 90}),
    "batch_0": ((0, 2, 5), {"size": 4}),
}


def sizes_of(x: tuple[int, ...], how: dict[str, Any]) -> tuple[int, ...]:
    axes = len(x) - 2
    if "size" in how:
        return tuple(np.broadcast_to(how["size"], axes))
    return tuple(int(n * s) for n, s in zip(x[2:], np.broadcast_to(how["scale_factor"], axes), strict=True))


def backward_arguments(how: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in how.items() if name != "size"}


def check_forward(shape, how, mode, align_corners, layout, dtype, rng):
    mode = mode if len(shape) == 4 else mode.removeprefix("bi")
    x = lay_out(normal(rng, shape, dtype), layout)
    y = ops.interpolate(x, mode=mode, align_corners=align_corners, **how)
    expected = reference.interpolate(x, mode=mode, align_corners=align_corners, **how)
    assert y.dtype == dtype
    assert_same_layout(y, x)
    if mode.startswith("nearest"):
        np.testing.assert_array_equal(y, expected)
    else:
        magnitude = reference.magnitude(reference.interpolate, x, mode=mode, align_corners=align_corners, **how)
        assert_within(y, expected, magnitude, 4)


def check_backward(shape, how, mode, align_corners, layout, dtype, rng):
    mode = mode if len(shape) == 4 else mode.removeprefix("bi")
    outs = sizes_of(shape, how)
    grad_y = lay_out(normal(rng, (*shape[:2], *outs), dtype), layout)
    arguments = {"mode": mode, "align_corners": align_corners, **backward_arguments(how)}
    grad_x = ops.interpolate_backward(grad_y, shape[2:], **arguments)
    expected = reference.interpolate_backward(grad_y, shape[2:], **arguments)
    magnitude = reference.interpolate_backward(abs(grad_y), shape[2:], **arguments)
    # An input is read by the outputs between its two neighbours, and by those past the edge.
    terms = prod(2 * -(-out // size) + 1 for out, size in zip(outs, shape[2:], strict=True))
    assert_within(grad_x, expected, magnitude, terms + 2)
    assert grad_x.dtype == dtype
    assert_same_layout(grad_x, grad_y)


CASES = {f"2d_{name}": case for name, case in CASES2D.items()} | {f"1d_{name}": case for name, case in CASES1D.items()}


@pytest.mark.parametrize(("mode", "align_corners"), MODES.values(), ids=MODES)
@pytest.mark.parametrize(("shape", "how"), CASES.values(), ids=CASES)
def test_float32(shape, how, mode, align_corners, layout, isa, rng):
    check_forward(shape, how, mode, align_corners, layout, np.float32, rng)
    check_backward(shape, how, mode, align_corners, layout, np.float32, rng)


@pytest.mark.parametrize(("mode", "align_corners"), MODES.values(), ids=MODES)
@pytest.mark.parametrize(("shape", "how"), CASES.values(), ids=CASES)
def test_float64_runs_the_portable_body(shape, how, mode, align_corners, layout, rng):
    check_forward(shape, how, mode, align_corners, layout, np.float64, rng)
    check_backward(shape, how, mode, align_corners, layout, np.float64, rng)


@pytest.mark.parametrize(("mode", "align_corners"), MODES.values(), ids=MODES)
def test_random_sizes_and_the_adjoint(mode, align_corners, rng):
    for _ in range(25):
        size, out = rng.integers(1, 70, 2), rng.integers(1, 70, 2)
        x = lay_out(normal(rng, (2, int(rng.integers(1, 20)), *size), np.float64), rng.choice(["NCHW", "NHWC"]))
        y = ops.interpolate(x, tuple(out), mode=mode, align_corners=align_corners)
        grad_y = normal(rng, y.shape, np.float64)
        grad_x = ops.interpolate_backward(grad_y, size, mode=mode, align_corners=align_corners)
        magnitude = np.vdot(abs(y), abs(grad_y))
        assert abs(np.vdot(y, grad_y) - np.vdot(x, grad_x)) <= 1e-12 * magnitude


def float32_nearest(size: int, out: int, scale: float | None, exact: bool) -> np.ndarray:
    """PyTorch's indices: position and step are float32, and so is their product."""
    step = np.float32(1 / scale) if scale else np.float32(size) / np.float32(out)
    position = np.arange(out, dtype=np.float32) + np.float32(0.5 if exact else 0)
    return np.minimum(np.floor(position * step), size - 1).astype(int)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("spatial", [1, 2])
def test_nearest_rounds_in_float32_whatever_the_dtype(spatial, exact, dtype):
    mode, differs = "nearest-exact" if exact else "nearest", 0
    for size, out, scale in [(n, m, None) for n in range(1, 40) for m in range(1, 80)] + [
        (n, int(n * s), s) for n in range(10, 40) for s in (0.1, 0.3, 0.7, 1.1, 2.9, 3.3)
    ]:
        x = np.arange(size, dtype=dtype)[(None,) * (1 + spatial)]
        how = {"size": (1, out)[-spatial:]} if scale is None else {"scale_factor": (1, scale)[-spatial:]}
        expected = float32_nearest(size, out, scale, exact)
        if spatial == 2 and not exact and out in (size, 2 * size):
            expected = np.arange(out) * size // out
        np.testing.assert_array_equal(ops.interpolate(x, mode=mode, **how).ravel(), expected)
        step = 1 / scale if scale else size / out
        differs += np.any(expected != np.minimum((np.arange(out) + 0.5 * exact) * step, size - 1).astype(int))
    assert differs > 0, "no case here tells float32 from float64"


@pytest.mark.parametrize("spatial", [1, 2])
def test_an_axis_that_keeps_or_doubles_its_size_ignores_the_scale(spatial):
    x = np.arange(40, dtype=np.float32)[(None,) * (1 + spatial)]
    kept, doubled = (1, 1.01)[-spatial:], (1, 2.01)[-spatial:]
    for mode in ("nearest", "linear" if spatial == 1 else "bilinear"):
        y = ops.interpolate(x, scale_factor=kept, mode=mode)
        if mode == "nearest" and spatial == 1:  # as PyTorch: signals go by the formula
            np.testing.assert_array_equal(y.ravel(), float32_nearest(40, 40, 1.01, False))
        else:
            np.testing.assert_array_equal(y, x)
    y = ops.interpolate(x, scale_factor=doubled, mode="nearest").ravel()
    by_formula = float32_nearest(40, 80, 2.01, False)
    assert np.any(by_formula != np.repeat(np.arange(40), 2)), "this scale tells nothing"
    np.testing.assert_array_equal(y, by_formula if spatial == 1 else np.repeat(np.arange(40), 2))


@pytest.mark.parametrize(("mode", "align_corners"), MODES.values(), ids=MODES)
def test_same_bits_for_any_number_of_threads(mode, align_corners, layout, threads, rng):
    x = lay_out(normal(rng, (2, 19, 47, 80)), layout)
    grad_y = lay_out(normal(rng, (2, 19, 94, 136)), layout)
    how = {"mode": mode, "align_corners": align_corners}
    y = ops.interpolate(x, scale_factor=(2, 1.7), **how)
    grad_x = ops.interpolate_backward(grad_y, (47, 80), (2, 1.7), **how)
    neocog.set_num_threads(1)
    assert y.tobytes() == ops.interpolate(x, scale_factor=(2, 1.7), **how).tobytes()
    assert grad_x.tobytes() == ops.interpolate_backward(grad_y, (47, 80), (2, 1.7), **how).tobytes()


def test_linear_has_the_same_bits_in_both_layouts(rng, isa):
    x = normal(rng, (1, 20, 9, 23))
    for scale in (2, 0.5, 1.3):
        first = ops.interpolate(x, scale_factor=scale, mode="bilinear")
        last = ops.interpolate(lay_out(x, "NHWC"), scale_factor=scale, mode="bilinear")
        np.testing.assert_array_equal(first, last)


@pytest.mark.parametrize("channels", [1, 3, 20])
def test_nan_and_infinity_reach_the_outputs_that_read_them_and_no_other(channels, layout, isa):
    x = np.zeros((1, channels, 6, 40), np.float32)
    x[0, 0, 2, 17], x[0, 0, 4, 30] = np.nan, np.inf
    x = lay_out(x, layout)
    for mode, scale in (("nearest", 2), ("bilinear", 2), ("bilinear", 0.5)):
        y = ops.interpolate(x, scale_factor=scale, mode=mode)
        reads = reference.interpolate((x != 0).astype(float), scale_factor=scale, mode=mode)
        np.testing.assert_array_equal(np.isfinite(y), reads == 0)
        np.testing.assert_array_equal(y[reads == 0], 0)
    grad_y = np.zeros((1, channels, 12, 80), np.float32)
    grad_y[0, 0, 5, 41] = np.nan
    for mode in ("nearest", "bilinear"):
        grad_x = ops.interpolate_backward(lay_out(grad_y, layout), (6, 40), 2, mode=mode)
        reads = reference.interpolate_backward((grad_y != 0).astype(float), (6, 40), 2, mode=mode)
        np.testing.assert_array_equal(np.isnan(grad_x), reads != 0)


def test_data_formats_name_the_axes(rng):
    x = normal(rng, (2, 5, 7, 6))
    y = ops.interpolate(x, 4, mode="bilinear")
    last = ops.interpolate(np.ascontiguousarray(channels_last(x)), 4, mode="bilinear", data_format="NHWC")
    np.testing.assert_array_equal(last, channels_last(y))
    assert last.flags.c_contiguous
    signal = x[:, :, 0]
    y = ops.interpolate(signal, 9, mode="linear", data_format="NCL")
    last = ops.interpolate(channels_last(signal), 9, mode="linear", data_format="NLC")
    np.testing.assert_array_equal(last, channels_last(y))
    back = ops.interpolate_backward(last, 6, mode="linear", data_format="NLC")
    np.testing.assert_array_equal(back, channels_last(ops.interpolate_backward(y, (6,), mode="linear")))


def test_strided_and_read_only_inputs(rng):
    x = normal(rng, (2, 6, 9, 20))[:, ::2, ::-1, 3:17]
    x.flags.writeable = False
    before = x.copy()
    y = ops.interpolate(x, scale_factor=2, mode="bilinear")
    np.testing.assert_array_equal(y, ops.interpolate(before, scale_factor=2, mode="bilinear"))
    assert_laid_out(y, "NCHW")
    y[...] = 0
    np.testing.assert_array_equal(x, before)


def test_recompute_scale_factor_goes_by_the_sizes(rng):
    x = normal(rng, (1, 2, 7, 9), np.float64)
    how = {"scale_factor": 1.7, "mode": "bilinear"}
    by_size = ops.interpolate(x, (11, 15), mode="bilinear")
    np.testing.assert_array_equal(ops.interpolate(x, **how, recompute_scale_factor=True), by_size)
    assert np.any(ops.interpolate(x, **how) != by_size)
    grad_x = ops.interpolate_backward(by_size, (7, 9), 1.7, mode="bilinear", recompute_scale_factor=True)
    np.testing.assert_array_equal(grad_x, ops.interpolate_backward(by_size, (7, 9), mode="bilinear"))


X = np.ones((1, 2, 4, 6), np.float32)
REJECTIONS = {
    "both": (lambda: ops.interpolate(X, 4, 2), ValueError, r"both are given \(4, 2\)"),
    "neither": (lambda: ops.interpolate(X), ValueError, "either `size` or `scale_factor`: neither"),
    "integers": (lambda: ops.interpolate(X.astype(int), 4), TypeError, "`x` has dtype int64.*astype"),
    "no_array": (lambda: ops.interpolate([1.0], 4), TypeError, "`x` is a list"),
    "rank": (lambda: ops.interpolate(X[0, 0], 4), ValueError, "`x` has 2 axes.*must have four"),
    "mode": (lambda: ops.interpolate(X, 4, mode="cubic"), ValueError, "`mode` is 'cubic'; it must be one of"),
    "linear_image": (lambda: ops.interpolate(X, 4, mode="linear"), ValueError, "has 4 axes.*use 'bilinear'"),
    "bilinear_signal": (
        lambda: ops.interpolate(X[0], 4, mode="bilinear"),
        ValueError,
        "has 3 axes.*use 'linear'",
    ),
    "corners": (lambda: ops.interpolate(X, 4, align_corners=True), ValueError, "`align_corners` is True"),
    "recompute": (
        lambda: ops.interpolate(X, 4, recompute_scale_factor=True),
        ValueError,
        "`recompute_scale_factor`",
    ),
    "size_0": (lambda: ops.interpolate(X, 0), ValueError, "`size` is 0; it must be at least 1"),
    "size_fraction": (lambda: ops.interpolate(X, 2.5), TypeError, "`size` is 2.5; it must be an int"),
    "size_three": (
        lambda: ops.interpolate(X, (1, 2, 3)),
        ValueError,
        r"`size` is \(1, 2, 3\); it must be one",
    ),
    "scale_0": (
        lambda: ops.interpolate(X, scale_factor=0),
        ValueError,
        "`scale_factor` is 0; it must be positive",
    ),
    "scale_nan": (lambda: ops.interpolate(X, scale_factor=np.nan), ValueError, "positive and finite"),
    "scale_text": (
        lambda: ops.interpolate(X, scale_factor="2"),
        TypeError,
        "`scale_factor` is '2'; it must be a number",
    ),
    "scale_none": (lambda: ops.interpolate(X, scale_factor=(2, None)), TypeError, "it must be a number"),
    "scale_small": (lambda: ops.interpolate(X, scale_factor=0.2), ValueError, r"makes \(0, 1\) of \(4, 6\)"),
    "scale_large": (lambda: ops.interpolate(X, scale_factor=1e12), ValueError, "use a smaller one"),
    "overflow": (lambda: ops.interpolate(X, 2**31 - 1), ValueError, "more than memory can address"),
    "no_pixel": (lambda: ops.interpolate(X[..., :0], 3), ValueError, "no pixel to read"),
    "format": (lambda: ops.interpolate(X, 3, data_format="NLC"), ValueError, "`data_format` is 'NLC'"),
    "backward_size": (
        lambda: ops.interpolate_backward(X, (2, 2), 2),
        ValueError,
        r"`grad_y` has spatial size \(4, 6\).*is \(4, 4\)",
    ),
    "backward_input": (
        lambda: ops.interpolate_backward(X, (0, 2)),
        ValueError,
        "`input_size` is 0; it must be",
    ),
    "backward_empty": (
        lambda: ops.interpolate_backward(X[..., :0], (2, 2)),
        ValueError,
        "at least one pixel",
    ),
    "kernel_guards_itself": (
        lambda: _core.resample_forward(X, (2, 2), (1e300, 1.0), 0, False, True, False),
        ValueError,
        "`scale_factor` is out of range",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), REJECTIONS.values(), ids=REJECTIONS)
def test_a_rejection_names_its_reason(call, error, message):
    with pytest.raises(error, match=message):
        call()
