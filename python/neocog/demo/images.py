"""Photographs of the demo: the held-out one, the user's own, and their half-size versions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

HELD_OUT = "astronaut"
# Below this a half-size version leaves the network's receptive field wider than the picture.
MIN_SIDE = 16
# Twice as wide and high, these take about a gigabyte.
MAX_PIXELS = 64_000_000


class MissingExtraError(ImportError):
    """Pillow or scikit-image is not installed; the message says how to get them."""


class ImageFileError(ValueError):
    """A file given by the user cannot be used; the message names it and the repair."""


@dataclass(frozen=True)
class Photograph:
    """A picture ready for the demo.

    Attributes:
        name: Short name for tables and labels.
        rgb: The picture, Pillow mode "RGB".
        alpha: Opacity, mode "L" and the size of `rgb`, or None when the picture is opaque.
        icc_profile: Colour profile of an RGB file, to be written again; or None.
    """

    name: str
    rgb: Image.Image
    alpha: Image.Image | None = None
    icc_profile: bytes | None = None

    def over(self, colour: str) -> Image.Image:
        """The picture as it looks on a ground of one colour, mode "RGB"."""
        from PIL import Image

        if self.alpha is None:
            return self.rgb
        return Image.composite(self.rgb, Image.new("RGB", self.rgb.size, colour), self.alpha)


def missing_extra(module: str) -> MissingExtraError:
    """The error for an absent `module` of the demo extra."""
    return MissingExtraError(f'the demo needs {module}, not found here; run: pip install "neocog[demo]"')


def held_out_photograph() -> Photograph:
    """The photograph that training never saw: scikit-image's astronaut (NASA, public domain), 512 x 512.

    Raises:
        MissingExtraError: Pillow or scikit-image is not installed.
    """
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise missing_extra("Pillow") from error
    try:
        from skimage import data
    except ModuleNotFoundError as error:
        raise missing_extra("scikit-image") from error
    read: Callable[[], NDArray[np.uint8]] = data.astronaut
    return Photograph(HELD_OUT, Image.fromarray(read()))


def read_photograph(path: str | Path) -> Photograph:
    """Read an image file of any Pillow mode, upright as its EXIF orientation asks.

    The first frame of an animation is taken. Integer samples of 16 bits and floating-point samples are
    brought to 8 bits: 65535 and 1.0 become 255, other ranges go from their least to their largest value.

    Args:
        path: The file.
    Returns:
        The picture, its opacity and its colour profile.
    Raises:
        MissingExtraError: Pillow is not installed.
        ImageFileError: The file is missing, unreadable, damaged, not an image, smaller than 16 x 16, or
            larger than 64 million pixels.
    """
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ModuleNotFoundError as error:
        raise missing_extra("Pillow") from error
    path = Path(path)
    try:
        with Image.open(path) as opened:
            _check_size(path, *opened.size)
            opened.load()
            image = ImageOps.exif_transpose(opened)
            profile = opened.info.get("icc_profile") if opened.mode in ("RGB", "RGBA") else None
        rgb, alpha = _to_rgb(image)
    except ImageFileError:
        raise
    except FileNotFoundError as error:
        here = f"the current directory is {Path.cwd()}"
        raise ImageFileError(f"{path} does not exist; check the path ({here})") from error
    except IsADirectoryError as error:
        raise ImageFileError(f"{path} is a directory; give the path of an image file") from error
    except UnidentifiedImageError as error:
        raise ImageFileError(f"{path} is not an image Pillow knows; convert it to PNG or JPEG") from error
    except Image.DecompressionBombError as error:
        raise ImageFileError(f"{path} is too large ({error}); crop it or make it smaller first") from error
    except PermissionError as error:
        raise ImageFileError(f"{path} cannot be opened ({error.strerror}); make the file readable") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # how Pillow reports damage
        raise ImageFileError(f"{path} cannot be decoded ({error}); save it again as PNG or JPEG") from error
    return Photograph(path.stem, rgb, alpha, profile)


def _check_size(path: Path, width: int, height: int) -> None:
    if min(width, height) < MIN_SIDE:
        least = f"{MIN_SIDE} x {MIN_SIDE}"
        raise ImageFileError(f"{path} is {width} x {height} pixels; give an image of at least {least}")
    if width * height > MAX_PIXELS:
        most = f"{MAX_PIXELS // 1_000_000} million"
        raise ImageFileError(f"{path} is {width} x {height} pixels; crop it to at most {most} pixels")


def _to_rgb(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    from PIL import Image

    if image.mode.startswith("I") or image.mode == "F":
        image = Image.fromarray(_to_8_bits(np.asarray(image)))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        alpha = rgba.getchannel("A")
        return rgba.convert("RGB"), alpha if alpha.getextrema() != (255, 255) else None
    return image.convert("RGB"), None


def _to_8_bits(samples: NDArray[Any]) -> NDArray[np.uint8]:
    values = np.nan_to_num(samples.astype(np.float32))
    low, high = float(values.min()), float(values.max())
    if samples.dtype.kind == "f" and low >= 0.0 and high <= 1.0:
        low, high = 0.0, 1.0
    elif low >= 0.0 and high <= 255.0:
        low, high = 0.0, 255.0
    elif samples.dtype.kind != "f" and low >= 0.0 and high <= 65535.0:
        low, high = 0.0, 65535.0
    shades: NDArray[np.float32] = np.rint((values - low) * np.float32(255.0 / (high - low)))
    return shades.astype(np.uint8)


def crop_to_even(image: Image.Image) -> Image.Image:
    """Drop the last row or column where their number is odd, so that halving is exact."""
    width, height = image.size
    return image.crop((0, 0, width - width % 2, height - height % 2))


def halve(image: Image.Image) -> Image.Image:
    """Half-size version by Pillow's bicubic filter, which widens with the step and so does not alias.

    Args:
        image: Any mode; both sides even.
    Returns:
        The image at half the width and height, quantised to 8 bits as a file would be.
    """
    from PIL import Image

    width, height = image.size
    return image.resize((width // 2, height // 2), Image.Resampling.BICUBIC)
