"""What Winograd's convolution does in exact arithmetic, and on absolute values: the magnitude of its error bound.

The matrices follow from the points by Toom and Cook's construction, and not from the code that they check. They are
those of a tile of m outputs, m = 2, 3 or 4, which takes the first m + 1 finite points and infinity.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray
POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)


def matrices(m: int) -> tuple[Array, Array, Array]:
    """A^T (m, m + 2), G (m + 2, 3) and B^T (m + 2, m + 2) with A^T [(G g) * (B^T d)] the correlation of d with g.

    G is the same for all m: the points that a smaller tile leaves out move their factors to B.
    """
    used, dropped = POINTS[: m + 1], POINTS[m + 1 :]
    a, g, b = np.zeros((m, m + 2)), np.zeros((m + 2, 3)), np.zeros((m + 2, m + 2))
    for i, p in enumerate(used):
        a[:, i] = p ** np.arange(m)
        g[i] = p ** np.arange(3) / np.prod([p - q for q in POINTS if q != p])
        others = np.polynomial.polynomial.polyfromroots([q for q in used if q != p])
        b[i, : m + 1] = others * np.prod([p - q for q in dropped])
    a[m - 1, -1] = g[-1, 2] = 1
    b[-1] = np.polynomial.polynomial.polyfromroots(used)
    return a, g, b


def tiles(outputs: int) -> list[tuple[int, int]]:
    """(first output, m) of the tiles along an axis: of 4, but for the last one."""
    count = -(-outputs // 4)
    return [(4 * i, 4 if i < count - 1 else max(2, outputs - 4 * i)) for i in range(count)]


def _padded(x: Array, pads: tuple[int, int, int, int], p: int, q: int) -> Array:
    """x within its padding, and zeros as far as the last tile of each axis reaches."""
    top, left = max(0, pads[0]), max(0, pads[2])
    inner = x[:, :, max(0, -pads[0]) :, max(0, -pads[2]) :][:, :, : p + 6 - top, : q + 6 - left]
    padded = np.zeros((*x.shape[:2], p + 6, q + 6))
    padded[:, :, top : top + inner.shape[2], left : left + inner.shape[3]] = inner
    return padded


def magnitude(x: Array, weight: Array, pads: tuple[int, int, int, int], groups: int = 1) -> Array:
    """|A^T| (sum over c of |G w G^T| * (|B^T| |x| |B|)) |A| per output; pads are top, bottom, left, right."""
    x, weight = abs(np.asarray(x, np.float64)), np.asarray(weight, np.float64)
    n, _, height, width = x.shape
    p, q = height + pads[0] + pads[1] - 2, width + pads[2] + pads[3] - 2
    padded = _padded(x, pads, p, q)
    y = np.zeros((n, len(weight), p, q))
    grouped = weight.reshape(groups, -1, *weight.shape[1:])
    kernels = {}  # |G w G^T| as (points, groups, O / groups, C / groups)
    for i, mh in tiles(p):
        ah, gh, bh = matrices(mh)
        for j, mw in tiles(q):
            aw, gw, bw = matrices(mw)
            if (mh, mw) not in kernels:
                u = abs(gh @ grouped @ gw.T)
                kernels[mh, mw] = u.reshape(*u.shape[:3], -1).transpose(3, 0, 1, 2)
            d = padded[:, :, i : i + mh + 2, j : j + mw + 2]
            v = (abs(bh) @ d @ abs(bw).T).reshape(n, groups, -1, (mh + 2) * (mw + 2))
            m = kernels[mh, mw] @ v.transpose(3, 1, 2, 0)  # (points, groups, O / groups, N)
            m = m.reshape(-1, len(weight), n).transpose(2, 1, 0).reshape(n, len(weight), mh + 2, mw + 2)
            y[:, :, i : i + mh, j : j + mw] = (abs(ah) @ m @ abs(aw).T)[:, :, : p - i, : q - j]
    return y


def weight_magnitude(x: Array, grad_y: Array, pads: tuple[int, int, int, int], groups: int = 1) -> Array:
    """|G^T| (sum over tiles of (|A| |dy| |A^T|) * (|B^T| |x| |B|)) |G| per entry of the weight gradient."""
    n, out, p, q = grad_y.shape
    a, g, b = (abs(matrix) for matrix in matrices(4))
    padded = _padded(abs(np.asarray(x, np.float64)), pads, p, q)
    dy = np.zeros((n, out, p + 4, q + 4))
    dy[:, :, :p, :q] = abs(grad_y)
    m = np.zeros((36, groups, out // groups, x.shape[1] // groups))
    for i in range(0, p, 4):
        for j in range(0, q, 4):
            v = (b @ padded[:, :, i : i + 6, j : j + 6] @ b.T).reshape(n, groups, -1, 36)
            d = (a.T @ dy[:, :, i : i + 4, j : j + 4] @ a).reshape(n, groups, -1, 36)
            m += d.transpose(3, 1, 2, 0) @ v.transpose(3, 1, 0, 2)
    m = m.transpose(1, 2, 3, 0).reshape(out, x.shape[1] // groups, 6, 6)
    return g.T @ m @ g
