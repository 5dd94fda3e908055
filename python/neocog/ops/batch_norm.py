"""Batch normalisation in inference and training, forward and backward."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from neocog import _core
from neocog._activations import activation_code
from neocog._arrays import Array, as_array, row_major
from neocog._checks import one_of
from neocog._checks import output_mask as checked_mask

__all__ = ["batch_norm", "batch_norm_backward"]

_FIRST, _LAST = ("NCHW", "NCL", "NC", "NCDHW"), ("NHWC", "NLC", "NDHWC")


def batch_norm(
    x: Any,
    weight: Any = None,
    bias: Any = None,
    *,
    mean: Any = None,
    var: Any = None,
    training: bool = False,
    eps: float = 1e-5,
    activation: str | None = None,
    data_format: str = "NCHW",
) -> Array | tuple[Array, Array, Array]:
    r"""Normalise every channel, with given statistics or with those of the batch.

    .. math:: y = f\Big(\frac{x - mean_c}{\sqrt{var_c + eps}}\; weight_c + bias_c\Big)

    Args:
        x: Shape (N, C, ...) of rank 2 or more, float32 or float64; with "NHWC" the channels are the last
            axis. Dense arrays with channels first or last in memory are read in place, others are copied.
        weight, bias: Per channel, shape (C,); None is one and zero.
        mean, var: Statistics to normalise with, shape (C,), for training=False (usually running averages).
        training: Normalise with the batch's own mean and (biased) variance over all axes but the channels.
        eps: Added to the variance; positive, in inference also 0.
        activation: Applied last; None or a name in `neocog.ops.ACTIVATIONS`.
        data_format: "NCHW" (also "NC", "NCL", "NCDHW"): channels are axis 1, at any rank; "NHWC" (also "NLC",
            "NDHWC"): channels are the last axis.
    Returns:
        y, a new array of x's shape, dtype and memory layout; with training=True (y, batch_mean, batch_var),
        the statistics in shape (C,). Of an empty batch they are NaN. PyTorch's running variance is fed with
        batch_var * n / (n - 1), n values per channel.
    Raises:
        TypeError: An array is not float32 or float64, or the dtypes differ.
        ValueError: A shape, rank or eps is wrong; mean and var are missing, or given in training; one value
            per channel in training.
    Accuracy: batch_var: relative error <= 80 * eps of the dtype, however large the mean; batch_mean:
        <= eps * |mean| + 80 * eps * std. y: |error| <= 4 * eps * (|(x - mean) / std * weight| + |bias|) for
        exact statistics, plus their error in training. The same bits for any number of threads.
    Source: Ioffe & Szegedy, "Batch normalization", 2015, https://arxiv.org/abs/1502.03167
    """
    code, alpha = activation_code(activation)
    values = _values("x", x, data_format)
    array = values.array
    dtype, channels = array.dtype, array.shape[1]
    scale = None if weight is None else _vector("weight", weight, dtype, channels)
    shift = None if bias is None else _vector("bias", bias, dtype, channels)
    epsilon = _epsilon(eps, training)
    if not training:
        if mean is None or var is None:
            raise ValueError(
                f"`{'mean' if mean is None else 'var'}` is None; training=False needs `mean` and `var` of "
                f"shape ({channels},); pass the running statistics, or training=True to use the batch's."
            )
        means, variances = _vector("mean", mean, dtype, channels), _vector("var", var, dtype, channels)
        y = _core.batch_norm_inference(
            array, means, variances, scale, shift, epsilon, code, alpha, values.channels_last
        )
        return values.restore(y)
    if mean is not None or var is not None:
        raise ValueError(
            "`mean` and `var` are given, but training=True computes them; drop them, or pass training=False."
        )
    if array.shape[0] * array.shape[3] == 1:
        raise ValueError(
            f"`x` has shape {values.given}, one value per channel, whose variance is 0; training=True needs "
            "more: use a larger batch, or training=False with running statistics."
        )
    y, batch_mean, batch_var = _core.batch_norm_training(
        array, scale, shift, epsilon, code, alpha, values.channels_last
    )
    return values.restore(y), batch_mean, batch_var


def batch_norm_backward(
    grad_y: Any,
    x: Any,
    weight: Any = None,
    bias: Any = None,
    *,
    mean: Any,
    var: Any,
    training: bool = True,
    eps: float = 1e-5,
    activation: str | None = None,
    output_mask: tuple[bool, bool, bool] = (True, True, True),
    data_format: str = "NCHW",
) -> tuple[Array | None, Array | None, Array | None]:
    r"""Gradients of `batch_norm` for its input, weight and bias.

    With :math:`u = (x - mean) / \sqrt{var + eps}`, :math:`dz = dy\,f'(u\,weight + bias)` and n values per channel:

    .. math::
        dbias = \sum dz, \quad dweight = \sum dz\,u, \quad
        dx = \frac{weight}{\sqrt{var + eps}} \Big(dz - \frac{dbias + u\,dweight}{n}\Big)

    The argument of f' is computed again while x is read, so the activation costs no memory and no pass of its own.

    Args:
        grad_y: Gradient of the loss for y, same shape as x.
        x, weight, bias, activation: What the forward pass was given; bias matters only to the activation.
        mean, var: The statistics that the forward pass used, shape (C,): in training those that it returned.
        training: Whether they were the batch's own; constants (False) leave dx without the last term.
        eps, data_format: As in the forward pass.
        output_mask: Which of the three gradients are wanted; the others are None and cost nothing.
    Returns:
        (grad_x, grad_weight, grad_bias): x's shape, dtype and memory layout, (C,) and (C,).
    Raises:
        TypeError, ValueError: As `batch_norm`; also where `grad_y` does not have the shape of x.
    Accuracy: grad_weight, grad_bias: |error| <= 80 * eps * sum |terms|, summed in an order that does not
        depend on the number of threads. grad_x: |error| <= 8 * eps * |weight / std| * (|dz| + 10 * m); m is
        the mean of |dz| over the channel plus |u| times that of |dz * u|. Within a few roundings of a kink of the
        activation, dz may be of its other side.
    """
    wanted = checked_mask(output_mask, 3)
    code, alpha = activation_code(activation)
    values = _values("x", x, data_format)
    array = values.array
    dtype, channels = array.dtype, array.shape[1]
    grad = _values("grad_y", grad_y, data_format, dtype, values.channels_last)
    if grad.shape != values.shape:
        raise ValueError(f"`grad_y` has shape {grad.given}, `x` {values.given}; they must be the same.")
    if mean is None or var is None:
        raise ValueError(
            f"`{'mean' if mean is None else 'var'}` is None; pass the statistics that the forward pass used, "
            f"shape ({channels},)."
        )
    scale = None if weight is None else _vector("weight", weight, dtype, channels)
    shift = None if bias is None else _vector("bias", bias, dtype, channels)
    means, variances = _vector("mean", mean, dtype, channels), _vector("var", var, dtype, channels)
    grad_x, grad_weight, grad_bias = _core.batch_norm_backward(
        grad.array,
        array,
        means,
        variances,
        scale,
        shift,
        _epsilon(eps, training),
        code,
        alpha,
        bool(training),
        wanted,
        values.channels_last,
    )
    return None if grad_x is None else values.restore(grad_x), grad_weight, grad_bias


class _Values(NamedTuple):
    """An array as the kernels see it, (N, C, 1, pixels), and what it takes to go back."""

    array: Array
    channels_last: bool  # in memory
    shape: tuple[int, ...]  # (N, C, ...)
    given: tuple[int, ...]  # in the caller's order
    last_format: bool  # the caller's channel axis is the last

    def restore(self, y: Array) -> Array:
        batch, channels, *spatial = self.shape
        if self.channels_last:
            y = y.transpose(0, 2, 3, 1).reshape(batch, *spatial, channels)
            return y if self.last_format else _channels_first(y)
        y = y.reshape(self.shape)
        return _channels_last(y) if self.last_format else y


def _values(
    name: str,
    value: Any,
    data_format: str,
    dtype: np.dtype[Any] | None = None,
    channels_last: bool | None = None,
) -> _Values:
    """View an argument as (N, C, 1, pixels); copied if dense in neither layout, or not in the given one."""
    last_format = one_of("data_format", data_format, _FIRST + _LAST) in _LAST
    array = as_array(name, value, dtype)
    if array.ndim < 2:
        raise ValueError(
            f"`{name}` has {array.ndim} axes, shape {array.shape}; it must have 2 or more: (N, C, ...), or "
            '(N, ..., C) with data_format="NHWC".'
        )
    first = _channels_first(array) if last_format else array
    last = _channels_last(first)
    if channels_last is None:
        if not first.flags.c_contiguous and not last.flags.c_contiguous:
            # A view with gaps keeps the order of its axes, if that is one of the two.
            first = first.copy(order="K")
            last = _channels_last(first)
        # Where both layouts hold (one channel, one pixel), or neither, the shape's own order decides.
        if first.flags.c_contiguous == last.flags.c_contiguous:
            channels_last = last_format
        else:
            channels_last = last.flags.c_contiguous
    batch, channels, *spatial = first.shape
    pixels = math.prod(spatial)
    if channels_last:
        rows = row_major(last).reshape(batch, 1, pixels, channels)
        return _Values(rows.transpose(0, 3, 1, 2), True, first.shape, array.shape, last_format)
    planes = row_major(first).reshape(batch, channels, 1, pixels)
    return _Values(planes, False, first.shape, array.shape, last_format)


def _channels_first(array: Array) -> Array:
    moved: Array = array.transpose(0, array.ndim - 1, *range(1, array.ndim - 1))
    return moved


def _channels_last(array: Array) -> Array:
    moved: Array = array.transpose(0, *range(2, array.ndim), 1)
    return moved


def _vector(name: str, value: Any, dtype: np.dtype[Any], channels: int) -> Array:
    array = as_array(name, value, dtype)
    if array.shape != (channels,):
        raise ValueError(f"`{name}` has shape {array.shape}; it must be ({channels},), one value per channel of `x`.")
    return row_major(array)


def _epsilon(eps: Any, training: bool) -> float:
    try:
        epsilon = float(eps)
    except (TypeError, ValueError):
        raise TypeError(f"`eps` is {eps!r}; it must be a number.") from None
    if not (epsilon > 0 or (epsilon == 0 and not training)) or math.isinf(epsilon):
        raise ValueError(f"`eps` is {epsilon}; it must be positive and finite, or 0 with training=False.")
    return epsilon
