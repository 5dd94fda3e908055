"""torch.ops.neocog.conv and conv_backward."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor

from neocog.torch.library.conv_plan import checked_plan, conv_plan, new_conv_plan
from neocog.torch.library.convolutions import contiguous, define_both, forward_fake
from neocog.torch.library.images import Ints, core, dense


def conv_kernel(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Ints, padding: Ints, dilation: Ints, groups: int
) -> Any:
    """The operator's kernel."""
    try:  # what is dense and right takes this way; what is not has time for the other
        if (
            len(stride) == len(padding) == len(dilation) == 2
            and padding[0] >= 0 <= padding[1]
            and x.dim() == 4 == weight.dim()
        ):
            return core.conv_forward(x, weight, bias, None, stride, padding, dilation, groups, 0, 0.0, None)
        plan = conv_plan(x.shape, weight.shape, tuple(stride), tuple(padding), tuple(dilation), groups)
        return core.conv_forward(x, weight, bias, None, *plan[:4], 0, 0.0, None)
    except ValueError:
        pass
    plan = checked_plan(conv_plan, x, weight, bias, stride, padding, dilation, groups)
    x, last = dense(x, weight)
    return core.conv_forward(x, dense(weight)[0], contiguous(bias), None, *plan[:4], 0, 0.0, last)


conv_fake = partial(forward_fake, new_conv_plan)
conv, conv_backward = define_both(
    "conv",
    "int[] stride, int[] padding, int[] dilation, int groups",
    conv_kernel,
    new_conv_plan,
    conv_plan,
    transposed=False,
)
