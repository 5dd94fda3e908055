"""aten's poolings of images and their gradients."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from neocog.ops._pool_windows import windows
from neocog.torch.kernels.tensors import FORMATS, Ints, Unsupported, check_dtypes, core, layout_of, pair_of


def max_pool2d_with_indices(
    x: Tensor,
    kernel_size: Ints,
    stride: Ints = (),
    padding: Ints = (0,),
    dilation: Ints = (1,),
    ceil_mode: bool = False,
) -> tuple[Tensor, Tensor]:
    """aten::max_pool2d_with_indices."""
    x, last, batched = _pooled(x)
    w = _windows(x, kernel_size, stride, padding, dilation, ceil_mode)
    y, indices = core.max_pool_forward(x, w.out, w.kernel, w.stride, w.padding, w.dilation, True, last)
    return (y, indices) if batched else (y[0], indices[0])


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
    x, last, batched = _pooled(x)
    y, indices = core.adaptive_max_pool_forward(x, pair_of(output_size, x, 1), True, last)
    return (y, indices) if batched else (y[0], indices[0])


def adaptive_max_pool2d_backward(grad_y: Tensor, x: Tensor, indices: Tensor) -> Tensor:
    """aten::adaptive_max_pool2d_backward."""
    check_dtypes(x, grad_y)
    batched = x.dim() == 4
    if indices.shape != grad_y.shape or grad_y.dim() != x.dim() or grad_y.shape[:-2] != x.shape[:-2]:
        raise Unsupported("shapes that do not agree")
    if not batched:
        x, grad_y, indices = x[None], grad_y[None], indices[None]
    last = layout_of(x) % 2 == 1
    grad_y, indices = (tensor.contiguous(memory_format=FORMATS[last]) for tensor in (grad_y, indices))
    try:
        grad_x: Tensor = core.max_pool_backward(grad_y, indices, tuple(x.shape[2:]), last)
    except ValueError as error:
        raise Unsupported(str(error)) from None
    return grad_x if batched else grad_x[0]


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
    x, last, batched = _pooled(x)
    w = _windows(x, kernel_size, stride, padding, (1,), ceil_mode)
    if divisor_override == 0:
        raise Unsupported("divisor 0")
    y: Tensor = core.avg_pool_forward(
        x, w.out, w.kernel, w.stride, w.padding, count_include_pad, divisor_override, last
    )
    return y if batched else y[0]


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
    x, grad_y, last, batched = _pooled_with_grad(x, grad_y)
    w = _windows(x, kernel_size, stride, padding, (1,), ceil_mode)
    if divisor_override == 0 or tuple(grad_y.shape[2:]) != w.out:
        raise Unsupported("a divisor or a gradient that torch refuses")
    grad_x: Tensor = core.avg_pool_backward(
        grad_y,
        tuple(x.shape[2:]),
        w.kernel,
        w.stride,
        w.padding,
        count_include_pad,
        divisor_override,
        last,
    )
    return grad_x if batched else grad_x[0]


def adaptive_avg_pool2d(x: Tensor, output_size: Ints) -> Tensor:
    """aten::_adaptive_avg_pool2d."""
    x, last, batched = _pooled(x)
    y: Tensor = core.adaptive_avg_pool_forward(x, pair_of(output_size, x, 1), last)
    return y if batched else y[0]


def adaptive_avg_pool2d_backward(grad_y: Tensor, x: Tensor) -> Tensor:
    """aten::_adaptive_avg_pool2d_backward."""
    x, grad_y, last, batched = _pooled_with_grad(x, grad_y)
    grad_x: Tensor = core.adaptive_avg_pool_backward(grad_y, tuple(x.shape[2:]), last)
    return grad_x if batched else grad_x[0]


def _pooled(x: Tensor) -> tuple[Tensor, bool, bool]:
    """(N, C, H, W) images, whether channels come last, and whether there was a batch axis."""
    check_dtypes(x)
    batched = x.dim() == 4
    if not batched:
        if x.dim() != 3:
            raise Unsupported(f"{x.dim()} axes")
        x = x.contiguous()[None]
    if x.numel() == 0:
        raise Unsupported("an empty tensor")
    layout = layout_of(x)
    last = layout % 2 == 1
    return (x.contiguous(memory_format=FORMATS[last]) if layout > 1 else x), last, batched


def _pooled_with_grad(x: Tensor, grad_y: Tensor) -> tuple[Tensor, Tensor, bool, bool]:
    check_dtypes(x, grad_y)
    if grad_y.dim() != x.dim() or grad_y.shape[:-2] != x.shape[:-2] or x.dim() < 3:
        raise Unsupported("shapes that do not agree")
    batched = x.dim() == 4
    x, last, _ = _pooled(x)
    grad_y = (grad_y if batched else grad_y[None]).contiguous(memory_format=FORMATS[last])
    return x, grad_y, last, batched


def _windows(x: Tensor, kernel_size: Ints, stride: Ints, padding: Ints, dilation: Ints, ceil_mode: bool) -> Any:
    kernel = pair_of(kernel_size, x, 1)
    steps = pair_of(stride, x, 1) if stride else kernel
    try:
        return windows(
            tuple(x.shape[2:]),  # type: ignore[arg-type]
            kernel,
            steps,
            pair_of(padding, x, 0),
            pair_of(dilation, x, 1),
            ceil_mode,
            2,
        )
    except ValueError as error:
        raise Unsupported(str(error)) from None
