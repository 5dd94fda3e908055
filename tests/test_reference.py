"""The float64 oracle against PyTorch in float64: forward, and backward against autograd, over every named geometry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cases
import numpy as np
import pytest
import reference

torch = pytest.importorskip("torch")
F = torch.nn.functional

SAME = {  # Keras' "same" as explicit padding, worked out by hand: ceil(in / stride) outputs, the odd pixel at the end
    "same_stride_2_even_size": ((0, 1), (0, 1)),
    "same_stride_2_odd_size": ((1, 1), (1, 1)),
    "same_even_kernel": ((1, 2), (0, 1)),
    "same_stride_exceeds_kernel": ((0, 0), (0, 0)),
    "same_dilated": ((2, 2), (1, 2)),
    "same_stride_3": ((1, 2),),
    "same_stride_2": ((0, 1), (1, 1)),
    "same_stride_1_even_kernel": ((0, 1), (0, 1)),
}


def both_sides(padding: Any, name: str, axes: int) -> tuple[tuple[int, int], ...]:
    if padding == "same":
        return SAME[name]
    if padding == "valid":
        return ((0, 0),) * axes
    per_axis = [padding] * axes if np.isscalar(padding) else padding
    return tuple(tuple(p) if np.ndim(p) else (p, p) for p in per_axis)


def flat(padding: Sequence[tuple[int, int]]) -> list[int]:
    """As torch.nn.functional.pad wants it: the last axis first."""
    return [p for both in reversed(padding) for p in both]


def leaves(arrays: Sequence[np.ndarray | None]) -> list[Any]:
    return [None if a is None else torch.from_numpy(np.array(a)).requires_grad_() for a in arrays]


def assert_equal(ours: Any, theirs: Any) -> None:
    theirs = theirs.detach().numpy()
    assert ours.shape == theirs.shape
    assert ours.dtype == np.float64
    largest = np.max(abs(theirs), initial=0, where=np.isfinite(theirs))
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12 * largest)


def check(
    rng: np.random.Generator,
    arrays: Sequence[np.ndarray | None],
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    torch_forward: Callable[..., Any],
) -> None:
    """forward(*arrays), and backward(grad_y, *arrays) -> one gradient for each array, against torch."""
    tensors = leaves(arrays)
    y = torch_forward(*tensors)
    assert_equal(forward(*arrays), y)
    grad_y = rng.standard_normal(y.shape)
    grads = backward(grad_y, *arrays)
    grads = grads if isinstance(grads, tuple) else (grads,)
    expected = torch.autograd.grad(y, [t for t in tensors if t is not None], torch.from_numpy(grad_y))
    assert len(grads) == len(expected)
    for ours, theirs in zip(grads, expected, strict=True):
        assert_equal(ours, theirs)


def parametrize(table: dict[str, Any]) -> Any:
    return pytest.mark.parametrize(("name", "case"), table.items(), ids=table)


def normal(rng: np.random.Generator, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    return [rng.standard_normal(shape) for shape in shapes]


def check_conv(rng: np.random.Generator, name: str, x: tuple, weight: tuple, steps: dict[str, Any]) -> None:
    axes = len(x) - 2
    ours, ours_backward = getattr(reference, f"conv{axes}d"), getattr(reference, f"conv{axes}d_backward")
    rest = {key: value for key, value in steps.items() if key != "padding"}
    sides = both_sides(steps["padding"], name, axes)
    check(
        rng,
        normal(rng, x, weight, weight[:1]),
        lambda x, w, b: ours(x, w, b, **steps),
        lambda g, x, w, b: ours_backward(g, x, w, **steps),
        lambda x, w, b: getattr(F, f"conv{axes}d")(F.pad(x, flat(sides)), w, b, **rest),
    )


@parametrize(cases.CONV2D)
def test_conv2d(name, case, rng):
    check_conv(rng, name, case.x, case.weight, case.steps)


@parametrize(cases.CONV1D)
def test_conv1d(name, case, rng):
    check_conv(rng, name, case.x, case.weight, case.steps)


@parametrize(cases.DEPTHWISE)
def test_depthwise_conv2d(name, case, rng):
    sides = both_sides(case.padding, name, 2)
    check(
        rng,
        normal(rng, case.x, case.weight, case.weight[:1]),
        lambda x, w, b: reference.depthwise_conv2d(x, w, b, **case.steps),
        lambda g, x, w, b: reference.depthwise_conv2d_backward(g, x, w, **case.steps),
        lambda x, w, b: F.conv2d(
            F.pad(x, flat(sides)), w, b, stride=case.stride, dilation=case.dilation, groups=case.x[1]
        ),
    )


@parametrize(cases.SEPARABLE)
def test_separable_conv2d(name, case, rng):
    sides = both_sides(case.padding, name, 2)

    def torch_forward(x, depthwise, pointwise, bias):
        steps = {"stride": case.stride, "dilation": case.dilation, "groups": case.x[1]}
        return F.conv2d(F.conv2d(F.pad(x, flat(sides)), depthwise, **steps), pointwise, bias)

    check(
        rng,
        normal(rng, case.x, case.weight, case.pointwise_weight, (case.out_channels,)),
        lambda x, d, p, b: reference.separable_conv2d(x, d, p, b, **case.steps),
        lambda g, x, d, p, b: reference.separable_conv2d_backward(g, x, d, p, **case.steps),
        torch_forward,
    )


def torch_conv_transpose(case: cases.ConvTranspose, x: Any, weight: Any, bias: Any) -> Any:
    """torch's own, but for "same", which TensorFlow defines as the gradient of a convolution, and one-sided crops."""
    axes, steps = x.ndim - 2, case.steps
    op, padding = getattr(F, f"conv_transpose{axes}d"), steps.pop("padding")
    if padding == "same":
        sizes = [n * s for n, s in zip(x.shape[2:], [case.stride] * axes, strict=True)]
        image = torch.zeros(len(x), case.out_channels, *sizes, dtype=torch.float64, requires_grad=True)
        totals = [  # ceil(in / stride) is exact here: in is a multiple of the stride
            max((n - 1) * case.stride + case.dilation * (k - 1) + 1 - size, 0)
            for n, k, size in zip(x.shape[2:], weight.shape[2:], sizes, strict=True)
        ]
        padded = F.pad(image, flat([(total // 2, total - total // 2) for total in totals]))
        conv = getattr(F, f"conv{axes}d")(padded, weight, stride=case.stride, dilation=case.dilation)
        (y,) = torch.autograd.grad(conv, image, x, create_graph=True)
        return y + bias.reshape(-1, *[1] * axes)
    if padding == "valid":  # Keras: in * stride + max(span - stride, 0)
        spans = [case.dilation * (k - 1) + 1 for k in weight.shape[2:]]
        steps["output_padding"] = [max(case.stride - span, 0) for span in spans]
        return op(x, weight, bias, **steps)
    if np.ndim(padding) == 2:
        crop = [-p for p in flat(padding)]
        return F.pad(op(x, weight, **steps), crop) + bias.reshape(-1, *[1] * axes)
    return op(x, weight, bias, padding=padding, **steps)


def check_conv_transpose(rng: np.random.Generator, case: cases.ConvTranspose) -> None:
    axes = len(case.x) - 2
    ours = getattr(reference, f"conv_transpose{axes}d")
    ours_backward = getattr(reference, f"conv_transpose{axes}d_backward")
    check(
        rng,
        normal(rng, case.x, case.weight, (case.out_channels,)),
        lambda x, w, b: ours(x, w, b, **case.steps),
        lambda g, x, w, b: ours_backward(g, x, w, **case.steps),
        lambda x, w, b: torch_conv_transpose(case, x, w, b),
    )


@parametrize(cases.CONV_TRANSPOSE2D)
def test_conv_transpose2d(name, case, rng):
    check_conv_transpose(rng, case)


@parametrize(cases.CONV_TRANSPOSE1D)
def test_conv_transpose1d(name, case, rng):
    check_conv_transpose(rng, case)


def pool_input(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Few distinct values, so that windows hold ties."""
    return rng.integers(-4, 5, shape) / 4


def torch_pads(case: cases.Pool, sides: Sequence[tuple[int, int]]) -> bool:
    """Whether torch's pools take this padding: equal sides, at most half of the kernel."""
    kernel = [case.kernel_size] * len(sides) if np.isscalar(case.kernel_size) else case.kernel_size
    return all(lo == hi <= k // 2 for (lo, hi), k in zip(sides, kernel, strict=True))


def check_max_pool(rng: np.random.Generator, name: str, case: cases.Pool, axes: int) -> None:
    steps = case.max_steps
    sides = both_sides(case.padding, name, axes)
    native = torch_pads(case, sides)
    x = pool_input(rng, case.x)
    y, indices = getattr(reference, f"max_pool{axes}d")(x, return_indices=True, **steps)
    (tensor,) = leaves([x])
    if native:
        steps["padding"] = tuple(lo for lo, _ in sides)
        theirs, their_indices = getattr(F, f"max_pool{axes}d")(tensor, return_indices=True, **steps)
    else:
        padded = F.pad(tensor, flat(sides), value=-torch.inf)
        theirs, their_indices = F.max_pool2d(padded, return_indices=True, **{**steps, "padding": 0})
        rows, cols = their_indices // padded.shape[3], their_indices % padded.shape[3]
        their_indices = (rows - sides[0][0]) * x.shape[3] + cols - sides[1][0]
    assert_equal(y, theirs)
    np.testing.assert_array_equal(indices, their_indices.numpy())
    grad_y = rng.standard_normal(y.shape)
    (expected,) = torch.autograd.grad(theirs, tensor, torch.from_numpy(grad_y))
    backward = getattr(reference, f"max_pool{axes}d_backward")
    assert_equal(backward(grad_y, indices, x.shape[2:]), expected)


@parametrize(cases.MAX_POOL2D)
def test_max_pool2d(name, case, rng):
    check_max_pool(rng, name, case, 2)


@parametrize(cases.POOL1D)
def test_max_pool1d(name, case, rng):
    check_max_pool(rng, name, case, 1)


@pytest.mark.parametrize("adaptive", [False, True])
def test_max_pool2d_takes_torch_s_side_with_nan_and_infinity(adaptive, rng):
    x = pool_input(rng, (2, 3, 9, 8))
    x[rng.random(x.shape) < 0.1] = np.nan
    x[rng.random(x.shape) < 0.1] = np.inf
    x[0, 0] = -np.inf
    if adaptive:
        y, indices = reference.adaptive_max_pool2d(x, (4, 3), return_indices=True)
        theirs, their_indices = F.adaptive_max_pool2d(torch.from_numpy(x), (4, 3), return_indices=True)
    else:
        y, indices = reference.max_pool2d(x, 3, 2, 1, return_indices=True)
        theirs, their_indices = F.max_pool2d(torch.from_numpy(x), 3, 2, 1, return_indices=True)
    np.testing.assert_array_equal(y, theirs.numpy())
    np.testing.assert_array_equal(indices, their_indices.numpy())


@pytest.mark.parametrize("count_include_pad", [True, False])
@parametrize(cases.POOL2D)
def test_avg_pool2d(name, case, count_include_pad, rng):
    sides = both_sides(case.padding, name, 2)
    native = torch_pads(case, sides)
    steps = {"count_include_pad": count_include_pad, **case.avg_steps}
    counted = count_include_pad and case.padding != "same"

    def torch_forward(x):
        if native:
            padding = tuple(lo for lo, _ in sides)
            return F.avg_pool2d(x, **{**steps, "padding": padding, "count_include_pad": counted})
        sums = [F.pad(image, flat(sides)) for image in (x, torch.ones_like(x))]
        total, pixels = (F.avg_pool2d(s, **{**steps, "padding": 0}) for s in sums)
        return total if counted else total / pixels

    check(
        rng,
        normal(rng, case.x),
        lambda x: reference.avg_pool2d(x, **steps),
        lambda g, x: reference.avg_pool2d_backward(g, x.shape[2:], **steps),
        torch_forward,
    )


def test_avg_pool2d_divides_by_the_override(rng):
    steps = {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True, "divisor_override": 5}
    check(
        rng,
        normal(rng, (2, 3, 8, 7)),
        lambda x: reference.avg_pool2d(x, **steps),
        lambda g, x: reference.avg_pool2d_backward(g, x.shape[2:], **steps),
        lambda x: F.avg_pool2d(x, **steps),
    )


@pytest.mark.parametrize("count_include_pad", [True, False])
@parametrize(cases.POOL1D)
def test_avg_pool1d(name, case, count_include_pad, rng):
    steps = {"count_include_pad": count_include_pad, **case.avg_steps}
    check(
        rng,
        normal(rng, case.x),
        lambda x: reference.avg_pool1d(x, **steps),
        lambda g, x: reference.avg_pool1d_backward(g, x.shape[2:], **steps),
        lambda x: F.avg_pool1d(x, **steps),
    )


@parametrize(cases.ADAPTIVE2D | {f"{name}_1d": case for name, case in cases.ADAPTIVE1D.items()})
def test_adaptive_pools(name, case, rng):
    shape, output_size = case
    axes = len(shape) - 2
    average, largest = f"adaptive_avg_pool{axes}d", f"adaptive_max_pool{axes}d"
    check(
        rng,
        normal(rng, shape),
        lambda x: getattr(reference, average)(x, output_size),
        lambda g, x: getattr(reference, f"{average}_backward")(g, x.shape[2:]),
        lambda x: getattr(F, average)(x, output_size),
    )
    x = pool_input(rng, shape)
    y, indices = getattr(reference, largest)(x, output_size, return_indices=True)
    theirs, their_indices = getattr(F, largest)(torch.from_numpy(x), output_size, return_indices=True)
    assert_equal(y, theirs)
    np.testing.assert_array_equal(indices, their_indices.numpy())


def test_global_pools(rng):
    check(
        rng,
        normal(rng, (2, 5, 4, 7)),
        reference.global_avg_pool2d,
        lambda g, x: reference.global_avg_pool2d_backward(g, x.shape[2:]),
        lambda x: x.mean((2, 3), keepdim=True),
    )
    (x,) = normal(rng, (2, 5, 9))
    assert_equal(reference.global_max_pool1d(x), torch.from_numpy(x).amax(2, keepdim=True))


@pytest.mark.parametrize("output_size", [None, (9, 8)])
def test_max_unpool2d(output_size, rng):
    (image,) = normal(rng, (2, 3, 9, 8))
    x, indices = reference.max_pool2d(image, 3, 2, 1, return_indices=True)
    if output_size is None:  # the default size is 9 x 7: keep the places inside it
        indices = np.minimum(indices, 9 * 7 - 1 - np.arange(indices.size).reshape(indices.shape) % 20)
        indices = np.argsort(rng.random((2, 3, 63)), axis=2)[..., : 5 * 4].reshape(indices.shape)
    check(
        rng,
        [x],
        lambda x: reference.max_unpool2d(x, indices, 3, 2, 1, output_size),
        lambda g, x: reference.max_unpool2d_backward(g, indices),
        lambda x: F.max_unpool2d(x, torch.from_numpy(indices), 3, 2, 1, output_size),
    )


@parametrize(cases.LINEAR)
def test_linear(name, case, rng):
    shape, out = case
    check(
        rng,
        normal(rng, shape, (out, shape[-1]), (out,)),
        reference.linear,
        lambda g, x, w, b: reference.linear_backward(g, x, w),
        F.linear,
    )


@parametrize(cases.BATCH_NORM)
def test_batch_norm_training(name, case, rng):
    x, weight, bias = normal(rng, case, case[1:2], case[1:2])
    y, mean, var = reference.batch_norm(x, weight, bias, training=True, eps=1e-3)
    assert_equal(mean, torch.from_numpy(x).transpose(0, 1).flatten(1).mean(1))
    assert_equal(var, torch.from_numpy(x).transpose(0, 1).flatten(1).var(1, correction=0))
    check(
        rng,
        [x, weight, bias],
        lambda x, w, b: reference.batch_norm(x, w, b, training=True, eps=1e-3)[0],
        lambda g, x, w, b: reference.batch_norm_backward(g, x, w, mean=mean, var=var, eps=1e-3),
        lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True, eps=1e-3),
    )


@parametrize(cases.BATCH_NORM)
def test_batch_norm_inference(name, case, rng):
    x, weight, bias, mean = normal(rng, case, *[case[1:2]] * 3)
    var = rng.uniform(0.1, 2, case[1])
    running = {"mean": mean, "var": var, "training": False}
    check(
        rng,
        [x, weight, bias],
        lambda x, w, b: reference.batch_norm(x, w, b, **running),
        lambda g, x, w, b: reference.batch_norm_backward(g, x, w, **running),
        lambda x, w, b: F.batch_norm(x, torch.from_numpy(mean), torch.from_numpy(var), w, b),
    )


KINKS = np.array([-40, -6, -3, -1, -1e-9, -0.0, 0.0, 1e-9, 1, 3, 6, 40, np.nan])
ACTIVATIONS = {
    **{name: ({}, getattr(F, name)) for name in ("relu", "relu6", "leaky_relu", "elu", "gelu", "silu", "hardswish")},
    "leaky_relu steep": ({"negative_slope": 1.5}, F.leaky_relu),
    "elu alpha": ({"alpha": 0.3}, F.elu),
    "gelu tanh": ({"approximate": "tanh"}, F.gelu),
}


@parametrize(ACTIVATIONS)
def test_activations_take_torch_s_side_at_their_kinks(name, case, rng):
    arguments, torch_forward = case
    name = name.split()[0]
    x = np.concatenate([KINKS, rng.standard_normal(50) * 4])
    check(
        rng,
        [x],
        lambda x: getattr(reference, name)(x, **arguments),
        lambda g, x: getattr(reference, f"{name}_backward")(g, x, **arguments),
        lambda x: torch_forward(x, **arguments),
    )


@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_saturating_activations(name, rng):
    x = np.concatenate([KINKS, [-800, 800], rng.standard_normal(50) * 4])
    check(
        rng,
        [x],
        getattr(reference, name),
        lambda g, x: getattr(reference, f"{name}_backward")(g, getattr(reference, name)(x)),
        getattr(torch, name),
    )


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_softmax(axis, rng):
    check(
        rng,
        [rng.standard_normal((3, 4, 5)) * 30],
        lambda x: reference.softmax(x, axis),
        lambda g, x: reference.softmax_backward(g, reference.softmax(x, axis), axis),
        lambda x: F.softmax(x, axis),
    )


@pytest.mark.parametrize("channels", [1, 5])
def test_prelu(channels, rng):
    check(rng, normal(rng, (2, 5, 3, 4), (channels,)), reference.prelu, reference.prelu_backward, F.prelu)


@pytest.mark.parametrize("shape", [(2, 3, 4), (3, 1), (4,), (), (5, 2, 3, 4)])
def test_add_broadcasts(shape, rng):
    check(
        rng,
        normal(rng, (2, 3, 4), shape),
        reference.add,
        lambda g, x, y: reference.add_backward(g, x.shape, y.shape),
        torch.add,
    )


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_concat(axis, rng):
    shapes = [[2, 3, 4] for _ in range(3)]
    shapes[1][axis] = 7
    check(
        rng,
        normal(rng, *map(tuple, shapes)),
        lambda *arrays: reference.concat(arrays, axis),
        lambda g, *arrays: reference.concat_backward(g, [a.shape[axis] for a in arrays], axis),
        lambda *arrays: torch.cat(arrays, axis),
    )


@parametrize(cases.PAD)
def test_pad(name, case, rng):
    shape, padding, mode = case
    torch_padding = padding[: 2 * (len(shape) - 2)] if mode != "constant" else padding
    constant = {"value": 0.7} if mode == "constant" else {}
    check(
        rng,
        normal(rng, shape),
        lambda x: reference.pad(x, padding, mode=mode, **constant),
        lambda g, x: reference.pad_backward(g, x.shape, padding, mode=mode),
        lambda x: F.pad(x, torch_padding, mode=mode, **constant),
    )


# torch 2.13 cannot differentiate pixel_shuffle on an empty batch.
@parametrize({name: case for name, case in cases.PIXEL_SHUFFLE.items() if name != "batch_0"})
def test_pixel_shuffle_and_back(name, case, rng):
    shape, r = case
    check(
        rng,
        normal(rng, shape),
        lambda x: reference.pixel_shuffle(x, r),
        lambda g, x: reference.pixel_shuffle_backward(g, r),
        lambda x: F.pixel_shuffle(x, r),
    )
    shape = (*shape[:-2], shape[-2] * r, shape[-1] * r)
    check(
        rng,
        normal(rng, shape),
        lambda x: reference.pixel_unshuffle(x, r),
        lambda g, x: reference.pixel_unshuffle_backward(g, r),
        lambda x: F.pixel_unshuffle(x, r),
    )


def check_interpolate(rng: np.random.Generator, case: Any, mode: str, align_corners: bool) -> None:
    shape, sizes = case
    corners = {"align_corners": align_corners} if mode in ("linear", "bilinear") else {}
    scales = {key: value for key, value in sizes.items() if key != "size"}
    check(
        rng,
        normal(rng, shape),
        lambda x: reference.interpolate(x, mode=mode, **sizes, **corners),
        lambda g, x: reference.interpolate_backward(g, x.shape[2:], mode=mode, **scales, **corners),
        lambda x: F.interpolate(x, mode=mode, **sizes, **corners),
    )


MODES_2D = [("nearest", False), ("nearest-exact", False), ("bilinear", False), ("bilinear", True)]


@pytest.mark.parametrize(("mode", "align_corners"), MODES_2D)
@parametrize(cases.RESAMPLE2D)
def test_interpolate_2d(name, case, mode, align_corners, rng):
    check_interpolate(rng, case, mode, align_corners)


@pytest.mark.parametrize(("mode", "align_corners"), [("nearest", False), ("linear", False), ("linear", True)])
@parametrize(cases.RESAMPLE1D)
def test_interpolate_1d(name, case, mode, align_corners, rng):
    check_interpolate(rng, case, mode, align_corners)
