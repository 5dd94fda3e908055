"""What PyTorch's database asks and `neocog.ops` does not offer: each with its reason, each still to occur."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

VARIANTS = {  # (name, variant) of a whole OpInfo
    ("softmax", "with_dtype"): "the dtype argument converts first; our ops convert nothing",
    ("nn.functional.silu", "complex"): "complex numbers",
    ("nn.functional.interpolate", "bicubic"): "a mode that we do not have",
    ("nn.functional.interpolate", "trilinear"): "volumes",
    ("nn.functional.interpolate", "area"): "a mode that we do not have; it is adaptive_avg_pool",
}


@dataclass(frozen=True)
class Exclusion:
    op: str  # the name of the OpInfo
    applies: Callable[[Any], bool]  # to its SampleInput (SAMPLES) or ErrorInput (ERRORS)
    reason: str


def _volume(sample: Any) -> bool:
    return sample.input.ndim == 5


SAMPLES = [
    Exclusion("add", lambda s: "alpha" in s.kwargs, "torch's alpha argument; scale the operand instead"),
    Exclusion(
        "cat",
        lambda s: len({t.ndim for t in s.input}) > 1,
        "torch lets an empty 1-D tensor join arrays of any shape; NumPy, and we, do not",
    ),
    Exclusion("nn.functional.batch_norm", lambda s: s.input.ndim < 2, "x has no channel axis"),
    Exclusion("nn.functional.interpolate", _volume, "volumes"),
    Exclusion("nn.functional.upsample_nearest", _volume, "volumes"),
]

ERRORS = [
    Exclusion("cat", lambda e: "out" in e.sample_input.kwargs, "torch's out argument"),
]


def reason(exclusions: list[Exclusion], op: str, item: Any) -> str | None:
    """Why this sample or error input of `op` is left out; None if it is not."""
    return next((e.reason for e in exclusions if e.op == op and e.applies(item)), None)
