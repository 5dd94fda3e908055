"""Train an unmodified PyTorch network on scikit-learn's digits, on stock kernels and on neocog's.

    python examples/train_digits.py                          # a small ResNet, both ways, side by side
    python examples/train_digits.py --model mini_xception --steps 300

Needs pip install "neocog[torch]" scikit-learn. The one line that makes the difference is `with neocog.torch.patch():`.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable

import neocog.torch
import torch
from neocog.models import mini_xception
from neocog.models.resnet import BasicBlock
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


class SmallResNet(nn.Sequential):
    """Three stages of two residual blocks, 16 to 64 channels: (N, 1, H, W) -> (N, 10)."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(inplace=True),
            *(BasicBlock(*sizes) for sizes in [(16, 16, 1), (16, 16, 1), (16, 32, 2), (32, 32, 1)]),
            *(BasicBlock(*sizes) for sizes in [(32, 64, 2), (64, 64, 1)]),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(64, 10),
        )


MODELS: dict[str, Callable[[], nn.Module]] = {
    "resnet": SmallResNet,
    "mini_xception": lambda: mini_xception(num_classes=10, in_channels=1, dropout=0.2),
}


def digits(enlarge: int = 3) -> tuple[TensorDataset, TensorDataset]:
    """1,797 handwritten digits, 8x8 pixels enlarged, in [0, 255]: 1,500 to train with and 297 to test with."""
    data = load_digits()
    images = torch.from_numpy(data.images).float()[:, None] * (255 / 16)
    images = F.interpolate(images, scale_factor=enlarge, mode="nearest")
    labels = torch.from_numpy(data.target)
    return TensorDataset(images[:1500], labels[:1500]), TensorDataset(images[1500:], labels[1500:])


def train(
    name: str,
    steps: int,
    *,
    seed: int = 0,
    batch_size: int = 32,
    lr: float = 0.02,
    momentum: float = 0.9,
    enlarge: int = 3,
) -> tuple[nn.Module, list[float]]:
    """The trained model and its loss at every step; the same numbers for the same seed."""
    torch.manual_seed(seed)
    model = MODELS[name]().train()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum, weight_decay=1e-4)
    generator = torch.Generator().manual_seed(seed)
    loader = DataLoader(digits(enlarge)[0], batch_size, shuffle=True, drop_last=True, generator=generator)
    losses: list[float] = []
    while len(losses) < steps:
        for images, labels in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if len(losses) == steps:
                break
    return model, losses


@torch.no_grad()
def accuracy(model: nn.Module) -> float:
    """The part of the test digits that the model names."""
    images, labels = digits()[1].tensors
    predicted: Tensor = model.eval()(images).argmax(1)
    return (predicted == labels).float().mean().item()


def main() -> None:
    """Train twice from the same seed and print both curves.

    Two float32 trainings part in time, as PyTorch's do in its two memory formats: roundings grow with every step, the
    faster the larger the learning rate.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=MODELS, default="resnet")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--lr", type=float, default=0.02, help="learning rate (default: %(default)s)")
    args = parser.parse_args()
    curves, results = [], []
    for kernels in (contextlib.nullcontext(), neocog.torch.patch()):
        with kernels:
            start = time.perf_counter()
            model, losses = train(args.model, args.steps, lr=args.lr)
            results.append((time.perf_counter() - start, accuracy(model)))
        curves.append(losses)
    print(f"{'step':>5}  {'torch':>8}  {'neocog':>8}   loss")
    for step in range(0, args.steps, max(1, args.steps // 10)):
        print(f"{step:5}  {curves[0][step]:8.4f}  {curves[1][step]:8.4f}")
    for what, (seconds, right) in zip(("torch", "neocog"), results, strict=True):
        print(f"{what:>6}: {seconds:.1f} s, {right:.1%} of the test digits right")


if __name__ == "__main__":
    main()
