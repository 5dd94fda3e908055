"""torch.ops.neocog.conv_transpose and conv_transpose_backward."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from neocog.torch.library.conv_plan import checked_plan, conv_transpose_plan, new_conv_transpose_plan
from neocog.torch.library.convolutions import contiguous, define_both
from neocog.torch.library.images import Ints, core, dense


def conv_transpose_kernel(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Ints,
    padding: Ints,
    output_padding: Ints,
    groups: int,
    dilation: Ints,
) -> Any:
    """The operator's kernel."""
    numbers = (tuple(stride), tuple(padding), tuple(output_padding), groups, tuple(dilation))
    try:  # what is dense and right takes this way; what is not has time for the other
        plan = conv_transpose_plan(x.shape, weight.shape, *numbers)
        last = x.dim() == 4 and (core.memory_layout(x) % 2 == 1 or core.memory_layout(weight) % 2 == 1)
        return core.conv_transpose_forward(x, weight, bias, plan.size, *plan[:4], 0, 0.0, last)
    except ValueError:
        pass
    plan = checked_plan(conv_transpose_plan, x, weight, bias, *numbers)
    x, last = dense(x, weight)
    return core.conv_transpose_forward(x, dense(weight)[0], contiguous(bias), plan.size, *plan[:4], 0, 0.0, last)


conv_transpose, conv_transpose_backward = define_both(
    "conv_transpose",
    "int[] stride, int[] padding, int[] output_padding, int groups, int[] dilation",
    conv_transpose_kernel,
    new_conv_transpose_plan,
    conv_transpose_plan,
    transposed=True,
)
