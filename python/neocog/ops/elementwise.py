"""Activations, softmax and sums, forward and backward.

Any dense order of the axes in memory is read in place and kept by the result; other arrays are copied. NaN
and infinity propagate as in PyTorch. `eps` is that of the dtype; float32 kernels use polynomials, float64 the
C library. Bounds hold where the exact value is a normal number; below that errors stay under 1e-42.
"""

from __future__ import annotations

import math
from typing import Any

from neocog import _core
from neocog._activations import ACTIVATIONS as ACTIVATIONS
from neocog._activations import activation_code
from neocog._arrays import Array
from neocog._checks import one_of
from neocog._dense import dense, dense_like
from neocog.ops.add import add as add
from neocog.ops.add import add_backward as add_backward
from neocog.ops.prelu import prelu as prelu
from neocog.ops.prelu import prelu_backward as prelu_backward
from neocog.ops.softmax import softmax as softmax
from neocog.ops.softmax import softmax_backward as softmax_backward

__all__ = [
    "ACTIVATIONS",
    "add",
    "add_backward",
    "elu",
    "elu_backward",
    "gelu",
    "gelu_backward",
    "hardswish",
    "hardswish_backward",
    "leaky_relu",
    "leaky_relu_backward",
    "prelu",
    "prelu_backward",
    "relu",
    "relu_backward",
    "relu6",
    "relu6_backward",
    "sigmoid",
    "sigmoid_backward",
    "silu",
    "silu_backward",
    "softmax",
    "softmax_backward",
    "tanh",
    "tanh_backward",
]


def _forward(name: str, x: Any, alpha: float = 0.0) -> Array:
    array = dense("x", x)
    return array.restore(_core.elementwise_forward(array.array, activation_code(name)[0], alpha))


def _backward(name: str, grad_y: Any, x: Any, alpha: float = 0.0, x_name: str = "x") -> Array:
    array = dense(x_name, x)
    grad = dense_like("grad_y", grad_y, x_name, array)
    return array.restore(_core.elementwise_backward(grad, array.array, activation_code(name)[0], alpha))


def _number(name: str, value: Any) -> float:
    if isinstance(value, str | bytes | bool):
        raise TypeError(f"`{name}` is {value!r}; it must be a number.")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"`{name}` is {value!r}; it must be a number.") from None
    if math.isnan(number):
        raise ValueError(f"`{name}` is NaN; it must be a number.")
    return number


def relu(x: Any) -> Array:
    """max(x, 0).

    Args:
        x: Any shape, float32 or float64.
    Returns:
        A new array of x's shape, dtype and memory layout.
    Raises:
        TypeError: `x` is not a float32 or float64 array.
    Accuracy: Exact.
    """
    return _forward("relu", x)


def relu_backward(grad_y: Any, x: Any) -> Array:
    """grad_y where x > 0 (or is NaN), 0 elsewhere.

    Args:
        grad_y: Gradient of the loss for the result, shape of x.
        x: What the forward pass was given.
    Returns:
        grad_x, a new array of x's shape, dtype and memory layout.
    Raises:
        TypeError, ValueError: Dtypes are wrong or differ, or shapes differ.
    Accuracy: Exact.
    """
    return _backward("relu", grad_y, x)


def relu6(x: Any) -> Array:
    """min(max(x, 0), 6).

    Args:
        x: Any shape, float32 or float64.
    Returns:
        A new array of x's shape, dtype and memory layout.
    Raises:
        TypeError: `x` is not a float32 or float64 array.
    Accuracy: Exact.
    Source: Howard et al., "MobileNets", 2017, https://arxiv.org/abs/1704.04861
    """
    return _forward("relu6", x)


def relu6_backward(grad_y: Any, x: Any) -> Array:
    """grad_y where 0 < x < 6, 0 elsewhere.

    Args:
        grad_y: Gradient of the loss for the result, shape of x.
        x: What the forward pass was given.
    Returns:
        grad_x, a new array of x's shape, dtype and memory layout.
    Raises:
        TypeError, ValueError: Dtypes are wrong or differ, or shapes differ.
    Accuracy: Exact.
    """
    return _backward("relu6", grad_y, x)


