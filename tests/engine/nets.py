"""Small networks of the kinds that people export: for each a module, shapes of inputs, and which sizes stay open.

They are written as their papers' common implementations are, with the idioms that reach an importer: shapes asked in
the forward pass, views, in-place activations, crops by negative numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Case:
    """A network, and the shapes of its one input: the first is the example, all must run from one graph."""

    make: Callable[[], nn.Module]
    shapes: tuple[Shape, ...]

    def module(self) -> nn.Module:
        """In evaluation mode, with weights that keep signals alive and statistics that count."""
        torch.manual_seed(0)
        module = self.make()
        with torch.no_grad():
            for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
                if name.endswith("running_var"):
                    tensor.uniform_(0.5, 1.5)
                elif name.endswith(("bias", "running_mean")):
                    tensor.normal_(0, 0.2)
                elif tensor.dim() == 1 and isinstance(tensor, nn.Parameter):
                    tensor.normal_(1, 0.2)
                elif tensor.dim() > 1 and isinstance(tensor, nn.Parameter) and tensor[0].numel() > 1:
                    nn.init.kaiming_normal_(tensor)
        return module.eval()


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


class UNet(nn.Module):
    """Ronneberger et al., 2015, with padding of what the halving lost and transposed or bilinear upsampling."""

    def __init__(self, bilinear: bool) -> None:
        super().__init__()
        self.down1, self.down2, self.bottom = conv_bn(1, 4), conv_bn(4, 8), conv_bn(8, 8)
        if bilinear:
            self.up: nn.Module = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        else:
            self.up = nn.ConvTranspose2d(8, 8, 2, 2)
        self.up1, self.up2, self.head = conv_bn(16, 8), conv_bn(12, 4), nn.Conv2d(4, 2, 1)

    def join(self, x: Tensor, skip: Tensor) -> Tensor:
        x = self.up(x)
        dy, dx = skip.size(2) - x.size(2), skip.size(3) - x.size(3)
        x = F.pad(x, [dx // 2, dx - dx // 2, dy // 2, dy - dy // 2])
        return torch.cat([skip, x], dim=1)

    def forward(self, x: Tensor) -> Tensor:
        one = self.down1(x)
        two = self.down2(F.max_pool2d(one, 2))
        y = self.up1(self.join(self.bottom(F.max_pool2d(two, 2)), two))
        return self.head(self.up2(self.join(y, one)))


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


class SuperResolution(nn.Module):
    """Shi et al., 2016: enlarged by exchanging channels for pixels, over a bicubic image."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 8, 5, padding=2), nn.Tanh(), nn.Conv2d(8, 9, 3, padding=1))
        self.slope = nn.PReLU(9)

    def forward(self, x: Tensor) -> Tensor:
        y = F.pixel_shuffle(self.slope(self.layers(x)), 3)
        return torch.clamp(y + F.interpolate(x, scale_factor=3, mode="bicubic"), 0.0, 1.0)


