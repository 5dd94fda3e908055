"""The float64 oracle: every op of `neocog.ops`, forward and backward, in a few lines of NumPy.

Arguments are those of `neocog.ops`, with images as (N, C, H, W) or (N, C, L) and results in float64; what the
package adds around an op (activation, residual, data_format, output_mask, unbatched input) is left to the
test. The oracle stands in one file per subject, `reference_<subject>.py`; all of it is handed out here, and
`test_reference*.py` hold it against PyTorch.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import reference_conv as conv
import reference_pool as pool
from reference_conv import *  # noqa: F403
from reference_elementwise import *  # noqa: F403
from reference_elementwise import through
from reference_images import *  # noqa: F403
from reference_pool import *  # noqa: F403
from reference_windows import *  # noqa: F403
from reference_windows import Array


def magnitude(op: Callable[..., Any], *arrays: Array | None, **arguments: Any) -> Any:
    """A multilinear op on absolute values: sum |x * w| where the op gives sum x * w.

    Summing n products in any order errs by at most about n * eps * magnitude, which is what the tests allow.
    """
    return op(*(None if a is None else abs(np.asarray(a, np.float64)) for a in arrays), **arguments)


# One dimension: the two-dimensional op over images of height 1.

_NEUTRAL = {"padding": 0, "output_padding": 0}  # along the height; every other step or size is 1


def _over_width(op: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(op)
    per_axis = {"stride", "padding", "dilation", "output_padding", "kernel_size", "output_size", "input_size"}

    def lift(name: str, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return value[..., None, :] if value.ndim == 3 else value
        if name not in per_axis or value is None or isinstance(value, str):
            return value
        axis = value[-1] if isinstance(value, Sequence) else value  # 3, (3,) and ((lo, hi),) alike
        return (_NEUTRAL.get(name, 1), axis)

    def lower(result: Any) -> Any:
        if isinstance(result, tuple):
            return tuple(map(lower, result))
        return result[..., 0, :] if result.ndim == 4 else result

    def over_width(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        return lower(op(**{name: lift(name, value) for name, value in bound.arguments.items()}))

    return over_width


conv1d, conv1d_backward = _over_width(conv.conv2d), _over_width(conv.conv2d_backward)
conv_transpose1d = _over_width(conv.conv_transpose2d)
conv_transpose1d_backward = _over_width(conv.conv_transpose2d_backward)
max_pool1d, max_pool1d_backward = _over_width(pool.max_pool2d), _over_width(pool.max_pool2d_backward)
avg_pool1d, avg_pool1d_backward = _over_width(pool.avg_pool2d), _over_width(pool.avg_pool2d_backward)
adaptive_max_pool1d, adaptive_avg_pool1d = (
    _over_width(pool.adaptive_max_pool2d),
    _over_width(pool.adaptive_avg_pool2d),
)
adaptive_avg_pool1d_backward = _over_width(pool.adaptive_avg_pool2d_backward)
max_unpool1d, max_unpool1d_backward = _over_width(pool.max_unpool2d), _over_width(pool.max_unpool2d_backward)
global_max_pool1d, global_avg_pool1d = (
    _over_width(pool.global_max_pool2d),
    _over_width(pool.global_avg_pool2d),
)


# Linear and batch norm


def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    return np.asarray(x, np.float64) @ np.asarray(weight, np.float64).T + (0 if bias is None else bias)


def linear_backward(grad_y: Array, x: Array, weight: Array) -> tuple[Array, Array, Array]:
    grad_rows, rows = (np.asarray(a, np.float64).reshape(-1, a.shape[-1]) for a in (grad_y, x))
    return np.asarray(grad_y, np.float64) @ weight, grad_rows.T @ rows, grad_rows.sum(0)


def _per_channel(v: Array | None, x: Array, default: float) -> Array:
    v = np.full(x.shape[1], default) if v is None else np.asarray(v, np.float64)
    return v.reshape(-1, *[1] * (x.ndim - 2))


def batch_norm(
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    mean: Array | None = None,
    var: Array | None = None,
    training: bool = False,
    eps: float = 1e-5,
) -> Any:
    x = np.asarray(x, np.float64)
    if training:
        over = (0, *range(2, x.ndim))
        mean, var = x.mean(over), x.var(over)
    unit = (x - _per_channel(mean, x, 0)) / np.sqrt(_per_channel(var, x, 1) + eps)
    y = unit * _per_channel(weight, x, 1) + _per_channel(bias, x, 0)
    return (y, mean, var) if training else y


def batch_norm_backward(
    grad_y: Array,
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    mean: Array,
    var: Array,
    training: bool = True,
    eps: float = 1e-5,
    activation: str | None = None,
) -> tuple[Array, Array, Array]:
    grad_y, x = np.asarray(grad_y, np.float64), np.asarray(x, np.float64)
    over = (0, *range(2, x.ndim))
    sigma = np.sqrt(_per_channel(var, x, 1) + eps)
    unit = (x - _per_channel(mean, x, 0)) / sigma
    grad_y = through(activation, grad_y, unit * _per_channel(weight, x, 1) + _per_channel(bias, x, 0))
    grad_unit = grad_y * _per_channel(weight, x, 1)
    if training:  # mean and var move with x
        grad_unit = (
            grad_unit - grad_unit.mean(over, keepdims=True) - unit * (grad_unit * unit).mean(over, keepdims=True)
        )
    return grad_unit / sigma, (grad_y * unit).sum(over), grad_y.sum(over)
