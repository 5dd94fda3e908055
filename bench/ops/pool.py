"""Pooling: maximum, average, and the average of a whole plane."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from bench.ops.row import Array, Call, OnnxNode, Pass, Row, Shape


@dataclass(frozen=True)
class Pool(Row):
    """Memory alone counts here; additions and comparisons are not operations of the table."""

    def flops(self, pass_: Pass) -> int:
        return 0

    def bytes(self, pass_: Pass) -> int:
        return 4 * (prod(self.x) + prod(self.y))


@dataclass(frozen=True)
class WindowPool(Pool):
    kernel: int
    stride: int
    padding: int = 0

    @property
    def window(self) -> tuple[int, int, int]:
        return self.kernel, self.stride, self.padding

    @property
    def y(self) -> Shape:
        return (*self.x[:2], *[(n + 2 * self.padding - self.kernel) // self.stride + 1 for n in self.x[2:]])

    @abstractmethod
    def onnx(self) -> OnnxNode: ...

    def _onnx(self, op: str) -> OnnxNode:
        kernel, strides, pads = [self.kernel] * 2, [self.stride] * 2, [self.padding] * 4
        return OnnxNode(op, ("x",), {"kernel_shape": kernel, "strides": strides, "pads": pads})


class MaxPool(WindowPool):
    def bytes(self, pass_: Pass) -> int:
        # Only the backward pass must know where the maxima were: one int64 each.
        return super().bytes(pass_) + (8 * prod(self.y) if pass_ == "backward" else 0)

    def neocog_forward(self, ops: Any, a: Mapping[str, Array], **data_format: str) -> Call:
        pool = ops.max_pool2d
        return lambda: pool(a["x"], *self.window, **data_format)

    def neocog_backward(self, ops: Any, a: Mapping[str, Array], **data_format: str) -> Call:
        backward = ops.max_pool2d_backward
        _, indices = ops.max_pool2d(a["x"], *self.window, return_indices=True, **data_format)
        return lambda: (backward(a["grad_y"], indices, self.x[2:], **data_format),)

    def torch_forward(self, torch: Any, a: Mapping[str, Any]) -> Call:
        pool = torch.nn.functional.max_pool2d
        return lambda: pool(a["x"], *self.window)

    def torch_backward(self, torch: Any, a: Mapping[str, Any]) -> Call:
        backward = torch.ops.aten.max_pool2d_with_indices_backward
        kernel, stride, padding = ([size] * 2 for size in self.window)
        _, indices = torch.ops.aten.max_pool2d_with_indices(a["x"], kernel, stride, padding)
        return lambda: (backward(a["grad_y"], a["x"], kernel, stride, padding, [1, 1], False, indices),)

    def onnx(self) -> OnnxNode:
        return self._onnx("MaxPool")


class AvgPool(WindowPool):
    def neocog_forward(self, ops: Any, a: Mapping[str, Array], **data_format: str) -> Call:
        pool = ops.avg_pool2d
        return lambda: pool(a["x"], *self.window, **data_format)

    def neocog_backward(self, ops: Any, a: Mapping[str, Array], **data_format: str) -> Call:
        backward = ops.avg_pool2d_backward
        return lambda: (backward(a["grad_y"], self.x[2:], *self.window, **data_format),)

    def torch_forward(self, torch: Any, a: Mapping[str, Any]) -> Call:
        pool = torch.nn.functional.avg_pool2d
        return lambda: pool(a["x"], *self.window)

    def torch_backward(self, torch: Any, a: Mapping[str, Any]) -> Call:
        backward = torch.ops.aten.avg_pool2d_backward
        window = [[size] * 2 for size in self.window]
        return lambda: (backward(a["grad_y"], a["x"], *window, False, True, None),)

    def onnx(self) -> OnnxNode:
        return self._onnx("AveragePool")


class GlobalAvgPool(Pool):
    @property
    def y(self) -> Shape:
        return (*self.x[:2], 1, 1)

    def neocog_forward(self, ops: Any, a: Mapping[str, Array], **data_format: str) -> Call:
        pool = ops.global_avg_pool2d
        return lambda: pool(a["x"], **data_format)

    def neocog_backward(self, ops: Any, a: Mapping[str, Array], **data_format: str) -> Call:
        backward = ops.global_avg_pool2d_backward
        return lambda: (backward(a["grad_y"], self.x[2:], **data_format),)

    def torch_forward(self, torch: Any, a: Mapping[str, Any]) -> Call:
        pool = torch.nn.functional.adaptive_avg_pool2d
        return lambda: pool(a["x"], 1)

    def torch_backward(self, torch: Any, a: Mapping[str, Any]) -> Call:
        # For an output of 1 x 1, torch takes the mean; this is what its autograd then does.
        grad_y, pixels = a["grad_y"], prod(self.x[2:])
        return lambda: (grad_y.expand(self.x) / pixels,)

    def onnx(self) -> OnnxNode:
        return OnnxNode("GlobalAveragePool", ("x",))


ROWS = (
    MaxPool("max pool 3x3 stride 2 64 @112", (8, 64, 112, 112), kernel=3, stride=2, padding=1),
    AvgPool("average pool 2x2 128 @56", (8, 128, 56, 56), kernel=2, stride=2),
    GlobalAvgPool("global average 2048 @10", (8, 2048, 10, 10)),
)
