"""The picture of the demo: the whole photograph, and two details by bicubic, network and original."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from neocog.demo.enlarge import luma

TILE = 256  # pixels that a detail fills, about
ZOOM = 3  # of details: a pixel is still a pixel, but large enough to be seen
WHOLE_WIDTH = 720  # most that the whole photograph takes
MARGIN, GAP = 28, 20
PAPER, INK, FAINT = (250, 250, 248), (28, 30, 34), (110, 113, 120)
FRAMES = ((230, 97, 1), (0, 114, 178))  # orange and blue: told apart by all eyes
_CELLS = 4  # a detail moves by a quarter of its size

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Versions:
    """Three versions of one photograph, mode "RGB", equal sizes."""

    bicubic: Image.Image
    neocog: Image.Image
    original: Image.Image


def details(versions: Versions, size: int, count: int = len(FRAMES)) -> list[Box]:
    """The square parts, well apart, where the network lowers the squared error of bicubic most.

    Args:
        versions: The photograph.
        size: Sides of a part in pixels; a multiple of 4, at most the photograph's shorter side.
        count: How many parts; fewer come back where no more fit.
    Returns:
        Boxes (left, top, right, bottom), the largest gain first.
    """
    cell = size // _CELLS
    gain = _gain(versions, cell)
    total = np.pad(gain.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    n = _CELLS
    window = total[n:, n:] - total[n:, :-n] - total[:-n, n:] + total[:-n, :-n]
    boxes: list[Box] = []
    while len(boxes) < count and np.isfinite(window).any():
        row, column = (int(i) for i in np.unravel_index(np.argmax(window), window.shape))
        boxes.append((cell * column, cell * row, cell * column + size, cell * row + size))
        apart = 2 * n  # as much room between two parts as one takes
        window[max(row - apart + 1, 0) : row + apart, max(column - apart + 1, 0) : column + apart] = -np.inf
    return boxes


def _gain(versions: Versions, cell: int) -> NDArray[np.float64]:
    """Squared error of bicubic less that of the network, summed over cells of cell x cell pixels."""
    columns, rows = (side // cell for side in versions.original.size)
    gain = np.empty((rows, columns))
    for row in range(rows):
        box = 0, row * cell, columns * cell, (row + 1) * cell
        smooth, sharp, true = (
            luma(image.crop(box)).astype(np.float64) for image in (versions.bicubic, versions.neocog, versions.original)
        )
        change = (smooth - true) ** 2 - (sharp - true) ** 2
        gain[row] = change.reshape(cell, columns, cell).sum(axis=(0, 2))
    return gain


def side_by_side(versions: Versions, decibels: tuple[float, float], title: str) -> Image.Image:
    """Draw the picture.

    Args:
        versions: The photograph; at least 16 x 16 pixels.
        decibels: PSNR of the bicubic version and of the network's.
        title: The line at the top.
    Returns:
        Mode "RGB", at most about 1600 x 680 pixels whatever the photograph's size.
    """
    size = min(TILE // ZOOM, *versions.original.size) // _CELLS * _CELLS
    side = size * (TILE // size)
    boxes = details(versions, size)
    height = len(FRAMES) * side + GAP
    whole = _fit(versions.neocog, (WHOLE_WIDTH, height))
    top = MARGIN + 66
    grid = MARGIN + whole.width + MARGIN
    canvas = Image.new("RGB", (grid + 3 * side + 2 * GAP + MARGIN, top + height + 26 + MARGIN), PAPER)
    draw = ImageDraw.Draw(canvas)
    large, normal, small = (ImageFont.load_default(points) for points in (24, 18, 15))
    draw.text((MARGIN, MARGIN - 6), title, INK, large)

    canvas.paste(whole, (MARGIN, top))
    draw.text((MARGIN, top - 28), "neocog", INK, normal)
    ratio = whole.width / versions.neocog.width
    for box, frame in zip(boxes, FRAMES, strict=False):
        left, upper, right, lower = (round(edge * ratio) for edge in box)
        outline = MARGIN + left - 2, top + upper - 2, MARGIN + right + 1, top + lower + 1
        draw.rectangle(outline, outline=frame, width=3)

    columns = (
        ("bicubic", f"{decibels[0]:.2f} dB", versions.bicubic),
        ("neocog", f"{decibels[1]:.2f} dB", versions.neocog),
        ("original", "", versions.original),
    )
    for column, (name, score, image) in enumerate(columns):
        left = grid + column * (side + GAP)
        draw.text((left, top - 28), name, INK, normal)
        draw.text((left + side, top - 28), score, INK, normal, anchor="ra")
        for row, (box, frame) in enumerate(zip(boxes, FRAMES, strict=False)):
            corner = left, top + row * (side + GAP)
            canvas.paste(image.crop(box).resize((side, side), Image.Resampling.NEAREST), corner)
            outline = corner[0], corner[1], corner[0] + side - 1, corner[1] + side - 1
            draw.rectangle(outline, outline=frame, width=3)
    note = "PSNR of luma over the whole photograph; details: where the network gains most"
    draw.text((canvas.width - MARGIN, top + height + 10), note, FAINT, small, anchor="ra")
    return canvas


def _fit(image: Image.Image, room: tuple[int, int]) -> Image.Image:
    """The image, made smaller if it does not fit."""
    ratio = min(1.0, room[0] / image.width, room[1] / image.height)
    if ratio == 1.0:
        return image
    size = max(1, round(image.width * ratio)), max(1, round(image.height * ratio))
    return image.resize(size, Image.Resampling.LANCZOS)
