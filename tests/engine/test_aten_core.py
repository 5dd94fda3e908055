"""Graphs of programs that others decomposed into core operators, run by the oracle, against eager float64."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from aten_checks import assert_equal, image  # noqa: E402
from neocog.engine.importers import aten  # noqa: E402
from nets import NETS  # noqa: E402

pytestmark = [
    pytest.mark.usefixtures("one_torch_thread"),
    # torch's exporter about itself
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning"),
]


@pytest.mark.parametrize("name", ["style", "atrous", "grouped", "audio", "unet_transposed"])
def test_a_program_in_core_operators_is_the_same_network(name: str):
    """Exported and decomposed by someone else, with all sizes fixed."""
    case = NETS[name]
    module, x = case.module(), image(*case.shapes[0])
    with torch.no_grad():
        program = torch.export.export(module, (x.float(),)).run_decompositions()
    assert_equal(module, aten.from_exported(program), x)
