"""torch.compile with gradients on neocog: a training step against eager, and what runs on the kernels."""

from __future__ import annotations

import copy
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from aten_checks import leaves  # noqa: E402
from compile_checks import OneLayer, assert_near, compiled, image, in_torch  # noqa: E402
from neocog.torch import backend  # noqa: E402
from nets import NETS  # noqa: E402
from torch import Tensor, nn  # noqa: E402

pytestmark = [
    pytest.mark.usefixtures("one_torch_thread", "graphs"),
    # torch's compiler about itself
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning"),
]


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
    module = OneLayer().to(torch.bfloat16).train()
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
