"""ops.elementwise: activations against exact formulas in float64, on every instruction set this CPU runs.

Each op is held to the bound that its docstring gives; derivatives also against finite differences, and NaN
and infinity against PyTorch.
"""

from __future__ import annotations

import math

import helpers
import numpy as np
import pytest
import reference
from neocog import ops

FLOOR = 1e-42  # absolute errors below the normal numbers of float32
SHAPES = {
    "shorter_than_a_vector": (7,),
    "a_single_number": (),
    "odd_image": (2, 17, 5, 3),
    "longer_than_a_chunk": (3, 20011),
    "batch_0": (0, 4, 3),
}


def values(rng, shape, dtype):
    """Mostly where the functions bend, some far out where they vanish or saturate, and the kinks."""
    x = rng.standard_normal(shape) * rng.choice([1e-3, 1.0, 5.0, 40.0], shape)
    x = np.where(rng.random(shape) < 0.05, rng.choice([0.0, -0.0, 3.0, -3.0, 6.0, 1.0, -1.0], shape), x)
    return np.asarray(x, dtype)


# The oracle's 1 + erf, 1 + tanh and 1 - s cancel where the kernels do not: the same functions without that.


def exact_gelu(x, approximate="none"):
    x = np.asarray(x, np.float64)
    if approximate == "none":
        return x * 0.5 * np.vectorize(math.erfc, otypes=[np.float64])(-x / math.sqrt(2))
    return x * reference.sigmoid(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))


def exact_gelu_backward(grad_y, x, approximate="none"):
    x = np.asarray(x, np.float64)
    if approximate == "none":
        tail = 0.5 * np.vectorize(math.erfc, otypes=[np.float64])(-x / math.sqrt(2))
        return grad_y * (tail + x * np.exp(-0.5 * x**2) / math.sqrt(2 * math.pi))
    u, slope = (2 * math.sqrt(2 / math.pi) * x * (1 + k * 0.044715 * x**2) for k in (1, 3))
    return grad_y * reference.sigmoid(u) * (1 + slope * reference.sigmoid(-u))


def exact_silu_backward(grad_y, x):
    return grad_y * reference.sigmoid(x) * (1 + x * reference.sigmoid(-x))


def exact_tanh_backward(grad_y, y):
    return np.asarray(grad_y, np.float64) * (1 - y.astype(np.float64)) * (1 + y.astype(np.float64))


def conditioned(x, y, derivative):
    """What an error of one ulp in x makes of y, and the rounding of y."""
    return abs(y) + abs(x * derivative)


# name, arguments, exact function, exact derivative times grad_y, and the docstrings' bounds in units of eps:
# bound(x, y, f'(x)) of the result and backward_bound(x, f'(x)) of the gradient for grad_y = 1.
ACTIVATIONS = [
    ("relu", {}, reference.relu, reference.relu_backward, lambda x, y, d: 0 * y, lambda x, d: 0 * d),
    ("relu6", {}, reference.relu6, reference.relu6_backward, lambda x, y, d: 0 * y, lambda x, d: 0 * d),
    (
        "leaky_relu",
        {"negative_slope": 0.0078125 * 1.25},
        reference.leaky_relu,
        reference.leaky_relu_backward,
        lambda x, y, d: 0.5 * abs(y),
        lambda x, d: 0.5 * abs(d),
    ),
    ("elu", {}, reference.elu, reference.elu_backward, lambda x, y, d: 3 * abs(y), lambda x, d: 3 * abs(d)),
    (
        "elu",
        {"alpha": 0.75},
        reference.elu,
        reference.elu_backward,
        lambda x, y, d: 3 * abs(y),
        lambda x, d: 3 * abs(d),
    ),
    (
        "gelu",
        {},
        exact_gelu,
        exact_gelu_backward,
        lambda x, y, d: 8 * conditioned(x, y, d),
        lambda x, d: 8 + 0 * d,
    ),
    (
        "gelu",
        {"approximate": "tanh"},
        exact_gelu,
        exact_gelu_backward,
        lambda x, y, d: 8 * conditioned(x, y, d),
        lambda x, d: 8 + 0 * d,
    ),
    (
        "silu",
        {},
        reference.silu,
        exact_silu_backward,
        lambda x, y, d: 4 * abs(y),
        lambda x, d: 6 * reference.sigmoid(x) * (1 + abs(x) * reference.sigmoid(-x)),
    ),
    ("sigmoid", {}, reference.sigmoid, reference.sigmoid_backward, lambda x, y, d: 3 * y, None),
    ("tanh", {}, reference.tanh, exact_tanh_backward, lambda x, y, d: 3 * abs(y), None),
    (
        "hardswish",
        {},
        reference.hardswish,
        reference.hardswish_backward,
        lambda x, y, d: 3 * abs(y) + 0.5 * abs(x),
        lambda x, d: 2 * (abs(x) / 3 + 0.5),
    ),
]
IDS = [name + "".join(f"_{value}" for value in arguments.values()) for name, arguments, *_ in ACTIVATIONS]
FROM_RESULT = {"sigmoid", "tanh"}  # their derivatives are written in terms of y


