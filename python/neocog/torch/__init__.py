"""PyTorch on neocog's kernels: `patch()` for unmodified models, `torch.ops.neocog`. Needs the `torch` extra."""

from __future__ import annotations

import torch as _torch

if not hasattr(_torch.library, "get_kernel") or not hasattr(_torch.Tensor, "__dlpack_c_exchange_api__"):
    raise ImportError(
        f"neocog.torch needs a newer PyTorch than {_torch.__version__}; install it with pip install 'neocog[torch]'."
    )

from neocog.torch import library as library
from neocog.torch.patch import disable as disable
from neocog.torch.patch import enable as enable
from neocog.torch.patch import is_enabled as is_enabled
from neocog.torch.patch import patch as patch
from neocog.torch.patch import stats as stats
