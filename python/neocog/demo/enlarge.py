"""Enlarge a colour image twofold: the network makes luma, bicubic interpolation makes chroma.

In YCbCr (ITU-R BT.601, full range, as JPEG has it), to replace Y and keep Cb and Cr is to add the change of Y
to each of R, G and B; so nothing is ever converted there and back. Work goes tile by tile: the memory in use
does not grow with the image, apart from the image and its result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from neocog.demo.network import HALO, SCALE, Espcn

if TYPE_CHECKING:
    from PIL import Image

# 64 channels of float32 on 256 x 256 pixels are 16 MiB: larger tiles only push them out of the cache.
TILE = 256
LUMA_WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32) / np.float32(255.0)

Progress = Callable[[str, float], None]  # what is being done, and the part of it that is done, 0 to 1


def luma(image: Image.Image) -> NDArray[np.float32]:
    """Y of an RGB image: shape (H, W), float32, black 0 and white 1."""
    y: NDArray[np.float32] = np.asarray(image, np.float32) @ LUMA_WEIGHTS
    return y


def bicubic(image: Image.Image, box: tuple[int, int, int, int] | None = None) -> Image.Image:
    """Twofold bicubic enlargement by Pillow, of the part `box` (left, top, right, bottom) or of all."""
    from PIL import Image

    left, top, right, bottom = box or (0, 0, *image.size)
    size = (SCALE * (right - left), SCALE * (bottom - top))
    return image.resize(size, Image.Resampling.BICUBIC, box=(left, top, right, bottom))


def enlarge(image: Image.Image, network: Espcn, progress: Progress | None = None) -> Image.Image:
    """Twofold enlargement of an RGB image by the network, chroma by bicubic interpolation.

    Args:
        image: Mode "RGB".
        network: Maps luma with its halo to enlarged luma.
        progress: Called after each tile.
    Returns:
        Mode "RGB", twice the width and height.
    """
    from PIL import Image

    result = Image.new("RGB", (SCALE * image.width, SCALE * image.height))
    boxes = list(_tiles(image.width, image.height))
    for done, box in enumerate(boxes, start=1):
        smooth = np.asarray(bicubic(image, box), np.float32)
        sharp = network.valid(_luma_with_halo(image, box)[None])[0]
        correction = sharp * np.float32(255.0) - smooth @ (LUMA_WEIGHTS * np.float32(255.0))
        pixels = np.clip(np.rint(smooth + correction[..., None]), 0, 255).astype(np.uint8)
        result.paste(Image.fromarray(pixels), (SCALE * box[0], SCALE * box[1]))
        if progress is not None:
            progress(f"enlarging {image.width} x {image.height}", done / len(boxes))
    return result


def _tiles(width: int, height: int) -> Iterator[tuple[int, int, int, int]]:
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            yield left, top, min(left + TILE, width), min(top + TILE, height)


def _luma_with_halo(image: Image.Image, box: tuple[int, int, int, int]) -> NDArray[np.float32]:
    """Luma of `box` and `HALO` pixels around it; beyond the image its border pixels go on."""
    left, top, right, bottom = box[0] - HALO, box[1] - HALO, box[2] + HALO, box[3] + HALO
    inside = max(left, 0), max(top, 0), min(right, image.width), min(bottom, image.height)
    beyond = (inside[1] - top, bottom - inside[3]), (inside[0] - left, right - inside[2])
    return np.pad(luma(image.crop(inside)), beyond, mode="edge")
