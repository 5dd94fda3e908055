"""Unmodified Keras models on our kernels, with Keras' PyTorch backend.

Keras keeps channels last and pads "same" as TensorFlow does; its PyTorch backend transposes, copies and pads to say it
in PyTorch's words. The functions here say it in ours: images stay where they lie, and any padding is an argument.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

import neocog.torch.library  # noqa: F401  torch.ops.neocog
from neocog._checks import same_padding
from neocog.torch.patch import disable, enable

_ops: Any = torch.ops.neocog
_DTYPES = (torch.float32, torch.float64)
_switching = threading.Lock()
_depth = 0
_originals: list[tuple[Any, str, Any]] = []


class Patch:
    """What `patch()` returns: in force until `undo()`, or until the end of a `with` block."""

    def __init__(self) -> None:
        _enter()
        self._active = True

    def undo(self) -> None:
        """Give Keras its own functions back; a second call does nothing."""
        if self._active:
            self._active = False
            _leave()

    def __enter__(self) -> Patch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.undo()


def patch() -> Patch:
    """Run Keras' convolutions, pools and batch norms on neocog, forward and backward, from now on.

    >>> neocog.keras.patch()            # for good
    >>> with neocog.keras.patch():      # or for a block
    ...     model.predict(images)

    Convolutions (1-D and 2-D, depthwise, separable, transposed), max and average pooling, and batch normalisation of
    float32 and float64 run here, for models made before or after the call; what else the model does runs on PyTorch,
    and where PyTorch's own operators suit, under `neocog.torch.patch()`. Numbers agree with unpatched Keras to
    rounding. The whole process is affected.

    Raises:
        ImportError: Keras is not installed.
        RuntimeError: Keras runs on another backend, or its functions are not where they should be.
    """
    return Patch()


def _enter() -> None:
    global _depth
    with _switching:
        if _depth == 0:
            replacements = _replacements()
            for owner, name, make in replacements:
                original = getattr(owner, name)
                _originals.append((owner, name, original))
                setattr(owner, name, make(original))
            enable()
        _depth += 1


def _leave() -> None:
    global _depth
    with _switching:
        _depth -= 1
        if _depth == 0:
            disable()
            while _originals:
                owner, name, original = _originals.pop()
                setattr(owner, name, original)


def _replacements() -> list[tuple[Any, str, Callable[[Any], Any]]]:
    try:
        import keras
    except ImportError as error:
        raise ImportError("neocog.keras needs Keras 3; install it with pip install keras.") from error
    if keras.config.backend() != "torch":
        raise RuntimeError(
            f"Keras runs on {keras.config.backend()!r}; neocog.keras.patch() needs its PyTorch backend: set "
            'os.environ["KERAS_BACKEND"] = "torch" before Keras is imported.'
        )
    from keras.src.backend.torch import nn

    functions = {"conv": _conv, "conv_transpose": _conv_transpose, "max_pool": _max_pool, "average_pool": _average_pool}
    functions |= {"separable_conv": _separable_conv, "batch_normalization": _batch_normalization}
    missing = [name for name in functions if not hasattr(nn, name)]
    if missing:
        raise RuntimeError(
            f"Keras {keras.__version__} has no {missing[0]!r} in its PyTorch backend; use a version that "
            "neocog was tested with: 3.15."
        )
    found: list[tuple[Any, str, Callable[[Any], Any]]] = [(nn, name, make) for name, make in functions.items()]
    return [*found, (keras.layers.BatchNormalization, "call", _batch_norm_call)]


def _conv(original: Any) -> Any:
    def conv(
        inputs: Any,
        kernel: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: Any = None,
        dilation_rate: Any = 1,
    ) -> Any:
        x, weight = _tensor(inputs), _tensor(kernel)
        if not _suits(x, weight) or not _is_padding(padding):
            return original(inputs, kernel, strides, padding, data_format, dilation_rate)
        spatial, last = x.dim() - 2, _is_last(data_format)
        x, weight = _first(x, last), _weight(weight)
        groups = x.shape[1] // max(1, weight.shape[1])
        if groups * weight.shape[1] != x.shape[1]:
            return original(inputs, kernel, strides, padding, data_format, dilation_rate)  # which says so
        steps, gaps = _each(strides, spatial), _each(dilation_rate, spatial)
        pads = _same(x, weight.shape[2:], steps, gaps) if padding == "same" else [0] * (2 * spatial)
        return _last(_ops.conv(x, weight, None, steps, pads, gaps, groups), last)

    return conv


def _separable_conv(original: Any) -> Any:
    def separable_conv(
        inputs: Any,
        depthwise_kernel: Any,
        pointwise_kernel: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: Any = None,
        dilation_rate: Any = 1,
    ) -> Any:
        x, depthwise, pointwise = _tensor(inputs), _tensor(depthwise_kernel), _tensor(pointwise_kernel)
        last = _is_last(data_format)
        if (
            not _suits(x, depthwise, pointwise)
            or not _is_padding(padding)
            or x.shape[-1 if last else 1] != depthwise.shape[-2]
        ):
            return original(inputs, depthwise_kernel, pointwise_kernel, strides, padding, data_format, dilation_rate)
        spatial = x.dim() - 2
        x = _first(x, last)
        # (..., channels, multiplier): the channels of one input channel lie together.
        depthwise = _weight(depthwise.reshape(*depthwise.shape[:-2], 1, -1))
        steps, gaps = _each(strides, spatial), _each(dilation_rate, spatial)
        pads = _same(x, depthwise.shape[2:], steps, gaps) if padding == "same" else [0] * (2 * spatial)
        return _last(_ops.separable_conv(x, depthwise, _weight(pointwise), None, steps, pads, gaps), last)

    return separable_conv


def _conv_transpose(original: Any) -> Any:
    def conv_transpose(
        inputs: Any,
        kernel: Any,
        strides: Any = 1,
        padding: str = "valid",
        output_padding: Any = None,
        data_format: Any = None,
        dilation_rate: Any = 1,
    ) -> Any:
        from keras.src.backend.common.backend_utils import compute_conv_transpose_output_crops_for_torch

        x, weight = _tensor(inputs), _tensor(kernel)
        last = _is_last(data_format)
        if _suits(x, weight) and x.shape[-1 if last else 1] == weight.shape[-1]:
            spatial = x.dim() - 2
            steps = _each(strides, spatial)
            # What Keras cuts off after PyTorch's operator is padding at either end.
            crops = compute_conv_transpose_output_crops_for_torch(
                input_shape=x.shape,
                kernel_shape=weight.shape,
                strides=tuple(steps),
                padding=padding,
                output_padding=output_padding,
                dilation_rate=dilation_rate,
            )
            pads = [crop for ends in crops for crop in ends]
            if min(pads) >= 0:
                gaps = _each(dilation_rate, spatial)
                y = _ops.conv_transpose(_first(x, last), _weight(weight), None, steps, pads, [0] * spatial, 1, gaps)
                return _last(y, last)
        return original(inputs, kernel, strides, padding, output_padding, data_format, dilation_rate)

    return conv_transpose


def _max_pool(original: Any) -> Any:
    def max_pool(
        inputs: Any, pool_size: Any, strides: Any = None, padding: str = "valid", data_format: Any = None
    ) -> Any:
        x = _tensor(inputs)
        if not _suits(x) or not _is_padding(padding):
            return original(inputs, pool_size, strides, padding, data_format)
        spatial, last = x.dim() - 2, _is_last(data_format)
        x, kernel = _first(x, last), _each(pool_size, spatial)
        steps = kernel if strides is None else _each(strides, spatial)
        ones = [1] * spatial
        pads = _same(x, kernel, steps, ones) if padding == "same" else [0] * (2 * spatial)
        return _last(_ops.max_pool(x, kernel, steps, pads, ones, False)[0], last)

    return max_pool


def _average_pool(original: Any) -> Any:
    def average_pool(
        inputs: Any, pool_size: Any, strides: Any = None, padding: str = "valid", data_format: Any = None
    ) -> Any:
        x = _tensor(inputs)
        if _suits(x) and _is_padding(padding):
            spatial, last = x.dim() - 2, _is_last(data_format)
            x, kernel = _first(x, last), _each(pool_size, spatial)
            steps = kernel if strides is None else _each(strides, spatial)
            pads = _same(x, kernel, steps, [1] * spatial) if padding == "same" else [0] * (2 * spatial)
            # Uneven padding: Keras repeats the border and counts it here, which no padding of zeros does.
            if pads[::2] == pads[1::2]:
                return _last(_ops.avg_pool(x, kernel, steps, pads, False, False, None), last)
        return original(inputs, pool_size, strides, padding, data_format)

    return average_pool


def _batch_normalization(original: Any) -> Any:
    def batch_normalization(
        x: Any, mean: Any, variance: Any, axis: int, offset: Any = None, scale: Any = None, epsilon: float = 1e-3
    ) -> Any:
        given = [_tensor(t) for t in (x, mean, variance, offset, scale)]
        images, *vectors = given
        constant = not any(v is not None and v.requires_grad for v in vectors[:2])
        if not (constant and _is_batch_norm(images, axis, vectors)):
            return original(x, mean, variance, axis, offset, scale, epsilon)
        last = axis in (-1, images.dim() - 1)
        means, variances, offsets, scales = vectors
        y = _ops.batch_norm_inference(_first(images, last), means, variances, scales, offsets, epsilon)
        return _last(y, last)

    return batch_normalization


def _batch_norm_call(original: Any) -> Any:
    """`BatchNormalization.call`: the statistics and what they normalise in one operator, as they have one gradient."""

    def call(self: Any, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        x, axis = _tensor(inputs), self.axis
        vectors = [_tensor(v) for v in (self.gamma if self.scale else None, self.beta if self.center else None)]
        fused = training and self.trainable and mask is None and not self.synchronized
        if (
            not fused
            or getattr(self, "renorm", False)
            or self.compute_dtype != str(getattr(x, "dtype", "")).removeprefix("torch.")
            or not _is_batch_norm(x, axis, vectors)
            or x.numel() == x.shape[axis]
        ):
            return original(self, inputs, training=training, mask=mask)
        last = axis in (-1, x.dim() - 1)
        y, mean, variance = _ops.batch_norm_training(_first(x, last), *vectors, self.epsilon)
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + batch.detach() * (1.0 - self.momentum))
        return _last(y, last)

    return call


def _tensor(value: Any) -> Any:
    """The tensor of a Keras variable; everything else as it is."""
    inner = getattr(value, "value", None)
    return inner if isinstance(inner, Tensor) and not isinstance(value, Tensor) else value


def _suits(x: Any, *others: Any) -> bool:
    """Tensors of one dtype that our kernels compute, one or two spatial axes, with something in them."""
    return (
        isinstance(x, Tensor)
        and x.dtype in _DTYPES
        and x.device.type == "cpu"
        and x.dim() in (3, 4)
        and x.numel() > 0
        and all(isinstance(o, Tensor) and o.dtype is x.dtype and o.dim() == x.dim() and o.numel() for o in others)
    )


def _is_batch_norm(x: Any, axis: int, vectors: Sequence[Any]) -> bool:
    return (
        isinstance(x, Tensor)
        and x.dtype in _DTYPES
        and x.device.type == "cpu"
        and x.dim() in (2, 3, 4)
        and x.numel() > 0
        and axis in (-1, 1, x.dim() - 1)
        and all(
            v is None or (isinstance(v, Tensor) and v.dtype is x.dtype and v.shape == (x.shape[axis],)) for v in vectors
        )
    )


def _is_padding(padding: Any) -> bool:
    return padding in ("valid", "same")


def _is_last(data_format: Any) -> bool:
    from keras import config

    return bool((data_format or config.image_data_format()) == "channels_last")


def _each(value: Any, spatial: int) -> list[int]:
    return [value] * spatial if isinstance(value, int) else list(value)


def _same(x: Tensor, kernel: Sequence[int], steps: Sequence[int], gaps: Sequence[int]) -> list[int]:
    sizes = zip(x.shape[2:], kernel, steps, gaps, strict=True)
    return [end for size, k, step, gap in sizes for end in same_padding(size, k, step, gap)]


def _first(x: Tensor, last: bool) -> Tensor:
    """A view with the axes in PyTorch's order; the memory stays as it is."""
    return x.movedim(-1, 1) if last and x.dim() > 2 else x


def _last(y: Tensor, last: bool) -> Tensor:
    return y.movedim(1, -1) if last and y.dim() > 2 else y


def _weight(kernel: Tensor) -> Tensor:
    """Keras' (..., in, out) as (out, in, ...): of a convolution, and of a transposed one just as well."""
    return kernel.permute(kernel.dim() - 1, kernel.dim() - 2, *range(kernel.dim() - 2))
