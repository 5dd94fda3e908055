"""precision="bf16" against the float64 oracle of rounded operands, on every unit that multiplies them here."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from math import prod

import cases
import helpers
import neocog
import numpy as np
import pytest
import reference
from cases import Conv
from neocog import _core, ops
from reference_bf16 import UNIT, rounded
from test_conv import CUT, NAMED

MORE = {
    "stem_of_a_network": Conv((2, 3, 61, 64), (40, 3, 7, 7), stride=2, padding=3),
    "channels_need_zeros_for_even_steps": Conv((2, 74, 9, 8), (36, 74, 1, 1)),
    "merged_taps_in_two_steps": Conv((1, 16, 12, 17), (33, 16, 3, 3), padding=1),
    "runs_across_short_rows": Conv((3, 32, 7, 7), (64, 32, 3, 3), padding=1),
    "runs_across_strided_rows": Conv((2, 32, 13, 14), (35, 32, 3, 3), stride=(1, 2), padding=1),
    "three_panels_of_columns": Conv((1, 40, 10, 20), (81, 40, 1, 1)),
    "groups_of_16": Conv((2, 64, 11, 10), (96, 16, 3, 3), padding=1, groups=4),
    "pointwise_strided": Conv((2, 32, 9, 10), (40, 32, 1, 1), stride=(2, 3)),
    "pointwise_strided_in_padding": Conv((1, 20, 7, 8), (16, 20, 1, 1), stride=3, padding=((4, 1), (2, 5))),
    "one_row_of_taps_strided": Conv((1, 16, 9, 11), (16, 16, 1, 3), stride=2, padding=(0, 1)),
    "one_column_of_taps_strided": Conv((1, 16, 9, 11), (16, 16, 3, 1), stride=(1, 2), padding=(1, 0)),
}
NAMED_AND_MORE = NAMED + [pytest.param("conv2d", case, id=f"2d-{name}") for name, case in MORE.items()]
SIGNS = (1.0, -1.0)


def is_bf16(weight: np.ndarray, groups: int = 1) -> bool:
    """Whether the geometry is computed from rounded numbers, as the documentation says it."""
    inputs, outputs = weight.shape[1], weight.shape[0] // groups
    return outputs >= 4 and prod(weight.shape[1:]) >= 16 and (groups == 1 or min(inputs, outputs) >= 16)


def problem(case: Conv, rng, layout: str = "NCHW"):
    x = helpers.lay_out(helpers.normal(rng, case.x), layout)
    return x, helpers.normal(rng, case.weight), helpers.normal(rng, case.weight[:1])


@pytest.mark.parametrize(("op", "case"), NAMED_AND_MORE)
def test_forward_is_within_the_documented_bounds(op, case, bf16_unit, layout, rng):
    x, weight, bias = problem(case, rng, layout)
    y = getattr(ops, op)(x, weight, bias, precision="bf16", **case.steps)
    oracle = getattr(reference, op)
    assert y.dtype == np.float32
    helpers.assert_same_layout(y, x)
    magnitude = reference.magnitude(oracle, x, weight, bias, **case.steps)
    a, b = (rounded(x), rounded(weight)) if is_bf16(weight, case.groups) else (x, weight)
    near = reference.magnitude(oracle, a, b, bias, **case.steps)
    helpers.assert_within(y, oracle(a, b, bias, **case.steps), near, case.terms + 2)
    # For the numbers that were given: two roundings in each product.
    allowed = (2 * UNIT + UNIT**2) * magnitude + (case.terms + 2) * 2.0**-23 * near
    assert (abs(y - oracle(x, weight, bias, **case.steps)) <= allowed).all()


@pytest.mark.parametrize(("op", "case"), NAMED_AND_MORE)
def test_whole_numbers_are_exact(op, case, bf16_unit, rng):
    """What has so few bits is rounded nowhere: any misplaced element shows."""
    x = rng.integers(-8, 9, case.x).astype(np.float32)
    weight = rng.integers(-8, 9, case.weight).astype(np.float32)
    expected = getattr(reference, op)(x, weight, **case.steps)
    with neocog.strict():  # groups of few channels stay float32, and could take Winograd's method
        assert (getattr(ops, op)(x, weight, precision="bf16", **case.steps) == expected).all()
    if case.steps["groups"] == 1:
        assert (getattr(ops, op)(x, weight, precision="bf16", **case.steps) == expected).all()


def test_taps_thousands_of_pixels_apart(bf16_unit, layout, rng):
    """Only the one in the middle meets the image; memory for all that lies between them would be gigabytes."""
    x = helpers.lay_out(helpers.normal(rng, (1, 16, 5, 6)), layout)
    weight = helpers.normal(rng, (16, 16, 3, 3))
    y = ops.conv2d(x, weight, padding=20000, dilation=20000, precision="bf16")
    middle = reference.conv2d(rounded(x), rounded(weight[:, :, 1:2, 1:2]))
    np.testing.assert_allclose(y, middle, rtol=1e-5, atol=1e-5)
    steps = (1, 1), (20000,) * 4, (20000,) * 2
    assert _core.conv_kernel(x.shape, weight, *steps, 1, layout == "NHWC", True) == "bf16, emulated"


@pytest.mark.parametrize("threads", [2, 3], indirect=True)
@pytest.mark.parametrize(("op", "case"), CUT)
def test_any_number_of_threads_gives_the_same_bits(op, case, threads, bf16_unit, layout, rng):
    x, weight, bias = problem(case, rng, layout)

    def run():
        return getattr(ops, op)(x, weight, bias, precision="bf16", activation="relu", **case.steps)

    many = run()
    neocog.set_num_threads(1)
    assert many.tobytes() == run().tobytes()


# How numbers are rounded: multiplied by 1, and summed with zeros.

TIES = [1 + 2.0**-8, 1 + 3 * 2.0**-8, 1 + 2.0**-8 + 2.0**-23, 1 + 2.0**-8 - 2.0**-23, 255.5, 257, 259, 3.0e38]
LARGE = [float(np.finfo(np.float32).max), 3.3895314e38, 3.3961776e38, np.inf]


def first_of_many(values) -> np.ndarray:
    """Rows of which the first number counts."""
    rows = np.zeros((len(values), 20), np.float32)
    rows[:, 0] = values
    return rows


def as_x_and_as_weight(values) -> list[np.ndarray]:
    """What a linear layer makes of numbers that it multiplies by 1."""
    rows, ones = first_of_many(values), first_of_many(np.ones(5))
    return [ops.linear(rows, ones, precision="bf16")[:, 0], ops.linear(ones, rows, precision="bf16")[0]]


def test_numbers_are_rounded_to_the_nearest_ties_to_even(bf16_unit, rng):
    values = np.array([s * v for v in [0.0, *TIES, *LARGE] for s in SIGNS], np.float32)
    values = np.concatenate([values, helpers.normal(rng, (500,)), rng.standard_normal(99).astype(np.float32) * 1e30])
    for y in as_x_and_as_weight(values):
        assert (y == rounded(values)).all()


def test_nan_stays_nan(bf16_unit):
    for y in as_x_and_as_weight(np.array([0x7FC00000, 0x7F800001, 0xFF800001, 0x7FFFFFFF], np.uint32).view(np.float32)):
        assert np.isnan(y).all()


def test_denormal_numbers_are_themselves_or_zero(bf16_unit):
    values = np.array([1e-40, -1e-39, 1.17e-38, 0.0], np.float32)
    for y in as_x_and_as_weight(values):
        assert (abs(y - values) <= abs(values)).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "case",
    [MORE["stem_of_a_network"], MORE["merged_taps_in_two_steps"], MORE["channels_need_zeros_for_even_steps"]],
    ids=["stem", "merged", "zeros"],
)
def test_what_is_not_finite_shows_under_its_windows_alone(case, value, bf16_unit, layout, rng):
    x, weight, bias = problem(case, rng, layout)
    x[0, -1, 5, 7] = value
    y = ops.conv2d(x, weight, bias, precision="bf16", **case.steps)
    marked = np.zeros_like(x)
    marked[0, -1, 5, 7] = 1
    touched = reference.conv2d(marked, np.ones_like(weight), **case.steps) != 0
    assert (np.isfinite(y) == ~touched).all()


@pytest.mark.parametrize("activation", [None, "relu", "relu6", "leaky_relu", "gelu", "silu", "hardswish"])
@pytest.mark.parametrize("residual", [False, True])
def test_bias_residual_and_activation_are_float32(activation, residual, bf16_unit, layout, rng):
    case = MORE["three_panels_of_columns"]
    x, weight, bias = problem(case, rng, layout)
    plain = ops.conv2d(x, weight, bias, precision="bf16")
    addend = helpers.lay_out(helpers.normal(rng, plain.shape), layout) if residual else None
    y = ops.conv2d(x, weight, bias, precision="bf16", activation=activation, residual=addend)
    total = plain if addend is None else plain + addend
    expected = total if activation is None else getattr(ops, activation)(total)
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-6)


def test_a_clamp_keeps_nan(bf16_unit):
    rows, ones = first_of_many([np.nan, -1.0, 9.0]), first_of_many(np.ones(5))
    y = ops.conv2d(rows.T[None, :, None], ones[:, :, None, None], precision="bf16", activation="relu6")
    np.testing.assert_array_equal(y[0, 3, 0], np.array([np.nan, 0, 6], np.float32))


# Linear layers


@pytest.mark.parametrize("rows", [0, 1, 3, 12, 13, 100, 900])
@pytest.mark.parametrize(("inputs", "outputs"), [(1, 4), (17, 33), (64, 10), (300, 70), (2050, 5), (31, 3)])
def test_linear_is_within_the_documented_bound(rows, inputs, outputs, bf16_unit, rng):
    x, weight, bias = (helpers.normal(rng, s) for s in ((rows, inputs), (outputs, inputs), (outputs,)))
    y = ops.linear(x, weight, bias, precision="bf16")
    a, b = (rounded(x), rounded(weight)) if is_bf16(weight) else (x, weight)
    magnitude = reference.magnitude(reference.linear, a, b, bias)
    helpers.assert_within(y, reference.linear(a, b, bias), magnitude, inputs + 3)


def test_linear_takes_any_leading_axes_and_an_activation(bf16_unit, rng):
    x, weight = helpers.normal(rng, (2, 3, 40)), helpers.normal(rng, (9, 40))
    y = ops.linear(x, weight, precision="bf16", activation="relu")
    expected = np.maximum(reference.linear(rounded(x), rounded(weight)), 0)
    assert y.shape == (2, 3, 9)
    np.testing.assert_allclose(y, expected, atol=1e-5)


# Nothing but the request


def test_strict_keeps_what_was_asked_for(bf16_unit, rng):
    x, weight, _ = problem(MORE["runs_across_short_rows"], rng)
    y = ops.conv2d(x, weight, precision="bf16", padding=1)
    with neocog.strict():
        assert (ops.conv2d(x, weight, precision="bf16", padding=1) == y).all()
    assert (ops.conv2d(x, weight, precision="bf16", algorithm="direct", padding=1) == y).all()


def test_float32_is_the_default(bf16_unit, rng):
    x, weight, _ = problem(cases.CONV2D["pointwise_wide"], rng)
    assert (ops.conv2d(x, weight) == ops.conv2d(x, weight, precision="fp32")).all()
    assert not (ops.conv2d(x, weight) == ops.conv2d(x, weight, precision="bf16")).all()


@pytest.mark.parametrize(("groups", "outputs", "name"), [(1, 64, "bf16"), (64, 64, "depthwise"), (1, 3, "direct")])
def test_the_kernel_says_what_it_computes_with(groups, outputs, name, bf16_unit):
    weight = np.zeros((outputs, 64 // groups, 3, 3), np.float32)
    kernel = _core.conv_kernel((1, 64, 20, 20), weight, (1, 1), (1, 1, 1, 1), (1, 1), groups, False, True)
    assert kernel.startswith(name)
    names = {"emulated": "emulated", "avx512_bf16": "AVX-512 pairs", "amx_bf16": "AMX tiles"}
    assert name != "bf16" or kernel == f"bf16, {names[bf16_unit]}"


def test_rejections_name_their_reason(rng):
    x, weight = helpers.normal(rng, (1, 8, 5, 5)), helpers.normal(rng, (8, 8, 3, 3))
    with pytest.raises(ValueError, match=r"`precision` is 'fp16'; it must be one of 'fp32', 'bf16'"):
        ops.conv2d(x, weight, precision="fp16")
    with pytest.raises(ValueError, match="`precision` is None"):
        ops.linear(x[0, 0], weight[0, 0, :, :1].repeat(5, 1), precision=None)
    with pytest.raises(TypeError, match="`precision` is 'bf16' and `x` has dtype float64"):
        ops.conv2d(x.astype(np.float64), weight.astype(np.float64), precision="bf16")
    with pytest.raises(TypeError, match="`precision` is 'bf16' and `x` has dtype float64"):
        ops.linear(np.ones((2, 5)), np.ones((4, 5)), precision="bf16")
    with pytest.raises(ValueError, match="bf16 takes float32"):
        _core.linear_forward(np.ones((2, 5)), np.ones((4, 5)), None, True)
    with pytest.raises(ValueError, match="not a bfloat16 unit"):
        _core.set_bf16_unit("mmx")


# The process


def test_instructions_before_avx512_emulate():
    before = _core.active_isa()
    try:
        for isa in ("scalar", "avx2"):
            if isa in _core.available_isas():
                _core.set_isa(isa)
                assert _core.active_bf16_unit() == "emulated"
    finally:
        _core.set_isa(before)


def test_many_threads_of_python_at_once(bf16_unit, rng):
    """Each thread configures its own tiles."""
    x, weight, bias = problem(MORE["stem_of_a_network"], rng)
    expected = ops.conv2d(x, weight, bias, precision="bf16", stride=2)
    with ThreadPoolExecutor(4) as pool:
        for y in pool.map(lambda _: ops.conv2d(x, weight, bias, precision="bf16", stride=2), range(40)):
            assert (y == expected).all()


CHILD = """
import json, os, numpy as np
from neocog import ops
rng = np.random.default_rng(0)
x, weight = rng.standard_normal((1, 64, 20, 20), np.float32), rng.standard_normal((64, 64, 3, 3), np.float32)
before = {before}
if os.fork() == 0:
    y = ops.conv2d(x, weight, precision="bf16")
    np.save({path!r}, y)
    os._exit(0)
status = os.wait()[1]
y = ops.conv2d(x, weight, precision="bf16")
print(json.dumps([status, bool((np.load({path!r}) == y).all())]))
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="needs fork")
@pytest.mark.parametrize("before", ["None", 'ops.conv2d(x, weight, precision="bf16")'], ids=["fresh", "used"])
def test_a_forked_child_computes_the_same(before, tmp_path):
    script = CHILD.format(before=before, path=str(tmp_path / "y.npy"))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [0, True]
