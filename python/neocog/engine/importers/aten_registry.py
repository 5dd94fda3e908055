"""What a converter of an aten operator is, and the table of them.

A converter gets the importer, and the operator's arguments in the order of its schema: tensors as `Value`, everything
else as torch has it (sizes may be `torch.SymInt`). It appends nodes with `importer.emit` and returns the name of the
result; names, or None for results that there are no nodes for, where the operator has several.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

Size = int | torch.SymInt
Result = str | Sequence[str | None]
Converter = Callable[..., Result]
_C = TypeVar("_C", bound=Converter)

CONVERTERS: dict[str, Converter] = {}  # by "namespace.name.overload"


class Unsupported(Exception):
    """An operator that the engine does not have; the message is the reason."""


@dataclass(frozen=True)
class Value:
    """A tensor of the program: its name in the graph, and a tensor without data that has its shape and dtype."""

    name: str
    like: torch.Tensor

    @property
    def shape(self) -> tuple[Size, ...]:
        return plain_sizes(self.like.shape)

    @property
    def rank(self) -> int:
        return self.like.dim()

    def axis(self, axis: int) -> int:
        """An axis counted from the beginning; scalars are taken as vectors, as torch does."""
        return axis % max(1, self.rank)

    def axes(self, axes: Sequence[int] | int | None) -> list[int]:
        """Axes counted from the beginning; all of them for None and for an empty list."""
        if isinstance(axes, int):
            axes = [axes]
        return sorted(map(self.axis, axes)) if axes else list(range(self.rank))


def converts(*operators: str) -> Callable[[_C], _C]:
    """Enter a function into the table, for operators of aten such as "relu" or "add.Tensor", or "neocog::conv"."""

    def enter(converter: _C) -> _C:
        for operator in operators:
            namespace, _, name = operator.rpartition("::")
            overload = name if "." in name else f"{name}.default"
            CONVERTERS[f"{namespace or 'aten'}.{overload}"] = converter
        return converter

    return enter


def plain_sizes(sizes: Sequence[Size]) -> tuple[Size, ...]:
    """Sizes, integers where torch's expressions say one."""
    return tuple(map(_plain, sizes))


def _plain(size: Any) -> Size:
    if isinstance(size, torch.SymInt) and size.node.expr.is_Integer:
        return int(size.node.expr)
    return size  # type: ignore[no-any-return]


def static(size: Any, what: str) -> int:
    """A size that has to be known when the model is imported."""
    size = _plain(size)
    if not isinstance(size, int):
        raise Unsupported(f"{what} depends on the sizes of an input")
    return size


def static_values(sizes: Sequence[Any], what: str, count: int | None = None) -> list[int]:
    """The same for a list; one for all axes becomes `count`."""
    found = [static(size, what) for size in sizes]
    return found * count if count is not None and len(found) == 1 else found


def same_size(one: Size, other: Size) -> bool:
    """Whether two sizes are equal whatever the input is; asks without making torch assume anything."""
    if isinstance(one, int) or isinstance(other, int):
        return isinstance(one, int) and isinstance(other, int) and one == other
    return bool(one.node.expr == other.node.expr)


def is_one(size: Size) -> bool:
    return isinstance(size, int) and size == 1
