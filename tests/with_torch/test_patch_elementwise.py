"""ReLU's gradient under the patch: the bits of torch, for every layout."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

import neocog.torch  # noqa: E402
from torch.nn import functional as F  # noqa: E402

SHAPES = [(2, 8, 80, 81), (2, 3, 5, 7), (70_001,), (1,), (), (300, 300), (3, 200, 150)]


def threshold_backward(grad_y, y, threshold=0.0):
    """Both results, and what ran."""
    neocog.torch.stats(reset=True)
    stock = torch.ops.aten.threshold_backward(grad_y, y, threshold)
    with neocog.torch.patch():
        ours = torch.ops.aten.threshold_backward(grad_y, y, threshold)
    return ours, stock, neocog.torch.stats(reset=True)["threshold_backward"]


def same(ours, stock):
    return torch.equal(ours.nan_to_num(7), stock.nan_to_num(7)) and ours.stride() == stock.stride()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_dense_ones_run_here(shape, dtype):
    grad_y, y = torch.randn(shape, dtype=dtype), torch.randn(shape, dtype=dtype).relu()
    y.view(-1)[::97] = torch.nan
    y.view(-1)[5::97] = torch.inf
    grad_y.view(-1)[::89] = torch.nan
    ours, stock, ran = threshold_backward(grad_y, y)
    assert ran == {"neocog": 1, "torch": {}}
    assert same(ours, stock)
    if len(shape) == 4:
        grad_y, y = (t.contiguous(memory_format=torch.channels_last) for t in (grad_y, y))
        ours, stock, ran = threshold_backward(grad_y, y)
        assert ran == {"neocog": 1, "torch": {}}
        assert same(ours, stock)


def other_format(grad_y, y):
    return grad_y.contiguous(memory_format=torch.channels_last), y


@pytest.mark.parametrize(
    ("change", "threshold", "reason"),
    [
        (lambda g, y: (g, y), 0.5, "a threshold other than 0"),
        (lambda g, y: (g[:0], y[:0]), 0, "an empty tensor"),
        (other_format, 0, "a gradient in another memory format"),
        (lambda g, y: (g.bfloat16(), y.bfloat16()), 0, "dtype bfloat16"),
        (lambda g, y: (g[..., 1:], y[..., 1:]), 0, "arguments that neocog's operators refuse"),
    ],
)
def test_others_run_on_torch(change, threshold, reason):
    grad_y, y = change(torch.randn(SHAPES[0]), torch.randn(SHAPES[0]).relu())
    ours, stock, ran = threshold_backward(grad_y, y, threshold)
    assert ran == {"neocog": 0, "torch": {reason: 1}}
    assert same(ours, stock)


def test_through_autograd():
    gradients = []
    for patched in (False, True):
        x = torch.randn(SHAPES[0], generator=torch.Generator().manual_seed(0)).requires_grad_()
        y = F.relu(x)
        if patched:
            with neocog.torch.patch():
                (y * y).sum().backward()
        else:
            (y * y).sum().backward()
        gradients.append(x.grad)
    assert torch.equal(*gradients)
