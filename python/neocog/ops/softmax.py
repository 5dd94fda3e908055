"""Softmax along an axis, forward and backward."""

from __future__ import annotations

from typing import Any

from neocog import _core
from neocog._arrays import Array
from neocog._checks import integer
from neocog._dense import Dense, dense, dense_like

__all__ = ["softmax", "softmax_backward"]


def softmax(x: Any, axis: int = -1) -> Array:
    r"""Turn scores into probabilities along an axis.

    .. math:: y_i = e^{x_i - m} / \sum_j e^{x_j - m}, \quad m = \max_j x_j

    Args:
        x: Scores, any shape, float32 or float64. Fast along any axis, in either memory layout.
        axis: The axis along which results sum to one; negative counts from the end.
    Returns:
        A new array of x's shape, dtype and memory layout. A line that holds a NaN or plus infinity, or minus
        infinity only, is NaN throughout.
    Raises:
        TypeError: `x` is not a float32 or float64 array, or `axis` is no int.
        ValueError: x has no such axis.
    Accuracy: |error| <= (|x - m| + n/64 + 40) * eps * y + 1e-42 for n values along the axis.
    Source: Goodfellow, Bengio, Courville, "Deep Learning", 2016, section 4.1.
    """
    scores = dense("x", x)
    return scores.restore(_core.softmax_forward(*_lines(scores, "x", axis)).reshape(scores.array.shape))


def softmax_backward(grad_y: Any, y: Any, axis: int = -1) -> Array:
    r"""Gradient of `softmax` for its input, from the forward's result.

    .. math:: dx_i = y_i \Big(dy_i - \sum_j dy_j\, y_j\Big)

    Args:
        grad_y: Gradient of the loss for y, same shape.
        y: What `softmax` returned.
        axis: As in the forward pass.
    Returns:
        A new array of y's shape, dtype and memory layout.
    Raises:
        TypeError, ValueError: As `softmax`; also where the shapes or dtypes differ.
    Accuracy: |error| <= (n/64 + 40) * eps * y_i * (|dy_i| + sum |dy * y|) for n values along the axis.
    """
    result = dense("y", y)
    grad = dense_like("grad_y", grad_y, "y", result)
    lines, position = _lines(result, "y", axis)
    return result.restore(_core.softmax_backward(grad.reshape(lines.shape), lines, position).reshape(grad.shape))


def _lines(array: Dense, name: str, axis: int) -> tuple[Array, int]:
    """The array with at least one axis, and the position of `axis` in memory order."""
    rank = max(1, array.array.ndim)  # a single number is a line of one
    number = integer("axis", axis)
    if not -rank <= number < rank:
        raise ValueError(f"`axis` is {number}, but `{name}` has {array.array.ndim} axes; use {-rank} to {rank - 1}.")
    position = number % rank
    if array.order is not None:
        position = array.order.index(position)
    return array.array.reshape(array.array.shape or (1,)), position
