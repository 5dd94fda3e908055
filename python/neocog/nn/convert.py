"""Swap the layers of a model for ours."""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch

from neocog.nn import batch_norm, conv, conv_transpose, pool

_OURS: dict[type[torch.nn.Module], type[torch.nn.Module]] = {
    layer.__bases__[-1]: layer
    for layer in (
        conv.Conv1d,
        conv.Conv2d,
        conv_transpose.ConvTranspose1d,
        conv_transpose.ConvTranspose2d,
        batch_norm.BatchNorm1d,
        batch_norm.BatchNorm2d,
        pool.MaxPool1d,
        pool.MaxPool2d,
        pool.AvgPool1d,
        pool.AvgPool2d,
        pool.AdaptiveMaxPool1d,
        pool.AdaptiveMaxPool2d,
        pool.AdaptiveAvgPool1d,
        pool.AdaptiveAvgPool2d,
    )
}


class Conversion(NamedTuple):
    """What `convert_and_report` did."""

    model: torch.nn.Module
    swapped: dict[str, str]  # the name of each layer that is ours now, and its kind
    kept: dict[str, str]  # the name of each subclass of such a layer that stayed as it was, and its kind


def convert(model: torch.nn.Module, *, inplace: bool = False) -> torch.nn.Module:
    """Swap the torch.nn layers of a model for those of `neocog.nn`.

    Parameters, buffers, hooks, training flags and everything else that was set on a layer stay; a layer used twice
    stays one layer. Subclasses of torch's layers may compute something else, so they are left alone.

    Args:
        model: Any module; one of the layers itself, too.
        inplace: Change `model` and not a deep copy of it.
    Returns:
        The model with our layers.
    Raises:
        TypeError: `model` is not a torch.nn.Module.
    """
    return convert_and_report(model, inplace=inplace).model


def convert_and_report(model: torch.nn.Module, *, inplace: bool = False) -> Conversion:
    """`convert`, and what it swapped and what it left alone, by the names of `model.named_modules()`.

    Args:
        model, inplace: As in `convert`.
    Raises:
        TypeError: As `convert`.
    """
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"`model` is a {type(model).__name__}; it must be a torch.nn.Module.")
    if not inplace:
        model = copy.deepcopy(model)
    swapped, kept = {}, {}
    for name, layer in model.named_modules():
        kind = type(layer)
        if kind in _OURS:
            layer.__class__ = _OURS[kind]  # same attributes, so nothing else has to move
            swapped[name] = kind.__name__
        elif isinstance(layer, tuple(_OURS)) and kind not in _OURS.values():
            kept[name] = kind.__name__
    return Conversion(model, swapped, kept)
