"""aten's poolings of images and their gradients."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from neocog.torch.kernels.tensors import Unsupported, refusal
from neocog.torch.library.convolutions import has_last
from neocog.torch.library.images import Ints
from neocog.torch.library.pool import (
    adaptive_avg_pool_backward_kernel,
    adaptive_avg_pool_kernel,
    adaptive_max_pool_kernel,
    avg_pool_backward_kernel,
    avg_pool_kernel,
    max_pool_backward_kernel,
    max_pool_kernel,
)


def max_pool2d_with_indices(
    x: Tensor,
    kernel_size: Ints,
    stride: Ints = (),
    padding: Ints = (0,),
    dilation: Ints = (1,),
    ceil_mode: bool = False,
) -> tuple[Tensor, Tensor]:
    """aten::max_pool2d_with_indices."""
    _check_padding(padding)
    return _maxima(max_pool_kernel, x, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool2d_with_indices_backward(
    grad_y: Tensor,
    x: Tensor,
    kernel_size: Ints,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    ceil_mode: bool,
    indices: Tensor,
) -> Tensor:
    """aten::max_pool2d_with_indices_backward; the indices say it all."""
    return adaptive_max_pool2d_backward(grad_y, x, indices)


def adaptive_max_pool2d(x: Tensor, output_size: Ints) -> tuple[Tensor, Tensor]:
    """aten::adaptive_max_pool2d."""
    return _maxima(adaptive_max_pool_kernel, x, output_size)


def adaptive_max_pool2d_backward(grad_y: Tensor, x: Tensor, indices: Tensor) -> Tensor:
    """aten::adaptive_max_pool2d_backward."""
    return _gradient(max_pool_backward_kernel, grad_y, x, indices)


def avg_pool2d(
    x: Tensor,
    kernel_size: Ints,
    stride: Ints = (),
    padding: Ints = (0,),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """aten::avg_pool2d."""
    _check_padding(padding)
    return _average(avg_pool_kernel, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def avg_pool2d_backward(
    grad_y: Tensor,
    x: Tensor,
    kernel_size: Ints,
    stride: Ints,
    padding: Ints,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    """aten::avg_pool2d_backward."""
    _check_padding(padding)
    numbers = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return _gradient(avg_pool_backward_kernel, grad_y, x, None, *numbers)


def adaptive_avg_pool2d(x: Tensor, output_size: Ints) -> Tensor:
    """aten::_adaptive_avg_pool2d."""
    return _average(adaptive_avg_pool_kernel, x, output_size)


def adaptive_avg_pool2d_backward(grad_y: Tensor, x: Tensor) -> Tensor:
    """aten::_adaptive_avg_pool2d_backward."""
    return _gradient(adaptive_avg_pool_backward_kernel, grad_y, x, None)


def _maxima(kernel: Any, x: Tensor, *numbers: Any) -> tuple[Tensor, Tensor]:
    images = _batch(x)
    try:
        found: tuple[Tensor, Tensor] = kernel(images, *numbers)
    except (TypeError, ValueError) as error:
        raise refusal(error, images) from None
    return found if images is x else (found[0][0], found[1][0])


def _average(kernel: Any, x: Tensor, *numbers: Any) -> Tensor:
    images = _batch(x)
    try:
        y: Tensor = kernel(images, *numbers)
    except (TypeError, ValueError) as error:
        raise refusal(error, images) from None
    return y if images is x else y[0]


def _gradient(kernel: Any, grad_y: Tensor, x: Tensor, indices: Tensor | None, *numbers: Any) -> Tensor:
    images = _batch(x)
    if grad_y.dtype is not x.dtype or grad_y.dim() != x.dim() or grad_y.shape[:-2] != x.shape[:-2]:
        raise refusal(ValueError(), images, grad_y)
    tensors: Any = (grad_y,) if indices is None else (grad_y, indices)
    if images is not x:
        tensors = (tensor[None] for tensor in tensors)
    try:
        grad_x: Tensor = kernel(*tensors, images.shape[2:], *numbers, has_last(images))
    except (TypeError, ValueError) as error:
        raise refusal(error, images, grad_y) from None
    return grad_x if images is x else grad_x[0]


def _batch(x: Tensor) -> Tensor:
    """(N, C, H, W) images; one of its own has no memory format in torch."""
    if x.numel() == 0:
        raise Unsupported("an empty tensor")
    if x.dim() == 4:
        return x
    if x.dim() != 3:
        raise Unsupported(f"{x.dim()} axes")
    return x.contiguous()[None]


def _check_padding(padding: Ints) -> None:
    # Both ends of every axis are for neocog's operators; torch has an error for them.
    if len(padding) > 2:
        raise Unsupported("more paddings than spatial axes")
