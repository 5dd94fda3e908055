"""What convolutions cost: the weights of cpp/ops/conv/winograd_cost.cc, fitted to times of shapes drawn at random.

Each shape is timed by the plain sum and by Winograd's method. The time of either is a sum of counts, each with a
weight. Non-negative least squares on relative errors gives a start; then every weight is moved as long as choices
lose less: the loss of a shape is the time of the method that is chosen over that of the faster one.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from bench.timing import interleaved

Array = np.ndarray

FORWARD, TRANSPOSED, WEIGHT = USES = ("forward", "transposed", "weight")
SUMS, GRADIENTS = "sums", "gradients"  # the two sets of weights


class Kernel(NamedTuple):
    size: tuple[int, int]
    stride: int = 1
    dilation: int = 1
    least_channels: int = 8


KERNELS = {
    "3x3": Kernel((3, 3)),
    "5x5": Kernel((5, 5)),
    "2x2": Kernel((2, 2)),
    "4x4": Kernel((4, 4)),
    "1x3": Kernel((1, 3)),
    "1x5": Kernel((1, 5)),
    "1x2": Kernel((1, 2)),
    "3x3 dilation 2": Kernel((3, 3), dilation=2),
    "3x3 stride 2": Kernel((3, 3), 2),
    "4x4 stride 2": Kernel((4, 4), 2),
    "5x5 stride 2": Kernel((5, 5), 2),
    "6x6 stride 2": Kernel((6, 6), 2),
    "7x7 stride 2": Kernel((7, 7), 2),
    "1x4 stride 2": Kernel((1, 4), 2),
    "6x6 stride 3": Kernel((6, 6), 3, least_channels=1),
    "9x9 stride 3": Kernel((9, 9), 3, least_channels=1),
    "7x7 stride 4": Kernel((7, 7), 4, least_channels=1),
    "8x8 stride 4": Kernel((8, 8), 4, least_channels=1),
    "9x9 stride 4": Kernel((9, 9), 4, least_channels=1),
    "11x11 stride 4": Kernel((11, 11), 4, least_channels=1),
    "16x16 stride 8": Kernel((16, 16), 8, least_channels=1),
    "1x12 stride 4": Kernel((1, 12), 4, least_channels=1),
}
CHANNELS = (1, 3, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
SIDES = (4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 112, 160, 224)
# What moving all weights by a factor of e must save: choices alone would leave some of them without meaning.
KEEP = 0.02
# Floating-point operations of a shape that is timed: neither noise alone, nor minutes.
WORK = (1e6, 1.5e9)


@dataclass(frozen=True)
class Shape:
    kernel: str
    use: str
    image: tuple[int, int, int, int]  # (N, C, H, W)
    weight: tuple[int, int, int, int]

    @property
    def axes(self) -> list[tuple[int, int, int, int, int]]:
        """(size, taps, stride, dilation, padding); an axis of one tap has neither of the last three."""
        kernel = KERNELS[self.kernel]
        taps_of = zip(self.image[2:], kernel.size, strict=True)
        return [
            (size, taps, kernel.stride, kernel.dilation, kernel.dilation * (taps - 1) // 2)
            if taps > 1
            else (size, 1, 1, 1, 0)
            for size, taps in taps_of
        ]

    @property
    def outputs(self) -> list[int]:
        return [(size + 2 * pad - step * (taps - 1) - 1) // by + 1 for size, taps, by, step, pad in self.axes]

    @property
    def flops(self) -> int:
        return 2 * self.image[0] * math.prod(self.outputs) * math.prod(self.weight)

    def call(self, generator: np.random.Generator) -> Callable[[], Array]:
        """Channels last; a call returns what the use is about."""
        from neocog import ops

        n, c, high, wide = self.image
        x, weight = _normal(generator, (n, high, wide, c)), _normal(generator, self.weight)
        stride, dilation, padding = zip(*(axis[2:] for axis in self.axes), strict=True)
        window = {"stride": stride, "dilation": dilation, "padding": padding, "data_format": "NHWC"}
        if self.use == FORWARD:
            return lambda: ops.conv2d(x, weight, **window)
        grad = _normal(generator, (n, *self.outputs, self.weight[0]))
        wanted = [use == self.use for use in (TRANSPOSED, WEIGHT)]
        which = wanted.index(True)
        return lambda: ops.conv2d_backward(grad, x, weight, output_mask=(*wanted, False), **window)[which]

    def counts(self) -> tuple[list[float], list[float], bool]:
        """Of the plain sum, of Winograd's method, and whether that is chosen now."""
        from neocog import _core

        stride, dilation, padding = zip(*(axis[2:] for axis in self.axes), strict=True)
        both_sides = [pad for pad in padding for _ in range(2)]
        use = USES.index(self.use)
        direct, winograd, pays = _core.conv_counts(self.image, self.weight, stride, both_sides, dilation, 1, use)
        return list(direct), list(winograd), bool(pays)


