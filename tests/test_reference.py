"""The float64 oracle against PyTorch in float64: all but the windowed ops, which have their own files."""

from __future__ import annotations

from typing import Any

import cases
import numpy as np
import pytest
import reference

torch = pytest.importorskip("torch")
F = torch.nn.functional

from against_torch import assert_equal, check, normal, parametrize  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")


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
    _, mean, var = reference.batch_norm(x, weight, bias, training=True, eps=1e-3)
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
