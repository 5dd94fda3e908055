"""The oracle of bfloat16: what an array becomes when it is rounded. Products of such are exact in float64."""

from __future__ import annotations

import numpy as np

# Of one rounding: |rounded(x) - x| <= UNIT * |x|, where nothing overflows and nothing is denormal.
UNIT = 2.0**-8


def rounded(x: np.ndarray) -> np.ndarray:
    """The nearest bfloat16 numbers, ties to even, as float32; NaN stays NaN."""
    x = np.asarray(x, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        fraction, exponent = np.frexp(x.astype(np.float64))
        near = np.ldexp(np.rint(fraction * 256) / 256, exponent)  # eight bits; rint takes ties to even
        near = np.where(np.isfinite(x), near, x)
        # As far as half a step beyond the largest number.
        return np.where(abs(near) >= 2.0**128, np.copysign(np.inf, x), near).astype(np.float32)
