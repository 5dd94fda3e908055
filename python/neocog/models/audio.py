"""Classifiers of raw sound: Dai et al., "Very deep convolutional neural networks for raw waveforms", arXiv:1610.00087.

One convolution of 80 samples, ten milliseconds at 8 kHz, takes the place of a spectrogram; all others have three taps.
"""

from __future__ import annotations

from torch import Tensor, nn

from neocog._checks import integer
from neocog.models._initialise import glorot_uniform


class WaveformNet(nn.Module):
    """Groups of convolutions, each with batch norm and ReLU, a fourfold max pool after each group; average pooling.

    Args:
        stem: Channels of the convolution of 80 samples.
        groups: (channels, convolutions) of each group after it.
        num_classes: Logits per sound.
        in_channels: 1 for mono, 2 for stereo.
    """

    def __init__(self, stem: int, groups: tuple[tuple[int, int], ...], num_classes: int, in_channels: int) -> None:
        super().__init__()
        integer("num_classes", num_classes, minimum=1)
        integer("in_channels", in_channels, minimum=1)
        # 38 on each side is "same" for lengths that are a multiple of four.
        layers: list[nn.Module] = [nn.Conv1d(in_channels, stem, 80, stride=4, padding=38)]
        layers += [nn.BatchNorm1d(stem), nn.ReLU(inplace=True), nn.MaxPool1d(4)]
        before = stem
        for channels, convolutions in groups:
            for _ in range(convolutions):
                layers += [nn.Conv1d(before, channels, 3, padding=1), nn.BatchNorm1d(channels), nn.ReLU(inplace=True)]
                before = channels
            layers.append(nn.MaxPool1d(4))
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool1d(1)
        self.fc = nn.Linear(before, num_classes)
        glorot_uniform(self)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc(self.pool(self.features(x)).flatten(1))
        return y


def m3(*, num_classes: int = 10, in_channels: int = 1) -> WaveformNet:
    """M3: waveforms (N, in_channels, L) -> logits (N, num_classes).

    221,194 parameters, 0.557 G multiply-adds for 32,000 samples; one output sees 172. L >= 64.

    Source: Dai et al., arXiv:1610.00087, table 1.
    """
    return WaveformNet(256, ((256, 1),), num_classes, in_channels)


def m5(*, num_classes: int = 10, in_channels: int = 1) -> WaveformNet:
    """M5: waveforms (N, in_channels, L) -> logits (N, num_classes).

    559,114 parameters, 0.279 G multiply-adds for 32,000 samples; one output sees 1,772. L >= 1024.

    Source: Dai et al., arXiv:1610.00087, table 1.
    """
    return WaveformNet(128, ((128, 1), (256, 1), (512, 1)), num_classes, in_channels)


def m11(*, num_classes: int = 10, in_channels: int = 1) -> WaveformNet:
    """M11: waveforms (N, in_channels, L) -> logits (N, num_classes).

    1,786,442 parameters, 0.225 G multiply-adds for 32,000 samples; one output sees 10,124. L >= 4096.

    Source: Dai et al., arXiv:1610.00087, table 1.
    """
    return WaveformNet(64, ((64, 2), (128, 2), (256, 3), (512, 2)), num_classes, in_channels)


def m18(*, num_classes: int = 10, in_channels: int = 1) -> WaveformNet:
    """M18: waveforms (N, in_channels, L) -> logits (N, num_classes).

    3,683,786 parameters, 0.397 G multiply-adds for 32,000 samples; one output sees 15,052. L >= 4096.

    Source: Dai et al., arXiv:1610.00087, table 1.
    """
    return WaveformNet(64, ((64, 4), (128, 4), (256, 4), (512, 4)), num_classes, in_channels)
