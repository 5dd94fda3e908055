"""Conv1d and Conv2d: torch.nn's, with "same" for any stride."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from neocog.nn._support import OPS, ends_of, reversed_ends, same_ends, supported, values

_conv = OPS.conv.default


class _Strided:
    """Makes a convolution of torch.nn take `padding="same"` with a stride."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: Any = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        refused = isinstance(padding, str) and padding == "same" and any(step != 1 for step in values(stride))
        super().__init__(  # type: ignore[call-arg]
            in_channels,
            out_channels,
            kernel_size,
            stride,
            0 if refused else padding,
            dilation,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )
        if refused:
            self.padding = padding


class Conv1d(_Strided, torch.nn.Conv1d):
    """torch.nn.Conv1d on neocog's kernels; `padding="same"` takes any stride (ceil(size / stride) outputs)."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if (
            input.dim() == 3
            and self.padding_mode == "zeros"
            and self.padding.__class__ is tuple
            and supported(input, weight, bias)
        ):
            return _conv(input, weight, bias, self.stride, self.padding, self.dilation, self.groups)  # type: ignore[no-any-return]
        return _forward(self, input, weight, bias, super()._conv_forward, F.conv1d)


class Conv2d(_Strided, torch.nn.Conv2d):
    """torch.nn.Conv2d on neocog's kernels; `padding="same"` takes any stride (ceil(size / stride) outputs)."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if (
            input.dim() == 4
            and self.padding_mode == "zeros"
            and self.padding.__class__ is tuple
            and supported(input, weight, bias)
        ):
            return _conv(input, weight, bias, self.stride, self.padding, self.dilation, self.groups)  # type: ignore[no-any-return]
        return _forward(self, input, weight, bias, super()._conv_forward, F.conv2d)


def _forward(layer: Any, x: Tensor, weight: Tensor, bias: Tensor | None, fallback: Any, convolve: Any) -> Tensor:
    spatial, padding = len(layer.kernel_size), layer.padding
    batched = x.dim() == spatial + 2
    y: Tensor
    if layer.padding_mode == "zeros" and (batched or x.dim() == spatial + 1) and supported(x, weight, bias):
        if isinstance(padding, str):
            padding = ends_of(padding, x.shape[-spatial:], layer.kernel_size, layer.stride, layer.dilation)
        y = _conv(x if batched else x.unsqueeze(0), weight, bias, layer.stride, padding, layer.dilation, layer.groups)
        return y if batched else y.squeeze(0)
    if padding == "same" and any(step != 1 for step in layer.stride):
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        ends = same_ends(x.shape[-spatial:], layer.kernel_size, layer.stride, layer.dilation)
        y = convolve(
            F.pad(x, reversed_ends(ends), mode=mode), weight, bias, layer.stride, 0, layer.dilation, layer.groups
        )
        return y
    y = fallback(x, weight, bias)
    return y
