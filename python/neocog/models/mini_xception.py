"""The small Xception of Chollet, "Deep learning with Python", second edition, chapter 9, without biases.

The network that this Keras code makes, to the pixel:

    x = Conv2D(32, 5, use_bias=False)(Rescaling(1. / 255)(inputs))
    for size in [32, 64, 128, 256, 512]:
        residual = x
        for _ in range(2):
            x = Activation("relu")(BatchNormalization()(x))
            x = SeparableConv2D(size, 3, padding="same", use_bias=False)(x)
        x = MaxPooling2D(3, strides=2, padding="same")(x)
        x = add([x, Conv2D(size, 1, strides=2, padding="same", use_bias=False)(residual)])
    outputs = Dense(1, activation="sigmoid")(Dropout(0.5)(GlobalAveragePooling2D()(x)))
"""

from __future__ import annotations

from torch import Tensor, nn

from neocog._checks import integer
from neocog.models._initialise import glorot_uniform
from neocog.models._same import SameMaxPool2d
from neocog.models.xception import SeparableConv2d, batch_norm

WIDTHS = (32, 64, 128, 256, 512)


class Block(nn.Module):
    """Twice (batch norm, ReLU, separable convolution), then half the size, and a strided 1x1 shortcut around it.

    x (N, in_channels, H, W) -> (N, out_channels, ceil(H/2), ceil(W/2)).
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            batch_norm(in_channels),
            nn.ReLU(inplace=True),
            SeparableConv2d(in_channels, out_channels),
            batch_norm(out_channels),
            nn.ReLU(inplace=True),
            SeparableConv2d(out_channels, out_channels),
            SameMaxPool2d(),
        )
        # A 1x1 kernel needs no padding to be "same", whatever the stride.
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride=2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x) + self.shortcut(x)
        return y


class MiniXception(nn.Module):
    """An unpadded 5x5 convolution, five blocks of 32 to 512 channels, average pooling, dropout, one linear layer."""

    def __init__(self, num_classes: int, in_channels: int, dropout: float) -> None:
        super().__init__()
        integer("num_classes", num_classes, minimum=1)
        integer("in_channels", in_channels, minimum=1)
        self.stem = nn.Conv2d(in_channels, 32, 5, bias=False)
        self.blocks = nn.Sequential(
            *(Block(before, after) for before, after in zip((32, *WIDTHS), WIDTHS, strict=False))
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(WIDTHS[-1], num_classes)
        glorot_uniform(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.stem(x * (1 / 255)))
        y: Tensor = self.fc(self.dropout(self.pool(x).flatten(1)))
        return y


def mini_xception(*, num_classes: int = 1, in_channels: int = 3, dropout: float = 0.5) -> MiniXception:
    """The small Xception, made for 180x180: images (N, in_channels, H, W) in [0, 255] -> logits (N, num_classes).

    718,849 parameters (and 3,008 running statistics), 0.383 G multiply-adds at 180x180; any size of at least 5x5
    works. The probability of the Keras network is the sigmoid of its one logit: train with `BCEWithLogitsLoss`.

    Source: Chollet, "Deep learning with Python", second edition, 2021, section 9.3.5; the first convolution and all
    others have no bias.
    """
    return MiniXception(num_classes, in_channels, dropout)
