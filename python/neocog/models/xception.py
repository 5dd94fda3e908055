"""Xception: Chollet, "Xception: deep learning with depthwise separable convolutions", arXiv:1610.02357.

The network of Keras to the pixel: "same" padding with its odd pixel at the end, epsilon 1e-3 and momentum 0.99 (in
torch's terms 0.01) in batch normalisation, Glorot's initial weights.
"""

from __future__ import annotations

from torch import Tensor, nn

from neocog._checks import integer
from neocog.models._initialise import glorot_uniform
from neocog.models._same import SameMaxPool2d


class SeparableConv2d(nn.Module):
    """A 3x3 filter per channel, then a 1x1 convolution; nothing between: x (N, C, H, W) -> (N, out_channels, H, W)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False)
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.pointwise(self.depthwise(x))
        return y


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """With the constants of Keras."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class Block(nn.Module):
    """(ReLU, separable convolution, batch norm) for each width, and a shortcut around them.

    Args:
        in_channels: Channels of x (N, in_channels, H, W).
        widths: Output channels of each separable convolution; y has the last of them.
        stride: 1, or 2 for a max pool at the end and a strided projection in the shortcut: y is (ceil(H/2), ceil(W/2)).
        leading_relu: False where x has been through a ReLU.
    """

    def __init__(
        self, in_channels: int, widths: tuple[int, ...], *, stride: int = 1, leading_relu: bool = True
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i, (before, after) in enumerate(zip((in_channels, *widths), widths, strict=False)):
            if i > 0 or leading_relu:
                # The first ReLU must not write into x, which the shortcut reads.
                layers.append(nn.ReLU(inplace=i > 0))
            layers += [SeparableConv2d(before, after), batch_norm(after)]
        self.shortcut: nn.Module = nn.Identity()
        if stride == 2:
            layers.append(SameMaxPool2d())
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, widths[-1], 1, stride=2, bias=False), batch_norm(widths[-1])
            )
        self.body = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x) + self.shortcut(x)
        return y


class Xception(nn.Module):
    """Entry flow, eight middle blocks of 728 channels, exit flow, average pooling, one linear layer."""

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__()
        integer("num_classes", num_classes, minimum=1)
        integer("in_channels", in_channels, minimum=1)
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, 32, 3, stride=2, bias=False),
            batch_norm(32),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 64, 3, bias=False),
            batch_norm(64),
            nn.ReLU(inplace=True),
        )
        self.entry = nn.Sequential(
            Block(64, (128, 128), stride=2, leading_relu=False),
            Block(128, (256, 256), stride=2),
            Block(256, (728, 728), stride=2),
        )
        self.middle = nn.Sequential(*(Block(728, (728, 728, 728)) for _ in range(8)))
        self.exit = nn.Sequential(
            Block(728, (728, 1024), stride=2),
            SeparableConv2d(1024, 1536),
            batch_norm(1536),
            nn.ReLU(inplace=True),
            SeparableConv2d(1536, 2048),
            batch_norm(2048),
            nn.ReLU(inplace=True),
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(2048, num_classes)
        glorot_uniform(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.exit(self.middle(self.entry(self.stem(x))))
        y: Tensor = self.fc(self.pool(x).flatten(1))
        return y


def xception(*, num_classes: int = 1000, in_channels: int = 3) -> Xception:
    """Xception, made for 299x299: images (N, in_channels, H, W) in [-1, 1] -> logits (N, num_classes).

    22,855,952 parameters (and 54,528 running statistics), 8.36 G multiply-adds at 299x299; any size of at least 7x7
    works.

    Source: Chollet, arXiv:1610.02357, figure 5.
    """
    return Xception(num_classes, in_channels)
