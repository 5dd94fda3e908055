"""A hundred random networks, forward and backward, with `neocog.torch.patch()` on and off: values, shapes, strides."""

from __future__ import annotations

import random

import pytest

torch = pytest.importorskip("torch")

import neocog.torch  # noqa: E402
from torch import nn  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def layers(dice: random.Random, channels: int, size: tuple[int, ...]) -> tuple[nn.Module, int]:
    """One random layer for images of this size, and its number of channels."""
    planar = len(size) == 2
    kind = dice.choice(["conv", "conv", "depthwise", "transposed", "norm", "pool", "adaptive", "upsample"])
    kernel = tuple(dice.randint(1, min(4, n)) for n in size)
    stride = tuple(dice.randint(1, 3) for _ in size)
    if kind in ("conv", "depthwise"):
        groups = channels if kind == "depthwise" else dice.choice([g for g in (1, 2, 4) if channels % g == 0])
        out = groups * dice.randint(1, 3)
        padding = tuple(dice.randint(0, k) for k in kernel)
        dilation = tuple(dice.randint(1, 2) if d * 2 < n else 1 for d, n in zip(kernel, size, strict=True))
        made = (nn.Conv2d if planar else nn.Conv1d)(
            channels, out, kernel, stride, padding, dilation, groups, bias=dice.random() < 0.5
        )
        return made, out
    if kind == "transposed":
        groups = dice.choice([g for g in (1, 2) if channels % g == 0])
        out = groups * dice.randint(1, 3)
        padding = tuple(dice.randint(0, (k - 1) // 2) for k in kernel)
        extra = tuple(dice.randint(0, s - 1) for s in stride)
        made = (nn.ConvTranspose2d if planar else nn.ConvTranspose1d)(
            channels, out, kernel, stride, padding, extra, groups, bias=dice.random() < 0.5
        )
        return made, out
    if kind == "norm":
        norm = nn.BatchNorm2d if planar else nn.BatchNorm1d
        # Not ReLU: a constant channel is normalised to zero up to rounding, which would decide between its slopes.
        return nn.Sequential(norm(channels, affine=dice.random() < 0.8), nn.SiLU()), channels
    if kind == "pool":
        padding = tuple(k // 2 if dice.random() < 0.5 else 0 for k in kernel)
        ceil = dice.random() < 0.5
        if dice.random() < 0.5:
            return (nn.MaxPool2d if planar else nn.MaxPool1d)(kernel, stride, padding, ceil_mode=ceil), channels
        counted = dice.random() < 0.5
        return (nn.AvgPool2d if planar else nn.AvgPool1d)(kernel, stride, padding, ceil, counted), channels
    if kind == "adaptive":
        target = tuple(dice.randint(1, n) for n in size)
        flat = [nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d] if planar else [nn.AdaptiveAvgPool1d, nn.AdaptiveMaxPool1d]
        return dice.choice(flat)(target), channels
    mode = dice.choice(["nearest", "bilinear" if planar else "linear"])
    return nn.Upsample(scale_factor=dice.choice([1.5, 2.0]), mode=mode), channels


def network(dice: random.Random, shape: tuple[int, ...]) -> nn.Sequential:
    made = nn.Sequential()
    for _ in range(dice.randint(2, 6)):
        # Images grow and shrink: what comes out says how large the next layer may be.
        size = tuple(made(torch.zeros(shape)).shape)
        if max(size[2:]) > 40:
            made.append((nn.AdaptiveAvgPool2d if len(size) == 4 else nn.AdaptiveAvgPool1d)(9))
            continue
        layer, _ = layers(dice, size[1], size[2:])
        made.append(layer)
    return made


def results(model: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """Every layer's output and every gradient."""
    outputs = []
    hooks = [layer.register_forward_hook(lambda module, args, y: outputs.append(y)) for layer in model]
    y = model(x)
    for hook in hooks:
        hook.remove()
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(0), dtype=y.dtype)
    wanted = [x, *model.parameters()]
    return [*outputs, *torch.autograd.grad(y, wanted, weights, allow_unused=True)]


@pytest.mark.parametrize("seed", range(100))
def test_random_network(seed):
    dice = random.Random(seed)
    torch.manual_seed(seed)
    spatial = dice.choice([1, 2, 2])
    shape = (dice.randint(2, 3), dice.choice([1, 2, 3, 4, 8, 17]), *(dice.randint(7, 24) for _ in range(spatial)))
    model = network(dice, shape)
    dtype = dice.choice([torch.float32, torch.float64])
    model, x = model.to(dtype), torch.randn(shape, dtype=dtype)
    if spatial == 2 and dice.random() < 0.5:
        x = x.contiguous(memory_format=torch.channels_last)
        if dice.random() < 0.5:
            model = model.to(memory_format=torch.channels_last)
    x.requires_grad_()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    stock = results(model, x)
    model.load_state_dict(state)
    neocog.torch.stats(reset=True)
    with neocog.torch.patch():
        ours = results(model, x)
    counts = neocog.torch.stats(reset=True)
    assert {reason for entry in counts.values() for reason in entry["torch"]} <= {"one value per channel"}
    for index, (mine, theirs) in enumerate(zip(ours, stock, strict=True)):
        where = f"tensor {index} of {model}, {tuple(x.shape)}, strides {x.stride()}, {dtype}"
        if theirs is None:
            assert mine is None, where
            continue
        assert mine.stride() == theirs.stride(), where
        scale = max(1.0, theirs.abs().max().item())
        # float32 gradients of two samples' batch norm lose digits in both libraries.
        relative = 1e-10 if dtype == torch.float64 else 1e-4
        torch.testing.assert_close(mine, theirs, rtol=0, atol=relative * scale, msg=lambda m, w=where: f"{w}: {m}")
