"""What tests share that is no fixture: arrays in a memory layout, and the derived error bound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray


def normal(rng: np.random.Generator, shape: Sequence[int], dtype: Any = np.float32) -> Array:
    """Standard normal numbers that are exact in `dtype`, so that the oracle sees the very same ones."""
    return rng.standard_normal(tuple(shape)).astype(dtype)


def lay_out(x: Array, layout: str) -> Array:
    """x, of shape (N, C, ...), with its memory in the order of `layout` ("NCHW", "NHWC"); same shape."""
    if layout == "NCHW":
        return np.ascontiguousarray(x)
    assert layout == "NHWC", layout
    return channels_first(np.ascontiguousarray(channels_last(x)))


def assert_laid_out(y: Array, layout: str) -> None:
    """y, of shape (N, C, ...), is dense in the order of `layout`."""
    dense = (y if layout == "NCHW" else channels_last(y)).flags.c_contiguous
    assert dense, f"a result of shape {y.shape} has strides {y.strides}, which is not dense {layout}"


def assert_same_layout(y: Array, x: Array) -> None:
    """y, of shape (N, C, ...), is dense in an order in which x is; one pixel or one channel is in both."""
    for layout in ("NCHW", "NHWC"):
        try:
            assert_laid_out(x, layout)
            assert_laid_out(y, layout)
        except AssertionError:
            continue
        return
    raise AssertionError(f"x has strides {x.strides}, the result {y.strides}: not the same memory layout")


def channels_last(x: Array) -> Array:
    """A view with the axes in the order of data_format="NHWC" (or "NLC"): (N, C, ...) -> (N, ..., C)."""
    return np.moveaxis(x, 1, -1)


def channels_first(x: Array) -> Array:
    """The inverse view: (N, ..., C) -> (N, C, ...)."""
    return np.moveaxis(x, -1, 1)


def direct_kernel() -> str:
    """What conv_kernel calls the plain sum of many channels."""
    from neocog import _core

    return "direct, float32 in three parts" if _core.active_isa() == "amx" else "direct, vectors of channels"


def assert_within(y: Array, expected: Array, magnitude: Any, terms: int) -> None:
    """|y - expected| <= (terms + 2) * eps * magnitude everywhere, eps being y's; twice that in float64.

    A sum of `terms` products in any order errs by less than that, where `magnitude` is the same sum of
    absolute values (`reference.magnitude`); the two to spare are for rounding the result and for a fused
    addition. In float64 the oracle is no more exact than the op, hence twice.
    """
    assert y.shape == expected.shape, f"shape {y.shape}, expected {expected.shape}"
    assert np.isfinite(expected).all(), "the bound says nothing about NaN and infinity"
    eps = np.finfo(y.dtype).eps * (2 if y.dtype == np.float64 else 1)
    error, bound = abs(y - expected), (terms + 2) * eps * np.broadcast_to(magnitude, y.shape)
    wrong = ~(error <= bound)  # a NaN in y is wrong too
    if not wrong.any():
        return
    with np.errstate(divide="ignore", invalid="ignore"):
        worst = np.unravel_index(np.argmax(np.where(wrong, np.nan_to_num(error / bound, nan=np.inf), 0)), y.shape)
    at = tuple(map(int, worst))
    raise AssertionError(
        f"{wrong.sum()} of {y.size} values err by more than ({terms} + 2) * eps * magnitude; worst at {at}: "
        f"{y[worst]!r} for {expected[worst]!r}, error {error[worst]:.3g}, bound {bound[worst]:.3g}"
    )
