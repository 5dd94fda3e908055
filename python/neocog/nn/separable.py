"""SeparableConv1d and SeparableConv2d: a depthwise convolution and a 1x1 convolution in one pass."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import init

from neocog._checks import integer
from neocog.nn._support import OPS, ends_of, per_axis, reversed_ends, supported

_separable_conv = OPS.separable_conv.default


class _SeparableConv(torch.nn.Module):
    """What the layers of both ranks share."""

    _spatial: int
    bias: torch.nn.Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        depth_multiplier: int = 1,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if isinstance(padding, str) and padding not in ("same", "valid"):
            raise ValueError(f'`padding` is {padding!r}; as a string it must be "valid" or "same".')
        self.in_channels = integer("in_channels", in_channels, 1)
        self.out_channels = integer("out_channels", out_channels, 1)
        self.depth_multiplier = integer("depth_multiplier", depth_multiplier, 1)
        self.kernel_size = per_axis(kernel_size, self._spatial)
        self.stride = per_axis(stride, self._spatial)
        self.padding = padding if isinstance(padding, str) else per_axis(padding, self._spatial)
        self.dilation = per_axis(dilation, self._spatial)
        channels, ones = in_channels * depth_multiplier, (1,) * self._spatial
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.depthwise_weight = torch.nn.Parameter(torch.empty((channels, 1, *self.kernel_size), **made))
        self.pointwise_weight = torch.nn.Parameter(torch.empty((out_channels, channels, *ones), **made))
        if bias:
            self.bias = torch.nn.Parameter(torch.empty(out_channels, **made))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """As torch.nn initialises the two convolutions."""
        init.kaiming_uniform_(self.depthwise_weight, a=math.sqrt(5))
        init.kaiming_uniform_(self.pointwise_weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.pointwise_weight.shape[1])
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        spatial = self._spatial
        batched = input.dim() == spatial + 2
        tensors = (self.depthwise_weight, self.pointwise_weight, self.bias)
        ends: Any = self.padding
        if isinstance(ends, str):
            ends = ends_of(ends, input.shape[-spatial:], self.kernel_size, self.stride, self.dilation)
        y: Tensor
        if not supported(input, *tensors):
            convolve: Any = F.conv1d if spatial == 1 else F.conv2d
            if self.padding == "same":
                input, ends = F.pad(input, reversed_ends(ends)), (0,) * spatial
            groups = self.in_channels
            middle = convolve(input, self.depthwise_weight, None, self.stride, ends, self.dilation, groups)
            y = convolve(middle, self.pointwise_weight, self.bias)
            return y
        y = _separable_conv(input if batched else input.unsqueeze(0), *tensors, self.stride, ends, self.dilation)
        return y if batched else y.squeeze(0)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if self.padding not in ((0,) * self._spatial, "valid"):
            text += f", padding={self.padding}"
        if self.dilation != (1,) * self._spatial:
            text += f", dilation={self.dilation}"
        if self.depth_multiplier != 1:
            text += f", depth_multiplier={self.depth_multiplier}"
        return text + ("" if self.bias is not None else ", bias=False")


class SeparableConv1d(_SeparableConv):
    """`SeparableConv2d` with one spatial axis: x (N, C, L) or (C, L), kernel_size an int or a tuple of one."""

    _spatial = 1


class SeparableConv2d(_SeparableConv):
    """Filter every channel on its own, then mix the channels of every pixel, without storing what lies between.

    Equal to torch.nn.Conv2d(C, C*M, kernel_size, ..., groups=C, bias=False) followed by torch.nn.Conv2d(C*M, O, 1).

    Args:
        in_channels, out_channels: C and O.
        kernel_size, stride, dilation: Of the depthwise part; an int or (height, width).
        padding: Zeros at both ends; an int, (height, width), "valid" (none) or "same" (Keras' rule:
            ceil(size / stride) outputs, the odd pixel at the end).
        depth_multiplier: M, kernels per channel.
        bias: Whether a bias is added per output channel.
    Shapes: x (N, C, H, W) or (C, H, W); y (N, O, P, Q) or (O, P, Q), in x's memory format.
    Parameters: depthwise_weight (C*M, 1, R, S), pointwise_weight (O, C*M, 1, 1), bias (O,).
    Source: Chollet, "Xception", 2017, section 1, https://arxiv.org/abs/1610.02357
    """

    _spatial = 2