def leaky_relu(x: Any, negative_slope: float = 0.01) -> Array:
    """x where x > 0, negative_slope * x elsewhere.

    Args:
        x: Any shape, float32 or float64.
        negative_slope: A number.
    Returns:
        A new array of x's shape, dtype and memory layout.
    Raises:
        TypeError: `x` is not a float32 or float64 array.
    Accuracy: Correctly rounded, the slope being rounded to x's dtype.
    """
    return _forward("leaky_relu", x, _number("negative_slope", negative_slope))


def leaky_relu_backward(grad_y: Any, x: Any, negative_slope: float = 0.01) -> Array:
    """grad_y where x > 0, negative_slope * grad_y elsewhere.

    Args:
        grad_y: Gradient of the loss for the result, shape of x.
        x, negative_slope: What the forward pass was given.
    Returns:
        grad_x, a new array of x's shape, dtype and memory layout.
    Raises:
        TypeError, ValueError: Dtypes are wrong or differ, or shapes differ.
    Accuracy: As `leaky_relu`.
    """
    return _backward("leaky_relu", grad_y, x, _number("negative_slope", negative_slope))


def elu(x: Any, alpha: float = 1.0) -> Array:
    """x where x > 0, alpha * (e^x - 1) elsewhere.

    Args:
        x: Any shape, float32 or float64.
        alpha: A number.
    Returns:
        A new array of x's shape, dtype and memory layout.
    Raises:
        TypeError: `x` is not a float32 or float64 array.
    Accuracy: |error| <= 3 * eps * |y|.
    Source: Clevert et al., 2015, https://arxiv.org/abs/1511.07289
    """
    return _forward("elu", x, _number("alpha", alpha))


def elu_backward(grad_y: Any, x: Any, alpha: float = 1.0) -> Array:
    """grad_y where x > 0, grad_y * alpha * e^x elsewhere.

    Args:
        grad_y: Gradient of the loss for the result, shape of x.
        x, alpha: What the forward pass was given.
    Returns:
        grad_x, a new array of x's shape, dtype and memory layout.
    Raises:
        TypeError, ValueError: Dtypes are wrong or differ, or shapes differ.
    Accuracy: |error| <= 3 * eps * |grad_x|.
    """
    return _backward("elu", grad_y, x, _number("alpha", alpha))


def gelu(x: Any, approximate: str = "none") -> Array:
    """x * Phi(x) with the standard normal distribution Phi, or its approximation by tanh.

    Args:
        x: Any shape, float32 or float64.
        approximate: "none", or "tanh": x * (1 + tanh(sqrt(2/pi) * (x + 0.044715 * x^3))) / 2.
    Returns:
        A new array of x's shape, dtype and memory layout.
    Raises:
        TypeError: `x` is not a float32 or float64 array.
        ValueError: `approximate` is something else.
    Accuracy: |error| <= 8 * eps * (|y| + |x * f'(x)|); in float32 with "none" 8 * eps * |y|, in the lower
        tail as well, where 1 + erf would cancel.
    Source: Hendrycks & Gimpel, 2016, https://arxiv.org/abs/1606.08415
    """
    return _forward(_gelu(approximate), x)


def gelu_backward(grad_y: Any, x: Any, approximate: str = "none") -> Array:
    """grad_y * (Phi(x) + x * phi(x)), or the derivative of the approximation.

    Args:
        grad_y: Gradient of the loss for the result, shape of x.
        x, approximate: What the forward pass was given.
    Returns:
        grad_x, a new array of x's shape, dtype and memory layout.
    Raises:
        TypeError, ValueError: Dtypes are wrong or differ, or shapes differ.
    Accuracy: |error| <= 8 * eps * |grad_y|.
    """
    return _backward(_gelu(approximate), grad_y, x)


