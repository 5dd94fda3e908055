"""U-Net: Ronneberger et al., "U-Net: convolutional networks for biomedical image segmentation", arXiv:1505.04597.

The form in common use: padded convolutions, so that the result has the size of the image, and batch normalisation.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from neocog._checks import integer
from neocog.models._initialise import he_normal

LEVELS = 4  # times that the size is halved


def _two_convolutions(in_channels: int, out_channels: int) -> nn.Sequential:
    """Twice (3x3 convolution, batch norm, ReLU): x (N, in_channels, H, W) -> (N, out_channels, H, W)."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
        nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class UNet(nn.Module):
    """Four times down by max pooling, four times up by 2x2 transposed convolutions, joined by concatenation."""

    def __init__(self, num_classes: int, in_channels: int, base: int) -> None:
        super().__init__()
        integer("num_classes", num_classes, minimum=1)
        integer("in_channels", in_channels, minimum=1)
        integer("base", base, minimum=1)
        widths = [base << level for level in range(LEVELS + 1)]
        self.down = nn.ModuleList(
            _two_convolutions(before, after) for before, after in zip([in_channels, *widths], widths, strict=False)
        )
        self.pool = nn.MaxPool2d(2)
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * width, width, 2, stride=2) for width in reversed(widths[:-1]))
        self.join = nn.ModuleList(_two_convolutions(2 * width, width) for width in reversed(widths[:-1]))
        self.head = nn.Conv2d(base, num_classes, 1)
        he_normal(self, "fan_in")
        for layer in self.up:
            assert isinstance(layer, nn.ConvTranspose2d)
            # With a stride as large as the kernel, one value of each channel enters an output.
            nn.init.normal_(layer.weight, std=math.sqrt(2 / layer.in_channels))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        multiple = 1 << LEVELS
        if x.shape[-2] % multiple or x.shape[-1] % multiple:
            raise ValueError(
                f"`x` has the shape {tuple(x.shape)}; height and width must be multiples of {multiple}: pad the image."
            )
        skips: list[Tensor] = []
        for level, convolutions in enumerate(self.down):
            x = convolutions(self.pool(x) if level else x)
            skips.append(x)
        skips.pop()
        for up, convolutions in zip(self.up, self.join, strict=True):
            x = convolutions(torch.cat([skips.pop(), up(x)], 1))
        y: Tensor = self.head(x)
        return y


def unet(*, num_classes: int = 2, in_channels: int = 3, base: int = 32) -> UNet:
    """U-Net: images (N, in_channels, H, W) -> logits per pixel (N, num_classes, H, W).

    7,763,074 parameters, 12.1 G multiply-adds at 256x256; with `base=64`, the widths of the paper, 31,037,698. Height
    and width are multiples of 16.

    Args:
        num_classes: Logits per pixel.
        in_channels: Channels of the images.
        base: Channels at full size; each of the four levels below has twice as many.
    Raises:
        ValueError: The size of the image is no multiple of 16 (when the network is called).
    Source: Ronneberger et al., arXiv:1505.04597, figure 1, with padding and batch normalisation.
    """
    return UNet(num_classes, in_channels, base)
