"""Keras' padding="same" at stride 2, from torch's layers: an odd pixel of padding goes to the end.

torch pads both ends alike, which shifts such a layer by one pixel: weights trained in Keras would see another image.
"""

from __future__ import annotations

import math

from torch import SymInt, Tensor, nn
from torch.nn import functional

from neocog._checks import same_padding


class SamePad2d(nn.Module):
    """Zeros around x (N, C, H, W): an unpadded convolution after it returns (ceil(H/stride), ceil(W/stride))."""

    def __init__(self, kernel_size: int, stride: int) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, stride

    def forward(self, x: Tensor) -> Tensor:
        top, bottom = same_padding(x.shape[2], self.kernel_size, self.stride, 1)
        left, right = same_padding(x.shape[3], self.kernel_size, self.stride, 1)
        return functional.pad(x, (left, right, top, bottom))

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}"


class SameCrop2d(nn.Module):
    """What an unpadded transposed convolution made of (H, W), cut to (stride * H, stride * W): the adjoint of a pad."""

    def __init__(self, kernel_size: int, stride: int) -> None:
        super().__init__()
        if kernel_size < stride:
            raise ValueError(f"`kernel_size` is {kernel_size}; it must be at least `stride`, {stride}.")
        self.kernel_size, self.stride = kernel_size, stride

    def forward(self, x: Tensor) -> Tensor:
        surplus = self.kernel_size - self.stride
        first = surplus // 2
        height, width = x.shape[2] - surplus, x.shape[3] - surplus
        return x[:, :, first : first + height, first : first + width]

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}"


class SameMaxPool2d(nn.Module):
    """MaxPooling2D(3, strides=2, padding="same"): x (N, C, H, W) -> (N, C, ceil(H/2), ceil(W/2)).

    An odd axis is padded by one pixel at both ends, an even one at its end alone, which is what `ceil_mode` does:
    there is one layer for each of the four cases, and no copy of x. Sizes that a traced program leaves open have no
    parity: there, borders that no maximum takes are put around x.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pools = nn.ModuleList(
            nn.MaxPool2d(3, stride=2, padding=(height, width), ceil_mode=True) for height in (0, 1) for width in (0, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        odd_height, odd_width = x.shape[2] % 2, x.shape[3] % 2
        if isinstance(odd_height, SymInt) or isinstance(odd_width, SymInt):
            padded = functional.pad(x, (odd_width, 1, odd_height, 1), value=-math.inf)
            return functional.max_pool2d(padded, 3, stride=2)
        y: Tensor = self.pools[2 * odd_height + odd_width](x)
        return y
