"""One small call of every op of `neocog.ops`, for tests of what holds for all of them alike."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from neocog import ops

Array = np.ndarray
N = "N"  # the batch size, which a test may choose


class Call(NamedTuple):
    op: str
    shapes: dict[str, tuple]  # of the arrays, by the names that messages have for them
    arguments: dict[str, Any]  # all others

    def arrays(self, rng: np.random.Generator, batch: int = 2, dtype: Any = np.float32) -> dict[str, Array]:
        """Positive numbers, so that they may be variances; `indices` lie one in each window of 2 x 2."""
        made = {}
        for name, shape in _with_batch(self.shapes, batch).items():
            if name == "indices":
                made[name] = np.broadcast_to(_POSITIONS[len(shape)], shape).copy()
            else:
                made[name] = rng.uniform(0.5, 1.5, shape).astype(dtype)
        return made

    def run(self, arrays: dict[str, Any], batch: int = 2) -> tuple[Array, ...]:
        """The results, always as a tuple."""
        arguments = _with_batch(self.arguments, batch)
        if self.op == "concat":  # its messages number the arrays
            arrays = {"arrays": list(arrays.values())}
        y = getattr(ops, self.op)(**arrays, **arguments)
        return y if isinstance(y, tuple) else (y,)


_POSITIONS = {3: [0, 3, 4], 4: [[0, 3], [9, 10]]}  # in a signal of 6, an image of 4 x 4


def _with_batch(values: dict[str, Any], batch: int) -> dict[str, Any]:
    return {
        name: tuple(batch if v == N else v for v in value) if isinstance(value, tuple) else value
        for name, value in values.items()
    }


_IMAGE, _SIGNAL = {"x": (N, 3, 4, 4)}, {"x": (N, 3, 6)}
_POOLED, _POOLED_SIGNAL = (N, 3, 2, 2), (N, 3, 3)

# Convolutions: (x, weights..., bias of y, y), then the arguments.
_CONV1D = {"x": (N, 6, 9), "weight": (4, 3, 3)}, (4,), (N, 4, 5), {"stride": 2, "padding": 1, "groups": 2}
_CONV2D = {"x": (N, 6, 5, 7), "weight": (4, 6, 3, 3)}, (4,), (N, 4, 5, 7), {"padding": 1}
_DEPTHWISE = {"x": (N, 6, 5, 7), "weight": (12, 1, 3, 3)}, (12,), (N, 12, 3, 5), {}
_SEPARABLE = (
    {"x": (N, 6, 5, 7), "depthwise_weight": (6, 1, 3, 3), "pointwise_weight": (4, 6, 1, 1)},
    (4,),
    (N, 4, 3, 5),
    {},
)
_TRANSPOSE1D = {"x": (N, 6, 5), "weight": (6, 4, 2)}, (4,), (N, 4, 10), {"stride": 2}
_TRANSPOSE2D = {"x": (N, 6, 3, 4), "weight": (6, 4, 3, 3)}, (4,), (N, 4, 7, 9), {"stride": 2}
_LINEAR = {"x": (N, 5, 6), "weight": (4, 6)}, (4,), (N, 5, 4), {}

_MATRICES = {
    "conv1d": _CONV1D,
    "conv2d": _CONV2D,
    "depthwise_conv2d": _DEPTHWISE,
    "separable_conv2d": _SEPARABLE,
    "conv_transpose1d": _TRANSPOSE1D,
    "conv_transpose2d": _TRANSPOSE2D,
    "linear": _LINEAR,
}
_CHANNELS = (3,)
_STATISTICS = {"mean": _CHANNELS, "var": _CHANNELS}
_TABLE: list[tuple[str, dict[str, tuple], dict[str, Any]]] = [
    *((op, {**given, "bias": bias}, steps) for op, (given, bias, _, steps) in _MATRICES.items()),
    *((f"{op}_backward", {"grad_y": y, **given}, steps) for op, (given, _, y, steps) in _MATRICES.items()),
    *((f"{kind}_pool1d", _SIGNAL, {"kernel_size": 2}) for kind in ("max", "avg")),
    *((f"{kind}_pool2d", _IMAGE, {"kernel_size": 2}) for kind in ("max", "avg")),
    ("max_pool1d_backward", {"grad_y": _POOLED_SIGNAL, "indices": _POOLED_SIGNAL}, {"input_size": 6}),
    ("max_pool2d_backward", {"grad_y": _POOLED, "indices": _POOLED}, {"input_size": (4, 4)}),
    ("avg_pool1d_backward", {"grad_y": _POOLED_SIGNAL}, {"input_size": 6, "kernel_size": 2}),
    ("avg_pool2d_backward", {"grad_y": _POOLED}, {"input_size": (4, 4), "kernel_size": 2}),
    *((f"adaptive_{kind}_pool1d", _SIGNAL, {"output_size": 4}) for kind in ("max", "avg")),
    *((f"adaptive_{kind}_pool2d", _IMAGE, {"output_size": (3, 2)}) for kind in ("max", "avg")),
    ("adaptive_avg_pool1d_backward", {"grad_y": _POOLED_SIGNAL}, {"input_size": 7}),
    ("adaptive_avg_pool2d_backward", {"grad_y": _POOLED}, {"input_size": (5, 4)}),
    *((f"global_{kind}_pool1d", _SIGNAL, {}) for kind in ("max", "avg")),
    *((f"global_{kind}_pool2d", _IMAGE, {}) for kind in ("max", "avg")),
    ("global_avg_pool1d_backward", {"grad_y": (N, 3, 1)}, {"input_size": 7}),
    ("global_avg_pool2d_backward", {"grad_y": (N, 3, 1, 1)}, {"input_size": (5, 4)}),
    ("max_unpool1d", {"x": _POOLED_SIGNAL, "indices": _POOLED_SIGNAL}, {"kernel_size": 2}),
    ("max_unpool2d", {"x": _POOLED, "indices": _POOLED}, {"kernel_size": 2}),
    ("max_unpool1d_backward", {"grad_y": _SIGNAL["x"], "indices": _POOLED_SIGNAL}, {}),
    ("max_unpool2d_backward", {"grad_y": _IMAGE["x"], "indices": _POOLED}, {}),
    ("batch_norm", {**_IMAGE, "weight": _CHANNELS, "bias": _CHANNELS, **_STATISTICS}, {}),
    ("batch_norm_backward", {"grad_y": _IMAGE["x"], **_IMAGE, "weight": _CHANNELS, **_STATISTICS}, {}),
    *((op, _IMAGE, {}) for op in ("relu", "relu6", "leaky_relu", "elu", "gelu", "silu")),
    *((op, _IMAGE, {}) for op in ("sigmoid", "tanh", "hardswish", "softmax")),
    *(
        (f"{op}_backward", {"grad_y": _IMAGE["x"], **_IMAGE}, {})
        for op in ("relu", "relu6", "leaky_relu", "elu", "gelu", "silu", "hardswish")
    ),
    *((f"{op}_backward", {"grad_y": _IMAGE["x"], "y": _IMAGE["x"]}, {}) for op in ("sigmoid", "tanh", "softmax")),
    ("prelu", {**_IMAGE, "weight": _CHANNELS}, {}),
    ("prelu_backward", {"grad_y": _IMAGE["x"], **_IMAGE, "weight": _CHANNELS}, {}),
    ("add", {**_IMAGE, "y": (3, 1, 4)}, {}),
    ("add_backward", {"grad_y": _IMAGE["x"]}, {"x_shape": (N, 3, 4, 4), "y_shape": (3, 1, 4)}),
    ("concat", {"arrays[0]": (N, 3, 4, 5), "arrays[1]": (N, 1, 4, 5)}, {}),
    ("concat_backward", {"grad_y": (N, 4, 4, 5)}, {"sizes": (3, 1)}),
    ("pad", _IMAGE, {"padding": (1, 0, 3, 4)}),
    ("pad_backward", {"grad_y": (N, 3, 11, 5)}, {"input_shape": (N, 3, 4, 4), "padding": (1, 0, 3, 4)}),
    ("pixel_shuffle", {"x": (N, 12, 3, 4)}, {"upscale_factor": 2}),
    ("pixel_shuffle_backward", {"grad_y": (N, 3, 6, 8)}, {"upscale_factor": 2}),
    ("pixel_unshuffle", {"x": (N, 3, 6, 8)}, {"downscale_factor": 2}),
    ("pixel_unshuffle_backward", {"grad_y": (N, 12, 3, 4)}, {"downscale_factor": 2}),
    ("interpolate", _IMAGE, {"scale_factor": 2.0, "mode": "bilinear"}),
    (
        "interpolate_backward",
        {"grad_y": (N, 3, 8, 8)},
        {"input_size": (4, 4), "scale_factor": 2.0, "mode": "bilinear"},
    ),
]
CALLS = {op: Call(op, shapes, arguments) for op, shapes, arguments in _TABLE}
