"""Matrix products: the fully connected layer, forward and backward."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from neocog import _core
from neocog._activations import activation_code
from neocog._arrays import Array, as_array, row_major
from neocog._checks import output_mask as mask_of
from neocog.ops.conv import bias_of, is_bf16

__all__ = ["linear", "linear_backward"]


def linear(x: Any, weight: Any, bias: Any = None, *, activation: str | None = None, precision: str = "fp32") -> Array:
    """Multiply by a matrix and add a bias: y = f(x @ weight.T + bias).

    Args:
        x: Any leading axes, then features: shape (..., I); float32 or float64.
        weight: Shape (O, I), or (I,) for a single output without an axis.
        bias: Shape (O,), or () with a weight of shape (I,); None adds nothing.
        activation: Applied last; None or a name in `neocog.ops.ACTIVATIONS`.
        precision: "bf16" multiplies x and weight rounded to bfloat16, and sums in float32, as `conv2d` does; fewer
            than 4 outputs or 16 inputs stay in float32.
    Returns:
        A new array of x's dtype, shape (..., O).
    Raises:
        TypeError: An array is not float32 or float64, or dtypes differ.
        ValueError: `weight` or `bias` do not conform to x.
    Accuracy: |error| <= (I + 2) * eps * (|b| + sum |x*w|) per output before the activation; "bf16" as in `conv2d`.
    """
    weight = as_array("weight", weight)
    rows, matrix, shape = _conform(x, weight)
    bf16 = is_bf16(precision, rows.dtype)
    code, _ = activation_code(activation)
    addend = None
    if bias is not None:
        addend = as_array("bias", bias, rows.dtype)
        addend = bias_of(
            "bias",
            addend[None] if np.ndim(weight) == 1 and addend.ndim == 0 else addend,
            rows.dtype,
            matrix.shape[0],
        )
    y = _core.linear_forward(rows, matrix, addend, bf16).reshape(shape)
    return y if code == 0 else _core.elementwise_forward(y, *activation_code(activation))


def linear_backward(
    grad_y: Any, x: Any, weight: Any, *, output_mask: tuple[bool, bool, bool] = (True, True, True)
) -> tuple[Array | None, Array | None, Array | None]:
    """Gradients of `linear` without activation for its input, weight and bias.

    Args:
        grad_y: Gradient of the loss for y, shape (..., O).
        x, weight: What the forward pass was given.
        output_mask: Which of the three gradients are wanted; the others are None and cost nothing.
    Returns:
        (grad_x, grad_weight, grad_bias) with the shapes of x, weight and (O,).
    Raises:
        TypeError, ValueError: As `linear`; also where `grad_y` does not have the shape of y.
    Accuracy: |error| <= (terms + 2) * eps * sum |products| per entry; grad_bias is summed in float64.
    """
    wanted = mask_of(output_mask, 3)
    x, weight = as_array("x", x), as_array("weight", weight)
    rows, matrix, shape = _conform(x, weight)
    grads = as_array("grad_y", grad_y, rows.dtype)
    if grads.shape != shape:
        raise ValueError(f"`grad_y` has shape {grads.shape}; y has {shape}: they must agree.")
    flat = row_major(grads.reshape(rows.shape[0], matrix.shape[0]))
    grad_x = grad_weight = grad_bias = None
    if wanted[0]:
        grad_x = _core.linear_backward_x(flat, matrix).reshape(np.shape(x))
    if wanted[1]:
        grad_weight = _core.linear_backward_weight(flat, rows).reshape(np.shape(weight))
    if wanted[2]:
        grad_bias = _core.conv_backward_bias(flat.T[None, :, :, None], True)
        if np.ndim(weight) == 1:
            grad_bias = grad_bias.reshape(())
    return grad_x, grad_weight, grad_bias


def _conform(x: Any, weight: Any) -> tuple[Array, Array, tuple[int, ...]]:
    """x as contiguous (rows, I), weight as contiguous (O, I), and the shape of y."""
    values = as_array("x", x)
    matrix = as_array("weight", weight, values.dtype)
    if values.ndim == 0:
        raise ValueError("`x` has no axes; its last axis must hold the features.")
    if matrix.ndim not in (1, 2) or matrix.shape[-1] != values.shape[-1]:
        raise ValueError(
            f"`x` has shape {values.shape}, but `weight` has {matrix.shape}; give it the shape "
            f"(out, {values.shape[-1]})."
        )
    leading = values.shape[:-1]
    rows = row_major(values.reshape(math.prod(leading), values.shape[-1]))
    if matrix.ndim == 1:
        return rows, row_major(matrix[None]), leading
    return rows, row_major(matrix), (*leading, matrix.shape[0])
