"""`pad`: copies into parts of the result, each element written once. Negative amounts crop, which is a view."""

from __future__ import annotations

from itertools import product

import numpy as np

from neocog.engine.builder import Builder, View
from neocog.engine.graph import Node
from neocog.engine.lowering import lowers
from neocog.engine.lowering.numbers import unless_known
from neocog.engine.lowering.views import Run, broadcast, copy, memory_order, narrowed, place, runs

Pads = list[tuple[int, int]]


@lowers("pad")
@unless_known
def _pad(node: Node, build: Builder) -> None:
    name, amounts = list(node.used())
    x, given = build.view(name), build.integers(amounts)
    ndim = len(x.shape)
    if len(given) != 2 * ndim:
        raise build.error(
            f"the pads are {given}, {len(given)} numbers; shape {x.shape} needs {2 * ndim}: "
            "the begin of every axis, then the end of every axis."
        )
    pads = list(zip(given[:ndim], given[ndim:], strict=True))
    _check(node, build, x, pads)
    kept = x
    for axis, (begin, end) in enumerate(pads):
        size = kept.shape[axis] + min(begin, 0) + min(end, 0)
        kept = narrowed(kept, axis, max(-begin, 0), size)
    if all(begin <= 0 and end <= 0 for begin, end in pads):
        return build.bind(node.outputs[0], kept)
    shape = tuple(size + begin + end for size, (begin, end) in zip(x.shape, pads, strict=True))
    y = place(build, node.outputs[0], shape, memory_order(x))
    if node["mode"] == "constant":
        _surround(build, kept, pads, node["value"], y)
    else:
        _continue(build, x, pads, node["mode"], y)


def _check(node: Node, build: Builder, x: View, pads: Pads) -> None:
    mode = node["mode"]
    for axis, (size, (begin, end)) in enumerate(zip(x.shape, pads, strict=True)):
        where = f"axis {axis} of shape {x.shape} has {size} elements; pads of {begin} and {end}"
        kept = size + min(begin, 0) + min(end, 0)
        if kept < 0:
            raise build.error(f"{where} crop more than that.")
        most = {"constant": None, "reflect": size - 1, "replicate": None if size else 0, "circular": kept}[mode]
        if most is not None and max(begin, end) > max(most, 0):
            raise build.error(f"{where} are too large for mode {mode!r}, which can add up to {max(most, 0)} here.")


def _surround(build: Builder, kept: View, pads: Pads, value: float, y: View) -> None:
    """The inner part, and the constant on both sides of each axis; the outermost first, so that its sides are whole."""
    constant, inner = build.literal(np.array(value, np.float32)), y
    for axis in memory_order(y):
        begin, end = (max(amount, 0) for amount in pads[axis])
        size = inner.shape[axis]
        for start, count in ((0, begin), (size - end, end)):
            side = narrowed(inner, axis, start, count)
            copy(build, broadcast(constant, side.shape), side)
        inner = narrowed(inner, axis, begin, size - begin - end)
    copy(build, kept, inner)


def _continue(build: Builder, x: View, pads: Pads, mode: str, y: View) -> None:
    """Every part of the result from the part of x that it shows, backwards for reflections."""
    axes = [_runs(size, *pad, mode) for size, pad in zip(x.shape, pads, strict=True)]
    for stretches in product(*axes):
        source, target = x, y
        for axis, run in enumerate(stretches):
            source = narrowed(source, axis, run.start, run.count, run.step)
            target = narrowed(target, axis, run.place, run.count)
        copy(build, source, target)


def _runs(size: int, begin: int, end: int, mode: str) -> list[Run]:
    """What of an axis its padded version shows. Where it is cropped, reflections and replications see all of it."""
    if begin == end == 0:
        return [Run(0, 0, size, 1)]
    at = np.arange(-begin, size + end)
    if mode == "replicate":
        at = np.clip(at, 0, size - 1)
    elif mode == "reflect":
        at = size - 1 - abs(size - 1 - abs(at))
    else:
        first = max(-begin, 0)
        at = (at - first) % (size + min(begin, 0) + min(end, 0)) + first
    return list(runs(at.tolist()))
