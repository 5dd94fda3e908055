"""The rows of `python -m bench nets`: the networks of `train`, as if they were trained, on one batch. Needs PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from bench.networks import Network

# Batches of this many images that set the statistics of batch norms.
STATISTICS_BATCHES, STATISTICS_BATCH = 2, 4
# Weights of batch norms are this far around 1, and biases have this deviation, where inputs of ReLUs deviate by 1: most
# ReLUs are open or shut then. With fewer of them a network of random weights enlarges errors from layer to layer, as
# none does that was trained: PyTorch's own error in ResNet-50 is 4e-7 with biases of 2, 2e-6 with 1, 2e-5 with 0.1.
NORM_WEIGHTS, BIASES = 0.25, 2.0
# The largest value of an image where the network itself divides by it; elsewhere images come normalised.
LARGEST_PIXEL = {"mini_xception": 255.0}


@dataclass(frozen=True)
class Row:
    """One network in inference on one batch."""

    network: Network
    precision: str = "fp32"  # or "bf16": what every contender is asked for

    @property
    def name(self) -> str:
        return f"{self.network.name}, batch {self.batch}"

    @property
    def model(self) -> str:
        return self.network.model

    @property
    def batch(self) -> int:
        return self.network.batch

    @property
    def size(self) -> int:
        return self.network.size

    def build(self) -> nn.Module:
        """The same weights in every call and for every batch, float32, in inference mode.

        Initial weights, but none that are zero or one throughout, which would hide who forgets them; running
        statistics are those of seeded images. Without batch norms the convolutions are scaled instead. So activations
        stay in their range through any number of layers, and the result depends on the images.
        """
        model = self.network.build().eval()
        random = torch.Generator().manual_seed(self.network.seed)
        norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
        scaled = [] if norms else [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.rpartition(".")[2] == "bias":
                    parameter.normal_(0, BIASES, generator=random)
            for norm in norms:
                norm.weight.uniform_(1 - NORM_WEIGHTS, 1 + NORM_WEIGHTS, generator=random)
            _see(model, norms, scaled, [self._images(STATISTICS_BATCH, random) for _ in range(STATISTICS_BATCHES)])
        return model

    def images(self) -> Tensor:
        """(batch, 3, size, size), the same in every run; none of those that set the statistics."""
        return self._images(self.batch, torch.Generator().manual_seed(self.network.seed + 1))

    def flops(self) -> int:
        """Operations by the direct method, a multiply-add being two."""
        return self.network.forward_flops()

    def _images(self, batch: int, random: torch.Generator) -> Tensor:
        shape = (batch, 3, self.size, self.size)
        if (largest := LARGEST_PIXEL.get(self.model)) is not None:
            return largest * torch.rand(shape, generator=random)
        return torch.randn(shape, generator=random)


def _see(
    model: nn.Module, norms: Sequence[nn.BatchNorm2d], scaled: Sequence[nn.Module], batches: Sequence[Tensor]
) -> None:
    """Statistics of `norms` are those of all batches, weights of `scaled` such that in the first y deviates by 1."""
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train().momentum = None  # the mean of all batches, each alike
    hooks = [layer.register_forward_hook(_scale) for layer in scaled]
    for batch in batches:
        model(batch)
        for hook in hooks:
            hook.remove()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.eval().momentum = momentum


def _scale(layer: nn.Module, x: tuple[Tensor], y: Tensor) -> Tensor:
    layer.weight.div_(y.std((0, 2, 3)).mean())
    scaled: Tensor = layer.forward(x[0])
    return scaled


def rows(chosen: Sequence[Network], batches: Sequence[int], precision: str = "fp32") -> list[Row]:
    """Every network with each batch instead of its own."""
    return [Row(replace(network, batch=batch), precision) for network in chosen for batch in batches]
