"""aten's operators that enlarge images and exchange channels with pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from neocog.engine.importers.aten_importer import Importer
from neocog.engine.importers.aten_registry import Result, Size, Unsupported, Value, converts, static

# aten's name, the graph's mode, how pixels are placed if not by their corners, how the nearest one is chosen
_MODES = {
    "upsample_nearest": ("nearest", "asymmetric", "floor"),
    "_upsample_nearest_exact": ("nearest", "half_pixel", "round_prefer_ceil"),
    "upsample_linear": ("linear", "half_pixel", None),
    "upsample_bilinear": ("linear", "half_pixel", None),
    "upsample_bicubic": ("cubic", "half_pixel", None),
    "_upsample_bilinear2d_aa": ("linear", "half_pixel", None),
    "_upsample_bicubic2d_aa": ("cubic", "half_pixel", None),
}


def _resize(
    importer: Importer,
    name: str,
    x: Value,
    sizes: Sequence[Size] | None,
    scales: Sequence[Any],
    align_corners: bool,
) -> Result:
    mode, coordinates, nearest = _MODES[name]
    attributes: dict[str, Any] = {"mode": mode, "coordinates": "align_corners" if align_corners else coordinates}
    if nearest is not None:
        attributes["nearest"] = nearest
    if name.endswith("_aa"):
        # Of an enlarged image each pixel lies among its neighbours; of a reduced one it is a mean with their weights.
        attributes |= {"antialias": True, "exclude_outside": True, "cubic_coeff": -0.5}
    if align_corners and not all(float(scale).is_integer() for scale in scales):
        sizes, scales = importer.result_shape()[2:], ()  # corners are where the sizes say, which are whole numbers
    # torch places pixels by the factor where one is given, and by the ratio of the sizes else.
    if scales and all(isinstance(scale, (int, float)) and scale > 0 for scale in scales):
        factors = importer.constant(np.array([1.0, 1.0, *map(float, scales)]), "scales")
        return importer.emit("resize", x, None, factors, **attributes)
    if any(scale is not None for scale in scales) and sizes is None:
        raise Unsupported("a factor that depends on the sizes of an input")
    if sizes is None:
        raise Unsupported("neither a size nor a factor")
    target = importer.sizes.vector((*x.shape[:2], *sizes))
    return importer.emit("resize", x, target, **attributes)


def _by_size(name: str, axes: int, aligns: bool) -> Callable[..., Result]:
    """upsample_*.default: sizes, perhaps `align_corners`, and the factor that each size came from."""

    def convert(importer: Importer, x: Value, output_size: Sequence[Size], *more: Any, **named: Any) -> Result:
        align = bool(more[0] if more else named.get("align_corners")) if aligns else False
        scales = list(more[1:] if aligns else more) or list(named.get("scales", ()))
        given = [scale for scale in scales if scale is not None]
        if len(given) not in (0, axes):
            raise Unsupported("a factor for one of the axes")
        if given and not _agrees(x, output_size, given):
            raise Unsupported("a size and a factor that contradict each other")
        return _resize(importer, name, x, output_size, given, align)

    return convert


def _agrees(x: Value, sizes: Sequence[Size], scales: Sequence[float]) -> bool:
    """Whether sizes are those of the factors; open ones are, for they were computed from them."""
    triples = zip(x.shape[2:], sizes, scales, strict=True)
    return all(
        int(before * scale) == after
        for before, after, scale in triples
        if isinstance(before, int) and isinstance(after, int)
    )


def _by_word(name: str, aligns: bool) -> Callable[..., Result]:
    """upsample_*.vec: a size or factors."""

    def convert(importer: Importer, x: Value, output_size: Sequence[Size] | None, *more: Any, **named: Any) -> Result:
        align = bool(more[0] if more else named.get("align_corners")) if aligns else False
        factors = more[-1] if len(more) > aligns else named.get("scale_factors")
        return _resize(importer, name, x, output_size, () if output_size is not None else factors or (), align)

    return convert


for _name, _axes in (
    ("upsample_nearest", (1, 2)),
    ("_upsample_nearest_exact", (1, 2)),
    ("upsample_linear", (1,)),
    ("upsample_bilinear", (2,)),
    ("upsample_bicubic", (2,)),
    ("_upsample_bilinear2d_aa", (2,)),
    ("_upsample_bicubic2d_aa", (2,)),
):
    for _count in _axes:
        _full = _name if _name.endswith("_aa") else f"{_name}{_count}d"
        _aligns = "nearest" not in _name
        converts(_full)(_by_size(_name, _count, _aligns))
        converts(f"{_full}.vec")(_by_word(_name, _aligns))


@converts("pixel_shuffle")
def pixel_shuffle(importer: Importer, x: Value, upscale_factor: int) -> Result:
    return _of_images(importer, "pixel_shuffle", x, upscale_factor)


@converts("pixel_unshuffle")
def pixel_unshuffle(importer: Importer, x: Value, downscale_factor: int) -> Result:
    return _of_images(importer, "pixel_unshuffle", x, downscale_factor)


def _of_images(importer: Importer, op: str, x: Value, factor: int) -> str:
    if x.rank == 4:
        return importer.emit(op, x, factor=factor)
    if x.rank != 3:
        raise Unsupported(f"{x.rank} axes")
    y = importer.emit(op, importer.emit("unsqueeze", x, axes=[0]), factor=factor)
    return importer.emit("squeeze", y, axes=[0])


@converts("channel_shuffle", "native_channel_shuffle")
def channel_shuffle(importer: Importer, x: Value, groups: int) -> Result:
    channels = static(x.shape[1], "the number of channels")
    rest = list(range(3, x.rank + 1))
    pixels = importer.emit("reshape", x, importer.sizes.vector((0, groups, channels // groups, *x.shape[2:])))
    turned = importer.emit("transpose", pixels, permutation=[0, 2, 1, *rest])
    return importer.emit("reshape", turned, importer.sizes.vector((0, channels, *x.shape[2:])))
