"""torch.compile on neocog against eager: inference in parts, what falls back, weights that change, and training."""

from __future__ import annotations

import copy
import gc
import logging
import threading
import weakref
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from aten_checks import leaves  # noqa: E402
from neocog.engine import compiled as engine  # noqa: E402
from neocog.torch import backend, backend_counts, backend_inference  # noqa: E402
from nets import NETS  # noqa: E402
from torch import Tensor, nn  # noqa: E402

pytestmark = [
    pytest.mark.usefixtures("one_torch_thread"),
    # torch's compiler about itself
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def graphs(monkeypatch):
    """The graphs that torch.compile hands over in this test; the counts start from zero."""
    torch.compiler.reset()
    backend.stats(reset=True)
    monkeypatch.setattr(backend_counts, "_said", set())
    found: list[Any] = []
    original = backend.compile_inference

    def compile_inference(graph, num_threads):
        found.append(graph)
        return original(graph, num_threads)

    monkeypatch.setattr(backend, "compile_inference", compile_inference)
    yield found
    torch.compiler.reset()


@pytest.fixture
def models(monkeypatch):
    """The `CompiledModel`s that were built in this test."""
    built: list[Any] = []

    class Recorded(engine.CompiledModel):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            built.append(self)

    monkeypatch.setattr(backend_inference, "CompiledModel", Recorded)
    return built


def compiled(module: nn.Module, **options: Any) -> Any:
    return torch.compile(module, backend=backend.neocog, **options)


def image(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def assert_near(ours: Any, theirs: Any, relative: float = 2e-5) -> None:
    ours, theirs = leaves(ours), leaves(theirs)
    assert len(ours) == len(theirs)
    for y, expected in zip(ours, theirs, strict=True):
        assert y.stride() == expected.stride()
        torch.testing.assert_close(y, expected, rtol=0, atol=relative * max(1.0, expected.abs().max().item()))


def in_torch() -> dict[str, list[str]]:
    """Which operators run in torch, and why."""
    return {name: list(count["torch"]) for name, count in backend.stats().items() if count["torch"]}


# Inference


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


class AfterTheFact(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).relu()


def test_a_part_that_the_engine_refuses_runs_in_torch(monkeypatch, caplog):
    """What is known only when the model is built or planned."""
    module = AfterTheFact().eval()

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise engine_error("conv (conv): refused by this test")

    from neocog.engine.graph import GraphError as engine_error

    monkeypatch.setattr(engine.CompiledModel, "run", refuse)
    ours = compiled(module)
    with torch.no_grad(), caplog.at_level(logging.INFO, "neocog"):
        for _ in range(2):
            assert_near(ours(image(2, 3, 9, 9)), module(image(2, 3, 9, 9)))
    reason = "its part of the graph: conv (conv): refused by this test"
    assert backend.stats()["aten.convolution"] == {"neocog": 0, "torch": {reason: 1}}
    assert f"aten.convolution runs in torch: {reason}" in caplog.messages


def test_other_dtypes_run_in_torch():
    module = AfterTheFact().double().eval()
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
        compiled(AfterTheFact().eval(), options={"num_threads": 1})(image(2, 3, 9, 9))
    assert models[0].num_threads == 1
    with pytest.raises(Exception, match="`options` has 'speed'; the backend 'neocog' has 'num_threads' only"):
        compiled(AfterTheFact().eval(), options={"speed": 2})(image(2, 3, 9, 9))


# Weights


def with_zeros(module: nn.Module) -> None:
    module.conv.weight.zero_()


def replaced(module: nn.Module) -> None:
    module.conv.weight = nn.Parameter(torch.ones_like(module.conv.weight))


def loaded(module: nn.Module) -> None:
    module.load_state_dict({name: tensor * 2 for name, tensor in module.state_dict().items()})


def moved(module: nn.Module) -> None:
    module.conv.weight.data = module.conv.weight.data * 3


@pytest.mark.parametrize("change", [with_zeros, replaced, loaded, moved], ids=lambda c: c.__name__)
def test_weights_that_changed_are_seen(change, models):
    module = AfterTheFact().eval()
    ours, x = compiled(module), image(2, 3, 9, 9)
    with torch.no_grad():
        for _ in range(3):
            before = ours(x)
        assert len(models) == 1, "weights that stay are frozen once"
        change(module)
        for _ in range(2):
            after = ours(x)
        assert_near(after, module(x))
        assert not torch.allclose(before, after)
        assert len(models) == 2


def test_models_that_share_a_graph_have_weights_of_their_own(graphs, models):
    """torch.compile compiles a class once for all modules of the same shapes."""
    pair = [AfterTheFact().eval() for _ in range(2)]
    ours = [compiled(module) for module in pair]
    with torch.no_grad():
        for _ in range(3):
            for mine, module in zip(ours, pair, strict=True):
                assert_near(mine(image(2, 3, 9, 9)), module(image(2, 3, 9, 9)))
    assert len(models) == 2


def test_weights_are_freed_with_their_module(models):
    """The compiled model shares their memory, and goes with them."""
    module = AfterTheFact().eval()
    ours = compiled(module)
    with torch.no_grad():
        ours(image(2, 3, 9, 9))
    alive = weakref.ref(module.conv.weight), weakref.ref(models.pop())
    del module, ours
    gc.collect()
    assert [reference() for reference in alive] == [None, None]


def test_many_threads_call_one_model(models):
    module = NETS["residual"].module()
    ours, x = compiled(module), image(2, 3, 32, 32)
    with torch.no_grad():
        expected, first, wrong = module(x), ours(x), []

    def work() -> None:
        with torch.no_grad():
            for _ in range(5):
                if not torch.equal(ours(x), first):
                    wrong.append("result")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert_near(first, expected)


# Training


def gradients(module: nn.Module, forward: Any, x: Tensor) -> dict[str, Tensor]:
    """Of a loss that weighs all results, with respect to the image and the parameters."""
    module.zero_grad()
    x = x.clone().requires_grad_()
    results = leaves(forward(x))
    sum((y * torch.linspace(-1, 1, y.numel()).view(y.shape)).sum() for y in results).backward()
    return {"x": x.grad, **{name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}}


@pytest.mark.parametrize("name", ["residual", "unet_bilinear", "inception", "style", "grouped"])
def test_a_training_step_is_torchs(name: str):
    case = NETS[name]
    module = case.module().train()
    stock = copy.deepcopy(module)
    ours = compiled(module)
    for shape in (case.shapes[1], (2, *case.shapes[0][1:])):
        x = image(*shape)
        mine, theirs = gradients(module, ours, x), gradients(stock, stock, x)
        assert mine.keys() == theirs.keys()
        # Some gradients are sums of nothing but roundings (a bias before a norm): those are small beside the others.
        scale = max(g.abs().max().item() for g in theirs.values())
        for key, expected in theirs.items():
            atol = 1e-4 * max(expected.abs().max().item(), 1e-2 * scale)
            torch.testing.assert_close(mine[key], expected, rtol=0, atol=atol, msg=lambda m, key=key: f"{key}: {m}")
    for (key, buffer), expected in zip(module.named_buffers(), stock.buffers(), strict=True):
        torch.testing.assert_close(buffer, expected, rtol=1e-5, atol=1e-5, msg=key)
    counts = backend.stats()
    for operator in ("aten.convolution", "aten.convolution_backward"):
        assert counts[operator]["neocog"] > 0
        assert not counts[operator]["torch"]


def test_upsampling_trains_as_one_operator_with_open_sizes():
    """torch would trace it as gathers and scatters."""
    module = NETS["unet_bilinear"].module().train()
    compiled(module, dynamic=True)(image(2, 1, 16, 18)).sum().backward()
    counts = backend.stats()
    assert counts["aten.upsample_bilinear2d"]["neocog"] == counts["aten.upsample_bilinear2d_backward"]["neocog"] == 2


def test_what_kernels_refuse_in_training_runs_in_torch():
    module = AfterTheFact().to(torch.bfloat16).train()
    y = compiled(module)(image(2, 3, 9, 9).to(torch.bfloat16))
    assert_near(y, module(image(2, 3, 9, 9).to(torch.bfloat16)))
    assert in_torch()["aten.convolution"] == ["dtype bfloat16"]


def test_training_and_evaluation_take_turns():
    """The step of the optimiser is seen by the next evaluation."""
    module = NETS["residual"].module()
    stock = copy.deepcopy(module)
    ours, x = compiled(module), image(4, 3, 32, 32)
    pairs = [(m, torch.optim.SGD(m.parameters(), 1e-3)) for m in (module, stock)]
    for _ in range(2):
        for (trained, optimiser), forward in zip(pairs, (ours, stock), strict=True):
            trained.train()
            optimiser.zero_grad()
            forward(x).square().mean().backward()
            optimiser.step()
            trained.eval()
        with torch.no_grad():
            assert_near(ours(x), stock(x), 1e-3)


def test_the_backend_is_known_to_torch_by_its_name():
    assert "neocog" in torch.compiler.list_backends()
    module = AfterTheFact().eval()
    with torch.no_grad():
        assert_near(torch.compile(module, backend="neocog")(image(2, 3, 9, 9)), module(image(2, 3, 9, 9)))
    assert backend.stats()["aten.convolution"]["neocog"] == 1
