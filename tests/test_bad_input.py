"""What users give by mistake, or on purpose in a form that is not the plainest: for every op alike.

Either the right answer, or an error that names the argument, its value and the repair; and nothing is ever
written into what was given.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import helpers
import numpy as np
import pytest
import reference
from calls import CALLS, Call, N
from neocog import _core, ops

Array = np.ndarray
every_op = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
ARGUMENTS = [
    pytest.param(call, name, id=f"{op}-{name}")
    for op, call in CALLS.items()
    for name in call.shapes
    if name != "indices"
]
every_argument = pytest.mark.parametrize(("call", "name"), ARGUMENTS)
sanitized = pytest.mark.skipif(
    "address" in _core.build_info()["sanitizer"],
    reason="the address sanitizer ends the process where memory for a result is refused",
)


def test_every_op_is_in_the_table():
    names = {name for name in vars(ops) if callable(getattr(ops, name)) and not name.startswith("_")}
    assert names == set(CALLS)


# Types


@every_argument
def test_a_dtype_without_kernels_is_refused_with_the_repair(call, name, rng):
    arrays = call.arrays(rng)
    for dtype in (np.int64, np.bool_, np.float16, np.complex64, np.longdouble, object):
        kind = np.dtype(dtype).name
        with pytest.raises(TypeError, match=rf"`{_escaped(name)}` has dtype {kind}, .*astype\(np.float(32|64)\)"):
            call.run(arrays | {name: arrays[name].astype(dtype)})


@every_argument
def test_mixed_dtypes_are_refused_and_nothing_is_converted_silently(call, name, rng):
    arrays = call.arrays(rng)
    if len([n for n in arrays if n != "indices"]) == 1:
        (y, *_) = call.run({n: a if n == "indices" else a.astype(np.float64) for n, a in arrays.items()})
        assert y.dtype == np.float64
        return
    arrays[name] = arrays[name].astype(np.float64)
    with pytest.raises(TypeError, match=r"`.*` has dtype float(32|64), .*float(64|32)"):
        call.run(arrays)


@every_argument
def test_what_is_no_array_is_refused_by_name(call, name, rng):
    for value in ("text", 3.0, [[1.0, 2.0]], np.float32(1)):
        kind = type(value).__name__
        with pytest.raises(TypeError, match=rf"`{_escaped(name)}` is a {kind}, not an array; .*NumPy array"):
            call.run(call.arrays(rng) | {name: value})


@pytest.mark.parametrize("call", [c for c in CALLS.values() if "indices" in c.shapes], ids=lambda c: c.op)
def test_indices_are_integers(call, rng):
    arrays = call.arrays(rng)
    (expected, *_) = call.run(arrays)
    (y, *_) = call.run(arrays | {"indices": arrays["indices"].astype(np.int32)})
    np.testing.assert_array_equal(y, expected)
    with pytest.raises(TypeError, match="`indices` has dtype float32, but indices are integers"):
        call.run(arrays | {"indices": arrays["indices"].astype(np.float32)})


# Memory: however the numbers lie, they are the same numbers


def _unaligned(a: Array) -> Array:
    room = np.empty(a.nbytes + 1, np.uint8)
    b = room[1:].view(a.dtype).reshape(a.shape)
    b[...] = a
    assert not b.flags.aligned or a.size == 0 or a.dtype.itemsize == 1
    return b


def _read_only(a: Array) -> Array:
    b = a.copy()
    b.flags.writeable = False
    return b


def _inside_a_larger_one(a: Array) -> Array:
    b = np.full([n + 2 for n in a.shape], np.nan if a.dtype.kind == "f" else 0, a.dtype)[(slice(1, -1),) * a.ndim]
    b[...] = a
    return b


class Labelled(np.ndarray):
    """Such as a memory map, or an array with units."""


WAYS: dict[str, Callable[[Array], Array]] = {
    "every_other_element": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "negative_strides": lambda a: np.flip(np.flip(a).copy()),
    "columns_first": np.asfortranarray,
    "inside_a_larger_one": _inside_a_larger_one,
    "read_only": _read_only,
    "unaligned": _unaligned,
    "other_byte_order": lambda a: a.astype(a.dtype.newbyteorder()),
    "subclass": lambda a: a.view(Labelled),
}


@every_op
@pytest.mark.parametrize("way", WAYS)
def test_however_an_array_lies_in_memory_the_result_is_the_same(call, way, rng):
    plain = call.arrays(rng)
    given = {name: WAYS[way](a) for name, a in plain.items()}
    for ours, expected in zip(call.run(given), call.run(plain), strict=True):
        assert type(ours) is np.ndarray
        assert ours.dtype == expected.dtype
        assert ours.shape == expected.shape
        # Another layout may sum in another order.
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)


@every_op
def test_one_value_spread_over_an_array_without_memory_is_that_array(call, rng):
    full = {n: a if n == "indices" else np.full(a.shape, 0.75, np.float32) for n, a in call.arrays(rng).items()}
    spread = {n: a if n == "indices" else np.broadcast_to(np.float32(0.75), a.shape) for n, a in full.items()}
    for ours, expected in zip(call.run(spread), call.run(full), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)


@every_op
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_nothing_is_written_into_an_input_and_results_are_new(call, layout, isa, rng):
    arrays = call.arrays(rng)
    given = {n: helpers.lay_out(a, layout) if a.ndim > 2 else a for n, a in arrays.items()}
    before = {n: a.copy() for n, a in given.items()}
    for y in call.run(given):
        assert not any(np.shares_memory(y, a) for a in given.values())
        y[...] = -1
    for name, a in given.items():
        assert a.tobytes() == before[name].tobytes(), f"`{name}` was written into"


def test_arrays_may_alias(rng):
    """Two arguments in the same memory, whole or in part, are two arguments that happen to be equal."""
    x = helpers.normal(rng, (4, 4, 3, 3))
    np.testing.assert_array_equal(ops.conv2d(x, x), ops.conv2d(x.copy(), x.copy()))
    np.testing.assert_array_equal(ops.add(x, x), 2 * x)
    y = ops.conv2d(x, x, padding=1, residual=x)
    np.testing.assert_array_equal(y, ops.conv2d(x, x, padding=1, residual=x.copy()))
    grads = ops.conv2d_backward(x, x, np.ones((4, 4, 1, 1), np.float32))
    for ours, theirs in zip(grads, ops.conv2d_backward(x, x.copy(), np.ones((4, 4, 1, 1), np.float32)), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    overlapping = np.lib.stride_tricks.sliding_window_view(helpers.normal(rng, (2, 3, 20)), 5, axis=2)
    weight = helpers.normal(rng, (4, 3, 3, 3))
    np.testing.assert_array_equal(ops.conv2d(overlapping, weight), ops.conv2d(overlapping.copy(), weight))
    np.testing.assert_array_equal(ops.relu(overlapping), np.maximum(overlapping, 0))


# Arrays of other libraries


class Foreign:
    """An array of a library that NumPy has never heard of: nothing but the protocol."""

    def __init__(self, array: Array):
        self._array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._array.__dlpack_device__()


@every_op
def test_dlpack_is_enough(call, rng):
    arrays = call.arrays(rng)
    given = {n: Foreign(a) for n, a in arrays.items()}
    for ours, expected in zip(call.run(given), call.run(arrays), strict=True):
        np.testing.assert_array_equal(ours, expected)


@every_op
def test_tensors_of_torch_are_taken(call, rng):
    torch = pytest.importorskip("torch")
    arrays = call.arrays(rng)
    given = {n: torch.from_numpy(a) for n, a in arrays.items()}
    for ours, expected in zip(call.run(given), call.run(arrays), strict=True):
        assert type(ours) is np.ndarray
        np.testing.assert_array_equal(ours, expected)


def test_a_channels_last_tensor_stays_channels_last(rng):
    torch = pytest.importorskip("torch")
    x, weight = helpers.normal(rng, (2, 5, 6, 7)), helpers.normal(rng, (4, 5, 3, 3))
    y = ops.conv2d(torch.from_numpy(x).to(memory_format=torch.channels_last), weight)
    helpers.assert_laid_out(y, "NHWC")
    np.testing.assert_array_equal(y, ops.conv2d(helpers.lay_out(x, "NHWC"), weight))


@every_argument
def test_a_tensor_with_a_gradient_is_refused_with_the_repair(call, name, rng):
    torch = pytest.importorskip("torch")
    arrays = call.arrays(rng)
    tensor = torch.from_numpy(arrays[name]).requires_grad_()
    with pytest.raises(TypeError, match=rf"`{_escaped(name)}` is a Tensor that NumPy cannot read .*detach"):
        call.run(arrays | {name: tensor})


@pytest.mark.parametrize("change", ["bfloat16", "meta", "sparse"])
def test_a_tensor_of_another_kind_or_device_is_refused_with_the_repair(change, rng):
    torch = pytest.importorskip("torch")
    x = torch.ones(1, 3, 4, 4)
    made = {"bfloat16": x.bfloat16, "meta": lambda: x.to("meta"), "sparse": x.to_sparse}[change]()
    with pytest.raises(TypeError, match=r"`x` is a Tensor that NumPy cannot read .*move it to the CPU"):
        ops.conv2d(made, np.ones((2, 3, 3, 3), np.float32))


# Sizes

IMAGES = [c for c in CALLS.values() if c.op.removesuffix("_backward").endswith(("1d", "2d"))]


@pytest.mark.parametrize("call", IMAGES, ids=lambda c: c.op)
def test_an_image_of_another_rank_is_refused_by_name(call, rng):
    arrays = call.arrays(rng)
    name = next(iter(arrays))
    for wrong in (arrays[name][0, 0], arrays[name][None]):
        with pytest.raises(ValueError, match=rf"`{name}` has {wrong.ndim} axes, shape .*must have"):
            call.run(arrays | {name: wrong})


@every_op
def test_an_empty_batch_gives_an_empty_result(call, rng):
    assert any(N in shape for shape in call.shapes.values()), "no batch to empty"
    ours, whole = call.run(call.arrays(rng, 0), 0), call.run(call.arrays(rng))
    for empty, full in zip(ours, whole, strict=True):
        assert empty.dtype == full.dtype
        if full.shape[0] == 2:
            assert empty.shape == (0, *full.shape[1:])
        else:  # a gradient of something without a batch: no term at all
            assert empty.shape == full.shape
            assert not empty.any()


LARGEST = 2**31 - 1


@sanitized
@pytest.mark.parametrize(
    "attempt",
    [
        lambda x, w: ops.conv2d(x, w, padding=LARGEST),
        lambda x, w: ops.conv2d(x, w, padding=((0, LARGEST), (LARGEST, 0))),
        lambda x, w: ops.conv1d(x[0], w[:, :, 0], padding=LARGEST, dilation=LARGEST),
        lambda x, w: ops.conv_transpose2d(x, w, stride=LARGEST),
        lambda x, w: ops.conv_transpose2d(x, w, dilation=LARGEST, padding=1),
        lambda x, w: ops.depthwise_conv2d(x, w[:, :1], padding=LARGEST),
        lambda x, w: ops.separable_conv2d(x, w[:, :1], w[:, :, :1, :1], padding=LARGEST),
        lambda x, w: ops.max_pool2d(x, 2, 1, ((LARGEST, LARGEST), (LARGEST, LARGEST))),
        lambda x, w: ops.avg_pool2d(x, 2, 1, ((LARGEST, LARGEST), (LARGEST, LARGEST))),
        lambda x, w: ops.adaptive_avg_pool2d(x, LARGEST),
        lambda x, w: ops.adaptive_max_pool2d(x, LARGEST),
        lambda x, w: ops.max_unpool2d(x, np.zeros(x.shape, np.int64), 2, LARGEST),
        lambda x, w: ops.interpolate(x, size=(LARGEST, LARGEST)),
        lambda x, w: ops.interpolate(x, scale_factor=1e9),
        lambda x, w: ops.pad(x, (LARGEST, LARGEST, LARGEST, LARGEST)),
        lambda x, w: ops.pixel_shuffle(np.broadcast_to(np.float32(0), (1, 2**62, 1, 1)), 2**31 - 1),
        lambda x, w: ops.conv2d(np.broadcast_to(np.float32(0), (2**50, 4, 5, 5)), w),
        lambda x, w: ops.linear(np.broadcast_to(np.float32(0), (2**50, 3)), w[:, 0, 0]),
        lambda x, w: ops.relu(np.broadcast_to(np.float32(0), (2**50, 3))),
        lambda x, w: ops.add(np.broadcast_to(np.float32(0), (2**40, 1)), np.broadcast_to(np.float32(0), (2**40,))),
    ],
)
def test_a_result_that_no_memory_holds_is_an_error(attempt):
    """Sizes whose product overflows, and those that only no machine has: at once, and not by running out."""
    with pytest.raises((ValueError, MemoryError), match=r"."):
        attempt(np.zeros((4, 4, 5, 5), np.float32), np.zeros((4, 4, 3, 3), np.float32))


# In a process of its own, which may die of it. One pixel of 16 channels between two taps, 2**30 - 1 apart:
# the image that the kernel covers has 2**64 elements, of which 64 bits see none.
FAR_APART = """
import numpy as np
from neocog import ops

