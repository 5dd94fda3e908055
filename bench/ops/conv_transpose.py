"""Transposed convolution, in one and two dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from bench.ops.conv import Weighted, onnx_steps
from bench.ops.row import Array, Call, OnnxNode, Shape


@dataclass(frozen=True)
class ConvTranspose(Weighted):
    """Weight (I, O / groups, ...): one input adds one tap to every output channel of its group."""

    output_padding: int = 0

    @property
    def channels(self) -> int:
        return self.weight[1] * self.groups

    @property
    def steps(self) -> dict[str, int]:
        return {**super().steps, "output_padding": self.output_padding}

    @property
    def y(self) -> Shape:
        extra = self.output_padding + 1 - 2 * self.padding
        size = [
            (n - 1) * self.stride + self.dilation * (k - 1) + extra
            for n, k in zip(self.x[2:], self.weight[2:], strict=True)
        ]
        return (self.x[0], self.channels, *size)

    def products(self) -> int:
        return prod(self.x) * prod(self.weight[1:])

    def neocog_forward(self, ops: Any, a: Mapping[str, Array], **data_format: str) -> Call:
        conv = getattr(ops, f"conv_transpose{self.spatial}d")
        return lambda: conv(a["x"], a["weight"], a["bias"], **self.steps, **data_format)

    def neocog_backward(self, ops: Any, a: Mapping[str, Array], **data_format: str) -> Call:
        backward = getattr(ops, f"conv_transpose{self.spatial}d_backward")
        return lambda: backward(a["grad_y"], a["x"], a["weight"], **self.steps, **data_format)

    def torch_forward(self, torch: Any, a: Mapping[str, Any]) -> Call:
        conv = getattr(torch.nn.functional, f"conv_transpose{self.spatial}d")
        return lambda: conv(a["x"], a["weight"], a["bias"], **self.steps)

    def torch_backward(self, torch: Any, a: Mapping[str, Any]) -> Call:
        return self._torch_backward(torch, a, True, self.output_padding)

    def onnx(self) -> OnnxNode:
        steps = {**onnx_steps(self), "output_padding": [self.output_padding] * self.spatial}
        return OnnxNode("ConvTranspose", ("x", "weight", "bias"), steps)


def _row(name: str, x: Shape, out: int, kernel: int, **steps: Any) -> ConvTranspose:
    return ConvTranspose(name, x, (x[1], out, *[kernel] * (len(x) - 2)), **steps)


ROWS_2D = (
    _row("transpose 2x2 stride 2 128>64 @64", (8, 128, 64, 64), 64, 2, stride=2),
    _row("transpose 3x3 stride 2 128>128 @32", (8, 128, 32, 32), 128, 3, stride=2, padding=1, output_padding=1),
    _row("transpose 4x4 stride 2 64>32 @64", (8, 64, 64, 64), 32, 4, stride=2, padding=1),
    _row("transpose 9x9 stride 4 56>3 @64", (8, 56, 64, 64), 3, 9, stride=4, padding=4, output_padding=3),
)
ROWS_1D = (_row("transpose 1d k4 stride 2 128>64 @4000", (8, 128, 4000), 64, 4, stride=2, padding=1),)
