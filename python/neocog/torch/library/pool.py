"""torch.ops.neocog.max_pool, avg_pool, their adaptive forms and backward operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from neocog._checks import integer
from neocog.ops._pool_windows import Windows, spatial_size, windows
from neocog.torch.library.images import (
    FORMATS,
    Ints,
    as_planes,
    check_dtypes,
    check_images,
    check_shape,
    check_shape_of_images,
    core,
    dense,
    empty,
    ends_of,
    is_channels_last,
    pixels_of,
    plane_of,
)
from neocog.torch.library.registration import Gradients, define


def _new_plan(
    shape: Sequence[Any], kernel_size: Ints, stride: Ints, padding: Ints, dilation: Ints, ceil_mode: bool
) -> Windows:
    """Windows over images of this shape, once they and the arguments are checked."""
    spatial = check_shape_of_images(shape)
    steps = tuple(stride) or None  # none: the kernel's size, as in aten
    ends = ends_of(padding, spatial)
    return windows(plane_of(shape), tuple(kernel_size), steps, ends, tuple(dilation), ceil_mode, spatial)


_plan = lru_cache(maxsize=1024)(_new_plan)  # for what has data: numbers, not symbols, and lists as tuples


@lru_cache(maxsize=1024)
def _adaptive_plan(shape: tuple[int, ...], output_size: tuple[int, ...]) -> Any:
    return spatial_size("output_size", output_size, check_shape_of_images(shape))


def _planes(x: Tensor) -> tuple[Tensor, bool]:
    """x, checked by its plan, as (N, C, H, W) in one of the two formats."""
    if x.dtype is not torch.float32 and x.dtype is not torch.float64:
        check_dtypes(x)
    images, last = dense(x)
    return (images, last) if x.dim() == 4 else (images.unsqueeze(2), last)


def _is_planar(x: Tensor, size: Any) -> bool:
    """Whether a tensor and the size of the other can go to `_core` as they are."""
    return len(size) == 2 and x.dim() == 4 and x.numel() > 0 and size[0] > 0 < size[1]


def _as_given(x: Tensor, result: Tensor) -> Tensor:
    return result.squeeze(2) if x.dim() == 3 else result


def max_pool_kernel(x: Tensor, kernel_size: Ints, stride: Ints, padding: Ints, dilation: Ints, ceil_mode: bool) -> Any:
    w = _plan(x.shape, tuple(kernel_size), tuple(stride), tuple(padding), tuple(dilation), ceil_mode)
    if x.dim() == 4 and (layout := core.memory_layout(x)) < 2:
        try:  # what is dense and right takes this way; what is not has time for the other
            return core.max_pool_forward(x, w.out, w.kernel, w.stride, w.padding, w.dilation, True, layout == 1)
        except ValueError:
            pass
    images, last = _planes(x)
    found = core.max_pool_forward(images, w.out, w.kernel, w.stride, w.padding, w.dilation, True, last)
    return found if x.dim() == 4 else (found[0].squeeze(2), found[1].squeeze(2))


def _max_pool_fake(
    x: Tensor, kernel_size: Ints, stride: Ints, padding: Ints, dilation: Ints, ceil_mode: bool
) -> tuple[Tensor, Tensor]:
    check_dtypes(x)
    out = _new_plan(x.shape, kernel_size, stride, padding, dilation, ceil_mode).out
    return _maxima(x, out)


def _maxima(x: Tensor, out: Any) -> tuple[Tensor, Tensor]:
    shape, last = (*x.shape[:2], *pixels_of(out, x.dim() - 2)), is_channels_last(x)
    return empty(x, shape, last), empty(x, shape, last, torch.int64)


def _output_size(x: Tensor, output_size: Ints) -> Any:
    check_dtypes(x)
    return spatial_size("output_size", tuple(output_size), check_images(x))


def adaptive_max_pool_kernel(x: Tensor, output_size: Ints) -> tuple[Tensor, Tensor]:
    if _is_planar(x, output_size):
        layout = core.memory_layout(x)
        try:
            return core.adaptive_max_pool_forward(x, output_size, True, layout == 1)  # type: ignore[no-any-return]
        except ValueError:
            pass
    size = _adaptive_plan(x.shape, tuple(output_size))
    images, last = _planes(x)
    y, indices = core.adaptive_max_pool_forward(images, size, True, last)
    return _as_given(x, y), _as_given(x, indices)


def _adaptive_max_pool_fake(x: Tensor, output_size: Ints) -> tuple[Tensor, Tensor]:
    return _maxima(x, _output_size(x, output_size))


def _save_indices(ctx: Any, arguments: tuple[Any, ...], result: Any) -> None:
    x, indices = arguments[0], result[1]
    ctx.mark_non_differentiable(indices)
    ctx.save_for_backward(indices)
    ctx.size, ctx.last = x.shape[2:], is_channels_last(x)


def _max_gradients(ctx: Any, _: Any, grad_y: Tensor | None, __: Any) -> Gradients:
    if grad_y is None:
        return ()
    (indices,) = ctx.saved_tensors
    return (max_pool_backward(grad_y, indices, ctx.size, ctx.last),)


def _check_size(grad_y: Tensor, in_size: Any, channels_last: bool) -> tuple[Any, ...]:
    """The shape of x, from the shape of y and x's pixels."""
    check_dtypes(grad_y, "grad_y")
    spatial = check_images(grad_y, "grad_y")
    if len(in_size) != spatial or min(in_size) < 1:
        raise ValueError(f"`in_size` is {list(in_size)}; it must be the {spatial} spatial axes of x, at least 1 each.")
    if channels_last and spatial == 1:
        raise ValueError("`channels_last` is True, but one-dimensional images have no such format; give False.")
    return (*grad_y.shape[:2], *in_size)


