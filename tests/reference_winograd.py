"""What Winograd's convolution does in exact arithmetic, and on absolute values: the magnitude of its error bound.

The matrices follow from the points by Toom and Cook's construction, and not from the code that they check. They are
those of a tile of m outputs of a kernel of some taps along an axis, which takes the first m + taps - 2 finite points
and infinity; a full tile takes them all. One tap is not transformed.

With stride 2 the images and kernels are those of the phases: every second row and column of x, or, transposed, of y.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from remembered import remembered

Array = np.ndarray


def finite_points(taps: int) -> tuple[float, ...]:
    return (0.5, -0.5, 1.5, -1.5) if taps == 2 else (0.0, 0.75, -0.75, 1.5, -1.5)


def full_tile(taps: int) -> int:
    return 1 if taps == 1 else len(finite_points(taps)) + 2 - taps


@functools.cache
def matrices(m: int, taps: int = 3) -> tuple[Array, Array, Array]:
    """A^T (m, n), G (n, taps) and B^T (n, n), n = m + taps - 1, with A^T [(G g) * (B^T d)] the correlation of d with g.

    G is the same for all m: the points that a smaller tile leaves out move their factors to B.
    """
    n = m + taps - 1
    if n == 1:
        return np.ones((1, 1)), np.ones((1, 1)), np.ones((1, 1))
    points = finite_points(taps)
    used, dropped = points[: n - 1], points[n - 1 :]
    a, g, b = np.zeros((m, n)), np.zeros((n, taps)), np.zeros((n, n))
    for i, p in enumerate(used):
        a[:, i] = p ** np.arange(m)
        g[i] = p ** np.arange(taps) / np.prod([p - q for q in points if q != p])
        others = np.polynomial.polynomial.polyfromroots([q for q in used if q != p])
        b[i, : n - 1] = others * np.prod([p - q for q in dropped])
    a[m - 1, -1] = g[-1, taps - 1] = 1
    b[-1] = np.polynomial.polynomial.polyfromroots(used)
    return a, g, b


def tiles(outputs: int, taps: int, whole: bool = False) -> list[tuple[int, int]]:
    """(first output, m) of the tiles along an axis: full, but for the last one of two to four taps, or all `whole`."""
    full = full_tile(taps)
    count = -(-outputs // full)
    rest = outputs - full * (count - 1)
    last = full if whole else {2: rest if rest < 3 else full, 3: max(2, rest), 4: rest}.get(taps, full)
    return [(full * i, full if i < count - 1 else last) for i in range(count)]


def _padded(x: Array, pads: tuple[int, int, int, int], p: int, q: int) -> Array:
    """x within its padding, and zeros as far as the last tile of each axis reaches."""
    top, left = max(0, pads[0]), max(0, pads[2])
    inner = x[:, :, max(0, -pads[0]) :, max(0, -pads[2]) :][:, :, : p + 6 - top, : q + 6 - left]
    padded = np.zeros((*x.shape[:2], p + 6, q + 6))
    padded[:, :, top : top + inner.shape[2], left : left + inner.shape[3]] = inner
    return padded


@remembered
def magnitude(
    x: Array,
    weight: Array,
    pads: tuple[int, int, int, int],
    groups: int = 1,
    whole: bool = False,
    rounded: bool = False,
) -> Array:
    """|A^T| (sum over c of |G w G^T| * (|B^T| |x| |B|)) |A| per output; pads are top, bottom, left, right.

    |G| |w| |G^T| for |G w G^T| where kernels are `rounded` while they are transformed.
    """
    x, weight = abs(np.asarray(x, np.float64)), np.asarray(weight, np.float64)
    n, _, height, width = x.shape
    taps_h, taps_w = weight.shape[2:]
    p, q = height + pads[0] + pads[1] - taps_h + 1, width + pads[2] + pads[3] - taps_w + 1
    padded = _padded(x, pads, p, q)
    y = np.zeros((n, len(weight), p, q))
    grouped = weight.reshape(groups, -1, *weight.shape[1:])
    kernels = {}  # |G w G^T| as (points, groups, O / groups, C / groups)
    for i, mh in tiles(p, taps_h, whole):
        ah, gh, bh = matrices(mh, taps_h)
        for j, mw in tiles(q, taps_w, whole):
            aw, gw, bw = matrices(mw, taps_w)
            if (mh, mw) not in kernels:
                u = abs(gh) @ abs(grouped) @ abs(gw).T if rounded else abs(gh @ grouped @ gw.T)
                kernels[mh, mw] = u.reshape(*u.shape[:3], -1).transpose(3, 0, 1, 2)
            d = padded[:, :, i : i + len(bh), j : j + len(bw)]
            v = (abs(bh) @ d @ abs(bw).T).reshape(n, groups, -1, len(bh) * len(bw))
            m = kernels[mh, mw] @ v.transpose(3, 1, 2, 0)  # (points, groups, O / groups, N)
            m = m.reshape(-1, len(weight), n).transpose(2, 1, 0).reshape(n, len(weight), len(bh), len(bw))
            y[:, :, i : i + mh, j : j + mw] = (abs(ah) @ m @ abs(aw).T)[:, :, : p - i, : q - j]
    return y


@remembered
def weight_magnitude(
    x: Array, grad_y: Array, pads: tuple[int, int, int, int], groups: int = 1, taps: tuple[int, int] = (3, 3)
) -> Array:
    """|G^T| (sum over tiles of (|A| |dy| |A^T|) * (|B^T| |x| |B|)) |G| per entry of the weight gradient."""
    n, out, p, q = grad_y.shape
    (ah, gh, bh), (aw, gw, bw) = ((abs(matrix) for matrix in matrices(full_tile(count), count)) for count in taps)
    high, wide, points = full_tile(taps[0]), full_tile(taps[1]), len(bh) * len(bw)
    padded = _padded(abs(np.asarray(x, np.float64)), pads, p, q)
    dy = np.zeros((n, out, p + 4, q + 4))
    dy[:, :, :p, :q] = abs(grad_y)
    m = np.zeros((points, groups, out // groups, x.shape[1] // groups))
    for i in range(0, p, high):
        for j in range(0, q, wide):
            v = (bh @ padded[:, :, i : i + len(bh), j : j + len(bw)] @ bw.T).reshape(n, groups, -1, points)
            d = (ah.T @ dy[:, :, i : i + high, j : j + wide] @ aw).reshape(n, groups, -1, points)
            m += d.transpose(3, 1, 2, 0) @ v.transpose(3, 1, 0, 2)
    m = m.transpose(1, 2, 3, 0).reshape(out, x.shape[1] // groups, len(bh), len(bw))
    return gh.T @ m @ gw


@remembered
def strided_weight_magnitude(
    x: Array, grad_y: Array, taps: tuple[int, int], pads: tuple[int, int, int, int], groups: int
) -> Array:
    """weight_magnitude at stride 2 along every axis of more than one tap: that of every phase at its taps."""
    out, channels = grad_y.shape[1], x.shape[1] // groups
    even = [count if count == 1 else count + count % 2 for count in taps]  # phases as if all had the same taps
    m = np.zeros((out, channels, *even))
    for phase, part in _phases(x, even, pads, grad_y.shape[2:]):
        m[phase] = weight_magnitude(part, grad_y, (0, 0, 0, 0), groups, m[phase].shape[2:])
    return m[:, :, : taps[0], : taps[1]]


def _phases(
    x: Array, taps: Sequence[int], pads: tuple[int, int, int, int], outputs: Sequence[int]
) -> Iterator[tuple[Any, Array]]:
    """Where each phase of a kernel of stride 2 has its taps, and the pixels of x that they meet, at stride 1."""
    steps = [1 if count == 1 else 2 for count in taps]
    # A phase of (P + R - 1, Q + S - 1) pixels has (P, Q) outputs of R x S taps.
    sizes = [step * (size + count // step - 1) for step, size, count in zip(steps, outputs, taps, strict=True)]
    room = (size + have + sum(pads) for size, have in zip(sizes, x.shape[2:], strict=True))
    padded = np.zeros((*x.shape[:2], *room))
    padded[:, :, pads[0] : pads[0] + x.shape[2], pads[2] : pads[2] + x.shape[3]] = x
    padded = padded[:, :, : sizes[0], : sizes[1]]
    for at in np.ndindex(*steps):
        phase = (..., *(np.s_[first::step] for first, step in zip(at, steps, strict=True)))
        yield phase, padded[phase]


def _even(weight: Array, last: bool) -> Array:
    """An odd number of taps along an axis with one more, of zero."""
    room = [(0, taps % 2) if last else (taps % 2, 0) for taps in weight.shape[2:] if taps > 1]
    room = [(0, 0)] * (4 - len(room)) + room  # of two axes, or of the last one
    return np.pad(weight, room)


@remembered
def strided_magnitude(x: Array, weight: Array, pads: tuple[int, int, int, int], groups: int, outputs: Array) -> Array:
    """magnitude at stride 2 along every axis of more than one tap, for y of (P, Q) `outputs`."""
    weight = _even(weight, last=True)
    phases = _phases(x, weight.shape[2:], pads, outputs)
    return sum(magnitude(part, weight[phase], (0, 0, 0, 0), groups) for phase, part in phases)


@remembered
def transposed_magnitude(x: Array, weight: Array, pads: tuple[int, int], groups: int, outputs: Array) -> Array:
    """The same for transposed convolution of stride 2: x (N, C, H, W), weight (C, O / groups, R, S), y `outputs`."""
    # Turned by 180 degrees, the missing tap is to be the last of its phase.
    pads = tuple(pad + (taps % 2 if taps > 1 else 0) for pad, taps in zip(pads, weight.shape[2:], strict=True))
    weight = _even(weight, last=False)
    steps = [1 if taps == 1 else 2 for taps in weight.shape[2:]]
    firsts = [pad // step for pad, step in zip(pads, steps, strict=True)]
    before = [pad - step * first for pad, step, first in zip(pads, steps, firsts, strict=True)]
    counts = [-(-(size + skip) // step) for size, skip, step in zip(outputs, before, steps, strict=True)]
    # Output 2 u + phase - pad meets inputs u and those before it; the first u is `firsts`.
    margin = [taps // step - 1 for taps, step in zip(weight.shape[2:], steps, strict=True)]
    padded = np.zeros(
        (
            *x.shape[:2],
            *(first + count + 6 + size for first, count, size in zip(firsts, counts, x.shape[2:], strict=True)),
        )
    )
    padded[:, :, margin[0] : margin[0] + x.shape[2], margin[1] : margin[1] + x.shape[3]] = x
    window = [np.s_[first : first + count + more] for first, count, more in zip(firsts, counts, margin, strict=True)]
    grouped = weight.reshape(groups, -1, *weight.shape[1:]).swapaxes(1, 2)
    kernel = grouped.reshape(-1, weight.shape[0] // groups, *weight.shape[2:])
    y = np.zeros((len(x), len(kernel), *(step * count for step, count in zip(steps, counts, strict=True))))
    for at in np.ndindex(*steps):
        phase = tuple(np.s_[first::step] for first, step in zip(at, steps, strict=True))
        y[(..., *phase)] = magnitude(
            padded[(..., *window)], kernel[(..., *phase)][..., ::-1, ::-1], (0, 0, 0, 0), groups
        )
    return y[:, :, before[0] :, before[1] :][:, :, : outputs[0], : outputs[1]]
