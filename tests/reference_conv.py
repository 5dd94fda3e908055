"""The float64 oracle of the convolutions: three linear maps, of which conv and conv_transpose take turns."""

from __future__ import annotations

from typing import Any

import numpy as np
from reference_windows import Array, Padding, Steps, Windows, pads, pair
from remembered import remembered


def _split(x: Array, groups: int) -> Array:
    """(N, C, H, W) -> (N, groups, C / groups, H, W)."""
    return x.reshape(len(x), groups, x.shape[1] // groups, *x.shape[2:])


def _matmul(weight: Array, x: Array) -> Array:
    """weight (groups, O, I) applied to the channels of x (N, groups, I, P, Q)."""
    n, groups, _, p, q = x.shape
    return (weight @ x.reshape(n, groups, x.shape[2], p * q)).reshape(n, groups, weight.shape[1], p, q)


def _gather(w: Windows, x: Array, weight: Array, groups: int) -> Array:
    """y[n, o] = sum over c, r, s of x[n, c, under tap (r, s)] * weight[o, c, r, s]."""
    x, weight = _split(w.pad(x), groups), weight.reshape(groups, -1, *weight.shape[1:])
    y = np.zeros((len(x), groups, weight.shape[1], *w.out))
    for r, s, rows, cols in w.taps():
        y += _matmul(weight[..., r, s], x[..., rows, cols])
    return y.reshape(len(x), groups * weight.shape[1], *w.out)


def _scatter(w: Windows, y: Array, weight: Array, groups: int) -> Array:
    """The transpose of `_gather`: each y adds itself, times the tap, to every place that it was read from."""
    y, weight = _split(y, groups), weight.reshape(groups, -1, *weight.shape[1:])
    covered = [n + lo + hi for n, (lo, hi) in zip(w.sizes, w.extent, strict=True)]
    x = np.zeros((len(y), groups, weight.shape[2], *covered))
    for r, s, rows, cols in w.taps():
        x[..., rows, cols] += _matmul(weight[..., r, s].swapaxes(1, 2), y)
    return w.crop(x.reshape(len(y), groups * weight.shape[2], *covered))


def _weight_gradient(w: Windows, x: Array, grad_y: Array, shape: tuple, groups: int) -> Array:
    x, grad_y = _split(w.pad(x), groups), _split(grad_y, groups)
    grad_weight = np.zeros((groups, shape[0] // groups, *shape[1:]))
    grad = grad_y.reshape(*grad_y.shape[:3], w.out[0] * w.out[1])
    for r, s, rows, cols in w.taps():
        under = x[..., rows, cols].reshape(*x.shape[:3], w.out[0] * w.out[1])
        grad_weight[..., r, s] = (grad @ under.swapaxes(2, 3)).sum(0)
    return grad_weight.reshape(shape)


def _add_bias(y: Array, bias: Array | None) -> Array:
    return y if bias is None else y + np.asarray(bias, np.float64)[:, None, None]


@remembered
def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: Steps = 1,
    padding: Padding = 0,
    dilation: Steps = 1,
    groups: int = 1,
) -> Array:
    x, weight = np.asarray(x, np.float64), np.asarray(weight, np.float64)
    w = Windows(x.shape[2:], weight.shape[2:], stride, padding, dilation)
    return _add_bias(_gather(w, x, weight, groups), bias)


@remembered
def conv2d_backward(
    grad_y: Array,
    x: Array,
    weight: Array,
    *,
    stride: Steps = 1,
    padding: Padding = 0,
    dilation: Steps = 1,
    groups: int = 1,
) -> tuple[Array, Array, Array]:
    grad_y, x, weight = (np.asarray(a, np.float64) for a in (grad_y, x, weight))
    w = Windows(x.shape[2:], weight.shape[2:], stride, padding, dilation)
    grad_weight = _weight_gradient(w, x, grad_y, weight.shape, groups)
    return _scatter(w, grad_y, weight, groups), grad_weight, grad_y.sum((0, 2, 3))


def depthwise_conv2d(x: Array, weight: Array, bias: Array | None = None, **steps: Any) -> Array:
    return conv2d(x, weight, bias, groups=x.shape[1], **steps)


def depthwise_conv2d_backward(grad_y: Array, x: Array, weight: Array, **steps: Any) -> tuple[Array, Array, Array]:
    return conv2d_backward(grad_y, x, weight, groups=x.shape[1], **steps)


def separable_conv2d(
    x: Array, depthwise_weight: Array, pointwise_weight: Array, bias: Array | None = None, **steps: Any
) -> Array:
    return conv2d(depthwise_conv2d(x, depthwise_weight, **steps), pointwise_weight, bias)


def separable_conv2d_backward(
    grad_y: Array, x: Array, depthwise_weight: Array, pointwise_weight: Array, **steps: Any
) -> tuple[Array, Array, Array, Array]:
    middle = depthwise_conv2d(x, depthwise_weight, **steps)
    grad_middle, grad_pointwise, grad_bias = conv2d_backward(grad_y, middle, pointwise_weight)
    grad_x, grad_depthwise, _ = depthwise_conv2d_backward(grad_middle, x, depthwise_weight, **steps)
    return grad_x, grad_depthwise, grad_pointwise, grad_bias


def _transpose_windows(
    x: Array, weight: Array, stride: Steps, padding: Padding, output_padding: Steps, dilation: Steps
) -> Windows:
    """The windows of the convolution whose transpose this is: its image is our y, its outputs are our x."""
    sizes, crops = [], []
    for axis in (0, 1):
        s, d, k, n = pair(stride)[axis], pair(dilation)[axis], weight.shape[2 + axis], x.shape[2 + axis]
        excess = d * (k - 1) + 1 - s  # what the full result, (n - 1) * s + span, has more than n * s
        if padding == "same":
            lo = max(excess, 0) // 2
            hi = excess - lo  # negative: the result is extended to n * s
        elif padding == "valid":
            lo, hi = 0, min(excess, 0)
        else:
            lo, hi = pads(padding)[axis]
            hi -= pair(output_padding)[axis]
        crops.append((lo, hi))
        sizes.append((n - 1) * s + d * (k - 1) + 1 - lo - hi)
    return Windows(sizes, weight.shape[2:], stride, tuple(crops), dilation)


@remembered
def conv_transpose2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: Steps = 1,
    padding: Padding = 0,
    output_padding: Steps = 0,
    groups: int = 1,
    dilation: Steps = 1,
) -> Array:
    x, weight = np.asarray(x, np.float64), np.asarray(weight, np.float64)
    w = _transpose_windows(x, weight, stride, padding, output_padding, dilation)
    return _add_bias(_scatter(w, x, weight, groups), bias)


@remembered
def conv_transpose2d_backward(
    grad_y: Array,
    x: Array,
    weight: Array,
    *,
    stride: Steps = 1,
    padding: Padding = 0,
    output_padding: Steps = 0,
    groups: int = 1,
    dilation: Steps = 1,
) -> tuple[Array, Array, Array]:
    grad_y, x, weight = (np.asarray(a, np.float64) for a in (grad_y, x, weight))
    w = _transpose_windows(x, weight, stride, padding, output_padding, dilation)
    grad_weight = _weight_gradient(w, grad_y, x, weight.shape, groups)
    return _gather(w, grad_y, weight, groups), grad_weight, grad_y.sum((0, 2, 3))
