"""What the tests of Winograd's convolution share: a case, its arrays, and what its bounds count."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import helpers
import neocog
import numpy as np
import reference
import reference_winograd
from neocog import _core, ops

TRANSFORMS = 20  # roundings besides those of the sum over the channels


class Case(NamedTuple):
    x: tuple[int, int, int, int]
    weight: tuple[int, int, int, int]
    pads: tuple[int, int, int, int] = (1, 1, 1, 1)
    groups: int = 1
    dilation: tuple[int, int] = (1, 1)

    @property
    def taps(self) -> tuple[int, int]:
        return self.weight[2:]

    @property
    def kernel(self) -> str:
        """What conv_kernel says of it."""
        full = [reference_winograd.full_tile(taps) for taps in self.taps]
        sizes = [f"{h}x{w}" if min(self.taps) > 1 else f"{h * w}" for h, w in (full, self.taps)]
        return f"Winograd F({sizes[0]}, {sizes[1]})"

    @property
    def steps(self) -> dict[str, Any]:
        return {"padding": (self.pads[:2], self.pads[2:]), "groups": self.groups, "dilation": self.dilation}


def arrays(case: Case, layout: str, rng: np.random.Generator, dtype: type = np.float32) -> list[np.ndarray]:
    x = helpers.lay_out(helpers.normal(rng, case.x, dtype), layout)
    return [x, helpers.normal(rng, case.weight, dtype), helpers.normal(rng, case.weight[:1], dtype)]


def kernel_of(case: Case, x: np.ndarray, weight: np.ndarray) -> str:
    last = x.strides[1] == x.itemsize
    return _core.conv_kernel(x.shape, weight, (1, 1), case.pads, case.dilation, case.groups, last)


def weight_gradient(grad_y: np.ndarray, x: np.ndarray, weight: np.ndarray, case: Case) -> np.ndarray:
    return ops.conv2d_backward(grad_y, x, weight, output_mask=(False, True, False), **case.steps)[1]


def some_grad_y(case: Case, x: np.ndarray, weight: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    grad_y = np.empty_like(ops.conv2d(x, weight, **case.steps))
    grad_y[...] = rng.standard_normal(grad_y.shape)
    return grad_y


def turned(case: Case, weight: np.ndarray) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """The kernels and the padding with which the input gradient is a convolution of grad_y."""
    grouped = weight.reshape(case.groups, -1, *weight.shape[1:]).swapaxes(1, 2)
    kernels = grouped.reshape(-1, weight.shape[0] // case.groups, *case.taps)[..., ::-1, ::-1]
    high, wide = (taps - 1 for taps in case.taps)
    top, bottom, left, right = case.pads
    return kernels, (high - top, high - bottom, wide - left, wide - right)


def tiles_of(case: Case, grad_y: np.ndarray) -> int:
    """How many products a point adds up."""
    return len(grad_y) * math.prod(
        len(reference_winograd.tiles(size, taps)) for size, taps in zip(grad_y.shape[2:], case.taps, strict=True)
    )


def check_weight_gradient(case: Case, layout: str, rng: np.random.Generator) -> None:
    """Made by another method than the plain sum, and within the documented bound."""
    x, weight, _ = arrays(case, layout, rng)
    grad_y = some_grad_y(case, x, weight, rng)
    grad_weight = weight_gradient(grad_y, x, weight, case)
    with neocog.strict():
        assert grad_weight.tobytes() != weight_gradient(grad_y, x, weight, case).tobytes(), "takes another method"
    _, expected, _ = reference.conv2d_backward(grad_y, x, weight, **case.steps)
    magnitude = reference_winograd.weight_magnitude(x, grad_y, case.pads, case.groups, case.taps)
    helpers.assert_within(grad_weight, expected, magnitude, tiles_of(case, grad_y) + TRANSFORMS)


def check_weight_gradient_errs_little(case: Case, layout: str, rng: np.random.Generator) -> None:
    """RMS error against RMS: a millionth or two, as documented."""
    x, weight, _ = arrays(case, layout, rng)
    grad_y = some_grad_y(case, x, weight, rng)
    _, expected, _ = reference.conv2d_backward(grad_y, x, weight, **case.steps)
    error = weight_gradient(grad_y, x, weight, case) - expected
    assert np.sqrt((error**2).mean()) <= 2e-6 * np.sqrt((expected**2).mean())