def _grads(grad_y: Tensor, channels_last: bool) -> Tensor:
    return as_planes(grad_y.contiguous(memory_format=FORMATS[channels_last]))


def max_pool_backward_kernel(grad_y: Tensor, indices: Tensor, in_size: Any, channels_last: bool) -> Tensor:
    if _is_planar(grad_y, in_size):
        try:
            return core.max_pool_backward(grad_y, indices, in_size, channels_last)  # type: ignore[no-any-return]
        except ValueError:
            pass
    shape = _check_indices(grad_y, indices, in_size, channels_last)
    grads, places = _grads(grad_y, channels_last), _grads(indices, channels_last)
    return _as_given(grad_y, core.max_pool_backward(grads, places, plane_of(shape), channels_last))


def _check_indices(grad_y: Tensor, indices: Tensor, in_size: Any, channels_last: bool) -> tuple[Any, ...]:
    shape = _check_size(grad_y, in_size, channels_last)
    if indices.dtype is not torch.int64:
        raise TypeError(f"`indices` has dtype {indices.dtype}; it must be torch.int64, as max_pool gives it.")
    check_shape("indices", indices, tuple(grad_y.shape), "`grad_y`")
    return shape


def _max_pool_backward_fake(grad_y: Tensor, indices: Tensor, in_size: Any, channels_last: bool) -> Tensor:
    return empty(grad_y, _check_indices(grad_y, indices, in_size, channels_last), channels_last)


def _save_places(ctx: Any, arguments: tuple[Any, ...], _: Any) -> None:
    ctx.save_for_backward(arguments[1])


def _max_second_gradients(ctx: Any, _: Any, grad: Tensor | None) -> Gradients:
    if grad is None:
        return ()
    (indices,) = ctx.saved_tensors
    return (grad.flatten(2).gather(2, indices.flatten(2)).reshape(indices.shape),)


def _check_divisor(divisor: int | None) -> None:
    if divisor is not None and integer("divisor_override", divisor) == 0:
        raise ValueError("`divisor_override` is 0; give another number, or None for the number of pixels.")


