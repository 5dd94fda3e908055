"""The float64 oracle of the pools against PyTorch, over every named geometry."""

from __future__ import annotations

from collections.abc import Sequence

import cases
import numpy as np
import pytest
import reference

torch = pytest.importorskip("torch")
F = torch.nn.functional

from against_torch import assert_equal, both_sides, check, flat, leaves, normal, parametrize  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")


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
