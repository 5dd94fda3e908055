"""What the tests of torch.compile share: comparison with eager, what runs in torch, a small layer."""

from __future__ import annotations

from typing import Any

import torch
from aten_checks import leaves
from neocog.torch import backend
from torch import Tensor, nn


def compiled(module: nn.Module, **options: Any) -> Any:
    return torch.compile(module, backend=backend.neocog, **options)


def image(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def assert_near(ours: Any, theirs: Any, relative: float = 2e-5) -> None:
    ours, theirs = leaves(ours), leaves(theirs)
    assert len(ours) == len(theirs)
    for y, expected in zip(ours, theirs, strict=True):
        assert y.stride() == expected.stride()
        torch.testing.assert_close(y, expected, rtol=0, atol=relative * max(1.0, expected.abs().max().item()))


def in_torch() -> dict[str, list[str]]:
    """Which operators run in torch, and why."""
    return {name: list(count["torch"]) for name, count in backend.stats().items() if count["torch"]}


class OneLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).relu()
