"""Argument checks shared by the operators: every message names the argument, its value and the repair."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar, cast

Pair = tuple[int, int]
Padding = tuple[int, int, int, int]  # height lo, hi, width lo, hi

_LARGEST = 2**31 - 1

_P = ParamSpec("_P")
_R = TypeVar("_R")

# Values of exactly these types are the same wherever they are equal; of others a key of a cache might not tell that.
_PLAIN = frozenset({int, bool, str, type(None)})


def remembered(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Keep the results of a pure function of plain arguments: ints, bools, strings, None and tuples of ints.

    Checks that a call has passed once need not run again, and after a kernel has been through the caches they take
    several times as long as a benchmark of them alone would show. Other arguments, and errors, are worked out each
    time. Keywords are not taken.
    """
    direct = cast("Callable[..., Any]", function)
    known = functools.lru_cache(maxsize=1024, typed=True)(direct)

    def call(*args: Any) -> Any:
        for arg in args:
            kind = arg.__class__
            if kind is tuple:
                for entry in arg:
                    if entry.__class__ is not int:
                        return direct(*args)
            elif kind not in _PLAIN:
                return direct(*args)
        return known(*args)

    return cast("Callable[_P, _R]", functools.wraps(function)(call))


def integer(name: str, value: Any, minimum: int | None = None) -> int:
    """An int (or what converts to one without loss) of at least `minimum`."""
    if isinstance(value, bool):
        raise TypeError(f"`{name}` is {value!r}; it must be an int.")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"`{name}` is {value!r}; it must be an int.") from None
    if minimum is not None and number < minimum:
        raise ValueError(f"`{name}` is {number}; it must be at least {minimum}.")
    if abs(number) > _LARGEST:
        raise ValueError(f"`{name}` is {number}; it must be at most {_LARGEST}.")
    return number


def pair(name: str, value: Any, spatial: int = 2, minimum: int | None = None) -> Pair:
    """(height, width) of an int or of one int per spatial axis; 1-D gets the height 1, or 0 if that is allowed.

    The neutral height is 1 for sizes and steps (minimum >= 1) and 0 for paddings.
    """
    neutral = 1 if minimum is not None and minimum >= 1 else 0
    if isinstance(value, Sequence) and not isinstance(value, str):
        values = [integer(name, v, minimum) for v in value]
        if len(values) == 1:
            values *= spatial
        if len(values) != spatial:
            raise ValueError(f"`{name}` is {tuple(value)!r}; it must be an int or have {spatial} entries.")
    else:
        values = [integer(name, value, minimum)] * spatial
    return (values[0], values[1]) if spatial == 2 else (neutral, values[0])


def same_padding(size: int, kernel: int, stride: int, dilation: int) -> Pair:
    """Keras' rule for "same": ceil(size / stride) outputs, the odd pixel of padding at the end."""
    total = max(dilation * (kernel - 1) - (size - 1) % stride, 0)
    return total // 2, total - total // 2


def padding_of(
    value: Any,
    size: Pair,
    kernel: Pair,
    stride: Pair,
    dilation: Pair,
    spatial: int = 2,
    *,
    name: str = "padding",
) -> Padding:
    """Resolve a `padding` argument: int, one int per axis, "valid", "same", or one (lo, hi) per axis."""
    if isinstance(value, str):
        if value == "valid":
            return 0, 0, 0, 0
        if value == "same":
            lo_h, hi_h = same_padding(size[0], kernel[0], stride[0], dilation[0])
            lo_w, hi_w = same_padding(size[1], kernel[1], stride[1], dilation[1])
            return lo_h, hi_h, lo_w, hi_w
        raise ValueError(f'`{name}` is {value!r}; as a string it must be "valid" or "same".')
    if isinstance(value, Sequence) and len(value) == spatial and all(isinstance(v, Sequence) for v in value):
        ends = [pair(name, v, 2, 0) for v in value]
        if spatial == 1:
            return (0, 0, *ends[0])
        return (*ends[0], *ends[1])
    lo_h, lo_w = pair(name, value, spatial, 0)
    return lo_h, lo_h, lo_w, lo_w


def window_size(
    name: str,
    size: Pair,
    kernel: Pair,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    *,
    ceil_mode: bool = False,
) -> Pair:
    """Output (height, width) of a sliding window, or the error that it does not fit anywhere."""
    outs = []
    for axis, what in enumerate(("height", "width")):
        padded = size[axis] + padding[2 * axis] + padding[2 * axis + 1]
        reach = dilation[axis] * (kernel[axis] - 1) + 1
        if reach > padded:
            raise ValueError(
                f"the kernel's {what} {kernel[axis]} (dilation {dilation[axis]}: {reach} pixels) exceeds the padded "
                f"{what} {padded} of `{name}`; enlarge `padding` or the image, or use a smaller kernel."
            )
        room = padded - reach
        out = room // stride[axis] + 1
        # A window of ceil mode must start inside the image or its leading padding.
        if ceil_mode and room % stride[axis] and out * stride[axis] < size[axis] + padding[2 * axis]:
            out += 1
        outs.append(out)
    return outs[0], outs[1]


def output_mask(value: Any, entries: int) -> tuple[bool, ...]:
    """aten's `output_mask`: which gradients are wanted."""
    mask = tuple(value) if isinstance(value, Sequence) else ()
    if len(mask) != entries or not all(isinstance(m, bool) for m in mask):
        raise ValueError(f"`output_mask` is {value!r}; it must be {entries} bools.")
    return mask


def one_of(name: str, value: Any, choices: Sequence[str]) -> str:
    """A string out of a fixed set."""
    if value not in choices:
        raise ValueError(f"`{name}` is {value!r}; it must be one of {', '.join(repr(c) for c in choices)}.")
    return str(value)
