"""Batches in parts: where images are large, a few at a time go through several layers.

The results of a layer are then still in the caches when the next one reads them. It pays where layers wait for memory:
they read and write more than the caches hold, do little with it, and their weights, which every part reads again, are
small beside the images.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from neocog import _core
from neocog._core import LayerWeights
from neocog.engine.builder import Buffer, PlannedStep, View, users_of
from neocog.engine.graph import Array

# What a step may read and write of a part, in bytes: measured on one machine, whose own caches are smaller and whose
# shared one is larger. It does not depend on the number of threads, so that results do not.
CACHED = 16 << 20
# Operations per byte up to which a layer waits for memory enough: a pointwise one of 600 channels has as many.
_OPERATIONS = 150
# Images of a part are so many times as large as the weights.
_WEIGHTS = 8
# Steps of a run would by themselves take so many times as many images at most.
_ALIKE = 4
# A plan has a step for every part.
_MOST_PARTS = 16
# Pixels of a result from which on a kernel of stride 1 is the same for one image and for many.
_PIXELS = 56 * 56
# Which arguments of a step are images, if it has them.
_IMAGES = {
    "conv": (0, 3, 4, 12),
    "conv_transpose": (0, 3, 4),
    "separable_conv": (0, 4, 8, 16),
    "max_pool": (0, 1),
    "avg_pool": (0, 1),
    "activation": (0, 1),
    "copy": (0, 1),
    "binary": (1, 2, 3),
}
_STRIDE = 5  # among the arguments of a convolution


def split_batches(steps: Sequence[PlannedStep]) -> list[PlannedStep]:
    """Runs of steps that pay, part by part; each part of a step names the whole one as its `origin`."""
    users = users_of(steps)
    result: list[PlannedStep] = []
    begin = 0
    while begin < len(steps):
        end, images = _run(steps, begin)
        run = steps[begin:end]
        if len(run) > 1 and _alike(run):
            inside = {buffer for buffer, using in users.items() if begin <= using[0] and using[-1] < end}
            batch = _batch(run[0])
            for first in range(0, batch, images):
                result += _part(run, first, min(batch, first + images), inside)
        else:
            result += run
        begin = end
    return result


def _run(steps: Sequence[PlannedStep], begin: int) -> tuple[int, int]:
    """Where a run of steps that pay ends, and how many images go through it at a time."""
    wanted = [_at_once(steps[begin])]
    end = begin + 1
    while wanted[0] and end < len(steps) and _batch(steps[end]) == _batch(steps[begin]):
        each = [*wanted, _at_once(steps[end])]
        if min(each) * _ALIKE < max(each) or not all(_pays(step, min(each)) for step in steps[begin : end + 1]):
            break
        wanted = each
        end += 1
    return end, min(wanted)


def _batch(step: PlannedStep) -> int:
    return step.writes[0].shape[0] if step.writes[0].shape else 0


def _images(step: PlannedStep) -> Iterator[View]:
    arguments = (step.arguments[place] for place in _IMAGES[step.method] if place < len(step.arguments))
    return (view for view in arguments if view is not None)


def _at_once(step: PlannedStep) -> int:
    """How many images should go through a step at a time; 0 for all, or where it cannot be cut."""
    if step.method not in _IMAGES or len(step.writes[0].shape) < 3:
        return 0
    images, batch = list(_images(step)), _batch(step)
    if batch < 2 or any(view.shape[:1] != (batch,) or len(view.shape) < 3 for view in images):
        return 0
    if step.method == "binary" and any(view.shape != images[-1].shape for view in images):
        return 0
    if batch * _image_bytes(step) <= CACHED or step.operations > _OPERATIONS * batch * _image_bytes(step):
        return 0
    at_once = max(1, CACHED // _image_bytes(step), -(-batch // _MOST_PARTS))
    return at_once if at_once < batch and _pays(step, at_once) and _same_kernel(step) else 0


def _image_bytes(step: PlannedStep) -> int:
    """What a step reads and writes for one image."""
    return 4 * sum(view.size for view in _images(step)) // _batch(step)


def _pays(step: PlannedStep, images: int) -> bool:
    """Whether the weights are small beside so many images."""
    return _WEIGHTS * sum(weight.nbytes for weight in _weights(step)) <= images * _image_bytes(step)


def _weights(step: PlannedStep) -> list[Array]:
    return [value.array for value in step.arguments if isinstance(value, LayerWeights)]


def _same_kernel(step: PlannedStep) -> bool:
    """Whether a convolution chooses the same kernel for a part."""
    if step.method not in ("conv", "conv_transpose"):
        return True
    weights = _weights(step)
    if not weights:
        return False
    kernel = weights[0].shape[2:]
    stride = step.arguments[_STRIDE][-len(kernel) :]
    if all(size <= step for size, step in zip(kernel, stride, strict=True)):
        return True
    if max(stride) > 1 or math.prod(step.writes[0].shape[2:]) < _PIXELS:
        return False
    # More images are chosen for differently at most once.
    return _takes_winograd(step, 1) == _takes_winograd(step, _batch(step))


def _takes_winograd(step: PlannedStep, images: int) -> bool:
    transposed = step.method == "conv_transpose"
    sizes = step.arguments[4 if transposed else 0].shape[1:]  # of the image that the weight's second axis is of
    image, weight = (
        (*shape[:-1], *[1] * (3 - len(shape)), shape[-1]) for shape in (sizes, _weights(step)[0].shape[1:])
    )
    stride, padding, dilation, groups = step.arguments[_STRIDE : _STRIDE + 4]
    out = _weights(step)[0].shape[0]
    use = int(transposed)
    return _core.conv_counts((images, *image), (out, *weight), stride, padding, dilation, groups, use)[2]


def _alike(run: Sequence[PlannedStep]) -> bool:
    """Whether images of a buffer lie equally far apart, each in its own stretch, and all else stays as it is."""
    stretch: dict[int, int] = {}
    for step in run:
        for view in _images(step):
            size = view.strides[0]
            last = view.offset + sum(
                (n - 1) * stride for n, stride in zip(view.shape[1:], view.strides[1:], strict=True)
            )
            if stretch.setdefault(id(view.buffer), size) != size or min(view.strides) < 0 or last >= size:
                return False
    others = (view for step in run for view in step.reads if view not in _images(step))
    return not any(id(view.buffer) in stretch for view in others)


def _part(run: Sequence[PlannedStep], begin: int, end: int, inside: set[int]) -> Iterator[PlannedStep]:
    """The steps of a run for images `begin` to `end`; buffers that no other step uses are as large as that."""
    buffers: dict[int, Buffer] = {}

    def place(view: View) -> View:
        shape, old = (end - begin, *view.shape[1:]), view.buffer
        if old.kind != "temporary" or id(old) not in inside:
            return replace(view, offset=view.offset + begin * view.strides[0], shape=shape)
        if id(old) not in buffers:
            buffers[id(old)] = Buffer("temporary", (end - begin) * view.strides[0])
        return replace(view, buffer=buffers[id(old)], shape=shape)

    for step in run:
        new: dict[Any, View] = {view: place(view) for view in _images(step)}
        yield replace(
            step,
            arguments=tuple(new.get(value, value) if isinstance(value, View) else value for value in step.arguments),
            reads=tuple(new.get(view, view) for view in step.reads),
            writes=tuple(new.get(view, view) for view in step.writes),
            origin=step,
        )
