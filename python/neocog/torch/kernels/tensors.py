"""What the operators share: which tensors the kernels take, and what becomes of the others."""

from __future__ import annotations

from torch import Tensor

from neocog.torch.library.images import DTYPES


class Unsupported(Exception):
    """Our kernels do not compute this; the message is the reason, which has no sizes in it: reasons are counted."""


def refusal(error: Exception, x: Tensor, *others: Tensor | None) -> Unsupported:
    """The reason for an error of `neocog.torch.library` about these tensors; what is no refusal is raised again."""
    dtypes = {tensor.dtype: None for tensor in (x, *others) if tensor is not None}
    if len(dtypes) > 1:
        return Unsupported(f"dtypes {' and '.join(str(dtype).removeprefix('torch.') for dtype in dtypes)} together")
    if x.dtype not in DTYPES:
        return Unsupported(f"dtype {str(x.dtype).removeprefix('torch.')}")
    if not isinstance(error, ValueError):
        raise error
    if x.dim() > 4:
        return Unsupported(f"{x.dim() - 2} spatial axes")
    if x.numel() == 0:
        return Unsupported("an empty tensor")
    return Unsupported("arguments that neocog's operators refuse")