def assert_within(y, exact, bound, dtype):
    error = abs(np.asarray(y, np.float64) - exact)
    allowed = np.finfo(dtype).eps * bound + FLOOR
    worst = np.unravel_index(np.argmax(error - allowed), error.shape) if error.size else ()
    assert np.all(error <= allowed), (
        f"{y[worst]!r} for {exact[worst]!r}: error {error[worst]:.3g}, {allowed[worst]:.3g} allowed"
    )


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize(("name", "arguments", "exact", "_", "bound", "__"), ACTIVATIONS, ids=IDS)
def test_forward_is_within_the_documented_bound(name, arguments, exact, _, bound, __, shape, dtype, isa, rng):
    x = values(rng, shape, dtype)
    y = getattr(ops, name)(x, **arguments)
    assert y.shape == x.shape
    assert y.dtype == dtype
    wide = x.astype(np.float64)
    expected = exact(wide, **arguments)
    slope = exact_gelu_backward(1.0, wide, **arguments) if name == "gelu" else 0
    assert_within(y, expected, bound(wide, expected, slope), dtype)


@pytest.mark.parametrize(("name", "arguments", "_", "exact", "__", "bound"), ACTIVATIONS, ids=IDS)
def test_backward_is_within_the_documented_bound(name, arguments, _, exact, __, bound, dtype, isa, rng):
    x, grad_y = values(rng, (3, 20011), dtype), helpers.normal(rng, (3, 20011), dtype)
    if name in FROM_RESULT:
        x = np.asarray(getattr(reference, name)(x), dtype)  # what is given counts, not the x it came from
        expected = exact(grad_y, x)
        allowed = 2 * abs(expected)
    else:
        wide = x.astype(np.float64)
        expected = exact(grad_y.astype(np.float64), wide, **arguments)
        allowed = abs(grad_y) * bound(wide, exact(np.ones_like(wide), wide, **arguments))
    grad_x = getattr(ops, f"{name}_backward")(grad_y, x, **arguments)
    assert grad_x.dtype == dtype
    assert_within(grad_x, expected, allowed, dtype)


@pytest.mark.parametrize(("name", "arguments"), [a[:2] for a in ACTIVATIONS], ids=IDS)
def test_backward_is_the_derivative_of_forward(name, arguments, rng):
    x = rng.uniform(-8, 8, 500)
    x = x[np.abs(x[:, None] - [0, 3, -3, 6]).min(1) > 1e-3]  # no kinks
    forward, step = getattr(ops, name), 1e-5
    slope = (forward(x + step, **arguments) - forward(x - step, **arguments)) / (2 * step)
    at = forward(x, **arguments) if name in FROM_RESULT else x
    gradient = getattr(ops, f"{name}_backward")(np.ones_like(x), at, **arguments)
    np.testing.assert_allclose(gradient, slope, rtol=0, atol=1e-8)


def test_the_lower_tail_of_gelu_keeps_its_digits(isa):
    """Where 1 + erf(x / sqrt(2)) has none left."""
    x = np.linspace(-12.5, -2, 1001, dtype=np.float32)
    expected = exact_gelu(x)
    assert np.all(abs(ops.gelu(x) - expected) <= 8 * np.finfo(np.float32).eps * abs(expected))


