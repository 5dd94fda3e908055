"""What the demo reports: peak signal-to-noise ratio, and medians of interleaved runs."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from neocog.demo.enlarge import Progress, luma

if TYPE_CHECKING:
    from PIL import Image

# Super-resolution leaves out as many border pixels as it enlarges: there half of the answer is guessed.
BORDER = 2
_BAND = 256  # rows compared at a time, so that a large photograph needs little memory


def psnr(image: Image.Image, original: Image.Image, border: int = BORDER) -> float:
    """Peak signal-to-noise ratio of luma in decibels: 10 log10(1 / mean squared error), white being 1.

    Args:
        image, original: Mode "RGB", equal sizes.
        border: Pixels left out on each side.
    Returns:
        Decibels; infinity for equal images.
    """
    if image.size != original.size:
        raise ValueError(f"`image` is {image.size}, `original` {original.size} pixels; make them equal")
    width, height = image.size
    squares = 0.0
    for top in range(border, height - border, _BAND):
        box = border, top, width - border, min(top + _BAND, height - border)
        error = luma(image.crop(box)).astype(np.float64) - luma(original.crop(box))
        squares += float(np.sum(error * error))
    mean = squares / ((width - 2 * border) * (height - 2 * border))
    return -10.0 * math.log10(mean) if mean > 0.0 else math.inf


def interleaved_medians(
    runs: Mapping[str, Callable[[], object]], repeat: int, progress: Progress | None = None
) -> dict[str, float]:
    """Median seconds of each run, taken in turn so that a busy machine slows all alike; one round warms up.

    Args:
        runs: Name -> what to time.
        repeat: Timed rounds, at least 1.
        progress: Called after each round.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for round_ in range(repeat + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if round_ > 0:
                seconds[name].append(time.perf_counter() - start)
        if progress is not None:
            progress("timing", (round_ + 1) / (repeat + 1))
    return {name: statistics.median(values) for name, values in seconds.items()}
