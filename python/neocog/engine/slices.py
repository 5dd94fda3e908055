"""Concatenations without copies: kernels write their results into slices of the channels of what they become part of.

Images lie channels-last, so a slice of the channels is an image whose pixels are further apart. Some kernels write such
images and read them; where a concatenated value is made and used by these alone, it never has memory of its own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from neocog.engine.builder import PlannedStep, View, dense_strides, last_order, users_of

# Steps that may write slices, and read them as their first argument.
_METHODS = ("conv", "conv_transpose", "max_pool", "avg_pool", "copy")
_RESIDUAL, _GROUPS = 3, 8  # among the arguments of a convolution


def write_slices(steps: list[PlannedStep]) -> list[PlannedStep]:
    """Drop the copies of concatenations whose sources can be made in place; the other steps get the new places."""
    users = users_of(steps)
    steps = list(steps)
    dropped = set()
    for index, step in enumerate(steps):
        if step.op != "concat" or step.method != "copy":
            continue
        source, place = step.arguments
        others = [other for other in users[id(source.buffer)] if other != index and other not in dropped]
        if not _fits(source, place) or not all(_takes_slices(steps[other], source) for other in others):
            continue
        for other in others:
            steps[other] = _moved(steps[other], source, place)
        users[id(place.buffer)] = sorted({*users[id(place.buffer)], *others})
        dropped.add(index)
    return [step for index, step in enumerate(steps) if index not in dropped]


def _fits(source: View, place: View) -> bool:
    """Whether a source is all of a temporary, and its place a slice of the channels of an image, both channels-last."""
    ndim, buffer = len(source.shape), source.buffer
    if ndim not in (3, 4) or buffer.kind != "temporary" or buffer is place.buffer or source.size != buffer.elements:
        return False
    pitch = place.strides[-1]
    wide = (place.shape[0], pitch, *place.shape[2:])
    return source.is_dense(last_order(ndim)) and place.strides == dense_strides(wide, last_order(ndim))


def _takes_slices(step: PlannedStep, source: View) -> bool:
    """Whether a step can work with a slice instead of a buffer: it sees images of its pixels, and nothing else."""
    seen = [view for view in (*step.reads, *step.writes) if view.buffer is source.buffer]
    reads = [view for view in step.reads if view.buffer is source.buffer]
    if step.method not in _METHODS:
        return False
    if any(view.strides != source.strides or view.shape[2:] != source.shape[2:] for view in seen):
        return False
    if reads and not (len(seen) == 1 and step.arguments[0] is reads[0]):
        return False
    if not step.method.startswith("conv"):
        return True
    depthwise = step.arguments[_GROUPS] == step.arguments[0].shape[1] > 1  # would copy its images
    rounds = step.method == "conv" and step.arguments[-1]  # to bfloat16, whose kernels know no slices
    return not depthwise and not rounds and (bool(reads) or step.arguments[_RESIDUAL] is None)


def _moved(step: PlannedStep, source: View, place: View) -> PlannedStep:
    """The step with views of the source's buffer where they lie in the place of the source."""

    def move(value: Any) -> Any:
        if not isinstance(value, View) or value.buffer is not source.buffer:
            return value
        return replace(value, buffer=place.buffer, offset=place.offset + value.offset, strides=place.strides)

    return replace(
        step,
        arguments=tuple(map(move, step.arguments)),
        reads=tuple(map(move, step.reads)),
        writes=tuple(map(move, step.writes)),
    )
