"""aten's gradient of ReLU: its images are as large as the convolutions', whose kept memory it shares."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from neocog._activations import activation_code
from neocog.torch.kernels.tensors import Unsupported, refusal
from neocog.torch.library.images import core

_RELU = activation_code("relu")


def threshold_backward(grad_y: Tensor, y: Tensor, threshold: float) -> Any:
    """aten::threshold_backward with the threshold 0, which is the gradient of ReLU from its result."""
    if threshold != 0:
        raise Unsupported("a threshold other than 0")
    if y.numel() == 0:
        raise Unsupported("an empty tensor")
    if grad_y.stride() != y.stride():
        raise Unsupported("a gradient in another memory format")
    try:
        return core.elementwise_backward(grad_y, y, *_RELU)
    except ValueError as error:
        raise refusal(error, y, grad_y) from None
