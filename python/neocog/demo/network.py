r"""ESPCN x2 with a linear skip: four convolutions at low resolution, then a pixel shuffle.

.. math::
    h_1 = \max(0,\; w_1 * x + b_1), \quad h_2 = \max(0,\; w_2 * h_1 + b_2), \quad
    y = \mathrm{shuffle}(w_3 * h_2 + b_3 + w_s * x)

x is luma, one channel; :math:`w_s` (5x5) starts training as bicubic interpolation, so that the other three
layers (5x5 to 64 channels, 3x3 to 32, 3x3 to 4) only learn what bicubic misses. The image is continued by its
border pixels once, and no layer pads: a tile with its halo gives what the whole image gives.

Source: Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel
Convolutional Neural Network", CVPR 2016, https://arxiv.org/abs/1609.05158. Rectifiers for tanh and the skip
are ours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

SCALE = 2
# Border pixels of x that one output pixel reaches: 2 + 1 + 1 of the 5x5, 3x3 and 3x3 layers.
HALO = 4
SHAPES: dict[str, tuple[int, ...]] = {
    "conv1.weight": (64, 1, 5, 5),
    "conv1.bias": (64,),
    "conv2.weight": (32, 64, 3, 3),
    "conv2.bias": (32,),
    "conv3.weight": (SCALE * SCALE, 32, 3, 3),
    "conv3.bias": (SCALE * SCALE,),
    "skip.weight": (SCALE * SCALE, 1, 5, 5),
}
# The skip's 5x5 window sits in the middle of the 9x9 field that conv1, conv2 and conv3 see together.
SKIP_CROP = HALO - SHAPES["skip.weight"][-1] // 2


@dataclass(frozen=True)
class Espcn:
    """The network on `neocog.ops`: call it on luma.

    Attributes:
        parameters: Name -> float32 array, with the names and shapes of `SHAPES`.
        metadata: How the weights were made: seed, steps, photographs, PSNR.
    """

    parameters: Mapping[str, NDArray[np.float32]]
    metadata: Mapping[str, Any]

    def __call__(self, luma: NDArray[np.float32]) -> NDArray[np.float32]:
        """Enlarge luma twofold.

        Args:
            luma: Shape (N, H, W), float32, black 0 and white 1.
        Returns:
            Shape (N, 2H, 2W), float32; not clipped to [0, 1].
        """
        from neocog import ops

        return self.valid(ops.pad(luma[..., None], (0, 0, HALO, HALO, HALO, HALO), mode="replicate")[..., 0])

    def valid(self, luma: NDArray[np.float32]) -> NDArray[np.float32]:
        """Enlarge the inner part of luma that carries a halo of `HALO` pixels on each side.

        Args:
            luma: Shape (N, H + 2 * HALO, W + 2 * HALO), float32.
        Returns:
            Shape (N, 2H, 2W), float32.
        """
        from neocog import ops

        p = self.parameters
        x = luma[..., None]  # (N, H, W, 1): with one channel this is channels-last as it stands
        inner = x[:, SKIP_CROP:-SKIP_CROP, SKIP_CROP:-SKIP_CROP]
        skip = ops.conv2d(inner, p["skip.weight"], data_format="NHWC")
        h = ops.conv2d(x, p["conv1.weight"], p["conv1.bias"], activation="relu", data_format="NHWC")
        h = ops.conv2d(h, p["conv2.weight"], p["conv2.bias"], activation="relu", data_format="NHWC")
        y = ops.conv2d(h, p["conv3.weight"], p["conv3.bias"], residual=skip, data_format="NHWC")
        shuffled: NDArray[np.float32] = ops.pixel_shuffle(y, SCALE, data_format="NHWC")
        return shuffled[..., 0]

    def kernels(self, height: int, width: int) -> dict[str, list[str]]:
        """What computes an image of this size: kernel -> its layers."""
        from neocog import _core

        sizes = {"skip.weight": (height + 2 * (HALO - SKIP_CROP), width + 2 * (HALO - SKIP_CROP))}
        size = height + 2 * HALO, width + 2 * HALO
        for name in ("conv1.weight", "conv2.weight", "conv3.weight"):
            sizes[name] = size
            reach = SHAPES[name][-1] - 1
            size = size[0] - reach, size[1] - reach
        found: dict[str, list[str]] = {}
        for name, (h, w) in sizes.items():
            weight = self.parameters[name]
            kernel = _core.conv_kernel((1, weight.shape[1], h, w), weight, (1, 1), (0, 0, 0, 0), (1, 1), 1)
            found.setdefault(kernel, []).append(name.removesuffix(".weight"))
        return found


def load(file: IO[bytes] | None = None) -> Espcn:
    """The trained network.

    Args:
        file: An open `.npz` written by `tools/train_espcn.py`; None takes the weights that ship with neocog.
    Raises:
        ValueError: A parameter is missing, misshapen or not float32.
    """
    if file is None:
        with resources.files(__package__).joinpath("espcn_x2.npz").open("rb") as shipped:
            return load(shipped)
    with np.load(file, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    metadata = json.loads(str(arrays.pop("metadata", "{}")))
    found = {name: (array.shape, array.dtype.name) for name, array in arrays.items()}
    expected = {name: (shape, "float32") for name, shape in SHAPES.items()}
    if found != expected:
        wrong = {name: found.get(name) for name in expected if found.get(name) != expected[name]}
        raise ValueError(
            f"the weights hold {wrong or sorted(found)}, expected {expected}; "
            "reinstall neocog or train them again with tools/train_espcn.py"
        )
    return Espcn(arrays, metadata)


def bicubic_kernel() -> NDArray[np.float32]:
    """Twofold bicubic interpolation (a = -1/2) as the weight of a convolution: (4, 1, 5, 5), float32."""
    # Distance of each tap from the output pixel's centre, for the even and the odd output pixels.
    t = np.array([[1.75, 0.75, 0.25, 1.25, 2.25], [2.25, 1.25, 0.25, 0.75, 1.75]])
    near = 1.5 * t**3 - 2.5 * t**2 + 1.0
    far = -0.5 * t**3 + 2.5 * t**2 - 4.0 * t + 2.0
    taps = np.where(t <= 1.0, near, np.where(t < 2.0, far, 0.0))
    kernel: NDArray[np.float64] = np.einsum("ar,bs->abrs", taps, taps)
    return kernel.reshape(SHAPES["skip.weight"]).astype(np.float32)
