"""What a row of the table is: a geometry, its data, and how each library is asked to compute it."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

Array = np.ndarray
Shape = tuple[int, ...]
Pass = Literal["forward", "backward"]
PASSES: tuple[Pass, ...] = ("forward", "backward")
Call = Callable[[], Any]


@dataclass(frozen=True)
class OnnxNode:
    """The forward pass in ONNX; inputs are names in `Row.arrays`: "x", and constants after it."""

    op: str
    inputs: Sequence[str]
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Row(ABC):
    """One operator on one geometry.

    Shapes are logical: (N, C, H, W) or (N, C, L), weights as torch has them. The methods named after a
    library take it, and `arrays` in its own form and layout, and return a call without arguments: preparation
    is not timed. A forward call returns y, or a tuple that starts with y; a backward call all gradients,
    grad_x first.
    """

    name: str
    x: Shape
    # Where somebody complained about it: "repository#number".
    issue: str | None = field(default=None, kw_only=True)

    # Arrays whose axes are those of an image, and so change with the layout.
    IMAGES: ClassVar[frozenset[str]] = frozenset({"x", "grad_y"})
    passes: ClassVar[tuple[Pass, ...]] = PASSES
    # Largest error allowed, as a part of the largest value; None is that of `check.py`.
    tolerance: ClassVar[float | None] = None

    @property
    def spatial(self) -> int:
        return len(self.x) - 2

    @property
    @abstractmethod
    def y(self) -> Shape:
        """Shape of the result."""

    @abstractmethod
    def flops(self, pass_: Pass) -> int:
        """Operations of the direct method, a multiply-add being two; 0 where memory alone counts."""

    @abstractmethod
    def bytes(self, pass_: Pass) -> int:
        """Bytes of the float32 arrays that go in and come out, each counted once."""

    def arrays(self) -> dict[str, Array]:
        """The data, float32, the same in every run."""
        rng = np.random.default_rng(zlib.crc32(self.name.encode()))
        return {"x": normal(rng, self.x), "grad_y": normal(rng, self.y)}

    @abstractmethod
    def neocog_forward(self, ops: Any, a: Mapping[str, Array], **data_format: str) -> Call: ...

    @abstractmethod
    def neocog_backward(self, ops: Any, a: Mapping[str, Array], **data_format: str) -> Call: ...

    @abstractmethod
    def torch_forward(self, torch: Any, a: Mapping[str, Any]) -> Call: ...

    @abstractmethod
    def torch_backward(self, torch: Any, a: Mapping[str, Any]) -> Call: ...

    def onnx(self) -> OnnxNode | None:
        """None where an ONNX runtime has no such inference node."""
        return None


def aligned(array: Array) -> Array:
    """A contiguous copy at a multiple of 64 bytes, as libraries allocate their own results; NumPy promises 16."""
    memory = np.empty(array.nbytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    copy: Array = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def normal(rng: np.random.Generator, shape: Shape, scale: float = 1.0) -> Array:
    values: Array = rng.standard_normal(shape, np.float32)
    values *= np.float32(scale)
    return values
