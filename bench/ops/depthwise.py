"""Depthwise convolution: a kernel per channel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.ops.conv import Conv
from bench.ops.row import Array, Call


class Depthwise(Conv):
    """A convolution with as many groups as channels; x alone says how many."""

    @property
    def _steps(self) -> dict[str, int]:
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}

    def neocog_forward(self, ops: Any, a: Mapping[str, Array], **data_format: str) -> Call:
        conv = ops.depthwise_conv2d
        return lambda: conv(a["x"], a["weight"], a["bias"], **self._steps, **data_format)

    def neocog_backward(self, ops: Any, a: Mapping[str, Array], **data_format: str) -> Call:
        backward = ops.depthwise_conv2d_backward
        return lambda: backward(a["grad_y"], a["x"], a["weight"], **self._steps, **data_format)


def _row(name: str, channels: int, size: int, kernel: int, stride: int = 1) -> Depthwise:
    x, weight = (8, channels, size, size), (channels, 1, kernel, kernel)
    return Depthwise(name, x, weight, stride=stride, padding=kernel // 2, groups=channels)


ROWS = (
    _row("depthwise 3x3 128 @147", 128, 147, 3),
    _row("depthwise 3x3 728 @19", 728, 19, 3),
    _row("depthwise 5x5 stride 2 96 @56", 96, 56, 5, stride=2),
    _row("depthwise 7x7 96 @56", 96, 56, 7),
)
