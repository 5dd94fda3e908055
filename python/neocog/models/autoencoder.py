"""A strided auto-encoder for segmentation: Chollet, "Deep learning with Python", second edition, section 9.2.

No pooling: strided convolutions go down, transposed ones up. The network of Keras to the pixel, its "same" padding
included.
"""

from __future__ import annotations

from torch import Tensor, nn

from neocog._checks import integer
from neocog.models._initialise import glorot_uniform
from neocog.models._same import SameCrop2d, SamePad2d

WIDTHS = (64, 128, 256)


class StridedAutoencoder(nn.Module):
    """Three times (3x3 stride 2, 3x3), three times (transposed 3x3, transposed 3x3 stride 2), a 3x3 head."""

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__()
        integer("num_classes", num_classes, minimum=1)
        integer("in_channels", in_channels, minimum=1)
        down: list[nn.Module] = []
        for before, after in zip((in_channels, *WIDTHS), WIDTHS, strict=False):
            down += [SamePad2d(3, 2), nn.Conv2d(before, after, 3, stride=2), nn.ReLU(inplace=True)]
            down += [nn.Conv2d(after, after, 3, padding=1), nn.ReLU(inplace=True)]
        up: list[nn.Module] = []
        before = WIDTHS[-1]
        for after in reversed(WIDTHS):
            up += [nn.ConvTranspose2d(before, after, 3, padding=1), nn.ReLU(inplace=True)]
            up += [nn.ConvTranspose2d(after, after, 3, stride=2), SameCrop2d(3, 2), nn.ReLU()]
            before = after
        self.encoder, self.decoder = nn.Sequential(*down), nn.Sequential(*up)
        self.head = nn.Conv2d(before, num_classes, 3, padding=1)
        glorot_uniform(self)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-2] % 8 or x.shape[-1] % 8:
            raise ValueError(
                f"`x` has the shape {tuple(x.shape)}; height and width must be multiples of 8: pad the image."
            )
        y: Tensor = self.head(self.decoder(self.encoder(x)))
        return y


def strided_autoencoder(*, num_classes: int = 3, in_channels: int = 3) -> StridedAutoencoder:
    """The strided auto-encoder: images (N, in_channels, H, W) -> logits per pixel (N, num_classes, H, W).

    2,880,643 parameters, 4.51 G multiply-adds at 200x200; 7.39 G at 256x256. Height and width are multiples of 8. The
    Keras network divides images in [0, 255] by 255 first; this one takes what it gets.

    Raises:
        ValueError: The size of the image is no multiple of 8 (when the network is called).
    Source: Chollet, "Deep learning with Python", second edition, 2021, section 9.2.
    """
    return StridedAutoencoder(num_classes, in_channels)
