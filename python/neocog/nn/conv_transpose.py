"""ConvTranspose1d and ConvTranspose2d: torch.nn's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from neocog.nn._support import OPS, supported

_conv_transpose = OPS.conv_transpose.default


class ConvTranspose1d(torch.nn.ConvTranspose1d):
    """torch.nn.ConvTranspose1d on neocog's kernels."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        y = _forward(self, input, output_size)
        return super().forward(input, output_size) if y is None else y


class ConvTranspose2d(torch.nn.ConvTranspose2d):
    """torch.nn.ConvTranspose2d on neocog's kernels."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        y = _forward(self, input, output_size)
        return super().forward(input, output_size) if y is None else y


def _forward(layer: Any, x: Tensor, output_size: Any) -> Tensor | None:
    """y, or None where torch is to compute this."""
    spatial, weight, bias = len(layer.kernel_size), layer.weight, layer.bias
    batched = x.dim() == spatial + 2
    if layer.padding_mode != "zeros" or not (batched or x.dim() == spatial + 1) or not supported(x, weight, bias):
        return None
    added = layer.output_padding
    if output_size is not None:
        added = layer._output_padding(
            x, output_size, layer.stride, layer.padding, layer.kernel_size, spatial, layer.dilation
        )
    images = x if batched else x.unsqueeze(0)
    y: Tensor = _conv_transpose(images, weight, bias, layer.stride, layer.padding, added, layer.groups, layer.dilation)
    return y if batched else y.squeeze(0)
