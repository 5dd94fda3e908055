"""Batch normalisation: in training, alone and with the ReLU that follows it, and in inference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any, ClassVar

import numpy as np

from bench.ops.row import Array, Call, OnnxNode, Pass, Row, Shape

EPS = 1e-5


@dataclass(frozen=True)
class BatchNorm(Row):
    """Memory alone counts. Without ONNX: runtimes for inference do not normalise by the batch."""

    @property
    def y(self) -> Shape:
        return self.x

    def flops(self, pass_: Pass) -> int:
        return 0

    def bytes(self, pass_: Pass) -> int:
        # x to y; or grad_y and x to grad_x. The parameters are a few hundred bytes.
        return 4 * prod(self.x) * (2 if pass_ == "forward" else 3)

    def arrays(self) -> dict[str, Array]:
        channels = np.arange(self.x[1], dtype=np.float32) / self.x[1]
        return {**super().arrays(), "weight": 0.5 + channels, "bias": channels - 0.5}

    def neocog_forward(self, ops: Any, a: Mapping[str, Array], **data_format: str) -> Call:
        return partial(_forward, ops, a, data_format)

    def neocog_backward(self, ops: Any, a: Mapping[str, Array], **data_format: str) -> Call:
        return partial(_backward(ops, a, data_format), a["grad_y"])

    def torch_forward(self, torch: Any, a: Mapping[str, Any]) -> Call:
        return partial(_torch_forward, torch, a)

    def torch_backward(self, torch: Any, a: Mapping[str, Any]) -> Call:
        return partial(_torch_backward(torch, a), a["grad_y"])


class BatchNormRelu(BatchNorm):
    """torch's backward takes the rectified y, ours computes it again: no value is so close to 0 that they differ."""

    IMAGES: ClassVar[frozenset[str]] = frozenset({"x", "grad_y", "y"})

    def arrays(self) -> dict[str, Array]:
        a = super().arrays()
        z = _normalised(a)
        a["x"][abs(z) < 1e-4] += np.float32(1e-3)
        return {**a, "y": np.maximum(_normalised(a), 0).astype(np.float32)}

    def neocog_forward(self, ops: Any, a: Mapping[str, Array], **data_format: str) -> Call:
        return partial(_forward, ops, a, data_format, activation="relu")

    def neocog_backward(self, ops: Any, a: Mapping[str, Array], **data_format: str) -> Call:
        return partial(_backward(ops, a, data_format, activation="relu"), a["grad_y"])

    def torch_forward(self, torch: Any, a: Mapping[str, Any]) -> Call:
        return lambda: torch.relu_(_torch_forward(torch, a)[0])  # in place, as nn.ReLU(inplace=True): its fastest

    def torch_backward(self, torch: Any, a: Mapping[str, Any]) -> Call:
        relu_backward, backward = torch.ops.aten.threshold_backward, _torch_backward(torch, a)
        return lambda: backward(relu_backward(a["grad_y"], a["y"], 0))


class BatchNormInference(BatchNorm):
    """With given statistics, which are constants to the backward pass."""

    def arrays(self) -> dict[str, Array]:
        a = super().arrays()
        return {**a, "mean": -a["bias"], "var": 2 * a["weight"]}

    def neocog_forward(self, ops: Any, a: Mapping[str, Array], **data_format: str) -> Call:
        norm, statistics = ops.batch_norm, {"mean": a["mean"], "var": a["var"]}
        return lambda: norm(a["x"], a["weight"], a["bias"], **statistics, eps=EPS, **data_format)

    def neocog_backward(self, ops: Any, a: Mapping[str, Array], **data_format: str) -> Call:
        backward, given = ops.batch_norm_backward, {"mean": a["mean"], "var": a["var"], "training": False}
        return lambda: backward(a["grad_y"], a["x"], a["weight"], **given, eps=EPS, **data_format)

    def torch_forward(self, torch: Any, a: Mapping[str, Any]) -> Call:
        norm = torch.nn.functional.batch_norm
        return lambda: norm(a["x"], a["mean"], a["var"], a["weight"], a["bias"], eps=EPS)

    def torch_backward(self, torch: Any, a: Mapping[str, Any]) -> Call:
        backward, statistics = torch.ops.aten.native_batch_norm_backward, (a["mean"], a["var"], None, None)
        return lambda: backward(a["grad_y"], a["x"], a["weight"], *statistics, False, EPS, [True] * 3)

    def onnx(self) -> OnnxNode:
        return OnnxNode("BatchNormalization", ("x", "weight", "bias", "mean", "var"), {"epsilon": EPS})


def _normalised(a: Mapping[str, Array]) -> Array:
    """What goes into the activation, in float64."""
    mean, var = (f(a["x"], (0, 2, 3), dtype=np.float64, keepdims=True) for f in (np.mean, np.var))
    weight, bias = (a[name].reshape(1, -1, 1, 1) for name in ("weight", "bias"))
    z: Array = (a["x"] - mean) / np.sqrt(var + EPS) * weight + bias
    return z


def _forward(ops: Any, a: Mapping[str, Array], data_format: Mapping[str, str], **activation: str) -> Any:
    return ops.batch_norm(a["x"], a["weight"], a["bias"], training=True, eps=EPS, **activation, **data_format)


def _backward(
    ops: Any, a: Mapping[str, Array], data_format: Mapping[str, str], **activation: str
) -> Callable[[Any], Any]:
    _, mean, var = _forward(ops, a, data_format)
    return lambda grad_y: ops.batch_norm_backward(
        grad_y, a["x"], a["weight"], a["bias"], mean=mean, var=var, eps=EPS, **activation, **data_format
    )


def _torch_forward(torch: Any, a: Mapping[str, Any]) -> Any:
    return torch.native_batch_norm(a["x"], a["weight"], a["bias"], None, None, True, 0.1, EPS)


def _torch_backward(torch: Any, a: Mapping[str, Any]) -> Callable[[Any], Any]:
    backward = torch.ops.aten.native_batch_norm_backward
    _, mean, scale = _torch_forward(torch, a)
    return lambda grad_y: backward(grad_y, a["x"], a["weight"], None, None, mean, scale, True, EPS, [True] * 3)


ROWS = (
    BatchNorm("batch norm, training 64 @112", (8, 64, 112, 112)),
    BatchNormRelu("batch norm + ReLU, training 256 @56", (8, 256, 56, 56)),
)
