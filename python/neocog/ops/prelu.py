"""Parametric ReLU, forward and backward."""

from __future__ import annotations

from typing import Any

from neocog import _core
from neocog._arrays import Array, as_array, row_major
from neocog._checks import output_mask as checked_mask
from neocog._dense import Dense, dense, dense_like

__all__ = ["prelu", "prelu_backward"]


def prelu(x: Any, weight: Any) -> Array:
    """x where x > 0, weight * x elsewhere, with one slope per channel or one for all.

    Args:
        x: Shape (N, C, ...), or any other with a single slope; float32 or float64.
        weight: Slopes, shape (C,), (1,) or ().
    Returns:
        A new array of x's shape, dtype and memory layout.
    Raises:
        TypeError: An array is not float32 or float64, or the dtypes differ.
        ValueError: `weight` has neither one value nor C.
    Accuracy: Correctly rounded.
    Source: He et al., "Delving deep into rectifiers", 2015, https://arxiv.org/abs/1502.01852
    """
    array = dense("x", x)
    slopes, axis = _slopes(array, weight)
    return array.restore(_core.prelu_forward(array.array, slopes, axis))


def prelu_backward(
    grad_y: Any, x: Any, weight: Any, *, output_mask: tuple[bool, bool] = (True, True)
) -> tuple[Array | None, Array | None]:
    """Gradients of `prelu` for x and weight.

    Args:
        grad_y: Gradient of the loss for the result, shape of x.
        x, weight: What the forward pass was given.
        output_mask: Which gradients are wanted; the others are None and cost nothing.
    Returns:
        (grad_x, grad_weight) in the shapes of x and weight.
    Raises:
        TypeError, ValueError: As `prelu`; also where shapes differ.
    Accuracy: grad_x correctly rounded; grad_weight |error| <= 80 * eps * sum |grad_y * x|, summed in an order
        that does not depend on the number of threads.
    """
    wanted = checked_mask(output_mask, 2)
    array = dense("x", x)
    slopes, axis = _slopes(array, weight)
    grad = dense_like("grad_y", grad_y, "x", array)
    grad_x, grad_weight = _core.prelu_backward(grad, array.array, slopes, axis, *wanted)
    return None if grad_x is None else array.restore(grad_x), grad_weight


def _slopes(array: Dense, weight: Any) -> tuple[Array, int]:
    """prelu's weight, and where the channel axis of x lies in memory order."""
    slopes = row_major(as_array("weight", weight, array.array.dtype))
    shape = array.shape
    channels = shape[1] if len(shape) >= 2 else 1
    if slopes.ndim > 1 or slopes.size not in (1, channels):
        raise ValueError(
            f"`weight` has shape {slopes.shape}; `x` of shape {shape} takes (1,) or ({channels},), one slope "
            "for all or one per channel."
        )
    return slopes, 0 if len(shape) < 2 else 1 if array.order is None else array.order.index(1)
