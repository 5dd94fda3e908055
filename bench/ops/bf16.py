"""Convolutions in bfloat16, forward: layers of common networks for one image and for eight.

neocog takes float32 arrays and rounds them (`precision="bf16"`); PyTorch takes bfloat16 tensors, rounded before the
timing, and returns such: half the bytes, and results of eight bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from bench.ops.conv import Conv
from bench.ops.row import Array, Call, OnnxNode, Pass


class Bf16Conv(Conv):
    passes: ClassVar[tuple[Pass, ...]] = ("forward",)
    # Operands and PyTorch's results are off by up to 2^-8; the longest sum of the table errs by 3e-3 of the largest.
    tolerance: ClassVar[float | None] = 2e-2

    def neocog_forward(self, ops: Any, a: Mapping[str, Array], **data_format: str) -> Call:
        conv = getattr(ops, f"conv{self.spatial}d")
        return lambda: conv(a["x"], a["weight"], a["bias"], precision="bf16", **self.steps, **data_format)

    def torch_forward(self, torch: Any, a: Mapping[str, Any]) -> Call:
        # float64 is the reference.
        narrow = {name: t.bfloat16() if t.dtype == torch.float32 else t for name, t in a.items()}
        return super().torch_forward(torch, narrow)

    def onnx(self) -> OnnxNode | None:
        return None


ROWS = (
    *(
        Bf16Conv(f"bf16 {name}{f', batch {batch}' if batch > 1 else ''}", (batch, *x), weight, **steps)
        for batch in (1, 8)
        for name, x, weight, steps in (
            ("stem 7x7 stride 2 3>64 @224", (3, 224, 224), (64, 3, 7, 7), {"stride": 2, "padding": 3}),
            ("conv 3x3 64>64 @56", (64, 56, 56), (64, 64, 3, 3), {"padding": 1}),
            ("conv 3x3 128>128 @28", (128, 28, 28), (128, 128, 3, 3), {"padding": 1}),
            ("conv 3x3 256>256 @14", (256, 14, 14), (256, 256, 3, 3), {"padding": 1}),
            ("conv 3x3 512>512 @7", (512, 7, 7), (512, 512, 3, 3), {"padding": 1}),
            ("conv 3x3 stride 2 128>128 @56", (128, 56, 56), (128, 128, 3, 3), {"stride": 2, "padding": 1}),
            ("pointwise 64>256 @56", (64, 56, 56), (256, 64, 1, 1), {}),
            ("pointwise 256>64 @56", (256, 56, 56), (64, 256, 1, 1), {}),
            ("pointwise 256>1024 @14", (256, 14, 14), (1024, 256, 1, 1), {}),
            ("pointwise 728>728 @19", (728, 19, 19), (728, 728, 1, 1), {}),
            ("pointwise 512>2048 @7", (512, 7, 7), (2048, 512, 1, 1), {}),
        )
    ),
    Bf16Conv(
        "bf16 conv 7x7 dilation 2 16>32 @112, batch 8",
        (8, 16, 112, 112),
        (32, 16, 7, 7),
        dilation=2,
        issue="pytorch#183815",
    ),
    Bf16Conv("bf16 conv 3x3 8 groups 256>256 @28, batch 8", (8, 256, 28, 28), (256, 32, 3, 3), padding=1, groups=8),
    Bf16Conv("bf16 conv1d k3 128>128 @4000, batch 8", (8, 128, 4000), (128, 128, 3), padding=1),
)
