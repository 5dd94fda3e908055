"""Residual networks: He et al., "Deep residual learning for image recognition", arXiv:1512.03385.

ResNet-50 is the common variant that strides in its 3x3 convolution ("v1.5"). Parameters have torchvision's names, so
that its checkpoints load.
"""

from __future__ import annotations

from torch import Tensor, nn

from neocog._checks import integer
from neocog.models._initialise import he_normal


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module | None:
    """None where x can be added as it is; else the 1x1 projection that gives it the shape of the sum."""
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm2d(out_channels)
    )


class BasicBlock(nn.Module):
    """Two 3x3 convolutions: x (N, in_channels, H, W) -> (N, channels, H/stride, W/stride)."""

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(in_channels, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += x if self.downsample is None else self.downsample(x)
        y = self.relu(y)
        return y  # type: ignore[no-any-return]


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions: x (N, in_channels, H, W) -> (N, 4 * channels, H/stride, W/stride)."""

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        out_channels = self.expansion * channels
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        y += x if self.downsample is None else self.downsample(x)
        y = self.relu(y)
        return y  # type: ignore[no-any-return]


class ResNet(nn.Module):
    """A 7x7 stem, four stages of 64, 128, 256 and 512 channels, average pooling, one linear layer.

    Args:
        block: BasicBlock or Bottleneck.
        depths: Blocks in each of the four stages.
        num_classes: Logits per image.
        in_channels: Channels of the images.
    """

    def __init__(
        self,
        block: type[BasicBlock | Bottleneck],
        depths: tuple[int, int, int, int],
        num_classes: int,
        in_channels: int,
    ) -> None:
        super().__init__()
        integer("num_classes", num_classes, minimum=1)
        integer("in_channels", in_channels, minimum=1)
        self.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = self._stage(block, 64, 64, depths[0], 1)
        self.layer2 = self._stage(block, 64 * block.expansion, 128, depths[1], 2)
        self.layer3 = self._stage(block, 128 * block.expansion, 256, depths[2], 2)
        self.layer4 = self._stage(block, 256 * block.expansion, 512, depths[3], 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512 * block.expansion, num_classes)
        he_normal(self, "fan_out")

    @staticmethod
    def _stage(
        block: type[BasicBlock | Bottleneck], in_channels: int, channels: int, depth: int, stride: int
    ) -> nn.Sequential:
        later = (block(channels * block.expansion, channels, 1) for _ in range(depth - 1))
        return nn.Sequential(block(in_channels, channels, stride), *later)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        y: Tensor = self.fc(self.avgpool(x).flatten(1))
        return y


def resnet18(*, num_classes: int = 1000, in_channels: int = 3) -> ResNet:
    """ResNet-18, made for 224x224: images (N, in_channels, H, W) -> logits (N, num_classes).

    11,689,512 parameters, 1.81 G multiply-adds at 224x224; any size works.

    Source: He et al., arXiv:1512.03385, table 1.
    """
    return ResNet(BasicBlock, (2, 2, 2, 2), num_classes, in_channels)


def resnet50(*, num_classes: int = 1000, in_channels: int = 3) -> ResNet:
    """ResNet-50 v1.5, made for 224x224: images (N, in_channels, H, W) -> logits (N, num_classes).

    25,557,032 parameters, 4.09 G multiply-adds at 224x224; any size works.

    Source: He et al., arXiv:1512.03385, table 1; the stride lies on the 3x3 convolution, not on the 1x1 before it.
    """
    return ResNet(Bottleneck, (3, 4, 6, 3), num_classes, in_channels)
