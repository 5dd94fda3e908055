"""The sizes that a model was prepared for: what a `.neocog` file says beside the graph, and `neocog.load` prepares for.

    [[{"shape": [1, 3, 224, 224], "channels_last": false}], ...]      for every preparation, all inputs of a call

A network with an input of integers has none: its plans depend on their values.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from neocog.engine.graph import Graph, GraphError

# For every input its shape, and whether it lies channels-last.
Sizes = tuple[tuple[tuple[int, ...], bool], ...]

# More of them, or larger ones, are left to their first calls: what a file claims shall cost neither time nor memory.
MOST_SIZES = 16
MOST_BYTES = 2**30  # of an input, and of any other piece of memory that preparing touches


def worth_keeping(prepared: Sequence[Sizes]) -> list[Sizes]:
    """Those of the sizes that a file keeps: the latest."""
    fitting = [sizes for sizes in prepared if all(_bytes(shape) <= MOST_BYTES for shape, _ in sizes)]
    return fitting[-MOST_SIZES:]


def to_document(prepared: Sequence[Sizes]) -> list[Any]:
    """JSON values of sizes."""
    return [
        [{"shape": list(shape), "channels_last": channels_last} for shape, channels_last in sizes] for sizes in prepared
    ]


def from_document(document: Any, graph: Graph) -> list[Sizes]:
    """The sizes of a document, of which nothing is taken on trust.

    Raises:
        GraphError: It is something else, or no list of sizes for the inputs of `graph`.
    """
    if not isinstance(document, list) or len(document) > MOST_SIZES:
        raise GraphError(f"the prepared sizes are no list of at most {MOST_SIZES}.")
    return [tuple(_places(f"prepared sizes {i}", item, graph)) for i, item in enumerate(document)]


def _places(where: str, value: Any, graph: Graph) -> Iterator[tuple[tuple[int, ...], bool]]:
    if not isinstance(value, list) or len(value) != len(graph.inputs):
        raise GraphError(f"{where} are no list of one for each of the {len(graph.inputs)} inputs.")
    for item, place in zip(graph.inputs, value, strict=True):
        if item.dtype != "float32":
            raise GraphError(f"{where}: {item.name!r} is {item.dtype}, and of that the values count.")
        if not isinstance(place, dict) or place.keys() != {"shape", "channels_last"}:
            raise GraphError(f"{where}: that of {item.name!r} must have shape and channels_last, and nothing else.")
        shape, channels_last = place["shape"], place["channels_last"]
        if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
            raise GraphError(f"{where}: the shape of {item.name!r} must be a list of integers of at least 0.")
        if _bytes(shape) > MOST_BYTES:
            raise GraphError(f"{where}: {item.name!r} would have {_bytes(shape)} bytes; the most is {MOST_BYTES}.")
        if type(channels_last) is not bool or (channels_last and len(shape) not in (3, 4)):
            raise GraphError(f"{where}: only an image can lie channels-last, and {item.name!r} is {place!r}.")
        yield tuple(shape), channels_last


def _bytes(shape: Sequence[int]) -> int:
    """Of float32; of an array without elements, those of its other axes, for steps may count them."""
    return 4 * math.prod(size for size in shape if size)
