"""Initial weights, as the frameworks and the papers of the networks draw them; biases start at zero."""

from __future__ import annotations

from typing import Literal

from torch import nn

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d)


def glorot_uniform(model: nn.Module) -> None:
    """Overwrite all layers that have a kernel, as Keras does by default.

    Source: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.
    """
    for layer in model.modules():
        if isinstance(layer, (*_CONVOLUTIONS, nn.Linear)):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def he_normal(model: nn.Module, mode: Literal["fan_in", "fan_out"]) -> None:
    """Overwrite all convolutions, transposed ones apart; linear layers stay as torch makes them.

    Source: He et al., "Delving deep into rectifiers", arXiv:1502.01852, equations 10 and 14.
    """
    for layer in model.modules():
        if isinstance(layer, (nn.Conv1d, nn.Conv2d)):
            nn.init.kaiming_normal_(layer.weight, mode=mode, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
