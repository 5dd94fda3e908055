"""Pictures as a network takes them, and results that are pictures as files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neocog.cli._models import CommandError

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class Preparation:
    """What happens to a picture between its file and the network.

    Args:
        size: Height and width of what the network sees; None leaves the picture whole.
        resize: What the shorter side is brought to before the middle is cut out; None takes the least that covers
            `size`.
        mean, std: One number, or one for each channel: values from 0 to 1 become (value - mean) / std.
    """

    size: tuple[int, int] | None = None
    resize: int | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)


def read_batch(paths: Sequence[Path], channels: int, how: Preparation) -> NDArray[np.float32]:
    """Pictures of one size as one array (N, channels, H, W), channels-last in memory.

    Args:
        paths: Files of any kind that Pillow reads, turned upright; opacity is dropped.
        channels: 3 for colours in the order red, green, blue, or 1 for luma.
    Raises:
        CommandError: A picture is too small, or they differ in size.
        ImageFileError: A file cannot be read.
    """
    for name, values in (("mean", how.mean), ("std", how.std)):
        if len(values) not in (1, channels):
            raise CommandError(
                f"--{name} has {len(values)} numbers, but the network {channels} channels; give 1 or {channels}"
            )
    arrays = [_array(_prepared(read_picture(path), path, how), channels) for path in paths]
    for path, array in zip(paths, arrays, strict=True):
        if array.shape != arrays[0].shape:
            (h, w, _), (height, width, _) = array.shape, arrays[0].shape
            raise CommandError(f"{path} is {h}x{w} pixels, and {paths[0]} is {height}x{width}; make them one --size")
    mean, std = np.asarray(how.mean, np.float32), np.asarray(how.std, np.float32)
    batch: NDArray[np.float32] = (np.stack(arrays) / np.float32(255) - mean) / std
    return np.moveaxis(batch, 3, 1)


def read_picture(path: Path) -> Image.Image:
    """A file as an upright picture in colours."""
    from neocog.demo.images import MissingExtraError, read_photograph

    try:
        return read_photograph(path).rgb
    except MissingExtraError as error:
        raise CommandError("reading pictures needs Pillow, which is not installed; pip install pillow") from error


def _prepared(image: Image.Image, path: Path, how: Preparation) -> Image.Image:
    from PIL import Image

    width, height = image.size
    if how.size is None and how.resize is None:
        return image
    target = how.size or (0, 0)
    # At least the target on both sides, to the last bit of rounding.
    scale = how.resize / min(width, height) if how.resize else max(target[0] / height, target[1] / width)
    scaled = max(1, round(height * scale)), max(1, round(width * scale))
    if how.size is not None and (scaled[0] < target[0] or scaled[1] < target[1]):
        raise CommandError(
            f"{path} is {scaled[0]}x{scaled[1]} pixels after --resize {how.resize}, which is less than --size "
            f"{target[0]}x{target[1]}; resize to more"
        )
    if scaled != (height, width):
        image = image.resize(scaled[::-1], Image.Resampling.BILINEAR)
    if how.size is None:
        return image
    top, left = (scaled[0] - target[0]) // 2, (scaled[1] - target[1]) // 2
    return image.crop((left, top, left + target[1], top + target[0]))


def _array(image: Image.Image, channels: int) -> NDArray[np.float32]:
    pixels = np.asarray(image if channels == 3 else image.convert("L"), np.float32)
    return pixels if channels == 3 else pixels[:, :, np.newaxis]


def is_picture(array: NDArray[Any]) -> bool:
    """Whether a result has the shape of pictures, (N, 1 or 3, H, W)."""
    return array.dtype.kind == "f" and array.ndim == 4 and array.shape[1] in (1, 3) and array.size > 0


def write_pictures(batch: NDArray[Any], path: Path) -> tuple[list[Path], float]:
    """Write results, values from 0 to 1, as files of 8 bits.

    Args:
        batch: Shape (N, 1 or 3, H, W).
        path: Of the only picture; of several, each has its number in its name: y-0.png.
    Returns:
        The files, and which part of the values was beyond 0 to 1 or no number and had to be cut.
    """
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise CommandError("writing pictures needs Pillow, which is not installed; pip install pillow") from error
    beyond = float(np.mean(~((batch >= 0) & (batch <= 1))))
    shades = np.rint(255 * np.clip(np.nan_to_num(batch), 0, 1)).astype(np.uint8).transpose(0, 2, 3, 1)
    paths = [path] if len(batch) == 1 else [path.with_stem(f"{path.stem}-{i}") for i in range(len(batch))]
    for pixels, file in zip(shades, paths, strict=True):
        Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[:, :, 0]).save(file)
    return paths, beyond
