"""What the tests of the import from PyTorch share: a module against its graph, which the oracle runs."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from neocog.engine.graph import Graph
from neocog.engine.importers import aten
from reference_graph import run
from torch import Tensor, nn


def leaves(result: Any) -> list[Tensor]:
    """The tensors in nested results, in torch's order."""
    if isinstance(result, dict):
        result = list(result.values())
    if isinstance(result, (list, tuple)):
        return [leaf for branch in result for leaf in leaves(branch)]
    return [result]


def image(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def assert_equal(module: nn.Module, graph: Graph, *inputs: Tensor) -> None:
    """Both give the same; scalars of a graph are float32, hence not to the last digit of float64."""
    with torch.no_grad():
        expected = leaves(copy.deepcopy(module).double()(*inputs))
    results = run(graph, [x.numpy() for x in inputs])
    assert len(results) == len(expected)
    for place, (y, e) in enumerate(zip(results, expected, strict=True)):
        assert y.shape == tuple(e.shape), f"result {place}"
        np.testing.assert_allclose(y, e.numpy(), rtol=1e-6, atol=1e-6 * float(e.abs().max()), err_msg=f"result {place}")


def imported(module: nn.Module, *shape: int, **options: Any) -> Graph:
    return aten.from_module(module, (image(*shape).float(),), **options)
