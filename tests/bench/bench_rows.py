"""Small rows, and a machine's limits, for the tests of the benches."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # `bench` is part of the repository, not of the package

from bench import limits  # noqa: E402
from bench.ops.batch_norm import BatchNorm, BatchNormInference, BatchNormRelu  # noqa: E402
from bench.ops.conv import Conv, SubnormalConv  # noqa: E402
from bench.ops.conv_transpose import ConvTranspose  # noqa: E402
from bench.ops.depthwise import Depthwise  # noqa: E402
from bench.ops.pool import AvgPool, GlobalAvgPool, MaxPool  # noqa: E402

TINY = [
    Conv("strided", (2, 3, 7, 9), (4, 3, 3, 3), stride=2, padding=1),
    Conv("grouped, dilated", (2, 4, 9, 8), (6, 2, 3, 3), padding=2, dilation=2, groups=2),
    Conv("1d", (2, 3, 17), (4, 3, 5), stride=3),
    SubnormalConv("subnormal", (2, 3, 7, 9), (4, 3, 1, 1)),
    Depthwise("depthwise", (2, 5, 6, 7), (5, 1, 3, 3), padding=1, groups=5),
    Depthwise("depthwise, two kernels per channel", (2, 5, 6, 7), (10, 1, 3, 3), stride=2, groups=5),
    ConvTranspose("transpose", (2, 3, 4, 5), (3, 2, 3, 3), stride=2, padding=1, output_padding=1),
    ConvTranspose("transpose 1d", (2, 3, 6), (3, 2, 4), stride=2, padding=1),
    MaxPool("max", (2, 3, 9, 8), kernel=3, stride=2, padding=1),
    AvgPool("average", (2, 3, 8, 6), kernel=2, stride=2),
    GlobalAvgPool("global", (2, 3, 4, 5)),
    BatchNorm("norm", (3, 4, 5, 6)),
    BatchNormRelu("norm and relu", (3, 4, 5, 6)),
    BatchNormInference("norm by given statistics", (3, 4, 5, 6)),
]
REPORTED = Conv("reported", (1, 3, 5, 5), (4, 3, 3, 3), issue="pytorch#1")
LIMITS = limits.Limits(2, "scalar", 1e9, 2e9, 1e9, 1e9)
REACH = limits.Reach(1e9, 1e9)
