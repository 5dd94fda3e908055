"""How each operator of a graph becomes steps of a program, for sizes that are known: one file per family.

An operator is a function `lower(node, build)`, registered under its name. It asks `build` for the places of its inputs,
checks shapes, makes places for its results and adds steps. An operator that only says the same elements in another
order (a transpose, a slice, most reshapes) binds its result to a view and adds no step.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from neocog.engine.builder import Builder
    from neocog.engine.graph import Node

Lowering = Callable[["Node", "Builder"], None]

LOWERINGS: dict[str, Lowering] = {}


def lowers(*ops: str) -> Callable[[Lowering], Lowering]:
    """Register a function for these operators."""

    def register(function: Lowering) -> Lowering:
        for op in ops:
            LOWERINGS[op] = function
        return function

    return register


for _family in (
    "images",
    "arithmetic",
    "numbers",
    "rearrange",
    "padding",
    "normalisation",
    "products",
    "resize",
):
    import_module(f"neocog.engine.lowering.{_family}")
