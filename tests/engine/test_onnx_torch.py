"""Networks that PyTorch writes as ONNX, imported and run by the oracle at two sizes, against PyTorch."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

import torch.nn.functional as F  # noqa: E402
from neocog.engine.importers.onnx import from_onnx  # noqa: E402
from reference_graph import run  # noqa: E402
from torch import nn  # noqa: E402


class Segmentation(nn.Module):
    """Norms of all kinds, gates, attention, and images enlarged to the size of others."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.slope, self.groups = nn.Conv2d(3, 8, 3, padding=1), nn.PReLU(8), nn.GroupNorm(2, 8)
        self.up, self.instance = nn.ConvTranspose2d(8, 8, 3, 2, 1, 1), nn.InstanceNorm2d(8, affine=True)
        self.layer, self.head = nn.LayerNorm(8), nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = self.slope(self.groups(self.stem(x)))
        z = F.interpolate(self.instance(self.up(y)), size=x.shape[2:], mode="bilinear")
        a, b = torch.cat([y, z], 1).chunk(2, 1)
        y = a * torch.sigmoid(b) + F.hardswish(a) + F.silu(b) + F.gelu(a)
        y = F.max_pool2d(F.pad(y, (1, 2, 0, 1), mode="reflect"), 3, 2, 1, ceil_mode=True)
        n, c, h, w = y.shape
        t = self.layer(y.view(n, c, h * w).transpose(1, 2))
        t = t + torch.softmax(t @ t.transpose(1, 2) / c**0.5, -1) @ t
        y = t.transpose(1, 2).reshape(n, c, h, w)
        classes = self.head(F.adaptive_avg_pool2d(y, 1).flatten(1))
        return F.log_softmax(classes, 1), y.mean(1, keepdim=True).clamp(0, 6)


class Shuffled(nn.Module):
    """Channels shuffled by views, pixels by factors, and slices."""

    def __init__(self) -> None:
        super().__init__()
        self.grouped = nn.Conv2d(4, 16, 3, padding=1, groups=2)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        y = self.grouped(x)
        n, c, h, w = y.shape
        y = y.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, -1, h, w)
        y = F.pixel_unshuffle(F.pixel_shuffle(y, 2), 4)
        y = F.avg_pool2d(y, 2, padding=1, ceil_mode=True, count_include_pad=False)
        enlarged = F.interpolate(y, scale_factor=1.5, mode="bicubic")
        return y.norm(dim=1), torch.stack([y.sum(1), y.amax(1)], 1), enlarged, y[:, 1::2, ..., -1]


@pytest.mark.parametrize("opset", [12, 17])
@pytest.mark.parametrize(("network", "channels"), [(Segmentation, 3), (Shuffled, 4)], ids=["segmentation", "shuffled"])
def test_exported_network(network, channels, opset):
    torch.manual_seed(0)
    net = network().eval()
    file = io.BytesIO()
    open_sizes = {"x": {0: "N", 2: "H", 3: "W"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that needs no further package is deprecated
        example = torch.randn(2, channels, 16, 20)
        torch.onnx.export(
            net, (example,), file, dynamo=False, opset_version=opset, input_names=["x"], dynamic_axes=open_sizes
        )
    graph = from_onnx(file.getvalue())
    assert graph.inputs[0].shape == ("N", channels, "H", "W")
    for shape in ((2, channels, 16, 20), (3, channels, 24, 12)):
        x = torch.randn(shape)
        with torch.no_grad():
            expected = net(x)
        for y, expected_y in zip(run(graph, [x.numpy()]), expected, strict=True):
            np.testing.assert_allclose(y, expected_y.numpy(), rtol=1e-4, atol=1e-5)
