"""Graphs imported from the models of the ONNX backend test suite, run by the oracle, against the suite's results."""

from __future__ import annotations

import numpy as np
import onnx_suite
import pytest
from neocog.engine.graph import GraphError
from neocog.engine.importers.onnx_call import IMPORTERS
from reference_graph import run

pytest.importorskip("onnx")

# Or only such as compare data, or of float64; see test_onnx_importers.py.
NO_CASE = {"GlobalLpPool", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Not", "ReduceLogSumExp"}


@pytest.mark.parametrize("name", onnx_suite.run_names())
def test_case(name):
    case = onnx_suite.cases()[name]
    graph = onnx_suite.imported(case)
    for inputs, expected in case.data:
        results = run(graph, onnx_suite.arguments(case, graph, inputs))
        assert len(results) == len(expected)
        for y, expected_y in zip(results, expected, strict=True):
            assert y.shape == expected_y.shape
            assert y.dtype.kind == expected_y.dtype.kind
            np.testing.assert_allclose(y, expected_y, rtol=case.rtol, atol=max(case.atol, 1e-6))


@pytest.mark.parametrize("name", sorted(onnx_suite.left_out()))
def test_what_is_left_out_is_refused_for_that_reason(name):
    with pytest.raises(GraphError, match=onnx_suite.left_out()[name]):
        onnx_suite.imported(onnx_suite.cases()[name])


def test_every_importer_has_a_case():
    used = {op for name in onnx_suite.run_names() for op in onnx_suite.cases()[name].ops}
    assert set(IMPORTERS) - used == NO_CASE
    assert used >= onnx_suite.BY_DEFINITION
