"""aten's operators on our kernels: tensors in, tensors out, nothing copied that is dense.

Each function has the signature of its aten operator and returns what that returns, in shape, strides and memory
format. What our kernels do not compute raises `Unsupported` before any work; wrong arguments too, so that torch itself
can say what is wrong with them. Called below autograd: nothing here records a gradient.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from neocog import _core as _typed_core
from neocog.ops._pool_windows import windows
from neocog.ops.resample import CODES as RESAMPLE_MODES

_core: Any = _typed_core  # its stub speaks of NumPy arrays
_DTYPES = (torch.float32, torch.float64)
_FORMATS = (torch.contiguous_format, torch.channels_last)
_NEAREST, _LINEAR = RESAMPLE_MODES["nearest"], RESAMPLE_MODES["linear"]

Ints = Sequence[int]


class Unsupported(Exception):
    """Our kernels do not compute this; the message is the reason."""


def convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    transposed: bool,
    output_padding: Ints,
    groups: int,
) -> Tensor:
    """aten::convolution in one or two dimensions; transposed too."""
    if not transposed and len(padding) == len(stride) == len(dilation) == 2 and padding[0] >= 0 <= padding[1]:
        try:  # what is dense and right takes this way; what is not has time for the other
            return _core.conv_forward(  # type: ignore[no-any-return]
                x, weight, bias, None, stride, padding, dilation, groups, 0, 0.0, None
            )
        except ValueError:
            pass
    x, weight, last = _convolution_images(x, weight)
    if bias is not None and not bias.is_contiguous():
        bias = bias.contiguous()
    steps, gaps = _pair(stride, x, 1), _pair(dilation, x, 1)
    pads, size = _geometry(x, weight, steps, padding, gaps, transposed, output_padding, groups)
    try:
        if transposed:
            y = _core.conv_transpose_forward(x, weight, bias, size, steps, pads, gaps, groups, 0, 0.0, last)
        else:
            y = _core.conv_forward(x, weight, bias, None, steps, pads, gaps, groups, 0, 0.0, last)
    except ValueError as error:
        raise Unsupported(str(error)) from None
    return y  # type: ignore[no-any-return]


def convolution_backward(
    grad_y: Tensor,
    x: Tensor,
    weight: Tensor,
    bias_sizes: Ints | None,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    transposed: bool,
    output_padding: Ints,
    groups: int,
    output_mask: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """aten::convolution_backward in one or two dimensions."""
    weight_last = weight.dim() == 4 and _layout(weight) % 2 == 1
    x, weight, last = _convolution_images(x, weight)
    if grad_y.dtype is not x.dtype:
        raise Unsupported(f"dtypes {_name(grad_y.dtype)} and {_name(x.dtype)} together")
    grad_y = grad_y.contiguous(memory_format=_FORMATS[last])
    steps, gaps = _pair(stride, x, 1), _pair(dilation, x, 1)
    pads, size = _geometry(x, weight, steps, padding, gaps, transposed, output_padding, groups)
    if tuple(grad_y.shape[2:]) != (size if x.dim() == 4 else size[1:]):
        raise Unsupported("grad_output has another size than y")
    in_size = tuple(x.shape[2:]) if x.dim() == 4 else (1, x.shape[2])
    kernel = tuple(weight.shape[2:]) if x.dim() == 4 else (1, weight.shape[2])
    grad_x = grad_weight = grad_bias = None
    try:
        if output_mask[0]:
            if transposed:
                grad_x = _core.conv_forward(grad_y, weight, None, None, steps, pads, gaps, groups, 0, 0.0, last)
            else:
                grad_x = _core.conv_backward_x(grad_y, weight, in_size, steps, pads, gaps, groups, last)
        if output_mask[1]:
            source, sink = (grad_y, x) if transposed else (x, grad_y)
            grad_weight = _core.conv_backward_weight(source, sink, kernel, steps, pads, gaps, groups, last)
            if last:
                grad_weight = _channels_last_weight(grad_weight, weight_last)
        if output_mask[2]:
            grad_bias = _core.conv_backward_bias(grad_y, last)
    except ValueError as error:
        raise Unsupported(str(error)) from None
    return grad_x, grad_weight, grad_bias


def native_batch_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """aten::native_batch_norm; updates the running statistics in training."""
    if not training and running_mean is not None and running_var is not None:
        try:  # what is dense and right takes this way; what is not has time for the other
            y = _core.batch_norm_inference(x, running_mean, running_var, weight, bias, eps, 0, 0.0, None)
            return y, x.new_empty(0), x.new_empty(0)
        except ValueError:
            pass
    _check_dtypes(x, weight, bias, running_mean, running_var)
    x, last = _values(x)
    try:
        if not training:
            if running_mean is None or running_var is None:
                raise Unsupported("no running statistics")
            y = _core.batch_norm_inference(x, running_mean, running_var, weight, bias, eps, 0, 0.0, last)
            return y, x.new_empty(0), x.new_empty(0)
        count = x.numel() // max(1, x.shape[1])
        if count < 2:
            raise Unsupported("one value per channel")
        y, mean, var = _core.batch_norm_training(x, weight, bias, eps, 0, 0.0, last)
    except ValueError as error:
        raise Unsupported(str(error)) from None
    if running_mean is not None:
        running_mean.mul_(1 - momentum).add_(mean, alpha=momentum)
    if running_var is not None:
        running_var.mul_(1 - momentum).add_(var, alpha=momentum * count / (count - 1))
    return y, mean, var.add_(eps).rsqrt_()


def native_batch_norm_backward(
    grad_y: Tensor,
    x: Tensor,
    weight: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    save_mean: Tensor | None,
    save_invstd: Tensor | None,
    train: bool,
    eps: float,
    output_mask: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """aten::native_batch_norm_backward."""
    mean, var = running_mean, running_var
    if train:
        if save_mean is None or save_invstd is None:
            raise Unsupported("no saved statistics")
        mean, var, eps = save_mean, save_invstd.pow(-2), 0.0
    if mean is None or var is None:
        raise Unsupported("no running statistics")
    _check_dtypes(x, weight, mean, var, grad_y)
    x, last = _values(x)
    grad_y = grad_y.contiguous(memory_format=_FORMATS[last])
    try:
        return _core.batch_norm_backward(  # type: ignore[no-any-return]
            grad_y, x, mean, var, weight, eps, train, tuple(output_mask), last
        )
    except ValueError as error:
        raise Unsupported(str(error)) from None


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
    y, indices = _core.max_pool_forward(x, w.out, w.kernel, w.stride, w.padding, w.dilation, True, last)
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
    y, indices = _core.adaptive_max_pool_forward(x, _pair(output_size, x, 1), True, last)
    return (y, indices) if batched else (y[0], indices[0])


def adaptive_max_pool2d_backward(grad_y: Tensor, x: Tensor, indices: Tensor) -> Tensor:
    """aten::adaptive_max_pool2d_backward."""
    _check_dtypes(x, grad_y)
    batched = x.dim() == 4
    if indices.shape != grad_y.shape or grad_y.dim() != x.dim() or grad_y.shape[:-2] != x.shape[:-2]:
        raise Unsupported("shapes that do not agree")
    if not batched:
        x, grad_y, indices = x[None], grad_y[None], indices[None]
    last = _layout(x) % 2 == 1
    grad_y, indices = (tensor.contiguous(memory_format=_FORMATS[last]) for tensor in (grad_y, indices))
    try:
        grad_x: Tensor = _core.max_pool_backward(grad_y, indices, tuple(x.shape[2:]), last)
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
    y: Tensor = _core.avg_pool_forward(
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
    grad_x: Tensor = _core.avg_pool_backward(
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
    y: Tensor = _core.adaptive_avg_pool_forward(x, _pair(output_size, x, 1), last)
    return y if batched else y[0]


def adaptive_avg_pool2d_backward(grad_y: Tensor, x: Tensor) -> Tensor:
    """aten::_adaptive_avg_pool2d_backward."""
    x, grad_y, last, batched = _pooled_with_grad(x, grad_y)
    grad_x: Tensor = _core.adaptive_avg_pool_backward(grad_y, tuple(x.shape[2:]), last)
    return grad_x if batched else grad_x[0]


def upsample_nearest2d(
    x: Tensor, output_size: Ints, scales_h: float | None = None, scales_w: float | None = None
) -> Tensor:
    """aten::upsample_nearest2d."""
    return _resample(x, output_size, (scales_h, scales_w), _NEAREST, False)


def upsample_bilinear2d(
    x: Tensor, output_size: Ints, align_corners: bool, scales_h: float | None = None, scales_w: float | None = None
) -> Tensor:
    """aten::upsample_bilinear2d."""
    return _resample(x, output_size, (scales_h, scales_w), _LINEAR, align_corners)


def upsample_nearest1d(x: Tensor, output_size: Ints, scales: float | None = None) -> Tensor:
    """aten::upsample_nearest1d."""
    return _resample(x, output_size, (scales,), _NEAREST, False)


def upsample_linear1d(x: Tensor, output_size: Ints, align_corners: bool, scales: float | None = None) -> Tensor:
    """aten::upsample_linear1d."""
    return _resample(x, output_size, (scales,), _LINEAR, align_corners)


def upsample_nearest2d_backward(
    grad_y: Tensor,
    output_size: Ints,
    input_size: Ints,
    scales_h: float | None = None,
    scales_w: float | None = None,
) -> Tensor:
    """aten::upsample_nearest2d_backward."""
    return _resample_backward(grad_y, output_size, input_size, (scales_h, scales_w), _NEAREST, False)


def upsample_bilinear2d_backward(
    grad_y: Tensor,
    output_size: Ints,
    input_size: Ints,
    align_corners: bool,
    scales_h: float | None = None,
    scales_w: float | None = None,
) -> Tensor:
    """aten::upsample_bilinear2d_backward."""
    return _resample_backward(grad_y, output_size, input_size, (scales_h, scales_w), _LINEAR, align_corners)


def upsample_nearest1d_backward(
    grad_y: Tensor, output_size: Ints, input_size: Ints, scales: float | None = None
) -> Tensor:
    """aten::upsample_nearest1d_backward."""
    return _resample_backward(grad_y, output_size, input_size, (scales,), _NEAREST, False)


def upsample_linear1d_backward(
    grad_y: Tensor, output_size: Ints, input_size: Ints, align_corners: bool, scales: float | None = None
) -> Tensor:
    """aten::upsample_linear1d_backward."""
    return _resample_backward(grad_y, output_size, input_size, (scales,), _LINEAR, align_corners)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _check_dtypes(x: Tensor, *others: Tensor | None) -> None:
    dtype = x.dtype
    if dtype not in _DTYPES:
        raise Unsupported(f"dtype {_name(dtype)}")
    for other in others:
        if other is not None and other.dtype is not dtype:
            raise Unsupported(f"dtypes {_name(dtype)} and {_name(other.dtype)} together")


def _layout(x: Tensor) -> int:
    return _core.memory_layout(x)  # type: ignore[no-any-return]


def _pair(values: Any, x: Tensor, neutral: int) -> tuple[int, int]:
    """aten's list of one or two, as (height, width)."""
    if isinstance(values, int):
        values = (values,)
    if x.dim() == 3 and len(values) == 1:
        return neutral, values[0]
    if len(values) not in (1, 2):
        raise Unsupported(f"{len(values)} values for two axes")
    return values[0], values[-1]