class Style(nn.Module):
    """Johnson et al., 2016: reflected borders, instance norm, nearest upsampling."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(
            nn.ReflectionPad2d(2), nn.Conv2d(3, 6, 5, 2), nn.InstanceNorm2d(6, affine=True), nn.ReLU()
        )
        self.body = nn.Sequential(nn.ReplicationPad2d(1), nn.Conv2d(6, 6, 3), nn.InstanceNorm2d(6))
        self.up = nn.Sequential(nn.Upsample(scale_factor=2), nn.ReflectionPad2d(1), nn.Conv2d(6, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        y = self.down(x)
        return (torch.tanh(self.up(y + self.body(y))) + 1) / 2 * 255


class Atrous(nn.Module):
    """Chen et al., 2017: dilated branches, one of the whole image, brought to the size of the input."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 8, 3, 2)
        self.branches = nn.ModuleList(nn.Conv2d(8, 4, 3, padding=d, dilation=d) for d in (1, 2, 4))
        self.whole, self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 4, 1)), nn.Conv2d(16, 2, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.stem(x)
        whole = F.interpolate(self.whole(y), size=y.shape[-2:], mode="bilinear", align_corners=False)
        y = self.head(torch.cat([*(branch(y) for branch in self.branches), whole], dim=1))
        return {"out": F.interpolate(y, size=x.shape[-2:], mode="bilinear", align_corners=False), "coarse": y}


class Pyramid(nn.Module):
    """Lin et al., 2017, and a detector's head on each level: boxes of a grid, in one list."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.head = conv_bn(3, 8, 3, 2), conv_bn(8, 8, 3, 2), nn.Conv2d(8, 2 * 5, 1)

    def boxes(self, y: Tensor, stride: int) -> Tensor:
        batch, _, height, width = y.shape
        y = self.head(y).view(batch, 2, 5, height, width).permute(0, 1, 3, 4, 2)
        rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        grid = torch.stack((columns, rows), 2).to(y.dtype)
        centres = (y[..., :2].sigmoid() + grid) * stride
        sizes = torch.exp(y[..., 2:4]) * stride
        return torch.cat([centres, sizes, y[..., 4:].sigmoid()], dim=-1).reshape(batch, -1, 5)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        one = self.one(x)
        two = self.two(one)
        levels = [one + F.interpolate(two, size=one.shape[2:], mode="nearest"), two]
        return torch.cat([self.boxes(y, s) for y, s in zip(levels, (2, 4), strict=True)], dim=1), levels


class Focus(nn.Module):
    """The stem of a YOLO (every second pixel apart) and its pyramid of maxima."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.cv = conv_bn(12, 6, act=nn.SiLU), conv_bn(18, 4, 1, act=nn.LeakyReLU)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]], 1)
        x = self.conv(x)
        y = self.cv(torch.cat([x, *(F.max_pool2d(x, k, 1, k // 2) for k in (3, 5))], 1))
        return y.flatten(2).transpose(1, 2)


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


class Wave(nn.Module):
    """Van den Oord et al., 2016: causal dilated convolutions, gates, skips cut to what all have."""

    def __init__(self) -> None:
        super().__init__()
        self.start = nn.Conv1d(1, 6, 1)
        self.gates = nn.ModuleList(nn.Conv1d(6, 12, 2, dilation=d) for d in (1, 2, 4))
        self.mixes = nn.ModuleList(nn.Conv1d(6, 6, 1) for _ in range(3))
        self.causal, self.end = nn.Conv1d(6, 6, 3), nn.Conv1d(6, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x, total = self.start(x), None
        for gate, mix in zip(self.gates, self.mixes, strict=True):
            one, other = gate(x).split(6, dim=1)
            y = mix(torch.tanh(one) * torch.sigmoid(other))
            x = y + x[:, :, -y.size(2) :]
            total = y if total is None else total[:, :, -y.size(2) :] + y
        return self.end(F.relu(self.causal(F.pad(total, (2, 0)))))


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


class Autoencoder(nn.Module):
    """Through a vector and back: the images have one size, the batch any."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.narrow, self.widen = nn.Conv2d(1, 4, 3, 2, 1), nn.Linear(64, 6), nn.Linear(6, 64)
        self.decode = nn.Sequential(
            nn.ConvTranspose2d(4, 4, 3, 2, 1, output_padding=1, groups=2), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 1)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        code = self.narrow(F.relu(self.encode(x)).view(-1, 4 * 4 * 4))
        return torch.sigmoid(self.decode(F.relu(self.widen(code)).view(-1, 4, 4, 4))), code


class Generator(nn.Module):
    """Radford et al., 2015: images from vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ConvTranspose2d(5, 8, 4, 1, 0, bias=False), nn.BatchNorm2d(8), nn.ReLU(True),
            nn.ConvTranspose2d(8, 3, 4, 2, 1, bias=False), nn.Tanh(),
        )  # fmt: skip

    def forward(self, code: Tensor) -> Tensor:
        return self.layers(code[:, :, None, None])


class Normalised(nn.Module):
    """Images prepared inside the network: buffers, scalars, flips and other channel orders."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]))
        self.register_buffer("order", torch.tensor([2, 0, 1]))
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = (x / 255.0 - self.mean) / self.std.reshape(-1, 1, 1)
        x = torch.flip(x, [3])[:, self.order] * 2 - 1
        y = self.conv(x) ** 2
        return torch.stack([y.sqrt(), 1 / (1 + y.abs()), (3 - y).pow(3)], dim=1).sum(dim=(3, 4))


class Attentive(nn.Module):
    """Non-local blocks (Wang et al., 2018) and attention over pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.qkv, self.out = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 24, 1), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        n, c, h, w = x.shape
        q, k, v = self.qkv(x).reshape(n, 3, c, h * w).unbind(1)
        weights = torch.softmax(torch.bmm(q.transpose(1, 2), k) / c**0.5, dim=-1)
        y = torch.matmul(weights, v.transpose(1, 2))
        heads = (y.view(n, h * w, 2, 4).transpose(1, 2) for _ in range(3))
        y = y + F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
        return x + self.out(y).transpose(1, 2).view(n, c, h, w)


IMAGES = ((1, 3, 32, 32), (3, 3, 33, 46), (2, 3, 40, 29))
GREY = ((2, 1, 16, 16), (1, 1, 19, 26), (3, 1, 22, 17))
WAVES = ((1, 1, 400), (3, 1, 533))

NETS: dict[str, Case] = {
    "residual": Case(Residual, IMAGES),
    "mobile_relu6": Case(lambda: Mobile(nn.ReLU6, None), IMAGES),
    "mobile_hardswish": Case(lambda: Mobile(nn.Hardswish, nn.Hardsigmoid), IMAGES),
    "efficient_swish": Case(lambda: Mobile(nn.SiLU, nn.Sigmoid), IMAGES),
    "unet_transposed": Case(lambda: UNet(False), GREY),
    "unet_bilinear": Case(lambda: UNet(True), GREY),
    "xception": Case(Xception, IMAGES),
    "dense": Case(Dense, IMAGES),
    "shuffle": Case(Shuffle, IMAGES),
    "convnext": Case(ConvNeXt, IMAGES),
    "super_resolution": Case(SuperResolution, GREY),
    "style": Case(Style, IMAGES),
    "atrous": Case(Atrous, IMAGES),
    "pyramid": Case(Pyramid, IMAGES),
    "focus": Case(Focus, ((2, 3, 16, 16), (1, 3, 24, 18))),
    "audio": Case(Audio, WAVES),
    "wave": Case(Wave, WAVES),
    "grouped": Case(Grouped, IMAGES),
    "inception": Case(Inception, IMAGES),
    "autoencoder": Case(Autoencoder, ((2, 1, 8, 8), (1, 1, 8, 8), (5, 1, 8, 8))),
    "generator": Case(Generator, ((2, 5), (3, 5))),
    "normalised": Case(Normalised, IMAGES),
    "attentive": Case(Attentive, ((2, 3, 12, 12), (1, 3, 9, 14))),
}
