"""Networks by name, for programs that read it from a command line or a file."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from neocog.models.audio import m3, m5, m11, m18
from neocog.models.autoencoder import strided_autoencoder
from neocog.models.mini_xception import mini_xception
from neocog.models.resnet import resnet18, resnet50
from neocog.models.unet import unet
from neocog.models.xception import xception

MODELS: dict[str, Callable[..., nn.Module]] = {
    "m11": m11,
    "m18": m18,
    "m3": m3,
    "m5": m5,
    "mini_xception": mini_xception,
    "resnet18": resnet18,
    "resnet50": resnet50,
    "strided_autoencoder": strided_autoencoder,
    "unet": unet,
    "xception": xception,
}


def create_model(name: str, **kwargs: Any) -> nn.Module:
    """A new network with fresh weights.

    Args:
        name: One of `list_models()`.
        kwargs: As the function of that name takes them; all take `num_classes` and `in_channels`.
    Raises:
        ValueError: There is no such network, or an argument is out of its range.
        TypeError: The network has no such argument.
    """
    if name not in MODELS:
        near = difflib.get_close_matches(name, MODELS, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(MODELS)}."
        raise ValueError(f"`name` is {name!r}, which is no model; {hint}")
    return MODELS[name](**kwargs)


def list_models(pattern: str = "*") -> list[str]:
    """Names that `create_model` knows and that match a shell pattern ("resnet*"), sorted."""
    return sorted(name for name in MODELS if fnmatchcase(name, pattern))
