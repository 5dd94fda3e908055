"""Upsampling as one operator in training graphs of torch.compile, forward and backward.

torch traces it as a gather for every corner, with scatters for gradients; kernels compute the one operator.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch._C import DispatchKey
from torch._prims_common import suggest_memory_format

from neocog.engine.importers.aten_whole import replaced_kernels, upsampling_kernels

# Those with kernels for the gradient.
_OPERATORS = ("upsample_nearest1d", "upsample_nearest2d", "upsample_linear1d", "upsample_bilinear2d")


def whole_upsampling() -> AbstractContextManager[None]:
    """Trace the upsampling that kernels compute as one operator."""
    changes = upsampling_kernels(_OPERATORS)
    for name in _OPERATORS:
        changes[getattr(torch.ops.aten, f"{name}_backward").default] = {DispatchKey.Meta: _fake_gradient}
    return replaced_kernels(changes)


def _fake_gradient(
    grad_y: Tensor,
    output_size: Sequence[int | torch.SymInt],
    input_size: Sequence[int | torch.SymInt],
    *ignored: Any,
) -> Tensor:
    # torch's own does not take open sizes.
    grad_x = grad_y.new_empty(tuple(input_size))
    return grad_x.contiguous(memory_format=suggest_memory_format(grad_y))
