"""ONNX' Pad, Resize and Upsample."""

from __future__ import annotations

import numpy as np

from neocog.engine.importers.onnx_call import Call, Unsupported, imports
from neocog.engine.importers.onnx_shapes import size_of, spread

_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


@imports("Pad", takes="any")
def _pad(call: Call) -> None:
    x, mode = call.input(0), call.choose("mode", "constant", _MODES)
    if call.opset < 11:
        pads = call.constant(call.attribute("pads"), np.int64, "pads")
        call.finish("pad", x, pads, mode=mode, value=call.attribute("value", 0.0))
        return
    pads, given, axes = call.input(1), call.optional(2), call.optional(3)
    value = 0.0 if given is None else call.value(given, "`constant_value`").reshape(-1)[0].item()
    if axes is not None:
        pads = _pads_of_all(call, x, pads, call.integers(axes, "`axes`"))
    call.finish("pad", x, pads, mode=mode, value=value)


def _pads_of_all(call: Call, x: str, pads: str, axes: list[int]) -> str:
    """The pads of every axis, from those of some."""
    rank = call.rank(x, "axes without pads must be counted")
    zeros = [call.constant([0], np.int64, "none")] * rank
    both = [*(axis % rank for axis in axes), *(axis % rank + rank for axis in axes)]
    return spread(call, pads, both, 2 * rank, zeros + zeros)


_COORDINATES = {
    "half_pixel": "half_pixel",
    "half_pixel_symmetric": "half_pixel_symmetric",
    "pytorch_half_pixel": "pytorch_half_pixel",
    "align_corners": "align_corners",
    "asymmetric": "asymmetric",
    "tf_half_pixel_for_nn": "tf_half_pixel_for_nn",
}
_NEAREST = {name: name for name in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")}
_INTERPOLATION = {"nearest": "nearest", "linear": "linear", "bilinear": "linear", "cubic": "cubic"}


@imports("Upsample", since=7)
def _upsample(call: Call) -> None:
    scales = call.optional(1)
    if scales is None:
        scales = call.constant(call.attribute("scales"), np.float32, "scales")
    _finish_asymmetric(call, scales)


def _check_known(call: Call, scales: str | None) -> None:
    if scales is not None and call.is_data(scales):
        raise Unsupported(f"its scales {scales!r} follow from data; they must be known before the network runs", scales)


def _finish_asymmetric(call: Call, scales: str) -> None:
    _check_known(call, scales)
    mode = call.choose("mode", "nearest", _INTERPOLATION)
    call.finish("resize", call.input(0), None, scales, mode=mode, coordinates="asymmetric", nearest="floor")


def _not_empty(call: Call, place: int) -> str | None:
    """An input, unless it is a tensor without elements, as exporters write for one that is absent."""
    name = call.optional(place)
    if name is None or call.shape(name) == (0,):
        return None
    return name


def _keep_aspect(
    call: Call, x: str, sizes: str, axes: list[int] | None, policy: str
) -> tuple[str | None, str | None, list[int]]:
    """Scales or sizes, and their axes, for one scale that holds for all of them.

    ONNX rounds the sizes but places pixels by the scale. A graph's resize has one of the two, so they must agree.
    """
    shape, wanted = call.shape(x), call.integers(sizes, "`sizes`")
    axes = list(range(len(wanted))) if axes is None else axes
    old = [] if shape is None else [n for n in (shape[axis] for axis in axes) if n is not None]
    if len(old) != len(wanted):
        raise Unsupported(f"keep_aspect_ratio_policy={policy!r} needs a {x!r} of fixed size", x)
    pick = {"not_larger": min, "not_smaller": max}.get(policy)
    if pick is None:
        raise Unsupported(f"keep_aspect_ratio_policy={policy!r}; it can be stretch, not_larger, not_smaller")
    scale = pick(size / n for size, n in zip(wanted, old, strict=True))
    rounded = [int(scale * n + 0.5) for n in old]
    if all(size == n * scale for size, n in zip(rounded, old, strict=True)):
        return None, call.constant(rounded, np.int64, "sizes"), axes
    single = float(np.float32(scale))
    if all(size == int(n * single) for size, n in zip(rounded, old, strict=True)):
        return call.constant([single] * len(axes), np.float32, "scales"), None, axes
    raise Unsupported(f"keep_aspect_ratio_policy={policy!r} makes {rounded} of {old}, but scales by {scale}")


@imports("Resize", since=10)
def _resize(call: Call) -> None:
    if call.opset < 11:
        _finish_asymmetric(call, call.input(1))
        return
    x, scales, sizes = call.input(0), _not_empty(call, 2), _not_empty(call, 3)
    _check_known(call, scales)
    coordinates = call.choose("coordinate_transformation_mode", "half_pixel", _COORDINATES)
    nearest = call.choose("nearest_mode", "round_prefer_floor", _NEAREST)
    mode = call.choose("mode", "nearest", _INTERPOLATION)
    if coordinates == "tf_half_pixel_for_nn":
        # floor(v) is v - 0.5 rounded with halves up: the nearest pixel of half_pixel's coordinate.
        if (mode, nearest) != ("nearest", "floor"):
            raise Unsupported("coordinate_transformation_mode='tf_half_pixel_for_nn' other than for nearest and floor")
        coordinates, nearest = "half_pixel", "round_prefer_ceil"
    axes = call.attribute("axes")
    policy = call.attribute("keep_aspect_ratio_policy", "stretch")
    if sizes is not None and policy != "stretch":
        scales, sizes, axes = _keep_aspect(call, x, sizes, axes, policy)
    if axes is not None:
        rank = call.rank(x, "axes that keep their size must be counted")
        if sizes is not None:
            sizes = spread(call, sizes, axes, rank, [size_of(call, x, axis) for axis in range(rank)])
        if scales is not None:
            scales = spread(call, scales, axes, rank, [call.constant([1], np.float32, "one")] * rank)
    call.finish(
        "resize",
        x,
        sizes,
        None if sizes is not None else scales,
        mode=mode,
        coordinates=coordinates,
        nearest=nearest,
        cubic_coeff=call.attribute("cubic_coeff_a", -0.75),
        exclude_outside=bool(call.attribute("exclude_outside", 0)),
        antialias=bool(call.attribute("antialias", 0)),
    )