def silu(x: Any) -> Array:
    """x * sigmoid(x).

    Args:
        x: Any shape, float32 or float64.
    Returns:
        A new array of x's shape, dtype and memory layout.
    Raises:
        TypeError: `x` is not a float32 or float64 array.
    Accuracy: |error| <= 4 * eps * |y|.
    Source: Ramachandran et al., 2017, https://arxiv.org/abs/1710.05941
    """
    return _forward("silu", x)


def silu_backward(grad_y: Any, x: Any) -> Array:
    """grad_y * s * (1 + x * (1 - s)), s = sigmoid(x).

    Args:
        grad_y: Gradient of the loss for the result, shape of x.
        x: What the forward pass was given.
    Returns:
        grad_x, a new array of x's shape, dtype and memory layout.
    Raises:
        TypeError, ValueError: Dtypes are wrong or differ, or shapes differ.
    Accuracy: |error| <= 6 * eps * |grad_y| * s * (1 + |x| * (1 - s)).
    """
    return _backward("silu", grad_y, x)


def sigmoid(x: Any) -> Array:
    """1 / (1 + e^-x).

    Args:
        x: Any shape, float32 or float64.
    Returns:
        A new array of x's shape, dtype and memory layout.
    Raises:
        TypeError: `x` is not a float32 or float64 array.
    Accuracy: |error| <= 3 * eps * y, also where y is tiny.
    """
    return _forward("sigmoid", x)


def sigmoid_backward(grad_y: Any, y: Any) -> Array:
    """grad_y * y * (1 - y).

    Args:
        grad_y: Gradient of the loss for the result, shape of y.
        y: What `sigmoid` returned.
    Returns:
        grad_x, a new array of y's shape, dtype and memory layout.
    Raises:
        TypeError, ValueError: Dtypes are wrong or differ, or shapes differ.
    Accuracy: |error| <= 2 * eps * |grad_x| for the given y.
    """
    return _backward("sigmoid", grad_y, y, x_name="y")


def tanh(x: Any) -> Array:
    """Hyperbolic tangent.

    Args:
        x: Any shape, float32 or float64.
    Returns:
        A new array of x's shape, dtype and memory layout.
    Raises:
        TypeError: `x` is not a float32 or float64 array.
    Accuracy: |error| <= 3 * eps * |y|, also near 0.
    """
    return _forward("tanh", x)


def tanh_backward(grad_y: Any, y: Any) -> Array:
    """grad_y * (1 - y^2).

    Args:
        grad_y: Gradient of the loss for the result, shape of y.
        y: What `tanh` returned.
    Returns:
        grad_x, a new array of y's shape, dtype and memory layout.
    Raises:
        TypeError, ValueError: Dtypes are wrong or differ, or shapes differ.
    Accuracy: |error| <= 2 * eps * |grad_x| for the given y.
    """
    return _backward("tanh", grad_y, y, x_name="y")


def hardswish(x: Any) -> Array:
    """x * min(max(x + 3, 0), 6) / 6.

    Args:
        x: Any shape, float32 or float64.
    Returns:
        A new array of x's shape, dtype and memory layout.
    Raises:
        TypeError: `x` is not a float32 or float64 array.
    Accuracy: |error| <= 3 * eps * |y| + eps * |x| / 2; the last where x + 3 is rounded.
    Source: Howard et al., "Searching for MobileNetV3", 2019, https://arxiv.org/abs/1905.02244
    """
    return _forward("hardswish", x)


def hardswish_backward(grad_y: Any, x: Any) -> Array:
    """0 where x <= -3, grad_y where x >= 3, grad_y * (x / 3 + 1 / 2) between.

    Args:
        grad_y: Gradient of the loss for the result, shape of x.
        x: What the forward pass was given.
    Returns:
        grad_x, a new array of x's shape, dtype and memory layout.
    Raises:
        TypeError, ValueError: Dtypes are wrong or differ, or shapes differ.
    Accuracy: |error| <= 2 * eps * |grad_y| * (|x| / 3 + 1 / 2).
    """
    return _backward("hardswish", grad_y, x)


def _gelu(approximate: str) -> str:
    return "gelu" if one_of("approximate", approximate, ("none", "tanh")) == "none" else "gelu_tanh"
