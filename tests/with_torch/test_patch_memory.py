"""Large tensors lie in memory that is kept; otherwise they are tensors like any other."""

from __future__ import annotations

import copy
import io
import multiprocessing

import neocog
import neocog.torch
import pytest
import torch
from torch import nn

SHAPE = (2, 8, 160, 160)  # 1.6 MB


@pytest.fixture(name="convolution")
def _convolution():
    neocog.empty_cache()
    torch.manual_seed(0)
    x, weight = torch.randn(SHAPE), torch.randn(8, 8, 1, 1)

    def run() -> torch.Tensor:
        with neocog.torch.patch():
            return torch.conv2d(x, weight)

    yield run, torch.conv2d(x, weight)
    neocog.empty_cache()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_type_shape_strides_and_place(layout, dtype):
    x, weight = torch.randn(SHAPE, dtype=dtype).contiguous(memory_format=layout), torch.randn(8, 8, 1, 1, dtype=dtype)
    expected = torch.conv2d(x, weight)
    with neocog.torch.patch():
        y = torch.conv2d(x, nn.Parameter(weight, requires_grad=False))
        place = y.data_ptr()
        assert type(y) is torch.Tensor
        assert (y.dtype, y.shape, y.stride()) == (dtype, expected.shape, expected.stride())
        assert not y.requires_grad
        del y
        assert torch.conv2d(x, weight).data_ptr() == place


def test_views_keep_the_memory(convolution):
    run, expected = convolution
    row = run()[1, 2, 3]
    others = [run() for _ in range(3)]
    torch.testing.assert_close(row, expected[1, 2, 3])
    assert len({other.data_ptr() for other in others}) == 3


def test_what_one_does_with_tensors(convolution):
    run, expected = convolution
    y = run()
    torch.testing.assert_close(copy.deepcopy(y), expected)
    torch.testing.assert_close(torch.from_numpy(y.numpy()), expected)
    file = io.BytesIO()
    torch.save(y, file)
    file.seek(0)
    torch.testing.assert_close(torch.load(file), expected)
    torch.testing.assert_close(y.share_memory_(), expected)
    y.mul_(2)
    torch.testing.assert_close(y, 2 * expected)
    y.resize_(3, 5)
    assert y.shape == (3, 5)


def test_in_autograd(convolution):
    run, expected = convolution
    leaf = run().requires_grad_()
    (leaf**2).sum().backward()
    torch.testing.assert_close(leaf.grad, 2 * expected)


def test_inference_mode(convolution):
    run, expected = convolution
    with torch.inference_mode():
        y = run()
        assert y.is_inference()
    torch.testing.assert_close(y, expected)


def _in_child(run, expected, queue):
    torch.set_num_threads(1)  # as a DataLoader's workers do: OpenMP's threads do not survive a fork
    neocog.set_num_threads(1)
    queue.put(bool(torch.allclose(run(), expected, atol=1e-5)))


def test_a_forked_process_keeps_its_own(convolution):
    run, expected = convolution
    run()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(run, expected, queue), daemon=True)
    child.start()
    assert queue.get(timeout=60)
    child.join(timeout=60)
    torch.testing.assert_close(run(), expected)
