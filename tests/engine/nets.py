"""Small networks of the kinds that people export: for each a module, shapes of inputs, and which sizes stay open.

They are written as their papers' common implementations are, with the idioms that reach an importer: shapes asked in
the forward pass, views, in-place activations, crops by negative numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from nets_classes import Audio, ConvNeXt, Dense, Grouped, Inception, Mobile, Residual, Shuffle, Xception
from nets_pictures import (
    Atrous,
    Attentive,
    Autoencoder,
    Focus,
    Generator,
    Normalised,
    Pyramid,
    Style,
    SuperResolution,
    UNet,
    Wave,
)
from torch import nn

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
