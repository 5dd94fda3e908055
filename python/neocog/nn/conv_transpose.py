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
        if not _runs_here(self, input):
            return super().forward(input, output_size)
        return _forward(self, input, output_size)


class ConvTranspose2d(torch.nn.ConvTranspose2d):
    """torch.nn.ConvTranspose2d on neocog's kernels."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        if not _runs_here(self, input):
            return super().forward(input, output_size)
        return _forward(self, input, output_size)


def _runs_here(layer: Any, x: Tensor) -> bool:
    spatial = len(layer.kernel_size)
    return (
        layer.padding_mode == "zeros"
        and spatial + 1 <= x.dim() <= spatial + 2
        and supported(x, layer.weight, layer.bias)
    )


def _forward(layer: Any, x: Tensor, output_size: Any) -> Tensor:
    spatial = len(layer.kernel_size)
    added = layer.output_padding
    if output_size is not None:
        added = layer._output_padding(
            x, output_size, layer.stride, layer.padding, layer.kernel_size, spatial, layer.dilation
        )
    batched = x.dim() == spatial + 2
    y: Tensor = _conv_transpose(
        x if batched else x.unsqueeze(0),
        layer.weight,
        layer.bias,
        layer.stride,
        layer.padding,
        added,
        layer.groups,
        layer.dilation,
    )
    return y if batched else y.squeeze(0)
