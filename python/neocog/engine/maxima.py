"""Max pools inside convolutions: maxima are taken of results that are still in registers or in the nearest caches.

Where nothing else wants the results themselves, they are never in memory.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from neocog._core import Program
from neocog.engine.builder import PlannedStep, Shape, View, users_of

Windows = tuple[Shape, Shape, Shape, Shape]  # kernel, stride, padding, dilation
# Where, among its arguments, a step that may take a pool has its result and its residual; the pool's come last.
_RESULT = {"conv": 4, "separable_conv": 8}
_RESIDUAL = {"conv": 3, "separable_conv": 4}


def pool_inside(steps: list[PlannedStep]) -> list[PlannedStep]:
    """Make max pools parts of the steps that compute what they pool, where a kernel can."""
    users = users_of(steps)
    steps = list(steps)
    dropped = set()
    for index, step in enumerate(steps):
        if step.method != "max_pool":
            continue
        x, y = step.arguments[:2]
        windows: Windows = step.arguments[2:]
        makers = [other for other in users[id(x.buffer)] if steps[other].writes == (x,)]
        if len(makers) != 1 or not _takes(steps[makers[0]], y, windows):
            continue
        maker = makers[0]
        wanted = x.buffer.kind != "temporary" or users[id(x.buffer)] != [maker, index]
        steps[maker] = _with_pool(steps[maker], y, windows, wanted)
        dropped.add(index)
    return [step for index, step in enumerate(steps) if index not in dropped]


def _takes(step: PlannedStep, y: View, windows: Windows) -> bool:
    """Whether the kernel of a step takes such maxima of its results."""
    if step.method not in _RESULT or len(y.shape) != 4 or step.arguments[_RESIDUAL[step.method]] is not None:
        return False
    numbers = step.arguments[_RESULT[step.method] + 1 :]
    pooled = _operand(y)
    if step.method == "conv":
        x, weights = map(_operand, step.arguments[:2])
        stride, padding, dilation, groups, activation, _, rounds = numbers
        return not rounds and Program.conv_pools(  # to bfloat16
            x, weights, stride, padding, dilation, groups, activation, pooled, windows
        )
    x, depthwise, pointwise = map(_operand, step.arguments[:3])
    stride, padding, dilation = numbers[:3]
    return Program.separable_conv_pools(x, depthwise, pointwise, stride, padding, dilation, pooled, windows)


def _operand(value: Any) -> Any:
    return (0, value.offset, value.shape, value.strides) if isinstance(value, View) else value


def _with_pool(step: PlannedStep, y: View, windows: Windows, wanted: bool) -> PlannedStep:
    place = _RESULT[step.method]
    result = step.arguments[place]
    arguments = (*step.arguments[:place], result if wanted else None, *step.arguments[place + 1 :], y, windows)
    return replace(step, arguments=arguments, writes=(result, y) if wanted else (y,))
