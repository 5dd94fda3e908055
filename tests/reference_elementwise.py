"""The float64 oracle of the elementwise ops: activations, softmax, add.

Each derivative takes the side that PyTorch takes at a kink, and NaN goes through.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from reference_windows import Array

_erf = np.vectorize(math.erf, otypes=[np.float64])
_GELU_TANH = (math.sqrt(2 / math.pi), 0.044715)


def relu(x: Array) -> Array:
    return np.where(x <= 0, 0.0, x)


def relu_backward(grad_y: Array, x: Array) -> Array:
    return np.where(x <= 0, 0.0, grad_y)


def relu6(x: Array) -> Array:
    return np.clip(x, 0.0, 6.0).astype(np.float64)


def relu6_backward(grad_y: Array, x: Array) -> Array:
    return np.where((x > 0) & (x < 6), grad_y, 0.0)  # 0 at NaN, unlike the others


def leaky_relu(x: Array, negative_slope: float = 0.01) -> Array:
    return np.where(x > 0, x, negative_slope * np.asarray(x, np.float64))


def leaky_relu_backward(grad_y: Array, x: Array, negative_slope: float = 0.01) -> Array:
    return np.where(x > 0, grad_y, negative_slope * np.asarray(grad_y, np.float64))


def _slopes(x: Array, weight: Array) -> Array:
    """One slope, or one per channel (axis 1), against x."""
    weight = np.asarray(weight, np.float64)
    return weight.reshape(()) if weight.size == 1 else weight.reshape(-1, *[1] * (x.ndim - 2))


def prelu(x: Array, weight: Array) -> Array:
    return np.where(x > 0, x, _slopes(x, weight) * x)


def prelu_backward(grad_y: Array, x: Array, weight: Array) -> tuple[Array, Array]:
    grad_x = np.where(x > 0, grad_y, _slopes(x, weight) * grad_y)
    share = np.where(x > 0, 0.0, grad_y * np.asarray(x, np.float64))
    shared = range(share.ndim) if np.size(weight) == 1 else (0, *range(2, share.ndim))
    return grad_x, share.sum(tuple(shared)).reshape(np.shape(weight))


def elu(x: Array, alpha: float = 1.0) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0, dtype=np.float64)))


def elu_backward(grad_y: Array, x: Array, alpha: float = 1.0) -> Array:
    return np.where(x > 0, grad_y, grad_y * alpha * np.exp(np.minimum(x, 0, dtype=np.float64)))


def sigmoid(x: Array) -> Array:
    e = np.exp(-abs(np.asarray(x, np.float64)))  # never overflows
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def sigmoid_backward(grad_y: Array, y: Array) -> Array:
    return grad_y * (1 - np.asarray(y, np.float64)) * y


def tanh(x: Array) -> Array:
    return np.tanh(np.asarray(x, np.float64))


def tanh_backward(grad_y: Array, y: Array) -> Array:
    return grad_y * (1 - np.asarray(y, np.float64) ** 2)


def silu(x: Array) -> Array:
    return x * sigmoid(x)


def silu_backward(grad_y: Array, x: Array) -> Array:
    s = sigmoid(x)
    return grad_y * s * (1 + x * (1 - s))


def gelu(x: Array, approximate: str = "none") -> Array:
    x = np.asarray(x, np.float64)
    if approximate == "tanh":
        scale, cubic = _GELU_TANH
        return 0.5 * x * (1 + np.tanh(scale * (x + cubic * x**3)))
    return 0.5 * x * (1 + _erf(x / math.sqrt(2)))


def gelu_backward(grad_y: Array, x: Array, approximate: str = "none") -> Array:
    x = np.asarray(x, np.float64)
    if approximate == "tanh":
        scale, cubic = _GELU_TANH
        t = np.tanh(scale * (x + cubic * x**3))
        return grad_y * 0.5 * ((1 + t) + x * (1 - t**2) * scale * (1 + 3 * cubic * x**2))
    return grad_y * (0.5 * (1 + _erf(x / math.sqrt(2))) + x * np.exp(-0.5 * x**2) / math.sqrt(2 * math.pi))


def hardswish(x: Array) -> Array:
    return np.asarray(x, np.float64) * np.clip(x + 3.0, 0.0, 6.0) / 6


def hardswish_backward(grad_y: Array, x: Array) -> Array:
    x = np.asarray(x, np.float64)
    return np.where(x <= -3, 0.0, np.where(x >= 3, grad_y, grad_y * (x / 3 + 0.5)))


def through(activation: str | None, grad_y: Array, x: Array) -> Array:
    """The gradient for what goes into an activation, by its name in `neocog.ops.ACTIVATIONS`."""
    if activation is None:
        return grad_y
    if activation in ("sigmoid", "tanh"):  # whose derivatives are given by their results
        x = sigmoid(x) if activation == "sigmoid" else tanh(x)
    name, *variant = activation.split("_tanh")
    gradient: Array = globals()[f"{name}_backward"](grad_y, x, *("tanh" for _ in variant))
    return gradient


def softmax(x: Array, axis: int = -1) -> Array:
    e = np.exp(np.asarray(x, np.float64) - np.max(x, axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def softmax_backward(grad_y: Array, y: Array, axis: int = -1) -> Array:
    y = np.asarray(y, np.float64)
    return y * (grad_y - (grad_y * y).sum(axis, keepdims=True))


ACTIVATIONS = {  # the names that the `activation` argument of an op takes
    f.__name__: f for f in (relu, relu6, leaky_relu, elu, gelu, silu, sigmoid, tanh, hardswish)
}


def add(x: Array, y: Array) -> Array:
    return np.asarray(x, np.float64) + np.asarray(y, np.float64)


def _unbroadcast(grad: Array, shape: Sequence[int]) -> Array:
    grad = grad.sum(tuple(range(grad.ndim - len(shape))))
    return grad.sum(tuple(axis for axis, n in enumerate(shape) if n == 1), keepdims=True)


def add_backward(grad_y: Array, x_shape: Sequence[int], y_shape: Sequence[int]) -> tuple[Array, Array]:
    grad_y = np.asarray(grad_y, np.float64)
    return _unbroadcast(grad_y, x_shape), _unbroadcast(grad_y, y_shape)
