"""What kernels keep of a network's weights, shared by the plans of all sizes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from neocog import _core
from neocog.engine.graph import Array


class WeightStore:
    """`_core.LayerWeights` of arrays. Those of the network are kept; others live as long as the programs that use them.

    Args:
        arrays: The network's constants.
    """

    def __init__(self, arrays: Iterable[Array]) -> None:
        self._arrays = {id(array): array for array in arrays}  # alive, so that no other array gets its number
        self._kept: dict[int, _core.LayerWeights] = {}

    def of(self, array: Array) -> _core.LayerWeights:
        """What kernels keep of this array; made at its first use."""
        found = self._kept.get(id(array))
        if found is None:
            found = _core.LayerWeights(np.ascontiguousarray(array, dtype=np.float32))
            if id(array) in self._arrays:
                self._kept[id(array)] = found
        return found

    @property
    def kept_bytes(self) -> int:
        """Memory of packed panels and transformed kernels."""
        return sum(weights.kept_bytes for weights in self._kept.values())
