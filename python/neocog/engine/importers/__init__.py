"""Graphs from what others wrote: ONNX files and exported PyTorch programs. Each importer is imported on use."""

from __future__ import annotations

from collections.abc import Sequence

from neocog.engine.graph import GraphError


class UnsupportedError(GraphError):
    """A model with operators, types or attributes that the engine does not have; the message lists all of them.

    Args:
        unsupported: Pairs of a node, as people know it, and the reason.
    """

    def __init__(self, unsupported: Sequence[tuple[str, str]]) -> None:
        self.unsupported = list(unsupported)
        count = len(self.unsupported)
        head = f"{count} node{'' if count == 1 else 's'} of the model cannot be imported:"
        super().__init__("\n".join([head, *(f"  {node}: {reason}" for node, reason in self.unsupported)]))
