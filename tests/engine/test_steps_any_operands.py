"""Steps of any operands: refused with an error, or run within their memory. Worth most under the sanitizers."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from neocog import _core

Operand = tuple[int, int, tuple[int, ...], tuple[int, ...]]
ROOM = 600  # elements of every buffer
NUMBERS = (
    -(2**62),
    -(2**31),
    -3,
    -1,
    0,
    0,
    1,
    1,
    1,
    2,
    2,
    3,
    4,
    5,
    6,
    7,
    16,
    17,
    60,
    599,
    600,
    601,
    2**31,
    2**40,
    2**62,
)


def dense(rng: random.Random, shape: tuple[int, ...], *, result: bool = False) -> Operand:
    """In the arena or an input; a result in the output, for operands must not overlap it."""
    order = rng.choice([range(len(shape)), (0, *range(2, len(shape)), 1)]) if len(shape) > 2 else range(len(shape))
    strides, step = [0] * len(shape), 1
    for axis in reversed(order):
        strides[axis], step = step, step * max(1, shape[axis])
    return 2 if result else rng.randrange(2), rng.choice((0, 0, 5)), shape, tuple(strides)


def mutated(rng: random.Random, operand: Operand) -> Operand:
    buffer, offset, shape, strides = operand[0], operand[1], list(operand[2]), list(operand[3])
    for _ in range(rng.choice((0, 0, 0, 1, 1, 2))):
        where = rng.choice((shape, strides))
        match rng.randrange(7):
            case 0:
                buffer = rng.choice((2 if buffer == 2 else 0, 1, 3, 7))
            case 1:
                offset = rng.choice(NUMBERS)
            case 2:
                where.append(rng.choice(NUMBERS))
            case 3 if where:
                where.pop(rng.randrange(len(where)))
            case _ if where:
                where[rng.randrange(len(where))] = rng.choice(NUMBERS)
    return buffer, offset, tuple(shape), tuple(strides)


def image(rng: random.Random) -> tuple[int, ...]:
    return rng.choice([(2, 3, 5, 4), (1, 16, 4, 4), (1, 4, 1, 9), (2, 5, 7)])


def call_of(rng: random.Random) -> tuple[str, list[Any]]:
    """A method and arguments that would do, or nearly."""
    shape = image(rng)
    n, c, *spatial = shape
    half = (n, c, *(max(1, size // 2) for size in spatial))
    to = lambda shape: dense(rng, shape, result=True)  # noqa: E731
    channel = lambda: dense(rng, (c,))  # noqa: E731
    x, y = dense(rng, shape), to(shape)
    small = lambda: rng.choice((0, 1, 2, 2, 3, -1, 2**33))  # noqa: E731
    pair = lambda: (small(), small())  # noqa: E731
    number = lambda: rng.choice(NUMBERS[2:-3])  # noqa: E731
    taps = lambda: ([number() for _ in range(2 * c + 2)], [0.5] * (2 * c + 2))  # noqa: E731
    calls: dict[str, Callable[[], list[Any]]] = {
        "activation": lambda: [x, y, rng.randrange(-1, 13), 0.1],
        "unary": lambda: [rng.choice(["mish", "clip", "log", "?"]), x, y, 0.1, 0.2],
        "binary": lambda: [rng.choice(["sub", "mod", "pow"]), x, dense(rng, rng.choice([(), (c, 1, 1), shape])), y],
        "prelu": lambda: [x, dense(rng, rng.choice([(), (c, 1, 1), shape])), y],
        "reduce": lambda: ["log_sum_exp", x, [1, number()][: rng.randrange(3)], to((n, 1, *spatial))],
        "softmax": lambda: [x, y, number(), rng.random() < 0.5],
        "copy": lambda: [x, y],
        "linear": lambda: [x, dense(rng, (7, shape[-1])), None, to((*shape[:-1], 7)), 1, 0.0],
        "matmul": lambda: [x, dense(rng, (shape[-1], 7)), to((*shape[:-1], 7))],
        "batch_norm": lambda: [x, channel(), channel(), channel(), None, y, 1e-5],
        "group_norm": lambda: [x, channel(), channel(), y, number(), 1e-5],
        "layer_norm": lambda: [x, dense(rng, shape[-1:]), None, y, number(), 1e-5],
        "lrn": lambda: [x, y, number(), 0.1, 0.75, 1.0],
        "max_pool": lambda: [x, to(half), pair(), pair(), (*pair(), *pair()), pair()],
        "avg_pool": lambda: [x, to(half), pair(), pair(), (*pair(), *pair()), True, rng.choice([None, 0, 5])],
        "adaptive_max_pool": lambda: [x, to(half)],
        "adaptive_avg_pool": lambda: [x, to(half)],
        "interpolate": lambda: [x, to((n, c + 1, *spatial)), 1, 2, *taps()],
        "resize": lambda: [x, to(half), number(), rng.random() < 0.5],
    }  # fmt: skip
    name = rng.choice(list(calls))
    return name, calls[name]()


@pytest.mark.parametrize("seed", range(4))
def test_any_operands(seed, isa):
    rng = random.Random(seed)
    data = np.linspace(-1, 1, ROOM, dtype=np.float32)
    accepted, refused = 0, 0
    for _ in range(3000):
        name, arguments = call_of(rng)
        arguments = [
            mutated(rng, a) if isinstance(a, tuple) and len(a) == 4 and isinstance(a[2], tuple) else a
            for a in arguments
        ]
        operands = [a for a in arguments if isinstance(a, tuple) and len(a) == 4 and isinstance(a[2], tuple)]
        program = _core.Program(ROOM)
        program.add_input(ROOM)
        program.add_output((ROOM,))
        try:
            getattr(program, name)(*arguments)
        except (ValueError, TypeError):
            refused += 1
            continue
        accepted += 1
        if all(math.prod(operand[2]) <= 10**5 for operand in operands):
            program.run([data])
    assert accepted > 100
    assert refused > 100
