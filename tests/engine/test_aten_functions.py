"""Graphs of the functions that networks call, run by the oracle in float64, against torch in float64."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from aten_checks import image, imported  # noqa: E402
from nets_functions import SUBJECTS, Each  # noqa: E402
from reference_graph import run  # noqa: E402

pytestmark = [
    pytest.mark.usefixtures("one_torch_thread"),
    # torch's exporter about itself
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning"),
]


@pytest.mark.parametrize("subject", SUBJECTS)
def test_functions(subject: str):
    module = Each(SUBJECTS[subject]).eval()
    graph = imported(module, 1, 6, 10, 12)
    assert graph.inputs[0].shape == ("batch", 6, "height", "width")
    for shape in ((1, 6, 10, 12), (2, 6, 13, 16)):
        x = image(*shape) * 2
        for y, (name, function) in zip(run(graph, [x.numpy()]), SUBJECTS[subject].items(), strict=True):
            expected = function(x).numpy()
            assert y.shape == expected.shape, name
            np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-6, err_msg=name)
