"""Networks of neocog.models as rows: their weights, data and losses. Needs PyTorch.

`python -m bench train` trains them as they are here, `nets` runs them in inference (`nets/rows.py`).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from neocog.models import create_model
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from bench.peers import Neocog

State = dict[str, Tensor]

# Of `calm_state`, whose ReLUs see a mean of 1 or -1: the standard deviation around it where a batch norm sets it, and
# the part of a convolution's weights that makes it about as small where there is none.
CALM_NORM, CALM_CONV = 0.25, 0.5


@dataclass(frozen=True)
class Network:
    """One network in training on one batch."""

    name: str
    model: str
    batch: int
    size: int
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def build(self) -> nn.Module:
        """The same initial weights in every call, float32, in training mode."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return create_model(self.model, **self.arguments).train()

    def data(self) -> tuple[Tensor, Tensor]:
        """Images (batch, 3, size, size) and what the network is to say of them, the same in every run."""
        random = torch.Generator().manual_seed(self.seed)
        x = torch.randn((self.batch, 3, self.size, self.size), generator=random)
        logits = self._shapes(x)
        if logits.shape[1] == 1:
            return x, torch.randint(2, logits.shape, generator=random).to(x.dtype)
        return x, torch.randint(logits.shape[1], (self.batch, *logits.shape[2:]), generator=random)

    @staticmethod
    def loss(logits: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy over classes, of each image or each pixel; over the two of one logit where there is one."""
        if target.is_floating_point():
            return functional.binary_cross_entropy_with_logits(logits, target.to(logits.dtype))
        return functional.cross_entropy(logits, target)

    def calm_state(self) -> State:
        """Weights whose gradients can be held against float64.

        Rounding decides which way a ReLU goes whose input is next to zero, and one that goes the other way changes
        gradients by percents: with initial weights, PyTorch's own float32 gradients of ResNet-18 err by a tenth of
        the largest. Here ReLUs are open and shut by turns, channel by channel and far from zero.
        """
        model = self.build()
        norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
        others = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
        with torch.no_grad():
            for layer in norms or others:
                if norms:
                    layer.weight.fill_(CALM_NORM)
                else:
                    layer.weight.mul_(CALM_CONV)
                layer.bias.fill_(1)
                layer.bias[1::2] = -1
        return model.state_dict()

    def flops(self) -> int:
        """Operations of a step: three times the forward pass."""
        return 3 * self.forward_flops()

    def forward_flops(self) -> int:
        """Operations of the forward pass by the direct method, a multiply-add being two."""
        counter = FlopCounterMode(display=False)
        with counter:
            self._shapes(torch.empty((self.batch, 3, self.size, self.size), device="meta"))
        return int(counter.get_total_flops())

    def _shapes(self, x: Tensor) -> Tensor:
        """Logits without values."""
        with torch.device("meta"), torch.no_grad():
            logits: Tensor = create_model(self.model, **self.arguments).eval()(x.to("meta"))
        return logits

    @property
    def seed(self) -> int:
        """Of weights and data."""
        return zlib.crc32(self.name.encode())


@dataclass
class Training:
    """A network with its optimiser on one batch, in one memory format and one dtype.

    Args:
        network: The row.
        channels_last: Whether images and weights are.
        convert: Makes another module of the network, with the same parameters under the same names.
        compile: Makes a call of that module that is as good.
        dtype: float64 for a reference.
    """

    network: Network
    channels_last: bool = False
    convert: Callable[[nn.Module], nn.Module] = lambda model: model
    compile: Callable[[nn.Module], Callable[[Tensor], Tensor]] = lambda model: model
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        self.model = self.convert(self.network.build()).to(self.dtype).to(memory_format=layout)
        self._initial = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        self._call = self.compile(self.model)
        x, self._target = self.network.data()
        self._x = x.to(self.dtype).contiguous(memory_format=layout)
        # So small that a random batch is not learnt by heart while it is timed, which would empty the gradients.
        self._optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-4, momentum=0.9)

    def step(self) -> Tensor:
        """What is timed: forward, loss, backward, SGD with momentum. Returns the loss."""
        loss = self._backward()
        self._optimizer.step()
        return loss

    def calm_step(self) -> tuple[float, State]:
        """The loss and all gradients with `Network.calm_state`; the weights stay as they were."""
        self.model.load_state_dict(self.network.calm_state())
        try:
            loss = self._backward()
            gradients = {name: p.grad for name, p in self.model.named_parameters() if p.grad is not None}
        finally:
            self._optimizer.zero_grad()
            self.model.load_state_dict(self._initial)
        return loss.item(), gradients

    def _backward(self) -> Tensor:
        self._optimizer.zero_grad()
        loss = self.network.loss(self._call(self._x), self._target)
        loss.backward()
        return loss


@contextmanager
def session(threads: int) -> Iterator[None]:
    """While it is open, neocog and PyTorch use this many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with Neocog().session(threads):
            yield
    finally:
        torch.set_num_threads(before)


ROWS = (
    # Without dropout: contenders draw other random numbers, and would train on other features.
    Network("mini-Xception 180", "mini_xception", 16, 180, {"dropout": 0.0}),
    Network("ResNet-18 224", "resnet18", 8, 224),
    Network("ResNet-50 224", "resnet50", 4, 224),
    Network("U-Net base 32, 256", "unet", 2, 256),
    Network("strided auto-encoder 256", "strided_autoencoder", 4, 256),
    Network("Xception 299", "xception", 2, 299),
)
