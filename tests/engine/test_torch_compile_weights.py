"""Weights in the models of torch.compile: frozen, seen when they change, shared by none, freed with their module."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

torch = pytest.importorskip("torch")

from compile_checks import OneLayer, assert_near, compiled, image  # noqa: E402
from nets import NETS  # noqa: E402
from torch import nn  # noqa: E402

pytestmark = [
    pytest.mark.usefixtures("one_torch_thread", "graphs"),
    # torch's compiler about itself
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning"),
]


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
    module = OneLayer().eval()
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
    pair = [OneLayer().eval() for _ in range(2)]
    ours = [compiled(module) for module in pair]
    with torch.no_grad():
        for _ in range(3):
            for mine, module in zip(ours, pair, strict=True):
                assert_near(mine(image(2, 3, 9, 9)), module(image(2, 3, 9, 9)))
    assert len(models) == 2


def test_weights_are_freed_with_their_module(models):
    """The compiled model shares their memory, and goes with them."""
    module = OneLayer().eval()
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
