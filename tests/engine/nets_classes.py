"""Classifiers of images and sounds, in small, as their papers' common implementations write them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def conv_bn(i: int, o: int, k: int = 3, s: int = 1, g: int = 1, act: type[nn.Module] | None = nn.ReLU) -> nn.Sequential:
    layers = [nn.Conv2d(i, o, k, s, k // 2, groups=g, bias=False), nn.BatchNorm2d(o)]
    return nn.Sequential(*layers, *([act()] if act else []))


class Residual(nn.Module):
    """He et al., 2015: a stem, blocks with and without a projection, global pooling."""

    class Block(nn.Module):
        def __init__(self, i: int, o: int, stride: int) -> None:
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o)
            self.conv2, self.bn2 = nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o)
            self.relu = nn.ReLU(inplace=True)
            self.downsample = None if (i, stride) == (o, 1) else conv_bn(i, o, 1, stride, act=None)

        def forward(self, x: Tensor) -> Tensor:
            y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
            y += x if self.downsample is None else self.downsample(x)
            return self.relu(y)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(*conv_bn(3, 8, 7, 2), nn.MaxPool2d(3, 2, 1))
        self.layer1 = nn.Sequential(self.Block(8, 8, 1), self.Block(8, 12, 2))
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.flatten(self.avgpool(self.layer1(self.stem(x))), 1))


class Mobile(nn.Module):
    """Sandler et al., 2018, and Howard et al., 2019: inverted residuals, squeeze and excitation, hard activations."""

    class Squeeze(nn.Module):
        def __init__(self, c: int, act: type[nn.Module], gate: type[nn.Module]) -> None:
            super().__init__()
            self.fc = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(c, 4, 1), act(), nn.Conv2d(4, c, 1), gate())

        def forward(self, x: Tensor) -> Tensor:
            return x * self.fc(x)

    class Block(nn.Module):
        def __init__(self, i: int, o: int, stride: int, act: type[nn.Module], squeeze: nn.Module | None = None) -> None:
            super().__init__()
            self.skip = i == o and stride == 1
            self.layers = nn.Sequential(
                conv_bn(i, 4 * i, 1, act=act),
                conv_bn(4 * i, 4 * i, 3, stride, 4 * i, act=act),
                squeeze or nn.Identity(),
                conv_bn(4 * i, o, 1, act=None),
            )

        def forward(self, x: Tensor) -> Tensor:
            return x + self.layers(x) if self.skip else self.layers(x)

    def __init__(self, act: type[nn.Module], gate: type[nn.Module] | None) -> None:
        super().__init__()
        squeeze = self.Squeeze(32, act, gate) if gate else None
        self.features = nn.Sequential(
            conv_bn(3, 8, 3, 2, act=act), self.Block(8, 8, 1, act, squeeze), self.Block(8, 6, 2, act)
        )
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(6, 5), nn.Hardswish(inplace=True), nn.Linear(5, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean([2, 3]))


class Xception(nn.Module):
    """Chollet, 2017: depthwise and pointwise convolutions around a strided projection."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 8, 3, 2)
        self.separable = nn.Sequential(
            nn.Conv2d(8, 8, 3, padding="same", groups=8, bias=False),
            nn.Conv2d(8, 12, 1, bias=False),
            nn.BatchNorm2d(12),
            nn.MaxPool2d(3, 2, 1),
        )
        self.project = conv_bn(8, 12, 1, 2, act=None)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return F.adaptive_avg_pool2d(self.separable(x) + self.project(x), (1, 1)).flatten(1).softmax(1)


