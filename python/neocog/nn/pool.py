"""The poolings of torch.nn in one and two dimensions, with "same" (Keras' rule) for the sliding ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from neocog.nn._support import OPS, ends_of, supported, values

_max_pool = OPS.max_pool.default
_avg_pool = OPS.avg_pool.default
_adaptive_max_pool = OPS.adaptive_max_pool.default
_adaptive_avg_pool = OPS.adaptive_avg_pool.default


class MaxPool1d(torch.nn.MaxPool1d):
    """torch.nn.MaxPool1d on neocog's kernels; `padding` may be "same": ceil(size / stride) outputs."""

    def forward(self, input: Tensor) -> Any:
        return _max(self, input, 1) if _runs_here(self, input, 1) else super().forward(input)


class MaxPool2d(torch.nn.MaxPool2d):
    """torch.nn.MaxPool2d on neocog's kernels; `padding` may be "same": ceil(size / stride) outputs."""

    def forward(self, input: Tensor) -> Any:
        return _max(self, input, 2) if _runs_here(self, input, 2) else super().forward(input)


class AvgPool1d(torch.nn.AvgPool1d):
    """torch.nn.AvgPool1d on neocog's kernels; `padding` may be "same": ceil(size / stride) outputs."""

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        word = isinstance(padding, str)
        super().__init__(kernel_size, stride, 0 if word else padding, ceil_mode, count_include_pad)
        if word:
            self.padding = padding

    def forward(self, input: Tensor) -> Tensor:
        return _avg(self, input, 1) if _runs_here(self, input, 1) else super().forward(input)


class AvgPool2d(torch.nn.AvgPool2d):
    """torch.nn.AvgPool2d on neocog's kernels; `padding` may be "same": ceil(size / stride) outputs."""

    def forward(self, input: Tensor) -> Tensor:
        return _avg(self, input, 2) if _runs_here(self, input, 2) else super().forward(input)


class AdaptiveMaxPool1d(torch.nn.AdaptiveMaxPool1d):
    """torch.nn.AdaptiveMaxPool1d on neocog's kernels."""

    def forward(self, input: Tensor) -> Any:
        size = _output_size(self, input, 1)
        return super().forward(input) if size is None else _adaptive_max(self, input, size)


class AdaptiveMaxPool2d(torch.nn.AdaptiveMaxPool2d):
    """torch.nn.AdaptiveMaxPool2d on neocog's kernels."""

    def forward(self, input: Tensor) -> Any:
        size = _output_size(self, input, 2)
        return super().forward(input) if size is None else _adaptive_max(self, input, size)


class AdaptiveAvgPool1d(torch.nn.AdaptiveAvgPool1d):
    """torch.nn.AdaptiveAvgPool1d on neocog's kernels."""

    def forward(self, input: Tensor) -> Tensor:
        size = _output_size(self, input, 1)
        return super().forward(input) if size is None else _adaptive_avg(input, size)


class AdaptiveAvgPool2d(torch.nn.AdaptiveAvgPool2d):
    """torch.nn.AdaptiveAvgPool2d on neocog's kernels."""

    def forward(self, input: Tensor) -> Tensor:
        size = _output_size(self, input, 2)
        return super().forward(input) if size is None else _adaptive_avg(input, size)


def _runs_here(layer: Any, x: Tensor, spatial: int) -> bool:
    # torch has no "same" to fall back to: the operator says what it needs.
    return isinstance(layer.padding, str) or (spatial + 1 <= x.dim() <= spatial + 2 and supported(x))


def _batch(x: Tensor, spatial: int) -> Tensor:
    # An image on its own has no memory format in torch: its result is contiguous.
    return x if x.dim() == spatial + 2 else x.contiguous().unsqueeze(0)


def _ends(layer: Any, x: Tensor, spatial: int, dilation: Any) -> Sequence[int]:
    if isinstance(layer.padding, str):
        return ends_of(layer.padding, x.shape[-spatial:], layer.kernel_size, layer.stride, dilation)
    return values(layer.padding)


def _max(layer: Any, x: Tensor, spatial: int) -> Any:
    padding = _ends(layer, x, spatial, layer.dilation)
    y, indices = _max_pool(
        _batch(x, spatial),
        values(layer.kernel_size),
        values(layer.stride),
        padding,
        values(layer.dilation),
        layer.ceil_mode,
    )
    return _maxima(layer, x, y, indices)


def _maxima(layer: Any, x: Tensor, y: Tensor, indices: Tensor) -> Any:
    if y.dim() != x.dim():
        y, indices = y.squeeze(0), indices.squeeze(0)
    return (y, indices) if layer.return_indices else y


def _avg(layer: Any, x: Tensor, spatial: int) -> Tensor:
    padding = _ends(layer, x, spatial, 1)
    y: Tensor = _avg_pool(
        _batch(x, spatial),
        values(layer.kernel_size),
        values(layer.stride),
        padding,
        layer.ceil_mode,
        layer.count_include_pad,
        getattr(layer, "divisor_override", None),
    )
    return y if y.dim() == x.dim() else y.squeeze(0)


def _output_size(layer: Any, x: Tensor, spatial: int) -> list[int] | None:
    """One size per axis; None where torch is to compute this, or to say what is wrong."""
    if not (spatial + 1 <= x.dim() <= spatial + 2 and supported(x)):
        return None
    sizes = values(layer.output_size)
    if len(sizes) == 1:
        sizes *= spatial
    if len(sizes) != spatial:
        return None
    found = [pixels if size is None else size for size, pixels in zip(sizes, x.shape[-spatial:], strict=True)]
    return found if min(found) > 0 else None


def _adaptive_max(layer: Any, x: Tensor, size: list[int]) -> Any:
    y, indices = _adaptive_max_pool(_batch(x, len(size)), size)
    return _maxima(layer, x, y, indices)


def _adaptive_avg(x: Tensor, size: list[int]) -> Tensor:
    y: Tensor = _adaptive_avg_pool(_batch(x, len(size)), size)
    return y if y.dim() == x.dim() else y.squeeze(0)
