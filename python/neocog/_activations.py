"""The activations that operators can fuse, by the names users give them."""

from __future__ import annotations

from neocog._checks import one_of

# Order and defaults of `Activation` in cpp/ops/elementwise/elementwise.h.
_CODES = {
    "relu": (1, 0.0),
    "relu6": (2, 0.0),
    "leaky_relu": (3, 0.01),
    "elu": (4, 1.0),
    "gelu": (5, 0.0),
    "gelu_tanh": (6, 0.0),
    "silu": (7, 0.0),
    "sigmoid": (8, 0.0),
    "tanh": (9, 0.0),
    "hardswish": (10, 0.0),
}
ACTIVATIONS = tuple(_CODES)


def activation_code(activation: str | None) -> tuple[int, float]:
    """(code, alpha) of an `activation` argument; None is the identity."""
    if activation is None:
        return 0, 0.0
    return _CODES[one_of("activation", activation, ACTIVATIONS)]
