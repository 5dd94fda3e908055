"""BatchNorm1d and BatchNorm2d: torch.nn's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from neocog.nn._support import OPS, supported

_training = OPS.batch_norm_training.default
_inference = OPS.batch_norm_inference.default


class BatchNorm1d(torch.nn.BatchNorm1d):
    """torch.nn.BatchNorm1d on neocog's kernels."""

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        y = _forward(self, input)
        return super().forward(input) if y is None else y


class BatchNorm2d(torch.nn.BatchNorm2d):
    """torch.nn.BatchNorm2d on neocog's kernels."""

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        y = _forward(self, input)
        return super().forward(input) if y is None else y


def uses_batch(layer: Any) -> bool:
    """Whether a batch norm takes the statistics of its batch."""
    return layer.training or (layer.running_mean is None and layer.running_var is None)


def update_statistics(layer: Any, mean: Tensor, var: Tensor, count: int) -> None:
    """Average what a batch of `count` values per channel gave into the running statistics, as torch.nn does."""
    if not (layer.training and layer.track_running_stats):
        return
    momentum = 0.0 if layer.momentum is None else layer.momentum
    if layer.num_batches_tracked is not None:
        layer.num_batches_tracked.add_(1)
        if layer.momentum is None:  # the average of all batches
            momentum = 1.0 / float(layer.num_batches_tracked)
    with torch.no_grad():
        if layer.running_mean is not None:
            layer.running_mean.mul_(1 - momentum).add_(mean, alpha=momentum)
        if layer.running_var is not None:
            layer.running_var.mul_(1 - momentum).add_(var, alpha=momentum * count / (count - 1))


def _forward(layer: Any, x: Tensor) -> Tensor | None:
    """y, or None where torch is to compute this, or to say what is wrong with one value per channel."""
    weight, bias, running_mean, running_var = layer.weight, layer.bias, layer.running_mean, layer.running_var
    if not supported(x, weight, bias, running_mean, running_var):
        return None
    y: Tensor
    if not layer.training and running_mean is not None and running_var is not None:
        y = _inference(x, running_mean, running_var, weight, bias, layer.eps)
        return y
    count = x.numel() // x.shape[1]
    if count < 2 or not uses_batch(layer):
        return None
    y, mean, var = _training(x, weight, bias, layer.eps)
    update_statistics(layer, mean, var, count)
    return y
