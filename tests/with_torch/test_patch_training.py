"""Training on our kernels: the loss curve of stock PyTorch, and two processes that give the gradients of one."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn", reason="the example trains on scikit-learn's digits")

import neocog.torch  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")

EXAMPLE = Path(__file__).parents[2] / "examples" / "train_digits.py"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("train_digits", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["resnet", "mini_xception"])
def test_the_loss_follows_that_of_stock_pytorch_for_100_steps(example, name):
    # So small a rate that roundings do not grow: at larger ones PyTorch's two memory formats part as well.
    settings = {"batch_size": 16, "lr": 0.002, "momentum": 0.0, "enlarge": 2}
    _, stock = example.train(name, 100, **settings)
    neocog.torch.stats(reset=True)
    with neocog.torch.patch():
        _, ours = example.train(name, 100, **settings)
    counts = neocog.torch.stats()
    assert all(entry["torch"] == {} for entry in counts.values())
    assert counts["convolution_backward"]["neocog"] >= 100 * 12
    assert stock[-1] < stock[0]
    assert max(abs(a - b) / b for a, b in zip(ours, stock, strict=True)) < 0.02
    assert ours != stock


RANKS = """
import os

import torch
import torch.distributed as dist
import neocog.torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

dist.init_process_group("gloo")
rank = dist.get_rank()
torch.set_num_threads(1)
torch.manual_seed(0)
model = nn.Sequential(
    nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.AvgPool2d(2), nn.Flatten(),
    nn.Linear(72, 5),
)
x, labels = torch.randn(8, 3, 8, 8), torch.arange(8) % 5
with neocog.torch.patch():
    parallel = DistributedDataParallel(model)
    mine = slice(4 * rank, 4 * rank + 4)
    nn.functional.cross_entropy(parallel(x[mine]), labels[mine]).backward()
    shared = [p.grad.clone() for p in model.parameters()]
    assert neocog.torch.stats()["convolution_backward"]["neocog"] == 2
model.zero_grad()
nn.functional.cross_entropy(model(x), labels).backward()
for ours, alone in zip(shared, (p.grad for p in model.parameters()), strict=True):
    torch.testing.assert_close(ours, alone, rtol=0, atol=1e-5 * max(1.0, alone.abs().max().item()))
dist.destroy_process_group()
os.write(1, f"rank {rank} of 2 agrees\\n".encode())  # in one piece: both ranks have this pipe
"""


def test_two_ranks_give_the_gradients_of_one_process(tmp_path):
    script = tmp_path / "ranks.py"
    script.write_text(RANKS)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_addr=127.0.0.1"]
    done = subprocess.run(
        [*launch, "--master_port=0", "--standalone", str(script)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert sorted(line for line in done.stdout.splitlines() if "agrees" in line) == [
        "rank 0 of 2 agrees",
        "rank 1 of 2 agrees",
    ]
