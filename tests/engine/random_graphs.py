"""Random graphs of the operators that passes look for, valid for the sizes of `pass_checks.SIZES`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from neocog.engine.graph import Graph, Input
from pass_checks import Net, arguments
from reference_graph import run


class Random(Net):
    """A net that grows; `values` are its images, with the arrays that they are for some input."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__(rng)
        self.values = {"x": arguments(self.graph("x"))[0]}

    def pick(self) -> str:
        """A value, one of the last mostly."""
        names = list(self.values)
        return names[max(0, len(names) - 1 - int(self.rng.geometric(0.6) - 1))]

    def channels(self, x: str) -> int:
        return self.values[x].shape[1]

    def keep(self, first: int) -> None:
        """Compute the nodes from `first` on; the result of the last one is a value if it is an image of some size."""
        nodes = self.nodes[first:]
        given = {name for node in nodes for name in node.used()} & set(self.values)
        inputs = [Input(name, self.values[name].shape, "float64") for name in sorted(given)]
        last = nodes[-1].outputs[0] or ""
        try:
            made = run(Graph(inputs, [last], nodes, self.constants), [self.values[i.name] for i in inputs])[0]
        except ValueError:  # a kernel larger than the image
            made = np.zeros(0)
        if made.ndim == 4 and made.size and min(made.shape[2:]) > 1 and np.abs(made).max() < 1e6:
            self.values[last] = made
        else:
            del self.nodes[first:]


def random_graph(rng: np.random.Generator, moves: int = 14) -> Graph:
    """Some moves, each of a few nodes, then one to three results; what they do not need stays in the graph."""
    net = Random(rng)
    for _ in range(moves):
        first = len(net.nodes)
        MOVES[rng.integers(len(MOVES))](net, net.pick())
        net.keep(first)
    ends = [net.node("mean", net.pick(), axes=[2, 3], keepdims=bool(rng.integers(2)))]
    ends += [net.pick() for _ in range(rng.integers(3))]
    return net.graph(*dict.fromkeys(ends))


def _convolution(net: Random, x: str) -> None:
    c, size = net.channels(x), int(net.rng.integers(1, 4))
    padding = [[size // 2, size // 2]] * 2 if net.rng.integers(3) else int(net.rng.integers(2))
    out = c if net.rng.integers(2) else int(net.rng.integers(1, 6))
    y = net.conv(x, (out, c, size, size), padding=padding, bias=bool(net.rng.integers(2)))
    if net.rng.integers(2):
        y = net.batch_norm(y, out)
    if net.rng.integers(2):
        net.node(str(net.rng.choice(["relu", "silu", "relu6", "elu"])), y)


def _separable(net: Random, x: str) -> None:
    c = net.channels(x)
    if net.rng.integers(2):
        x = net.batch_norm(x, c)
        if net.rng.integers(2):
            x = net.node("relu", x)
    y = net.conv(x, (c, 1, 3, 3), groups=c, padding=1, bias=bool(net.rng.integers(2)))
    if net.rng.integers(3) == 0:
        y = net.batch_norm(y, c)
    net.conv(y, (c, c, 1, 1), bias=bool(net.rng.integers(2)))


def _residual(net: Random, x: str) -> None:
    c = net.channels(x)
    y = net.conv(x, (c, c, 3, 3), padding=1)
    y = net.node("add", *((x, y) if net.rng.integers(2) else (y, x)))
    if net.rng.integers(2):
        net.node("relu", y)


def _sum(net: Random, x: str) -> None:
    """With a value of the same shape, for these sizes at least."""
    shape = net.values[x].shape
    like = [name for name, value in net.values.items() if value.shape == shape]
    net.node("add", x, like[net.rng.integers(len(like))])


def _scale(net: Random, x: str) -> None:
    c = net.channels(x)
    shape = [(c, 1, 1), (1, c, 1, 1), (), (1,), net.values[x].shape[3:]][net.rng.integers(5)]
    op = ["mul", "add", "sub", "div"][net.rng.integers(4)]
    net.node(op, x, net.constant(net.rng.choice([-2, -0.5, 0.25, 1, 3], shape)))


def _batch_norm_first(net: Random, x: str) -> None:
    c = net.channels(x)
    net.conv(net.batch_norm(x, c), (c, c, 1, 1) if net.rng.integers(2) else (3, c, 3, 3))


def _padded(net: Random, x: str) -> None:
    pads = net.rng.integers(0, 2, 4)
    y = net.node("relu", x) if net.rng.integers(2) else x
    y = net.node("pad", y, net.numbers(0, 0, *pads[:2], 0, 0, *pads[2:]), value=float(net.rng.integers(4) == 0))
    kind = net.rng.integers(3)
    if kind == 0:
        net.conv(y, (2, net.channels(x), 2, 2), padding=int(net.rng.integers(2)))
    else:
        net.pool(("max_pool", "avg_pool")[kind - 1], y, 2, 1, int(net.rng.integers(2)))


def _swish(net: Random, x: str) -> None:
    if net.rng.integers(2):
        net.node("mul", x, net.node("sigmoid", x))
    else:
        six = net.node("clip", net.node("add", x, net.constant(3.0)), min=0.0, max=6.0)
        net.node("div", net.node("mul", six, x), net.constant(6.0))


def _nothing(net: Random, x: str) -> None:
    kind = net.rng.integers(4)
    if kind == 0:
        net.node("identity", net.node("cast", x, dtype="float64"))
    elif kind == 1:
        net.node("mul", x, net.constant(1.0))
    elif kind == 2:
        net.node("reshape", x, net.node("shape", x))
    else:
        y = net.node("transpose", x, permutation=[0, 2, 3, 1])
        net.node("transpose", y, permutation=[0, 3, 1, 2])


def _rearranged(net: Random, x: str) -> None:
    if net.rng.integers(2):
        net.node("transpose", net.node("transpose", x, permutation=[0, 1, 3, 2]), permutation=[1, 0, 2, 3])
        net.node("transpose", net.nodes[-1].outputs[0], permutation=[1, 0, 2, 3])
    else:
        net.node("reshape", net.node("flatten", x, start=2), net.node("shape", x))


def _pool(net: Random, x: str) -> None:
    net.pool(("max_pool", "avg_pool")[net.rng.integers(2)], x, 2, int(net.rng.integers(1, 3)))


def _joined(net: Random, x: str) -> None:
    net.node("concat", x, net.node("relu", x), axis=1)


def _again(net: Random, x: str) -> None:
    net.node("sub", net.node("tanh", x), net.node("neg", net.node("tanh", x)))


MOVES: list[Callable[[Random, str], None]] = [
    *(_convolution, _convolution, _convolution, _residual, _residual, _separable, _sum, _scale, _scale, _padded),
    *(_batch_norm_first, _swish, _nothing, _rearranged, _pool, _joined, _again),
]