far = dict(dilation=2**30 - 1, padding=((2**29, 2**29 - 1),) * 2)
x, weight, each = (np.ones(shape, np.float32) for shape in ((1, 16, 1, 1), (16, 16, 2, 2), (16, 1, 2, 2)))
attempts = [
    lambda: ops.conv2d(x, weight, **far),
    lambda: ops.conv2d_backward(x, x, weight, output_mask=(True, False, False), **far)[0],
    lambda: ops.conv2d_backward(x, x, weight, output_mask=(False, True, False), **far)[1],
    lambda: ops.conv_transpose2d(x, weight, **far),
    lambda: ops.depthwise_conv2d(x, each, **far),
    lambda: ops.depthwise_conv2d_backward(x, x, each, **far)[1],
    lambda: ops.separable_conv2d(x, each, weight[:, :, :1, :1], **far),
]
for attempt in attempts:
    try:
        assert not attempt().any(), "no tap meets the pixel"
    except (ValueError, MemoryError) as error:
        print(type(error).__name__, error)
"""


@sanitized
def test_taps_farther_apart_than_memory_reaches_are_an_error_or_nothing():
    done = subprocess.run([sys.executable, "-c", FAR_APART], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


# Values

SPECIAL = [np.nan, np.inf, -np.inf]


@pytest.mark.parametrize("special", SPECIAL)
@pytest.mark.parametrize("op", ["conv1d", "conv2d", "depthwise_conv2d", "separable_conv2d", "linear"])
def test_nan_and_infinity_reach_what_they_belong_to_and_nothing_else(op, special, isa, layout, rng):
    """In turn in each array, without padding: no infinity meets a zero that is not there."""
    call = CALLS[op]._replace(arguments=CALLS[op].arguments | ({} if op == "linear" else {"padding": 0}))
    for name in call.shapes:
        arrays = call.arrays(rng)
        arrays[name].flat[rng.integers(arrays[name].size)] = special
        _assert_same_special_values(call, op, _laid_out(arrays, layout))


@pytest.mark.parametrize("special", SPECIAL)
@pytest.mark.parametrize("op", ["conv_transpose1d", "conv_transpose2d"])
def test_nan_and_infinity_of_a_transposed_convolution(op, special, isa, layout, rng):
    """In x and the bias; those of the weight meet zeros where outputs have fewer taps than others."""
    for name in ("x", "bias"):
        arrays = CALLS[op].arrays(rng)
        arrays[name].flat[rng.integers(arrays[name].size)] = special
        _assert_same_special_values(CALLS[op], op, _laid_out(arrays, layout))


@pytest.mark.parametrize("activation", ["relu", "relu6"])
@pytest.mark.parametrize("op", ["conv2d", "depthwise_conv2d", "separable_conv2d", "conv_transpose2d", "linear"])
def test_a_fused_clamp_keeps_nan_and_bounds_infinity(op, activation, isa, layout, rng):
    call = CALLS[op]._replace(arguments=CALLS[op].arguments | {"activation": activation})
    arrays = call.arrays(rng)
    arrays["bias"][:3] = SPECIAL
    (y,) = call.run(_laid_out(arrays, layout))
    per_channel = y if op == "linear" else helpers.channels_last(y)
    assert np.isnan(per_channel[..., 0]).all()
    assert (per_channel[..., 1] == (6 if activation == "relu6" else np.inf)).all()
    assert (per_channel[..., 2] == 0).all()
    assert np.isfinite(per_channel[..., 3:]).all()


def _laid_out(arrays: dict[str, Array], layout: str) -> dict[str, Array]:
    return {n: helpers.lay_out(a, layout) if n == "x" and a.ndim > 3 else a for n, a in arrays.items()}


def _assert_same_special_values(call: Call, op: str, arrays: dict[str, Array]) -> None:
    (y,) = call.run(arrays)
    with np.errstate(invalid="ignore"):
        expected = getattr(reference, op)(**arrays, **call.arguments)
    assert not np.isfinite(expected).all()
    np.testing.assert_array_equal(np.isnan(y), np.isnan(expected))
    np.testing.assert_array_equal(np.isposinf(y), np.isposinf(expected))
    np.testing.assert_array_equal(np.isneginf(y), np.isneginf(expected))


def _escaped(name: str) -> str:
    return name.replace("[", r"\[").replace("]", r"\]")
