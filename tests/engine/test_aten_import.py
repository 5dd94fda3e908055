"""Graphs of exported networks, run by the oracle in float64, against the same modules in eager float64."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from aten_checks import assert_equal, image, imported  # noqa: E402
from nets import NETS, Case  # noqa: E402

pytestmark = [
    pytest.mark.usefixtures("one_torch_thread"),
    # torch's exporter about itself
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning"),
]


@pytest.mark.parametrize("case", NETS.values(), ids=NETS)
def test_a_network_runs_from_one_graph_on_images_of_all_its_sizes(case: Case):
    module = case.module()
    graph = imported(module, *case.shapes[0])
    open_sizes = [isinstance(size, str) for size in graph.inputs[0].shape]
    assert open_sizes == [axis != 1 for axis in range(len(case.shapes[0]))]
    for shape in case.shapes:
        assert_equal(module, graph, image(*shape))
