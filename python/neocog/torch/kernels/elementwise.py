"""aten's gradient of ReLU; the one elementwise operator where the kernels and their memory pay."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from neocog._activations import activation_code
from neocog.torch.kernels.tensors import Unsupported, refusal
from neocog.torch.library.images import core

_RELU = activation_code("relu")
_LEAST = 1 << 16  # values; below, a call from Python costs more than torch's kernel


def threshold_backward(grad_y: Tensor, y: Tensor, threshold: float) -> Any:
    """aten::threshold_backward with the threshold 0, which is the gradient of ReLU from its result."""
    if threshold != 0:
        raise Unsupported("a threshold other than 0")
    if y.numel() < _LEAST:
        raise Unsupported("few values")
    if grad_y.stride() != y.stride():
        raise Unsupported("a gradient in another memory format")
    try:
        return core.elementwise_backward(grad_y, y, *_RELU)
    except ValueError as error:
        raise refusal(error, y, grad_y) from None
