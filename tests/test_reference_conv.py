"""The float64 oracle of the convolutions against PyTorch, over every named geometry."""

from __future__ import annotations

from typing import Any

import cases
import numpy as np
import pytest
import reference

torch = pytest.importorskip("torch")
F = torch.nn.functional

from against_torch import both_sides, check, flat, normal, parametrize  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def check_conv(rng: np.random.Generator, name: str, x: tuple, weight: tuple, steps: dict[str, Any]) -> None:
    axes = len(x) - 2
    ours, ours_backward = getattr(reference, f"conv{axes}d"), getattr(reference, f"conv{axes}d_backward")
    rest = {key: value for key, value in steps.items() if key != "padding"}
    sides = both_sides(steps["padding"], name, axes)
    check(
        rng,
        normal(rng, x, weight, weight[:1]),
        lambda x, w, b: ours(x, w, b, **steps),
        lambda g, x, w, b: ours_backward(g, x, w, **steps),
        lambda x, w, b: getattr(F, f"conv{axes}d")(F.pad(x, flat(sides)), w, b, **rest),
    )


@parametrize(cases.CONV2D)
def test_conv2d(name, case, rng):
    check_conv(rng, name, case.x, case.weight, case.steps)


@parametrize(cases.CONV1D)
def test_conv1d(name, case, rng):
    check_conv(rng, name, case.x, case.weight, case.steps)


@parametrize(cases.DEPTHWISE)
def test_depthwise_conv2d(name, case, rng):
    sides = both_sides(case.padding, name, 2)
    check(
        rng,
        normal(rng, case.x, case.weight, case.weight[:1]),
        lambda x, w, b: reference.depthwise_conv2d(x, w, b, **case.steps),
        lambda g, x, w, b: reference.depthwise_conv2d_backward(g, x, w, **case.steps),
        lambda x, w, b: F.conv2d(
            F.pad(x, flat(sides)), w, b, stride=case.stride, dilation=case.dilation, groups=case.x[1]
        ),
    )


@parametrize(cases.SEPARABLE)
def test_separable_conv2d(name, case, rng):
    sides = both_sides(case.padding, name, 2)

    def torch_forward(x, depthwise, pointwise, bias):
        steps = {"stride": case.stride, "dilation": case.dilation, "groups": case.x[1]}
        return F.conv2d(F.conv2d(F.pad(x, flat(sides)), depthwise, **steps), pointwise, bias)

    check(
        rng,
        normal(rng, case.x, case.weight, case.pointwise_weight, (case.out_channels,)),
        lambda x, d, p, b: reference.separable_conv2d(x, d, p, b, **case.steps),
        lambda g, x, d, p, b: reference.separable_conv2d_backward(g, x, d, p, **case.steps),
        torch_forward,
    )


def torch_conv_transpose(case: cases.ConvTranspose, x: Any, weight: Any, bias: Any) -> Any:
    """torch's own; "same" as TensorFlow has it, the gradient of a convolution; uneven crops by slicing."""
    axes, steps = x.ndim - 2, case.steps
    op, padding = getattr(F, f"conv_transpose{axes}d"), steps.pop("padding")
    if padding == "same":
        sizes = [n * s for n, s in zip(x.shape[2:], [case.stride] * axes, strict=True)]
        image = torch.zeros(len(x), case.out_channels, *sizes, dtype=torch.float64, requires_grad=True)
        totals = [  # ceil(in / stride) is exact here: in is a multiple of the stride
            max((n - 1) * case.stride + case.dilation * (k - 1) + 1 - size, 0)
            for n, k, size in zip(x.shape[2:], weight.shape[2:], sizes, strict=True)
        ]
        padded = F.pad(image, flat([(total // 2, total - total // 2) for total in totals]))
        conv = getattr(F, f"conv{axes}d")(padded, weight, stride=case.stride, dilation=case.dilation)
        (y,) = torch.autograd.grad(conv, image, x, create_graph=True)
        return y + bias.reshape(-1, *[1] * axes)
    if padding == "valid":  # Keras: in * stride + max(span - stride, 0)
        spans = [case.dilation * (k - 1) + 1 for k in weight.shape[2:]]
        steps["output_padding"] = [max(case.stride - span, 0) for span in spans]
        return op(x, weight, bias, **steps)
    if np.ndim(padding) == 2:
        crop = [-p for p in flat(padding)]
        return F.pad(op(x, weight, **steps), crop) + bias.reshape(-1, *[1] * axes)
    return op(x, weight, bias, padding=padding, **steps)


def check_conv_transpose(rng: np.random.Generator, case: cases.ConvTranspose) -> None:
    axes = len(case.x) - 2
    ours = getattr(reference, f"conv_transpose{axes}d")
    ours_backward = getattr(reference, f"conv_transpose{axes}d_backward")
    check(
        rng,
        normal(rng, case.x, case.weight, (case.out_channels,)),
        lambda x, w, b: ours(x, w, b, **case.steps),
        lambda g, x, w, b: ours_backward(g, x, w, **case.steps),
        lambda x, w, b: torch_conv_transpose(case, x, w, b),
    )


@parametrize(cases.CONV_TRANSPOSE2D)
def test_conv_transpose2d(name, case, rng):
    check_conv_transpose(rng, case)


@parametrize(cases.CONV_TRANSPOSE1D)
def test_conv_transpose1d(name, case, rng):
    check_conv_transpose(rng, case)
