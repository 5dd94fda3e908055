"""aten's normalisations."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from neocog.engine.importers.aten_importer import Importer
from neocog.engine.importers.aten_registry import Result, Unsupported, Value, converts, is_one

Parameter = Value | None


@converts("batch_norm")
def batch_norm(
    importer: Importer,
    x: Value,
    weight: Parameter,
    bias: Parameter,
    running_mean: Parameter,
    running_var: Parameter,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool = False,
) -> Result:
    if training or running_mean is None or running_var is None:
        if running_mean is not None:
            raise Unsupported("batch norm in training mode; call model.eval()")
        return _normalised_by_batch(importer, x, weight, bias, eps)
    parameters = (importer.with_default(weight, 1.0, running_mean), importer.with_default(bias, 0.0, running_mean))
    return importer.emit("batch_norm", x, *parameters, running_mean, running_var, eps=eps)


@converts("native_batch_norm", "_native_batch_norm_legit")
def native_batch_norm(importer: Importer, *arguments: object) -> Result:
    return [_one(batch_norm(importer, *arguments)), None, None]  # type: ignore[arg-type]


@converts("_native_batch_norm_legit_no_training")
def batch_norm_without_training(
    importer: Importer,
    x: Value,
    weight: Parameter,
    bias: Parameter,
    running_mean: Value,
    running_var: Value,
    momentum: float,
    eps: float,
) -> Result:
    y = batch_norm(importer, x, weight, bias, running_mean, running_var, False, momentum, eps)
    return [_one(y), None, None]


@converts("_native_batch_norm_legit.no_stats")
def batch_norm_without_statistics(
    importer: Importer, x: Value, weight: Parameter, bias: Parameter, training: bool, momentum: float, eps: float
) -> Result:
    return [_normalised_by_batch(importer, x, weight, bias, eps), None, None]


def _normalised_by_batch(importer: Importer, x: Value, weight: Parameter, bias: Parameter, eps: float) -> str:
    """With the statistics of this batch; of one image that is what instance norm does."""
    if is_one(x.shape[0]) and x.rank in (3, 4):
        y = importer.emit("instance_norm", x, eps=eps)
    else:
        axes = [axis for axis in range(x.rank) if axis != 1]
        mean = importer.emit("mean", x, axes=axes, keepdims=True)
        centred = importer.emit("sub", x, mean)
        var = importer.emit("mean", importer.emit("square", centred), axes=axes, keepdims=True)
        factor = importer.emit("rsqrt", importer.emit("add", var, importer.scalar(eps)))
        y = importer.emit("mul", centred, factor)
    per_channel = importer.integers([-1, *[1] * (x.rank - 2)])
    if weight is not None:
        y = importer.emit("mul", y, importer.emit("reshape", weight, per_channel))
    if bias is not None:
        y = importer.emit("add", y, importer.emit("reshape", bias, per_channel))
    return y


@converts("instance_norm")
def instance_norm(
    importer: Importer,
    x: Value,
    weight: Parameter,
    bias: Parameter,
    running_mean: Parameter,
    running_var: Parameter,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool = False,
) -> Result:
    if not use_input_stats:
        return batch_norm(importer, x, weight, bias, running_mean, running_var, False, momentum, eps)
    if running_mean is not None:
        raise Unsupported("instance norm in training mode; call model.eval()")
    return importer.emit("instance_norm", x, weight, bias, eps=eps)


@converts("group_norm")
def group_norm(
    importer: Importer,
    x: Value,
    num_groups: int,
    weight: Parameter = None,
    bias: Parameter = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Result:
    return importer.emit("group_norm", x, weight, bias, groups=num_groups, eps=eps)


@converts("native_group_norm")
def native_group_norm(
    importer: Importer,
    x: Value,
    weight: Parameter,
    bias: Parameter,
    batch: int,
    channels: int,
    pixels: int,
    groups: int,
    eps: float,
) -> Result:
    return [importer.emit("group_norm", x, weight, bias, groups=groups, eps=eps), None, None]


@converts("layer_norm")
def layer_norm(
    importer: Importer,
    x: Value,
    normalized_shape: Sequence[int],
    weight: Parameter = None,
    bias: Parameter = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Result:
    return importer.emit("layer_norm", x, weight, bias, axis=-len(normalized_shape), eps=eps)


@converts("native_layer_norm")
def native_layer_norm(
    importer: Importer,
    x: Value,
    normalized_shape: Sequence[int],
    weight: Parameter,
    bias: Parameter,
    eps: float,
) -> Result:
    return [_one(layer_norm(importer, x, normalized_shape, weight, bias, eps)), None, None]


@converts("rms_norm")
def rms_norm(
    importer: Importer,
    x: Value,
    normalized_shape: Sequence[int],
    weight: Parameter = None,
    eps: float | None = None,
) -> Result:
    axes = list(range(-len(normalized_shape), 0))
    mean = importer.emit("mean", importer.emit("square", x), axes=axes, keepdims=True)
    shifted = importer.emit("add", mean, importer.scalar(torch.finfo(x.like.dtype).eps if eps is None else eps))
    y = importer.emit("mul", x, importer.emit("rsqrt", shifted))
    return y if weight is None else importer.emit("mul", y, weight)


@converts("_weight_norm_interface")
def weight_norm(importer: Importer, direction: Value, length: Value, dim: int = 0) -> Result:
    """Weights as a length for each slice along an axis, and a direction."""
    axes = [axis for axis in range(direction.rank) if axis != direction.axis(dim)]
    norm = importer.emit("norm2", direction, axes=axes, keepdims=True)
    return [importer.emit("mul", direction, importer.emit("div", length, norm)), norm]


def _one(result: Result) -> str:
    assert isinstance(result, str)
    return result
