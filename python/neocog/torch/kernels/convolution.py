"""aten::convolution, transposed too, and its gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neocog.torch.kernels.tensors import (
    DTYPES,
    FORMATS,
    Ints,
    Unsupported,
    check_dtypes,
    core,
    layout_of,
    name_of,
    pair_of,
)


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
            return core.conv_forward(  # type: ignore[no-any-return]
                x, weight, bias, None, stride, padding, dilation, groups, 0, 0.0, None
            )
        except ValueError:
            pass
    x, weight, last = _convolution_images(x, weight)
    if bias is not None and not bias.is_contiguous():
        bias = bias.contiguous()
    steps, gaps = pair_of(stride, x, 1), pair_of(dilation, x, 1)
    pads, size = _geometry(x, weight, steps, padding, gaps, transposed, output_padding, groups)
    try:
        if transposed:
            y = core.conv_transpose_forward(x, weight, bias, size, steps, pads, gaps, groups, 0, 0.0, last)
        else:
            y = core.conv_forward(x, weight, bias, None, steps, pads, gaps, groups, 0, 0.0, last)
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
    weight_last = weight.dim() == 4 and layout_of(weight) % 2 == 1
    x, weight, last = _convolution_images(x, weight)
    if grad_y.dtype is not x.dtype:
        raise Unsupported(f"dtypes {name_of(grad_y.dtype)} and {name_of(x.dtype)} together")
    grad_y = grad_y.contiguous(memory_format=FORMATS[last])
    steps, gaps = pair_of(stride, x, 1), pair_of(dilation, x, 1)
    pads, size = _geometry(x, weight, steps, padding, gaps, transposed, output_padding, groups)
    if tuple(grad_y.shape[2:]) != (size if x.dim() == 4 else size[1:]):
        raise Unsupported("grad_output has another size than y")
    in_size = tuple(x.shape[2:]) if x.dim() == 4 else (1, x.shape[2])
    kernel = tuple(weight.shape[2:]) if x.dim() == 4 else (1, weight.shape[2])
    grad_x = grad_weight = grad_bias = None
    try:
        if output_mask[0]:
            if transposed:
                grad_x = core.conv_forward(grad_y, weight, None, None, steps, pads, gaps, groups, 0, 0.0, last)
            else:
                grad_x = core.conv_backward_x(grad_y, weight, in_size, steps, pads, gaps, groups, last)
        if output_mask[1]:
            source, sink = (grad_y, x) if transposed else (x, grad_y)
            grad_weight = core.conv_backward_weight(source, sink, kernel, steps, pads, gaps, groups, last)
            if last:
                grad_weight = _channels_last_weight(grad_weight, weight_last)
        if output_mask[2]:
            grad_bias = core.conv_backward_bias(grad_y, last)
    except ValueError as error:
        raise Unsupported(str(error)) from None
    return grad_x, grad_weight, grad_bias


def _convolution_images(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, bool]:
    """x dense in the layout that torch computes in, the weight contiguous, and whether channels come last."""
    dim, dtype = x.dim(), x.dtype
    if dtype not in DTYPES or weight.dtype is not dtype:
        check_dtypes(x, weight)
    if dim not in (3, 4) or weight.dim() != dim:
        raise Unsupported(f"{dim - 2} spatial axes")
    layout, of_weight = layout_of(x), layout_of(weight)
    last = dim == 4 and (layout % 2 == 1 or of_weight % 2 == 1)
    if layout != int(last):
        x = x.contiguous(memory_format=FORMATS[last])
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
    low, kernel = pair_of(padding, x, 0), weight.shape[-2:] if x.dim() == 4 else (1, weight.shape[2])
    size = x.shape[-2:] if x.dim() == 4 else (1, x.shape[2])
    if min(low) < 0 or min(steps) < 1 or min(gaps) < 1 or groups < 1 or 0 in x.shape or 0 in weight.shape:
        raise Unsupported("an empty tensor or an argument that torch refuses")
    reach = [gaps[i] * (kernel[i] - 1) + 1 for i in (0, 1)]
    if not transposed:
        out = [(size[i] + 2 * low[i] - reach[i]) // steps[i] + 1 for i in (0, 1)]
        if min(out) < 1:
            raise Unsupported("a kernel larger than the padded image")
        return (low[0], low[0], low[1], low[1]), (out[0], out[1])
    added = pair_of(output_padding, x, 0)
    full = [(size[i] - 1) * steps[i] + reach[i] for i in (0, 1)]
    out = [full[i] - 2 * low[i] + added[i] for i in (0, 1)]
    # Negative where output padding exceeds the padding: the convolution back to x has just x's size.
    high = [low[i] - added[i] for i in (0, 1)]
    if min(out) < 1 or any(added[i] < 0 or (added[i] and added[i] >= max(steps[i], gaps[i])) for i in (0, 1)):
        raise Unsupported("an output padding or a size that torch refuses")
    return (low[0], high[0], low[1], high[1]), (out[0], out[1])
