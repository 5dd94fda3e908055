"""aten's upsampling and its gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from neocog.ops.resample import CODES as RESAMPLE_MODES
from neocog.torch.kernels.tensors import Unsupported, refusal
from neocog.torch.library.images import Ints, core, dense

_NEAREST, _LINEAR = RESAMPLE_MODES["nearest"], RESAMPLE_MODES["linear"]


def upsample_nearest2d(
    x: Tensor, output_size: Ints, scales_h: float | None = None, scales_w: float | None = None
) -> Tensor:
    """aten::upsample_nearest2d."""
    return _resample(x, output_size, (scales_h, scales_w), _NEAREST, False)


def upsample_bilinear2d(
    x: Tensor, output_size: Ints, align_corners: bool, scales_h: float | None = None, scales_w: float | None = None
) -> Tensor:
    """aten::upsample_bilinear2d."""
    return _resample(x, output_size, (scales_h, scales_w), _LINEAR, align_corners)


def upsample_nearest1d(x: Tensor, output_size: Ints, scales: float | None = None) -> Tensor:
    """aten::upsample_nearest1d."""
    return _resample(x, output_size, (scales,), _NEAREST, False)


def upsample_linear1d(x: Tensor, output_size: Ints, align_corners: bool, scales: float | None = None) -> Tensor:
    """aten::upsample_linear1d."""
    return _resample(x, output_size, (scales,), _LINEAR, align_corners)


def upsample_nearest2d_backward(
    grad_y: Tensor,
    output_size: Ints,
    input_size: Ints,
    scales_h: float | None = None,
    scales_w: float | None = None,
) -> Tensor:
    """aten::upsample_nearest2d_backward."""
    return _resample_backward(grad_y, output_size, input_size, (scales_h, scales_w), _NEAREST, False)


def upsample_bilinear2d_backward(
    grad_y: Tensor,
    output_size: Ints,
    input_size: Ints,
    align_corners: bool,
    scales_h: float | None = None,
    scales_w: float | None = None,
) -> Tensor:
    """aten::upsample_bilinear2d_backward."""
    return _resample_backward(grad_y, output_size, input_size, (scales_h, scales_w), _LINEAR, align_corners)


def upsample_nearest1d_backward(
    grad_y: Tensor, output_size: Ints, input_size: Ints, scales: float | None = None
) -> Tensor:
    """aten::upsample_nearest1d_backward."""
    return _resample_backward(grad_y, output_size, input_size, (scales,), _NEAREST, False)


def upsample_linear1d_backward(
    grad_y: Tensor, output_size: Ints, input_size: Ints, align_corners: bool, scales: float | None = None
) -> Tensor:
    """aten::upsample_linear1d_backward."""
    return _resample_backward(grad_y, output_size, input_size, (scales,), _LINEAR, align_corners)


def _scales(scales: Sequence[float | None]) -> tuple[float, float]:
    """0 lets the ratio of the sizes decide."""
    values = [0.0 if scale is None or not scale > 0 else scale for scale in scales]
    if not all(math.isfinite(value) for value in values):
        raise Unsupported("a scale that is not finite")
    return (values[0], values[1]) if len(values) == 2 else (0.0, values[0])


def _resample(x: Tensor, output_size: Ints, scales: Sequence[float | None], mode: int, align_corners: bool) -> Tensor:
    if x.dim() != 2 + len(scales) or len(output_size) != len(scales) or min(output_size) < 1 or x.numel() == 0:
        raise refusal(ValueError(), x)
    size = (1, *output_size)[-2:]
    try:
        images, last = dense(x)
        return core.resample_forward(  # type: ignore[no-any-return]
            images, size, _scales(scales), mode, align_corners, len(scales) == 2, last
        )
    except ValueError as error:
        raise refusal(error, x) from None


def _resample_backward(
    grad_y: Tensor,
    output_size: Ints,
    input_size: Ints,
    scales: Sequence[float | None],
    mode: int,
    align_corners: bool,
) -> Tensor:
    shape = grad_y.shape
    if (
        len(shape) != 2 + len(scales)
        or shape[2:] != tuple(output_size)
        or shape[:2] != tuple(input_size[:2])
        or grad_y.numel() == 0
    ):
        raise refusal(ValueError(), grad_y)
    size = (1, *input_size[2:])[-2:]
    try:
        grads, last = dense(grad_y)
        return core.resample_backward(  # type: ignore[no-any-return]
            grads, size, _scales(scales), mode, align_corners, len(scales) == 2, last
        )
    except ValueError as error:
        raise refusal(error, grad_y) from None
