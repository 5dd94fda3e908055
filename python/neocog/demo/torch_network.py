"""The same network on PyTorch: what training differentiates and what the demo is held against.

Imported only where PyTorch is installed and wanted; nothing else in the demo knows it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from neocog.demo.network import HALO, SCALE, SKIP_CROP


def valid(parameters: Mapping[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Enlarge x (N, 1, H + 2 * HALO, W + 2 * HALO) to (N, 1, 2H, 2W), as `network.Espcn.valid` does."""
    p = parameters
    skip = functional.conv2d(x[:, :, SKIP_CROP:-SKIP_CROP, SKIP_CROP:-SKIP_CROP], p["skip.weight"])
    h = functional.conv2d(x, p["conv1.weight"], p["conv1.bias"]).relu_()
    h = functional.conv2d(h, p["conv2.weight"], p["conv2.bias"]).relu_()
    y = functional.conv2d(h, p["conv3.weight"], p["conv3.bias"])
    return functional.pixel_shuffle(y + skip, SCALE)


class TorchEspcn:
    """`network.Espcn` with PyTorch's kernels, in inference mode.

    Args:
        parameters: As `network.Espcn.parameters`.
        memory_format: Layout of activations and weights: torch.contiguous_format or torch.channels_last.
    """

    def __init__(self, parameters: Mapping[str, NDArray[np.float32]], memory_format: torch.memory_format) -> None:
        self._memory_format = memory_format
        self._parameters = {name: self._laid_out(torch.tensor(array)) for name, array in parameters.items()}

    def _laid_out(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.contiguous(memory_format=self._memory_format) if tensor.ndim == 4 else tensor

    @torch.inference_mode()
    def __call__(self, luma: NDArray[np.float32]) -> NDArray[np.float32]:
        """Enlarge luma (N, H, W), float32, to (N, 2H, 2W)."""
        x = self._laid_out(torch.from_numpy(luma)[:, None])
        return valid(self._parameters, functional.pad(x, (HALO,) * 4, mode="replicate"))[:, 0].numpy()