def avg_pool_kernel(
    x: Tensor,
    kernel_size: Ints,
    stride: Ints,
    padding: Ints,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    if divisor_override is not None:
        _check_divisor(divisor_override)
    w = _plan(x.shape, tuple(kernel_size), tuple(stride), tuple(padding), (1,), ceil_mode)
    if x.dim() == 4 and (layout := core.memory_layout(x)) < 2:
        rest = (count_include_pad, divisor_override, layout == 1)
        try:
            return core.avg_pool_forward(x, w.out, w.kernel, w.stride, w.padding, *rest)  # type: ignore[no-any-return]
        except ValueError:
            pass
    images, last = _planes(x)
    y = core.avg_pool_forward(images, w.out, w.kernel, w.stride, w.padding, count_include_pad, divisor_override, last)
    return _as_given(x, y)


def _avg_pool_fake(
    x: Tensor, kernel_size: Ints, stride: Ints, padding: Ints, ceil_mode: bool, _: bool, divisor_override: int | None
) -> Tensor:
    check_dtypes(x)
    _check_divisor(divisor_override)
    out = _new_plan(x.shape, kernel_size, stride, padding, (1,), ceil_mode).out
    return empty(x, (*x.shape[:2], *pixels_of(out, x.dim() - 2)), is_channels_last(x))


def _save_size(ctx: Any, arguments: tuple[Any, ...], _: Any) -> None:
    x = arguments[0]
    ctx.size, ctx.last, ctx.rest = x.shape[2:], is_channels_last(x), arguments[1:]


def _avg_gradients(ctx: Any, _: Any, grad_y: Tensor | None) -> Gradients:
    return () if grad_y is None else (avg_pool_backward(grad_y, ctx.size, *ctx.rest, ctx.last),)


def avg_pool_backward_kernel(
    grad_y: Tensor,
    in_size: Any,
    kernel_size: Ints,
    stride: Ints,
    padding: Ints,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
    channels_last: bool,
) -> Tensor:
    if divisor_override is not None:
        _check_divisor(divisor_override)
    if _is_planar(grad_y, in_size):
        batch, channels, *size = grad_y.shape
        lists = (tuple(kernel_size), tuple(stride), tuple(padding), (1,))
        w = _plan((batch, channels, *in_size), *lists, ceil_mode)
        if (size[0], size[1]) == w.out:
            rest = (w.kernel, w.stride, w.padding, count_include_pad, divisor_override, channels_last)
            try:
                return core.avg_pool_backward(grad_y, in_size, *rest)  # type: ignore[no-any-return]
            except ValueError:
                pass
    numbers = (kernel_size, stride, padding, ceil_mode, divisor_override)
    w, shape = _check_average(_plan, grad_y, in_size, *numbers, channels_last)
    grads = _grads(grad_y, channels_last)
    grad_x = core.avg_pool_backward(
        grads, plane_of(shape), w.kernel, w.stride, w.padding, count_include_pad, divisor_override, channels_last
    )
    return _as_given(grad_y, grad_x)


def _check_average(
    plan: Callable[..., Windows],
    grad_y: Tensor,
    in_size: Any,
    kernel_size: Ints,
    stride: Ints,
    padding: Ints,
    ceil_mode: bool,
    divisor_override: int | None,
    channels_last: bool,
) -> tuple[Windows, tuple[Any, ...]]:
    """The windows over x, and x's shape."""
    shape = _check_size(grad_y, in_size, channels_last)
    _check_divisor(divisor_override)
    w = plan(shape, tuple(kernel_size), tuple(stride), tuple(padding), (1,), ceil_mode)
    check_shape("grad_y", grad_y, (*shape[:2], *pixels_of(w.out, len(in_size))), "y")
    return w, shape


def _avg_pool_backward_fake(
    grad_y: Tensor,
    in_size: Any,
    kernel_size: Ints,
    stride: Ints,
    padding: Ints,
    ceil_mode: bool,
    _: bool,
    divisor_override: int | None,
    channels_last: bool,
) -> Tensor:
    numbers = (kernel_size, stride, padding, ceil_mode, divisor_override)
    return empty(grad_y, _check_average(_new_plan, grad_y, in_size, *numbers, channels_last)[1], channels_last)


def _save_rest(ctx: Any, arguments: tuple[Any, ...], _: Any) -> None:
    ctx.rest = arguments[2:-1]


def adaptive_avg_pool_kernel(x: Tensor, output_size: Ints) -> Tensor:
    if _is_planar(x, output_size):
        layout = core.memory_layout(x)
        try:
            return core.adaptive_avg_pool_forward(x, output_size, layout == 1)  # type: ignore[no-any-return]
        except ValueError:
            pass
    size = _adaptive_plan(x.shape, tuple(output_size))
    images, last = _planes(x)
    return _as_given(x, core.adaptive_avg_pool_forward(images, size, last))


def _adaptive_avg_pool_fake(x: Tensor, output_size: Ints) -> Tensor:
    out = _output_size(x, output_size)
    return empty(x, (*x.shape[:2], *pixels_of(out, x.dim() - 2)), is_channels_last(x))


def _adaptive_avg_gradients(ctx: Any, _: Any, grad_y: Tensor | None) -> Gradients:
    return () if grad_y is None else (adaptive_avg_pool_backward(grad_y, ctx.size, ctx.last),)


def adaptive_avg_pool_backward_kernel(grad_y: Tensor, in_size: Any, channels_last: bool) -> Tensor:
    if _is_planar(grad_y, in_size):
        try:
            return core.adaptive_avg_pool_backward(grad_y, in_size, channels_last)  # type: ignore[no-any-return]
        except ValueError:
            pass
    shape = _check_size(grad_y, in_size, channels_last)
    grads = _grads(grad_y, channels_last)
    return _as_given(grad_y, core.adaptive_avg_pool_backward(grads, plane_of(shape), channels_last))


def _adaptive_avg_pool_backward_fake(grad_y: Tensor, in_size: Any, channels_last: bool) -> Tensor:
    return empty(grad_y, _check_size(grad_y, in_size, channels_last), channels_last)


def _save_output_size(ctx: Any, arguments: tuple[Any, ...], _: Any) -> None:
    ctx.output_size = arguments[0].shape[2:]


def _first(*_: Any) -> tuple[int]:
    return (0,)


max_pool = define(
    "max_pool(Tensor x, int[] kernel_size, int[] stride, int[] padding, int[] dilation, bool ceil_mode) "
    "-> (Tensor y, Tensor indices)",
    max_pool_kernel,
    _max_pool_fake,
    save=_save_indices,
    backward=_max_gradients,
    folds=_first,
)
adaptive_max_pool = define(
    "adaptive_max_pool(Tensor x, int[] output_size) -> (Tensor y, Tensor indices)",
    adaptive_max_pool_kernel,
    _adaptive_max_pool_fake,
    save=_save_indices,
    backward=_max_gradients,
    folds=_first,
)
max_pool_backward = define(
    "max_pool_backward(Tensor grad_y, Tensor indices, SymInt[] in_size, bool channels_last) -> Tensor",
    max_pool_backward_kernel,
    _max_pool_backward_fake,
    save=_save_places,
    backward=_max_second_gradients,
    folds=lambda *_: (0, 1),
)
avg_pool = define(
    "avg_pool(Tensor x, int[] kernel_size, int[] stride, int[] padding, bool ceil_mode, bool count_include_pad, "
    "int? divisor_override) -> Tensor",
    avg_pool_kernel,
    _avg_pool_fake,
    save=_save_size,
    backward=_avg_gradients,
    folds=_first,
)
avg_pool_backward = define(
    "avg_pool_backward(Tensor grad_y, SymInt[] in_size, int[] kernel_size, int[] stride, int[] padding, "
    "bool ceil_mode, bool count_include_pad, int? divisor_override, bool channels_last) -> Tensor",
    avg_pool_backward_kernel,
    _avg_pool_backward_fake,
    save=_save_rest,
    backward=lambda ctx, _, grad: () if grad is None else (avg_pool(grad, *ctx.rest),),
    folds=_first,
)
adaptive_avg_pool = define(
    "adaptive_avg_pool(Tensor x, int[] output_size) -> Tensor",
    adaptive_avg_pool_kernel,
    _adaptive_avg_pool_fake,
    save=_save_size,
    backward=_adaptive_avg_gradients,
    folds=_first,
)
adaptive_avg_pool_backward = define(
    "adaptive_avg_pool_backward(Tensor grad_y, SymInt[] in_size, bool channels_last) -> Tensor",
    adaptive_avg_pool_backward_kernel,
    _adaptive_avg_pool_backward_fake,
    save=_save_output_size,
    backward=lambda ctx, _, grad: () if grad is None else (adaptive_avg_pool(grad, ctx.output_size),),
    folds=_first,
)
