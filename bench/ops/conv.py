"""Dense, grouped and dilated convolution, in one and two dimensions."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from bench.ops.row import Array, Call, OnnxNode, Pass, Row, Shape, normal


@dataclass(frozen=True)
class Weighted(Row):
    """What convolutions have in common: a weight, a bias, and the same step along every spatial axis."""

    weight: Shape
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1

    @property
    def channels(self) -> int:
        """Of y."""
        return self.weight[0]

    @property
    def steps(self) -> dict[str, int]:
        return {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
        }

    def products(self) -> int:
        """Multiply-adds of the forward pass; one output takes one tap of every input channel of its group."""
        return prod(self.y) * prod(self.weight[1:])

    def flops(self, pass_: Pass) -> int:
        # grad_x and grad_weight have as many products each as y.
        return 2 * self.products() * (1 if pass_ == "forward" else 2)

    def bytes(self, pass_: Pass) -> int:
        images, parameters = prod(self.x) + prod(self.y), prod(self.weight) + self.channels
        # Backward: reads grad_y, x and weight, writes grad_x, grad_weight and grad_bias.
        return 4 * (
            images + parameters if pass_ == "forward" else images + prod(self.x) + prod(self.weight) + parameters
        )

    def arrays(self) -> dict[str, Array]:
        rng = np.random.default_rng(zlib.crc32(self.name.encode()))
        scale = (2 * self.products() / prod(self.y)) ** -0.5  # y about as large as x
        weight, bias = normal(rng, self.weight, scale), normal(rng, (self.channels,))
        return {"x": normal(rng, self.x), "weight": weight, "bias": bias, "grad_y": normal(rng, self.y)}

    def _torch_backward(self, torch: Any, a: Mapping[str, Any], transposed: bool, output_padding: int) -> Call:
        backward = torch.ops.aten.convolution_backward
        per_axis = [[step] * self.spatial for step in (self.stride, self.padding, self.dilation)]
        steps = (*per_axis, transposed, [output_padding] * self.spatial, self.groups)
        return lambda: backward(a["grad_y"], a["x"], a["weight"], [self.channels], *steps, [True] * 3)


@dataclass(frozen=True)
class Conv(Weighted):
    @property
    def y(self) -> Shape:
        reach = [self.dilation * (k - 1) + 1 for k in self.weight[2:]]
        size = [(n + 2 * self.padding - r) // self.stride + 1 for n, r in zip(self.x[2:], reach, strict=True)]
        return (self.x[0], self.weight[0], *size)

    def neocog_forward(self, ops: Any, a: Mapping[str, Array], **data_format: str) -> Call:
        conv = getattr(ops, f"conv{self.spatial}d")
        return lambda: conv(a["x"], a["weight"], a["bias"], **self.steps, **data_format)

    def neocog_backward(self, ops: Any, a: Mapping[str, Array], **data_format: str) -> Call:
        backward = getattr(ops, f"conv{self.spatial}d_backward")
        return lambda: backward(a["grad_y"], a["x"], a["weight"], **self.steps, **data_format)

    def torch_forward(self, torch: Any, a: Mapping[str, Any]) -> Call:
        conv = getattr(torch.nn.functional, f"conv{self.spatial}d")
        return lambda: conv(a["x"], a["weight"], a["bias"], **self.steps)

    def torch_backward(self, torch: Any, a: Mapping[str, Any]) -> Call:
        return self._torch_backward(torch, a, False, 0)

    def onnx(self) -> OnnxNode:
        return OnnxNode("Conv", ("x", "weight", "bias"), onnx_steps(self))


class SubnormalConv(Conv):
    """Every other filter has decayed to subnormal numbers, for which processors leave their fast path."""

    def arrays(self) -> dict[str, Array]:
        a = super().arrays()
        a["weight"][::2] *= np.float32(1e-41)
        return a


def onnx_steps(row: Weighted) -> dict[str, Any]:
    axes = row.spatial
    pads, strides, dilations = [row.padding] * 2 * axes, [row.stride] * axes, [row.dilation] * axes
    return {"strides": strides, "pads": pads, "dilations": dilations, "group": row.groups}


ROWS_2D = (
    Conv("conv 3x3 64>64 @56", (8, 64, 56, 56), (64, 64, 3, 3), padding=1),
    Conv("conv 3x3 256>256 @14", (8, 256, 14, 14), (256, 256, 3, 3), padding=1),
    Conv("conv 3x3 stride 2 128>128 @56", (8, 128, 56, 56), (128, 128, 3, 3), stride=2, padding=1),
    Conv("stem 7x7 stride 2 3>64 @224", (8, 3, 224, 224), (64, 3, 7, 7), stride=2, padding=3),
    Conv("pointwise 728>728 @19", (8, 728, 19, 19), (728, 728, 1, 1)),
    Conv("conv 3x3 dilation 4 128>128 @56", (8, 128, 56, 56), (128, 128, 3, 3), padding=4, dilation=4),
    Conv("conv 3x3 32 groups 256>256 @28", (8, 256, 28, 28), (256, 8, 3, 3), padding=1, groups=32),
)
ROWS_1D = (
    Conv("conv1d k80 stride 4 1>128 @16000", (8, 1, 16000), (128, 1, 80), stride=4),
    Conv("conv1d k3 128>128 @4000", (8, 128, 4000), (128, 128, 3), padding=1),
    Conv("conv1d k3 dilation 64 64>64 @16000", (8, 64, 16000), (64, 64, 3), padding=64, dilation=64),
)
