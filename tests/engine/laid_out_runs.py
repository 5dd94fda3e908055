"""Graphs of one operator, compiled and run on inputs that lie in memory in every way that matters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from laid_out import LAYOUTS, one
from neocog.engine.compiled import CompiledModel
from reference_graph import run as oracle

Array = np.ndarray


def methods(model: CompiledModel) -> list[str]:
    """The steps of the plans that a model has made."""
    return [step.method for plan in model._plans.values() for step in plan.steps]


def check_run(
    op: str,
    shape: Sequence[int],
    *others: Any,
    rng: np.random.Generator,
    layouts: Sequence[str] = tuple(LAYOUTS),
    positive: bool = False,
    bound: float = 2e-6,
    **settings: Any,
) -> list[CompiledModel]:
    """Hold the compiled operator to the oracle, in units of the largest result; one model per layout, in their order.

    Args:
        others: Further arguments: constants, or the names of inputs, as `laid_out.one` has them.
        positive: Only positive numbers.
        settings: `inputs` of other names, and the operator's attributes.
    """
    models = []
    for layout in layouts:
        x, nodes, constants = LAYOUTS[layout](shape, rng)
        x = (abs(x) + 0.1 if positive else x).astype(np.float32)
        for delivered in (True, False):
            graph, arrays = one(op, (x, nodes, constants), *others, delivered=delivered, **settings)
            model = CompiledModel(graph)
            y, (expected,) = model(*arrays), oracle(graph, arrays)
            assert y.shape == expected.shape
            assert y.dtype == np.float32
            error = np.abs(y - expected).max(initial=0.0)
            assert error <= bound * max(1.0, np.abs(expected).max(initial=0.0)), (op, layout, error)
        models.append(model)
    return models