class Dense(nn.Module):
    """Huang et al., 2017: each layer sees all before it; a transition pools by means."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm2d(6 + 4 * n) for n in range(3))
        self.convs = nn.ModuleList(nn.Conv2d(6 + 4 * n, 4, 3, padding=1, bias=False) for n in range(3))
        self.stem, self.transition = nn.Conv2d(3, 6, 3, 1, 1), nn.Conv2d(18, 9, 1)

    def forward(self, x: Tensor) -> Tensor:
        features = [self.stem(x)]
        for norm, conv in zip(self.norms, self.convs, strict=True):
            features.append(conv(F.relu(norm(torch.cat(features, 1)), inplace=True)))
        y = F.avg_pool2d(self.transition(torch.cat(features, 1)), kernel_size=2, stride=2)
        return F.relu(y).mean((2, 3), keepdim=True).view(x.size(0), -1)


class Shuffle(nn.Module):
    """Ma et al., 2018: half of the channels passes by, then the halves are shuffled."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.branch = conv_bn(3, 8, 3, 2), nn.Sequential(conv_bn(4, 4, 1), conv_bn(4, 4, 3, 1, 4, act=None))
        self.shuffle = nn.ChannelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        one, two = self.stem(x).chunk(2, dim=1)
        y = torch.cat((one, self.branch(two)), dim=1)
        batch, channels, height, width = y.size()
        y = y.view(batch, 2, channels // 2, height, width)
        y = torch.transpose(y, 1, 2).contiguous()
        y = self.shuffle(y.view(batch, channels, height, width))
        return y.mean([2, 3])


class ConvNeXt(nn.Module):
    """Liu et al., 2022, and its second version's global response normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 4, 4), nn.LayerNorm(8, eps=1e-6)
        self.depthwise, self.expand, self.reduce = (
            nn.Conv2d(8, 8, 7, 1, 3, groups=8),
            nn.Linear(8, 16),
            nn.Linear(16, 8),
        )
        self.gamma = nn.Parameter(torch.full((8,), 0.3))
        self.grn_gamma, self.grn_beta = (nn.Parameter(torch.randn(1, 1, 1, 16)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = F.gelu(self.expand(self.norm(self.depthwise(x).permute(0, 2, 3, 1))))
        response = torch.norm(y, p=2, dim=(1, 2), keepdim=True)
        response = response / (response.mean(dim=-1, keepdim=True) + 1e-6)
        y = self.grn_gamma * (y * response) + self.grn_beta + y
        x = x + (self.gamma * self.reduce(y)).permute(0, 3, 1, 2)
        return self.norm(x.mean([-2, -1]))


class Grouped(nn.Module):
    """Group norm, weights that are standardised at every call, means and maxima over channels as attention."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(4, 8)
        self.normed = nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 8, 3, padding=1))
        self.attention, self.fc = nn.Conv2d(2, 1, 3, padding=1), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.conv.weight
        var, mean = torch.var_mean(weight, dim=[1, 2, 3], keepdim=True, unbiased=False)
        x = self.norm(F.conv2d(x, (weight - mean) / torch.sqrt(var + 1e-5), self.conv.bias, padding=1))
        x = F.elu(self.normed(x))
        gate = torch.cat([x.mean(1, keepdim=True), torch.max(x, dim=1, keepdim=True)[0]], 1)
        x = x * self.attention(gate).sigmoid()
        return self.fc(x.amax((2, 3)))


class Inception(nn.Module):
    """Szegedy et al., 2014: parallel branches, maxima over ragged borders, response normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = conv_bn(4, 2, 1), conv_bn(4, 3, 3), conv_bn(4, 3, 5)
        self.stem, self.lrn, self.norm = nn.Conv2d(3, 4, 3, 2), nn.LocalResponseNorm(3, alpha=0.1), nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.lrn(F.max_pool2d(F.relu(self.stem(x)), 3, 2, ceil_mode=True))
        x = torch.cat([self.a(x), self.b(x), self.c(F.avg_pool2d(x, 3, 1, 1))], 1)
        x = F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False)
        return F.adaptive_max_pool2d(F.hardtanh(self.norm(x)), 2).flatten(1)


class Audio(nn.Module):
    """Dai et al., 2016: raw waveforms, pooled over all that is left."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1, self.pool = nn.Conv1d(1, 8, 16, stride=4), nn.BatchNorm1d(8), nn.MaxPool1d(4)
        self.conv2, self.fc = nn.Conv1d(8, 8, 3), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv2(self.pool(F.relu(self.bn1(self.conv1(x)))))
        x = F.avg_pool1d(x, x.shape[-1]).permute(0, 2, 1)
        return F.log_softmax(self.fc(x), dim=2).squeeze(1)
