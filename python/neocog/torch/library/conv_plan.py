"""Where the windows of `conv` and `conv_transpose` lie, and how large y is: from shapes and numbers alone.

Every check of these that needs no tensor is here, once for the operators, their fakes and the overrides of aten.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from torch import Tensor

from neocog._checks import Padding, Pair, integer, padding_of, pair, window_size
from neocog.torch.library.images import (
    check_dtypes,
    check_shape,
    check_shape_of_images,
    ends_of,
    pixels_of,
    plane_of,
)

Shape = Sequence[Any]


class Plan(NamedTuple):
    """A convolution, resolved and checked: sizes are (height, width), the padding of a transposed one may be < 0."""

    stride: Pair
    padding: Padding
    dilation: Pair
    groups: int
    image: Any
    kernel: Any
    size: Any  # y's
    shape: tuple[Any, ...]  # y's


def new_conv_plan(x: Shape, weight: Shape, stride: Any, padding: Any, dilation: Any, groups: int) -> Plan:
    """The windows over x; raises ValueError where `conv` does."""
    spatial = _check_ranks(x, weight, groups)
    if x[1] != weight[1] * groups:
        raise ValueError(
            f"`x` has {x[1]} channels, but `weight` of shape {tuple(weight)} with groups={groups} takes "
            f"{weight[1] * groups}; give them the same number."
        )
    if weight[0] % groups:
        raise ValueError(f"`groups` is {groups}; it must divide the {weight[0]} kernels of `weight`.")
    steps, pads, gaps = _steps(stride, padding, dilation, spatial)
    image, kernel = plane_of(x), plane_of(weight)
    size = window_size("x", image, kernel, steps, pads, gaps)
    shape = (x[0], weight[0], *pixels_of(size, spatial))
    return Plan(steps, pads, gaps, groups, image, kernel, size, shape)


def new_conv_transpose_plan(
    x: Shape, weight: Shape, stride: Any, padding: Any, output_padding: Any, groups: int, dilation: Any
) -> Plan:
    """The windows over y, of which x has one value each; raises ValueError where `conv_transpose` does.

    Output padding is negative padding of the way back to x.
    """
    spatial = _check_ranks(x, weight, groups)
    if x[1] != weight[0]:
        raise ValueError(
            f"`x` has {x[1]} channels, but `weight` of shape {tuple(weight)} takes {weight[0]}; "
            "give them the same number."
        )
    if x[1] % groups:
        raise ValueError(f"`groups` is {groups}; it must divide the {x[1]} channels of `x`.")
    steps, (top, bottom, left, right), gaps = _steps(stride, padding, dilation, spatial)
    added = pair("output_padding", tuple(output_padding), spatial, 0)
    if any(added[a] and added[a] >= max(steps[a], gaps[a]) for a in (0, 1)):
        raise ValueError(
            f"`output_padding` is {list(output_padding)}; it must be less than the stride {list(stride)} or the "
            f"dilation {list(dilation)}."
        )
    pads = (top, bottom - added[0], left, right - added[1])
    image, kernel = plane_of(x), plane_of(weight)
    out = [(image[a] - 1) * steps[a] + gaps[a] * (kernel[a] - 1) + 1 - pads[2 * a] - pads[2 * a + 1] for a in (0, 1)]
    if min(out) < 1:
        raise ValueError(f"`padding` is {list(padding)}: it leaves an output of {tuple(out)} pixels; use less padding.")
    size = (out[0], out[1])
    shape = (x[0], weight[1] * groups, *pixels_of(size, spatial))
    return Plan(steps, pads, gaps, groups, image, kernel, size, shape)


# For what has data: numbers, not symbols, and lists as tuples.
conv_plan = lru_cache(maxsize=1024)(new_conv_plan)
conv_transpose_plan = lru_cache(maxsize=1024)(new_conv_transpose_plan)


def checked_plan(
    plan: Callable[..., Plan],
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *rest: Any,
    grad_y: Tensor | None = None,
) -> Plan:
    """The plan of these operands, once all of them are checked."""
    check_dtypes(x, weight=weight, bias=bias, grad_y=grad_y)
    found = plan(
        x.shape, weight.shape, *[tuple(value) if isinstance(value, (list, tuple)) else value for value in rest]
    )
    channels = found.shape[1]
    if bias is not None:
        check_shape("bias", bias, (channels,), f"y with {channels} channels")
    if grad_y is not None:
        check_shape("grad_y", grad_y, found.shape, "y")
    return found


def _check_ranks(x: Shape, weight: Shape, groups: int) -> int:
    spatial = check_shape_of_images(x)
    if len(weight) != len(x):
        raise ValueError(f"`weight` has shape {tuple(weight)}; for `x` of shape {tuple(x)} it needs {len(x)} axes.")
    if 0 in weight:
        raise ValueError(f"`weight` has shape {tuple(weight)}; none of its axes may be empty.")
    integer("groups", groups, 1)
    return spatial


def _steps(stride: Any, padding: Any, dilation: Any, spatial: int) -> tuple[Pair, Padding, Pair]:
    steps = pair("stride", tuple(stride), spatial, 1)
    gaps = pair("dilation", tuple(dilation), spatial, 1)
    return steps, padding_of(ends_of(padding, spatial), (1, 1), (1, 1), steps, gaps, spatial), gaps