@pytest.mark.parametrize(("name", "arguments"), [a[:2] for a in ACTIVATIONS], ids=IDS)
def test_nan_and_infinity_go_where_they_go_in_pytorch(name, arguments, dtype, isa):
    torch = pytest.importorskip("torch")
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e10, -1e10] * 5, dtype)
    # Its float32 kernels err at some infinities, its float64 ones do not.
    theirs = torch.from_numpy(x.astype(np.float64)).requires_grad_()
    function = getattr(torch, name, None) or getattr(torch.nn.functional, name)
    y = function(theirs, **arguments)
    y.sum().backward()
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(getattr(ops, name)(x, **arguments), y.detach().numpy().astype(dtype), rtol=1e-6)
    at = y.detach().numpy().astype(dtype) if name in FROM_RESULT else x
    gradient = getattr(ops, f"{name}_backward")(np.ones_like(x), at, **arguments)
    np.testing.assert_allclose(gradient, theirs.grad.numpy(), rtol=1e-6)


# Memory


def strided(x):
    """The same numbers in every kind of memory that NumPy has."""
    holes = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)[..., ::2]
    holes[...] = x
    frozen = x.copy()
    frozen.flags.writeable = False
    byte_shifted = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(x.dtype).reshape(x.shape)
    yield "channels_last", helpers.lay_out(x, "NHWC")
    yield "any_order", np.ascontiguousarray(x.transpose(2, 0, 3, 1)).transpose(1, 3, 0, 2)
    yield "holes", holes
    yield "backwards", np.ascontiguousarray(x[:, ::-1])[:, ::-1]
    yield "read_only", frozen
    yield "unaligned", byte_shifted


def test_any_memory_gives_the_same_values_and_dense_orders_are_kept(rng):
    x, grad_y = helpers.normal(rng, (2, 5, 4, 3)), helpers.normal(rng, (2, 5, 4, 3))
    y, grad_x = ops.silu(x), ops.silu_backward(grad_y, x)
    for kind, array in strided(x):
        before = array.copy()
        got = ops.silu(array)
        np.testing.assert_array_equal(got, y, err_msg=kind)
        np.testing.assert_array_equal(ops.silu_backward(grad_y, array), grad_x, err_msg=kind)
        np.testing.assert_array_equal(array, before, err_msg=f"{kind}: the input was written to")
        if kind in ("channels_last", "any_order"):
            assert got.strides == array.strides, kind
    repeated = np.broadcast_to(x[:1], x.shape)
    np.testing.assert_array_equal(ops.silu(repeated), np.broadcast_to(y[:1], y.shape))


def test_any_array_with_dlpack_is_taken():
    torch = pytest.importorskip("torch")
    x = torch.linspace(-3, 3, 50)
    np.testing.assert_array_equal(ops.relu(x), torch.relu(x).numpy())


def test_a_result_that_goes_past_the_caches_is_whole(isa, rng):
    x, grad_y = helpers.normal(rng, (6_500_003,)), helpers.normal(rng, (6_500_003,))
    np.testing.assert_array_equal(ops.relu(x), np.maximum(x, 0))
    np.testing.assert_array_equal(ops.relu_backward(grad_y, x), np.where(x > 0, grad_y, 0))
    np.testing.assert_array_equal(ops.add(x, grad_y), x + grad_y)


# PReLU

PRELU = {  # x, weight
    "channels": ((2, 17, 5, 3), (17,)),
    "channels_728": ((2, 728, 3, 3), (728,)),
    "channels_1100_in_a_row": ((70, 1100), (1100,)),
    "one_slope": ((2, 5, 4, 3), (1,)),
    "one_slope_without_an_axis": ((3, 7), ()),
    "long_planes": ((2, 3, 140, 130), (3,)),
    "many_rows": ((900, 33), (33,)),
    "one_axis": ((20,), (1,)),
    "batch_0": ((0, 3, 2), (3,)),
}


