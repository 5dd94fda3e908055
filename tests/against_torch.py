"""How the oracle is held against PyTorch in float64: forward, and backward against autograd."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

# Keras' "same" as explicit padding, worked out by hand: ceil(in / stride) outputs, the odd pixel at the end.
SAME = {
    "same_stride_2_even_size": ((0, 1), (0, 1)),
    "same_stride_2_odd_size": ((1, 1), (1, 1)),
    "same_even_kernel": ((1, 2), (0, 1)),
    "same_stride_exceeds_kernel": ((0, 0), (0, 0)),
    "same_dilated": ((2, 2), (1, 2)),
    "same_stride_3": ((1, 2),),
    "same_stride_2": ((0, 1), (1, 1)),
    "same_stride_1_even_kernel": ((0, 1), (0, 1)),
}


def both_sides(padding: Any, name: str, axes: int) -> tuple[tuple[int, int], ...]:
    if padding == "same":
        return SAME[name]
    if padding == "valid":
        return ((0, 0),) * axes
    per_axis = [padding] * axes if np.isscalar(padding) else padding
    return tuple(tuple(p) if np.ndim(p) else (p, p) for p in per_axis)


def flat(padding: Sequence[tuple[int, int]]) -> list[int]:
    """As torch.nn.functional.pad wants it: the last axis first."""
    return [p for both in reversed(padding) for p in both]


def leaves(arrays: Sequence[np.ndarray | None]) -> list[Any]:
    return [None if a is None else torch.from_numpy(np.array(a)).requires_grad_() for a in arrays]


def assert_equal(ours: Any, theirs: Any) -> None:
    theirs = theirs.detach().numpy()
    assert ours.shape == theirs.shape
    assert ours.dtype == np.float64
    largest = np.max(abs(theirs), initial=0, where=np.isfinite(theirs))
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12 * largest)


def check(
    rng: np.random.Generator,
    arrays: Sequence[np.ndarray | None],
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    torch_forward: Callable[..., Any],
) -> None:
    """forward(*arrays), and backward(grad_y, *arrays) -> one gradient for each array, against torch."""
    tensors = leaves(arrays)
    y = torch_forward(*tensors)
    assert_equal(forward(*arrays), y)
    grad_y = rng.standard_normal(y.shape)
    grads = backward(grad_y, *arrays)
    grads = grads if isinstance(grads, tuple) else (grads,)
    expected = torch.autograd.grad(y, [t for t in tensors if t is not None], torch.from_numpy(grad_y))
    assert len(grads) == len(expected)
    for ours, theirs in zip(grads, expected, strict=True):
        assert_equal(ours, theirs)


def parametrize(table: dict[str, Any]) -> Any:
    return pytest.mark.parametrize(("name", "case"), table.items(), ids=table)


def normal(rng: np.random.Generator, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    return [rng.standard_normal(shape) for shape in shapes]
