"""Shapes that users of other libraries reported as slow, each with its issue.

The geometry is that of the report, in float32 and with a bias; batch 1 where the name gives none. Where a row is
smaller than the report, or the report leaves a size open, a comment says so.
"""

from __future__ import annotations

from bench.ops.batch_norm import BatchNormInference
from bench.ops.conv import Conv, SubnormalConv
from bench.ops.conv_transpose import ConvTranspose
from bench.ops.depthwise import Depthwise
from bench.ops.pool import MaxPool
from bench.ops.row import Row

ROWS: tuple[Row, ...] = (
    Conv("conv 3x3 512>512 @4", (1, 512, 4, 4), (512, 512, 3, 3), padding=1, issue="pytorch#35937"),
    # The next two have fewer values than PyTorch asks oneDNN for, 20480.
    Conv("conv 3x3 64>64 @14", (1, 64, 14, 14), (64, 64, 3, 3), padding=1, issue="pytorch#40610"),
    Conv("conv 3x3 256>256 @7", (1, 256, 7, 7), (256, 256, 3, 3), padding=1, issue="pytorch#40610"),
    Conv("pointwise 1024>2048 @7", (1, 1024, 7, 7), (2048, 1024, 1, 1), issue="pytorch#46675"),
    # The report's weights are mostly subnormal; with normal ones its shape was fast. A quarter of the height for them.
    Conv("pointwise 64>128 @1000x15", (1, 64, 1000, 15), (128, 64, 1, 1), issue="pytorch#67797"),
    SubnormalConv("pointwise, subnormal 64>128 @250x15", (1, 64, 250, 15), (128, 64, 1, 1), issue="pytorch#67797"),
    # Reported in bfloat16, as is the next; of that one the sizes are ours.
    Conv(
        "conv 7x7 dilation 2 16>32 @112, batch 8", (8, 16, 112, 112), (32, 16, 7, 7), dilation=2, issue="pytorch#183815"
    ),
    Conv(
        "conv 3x3 8 groups 64>64 @56, batch 8",
        (8, 64, 56, 56),
        (64, 8, 3, 3),
        padding=1,
        groups=8,
        issue="pytorch#183815",
    ),
    # The image is ours.
    Conv("conv 3x3 32 groups 64>64 @56", (1, 64, 56, 56), (64, 2, 3, 3), padding=1, groups=32, issue="pytorch#1708"),
    # The depthwise row was several times as slow as the dense one; the image is ours.
    Conv("conv 3x3 256>256 @56", (1, 256, 56, 56), (256, 256, 3, 3), padding=1, issue="pytorch#13716"),
    Depthwise("depthwise 3x3 256 @56", (1, 256, 56, 56), (256, 1, 3, 3), padding=1, groups=256, issue="pytorch#13716"),
    Depthwise("depthwise 4x4 256 @26", (1, 256, 26, 26), (256, 1, 4, 4), groups=256, issue="ncnn#2437"),
    # ConvNeXt-B: its first stage, and the one with most of its layers.
    Depthwise("depthwise 7x7 128 @56", (1, 128, 56, 56), (128, 1, 7, 7), padding=3, groups=128, issue="openvino#21048"),
    Depthwise("depthwise 7x7 512 @14", (1, 512, 14, 14), (512, 1, 7, 7), padding=3, groups=512, issue="openvino#21048"),
    # Two kernels per channel.
    Depthwise(
        "depthwise 7x7 stride 2 64>128 @64",
        (1, 64, 64, 64),
        (128, 1, 7, 7),
        stride=2,
        padding=3,
        groups=64,
        issue="onnxruntime#27874",
    ),
    # The image is that of the report after the step; the kernel is ours.
    ConvTranspose(
        "transpose 4x4 stride 2 16>16 @64x48", (1, 16, 64, 48), (16, 16, 4, 4), stride=2, padding=1, issue="oneDNN#329"
    ),
    # Batch 32 in the report.
    ConvTranspose("transpose 3x3 32>32 @100, batch 8", (8, 32, 100, 100), (32, 32, 3, 3), issue="pytorch#92530"),
    ConvTranspose(
        "transpose 1d k1024 stride 256 1026>1 @224", (1, 1026, 224), (1026, 1, 1024), stride=256, issue="pytorch#120982"
    ),
    # The shortest of the report's ten lengths. It is about lengths that change: about the first call.
    ConvTranspose(
        "transpose 1d k1024 stride 256 1026>1 @500", (1, 1026, 500), (1026, 1, 1024), stride=256, issue="pytorch#133304"
    ),
    # A sixteenth of the report's channels, 2016>1026, whose weight alone takes 8.5 GB.
    ConvTranspose(
        "transpose 1d k1024 stride 256 126>64 @224", (1, 126, 224), (126, 64, 1024), stride=256, issue="pytorch#127216"
    ),
    Conv("conv1d k512 stride 160 1>514 @205794", (1, 1, 205794), (514, 1, 512), stride=160, issue="pytorch#32507"),
    # 177.6 million samples in the report.
    Conv("conv1d k8 stride 2 1>4 @1000000", (1, 1, 1000000), (4, 1, 8), stride=2, issue="oneDNN#285"),
    # Half the report's height and width.
    MaxPool("max pool 3x3 stride 2 16 @1500x1000", (1, 16, 1500, 1000), kernel=3, stride=2, issue="pytorch#28733"),
    MaxPool(
        "max pool 3x3 stride 2 64 @112, batch 1",
        (1, 64, 112, 112),
        kernel=3,
        stride=2,
        padding=1,
        issue="pytorch#51393",
    ),
    BatchNormInference("batch norm, inference 64 @112, batch 5", (5, 64, 112, 112), issue="pytorch#52011"),
)
