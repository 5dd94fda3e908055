"""Sums with NumPy's broadcasting, forward and backward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from neocog import _core
from neocog._activations import activation_code
from neocog._arrays import Array, as_array
from neocog._checks import integer
from neocog._dense import Dense, dense, memory_order

__all__ = ["add", "add_backward"]


def add(x: Any, y: Any, *, activation: str | None = None) -> Array:
    """f(x + y), broadcast as NumPy does: a residual connection with its activation in one pass.

    Args:
        x, y: Arrays of one dtype, float32 or float64, whose shapes broadcast.
        activation: Applied to the sum; None or a name in `neocog.ops.ACTIVATIONS`.
    Returns:
        A new array of the broadcast shape, laid out as the first operand which has that shape; an operand of
        equal shape and another layout is copied into it.
    Raises:
        TypeError: An array is not float32 or float64, or the dtypes differ.
        ValueError: The shapes do not broadcast, or the activation is unknown.
    Accuracy: The sum is correctly rounded; the activation adds its own error.
    """
    code, alpha = activation_code(activation)
    a = as_array("x", x)
    b = as_array("y", y, a.dtype)
    shape = _broadcast_shape(a.shape, b.shape)
    a, b = (array.reshape((1,) * (len(shape) - array.ndim) + array.shape) for array in (a, b))
    # An operand that is itself broadcast says little about where the result should lie.
    leader = a if a.shape == shape or (b.shape != shape and a.size >= b.size) else b
    out = Dense(leader, leader.shape, memory_order(leader))
    return out.restore(_core.add_forward(out.turn(a), out.turn(b), code, alpha))


def add_backward(grad_y: Any, x_shape: Sequence[int], y_shape: Sequence[int]) -> tuple[Array, Array]:
    """Gradients of `add` without activation for both operands: grad_y summed over what was broadcast.

    Args:
        grad_y: Gradient of the loss for the sum, in the broadcast shape.
        x_shape, y_shape: The shapes of the operands.
    Returns:
        (grad_x, grad_y_operand), new arrays of those shapes.
    Raises:
        TypeError: `grad_y` is not float32 or float64, or a shape is not made of ints.
        ValueError: The shapes do not broadcast to that of `grad_y`.
    Accuracy: every group of adjacent axes is summed in float64 and rounded once; the same bits for any number of
        threads.
    """
    shapes = [tuple(integer(name, n, 0) for n in s) for name, s in (("x_shape", x_shape), ("y_shape", y_shape))]
    grad = dense("grad_y", grad_y)
    shape = _broadcast_shape(*shapes)
    if shape != grad.shape:
        raise ValueError(
            f"`grad_y` has shape {grad.shape}, but `x_shape` {shapes[0]} and `y_shape` {shapes[1]} broadcast "
            f"to {shape}."
        )
    return _summed(grad, shapes[0]), _summed(grad, shapes[1])


def _broadcast_shape(x: tuple[int, ...], y: tuple[int, ...]) -> tuple[int, ...]:
    if x == y:
        return x
    rank = max(len(x), len(y))
    pairs = list(zip((1,) * (rank - len(x)) + x, (1,) * (rank - len(y)) + y, strict=True))
    if any(m != n and 1 not in (m, n) for m, n in pairs):
        raise ValueError(
            f"`x` has shape {x}, `y` {y}: they do not broadcast; from the last axis on, sizes must agree or be 1."
        )
    return tuple(n if m == 1 else m for m, n in pairs)


def _summed(grad: Dense, shape: tuple[int, ...]) -> Array:
    full = (1,) * (len(grad.shape) - len(shape)) + shape
    turned = full if grad.order is None else tuple(full[axis] for axis in grad.order)
    return grad.restore(_core.add_backward(grad.array, turned)).reshape(shape)
