"""What tests of strided convolution by Winograd's method share: a case, its arrays, and checks of either role."""

from __future__ import annotations

from typing import Any, NamedTuple

import helpers
import neocog
import numpy as np
from neocog import ops


class Strided(NamedTuple):
    image: tuple[int, int, int, int]  # (N, C, H, W): x, or y of the transposed convolution
    weight: tuple[int, int, int, int]  # (O, C / groups, R, S)
    padding: tuple[int, int] = (1, 1)
    groups: int = 1
    every: tuple[int, int] | None = None  # the stride; 2 along axes of more than one tap

    @property
    def stride(self) -> tuple[int, int]:
        return self.every or tuple(1 if taps == 1 else 2 for taps in self.weight[2:])

    @property
    def taps(self) -> list[int]:
        """Of a phase."""
        return [-(-taps // step) for taps, step in zip(self.weight[2:], self.stride, strict=True)]

    @property
    def steps(self) -> dict[str, Any]:
        return {"stride": self.stride, "padding": self.padding, "groups": self.groups}

    @property
    def outputs(self) -> list[int]:
        sizes = zip(self.image[2:], self.padding, self.weight[2:], self.stride, strict=True)
        return [(size + 2 * pad - taps) // step + 1 for size, pad, taps, step in sizes]


def strided_arrays(case: Strided, layout: str, rng: np.random.Generator) -> list[np.ndarray]:
    """x, its gradient's side and weight, and a bias for either side."""
    x = helpers.lay_out(helpers.normal(rng, case.image), layout)
    y = helpers.lay_out(helpers.normal(rng, (case.image[0], case.weight[0], *case.outputs)), layout)
    weight = helpers.normal(rng, case.weight)
    return [x, y, weight, helpers.normal(rng, case.weight[:1]), helpers.normal(rng, case.image[1:2])]


def output_padding(case: Strided) -> tuple[int, ...]:
    """What makes the transposed convolution as large as the image."""
    sizes = zip(case.image[2:], case.outputs, case.padding, case.weight[2:], case.stride, strict=True)
    return tuple(size - ((out - 1) * step - 2 * pad + taps) for size, out, pad, taps, step in sizes)


def assert_rms_of_plain(found: np.ndarray, plain: np.ndarray, expected: np.ndarray) -> None:
    rms, of_plain = (np.sqrt(np.square(y - expected).mean()) for y in (found, plain))
    assert rms <= 4 * of_plain


def weight_gradient(case: Strided, x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return ops.conv2d_backward(y, x, weight, output_mask=(False, True, False), **case.steps)[1]


def check_sums_of_the_bias(case: Strided, layout: str, rng: np.random.Generator) -> None:
    """Gradients come with them, in either role."""
    x, y, weight, _, _ = strided_arrays(case, layout, rng)
    wide = {**case.steps, "output_padding": output_padding(case)}
    ahead = ops.conv2d_backward(y, x, weight, **case.steps)
    # Of the transposed convolution x is the result, whose pixels lie under overlapping windows.
    back = ops.conv_transpose2d_backward(x, y, weight, **wide)
    for sums, image in ((ahead[2], y), (back[2], x)):
        exact = image.sum((0, 2, 3), dtype=np.float64)
        np.testing.assert_allclose(sums, exact, rtol=1e-6, atol=1e-6 * abs(image).sum((0, 2, 3)).max())
    np.testing.assert_array_equal(back[0], ops.conv2d(x, weight, **case.steps))
    np.testing.assert_array_equal(back[1], weight_gradient(case, x, y, weight))


def check_residual_and_activation(case: Strided, activation: str, layout: str, rng: np.random.Generator) -> None:
    """They are those afterwards."""
    x, y, weight, bias, bias_x = strided_arrays(case, layout, rng)
    then = getattr(ops, activation)
    fused = ops.conv2d(x, weight, bias, residual=y, activation=activation, **case.steps)
    afterwards = then(ops.conv2d(x, weight, bias, **case.steps) + y)
    assert abs(fused - afterwards).max() <= 1e-6 * abs(afterwards).max()
    wide = {**case.steps, "output_padding": output_padding(case)}
    fused = ops.conv_transpose2d(y, weight, bias_x, activation=activation, **wide)
    afterwards = then(ops.conv_transpose2d(y, weight, bias_x, **wide))
    assert abs(fused - afterwards).max() <= 1e-6 * abs(afterwards).max()


def check_threads_and_layouts(case: Strided, rng: np.random.Generator) -> None:
    """The same bits for any number of threads, of which there are several now, and either layout."""
    x, y, weight, bias, bias_x = strided_arrays(case, "NCHW", rng)
    wide = {**case.steps, "output_padding": output_padding(case)}

    def run(x, y):
        return (
            ops.conv2d(x, weight, bias, **case.steps),
            ops.conv_transpose2d(y, weight, bias_x, **wide),
            *ops.conv2d_backward(y, x, weight, **case.steps)[1:],
            *ops.conv_transpose2d_backward(x, y, weight, **wide)[1:],
        )

    many = run(x, y)
    for last, first in zip(run(helpers.lay_out(x, "NHWC"), helpers.lay_out(y, "NHWC")), many, strict=True):
        np.testing.assert_array_equal(last, first)
    neocog.set_num_threads(1)
    for one, first in zip(run(x, y), many, strict=True):
        assert one.tobytes() == first.tobytes()