def _convolution_images(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, bool]:
    """x dense in the layout that torch computes in, the weight contiguous, and whether channels come last."""
    dim, dtype = x.dim(), x.dtype
    if dtype not in _DTYPES or weight.dtype is not dtype:
        _check_dtypes(x, weight)
    if dim not in (3, 4) or weight.dim() != dim:
        raise Unsupported(f"{dim - 2} spatial axes")
    layout, of_weight = _layout(x), _layout(weight)
    last = dim == 4 and (layout % 2 == 1 or of_weight % 2 == 1)
    if layout != int(last):
        x = x.contiguous(memory_format=_FORMATS[last])
    if of_weight:
        weight = weight.contiguous()
    return x, weight, last


def _channels_last_weight(grad: Tensor, like_weight: bool) -> Tensor:
    """As torch gives it: float32, or like the weight, with the format's strides even where others hold too."""
    grad = grad.contiguous(memory_format=torch.channels_last)
    if like_weight or grad.dtype is torch.float32:
        _, channels, height, width = grad.shape
        grad = grad.as_strided(grad.shape, (channels * height * width, 1, width * channels, channels))
    return grad


def _geometry(
    x: Tensor,
    weight: Tensor,
    steps: Ints,
    padding: Ints,
    gaps: Ints,
    transposed: bool,
    output_padding: Ints,
    groups: int,
) -> tuple[tuple[int, int, int, int], tuple[int, int]]:
    """Padding at both ends of both axes, and y's (height, width); what torch refuses is Unsupported."""
    low, kernel = _pair(padding, x, 0), weight.shape[-2:] if x.dim() == 4 else (1, weight.shape[2])
    size = x.shape[-2:] if x.dim() == 4 else (1, x.shape[2])
    if min(low) < 0 or min(steps) < 1 or min(gaps) < 1 or groups < 1 or 0 in x.shape or 0 in weight.shape:
        raise Unsupported("an empty tensor or an argument that torch refuses")
    reach = [gaps[i] * (kernel[i] - 1) + 1 for i in (0, 1)]
    if not transposed:
        out = [(size[i] + 2 * low[i] - reach[i]) // steps[i] + 1 for i in (0, 1)]
        if min(out) < 1:
            raise Unsupported("a kernel larger than the padded image")
        return (low[0], low[0], low[1], low[1]), (out[0], out[1])
    added = _pair(output_padding, x, 0)
    full = [(size[i] - 1) * steps[i] + reach[i] for i in (0, 1)]
    out = [full[i] - 2 * low[i] + added[i] for i in (0, 1)]
    # Negative where output padding exceeds the padding: the convolution back to x has just x's size.
    high = [low[i] - added[i] for i in (0, 1)]
    if min(out) < 1 or any(added[i] < 0 or (added[i] and added[i] >= max(steps[i], gaps[i])) for i in (0, 1)):
        raise Unsupported("an output padding or a size that torch refuses")
    return (low[0], high[0], low[1], high[1]), (out[0], out[1])


def _values(x: Tensor) -> tuple[Tensor, bool]:
    """x of any rank, dense in one of the two layouts."""
    layout = _layout(x)
    if x.dim() > 4 and layout:
        raise Unsupported("a strided tensor of more than four axes")
    if x.numel() == 0:
        raise Unsupported("an empty tensor")
    last = layout % 2 == 1
    return (x.contiguous(memory_format=_FORMATS[last]) if layout > 1 else x), last


def _pooled(x: Tensor) -> tuple[Tensor, bool, bool]:
    """(N, C, H, W) images, whether channels come last, and whether there was a batch axis."""
    _check_dtypes(x)
    batched = x.dim() == 4
    if not batched:
        if x.dim() != 3:
            raise Unsupported(f"{x.dim()} axes")
        x = x.contiguous()[None]
    if x.numel() == 0:
        raise Unsupported("an empty tensor")
    layout = _layout(x)
    last = layout % 2 == 1
    return (x.contiguous(memory_format=_FORMATS[last]) if layout > 1 else x), last, batched


def _pooled_with_grad(x: Tensor, grad_y: Tensor) -> tuple[Tensor, Tensor, bool, bool]:
    _check_dtypes(x, grad_y)
    if grad_y.dim() != x.dim() or grad_y.shape[:-2] != x.shape[:-2] or x.dim() < 3:
        raise Unsupported("shapes that do not agree")
    batched = x.dim() == 4
    x, last, _ = _pooled(x)
    grad_y = (grad_y if batched else grad_y[None]).contiguous(memory_format=_FORMATS[last])
    return x, grad_y, last, batched


def _windows(x: Tensor, kernel_size: Ints, stride: Ints, padding: Ints, dilation: Ints, ceil_mode: bool) -> Any:
    kernel = _pair(kernel_size, x, 1)
    steps = _pair(stride, x, 1) if stride else kernel
    try:
        return windows(
            tuple(x.shape[2:]),  # type: ignore[arg-type]
            kernel,
            steps,
            _pair(padding, x, 0),
            _pair(dilation, x, 1),
            ceil_mode,
            2,
        )
    except ValueError as error:
        raise Unsupported(str(error)) from None


def _scales(scales: Sequence[float | None]) -> tuple[float, float]:
    """0 lets the ratio of the sizes decide."""
    values = [0.0 if scale is None or not scale > 0 else scale for scale in scales]
    if not all(math.isfinite(value) for value in values):
        raise Unsupported("a scale that is not finite")
    return (values[0], values[1]) if len(values) == 2 else (0.0, values[0])


def _resample(x: Tensor, output_size: Ints, scales: Sequence[float | None], mode: int, align_corners: bool) -> Tensor:
    _check_dtypes(x)
    if x.dim() != 2 + len(scales) or len(output_size) != len(scales) or min(output_size) < 1:
        raise Unsupported("sizes that do not agree")
    x, last = _values(x)
    size = _pair(output_size, x, 1)
    try:
        return _core.resample_forward(  # type: ignore[no-any-return]
            x, size, _scales(scales), mode, align_corners, len(scales) == 2, last
        )
    except ValueError as error:
        raise Unsupported(str(error)) from None


def _resample_backward(
    grad_y: Tensor,
    output_size: Ints,
    input_size: Ints,
    scales: Sequence[float | None],
    mode: int,
    align_corners: bool,
) -> Tensor:
    _check_dtypes(grad_y)
    if (
        grad_y.dim() != 2 + len(scales)
        or tuple(grad_y.shape[2:]) != tuple(output_size)
        or tuple(grad_y.shape[:2]) != tuple(input_size[:2])
    ):
        raise Unsupported("sizes that do not agree")
    grad_y, last = _values(grad_y)
    size = _pair(input_size[2:], grad_y, 1)
    try:
        return _core.resample_backward(  # type: ignore[no-any-return]
            grad_y, size, _scales(scales), mode, align_corners, len(scales) == 2, last
        )
    except ValueError as error:
        raise Unsupported(str(error)) from None
