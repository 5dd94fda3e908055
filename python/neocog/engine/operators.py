"""The operators of a graph: how many values each takes and makes, and its attributes.

Shapes are torch's: images (N, C, H, W) or (N, C, L), weights of a convolution (O, C/groups, R, S), of a transposed one
(C, O/groups, R, S), of `linear` (O, I). Paddings are [[begin, end], ...] for each spatial axis. Negative axes count
from the end. Numbers that a model computes (shapes, starts, scales) are inputs, integers mostly, which the plan must
know: constants, or results of operators on constants, shapes and integer inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

REQUIRED: Any = object()  # the default of an attribute that has none


@dataclass(frozen=True)
class Attribute:
    """One attribute: its default, and whether a value is right."""

    default: Any
    expected: str
    accepts: Callable[[Any], bool]


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_integers(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(map(_is_integer, value))


def _is_pairs(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(_is_integers(pair) and len(pair) == 2 for pair in value)


def integer(default: Any = REQUIRED, minimum: int | None = None) -> Attribute:
    expected = "an integer" if minimum is None else f"an integer of at least {minimum}"
    return Attribute(default, expected, lambda v: _is_integer(v) and (minimum is None or v >= minimum))


def number(default: Any = REQUIRED) -> Attribute:
    return Attribute(default, "a number", _is_number)


def maybe_number() -> Attribute:
    return Attribute(None, "a number or None", lambda v: v is None or _is_number(v))


def flag(default: bool) -> Attribute:
    return Attribute(default, "a bool", lambda v: isinstance(v, bool))


def integers(default: Any = REQUIRED) -> Attribute:
    return Attribute(default, "a list of integers", _is_integers)


def maybe_integers() -> Attribute:
    return Attribute(None, "a list of integers or None", lambda v: v is None or _is_integers(v))


def maybe_integer() -> Attribute:
    return Attribute(None, "an integer or None", lambda v: v is None or _is_integer(v))


def padding() -> Attribute:
    # Keras' and ONNX's "same": as many outputs as inputs over the stride, the odd pixel at the end or the beginning.
    same = ("same_upper", "same_lower")
    return Attribute(REQUIRED, f"pairs of integers, or one of {', '.join(same)}", lambda v: v in same or _is_pairs(v))


def choice(*options: str, default: Any = REQUIRED) -> Attribute:
    return Attribute(default, f"one of {', '.join(options)}", lambda v: v in options)


ACTIVATIONS = (
    "relu",
    "relu6",
    "leaky_relu",
    "elu",
    "gelu",
    "gelu_tanh",
    "silu",
    "sigmoid",
    "tanh",
    "hardswish",
)


def activation(prefix: str = "") -> dict[str, Attribute]:
    """What is applied to a result before it is stored; alpha is leaky_relu's slope and elu's scale."""
    fused = Attribute(None, f"None or one of {', '.join(ACTIVATIONS)}", lambda v: v is None or v in ACTIVATIONS)
    return {f"{prefix}activation": fused, f"{prefix}alpha": number(0.0)}


# What x and weight are rounded to before they are multiplied; sums are float32.
PRECISIONS = ("fp32", "bf16")


def precision() -> dict[str, Attribute]:
    return {"precision": choice(*PRECISIONS, default="fp32")}


@dataclass(frozen=True)
class Operator:
    """The signature of an operator.

    Args:
        least, most: How many inputs it takes; those beyond `least` are optional. `most` is None for any number.
        attributes: By name.
        outputs: How many results it can have.
    """

    least: int
    most: int | None
    attributes: dict[str, Attribute]
    outputs: int = 1

    def check(
        self,
        where: str,
        inputs: int,
        names: Sequence[str | None],
        outputs: int,
        attributes: dict[str, Any],
    ) -> None:
        """Raise a GraphError that begins with `where`, unless a node fits this signature."""
        from neocog.engine.graph import GraphError

        most = self.most if self.most is not None else inputs
        if not self.least <= inputs <= most:
            raise GraphError(f"{where} has {inputs} inputs; it must have {self.least} to {self.most or 'any number'}.")
        if any(name is None for name in names[: self.least]) or (self.most is None and None in names):
            raise GraphError(f"{where} lacks an input that is not optional.")
        if not 1 <= outputs <= self.outputs:
            raise GraphError(f"{where} has {outputs} outputs; it must have 1 to {self.outputs}.")
        for key, value in attributes.items():
            if key not in self.attributes:
                raise GraphError(f"{where} has the attribute {key!r}; it can have {', '.join(self.attributes)}.")
            attribute = self.attributes[key]
            if not attribute.accepts(value):
                raise GraphError(f"{where}: `{key}` is {value!r}; it must be {attribute.expected}.")
        for key, attribute in self.attributes.items():
            if attribute.default is REQUIRED and key not in attributes:
                raise GraphError(f"{where} lacks the attribute `{key}`, {attribute.expected}.")


_WINDOW = {"stride": integers(), "padding": padding(), "dilation": integers()}

# One value in, one out, element by element.
UNARY: dict[str, dict[str, Attribute]] = {
    **{name: {} for name in ACTIVATIONS if name not in ("leaky_relu", "elu")},
    "leaky_relu": {"alpha": number(0.01)},
    "elu": {"alpha": number(1.0)},
    "celu": {"alpha": number(1.0)},
    "selu": {"alpha": number(1.6732632423543772), "gamma": number(1.0507009873554805)},
    "hardsigmoid": {"alpha": number(1 / 6), "beta": number(0.5)},  # max(0, min(1, alpha x + beta))
    "clip": {"min": maybe_number(), "max": maybe_number()},
    "threshold": {"threshold": number(0.0), "value": number(0.0)},  # x where x > threshold, else the value
    "shrink": {"lambd": number(0.5), "bias": number(0.0)},
    "softplus": {},
    "softsign": {},
    "mish": {},
    **{
        name: {}
        for name in (
            *("abs", "neg", "sign", "square", "sqrt", "rsqrt", "reciprocal", "exp", "log", "erf"),
            *("floor", "ceil", "round", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh"),
            *("acosh", "atanh"),
        )
    },
}
# Two values with NumPy's broadcasting. `mod` has the sign of the divisor, as in Python; div of integers truncates.
BINARY = ("add", "sub", "mul", "div", "pow", "maximum", "minimum", "mod")
# Over `axes`, all of them if None.
REDUCTIONS = ("mean", "sum", "max", "min", "prod", "sum_square", "norm1", "norm2", "log_sum", "log_sum_exp")

OPERATORS: dict[str, Operator] = {
    # x, weight, bias, residual, which has the shape of y and is added before the activation
    "conv": Operator(2, 4, {**_WINDOW, "groups": integer(1, 1), **activation(), **precision()}),
    # output_size, if not None, says how many outputs of the window there are, instead of output_padding: "same"
    # paddings crop as Keras and ONNX do.
    "conv_transpose": Operator(
        2,
        4,
        {
            **_WINDOW,
            "output_padding": integers(),
            "output_size": maybe_integers(),
            "groups": integer(1, 1),
            **activation(),
        },
    ),
    # x, depthwise weight (C*M, 1, R, S), pointwise weight (O, C*M, 1, 1), bias, residual: no bias between the two.
    # With center, scale and shift, one number per channel each, the depthwise convolution is of
    # before_activation((x - center) * scale + shift), padded with zeros.
    "separable_conv": Operator(3, 8, {**_WINDOW, **activation(), **activation("before_")}),
    # y, and if wanted the int64 indices, counted within a plane
    "max_pool": Operator(1, 1, {"kernel": integers(), **_WINDOW, "ceil_mode": flag(False)}, outputs=2),
    "avg_pool": Operator(
        1,
        1,
        {
            "kernel": integers(),
            "stride": integers(),
            "padding": padding(),
            "ceil_mode": flag(False),
            "count_include_pad": flag(False),
            "divisor": maybe_integer(),
        },
    ),
    # One size per spatial axis; a global pooling has sizes of 1, or output_size [1] for any number of axes.
    "adaptive_avg_pool": Operator(1, 1, {"output_size": integers()}),
    "adaptive_max_pool": Operator(1, 1, {"output_size": integers()}),
    # x, weight, bias, mean, var
    "batch_norm": Operator(5, 5, {"eps": number(1e-5), **activation()}),
    # x, weight, bias: over the channels' groups, or over the last axes, as many as weight has
    "group_norm": Operator(1, 3, {"groups": integer(REQUIRED, 1), "eps": number(1e-5)}),  # instance norm: groups = C
    "instance_norm": Operator(1, 3, {"eps": number(1e-5)}),
    "layer_norm": Operator(1, 3, {"axis": integer(-1), "eps": number(1e-5)}),  # over axis and all after it
    # y = x / (bias + alpha / size * sum of x^2 over `size` neighbouring channels) ^ beta, ONNX's LRN
    "lrn": Operator(1, 1, {"size": integer(REQUIRED, 1), "alpha": number(), "beta": number(), "bias": number()}),
    # y = x weight^T + bias, over the last axis of x
    "linear": Operator(2, 3, {**activation(), **precision()}),
    "matmul": Operator(2, 2, {}),  # NumPy's
    "softmax": Operator(1, 1, {"axis": integer(-1)}),
    "log_softmax": Operator(1, 1, {"axis": integer(-1)}),
    "prelu": Operator(2, 2, {}),  # x, slope, which broadcasts to x
    **{name: Operator(1, 1, attributes) for name, attributes in UNARY.items()},
    **{name: Operator(2, 2, activation() if name == "add" else {}) for name in BINARY},
    **{name: Operator(1, 1, {"axes": maybe_integers(), "keepdims": flag(False)}) for name in REDUCTIONS},
    # x, sizes (of all axes) or scales (of all axes): one of the two. As ONNX's Resize has it.
    "resize": Operator(
        1,
        3,
        {
            "mode": choice("nearest", "linear", "cubic"),
            "coordinates": choice(
                "half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric"
            ),
            "nearest": choice("round_prefer_floor", "round_prefer_ceil", "floor", "ceil", default="floor"),
            "cubic_coeff": number(-0.75),
            "exclude_outside": flag(False),
            "antialias": flag(False),
        },
    ),
    # x, pads (begin of every axis, then end of every axis; may be negative)
    "pad": Operator(
        2, 2, {"mode": choice("constant", "reflect", "replicate", "circular", default="constant"), "value": number(0.0)}
    ),
    "concat": Operator(1, None, {"axis": integer()}),
    # x, starts, ends, axes, steps: as ONNX's Slice, which is Python's
    "slice": Operator(3, 5, {}),
    "transpose": Operator(1, 1, {"permutation": integers()}),
    "reshape": Operator(2, 2, {"keep_zero": flag(False)}),  # x, shape with one -1 at most; 0 copies a size, unless kept
    "flatten": Operator(1, 1, {"start": integer(1), "end": integer(-1)}),
    "squeeze": Operator(1, 1, {"axes": maybe_integers()}),
    "unsqueeze": Operator(1, 1, {"axes": integers()}),
    "expand": Operator(2, 2, {}),  # x, shape, which broadcasts with x's
    "tile": Operator(2, 2, {}),  # x, repeats
    "pixel_shuffle": Operator(1, 1, {"factor": integer(REQUIRED, 1)}),  # channels (c, r, r), as torch and ONNX' CRD
    "depth_to_space": Operator(1, 1, {"factor": integer(REQUIRED, 1)}),  # channels (r, r, c), ONNX' DCR
    "space_to_depth": Operator(1, 1, {"factor": integer(REQUIRED, 1)}),  # its inverse
    "pixel_unshuffle": Operator(1, 1, {"factor": integer(REQUIRED, 1)}),  # the inverse of pixel_shuffle
    "identity": Operator(1, 1, {}),
    "gather": Operator(2, 2, {"axis": integer(0)}),  # x, indices
    # Numbers of the plan: never data
    "shape": Operator(1, 1, {"start": integer(0), "end": maybe_integer()}),
    "size": Operator(1, 1, {}),
    "cast": Operator(1, 1, {"dtype": choice("float32", "float64", "int32", "int64", "bool")}),
    "range": Operator(3, 3, {}),
    "full": Operator(1, 1, {"value": number(), "dtype": choice("float32", "float64", "int32", "int64", "bool")}),
    **{name: Operator(2, 2, {}) for name in ("equal", "less", "greater", "logical_and", "logical_or")},
    "logical_not": Operator(1, 1, {}),
    "where": Operator(3, 3, {}),
    "nonzero": Operator(1, 1, {}),
}
