"""Networks that make images, sounds, boxes or maps, in small, as their papers' common implementations write them."""

from __future__ import annotations

import torch
from nets_classes import conv_bn
from torch import Tensor, nn
from torch.nn import functional as F


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