def _normal(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return generator.standard_normal(shape, np.float32)


def shapes(kernel: str, use: str, count: int, seed: int = 0) -> Iterator[Shape]:
    """Drawn at random, the same ones for the same seed."""
    generator = np.random.default_rng([seed, list(KERNELS).index(kernel), USES.index(use)])
    high, wide = KERNELS[kernel].size
    while count > 0:
        channels = int(generator.choice(CHANNELS))
        out = int(channels * generator.choice((0.25, 0.5, 1, 1, 1, 2, 4, 16)))
        side, n = int(generator.choice(SIDES)), int(generator.choice((1, 1, 2, 4, 8)))
        across = int(side * generator.choice((0.8, 1, 1, 1.3)))
        image = (n, channels, 1, 2 * side * across) if high == 1 else (n, channels, side, across)
        shape = Shape(kernel, use, image, (out, channels, high, wide))
        if channels < KERNELS[kernel].least_channels or not 8 <= out <= 2048 or min(shape.outputs[high == 1 :]) < 3:
            continue
        if WORK[0] < shape.flops < WORK[1]:
            count -= 1
            yield shape


@dataclass(frozen=True)
class Sample:
    shape: Shape
    direct: float  # seconds
    winograd: float
    direct_counts: list[float]
    winograd_counts: list[float]
    taken: bool  # Winograd's method, by the weights as they are

    def loss(self, winograd: bool) -> float:
        return (self.winograd if winograd else self.direct) / min(self.winograd, self.direct)


@contextmanager
def winograd_always() -> Iterator[None]:
    from neocog import _core

    _core.set_winograd_always(True)
    try:
        yield
    finally:
        _core.set_winograd_always(False)


def measure(shape: Shape, rounds: int) -> Sample:
    """Times both methods; an AssertionError where they disagree."""
    import neocog

    call = shape.call(np.random.default_rng(1))
    sessions: list[Callable[[], AbstractContextManager[Any]]] = [neocog.strict, winograd_always]
    results = []
    for session in sessions:
        with session():
            results.append(call())
    # Only a kernel of another shape would be further away.
    far = abs(results[0] - results[1]).max() / abs(results[0]).max()
    assert far < 1e-3, f"{shape}: the methods differ by {far:.1e} of the largest value"
    direct, winograd = map(statistics.median, interleaved([call, call], rounds, sessions=sessions))
    return Sample(shape, direct, winograd, *shape.counts())


def set_of(use: str) -> str:
    return GRADIENTS if use == WEIGHT else SUMS


def losses(samples: Sequence[Sample], weights: tuple[Array, Array] | None = None) -> list[float]:
    """Of the choices that these weights make, or of those that were made."""
    if weights is None:
        return [sample.loss(sample.taken) for sample in samples]
    direct, winograd = (_matrix(samples, which) @ each for which, each in zip((0, 1), weights, strict=True))
    return [sample.loss(bool(pays)) for sample, pays in zip(samples, winograd < direct, strict=True)]


def fit(samples: Sequence[Sample]) -> tuple[Array, Array]:
    """Nanoseconds for every count of the plain sum and of Winograd's method, as if of one thread."""
    start = [_least_squares(_matrix(samples, which), _times(samples, which)) for which in (0, 1)]
    return _lose_less(samples, start)


def fit_all(samples: Sequence[Sample]) -> dict[str, tuple[Array, Array]]:
    """The weights of each set that has samples."""
    sets = {name: [s for s in samples if set_of(s.shape.use) == name] for name in (SUMS, GRADIENTS)}
    return {name: fit(chosen) for name, chosen in sets.items() if chosen}


def _matrix(samples: Sequence[Sample], which: int) -> Array:
    return np.array([(s.direct_counts, s.winograd_counts)[which] for s in samples])


def _times(samples: Sequence[Sample], which: int) -> Array:
    return np.array([(s.direct, s.winograd)[which] for s in samples]) * 1e9


def _least_squares(counts: Array, times: Array) -> Array:
    """Of the relative errors; those above a third count less and less, since a busy machine makes many."""
    from scipy.optimize import nnls

    rows = np.column_stack([counts, np.ones(len(times))]) / times[:, None]
    weight = np.ones(len(times))
    for _ in range(6):
        found, _ = nnls(rows * weight[:, None], weight)
        weight = 1 / np.maximum(1, abs(np.log(rows @ found)) / 0.3)
    return found[:-1]


def _lose_less(samples: Sequence[Sample], start: Sequence[Array]) -> tuple[Array, Array]:
    """Coordinate descent on the mean logarithm of the losses, and a little on the distance from the start."""
    counts = [_matrix(samples, which) for which in (0, 1)]
    times = np.array([(s.direct, s.winograd) for s in samples])
    lost = np.log(times / times.min(1, keepdims=True))
    # As many shapes of every kernel and use count the same.
    groups: dict[tuple[str, str], int] = {}
    for sample in samples:
        key = (sample.shape.kernel, sample.shape.use)
        groups[key] = groups.get(key, 0) + 1
    share = np.array([1 / (len(groups) * groups[s.shape.kernel, s.shape.use]) for s in samples])
    least = [0.02 * each[each > 0].min() if (each > 0).any() else 1e-3 for each in start]
    floor = [np.maximum(each, low) * (matrix.any(0)) for each, low, matrix in zip(start, least, counts, strict=True)]
    found = [each.copy() for each in floor]

    def objective() -> float:
        pays = counts[1] @ found[1] < counts[0] @ found[0]
        moved = [np.log(each[each > 0] / first[each > 0]) for each, first in zip(found, floor, strict=True)]
        return float(
            share @ lost[np.arange(len(lost)), pays.astype(int)] + KEEP * np.square(np.concatenate(moved)).mean()
        )

    best = objective()
    for factor in (3.0, 1.8, 1.35, 1.15, 1.07) * 3:
        for each in found:
            for i in np.flatnonzero(each):
                for step in (factor, 1 / factor):
                    before = each[i]
                    each[i] = before * step
                    if (now := objective()) < best:
                        best = now
                    else:
                        each[i] = before
    return found[0], found[1]


def table(samples: Sequence[Sample], fitted: Mapping[str, tuple[Array, Array]]) -> Iterator[str]:
    """Mean and largest losses of every kernel and use, as choices are and as they would be."""
    yield f"{'':18} {'':10} shapes   loss now  worst    fitted  worst"
    for name, use, group in _groups(samples):
        now, then = losses(group), losses(group, fitted[set_of(use)])
        cells = "    ".join(f"{statistics.geometric_mean(each):6.3f} {max(each):6.2f}" for each in (now, then))
        yield f"{name:18} {use:10} {len(group):6}    {cells}"
    now = losses(samples)
    then = [loss for _, use, group in _groups(samples) for loss in losses(group, fitted[set_of(use)])]
    cells = "    ".join(f"{statistics.geometric_mean(each):6.3f} {max(each):6.2f}" for each in (now, then))
    yield f"{'all':18} {'':10} {len(samples):6}    {cells}"
    for name, weights in fitted.items():
        for method, each in zip(("direct", "winograd"), weights, strict=True):
            yield f"{name}, {method}: {', '.join(f'{value:.3g}' for value in each)}"


def _groups(samples: Sequence[Sample]) -> Iterator[tuple[str, str, list[Sample]]]:
    for name, use in dict.fromkeys((s.shape.kernel, s.shape.use) for s in samples):
        yield name, use, [s for s in samples if (s.shape.kernel, s.shape.use) == (name, use)]


def as_json(samples: Sequence[Sample], fitted: Mapping[str, tuple[Array, Array]]) -> dict[str, Any]:
    """Times in seconds, weights in nanoseconds."""
    return {
        "weights": {
            name: {"direct": direct.tolist(), "winograd": winograd.tolist()}
            for name, (direct, winograd) in fitted.items()
        },
        "losses": [
            {
                "kernel": name,
                "use": use,
                "shapes": len(group),
                "now": statistics.geometric_mean(losses(group)),
                "fitted": statistics.geometric_mean(losses(group, fitted[set_of(use)])),
            }
            for name, use, group in _groups(samples)
        ],
        "samples": [
            {
                "kernel": s.shape.kernel,
                "use": s.shape.use,
                "image": s.shape.image,
                "weight": s.shape.weight,
                "direct": s.direct,
                "winograd": s.winograd,
                "taken": s.taken,
            }
            for s in samples
        ],
    }
