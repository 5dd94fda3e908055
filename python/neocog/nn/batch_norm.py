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
        return _forward(self, input) if runs_here(self, input) else super().forward(input)


class BatchNorm2d(torch.nn.BatchNorm2d):
    """torch.nn.BatchNorm2d on neocog's kernels."""

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        return _forward(self, input) if runs_here(self, input) else super().forward(input)


def uses_batch(layer: Any) -> bool:
    """Whether a batch norm takes the statistics of its batch."""
    return layer.training or (layer.running_mean is None and layer.running_var is None)


def runs_here(layer: Any, x: Tensor) -> bool:
    """Whether our kernels compute this layer; torch says what is wrong with one value per channel."""
    if not supported(x, layer.weight, layer.bias, layer.running_mean, layer.running_var):
        return False
    return not uses_batch(layer) or x.numel() // x.shape[1] > 1


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


def _forward(layer: Any, x: Tensor) -> Tensor:
    y: Tensor
    if not uses_batch(layer):
        y = _inference(x, layer.running_mean, layer.running_var, layer.weight, layer.bias, layer.eps)
        return y
    y, mean, var = _training(x, layer.weight, layer.bias, layer.eps)
    update_statistics(layer, mean, var, x.numel() // x.shape[1])
    return y