@pytest.mark.parametrize(("shape", "weight_shape"), PRELU.values(), ids=PRELU)
def test_prelu_forward_and_backward(shape, weight_shape, dtype, isa, rng):
    x, grad_y = helpers.normal(rng, shape, dtype), helpers.normal(rng, shape, dtype)
    weight = helpers.normal(rng, weight_shape, dtype)
    arrays = [x] if len(shape) != 4 else [x, helpers.lay_out(x, "NHWC")]
    eps = np.finfo(dtype).eps
    expected, (grad_x, grad_weight) = reference.prelu(x, weight), reference.prelu_backward(grad_y, x, weight)
    magnitude = reference.prelu_backward(abs(grad_y), -abs(x) * (x <= 0), weight)[1]
    for array in arrays:
        y = ops.prelu(array, weight)
        assert y.dtype == dtype
        assert np.all(abs(y - expected) <= eps / 2 * abs(expected))
        got_x, got_weight = ops.prelu_backward(grad_y, array, weight)
        assert got_weight.shape == weight.shape
        assert np.all(abs(got_x - grad_x) <= eps / 2 * abs(grad_x))
        assert np.all(abs(got_weight - grad_weight) <= 80 * eps * abs(magnitude))


def test_prelu_backward_gives_what_the_mask_asks_for(rng):
    x, weight = helpers.normal(rng, (2, 3, 4)), helpers.normal(rng, (3,))
    both = ops.prelu_backward(x, x, weight)
    only_x, nothing = ops.prelu_backward(x, x, weight, output_mask=(True, False))
    assert nothing is None
    np.testing.assert_array_equal(only_x, both[0])
    nothing, only_weight = ops.prelu_backward(x, x, weight, output_mask=(False, True))
    assert nothing is None
    np.testing.assert_array_equal(only_weight, both[1])


@pytest.mark.parametrize("shape", [(4, 40, 60, 60), (5000, 33)])
def test_prelu_gives_the_same_bits_for_any_number_of_threads(shape, rng):
    import neocog

    x, weight, results = helpers.normal(rng, shape), helpers.normal(rng, shape[1:2]), []
    before = neocog.get_num_threads()
    for count in (1, 2, 3):
        neocog.set_num_threads(count)
        results.append(ops.prelu_backward(x[::-1], x, weight)[1])
    neocog.set_num_threads(before)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


# Rejections

X = np.ones((2, 3, 4), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ops.relu(np.ones(3, np.int64)), TypeError, r"`x` has dtype int64.*x\.astype\(np\.float32\)"),
        (lambda: ops.relu([1.0, 2.0]), TypeError, "`x` is a list, not an array"),
        (
            lambda: ops.silu_backward(X, X.astype(np.float64)),
            TypeError,
            "`grad_y` has dtype float32.*float64",
        ),
        (lambda: ops.tanh_backward(X, X[0]), ValueError, r"`grad_y` has shape \(2, 3, 4\), `y` \(3, 4\)"),
        (lambda: ops.gelu(X, "erf"), ValueError, "`approximate` is 'erf'; it must be one of 'none', 'tanh'"),
        (lambda: ops.elu(X, "1"), TypeError, "`alpha` is '1'; it must be a number"),
        (lambda: ops.leaky_relu(X, float("nan")), ValueError, "`negative_slope` is NaN"),
        (
            lambda: ops.prelu(X, np.ones(4, np.float32)),
            ValueError,
            r"`weight` has shape \(4,\).*\(1,\) or \(3,\)",
        ),
        (lambda: ops.prelu(X, np.ones((3, 1), np.float32)), ValueError, r"`weight` has shape \(3, 1\)"),
        (lambda: ops.prelu(X, np.ones(3)), TypeError, "`weight` has dtype float64"),
        (lambda: ops.prelu_backward(X, X, X[0, :, 0], output_mask=(1, 0)), ValueError, "`output_mask` is"),
    ],
)
def test_a_rejection_names_its_reason(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_one_channel_has_several_strides_and_one_order(rng):
    planes = rng.standard_normal((3, 1, 5, 7)).astype(np.float32)
    pixels = np.ascontiguousarray(planes.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    expected = np.where(planes > 0, planes, 0)
    for grad, x in ((planes, pixels), (pixels, planes), (pixels, pixels)):
        np.testing.assert_array_equal(ops.relu_backward(grad, x), expected)
