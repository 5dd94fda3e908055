"""Convolution, batch norm and activation as one layer, in less memory than the three."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from neocog._activations import activation_code
from neocog.nn._support import OPS, ends_of, supported
from neocog.nn.batch_norm import BatchNorm2d, update_statistics, uses_batch
from neocog.nn.conv import Conv2d
from neocog.torch.library.conv_plan import new_conv_plan

_training = OPS.conv_bn_act_training.default
_inference = OPS.conv_bn_act_inference.default

_APART: dict[str | None, Callable[[Tensor], Tensor]] = {
    None: lambda z: z,
    "relu": F.relu,
    "relu6": F.relu6,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "gelu": F.gelu,
    "gelu_tanh": lambda z: F.gelu(z, approximate="tanh"),
    "silu": F.silu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "hardswish": F.hardswish,
}


class ConvBNAct(torch.nn.Module):
    """Conv2d, BatchNorm2d and an activation.

    In training the statistics of the batch are taken while the results of the convolution are cached, and the backward
    pass needs x and the output of the convolution only: the normalised image and the mask of the activation are
    computed again, so a layer keeps one image less than the three do. In evaluation batch norm is folded into the
    convolution, and the activation is applied as its results are stored.

    Where a hook is attached to `conv` or `bn`, where one of them is no longer of this package, or where the kernels do
    not compute the tensors (see `neocog.nn`), the three run one after the other.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode: As in `Conv2d`.
        eps, momentum, affine, track_running_stats: As in `BatchNorm2d`.
        activation: None or a name in `neocog.ops.ACTIVATIONS`.
    Shapes: x (N, C, H, W), y (N, O, P, Q) in x's memory format.
    State: the keys of `conv` and `bn`, as of the two layers.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = False,
        padding_mode: Any = "zeros",
        *,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        activation: str | None = "relu",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        activation_code(activation)
        self.conv = Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            padding_mode,
            device=device,
            dtype=dtype,
        )
        self.bn = BatchNorm2d(out_channels, eps, momentum, affine, track_running_stats, device=device, dtype=dtype)
        self.activation = activation

    def forward(self, input: Tensor) -> Tensor:
        conv, bn = self.conv, self.bn
        y: Tensor
        if not self._fuses(input):
            y = _APART[self.activation](bn(conv(input)))
            return y
        ends = ends_of(conv.padding, input.shape[-2:], conv.kernel_size, conv.stride, conv.dilation)
        window = (conv.stride, ends, conv.dilation, conv.groups, bn.eps, self.activation)
        if not uses_batch(bn):
            statistics = (bn.running_mean, bn.running_var)
            y = _inference(input, conv.weight, conv.bias, *statistics, bn.weight, bn.bias, *window)
            return y
        y, _, mean, var = _training(input, conv.weight, conv.bias, bn.weight, bn.bias, *window)
        update_statistics(bn, mean, var, y.numel() // y.shape[1])
        return y

    def _fuses(self, x: Tensor) -> bool:
        conv, bn = self.conv, self.bn
        if type(conv) is not Conv2d or type(bn) is not BatchNorm2d or _hooked(conv) or _hooked(bn):
            return False
        tensors = (conv.weight, conv.bias, bn.weight, bn.bias, bn.running_mean, bn.running_var)
        if x.dim() != 4 or conv.padding_mode != "zeros" or not supported(x, *tensors):
            return False
        # One value per channel has no variance to learn from: torch says so.
        return not uses_batch(bn) or x.shape[0] * _pixels(conv, x) > 1

    def extra_repr(self) -> str:
        return f"activation={self.activation!r}"


def _pixels(conv: Conv2d, x: Tensor) -> Any:
    """Of one image that the convolution gives."""
    ends = ends_of(conv.padding, x.shape[-2:], conv.kernel_size, conv.stride, conv.dilation)
    height, width = new_conv_plan(x.shape, conv.weight.shape, conv.stride, ends, conv.dilation, conv.groups).size
    return height * width


def _hooked(layer: torch.nn.Module) -> bool:
    return bool(layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks)
