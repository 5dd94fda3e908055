"""Where a sliding window lies: padding rules, output size and taps, for every windowed op of the oracle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

Array = np.ndarray
Steps = Any  # an int, or a (height, width) pair
Padding = Any  # Steps, "valid", "same", or ((lo, hi), (lo, hi))


def pair(value: Steps) -> tuple[int, int]:
    return (value, value) if np.isscalar(value) else tuple(value)


def pads(padding: Padding, sizes: Steps = 1, kernel: Steps = 1, stride: Steps = 1, dilation: Steps = 1) -> tuple:
    """((lo, hi), (lo, hi)) for any spelling of `padding`; "same" is Keras' rule, for any stride."""
    if padding == "valid":
        return ((0, 0), (0, 0))
    if padding == "same":
        axes = zip(pair(sizes), pair(kernel), pair(stride), pair(dilation), strict=True)
        totals = [max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0) for n, k, s, d in axes]
        return tuple((total // 2, total - total // 2) for total in totals)
    return tuple(tuple(p) if np.ndim(p) else (p, p) for p in pair(padding))


def signed_pad(x: Array, widths: Sequence[tuple[int, int]], value: float = 0) -> Array:
    """Pads the last axes of x by (lo, hi) each; negative widths crop."""
    full = [(0, 0)] * (x.ndim - len(widths)) + list(widths)
    x = np.pad(x, [(max(lo, 0), max(hi, 0)) for lo, hi in full], constant_values=value)
    return x[tuple(slice(max(-lo, 0), n - max(-hi, 0)) for (lo, hi), n in zip(full, x.shape, strict=True))]


class Windows:
    """Where the windows of a kernel lie on an image of `sizes` (H, W)."""

    def __init__(
        self,
        sizes: Steps,
        kernel: Steps,
        stride: Steps = 1,
        padding: Padding = 0,
        dilation: Steps = 1,
        ceil_mode: bool = False,
    ):
        self.sizes, self.kernel, self.stride, self.dilation = (
            tuple(sizes),
            pair(kernel),
            pair(stride),
            pair(dilation),
        )
        self.padding = pads(padding, sizes, kernel, stride, dilation)
        axes = zip(self.sizes, self.kernel, self.stride, self.dilation, self.padding, strict=True)
        self.out, self.extent = zip(*(self._axis(*axis, ceil_mode) for axis in axes), strict=True)

    @staticmethod
    def _axis(size: int, k: int, s: int, d: int, padding: tuple, ceil_mode: bool) -> tuple[int, tuple[int, int]]:
        (lo, hi), span = padding, d * (k - 1) + 1
        room = size + lo + hi - span
        if room < 0:
            raise ValueError(f"a kernel spanning {span} exceeds the padded image of {size + lo + hi}")
        out = (-(-room // s) if ceil_mode else room // s) + 1
        if ceil_mode and (out - 1) * s >= size + lo:  # a window must start inside the image or its left padding
            out -= 1
        # The windows may end before the padding does, or (ceil_mode) after it: pad to exactly where they end.
        return out, (lo, (out - 1) * s + span - size - lo)

    def pad(self, x: Array, value: float = 0) -> Array:
        """x on the grid that the windows cover."""
        return signed_pad(x, self.extent, value)

    def crop(self, covered: Array) -> Array:
        """The inverse of `pad`: back to the image."""
        return signed_pad(covered, [(-lo, -hi) for lo, hi in self.extent])

    def taps(self) -> Iterator[tuple[int, int, slice, slice]]:
        """Kernel row and column, and the covered rows and columns that this tap meets, one per output."""
        for tap in np.ndindex(*self.kernel):
            first = [t * d for t, d in zip(tap, self.dilation, strict=True)]
            rows, cols = (
                slice(f, f + s * (out - 1) + 1, s) for f, s, out in zip(first, self.stride, self.out, strict=True)
            )
            yield (*tap, rows, cols)
