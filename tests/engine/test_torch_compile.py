"""torch.compile without gradients on neocog against eager: parts, sizes, and what falls back to torch."""

from __future__ import annotations

import logging
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from compile_checks import OneLayer, assert_near, compiled, image, in_torch  # noqa: E402
from neocog.engine import compiled as engine  # noqa: E402
from neocog.engine.graph import GraphError  # noqa: E402
from neocog.torch import backend  # noqa: E402
from nets import NETS  # noqa: E402
from torch import Tensor, nn  # noqa: E402

pytestmark = [
    pytest.mark.usefixtures("one_torch_thread", "graphs"),
    # torch's compiler about itself
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning"),
]


@pytest.mark.parametrize("name", ["residual", "unet_bilinear", "style", "convnext", "pyramid", "wave", "attentive"])
def test_a_network_is_one_part(name: str, graphs, models):
    """A second size is compiled once more, with open sizes; a third is only planned."""
    case = NETS[name]
    module = case.module()
    ours = compiled(module)
    with torch.no_grad():
        for shape in (*case.shapes, case.shapes[0]):
            assert_near(ours(image(*shape)), module(image(*shape)))
    assert in_torch() == {}
    assert len(graphs) == len(models) <= 3  # the example's sizes, then open ones; a size of 1 is always one of its own


def test_an_open_batch_is_compiled_once(graphs, models):
    module = NETS["residual"].module()
    ours = compiled(module)
    with torch.no_grad():
        for batch in (4, 2, 3, 7):
            x = image(batch, 3, 32, 32)
            torch._dynamo.mark_dynamic(x, 0)
            assert_near(ours(x), module(x))
    assert len(graphs) == len(models) == 1


def test_channels_last_stays_channels_last():
    module = NETS["unet_transposed"].module().to(memory_format=torch.channels_last)
    x = image(2, 1, 16, 16).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        y = compiled(module)(x)
        assert_near(y, module(x))


class Broken(nn.Module):
    """Something between two convolutions that torch.compile cannot follow."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.calls = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3), 0

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x).relu()
        torch._dynamo.graph_break()
        return self.two(x).relu()


def test_a_graph_break_makes_two_parts(models):
    module = Broken().eval()
    with torch.no_grad():
        assert_near(compiled(module)(image(2, 3, 9, 9)), module(image(2, 3, 9, 9)))
    assert [[node.op for node in model.graph.nodes] for model in models] == [["conv"], ["conv"]]


class Foreign(nn.Module):
    """An operator that the engine does not have, between others."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(torch.cumsum(self.one(x).relu(), 1)).relu()


def test_what_the_engine_does_not_have_runs_in_torch_and_is_said_once(models, caplog):
    module = Foreign().eval()
    with torch.no_grad(), caplog.at_level(logging.INFO, "neocog"):
        ours = compiled(module)
        for batch in (2, 5, 3):
            assert_near(ours(image(batch, 3, 9, 9)), module(image(batch, 3, 9, 9)))
    reason = "there is no such operator in the engine"
    assert caplog.messages.count(f"aten.cumsum runs in torch: {reason}") == 1
    assert backend.stats()["aten.convolution"]["neocog"] == 2 * backend.stats()["aten.cumsum"]["torch"][reason]
    assert in_torch() == {"aten.cumsum": [reason]}


def test_a_part_that_the_engine_refuses_runs_in_torch(monkeypatch, caplog):
    """What is known only when the model is built or planned."""
    module = OneLayer().eval()

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise GraphError("conv (conv): refused by this test")

    monkeypatch.setattr(engine.CompiledModel, "run", refuse)
    ours = compiled(module)
    with torch.no_grad(), caplog.at_level(logging.INFO, "neocog"):
        for _ in range(2):
            assert_near(ours(image(2, 3, 9, 9)), module(image(2, 3, 9, 9)))
    reason = "its part of the graph: conv (conv): refused by this test"
    assert backend.stats()["aten.convolution"] == {"neocog": 0, "torch": {reason: 1}}
    assert f"aten.convolution runs in torch: {reason}" in caplog.messages


def test_other_dtypes_run_in_torch():
    module = OneLayer().double().eval()
    with torch.no_grad():
        x = image(2, 3, 9, 9).double()
        assert torch.equal(compiled(module)(x), module(x))
    assert in_torch().keys() == {"aten.convolution", "aten.relu"}


def test_integers_that_depend_on_data_are_no_numbers_of_the_plan(models):
    """Each of their values would have a plan of its own."""

    def function(x: Tensor) -> Tensor:
        return x.relu()[:, x.mean((0, 2, 3)).argmax()]

    with torch.no_grad():
        assert_near(torch.compile(function, backend=backend.neocog)(image(2, 3, 4, 4)), function(image(2, 3, 4, 4)))
    assert all(item.dtype == "float32" for model in models for item in model.inputs)


def test_results_that_are_inputs_views_and_numbers():
    def function(x: Tensor) -> Any:
        y = x.relu()
        return x, y, y.transpose(1, 2), y.shape[0] * 2, torch.arange(y.shape[2]), y[0]

    ours = torch.compile(function, backend=backend.neocog, dynamic=True)
    with torch.no_grad():
        x = image(3, 4, 5)
        y, expected = ours(x), function(x)
        assert y[0] is x
        assert y[3] == 6
        assert y[4].dtype == torch.int64
        assert_near([*y[:3], *y[4:]], [*expected[:3], *expected[4:]])


def test_an_input_that_is_written_to():
    def function(x: Tensor) -> Tensor:
        return x.add_(1).relu() * 2

    ours, x, expected = torch.compile(function, backend=backend.neocog), image(2, 3, 4, 4), image(2, 3, 4, 4)
    with torch.no_grad():
        assert_near(ours(x), function(expected))
    assert_near(x, expected)


def test_options_name_the_threads(models):
    with torch.no_grad():
        compiled(OneLayer().eval(), options={"num_threads": 1})(image(2, 3, 9, 9))
    assert models[0].num_threads == 1
    with pytest.raises(Exception, match="`options` has 'speed'; the backend 'neocog' has 'num_threads' only"):
        compiled(OneLayer().eval(), options={"speed": 2})(image(2, 3, 9, 9))


def test_the_backend_is_known_to_torch_by_its_name():
    assert "neocog" in torch.compiler.list_backends()
    module = OneLayer().eval()
    with torch.no_grad():
        assert_near(torch.compile(module, backend="neocog")(image(2, 3, 9, 9)), module(image(2, 3, 9, 9)))
    assert backend.stats()["aten.convolution"]["neocog"] == 1
